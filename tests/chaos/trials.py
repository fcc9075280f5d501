"""The same kill again and again, and how long it takes until work goes on: medians and tails, by the witness's own clock.

worker, told       a worker is killed where the broker tells of lost connections: until its task runs elsewhere
worker, untold     where it does not: the lease has to run out
leader             the leading coordinator is killed: until a task begins that its successor assigned
leader, late       the same in a town that all scenarios on one node have gone through
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

from tests.chaos import faults, witness
from tests.chaos.town import Actor, Town

LEASE_S = 5.0
RUNS_S = 60.0
"""How long the task of a worker that is to be killed would run: it does not end by itself."""
LOOK_S = 0.002
"""How often the witness's file is looked at. The figures do not depend on it: the lines say when they were written."""


@dataclass(frozen=True, slots=True)
class Series:
    """One kind of kill. ``events``: whether the broker tells of lost connections."""

    name: str
    imitates: str
    one: Callable[[Town, Random, Tail], Awaitable[None]]
    """One trial; its figures and its faults go into the tail."""
    p99_s: float
    events: bool = True
    late: bool = False
    """In the town of the scenarios, after these."""


@dataclass(slots=True)
class Tail:
    """What a series came to."""

    series: str
    promised_p99_s: float
    seconds: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """In words, what was not as promised beside the time."""

    def share(self, part: float) -> float:
        """The least time that so large a part of all took at most."""
        ranked = sorted(self.seconds)
        return ranked[min(len(ranked) - 1, int(part * len(ranked)))]

    @property
    def held(self) -> bool:
        """What was promised: nothing was wrong, and it was soon enough."""
        return not self.faults and self.share(0.99) <= self.promised_p99_s

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        shares = {"p50_s": round(self.share(0.5), 4), "p99_s": round(self.share(0.99), 4), "worst_s": round(max(self.seconds), 4)}
        return {**asdict(self), "trials": len(self.seconds), **shares, "held": self.held}


async def _begun(town: Town, wanted: Callable[[list[witness.Run]], Any], within_s: float) -> Any:
    """Look at the witness until it has seen this."""
    async with asyncio.timeout(within_s):
        while not (found := wanted(witness.read(town.witness))):  # noqa: ASYNC110  a file rings no bell
            await asyncio.sleep(LOOK_S)
    return found


async def worker_killed(town: Town, dice: Random, tail: Tail) -> None:
    """One task each on all workers; some of these are killed at one moment. All are cancelled in the end, and say so."""
    town.witness.write_text("")
    handles = await town.client.submit_many(town.client.task("town.hold").call(seconds=RUNS_S) for _ in town.workers)
    tasks = {handle.id for handle in handles}
    runs = await _begun(town, lambda runs: len(runs) == len(tasks) and runs, 30)
    where = {run.pid: run for run in runs}
    victims: list[Actor] = dice.sample([one for one in town.workers if one.pid in where], (len(town.workers) + 1) // 2)
    hit = {where[one.pid].task for one in victims}
    now = time.monotonic_ns()
    await faults.kill(town, *victims)

    def all_again(runs: list[witness.Run]) -> list[witness.Run]:
        again = [run for run in runs if run.task in hit and run.began_ns > now]
        return again if len(again) == len(hit) else []

    again = await _begun(town, all_again, 60)
    for handle in handles:
        if not await handle.cancel():
            tail.faults.append(f"{handle.id} was over, or nobody knew it")
    for handle in handles:
        if (outcome := (await handle.outcome(60)).outcome) != "cancelled":
            tail.faults.append(f"{handle.id} was cancelled, and ended as {outcome}")
    await town.revive()
    tail.seconds += [(run.began_ns - now) / witness.NS for run in again]


async def leader_killed(town: Town, dice: Random, tail: Tail) -> None:
    """Under a steady load: from the kill to the first task that begins under a later epoch. All of the load is done, and once."""
    town.witness.write_text("")
    async with town.load(rate=100) as load:
        await asyncio.sleep(0.2 + dice.random() / 2)
        epoch = max(_epoch(run) for run in witness.read(town.witness))
        now = time.monotonic_ns()
        await faults.kill(town, town.leader)
        first = await _begun(town, lambda runs: next((run for run in runs if _epoch(run) > epoch), None), 60)
    account = witness.judge(witness.read(town.witness), set(load.sent), town.harms, now, load.over_ns)
    found = {"lost": load.lost, "wrong": list(load.wrong), "twice": account.twice, "unconfirmed": load.unknown}
    tail.faults += [f"{what}: {tasks} of {load.asked}" for what, tasks in found.items() if tasks]
    await town.revive()
    tail.seconds.append((first.began_ns - now) / witness.NS)


def _epoch(run: witness.Run) -> int:
    return int(run.attempt.partition("#")[0])


async def run_series(town: Town, series: Series, trials: int, seed: int, told: Callable[[int], None] = lambda done: None) -> Tail:
    """So many figures, or a few more."""
    tail = Tail(series.name, series.p99_s)
    dice = Random(f"{series.name}{seed}")
    await town.revive()
    while len(tail.seconds) < trials:
        await series.one(town, dice, tail)
        told(len(tail.seconds))
    return tail


ALL = [
    Series("worker, told", "a worker is killed: until its task runs elsewhere", worker_killed, 0.1),
    Series("leader", "the leader is killed: until a task begins that its successor assigned", leader_killed, 0.5),
    Series("leader, late", "the same, in a town that has gone through all scenarios", leader_killed, 0.5, late=True),
    Series("worker, untold", "a worker is killed, and nobody tells", worker_killed, LEASE_S + 0.5, events=False),
]
