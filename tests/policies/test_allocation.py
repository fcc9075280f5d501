"""What every allocation must keep: all or nothing, within what is asked for and what is free."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from orchestrator.policies import ALLOCATIONS, Allocation
from orchestrator.policies.allocation import Claim
from orchestrator.resources import Demand, demand_of, fits, give_back, take
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
@given(demand=demands, free=vectors, capacity=vectors)
def test_a_preference_is_a_pure_number(allocation: Allocation, demand: Demand, free: Vector, capacity: Vector) -> None:
    """Sources are totally ordered by it, also those that do not fit."""
    first = allocation.preference(demand, free, capacity)
    assert all(isinstance(part, int) for part in first)
    assert first == allocation.preference(demand, dict(free), dict(capacity))


@every
@settings(max_examples=150, derandomize=True)
@given(asked=st.lists(demands, max_size=5), free=vectors, capacity=vectors)
def test_raising_takes_nothing_away_and_no_more_than_is_free(
    allocation: Allocation, asked: list[Demand], free: Vector, capacity: Vector
) -> None:
    """Nobody gets less than it had, or more than its most; together they get no more than what was free."""
    rest, claims = dict(free), []
    for demand in asked:
        if fits(demand, rest):
            grant = allocation.grant(demand, rest)
            take(rest, grant)
            claims.append(Claim(demand, grant))
    raised = allocation.raised(claims, rest, capacity)
    for claim, grant in zip(claims, raised, strict=True):
        assert all(amount >= claim.grant.get(name, 0) for name, amount in grant.items())
        assert all(low <= grant.get(name, 0) <= high for name, low, high in claim.demand.parts)
        give_back(rest, claim.grant)
    for grant in raised:
        take(rest, grant)  # asserts that it is there


@settings(max_examples=150, derandomize=True)
@given(ranges=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6), free=st.integers(0, 40))
def test_filling_is_fair_and_leaves_nothing_over(ranges: list[tuple[int, int]], free: int) -> None:
    """Max-min: nobody could have one more unless somebody who has no more than that gave it up; no unit that helps stays free."""
    claims = []
    for one in ranges:
        low, high = sorted(one)
        claims.append(Claim(Demand((("cpu", low * 1000, high * 1000),)), {"cpu": low * 1000} if low else {}))
    raised = ALLOCATIONS["fill"].raised(claims, {"cpu": free * 1000}, {"cpu": 100_000})
    amounts = [grant.get("cpu", 0) // 1000 for grant in raised]
    left = free - sum(amounts) + sum(claim.grant.get("cpu", 0) // 1000 for claim in claims)
    assert not any(grant.get("cpu", 0) % 1000 for grant in raised), "ranges between whole numbers, whole units"
    hungry = [amount for amount, one in zip(amounts, ranges, strict=True) if amount < max(one)]
    assert not left or not hungry
    raised_ones = [amount for amount, one in zip(amounts, ranges, strict=True) if amount > min(one)]
    assert not hungry or not raised_ones or max(raised_ones) <= min(hungry) + 1


def test_shares_are_compared_not_sums_of_units() -> None:
    """A megabyte is not a core: the instance on which one of two cores is left is the tighter one, whatever its memory."""
    demand = demand_of({"cpu": 1, "mem_mb": 100})
    capacity = {"cpu": 2000, "mem_mb": 64_000_000, "slots": 9000}
    little_cpu = {"cpu": 1000, "mem_mb": 60_000_000, "slots": 9000}
    little_memory = {"cpu": 2000, "mem_mb": 40_000_000, "slots": 9000}
    for name in ("msa", "mra", "fill"):
        first, second = (ALLOCATIONS[name].preference(demand, free, capacity) for free in (little_cpu, little_memory))
        assert (first < second) == (name == "msa")


def test_the_minimum_comes_from_the_smallest_that_suffices() -> None:
    """``msa`` packs: the large hole stays open for whoever needs it."""
    demand = demand_of({"cpu": Range(1, 4)})
    msa = ALLOCATIONS["msa"]
    small, large = {"cpu": 2000, "slots": 1000}, {"cpu": 8000, "slots": 1000}
    had = {"cpu": 8000, "slots": 9000}
    assert msa.grant(demand, large) == {"cpu": 1000, "slots": 1000}
    assert msa.preference(demand, small, had) < msa.preference(demand, large, had)


def test_the_maximum_comes_from_where_most_is_free() -> None:
    """``mra`` gives as much of the range as there is, from the source that has most."""
    demand = demand_of({"cpu": Range(1, 4)})
    mra = ALLOCATIONS["mra"]
    small, large = {"cpu": 2000, "slots": 1000}, {"cpu": 8000, "slots": 1000}
    had = {"cpu": 8000, "slots": 9000}
    assert mra.grant(demand, small) == {"cpu": 2000, "slots": 1000}
    assert mra.grant(demand, large) == {"cpu": 4000, "slots": 1000}
    assert mra.preference(demand, large, had) < mra.preference(demand, small, had)
