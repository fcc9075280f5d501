"""The index of a service's instances: however it is kept, it shows the same order as looking at all of them."""

from __future__ import annotations

from itertools import groupby
from random import Random

import pytest

from orchestrator.core.custody.records import Record
from orchestrator.core.estimates.estimates import Estimates
from orchestrator.core.registry.pools import Pool
from orchestrator.core.registry.registry import Instance
from orchestrator.core.scheduler.choices import EQUALS_COMPARED_MAX, PoolChoice
from orchestrator.policies import ALLOCATIONS
from orchestrator.resources import demand_of, give_back, take
from orchestrator.wire.messages import Announce, Handler, Task

RECORD, DEMAND = Record(Task("t", "s.h"), 0, 0, 0, 0), demand_of({})


class Fleet:
    """Instances that fill and empty by dice."""

    def __init__(self, seed: int, count: int, *, alike: bool) -> None:
        self.dice = Random(seed)
        self.pool = Pool("s")
        self.all: list[Instance] = []
        for number in range(count):
            cpu = 8 if alike else self.dice.choice((4, 8))
            one = Instance(f"i{number:03}", f"i{number}", "s", state="ready")
            one.describe(Announce(one.name, one.incarnation, "s", [Handler("h")], {"slots": 4, "cpu": cpu}))
            self.pool.enter(one)
            self.pool.touch(one)
            self.all.append(one)

    def happen(self) -> None:
        """Something begins or ends somewhere, or somebody leaves."""
        one = self.dice.choice(self.all)
        free, taken = one.free["slots"], one.capacity["slots"] - one.free["slots"]
        if self.dice.random() < 0.02 and len(self.all) > 1:
            self.all.remove(one)
            self.pool.leave(one)
        elif free and (not taken or self.dice.random() < 0.6):
            take(one.free, {"slots": 1000})
        elif taken:
            give_back(one.free, {"slots": 1000})
        self.pool.touch(one)

    def shown(self, allocation: str) -> list[str]:
        """From the least loaded, as a placement sees them."""
        choice = PoolChoice(self.pool, RECORD, DEMAND, ALLOCATIONS[allocation], Estimates(), self.dice)
        return [one.incarnation for one in choice.by_load()]

    def expected(self, allocation: str) -> list[str]:
        """The same, from looking at all: by load and name, of equals a few at a time as the allocation prefers."""
        policy = ALLOCATIONS[allocation]
        room = sorted((one for one in self.all if one.has_room), key=lambda one: (one.load, one.incarnation))
        names: list[str] = []
        for _, same in groupby(room, key=lambda one: one.load):
            equals = list(same)
            for at in range(0, len(equals), EQUALS_COMPARED_MAX):
                few = equals[at : at + EQUALS_COMPARED_MAX]
                few.sort(key=lambda one: (policy.preference(DEMAND, one.free, one.capacity), one.incarnation))
                names += [one.incarnation for one in few]
        return names


@pytest.mark.parametrize("allocation", ["msa", "mra"])
@pytest.mark.parametrize(("count", "alike"), [(1, True), (2, True), (2, False), (5, False), (40, True), (40, False)])
def test_the_index_is_as_true_as_looking_at_all(count: int, alike: bool, allocation: str) -> None:
    """Whether few or many are equally loaded, and whatever has happened since it was last looked at."""
    fleet = Fleet(count, count, alike=alike)
    for _ in range(300):
        for _ in range(fleet.dice.randrange(4)):
            fleet.happen()
        assert fleet.shown(allocation) == fleet.expected(allocation)


def test_sums_are_true_whenever_they_are_asked_for() -> None:
    """Though they are put right later than the order, and a member may have left meanwhile."""
    fleet = Fleet(7, 30, alike=False)
    for turn in range(500):
        fleet.happen()
        assert fleet.pool.open == sum(one.has_room for one in fleet.all)
        if turn % 7 == 0:
            places, free = (sum(one.capacity["slots"] for one in fleet.all), sum(one.free["slots"] for one in fleet.all))
            assert (fleet.pool.places, fleet.pool.taken) == (places / 1000, (places - free) / 1000)
            assert fleet.pool.total["cpu"] == sum(one.capacity["cpu"] for one in fleet.all)
