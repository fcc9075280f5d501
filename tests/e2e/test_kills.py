"""Any one process may die at any moment: every task ends exactly once, as its producer sees it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from orchestrator.client import Client
from orchestrator.live.embedded import EmbeddedBroker
from tests.e2e.fleet import Fleet, fleet

pytestmark = pytest.mark.broker

TASKS = 5_000
SEEDS = range(1, 21)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def mortal_broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedBroker]:
    """A node that all trials share and any of them may kill: the ledger of one trial is the history of the next."""
    async with EmbeddedBroker(tmp_path_factory.mktemp("mortal")) as node:
        yield node


@pytest.mark.parametrize("seed", SEEDS)
async def test_one_process_dies_and_comes_back(seed: int, mortal_broker: EmbeddedBroker, tmp_path: Path) -> None:
    """5,000 tasks; at a random moment the coordinator, a worker or the broker is killed and started again."""
    dice = random.Random(seed)
    victim = dice.choice(["coordinator", "worker-1", "broker"])
    moment = dice.randrange(50, TASKS - 500)
    async with fleet(mortal_broker.url, tmp_path) as ours:
        await asyncio.gather(ours.coordinator(), ours.worker("worker-1"), ours.worker("worker-2"))
        began = time.monotonic()
        values, took = await _produce(ours, mortal_broker, victim, moment)
        assert values == [2 * number for number in range(TASKS)]
        completed = ours.completed()
        twice = sum(count > 1 for count in completed.values())
        print(
            f"seed {seed}: {victim} killed after {moment} results; {len(values)} ended, {twice} ran twice, "
            f"back after {took:.2f} s, {time.monotonic() - began:.1f} s in all"
        )
        assert len(completed) == TASKS
        if victim == "coordinator":
            assert twice == 0, "no worker died: nothing may run twice"


async def _produce(ours: Fleet, broker: EmbeddedBroker, victim: str, moment: int) -> tuple[list[int], float]:
    """Submit everything, kill after ``moment`` results, bring back, and collect; gives the values and the time without a result."""
    ended = 0
    struck = asyncio.Event()
    came_back = asyncio.get_running_loop().create_future()

    async def one(client: Client, number: int) -> int:
        nonlocal ended
        value = await client.run("steps.double", number=number)
        assert isinstance(value, int)
        ended += 1
        if ended == moment:
            struck.set()
        elif struck.is_set() and killed_at and not came_back.done():
            came_back.set_result(time.monotonic() - killed_at)
        return value

    killed_at = 0.0
    async with Client(broker.url) as client, asyncio.timeout(120), asyncio.TaskGroup() as group:
        runs = [group.create_task(one(client, number)) for number in range(TASKS)]
        await struck.wait()
        if victim == "broker":
            await broker.kill()
            killed_at = time.monotonic()
            await broker.start()
        else:
            await ours.kill(victim)
            killed_at = time.monotonic()
            await ours.start(victim)
    return [run.result() for run in runs], came_back.result() if came_back.done() else 0.0
