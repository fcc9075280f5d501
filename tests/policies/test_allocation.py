"""What every allocation must keep: all or nothing, within what is asked for and what is free."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from orchestrator.policies import ALLOCATIONS, Allocation
from orchestrator.resources import Demand, demand_of, fits
from orchestrator.vocabulary import Vector
from orchestrator.wire.messages import Range

NAMES = ("cpu", "gpu", "mem", "slots")
amounts = st.integers(0, 5000)
parts = st.lists(
    st.tuples(st.sampled_from(NAMES), amounts, amounts).map(lambda one: (one[0], min(one[1:]), max(one[1:]))),
    unique_by=lambda one: one[0],
    max_size=4,
)
demands = parts.map(lambda some: Demand(tuple(sorted(some))))
vectors = st.dictionaries(st.sampled_from(NAMES), amounts, max_size=4)
every = pytest.mark.parametrize("allocation", ALLOCATIONS.values(), ids=ALLOCATIONS)


@every
@settings(max_examples=150, derandomize=True)
@given(demand=demands, free=vectors)
def test_a_grant_is_within_the_demand_and_what_is_free(allocation: Allocation, demand: Demand, free: Vector) -> None:
    """For every resource named at least the least, at most the most, never more than is free; of no other resource anything."""
    assume(fits(demand, free))
    before = dict(free)
    grant = allocation.grant(demand, free)
    assert free == before, "an allocation does not take, it says what to take"
    for name, low, high in demand.parts:
        assert low <= grant.get(name, 0) <= min(high, free.get(name, 0))
    assert grant.keys() <= {name for name, _, _ in demand.parts}
    assert all(grant.values()), "nothing is granted by leaving it out"
    assert grant == allocation.grant(demand, free), "the same question has the same answer"


@every
@settings(max_examples=60, derandomize=True)
@given(demand=demands, free=vectors)
def test_a_preference_is_a_pure_number(allocation: Allocation, demand: Demand, free: Vector) -> None:
    """Sources are totally ordered by it, also those that do not fit."""
    assert isinstance(allocation.preference(demand, free), int)
    assert allocation.preference(demand, free) == allocation.preference(demand, dict(free))


def test_the_minimum_comes_from_the_smallest_that_suffices() -> None:
    """``msa`` packs: the large hole stays open for whoever needs it."""
    demand = demand_of({"cpu": Range(1, 4)})
    msa = ALLOCATIONS["msa"]
    small, large = {"cpu": 2000, "slots": 1000}, {"cpu": 8000, "slots": 1000}
    assert msa.grant(demand, large) == {"cpu": 1000, "slots": 1000}
    assert msa.preference(demand, small) < msa.preference(demand, large)


def test_the_maximum_comes_from_where_most_is_free() -> None:
    """``mra`` gives as much of the range as there is, from the source that has most."""
    demand = demand_of({"cpu": Range(1, 4)})
    mra = ALLOCATIONS["mra"]
    small, large = {"cpu": 2000, "slots": 1000}, {"cpu": 8000, "slots": 1000}
    assert mra.grant(demand, small) == {"cpu": 2000, "slots": 1000}
    assert mra.grant(demand, large) == {"cpu": 4000, "slots": 1000}
    assert mra.preference(demand, large) < mra.preference(demand, small)
