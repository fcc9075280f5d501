"""One question to a placement policy: the instances of a service that have room, and the task that wants one.

Law: a view, it changes nothing but the cursor of turns. One serves all tasks of a class in turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from random import Random
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.core.custody.records import Record
from orchestrator.core.estimates.estimates import Estimates
from orchestrator.policies.allocation import Allocation
from orchestrator.policies.placement import Candidate
from orchestrator.resources import Demand, Left
from orchestrator.vocabulary import Nanos

if TYPE_CHECKING:
    from orchestrator.core.registry.pools import Pool
    from orchestrator.core.registry.registry import Instance

EQUALS_COMPARED_MAX = 8
"""Of equally loaded instances the allocation ranks so many: a decision must not walk a thousand idle ones."""


class PoolChoice(Struct, eq=False):
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
        """From the least loaded; of equals a few are ranked as the allocation prefers. One of the first mostly will do."""
        return chain(self._ranked(self.pool.least_loaded(EQUALS_COMPARED_MAX)), self._others())

    def _others(self) -> Iterator[Candidate]:
        """Those after the first few equals."""
        groups = self.pool.by_load(EQUALS_COMPARED_MAX)
        try:
            next(groups, None)
            for equals in groups:
                yield from self._ranked(equals)
        finally:
            groups.close()

    def _ranked(self, equals: list[Instance]) -> list[Instance]:
        """Instances of one load, as the allocation prefers them; alike ones as they come."""
        if len(equals) < 2:
            return equals
        free, capacity = equals[0].free, equals[0].capacity
        for one in equals:
            if one.free != free or one.capacity != capacity:
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
