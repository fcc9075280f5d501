"""What to measure, and how to show it."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.bench import core as core_bench
from tests.bench.machine import machine

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
    """Decisions of the pure core: instances x waiting tasks, no broker, no loop, both measured in one process."""
    rows = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        grid = [cell for cell in core_bench.GRID if not quick or cell[1] < 1_000_000]
        for instances, waiting in progress.track(grid, description="cells"):
            rows.append(core_bench.measure(instances, waiting, rounds))
    if as_json:
        print(json.dumps({"machine": machine(), "rows": rows}, indent=1))
        return
    table = Table("instances", "waiting", "taken in /s", "decisions /s", "µs a decision", "bytes a waiting task")
    for row in rows:
        table.add_row(
            f"{row['instances']:,}", f"{row['waiting']:,}", f"{row['accepted_per_s']:,.0f}", f"{row['decisions_per_s']:,.0f}",
            f"{row['decision_us']:.1f}", f"{row['bytes_per_waiting']:,.0f}",
        )  # fmt: skip
    Console().print(table)
