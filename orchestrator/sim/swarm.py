"""Many worlds, each from its seed: what was broken, what was tried, and which rows of the tables were walked through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

from orchestrator.sim.coverage import all_rows, counting
from orchestrator.sim.world import World

BATCH = 25


@dataclass(slots=True)
class Swarm:
    """The sum of many runs."""

    seeds: int = 0
    events: int = 0
    virtual_s: float = 0.0
    broken: dict[int, str] = field(default_factory=dict)
    """By seed."""
    faults: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)

    def add(self, other: Swarm) -> None:
        """Take in another sum."""
        self.seeds += other.seeds
        self.events += other.events
        self.virtual_s += other.virtual_s
        self.broken |= other.broken
        for mine, theirs in ((self.faults, other.faults), (self.counts, other.counts), (self.rows, other.rows)):
            mine.update(theirs)

    def missed(self) -> list[str]:
        """Rows of the tables that no run walked through."""
        return [row for row in all_rows() if not self.rows[row]]

    def told(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "seeds": self.seeds,
            "events": self.events,
            "virtual_s": round(self.virtual_s, 1),
            "violations": {str(seed): what for seed, what in sorted(self.broken.items())},
            "faults": dict(sorted(self.faults.items())),
            "counts": dict(sorted(self.counts.items())),
            "rows_walked": len(all_rows()) - len(self.missed()),
            "rows": len(all_rows()),
            "rows_missed": self.missed(),
        }


def fly(seeds: range, stop_at_first: bool = False) -> Swarm:
    """Run these seeds here, one after another."""
    swarm = Swarm()
    with counting() as rows:
        for seed in seeds:
            outcome = World(seed).run()
            swarm.seeds += 1
            swarm.events += outcome.events
            swarm.virtual_s += outcome.virtual_s
            swarm.faults.update(outcome.faults)
            swarm.counts.update(outcome.counts)
            if outcome.broken:
                swarm.broken[seed] = outcome.broken
                if stop_at_first:
                    break
    swarm.rows = rows
    return swarm


def swarm(first: int, seeds: int, jobs: int = 1) -> Iterator[Swarm]:
    """Run ``seeds`` worlds from ``first`` on in ``jobs`` processes; yields the sum after each batch."""
    total = Swarm()
    batches = [range(at, min(at + BATCH, first + seeds)) for at in range(first, first + seeds, BATCH)]
    if jobs <= 1:
        parts: Iterator[Swarm] = map(fly, batches)
        for part in parts:
            total.add(part)
            yield total
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for part in pool.map(fly, batches):
            total.add(part)
            yield total
