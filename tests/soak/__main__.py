"""``python -m tests.soak --minutes 30 --rate 500``: a steady load, and what everybody weighs meanwhile."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.soak.run import faults, soak


def main(
    minutes: Annotated[float, typer.Option(min=0.2, help="How long.")] = 30.0,
    rate: Annotated[float, typer.Option(min=1, help="Tasks a second.")] = 500.0,
    dedup_window: Annotated[float, typer.Option(min=60, help="Seconds for which ended tasks are remembered.")] = 600.0,
    agents: Annotated[int, typer.Option(min=1)] = 2,
    flat: Annotated[float, typer.Option(min=0.001, help="By what share anybody may change its weight after the warm-up.")] = 0.05,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="A picture too (needs matplotlib).")] = None,
) -> None:
    """Measure it. Exit code 1 if somebody grows, that cannot be told, a task did not end as it should, or too few got done."""
    seconds = 60 * minutes
    with tempfile.TemporaryDirectory(prefix="soak.") as folder, Progress(console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task("warming up", total=seconds)

        def say(passed: float, rss: dict[str, float]) -> None:
            weights = " ".join(f"{name} {mb:.1f} MB" for name, mb in rss.items())
            bar.update(line, completed=passed, description=weights)

        report = asyncio.run(soak(Path(folder), seconds, rate=rate, window_s=dedup_window, agents=agents, say=say))
    judged, found = report["growth"], faults(report)
    flat_all = bool(judged) and all(max(one["most"], -one["least"]) <= flat for one in judged.values())
    if as_json:
        print(json.dumps(report | {"flat": flat_all, "faults": found}, indent=1))
    else:
        Console().print(table(report))
    if plot:
        draw(report, plot)
    for fault in found:
        print(fault, file=sys.stderr)
    print(
        "flat" if flat_all else "not flat, or not to be told: the warm-up takes a quarter more than the dedup window, and 30 s",
        file=sys.stderr,
    )
    raise typer.Exit(0 if flat_all and not found else 1)


def table(report: dict[str, Any]) -> Table:
    """For people."""
    found = Table("", "MB after the warm-up", "least", "most", title=f"{report['done']:,} tasks, {report['tasks_per_s']} a second")
    for name, one in report["growth"].items():
        found.add_row(name, f"{one['mb']:.1f}", f"{one['least']:+.1%}", f"{one['most']:+.1%}")
    return found


def draw(report: dict[str, Any], path: Path) -> None:
    """What everybody weighed."""
    import matplotlib  # type: ignore[import-not-found,unused-ignore]

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4))
    for name in report["growth"] or report["cpu_share"]:
        axes.plot([row["minute"] for row in report["minutes"]], [row[name] for row in report["minutes"]], label=name)
    axes.axvline(report["warm_up_s"] / 60, color="grey", linestyle=":")
    axes.set(xlabel="minute", ylabel="resident memory, MB", ylim=(0, None))
    axes.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    typer.run(main)
