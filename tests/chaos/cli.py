"""Play them from the command line: the long form."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tests.chaos import trials
from tests.chaos.clocks import CannotInject
from tests.chaos.nodes import Torn
from tests.chaos.play import Scenario, Verdict, play
from tests.chaos.scenarios import ONE_NODE, SMALL_DISK, THREE_NODES
from tests.chaos.town import Town

app = typer.Typer(add_completion=False, help=__doc__)


@app.command()
def main(
    only: Annotated[list[str] | None, typer.Option(help="Scenarios and series whose name has this in it; repeatable")] = None,
    seed: Annotated[int, typer.Option(help="The first seed")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="How often each scenario is played")] = 3,
    kills: Annotated[int, typer.Option(min=1, help="Figures of each series")] = 50,
    short: Annotated[bool, typer.Option("--short", help="Scenarios as in continuous integration")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines")] = False,
    listing: Annotated[bool, typer.Option("--list", help="Say what there is, and play nothing")] = False,
) -> None:
    """Break things, and let a witness count what came of it.

    Ends with 1 if a promise was broken, and with 3 if none was but some fault cannot be injected on this machine.
    """
    scenarios = [one for one in (*ONE_NODE, *SMALL_DISK, *THREE_NODES) if not only or any(word in one.name for word in only)]
    series = [one for one in trials.ALL if not only or any(word in one.name for word in only)]
    for word in only or ():
        if not any(word in name for name in [one.name for one in scenarios] + [one.name for one in series]):
            raise typer.BadParameter(f"--only {word}: nothing is called that (--list says what there is)")
    if listing:
        for one in scenarios:
            print(f"{one.name:26} {one.nodes} node{'s' if one.nodes > 1 else ' '}  {one.imitates}")
        for each in series:
            print(f"{each.name:26} series   {each.imitates}")
        return
    for name in ("aiormq", "aio_pika", "orchestrator"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # that connections break is what we are here for
    verdicts, tails = asyncio.run(_all(scenarios, series, seed, rounds, kills, short))
    if as_json:
        print(json.dumps({"scenarios": [one.plain() for one in verdicts], "series": [one.plain() for one in tails]}, indent=1))
    else:
        _show(verdicts, tails)
    if any(one.faults for one in verdicts) or not all(one.held for one in tails):
        raise typer.Exit(1)
    raise typer.Exit(3 if any(one.missing for one in verdicts) else 0)


async def _all(
    scenarios: list[Scenario], series: list[trials.Series], seed: int, rounds: int, kills: int, short: bool
) -> tuple[list[Verdict], list[trials.Tail]]:
    verdicts, tails = [], []
    early, late = ([one for one in series if one.late is when] for when in (False, True))
    for events in sorted({one.events for one in early}, reverse=True):
        async with _town(workers=6, events=events, doors=False) as town:
            tails += [await _run(town, each, kills, seed) for each in early if each.events is events]
    kinds: set[tuple[int, int, Torn]] = {(one.nodes, one.disk_mb, one.torn) for one in scenarios}
    for nodes, disk_mb, torn in sorted(kinds | ({(1, 0, "autoheal")} if late else set())):
        here = [one for one in scenarios if (one.nodes, one.disk_mb, one.torn) == (nodes, disk_mb, torn)]
        try:
            async with _town(nodes=nodes, disk_mb=disk_mb, torn=torn) as town:
                for scenario in here:
                    for n in range(seed, seed + rounds):
                        verdicts.append(await play(town, scenario, n, short=short))
                        _tell(verdicts[-1])
                if (nodes, disk_mb) == (1, 0):
                    tails += [await _run(town, each, kills, seed) for each in late]
        except CannotInject as why:
            for scenario in here:
                verdicts.append(Verdict(scenario.name, seed, missing=str(why)))
                _tell(verdicts[-1])
    return verdicts, tails


async def _run(town: Town, series: trials.Series, kills: int, seed: int) -> trials.Tail:
    tail = await trials.run_series(town, series, kills, seed)
    _say(f"{tail.series}: {len(tail.seconds)} kills, p50 {tail.share(0.5):.3f} s, p99 {tail.share(0.99):.3f} s")
    for fault in tail.faults:
        _say(f"    {fault}")
    return tail


@asynccontextmanager
async def _town(
    *, nodes: int = 1, workers: int = 3, events: bool = True, doors: bool = True, disk_mb: int = 0, torn: Torn = "autoheal"
) -> AsyncIterator[Town]:
    folder = Path(tempfile.mkdtemp(prefix="chaos."))
    try:
        async with Town(folder, nodes=nodes, workers=workers, events=events, doors=doors, disk_mb=disk_mb, torn=torn) as town:
            yield town
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _tell(one: Verdict) -> None:
    if one.missing:
        _say(f"{one.scenario}, seed {one.seed}: NOT INJECTED, so nothing is known of it: {one.missing}")
        return
    _say(
        f"{one.scenario}, seed {one.seed}: {'BROKEN' if one.faults else 'held'}; {one.tasks} tasks, unconfirmed {one.unknown}, "
        f"lost {one.lost}, twice {one.twice}, again {one.again}, silence {one.silence_s:.2f} s, {one.took_s} s in all "
        f"{one.figures or ''}"
    )
    for fault in one.faults:
        _say(f"    {fault}")
    if one.story:
        file = Path(tempfile.gettempdir()) / f"chaos.story.{one.scenario.replace(' ', '-')}.{one.seed}"
        file.write_text(one.story)
        _say(f"    what they said: {file}")


def _show(verdicts: list[Verdict], tails: list[trials.Tail]) -> None:
    console = Console(width=130)
    if tails:
        table = Table("killed", "trials", "p50 s", "p99 s", "worst s", "promised p99 s")
        for tail in tails:
            row = (tail.share(0.5), tail.share(0.99), max(tail.seconds))
            table.add_row(tail.series, str(len(tail.seconds)), *(f"{one:.3f}" for one in row), f"{tail.promised_p99_s}")
        console.print(table)
    if verdicts:
        table = Table("what", "seed", "tasks", "lost", "twice", "again", "overlaps", "silence s", "moved s", "else")
        for one in verdicts:
            counts = (one.seed, one.tasks, one.lost, one.twice, one.again, one.overlaps)
            moved = "" if one.moved_s is None else f"{one.moved_s:.3f}"
            told = f"NOT INJECTED: {one.missing}" if one.missing else str(one.figures or "")
            table.add_row(one.scenario, *map(str, counts), f"{one.silence_s:.2f}", moved, told)
        console.print(table)
