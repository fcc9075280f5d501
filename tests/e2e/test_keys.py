"""Two producers that want the same, and a leader that dies: each thing is done once, as an independent witness has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from orchestrator.client import Client, Handle, SyncClient, TaskFailed, TaskRefused
from orchestrator.live.embedded import EmbeddedBroker
from tests.e2e.fleet import fleet

pytestmark = pytest.mark.broker

KEYS = 200


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedBroker]:
    """A node of its own: the kill must not meet other tests' coordinators."""
    async with EmbeddedBroker(tmp_path_factory.mktemp("keys")) as node:
        yield node


async def test_two_producers_one_effect(broker: EmbeddedBroker, tmp_path: Path) -> None:
    """Both ask for the same 200 things at once; the leader is killed in the middle, its standby goes on. Then both ask again."""
    async with fleet(broker.url, tmp_path) as ours, Client(broker.url) as one, Client(broker.url) as other:
        await ours.coordinator("c1")
        await ours.worker("worker")
        await one.task("steps.node", key="warm").run(seconds=0)
        await ours.coordinator("c2")

        async def ask(client: Client) -> list[Handle]:
            return [await client.task("steps.node", key=f"k{n}").submit(seconds=0.2) for n in range(KEYS)]

        first, second = await asyncio.gather(ask(one), ask(other))
        await first[KEYS // 10]
        await ours.kill("c1")
        async with asyncio.timeout(60):
            assert [await each for each in (*first, *second)] == [1] * 2 * KEYS
            third = await asyncio.gather(ask(one), ask(other))
            assert [await each for handles in third for each in handles] == [1] * 2 * KEYS
        did = [[handles[n].first for handles in (first, second, *third)] for n in range(KEYS)]
        assert all(len(set(ids)) == 1 for ids in did), "all four heard of one task"
        completed = ours.completed()
        assert sum(completed.values()) == KEYS + 1, f"{len(completed)} tasks ran"


async def test_what_frees_a_key_and_what_does_not(broker: EmbeddedBroker, tmp_path: Path) -> None:
    """Without a loop too: other arguments are refused, a failure frees the key, a cached result serves."""
    async with fleet(broker.url, tmp_path) as ours:
        await asyncio.gather(ours.coordinator("c"), ours.worker("worker"))

        def story() -> None:
            with SyncClient(broker.url) as client:
                keyed = client.task("steps.node", key="order-7", retries=0)
                with pytest.raises(TaskFailed):
                    keyed.run(seconds="soon")
                handle = keyed.submit(seconds=0)
                assert (handle.result(10), handle.first) == (1, handle.id)
                with pytest.raises(TaskRefused, match=f"task '{handle.id}' \\(done\\) holds the key 'order-7'"):
                    keyed.run(seconds=1)
                cached = client.task("steps.node", cache_for="1m")
                made = cached.submit(seconds=0.01, above=[1, 2])
                made.result(10)
                again = cached.submit(above=[1, 2], seconds=0.01)
                assert (again.result(10), again.first) == (3, made.id)
                assert client.ask("key", type="steps.node", key="order-7")["task"] == handle.id

        await asyncio.to_thread(story)
