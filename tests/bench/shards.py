"""What two shards carry beside one: decisions a second of the pure core in one process, and in two at the same time.

Shards share nothing but the broker, so this is what they may gain at most: two cores decide. Every round measures both, one
after the other, each process with a shard of the same size. By the clock it is what this machine gave, whatever else ran on it;
by the time that the processes were given (``cpu``) it is what two shards cost each other on one machine: caches, memory.
"""

from __future__ import annotations

import multiprocessing as mp
import time
from multiprocessing.synchronize import Barrier
from statistics import median
from typing import Any, NamedTuple

from tests.bench.core import SLOTS, Bench

INSTANCES = 100
DECISIONS = 20_000
"""A shard and round."""
WARM = 2_000


class Share(NamedTuple):
    """What one process did in one round."""

    decisions: int
    began_ns: int
    ended_ns: int
    """On one clock for all processes (CLOCK_MONOTONIC)."""
    cpu_ns: int


def measure(rounds: int) -> dict[str, Any]:
    """Medians of ``rounds``: decisions a second of one shard, of two, and how many times as many that is."""
    each = [(_rates(_at_once(1)), _rates(_at_once(2))) for _ in range(rounds)]
    found: dict[str, Any] = {"instances": INSTANCES, "rounds": rounds}
    for number, by in enumerate(("clock", "cpu")):
        found[by] = {
            "one_per_s": median(one[number] for one, _ in each),
            "two_per_s": median(two[number] for _, two in each),
            "ratio": median(two[number] / one[number] for one, two in each),
        }
    return found


def _at_once(shards: int) -> list[Share]:
    """So many shards decide at the same time, each in a process of its own."""
    context = mp.get_context("spawn")
    start, told = context.Barrier(shards), context.SimpleQueue()
    processes = [context.Process(target=_decide, args=(start, told)) for _ in range(shards)]
    for process in processes:
        process.start()
    shares = [Share(*told.get()) for _ in processes]
    for process in processes:
        process.join()
    return shares


def _decide(start: Barrier, told: Any) -> None:
    """A process: fill a shard, wait for the others, decide."""
    bench = Bench(INSTANCES, DECISIONS + WARM)
    bench.take_in(INSTANCES * SLOTS + DECISIONS + WARM)
    bench.decide(WARM)
    before = bench.machine.desk.counts["assigned"]
    start.wait()
    began_ns, cpu_ns = time.monotonic_ns(), time.process_time_ns()
    bench.decide(DECISIONS)
    ended_ns, spent_ns = time.monotonic_ns(), time.process_time_ns() - cpu_ns
    told.put(Share(bench.machine.desk.counts["assigned"] - before, began_ns, ended_ns, spent_ns))


def _rates(shares: list[Share]) -> tuple[float, float]:
    """Decisions a second together: by the clock, and by the time that each was given."""
    span_ns = max(one.ended_ns for one in shares) - min(one.began_ns for one in shares)
    by_clock = sum(one.decisions for one in shares) / span_ns * 1e9
    return by_clock, sum(one.decisions / one.cpu_ns for one in shares) * 1e9
