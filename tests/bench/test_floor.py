"""Ours against the floor: the same hops through plain aio-pika, in the same run. Ratios only; a slow machine is slow for both."""

from __future__ import annotations

import sys
from statistics import median

from tests.bench.stage import playing
from tests.bench.workloads import WIDE
from tests.brokers import VhostPool

ROUNDS = 3
TASKS = {"ours": 4000, "relay": 800}
THROUGHPUT_LEAST = 2.5
"""Times the relay's. Measured: 7 to 15, whatever else the machine does."""
LATENCY_MOST = 1.6
"""Times the relay's. Measured: 0.7 to 1.0; 1.3 is promised."""


async def test_ours_is_no_slower_than_the_bare_hops(vhosts: VhostPool) -> None:
    """Batches beat one message a task by far; and a lone task waits for nothing but its hops."""
    seconds: dict[str, list[float]] = {"ours": [], "relay": []}
    alone_ms: dict[str, list[float]] = {"ours": [], "relay": []}
    async with (
        playing("ours", sys.executable, await vhosts.take(), WIDE) as (ours, _),
        playing("relay", sys.executable, await vhosts.take(), WIDE) as (relay, _),
    ):
        for _ in range(ROUNDS):
            for played in (ours, relay):
                tasks = TASKS[played.name]
                seconds[played.name].append((await played.told({"do": "many", "tasks": tasks}))["seconds"] / tasks)
                alone_ms[played.name].append(median((await played.told({"do": "latency", "tasks": 40}))["each_ms"]))
    throughput = median(seconds["relay"]) / median(seconds["ours"])
    latency = min(alone_ms["ours"]) / min(alone_ms["relay"])
    told = f"throughput {throughput:.2f} x, latency {latency:.2f} x the relay's: {seconds} s a task; p50 {alone_ms} ms"
    print(told)
    assert throughput >= THROUGHPUT_LEAST, told
    assert latency <= LATENCY_MOST, told
