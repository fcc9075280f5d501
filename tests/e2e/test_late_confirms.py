"""The broker's answers to a coordinator come late, or never: real workers, a real broker, a network that holds answers back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orchestrator.client import Client
from tests.amqp.proxy import Proxy
from tests.e2e.fleet import fleet
from tests.live.peers import running

pytestmark = pytest.mark.broker

TASKS = 600
HELD_BYTES = 5_000
"""So much is held back: confirms of appends and of results, facts read back, reports, beats."""


async def test_confirms_and_facts_that_come_late_or_are_lost(amqp_url: str, tmp_path: Path) -> None:
    """First all that the broker says to the coordinator comes late; then it is lost with the connection, answers to appends too.
    Every task ends once, with its value; none runs twice, since no worker was disturbed."""
    async with fleet(amqp_url, tmp_path) as ours, Proxy(amqp_url) as network, running(network.url) as ears:
        await asyncio.gather(ours.worker("worker-1"), ours.worker("worker-2"), ears.heard("leading"))
        ended = asyncio.Queue[int]()

        async def one(client: Client, number: int) -> int:
            value = await client.run("steps.double", number=number)
            assert isinstance(value, int)
            ended.put_nowait(number)
            return value

        async with Client(amqp_url) as client, asyncio.timeout(240), asyncio.TaskGroup() as group:
            runs = [group.create_task(one(client, number)) for number in range(TASKS)]
            for number in range(TASKS):
                await ended.get()
                if number in (TASKS // 3, TASKS * 2 // 3):
                    network.hold()
                    await network.held_back(HELD_BYTES)
                    if number > TASKS // 2:
                        network.cut()
                    network.release()
        assert [run.result() for run in runs] == [2 * number for number in range(TASKS)]
        assert set(ours.completed().values()) == {1}, ours.logs()
        assert len(ours.completed()) == TASKS
        assert any(word == "session_ended" for word, _ in ears.said)
