"""Play them from the command line: the long form."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tests.chaos.play import Scenario, Verdict, play
from tests.chaos.scenarios import ONE_NODE, THREE_NODES
from tests.chaos.town import Town

app = typer.Typer(add_completion=False, help=__doc__)
ALL = [*ONE_NODE, *THREE_NODES]


@app.command()
def main(
    only: Annotated[list[str] | None, typer.Option(help="Scenarios whose name has this in it; repeatable")] = None,
    seed: Annotated[int, typer.Option(help="The first seed")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is played")] = 3,
    short: Annotated[bool, typer.Option("--short", help="As in continuous integration")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines")] = False,
    listing: Annotated[bool, typer.Option("--list", help="Say what there is, and play nothing")] = False,
) -> None:
    """Break things, and let a witness count what came of it."""
    chosen = [one for one in ALL if not only or any(word in one.name for word in only)]
    if listing:
        for one in chosen:
            print(f"{one.name:28} {one.nodes} node{'s' if one.nodes > 1 else ' '}  {one.imitates}")
        return
    for name in ("aiormq", "aio_pika", "orchestrator"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # that connections break is what we are here for
    verdicts = asyncio.run(_play_all(chosen, seed, rounds, short))
    print(json.dumps([one.plain() for one in verdicts], indent=1) if as_json else "", end="\n" if as_json else "")
    if not as_json:
        _show(verdicts)
    raise typer.Exit(1 if any(one.faults for one in verdicts) else 0)


async def _play_all(scenarios: list[Scenario], seed: int, rounds: int, short: bool) -> list[Verdict]:
    verdicts = []
    for nodes in sorted({one.nodes for one in scenarios}):
        folder = Path(tempfile.mkdtemp(prefix="chaos."))
        try:
            async with Town(folder, nodes=nodes) as town:
                for scenario in (one for one in scenarios if one.nodes == nodes):
                    for n in range(seed, seed + rounds):
                        verdict = await play(town, scenario, n, short=short)
                        verdicts.append(verdict)
                        _progress(verdict)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return verdicts


def _progress(verdict: Verdict) -> None:
    mark = "BROKEN" if verdict.faults else "held"
    print(
        f"{verdict.scenario}, seed {verdict.seed}: {mark}; {verdict.tasks} tasks, lost {verdict.lost}, twice {verdict.twice}, "
        f"again {verdict.again}, silence {verdict.silence_s:.2f} s, moved {verdict.moved_s} s, {verdict.took_s} s in all"
        f" {verdict.figures or ''}",
        file=sys.stderr,
    )
    for fault in verdict.faults:
        print(f"    {fault}", file=sys.stderr)
    if verdict.story:
        file = Path(tempfile.gettempdir()) / f"chaos.story.{verdict.scenario.replace(' ', '-')}.{verdict.seed}"
        file.write_text(verdict.story)
        print(f"    what they said: {file}", file=sys.stderr)


def _show(verdicts: list[Verdict]) -> None:
    table = Table("what", "seed", "tasks", "lost", "twice", "again", "overlaps", "silence s", "moved s", "else")
    for one in verdicts:
        table.add_row(
            one.scenario, str(one.seed), str(one.tasks), str(one.lost), str(one.twice), str(one.again), str(one.overlaps),
            f"{one.silence_s:.2f}", "" if one.moved_s is None else f"{one.moved_s:.3f}", str(one.figures or ""),
        )  # fmt: skip
    Console(width=150).print(table)
