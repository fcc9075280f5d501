"""What is shared, measured by the handlers themselves: a rate, a number at once, devices that nobody else may use meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.client import Client
from orchestrator.vocabulary import NS_PER_S
from tests.e2e.fleet import Fleet, fleet

pytestmark = pytest.mark.broker

FLOOR = "tests.e2e.floor:service"


def told(ours: Fleet) -> Iterator[tuple[str, int, list[str]]]:
    """What the witness saw, in order of time: start or end, when, and what it had."""
    lines = [line.split() for line in ours.witness_file.read_text().splitlines()]
    yield from sorted(((words[0], int(words[2]), words[4:]) for words in lines), key=lambda one: one[1])


def most(ours: Fleet, has: Callable[[list[str]], dict[str, float]]) -> Counter[str]:
    """Of each thing the most that was in use at one time."""
    used: Counter[str] = Counter()
    highest: Counter[str] = Counter()
    for word, _, had in told(ours):
        for name, amount in has(had).items():
            used[name] += amount if word == "start" else -amount  # type: ignore[assignment]  # parts of devices
            highest[name] = max(highest[name], used[name])
    return highest


async def test_twenty_a_second_and_three_at_once(amqp_url: str, tmp_path: Path) -> None:
    """Short calls are held back by the rate, long ones by their number; two workers with forty slots make no difference."""
    async with fleet(amqp_url, tmp_path) as ours, Client(amqp_url) as client:
        await asyncio.gather(ours.coordinator(), ours.worker("one", FLOOR), ours.worker("two", FLOOR))
        await client.ask("limit", name="api", set={"on": "floor.call", "rate": 20, "at_once": 3}, timeout_s=30)
        short = [await client.task("floor.call").submit(seconds=0.01) for _ in range(40)]
        await asyncio.gather(*(one.result(timeout=30) for one in short))
        starts = [at for word, at, _ in told(ours) if word == "start"]
        for first, at in enumerate(starts):
            within = sum(at <= other < at + NS_PER_S for other in starts[first:])
            assert within <= 20 + 2 + 2, f"{within} started within a second"  # the burst; and two whose predecessors were late
        assert (starts[-1] - starts[0]) / NS_PER_S == pytest.approx(38 / 20, rel=0.15), "and no slower than it must be"
        long = [await client.task("floor.call").submit(seconds=0.3) for _ in range(15)]
        await asyncio.gather(*(one.result(timeout=30) for one in long))
        assert most(ours, lambda had: {"calls": 1}) == {"calls": 3}


async def test_devices_are_nobody_elses_meanwhile(amqp_url: str, tmp_path: Path) -> None:
    """Whole and half devices on two workers with two each: none is ever used to more than the whole; halves do share."""
    async with fleet(amqp_url, tmp_path) as ours, Client(amqp_url) as client:
        await asyncio.gather(ours.coordinator(), ours.worker("one", FLOOR), ours.worker("two", FLOOR))
        await ours.ready(client, 2)
        handles = [
            await client.task("floor.train", need={"gpu": amount}).submit(seconds=0.05)
            for amount in [1, 0.5, 0.5, 0.3, 2, 0.7, 1, 0.5] * 5
        ]
        await asyncio.gather(*(one.result(timeout=30) for one in handles))
        highest = most(ours, lambda had: {one.split("=")[0]: float(one.split("=")[1]) for one in had})
        assert len(highest) == 4
        assert all(amount == pytest.approx(1) for amount in highest.values()), highest
        tasks = most(ours, lambda had: {one.split("=")[0]: 1 for one in had})
        assert max(tasks.values()) >= 2, "no two tasks ever shared a device"
