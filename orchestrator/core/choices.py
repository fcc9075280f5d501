"""One question to a placement policy: the instances of a service that have room, and the task that wants one.

Law: a view, it changes nothing but the cursor of turns.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.core.estimates import Estimates
from orchestrator.core.records import Record
from orchestrator.policies.allocation import Allocation
from orchestrator.policies.placement import Candidate
from orchestrator.resources import Demand, Left
from orchestrator.vocabulary import Nanos

if TYPE_CHECKING:
    from orchestrator.core.pools import Pool
    from orchestrator.core.registry import Instance

EQUALS_COMPARED_MAX = 8
"""Of equally loaded instances the allocation ranks so many: a decision must not walk a thousand idle ones."""


class PoolChoice(Struct, frozen=True):
    """One question to a placement policy."""

    pool: Pool
    record: Record
    demand: Demand
    allocation: Allocation
    estimates: Estimates
    dice: Random

    @property
    def affinity(self) -> str:
        return self.record.task.affinity

    def expected_ns(self, one: Candidate) -> Nanos:
        """What such tasks take from here on, as fast as that instance may be."""
        name = self.pool.members[one.incarnation].name
        return round(self.estimates.remaining(self.record).mean_ns / self.estimates.speeds.hopeful(self.record.task.type, name))

    def __len__(self) -> int:
        return self.pool.open

    def at(self, index: int) -> Candidate:
        return self.pool.opened(index)

    def by_load(self) -> Iterator[Candidate]:
        """From the least loaded; of equals a few are ranked as the allocation prefers."""
        yield from self._ranked(self.pool.least_loaded(EQUALS_COMPARED_MAX))  # one of them mostly will do
        groups = self.pool.by_load(EQUALS_COMPARED_MAX)
        try:
            next(groups, None)
            for equals in groups:
                yield from self._ranked(equals)
        finally:
            groups.close()

    def _ranked(self, equals: list[Instance]) -> list[Instance]:
        """Instances of one load, as the allocation prefers them; alike ones as they come."""
        first = equals[0] if equals else None
        for one in equals:
            if one is not first and first is not None and (one.free != first.free or one.capacity != first.capacity):
                return sorted(equals, key=lambda one: (self._preference(one), one.incarnation))
        return equals

    def turn(self) -> int:
        self.pool.turns += 1
        return self.pool.turns - 1

    def draw(self, count: int) -> list[Instance]:
        return self.pool.draw(count, self.dice)

    def home(self, key: str) -> Candidate | None:
        return self.pool.home(key)

    def _preference(self, instance: Instance) -> Left:
        return self.allocation.preference(self.demand, instance.free, instance.capacity)
