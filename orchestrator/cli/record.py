"""What the ledger saw, as a trace: last week's traffic, to be asked "what if"."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.faults import BAD_USAGE, Fault
from orchestrator.cli.frame import Call, command
from orchestrator.cli.words import instant_ns
from orchestrator.vocabulary import DEFAULT_SHARD

if TYPE_CHECKING:
    import asyncio

    from rich.console import RenderableType

    from orchestrator.replay.ledger import Read
    from orchestrator.replay.recorder import Recorder

HOUR_NS = 3600 * 10**9


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    command(app, "record", example="orchestrator record last-week.csv.gz --since 7d", panel="What if")(record)


def record(
    call: Call,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Where to write: .csv, .jsonl (workflows), or either with .gz", show_default=False),
    ],
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only what was accepted since: 24h, 7d, or 2026-01-31T08:00 [default: all there is]"),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what comes, until Ctrl-C")] = False,
    shard: Annotated[str, typer.Option(metavar="NAME", help="Where there are shards: of which one")] = DEFAULT_SHARD,
) -> None:
    """Write what the ledger saw as a trace.

    Every task that ended, with its arrival, run time, demand, tenant, priority, estimate, parents: what `orchestrator simulate` and
    `orchestrator replay` read. A .csv keeps all of that, workflows too; a .jsonl is a line per workflow and keeps less. The ledger
    is bounded: what it does not have any more is said. Each shard has a ledger of its own.
    """
    import asyncio

    since_ns = instant_ns(since, time.time_ns()) if since else 0
    if file.exists():
        raise Fault(f"The file {file} is there already.", "Nothing was written.", "Name another one, or remove it.", code=BAD_USAGE)
    told = asyncio.run(_recorded(call.found.url, shard, file, since_ns, follow=follow))
    call.answer(told, lambda: record_view(told))


async def _recorded(url: str, shard: str, file: Path, since_ns: int, *, follow: bool) -> dict[str, Any]:
    """Read, and write in a thread of its own: packing must not keep the broker waiting. Raises as ``read_ledger``, BadTrace."""
    import asyncio
    from queue import SimpleQueue

    from orchestrator.amqp import Link
    from orchestrator.amqp.errors import Missing
    from orchestrator.replay.ledger import read_ledger
    from orchestrator.replay.recorder import Recorder
    from orchestrator.traces import TraceTask, files, write

    files.form(file)  # a name that says no form is told before anything is read
    recorder = Recorder(since_ns)
    told: SimpleQueue[TraceTask | None] = SimpleQueue()
    link = await Link.open(url, name="orchestrator record", connections=("consume",), shard=shard)
    writing = asyncio.ensure_future(asyncio.to_thread(write, file, iter(told.get, None)))

    def tell(task: TraceTask) -> None:
        if writing.done():
            writing.result()  # the disk is full, say
        told.put(task)

    try:
        with _watched(recorder, follow=follow) as (stop, progress):
            read = await read_ledger(link, recorder, tell, since_ns=since_ns, follow=stop, progress=progress)
    except Missing:
        raise Fault(
            "There is no ledger of this shard on this virtual host: no coordinator has run here yet.", "Nothing was recorded.",
            "Name the broker of the orchestrator that you mean (--broker).",
        ) from None  # fmt: skip
    finally:
        told.put(None)
        await asyncio.wait((writing,))
        if not recorder.told:
            await asyncio.to_thread(file.unlink, missing_ok=True)
        await link.close()
    writing.result()
    if not recorder.told:
        raise Fault(
            f"No task that ran {'was accepted since and ' if since_ns else ''}has ended, as far as the ledger knows.",
            f"Nothing was written. {_left_out(recorder.left_out)}".strip(),
            "Let some work end, then record again.",
        )
    return _summary(file, since_ns, read, recorder)


@contextmanager
def _watched(recorder: Recorder, *, follow: bool) -> Iterator[tuple[asyncio.Event | None, Callable[[Read], None]]]:
    """What ends a reading without end (Ctrl-C), and where people see how far it is (stderr, if it is a terminal)."""
    import asyncio
    import signal

    from rich.progress import BarColumn, Progress, TextColumn

    from orchestrator.cli.show import console

    stop = asyncio.Event() if follow else None
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM) if stop is not None else ()
    screen = console(sys.stderr)
    columns = (TextColumn("reading the ledger"), BarColumn(), TextColumn("{task.fields[told]}"))
    try:
        for number in signals:
            assert stop is not None
            loop.add_signal_handler(number, stop.set)
        with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
            line = bar.add_task("", total=1.0, told="")

            def progress(read: Read) -> None:
                bar.update(line, completed=read.share, told=f"{recorder.told:,} tasks, {recorder.under_way:,} under way")

            yield stop, progress
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def _summary(file: Path, since_ns: int, read: Read, recorder: Recorder) -> dict[str, Any]:
    """What was recorded, and what could not be."""
    return {
        "file": str(file),
        "tasks": recorder.told,
        "workflows": recorder.workflows,
        "from_ns": recorder.begin_ns,
        "to_ns": recorder.last_ns,
        "under_way": recorder.under_way,
        "left_out": dict(recorder.left_out),
        "retried": recorder.retried,
        "elastic": recorder.elastic,
        "asked_nothing": recorder.asked_nothing,
        "edges_lost": recorder.edges_lost,
        "first_offset": read.first,
        "last_offset": read.last,
        "unreadable": read.unreadable,
        "gaps": [[gap.expected, gap.found] for gap in read.gaps],
        "notes": list(_notes(file, since_ns, read, recorder)),
    }


def _notes(file: Path, since_ns: int, read: Read, recorder: Recorder) -> Iterator[str]:
    """What whoever uses the trace should know."""
    from orchestrator.cli.show import instant

    if read.first > 0 and (not since_ns or recorder.begin_ns > since_ns + HOUR_NS):
        yield f"The ledger is bounded and goes back to {instant(recorder.begin_ns)}; what ended before is not in it any more."
    for gap in read.gaps:
        yield f"While we read, {gap.found - gap.expected} entries were cut off: tasks that only they told are missing."
    if recorder.left_out:
        yield _left_out(recorder.left_out)
    if recorder.under_way:
        tasks, run = ("tasks", "they run") if recorder.under_way != 1 else ("task", "it runs")
        yield f"{recorder.under_way:,} {tasks} had not ended, left out: nobody knows yet how long {run}."
    if recorder.retried:
        yield f"{recorder.retried:,} tasks had failed attempts before: only how long the last one ran is known."
    if recorder.elastic:
        yield f"{recorder.elastic:,} tasks asked for a range: the least of it is told."
    if recorder.asked_nothing:
        yield f"{recorder.asked_nothing:,} tasks named no demand: what their handlers ask by default is not in the ledger."
    if recorder.edges_lost:
        yield f"{recorder.edges_lost:,} dependencies on tasks that are left out are left out as well."
    if ".jsonl" in file.name:
        yield "A .jsonl has no room for tenants, priorities, estimates, sizes and deadlines; a .csv keeps them, workflows too."


def _left_out(counts: Mapping[str, int]) -> str:
    if not counts:
        return ""
    return f"Left out: {'; '.join(f'{number:,} ({why})' for why, number in sorted(counts.items()))}."


def record_view(told: dict[str, Any]) -> list[RenderableType]:
    """For people."""
    from orchestrator.cli.show import cell, facts, instant, span

    pairs: list[tuple[str, Any]] = [
        ("trace", told["file"]),
        ("tasks", f"{told['tasks']:,}" + (f", in {told['workflows']:,} workflows and alone" if told["workflows"] else "")),
        ("from", instant(told["from_ns"])),
        ("to", f"{instant(told['to_ns'])} ({span((told['to_ns'] - told['from_ns']) / 1e9)})"),
    ]
    ask = f"Ask it: orchestrator simulate {told['file']} --policy fifo --policy sjf"
    return [facts(pairs), *(cell(note) for note in told["notes"]), cell(ask)]
