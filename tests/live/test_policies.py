"""Policies on a real broker: switched while hundreds wait, set for one service, brought by another distribution."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from orchestrator.live import plugins
from orchestrator.vocabulary import NS_PER_S
from orchestrator.wire.messages import Orders
from tests.live.peers import ScriptedAgent, Task, agent, coordinator, producer

pytestmark = pytest.mark.broker

HOUSE = Path(__file__).parents[1] / "data" / "plugins"
BACKLOG = 300


async def taken(worker: ScriptedAgent, number: int) -> list[str]:
    """The tasks that are sent to it, in their order."""
    found: list[str] = []
    while len(found) < number:
        orders = await worker.next(Orders, lambda one: bool(one.assign))
        found += [one.task for one in orders.assign]
    return found


async def test_switching_the_ordering_with_a_backlog_loses_nothing(amqp_url: str) -> None:
    """Three hundred wait; the policy is switched four times, a coordinator dies in between; they go in the order of the last."""
    dice = Random(7)
    spans = dice.sample(range(1, 10_000), BACKLOG)
    tasks = [Task(f"t{n}", "s.h", estimate_ns=span * NS_PER_S, priority=dice.randrange(5)) for n, span in enumerate(spans)]
    async with producer(amqp_url) as client:
        async with coordinator(amqp_url):
            for first in range(0, BACKLOG, 50):
                client.submit(*tasks[first : first + 50])
            while (await client.ask("status"))["waiting"] < BACKLOG:
                pass
            for spec in ("edf", "dps:size=2", "fair"):
                assert (await client.ask("policy", ordering=spec))["now"]["ordering"] == spec
        async with coordinator(amqp_url):
            assert (await client.ask("policy"))["now"]["ordering"] == "fair"
            await client.ask("policy", ordering="sjf", set={"ageing": "off"})
            assert (await client.ask("status"))["waiting"] == BACKLOG
            async with agent(amqp_url, "s", "h", capacity={"slots": BACKLOG}) as worker:
                order = await taken(worker, BACKLOG)
    assert order == [task.id for task in sorted(tasks, key=lambda one: one.estimate_ns or 0)]


async def test_a_service_of_its_own_mind(amqp_url: str) -> None:
    """One service goes by size, all others by arrival."""
    tasks = [(f"{service}{n}", f"{service}.h", (9 - n) * NS_PER_S) for service in ("a", "b") for n in range(5)]
    async with producer(amqp_url) as client, coordinator(amqp_url, ordering="fifo"):
        await client.ask("policy", ordering="sjf", service="b")
        client.submit(*(Task(id, type_, estimate_ns=span_ns) for id, type_, span_ns in tasks))
        while (await client.ask("status"))["waiting"] < 10:
            pass
        async with agent(amqp_url, "a", "h", capacity={"slots": 5}) as one, agent(amqp_url, "b", "h", capacity={"slots": 5}) as two:
            assert await taken(one, 5) == ["a0", "a1", "a2", "a3", "a4"]
            assert await taken(two, 5) == ["b4", "b3", "b2", "b1", "b0"]


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The distribution ``house-policies`` is installed."""
    monkeypatch.syspath_prepend(str(HOUSE))
    importlib.invalidate_caches()
    plugins.catalogue.cache_clear()
    yield
    monkeypatch.undo()
    plugins.catalogue.cache_clear()


async def test_a_policy_of_another_distribution_decides(amqp_url: str, house: None) -> None:
    """Found by its entry point, named with its settings, switched to live; what is broken beside it is told and hinders nobody."""
    async with producer(amqp_url) as client, coordinator(amqp_url, placement="by_name"):
        told: dict[str, Any] = await client.ask("policy", explain=True)
        assert told["now"]["placement"] == "by_name"
        assert told["about"]["ordering"]["lifo"]["from"] == "house-policies 1.4"
        assert {one["name"] for one in told["broken"]} == {"gone", "loose", "picky", "fifo", "keyless"}
        assert (await client.ask("policy", ordering="lifo:patience=0s"))["now"]["ordering"] == "lifo:patience=0s"
        for n in range(20):
            client.submit(Task(f"t{n}", "s.h"))
            while (await client.ask("status"))["waiting"] <= n:
                pass
        async with agent(amqp_url, "s", "h", capacity={"slots": 20}) as worker:
            assert await taken(worker, 20) == [f"t{n}" for n in range(19, -1, -1)]
