"""``python -m tests.hostile --messages 1000000``: a flood beside honest work; what became of both, and of everybody's memory."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from tests.hostile.run import Plan, faults, run


def main(
    messages: Annotated[int, typer.Option(min=1000, help="Hostile messages, over all queues.")] = 1_000_000,
    seed: Annotated[int, typer.Option(help="The same seed, the same messages.")] = 1,
    rate: Annotated[float, typer.Option(min=1, help="Honest tasks a second.")] = 500.0,
    window: Annotated[
        int, typer.Option(min=0, help="Instead: so many honest tasks open at any time, as fast as they get done.")
    ] = 0,
    quiet: Annotated[
        float, typer.Option(min=1, help="Seconds before and after the flood. From 120 on memory must be flat.")
    ] = 130.0,
    decoy: Annotated[float, typer.Option(min=1, help="Seconds for which the same messages go to nobody, before the flood.")] = 30.0,
    floor: Annotated[float, typer.Option(min=0, help="Seconds for which they go to readers who only acknowledge; 0: not.")] = 30.0,
    agents: Annotated[int, typer.Option(min=1, help="Honest agents.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Measure it. Exit code 1 if honest work, or somebody who does it, did not bear it."""
    with tempfile.TemporaryDirectory(prefix="hostile.") as folder, Progress(console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task("honest work alone", total=messages)

        def say(what: str, done: int, of: int) -> None:
            bar.update(line, description=what, completed=done, total=of)

        plan = Plan(
            messages, decoy_s=decoy, floor_s=floor, quiet_s=quiet, dedup_s=60, rate=rate, window=window, agents=agents, seed=seed
        )
        report = asyncio.run(run(Path(folder), plan, say=say))
    if as_json:
        print(json.dumps(report, indent=1))
    else:
        Console().print(report)
    before, machine, during = (report[phase]["tasks_per_s"] for phase in ("before", "machine", "during"))
    print(f"honest tasks/s: {before} alone, {machine} beside messages for nobody, {during} under the flood", file=sys.stderr)
    if floor:
        print(f"{report['floor']['tasks_per_s']} where readers only acknowledge: the broker's share", file=sys.stderr)
    for phase in [name for name in ("machine", "floor", "during") if name in report]:
        print(f"µs of CPU time for one message ({phase}): {report[phase]['us_a_message']}", file=sys.stderr)
    print(f"MB before, during, after: {[report[phase]['rss_mb'] for phase in ('before', 'during', 'after')]}", file=sys.stderr)
    found = faults(report)
    for fault in found:
        print(fault, file=sys.stderr)
    raise typer.Exit(1 if found else 0)


if __name__ == "__main__":
    typer.run(main)
