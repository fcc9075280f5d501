"""The demo: the main job, on real input, with a kill half way."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.faults import Fault
from orchestrator.cli.frame import Call, command

if TYPE_CHECKING:
    from rich.console import RenderableType

    from orchestrator.demo.bill import Bill


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    command(app, "demo", example="orchestrator demo --files 600", panel="Run", common=("json", "debug"))(demo)


def demo(
    call: Call,
    files: Annotated[int, typer.Option(metavar="N", help="How many source files to read", min=20, max=20_000)] = 1000,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the broker's data, the logs and the witness, and say where")] = False,
    broker: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Instead of a private RabbitMQ: its coordinator joins those there, and may lead them"),
    ] = None,
) -> int:
    """Real work on three services, one worker killed half way.

    They read the source files of the Python they run on. Ends with the facts found and the bill: submitted, done, lost, run twice,
    and how soon the killed worker's task ran elsewhere. Exit code 0 only if nothing was lost or run twice.

    It has a private RabbitMQ, which goes with it; ORCHESTRATOR_BROKER does not count here.
    """
    import asyncio

    from orchestrator.cli.serve import until_told
    from orchestrator.demo.play import play
    from orchestrator.demo.stage import ProcessDied

    # What is wrong with it, or with the environment that its coordinator has, is told before anything starts.
    call.load(broker=broker)
    directory = Path(tempfile.mkdtemp(prefix="orchestrator-demo-"))
    bills: list[Bill] = []

    async def run() -> None:
        with _progress(quiet=call.json) as (say, progress):
            bills.append(await play(directory, broker, files, say, progress))

    try:
        asyncio.run(until_told(run()))
    except ProcessDied as fault:
        raise Fault(str(fault)) from fault
    finally:
        if keep:
            print(f"kept in {directory}", file=sys.stderr)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    if not bills:
        return 1
    bill = bills[0]
    call.answer({"ok": bill.clean, **bill.as_dict()}, lambda: bill_view(bill.as_dict()))
    return 0 if bill.clean else 1


@contextmanager
def _progress(*, quiet: bool) -> Iterator[tuple[Callable[[str], None], Callable[[int, int], None]]]:
    """A line for each thing worth saying and a bar for the rest, on stderr; lines only if ``quiet`` or if nobody watches."""
    if quiet or not sys.stderr.isatty():
        yield (lambda line: print(line, file=sys.stderr, flush=True)), (lambda done, total: None)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from orchestrator.cli.show import console

    bar = Progress(
        TextColumn("tasks", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console(sys.stderr)
    )  # fmt: skip
    task = bar.add_task("tasks", total=None)
    with bar:
        yield bar.console.print, (lambda done, total: bar.update(task, completed=done, total=total))


def bill_view(bill: dict[str, Any]) -> list[RenderableType]:
    """The facts and the bill, for people."""
    return [*(_facts_view(bill["facts"]) if bill["facts"] else []), _sums_view(bill)]


def _facts_view(told: dict[str, Any]) -> list[RenderableType]:
    from orchestrator.cli.show import facts, table

    sums = facts([
        ("files", f"{told['files']} with {told['lines']:,} lines; Python itself cannot parse {told['unparsable']} of them"),
        ("in them", f"{told['functions']:,} functions ({told['async_functions']:,} async), {told['classes']:,} classes"),
        ("without docstring", f"{told['without_docstring']} files"),
        ("most imported", ", ".join(f"{one['module']} ({one['files']})" for one in told["most_imported"])),
        ("imports most", ", ".join(f"{one['file']} ({one['modules']})" for one in told["imports_most"][:3])),
        ("commonest name", ", ".join(f"{one['name']} ({one['files']})" for one in told["commonest_name"])),
    ])  # fmt: skip
    large = [[one["name"], one["lines"], f"{one['file']}:{one['line']}"] for one in told["largest_functions"]]
    deep = [[f"{one['file']}:{one['line']}", one["depth"]] for one in told["deepest_nesting"]]
    return [
        sums,
        table(["largest functions", "lines", "where"], large, right=["lines"]),
        table(["deepest nesting", "depth"], deep, right=["depth"]),
    ]


def _sums_view(bill: dict[str, Any]) -> RenderableType:
    from orchestrator.cli.show import facts, span

    kills = [f"{one['instance']} (process {one['pid']}) in the middle of its work" for one in bill["kills"]]
    reassigned, waited = bill["reassign_ms"], bill["wait_ms_mean"]
    return facts([
        ("submitted", bill["submitted"]),
        ("done", bill["done"]),
        ("failed", bill["failed"] or None),
        ("lost", bill["lost"]),
        ("run twice", bill["twice"]),
        ("attempts", bill["attempts"]),
        ("killed", ", ".join(kills) or "nobody: it was over too soon"),
        ("reassigned", None if reassigned is None else f"{reassigned:.1f} ms after SIGKILL its task ran elsewhere"),
        ("waited", None if waited is None else f"{waited:,.0f} ms on average, 99 % less than {bill['wait_ms_p99']:,.0f} ms"),
        ("instances", ", ".join(f"{name} did {count}" for name, count in bill["instances"].items())),
        ("took", span(bill["elapsed_s"])),
    ])  # fmt: skip
