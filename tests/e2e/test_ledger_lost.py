"""The ledger is deleted under load: real processes, a leader and a standby, an independent witness of what ran."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from orchestrator.amqp import Link, topology
from orchestrator.client import Client
from tests.e2e.fleet import ROOT, Fleet, doubled, fleet

pytestmark = pytest.mark.broker

TASKS = 3_000


async def test_the_ledger_is_deleted_under_load_and_nothing_is_lost_or_done_twice(amqp_url: str, tmp_path: Path) -> None:
    """Deleted twice, after a third and after two thirds of the results: every task ends once, with its own value, and ran once;
    the command line says what happened."""
    async with fleet(amqp_url, tmp_path) as ours:
        await asyncio.gather(
            ours.coordinator("first"), ours.coordinator("second"), ours.worker("worker-1"), ours.worker("worker-2")
        )
        values = await _produce(amqp_url)
        assert values == [2 * number for number in range(TASKS)], ours.logs()
        completed = ours.completed()
        assert len(completed) == TASKS
        assert {task: count for task, count in completed.items() if count > 1} == {}, ours.logs()
        lost = (await _ask(ours, "status"))["ledger_lost"]
        assert (lost["complete"], lost["unknown"]) == (True, 0), ours.logs()
        assert ("ledger", "warn") in [(one["check"], one["state"]) for one in (await _ask(ours, "doctor"))["checks"]]


async def _produce(url: str) -> list[int]:
    async with Client(url) as client, await Link.open(url, name="operator") as operator:

        async def delete(_: int) -> None:
            await operator.delete_queue(topology.LEDGER)

        return await doubled(client, TASKS, delete)


async def _ask(ours: Fleet, *words: str) -> dict:  # type: ignore[type-arg]
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "orchestrator", *words, "--json", env=ours.environment, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await command.communicate()
    return json.loads(told)  # type: ignore[no-any-return]
