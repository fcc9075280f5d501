"""The broker's answers to a coordinator come late, or never: real workers, a real broker, a network that holds answers back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orchestrator.client import Client
from tests.amqp.proxy import Proxy
from tests.e2e.fleet import doubled, fleet
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

        async def disturb(number: int) -> None:
            network.hold()
            await network.held_back(HELD_BYTES)
            if number > TASKS // 2:
                network.cut()
            network.release()

        async with Client(amqp_url) as client:
            assert await doubled(client, TASKS, disturb) == [2 * number for number in range(TASKS)]
        assert set(ours.completed().values()) == {1}, ours.logs()
        assert len(ours.completed()) == TASKS
        assert any(word == "session_ended" for word, _ in ears.said)
