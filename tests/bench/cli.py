"""What to measure, and how to show it."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.bench import core as core_bench
from tests.bench import ledger as ledger_bench
from tests.bench import shards as shards_bench
from tests.bench.environment import python_with_peers
from tests.bench.machine import machine
from tests.bench.report import tables
from tests.bench.suite import Suite
from tests.bench.workloads import ALL, BY_LETTER, CONTESTANTS, PEERS

WIDTH = 132
"""Of the report: narrower, the names of its columns are lost."""

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.callback()
def main() -> None:
    """Measure the orchestrator on this machine."""


@app.command()
def core(
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    quick: Annotated[bool, typer.Option(help="Leave out the rows with a million waiting tasks.")] = False,
    rounds: Annotated[int, typer.Option(help="Medians of so many.", min=1)] = 3,
) -> None:
    """Decisions of the pure core: instances x waiting tasks, no broker, no loop, both measured in one process.

    Exit code 1 if what must be shown was missed.
    """
    rows = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        grid = [cell for cell in core_bench.GRID if not quick or cell[1] < 1_000_000]
        for instances, waiting in progress.track(grid, description="cells"):
            rows.append(core_bench.measure(instances, waiting, rounds))
    cycle_us, ended, claims = core_bench.cycle_us(), core_bench.bytes_per_ended(), core_bench.claims(rows)
    if as_json:
        told = {"cycle_us": cycle_us, "bytes_per_ended": ended, "claims": [claim._asdict() for claim in claims]}
        print(json.dumps({"machine": machine(), "rows": rows, **told}, indent=1))
    else:
        _show_core(rows, cycle_us, ended, claims)
    raise typer.Exit(0 if all(claim.holds for claim in claims) else 1)


def _show_core(rows: list[dict[str, Any]], cycle_us: float, ended: float, claims: list[core_bench.Claim]) -> None:
    table = Table("instances", "waiting", "taken in /s", "decisions /s", "µs a decision", "bytes a waiting task")
    for row in rows:
        table.add_row(
            f"{row['instances']:,}", f"{row['waiting']:,}", f"{row['accepted_per_s']:,.0f}", f"{row['decisions_per_s']:,.0f}",
            f"{row['decision_us']:.1f}", f"{row['bytes_per_waiting']:,.0f}",
        )  # fmt: skip
    console = Console()
    console.print(table, f"a task that comes alone: {cycle_us:.0f} µs; remembered of one that has ended: {ended:.0f} bytes")
    for claim in claims:
        console.print(f"{'holds' if claim.holds else 'MISSED'}: {claim.what}: {claim.found:,.2f} (wanted: {claim.wanted:,})")


@app.command()
def shards(
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    rounds: Annotated[int, typer.Option(help="Medians of so many.", min=1)] = 5,
) -> None:
    """Decisions of the pure core: one shard in one process, and two in two at the same time."""
    found = shards_bench.measure(rounds)
    if as_json:
        print(json.dumps({"machine": machine(), **found}, indent=1))
        return
    table = Table("", "one shard /s", "two shards /s", "times as many")
    for by, what in (("clock", "by the clock"), ("cpu", "by CPU time given")):
        table.add_row(what, f"{found[by]['one_per_s']:,.0f}", f"{found[by]['two_per_s']:,.0f}", f"{found[by]['ratio']:.2f}")
    Console().print(table)


@app.command()
def ledger(
    facts: Annotated[int, typer.Argument(min=1_000, help="So many facts.")] = 300_000,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """How long a coordinator that starts reads a long ledger from a real stream, and what it then weighs."""
    found = ledger_bench.measure(facts)
    if as_json:
        print(json.dumps({"machine": machine(), **found}, indent=1))
        return
    table = Table(f"{facts:,} facts", "seconds", "CPU seconds", "facts a CPU second", "MB", "bytes a task")
    for what in ("all live", "half are ends"):
        row = found[what]
        table.add_row(
            what, f"{row['wall_s']:.1f}", f"{row['cpu_s']:.1f}", f"{row['facts_per_cpu_s']:,}", f"{row['memory_mb']:.0f}",
            f"{row['bytes_a_task']:,}",
        )  # fmt: skip
    Console().print(table)


@app.command()
def peers(
    names: Annotated[str, typer.Option("--peers", metavar="NAME,NAME", help=f"Only these: {', '.join(CONTESTANTS)}.")] = "",
    letters: Annotated[
        str,
        typer.Option("--only", metavar="A,B", help="Only these: " + "; ".join(f"{one.letter}: {one.title}" for one in ALL) + "."),
    ] = "",
    rounds: Annotated[int, typer.Option(help="Medians of so many.", min=1)] = 5,
    quick: Annotated[bool, typer.Option("--quick", help="One round, smaller sizes: to see whether it works.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="A picture too.")] = None,
) -> None:
    """Ours, what teams use instead, and the floor, side by side in one run on one broker.

    Exit code 1 if somebody could not be measured, or, unless it is quick, a claim does not hold.
    """
    who = _chosen(names, CONTESTANTS, "--peers")
    workloads = [BY_LETTER[letter] for letter in _chosen(letters, tuple(BY_LETTER), "--only")]
    python, missing = python_with_peers([name for name in who if name in PEERS], _say, draw=plot is not None)
    suite = Suite(workloads, who, 1 if quick else rounds, quick, python, _say, missing)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))  # told to end: in order, as by Ctrl-C
    report = asyncio.run(suite.run())
    text = json.dumps(report, indent=1)
    if as_json:
        print(text)
    console = Console(stderr=as_json)
    console.width = max(console.width, WIDTH)
    console.print(*tables(report), sep="\n")
    if plot:
        drawer = Path(__file__).with_name("plot.py")
        drawn = subprocess.run([python, str(drawer), str(plot)], input=text, text=True, stderr=subprocess.PIPE)
        _say(f"drawn: {plot}" if not drawn.returncode else f"no picture could be drawn:\n{drawn.stderr[-1000:]}")
    missed = not quick and any(claim["holds"] is False for claim in report["claims"])
    raise typer.Exit(1 if report["failures"] or missing or missed else 0)


def _chosen(given: str, known: tuple[str, ...], option: str) -> list[str]:
    """Of what is known those that were named; all, if none was."""
    wanted = [name.strip() for name in given.split(",") if name.strip()]
    for name in wanted:
        if name not in known:
            raise typer.BadParameter(f"{option} {name}: there is {', '.join(known)}")
    return [name for name in known if not wanted or name in wanted]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
