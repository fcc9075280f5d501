"""The arithmetic of resources: integers, all or nothing, what is taken is given back exactly."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from orchestrator.policies import ALLOCATIONS
from orchestrator.resources import Demand, demand_of, fits, give_back, shortages, take
from orchestrator.vocabulary import Vector, milli, plain, plain_vector, vector
from orchestrator.wire.messages import Range
from tests.policies.test_allocation import demands, vectors

amount = st.floats(0, 1e6, allow_nan=False).map(lambda number: round(number, 3))


@settings(max_examples=150, derandomize=True)
@given(demand=demands, free=vectors, steps=st.lists(st.booleans(), max_size=30))
def test_what_is_taken_is_given_back_exactly(demand: Demand, free: Vector, steps: list[bool]) -> None:
    """In whatever order grants come and go, what is free and what is granted add up; in the end everything is free again."""
    had = dict(free)
    grants: list[Vector] = []
    for n, want in enumerate(steps):
        if want and fits(demand, free):
            grant = ALLOCATIONS["mra" if n % 2 else "msa"].grant(demand, free)
            take(free, grant)
            grants.append(grant)
        elif not want and grants:
            give_back(free, grants.pop(n % len(grants)))
        for name in had:
            assert had[name] == free[name] + sum(grant.get(name, 0) for grant in grants)
        assert all(left >= 0 for left in free.values())
    while grants:
        give_back(free, grants.pop())
    assert {name: left for name, left in free.items() if left} == {name: left for name, left in had.items() if left}


@settings(max_examples=100, derandomize=True)
@given(demand=demands, free=vectors)
def test_it_fits_or_something_is_short(demand: Demand, free: Vector) -> None:
    """The filter and the reason for it are of one mind."""
    assert fits(demand, free) == (not shortages(demand, free))
    for short in shortages(demand, free):
        assert short.wanted > short.free
        assert short.resource in str(short)


@settings(max_examples=100, derandomize=True)
@given(low=amount, high=amount, slots=amount)
def test_a_demand_is_what_was_asked_for(low: float, high: float, slots: float) -> None:
    """In thousandths, sorted, with a slot unless another number was asked for."""
    assume(milli(slots) > 0)
    if milli(low) > milli(high):
        with pytest.raises(ValueError, match="exceeds"):
            demand_of({"cpu": Range(low, high)})
        return
    demand = demand_of({"cpu": Range(low, high), "slots": slots})
    assert demand.least.get("slots") == milli(slots)
    assert demand == demand_of({"slots": slots, "cpu": Range(low, high)})
    assert hash(demand) == hash(demand_of({"slots": slots, "cpu": Range(low, high)}))


def test_no_slot_at_all_makes_no_sense() -> None:
    """A task that takes nothing could be given to one instance without end."""
    for nothing in (0.0, 0.0001, Range(0, 1)):
        with pytest.raises(ValueError, match="slots"):
            demand_of({"slots": nothing})


@settings(max_examples=100, derandomize=True)
@given(amount)
def test_people_read_what_they_wrote(number: float) -> None:
    """Down to thousandths."""
    assert plain(milli(number)) == pytest.approx(number)
    assert plain_vector(vector({"cpu": number})) == ({"cpu": plain(milli(number))} if milli(number) else {})
