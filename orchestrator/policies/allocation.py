"""How much: an allocation grants a demand out of what is free, and says which of several instances it would rather take from.

Law: all or nothing. ``grant`` is asked only where the least of the demand is free, and returns an amount for every resource
named. What is granted stays until the attempt is over: nothing is taken from those that run. Shares are compared, never
amounts of different units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.resources import Demand, Left, left_after
from orchestrator.vocabulary import Milli, Vector

UNIT: Milli = 1000


@dataclass(frozen=True, slots=True)
class Claim:
    """A task that was just placed: what it asks and what it has been granted."""

    demand: Demand
    grant: Vector


class Allocation(Protocol):
    """An allocation policy."""

    @property
    def raises(self) -> bool:
        """Whether those that were placed on an instance together are raised together, before they start."""
        ...

    def grant(self, demand: Demand, free: Mapping[str, Milli]) -> Vector:
        """What the task gets, out of ``free`` where the least of ``demand`` fits."""
        ...

    def preference(self, demand: Demand, free: Mapping[str, Milli], capacity: Mapping[str, Milli]) -> Left:
        """Which source to take from, among those placement holds equal: the smallest wins."""
        ...

    def raised(self, claims: Sequence[Claim], free: Mapping[str, Milli], capacity: Mapping[str, Milli]) -> list[Vector]:
        """What each of ``claims`` gets in the end, where so much is free beside what they have; never less than they have."""
        ...


def _least(demand: Demand) -> Vector:
    return {name: low for name, low, _ in demand.parts if low}


@dataclass(frozen=True, slots=True)
class MinimumSufficient:
    """``msa``: exactly the least, from the source that has the least left over (best fit): packs, keeps large holes open.

    Never loses capacity to tasks that run less than g times as fast on g times as much; slow at low load.
    """

    raises: bool = False

    def grant(self, demand: Demand, free: Mapping[str, Milli]) -> Vector:
        return _least(demand)

    def preference(self, demand: Demand, free: Mapping[str, Milli], capacity: Mapping[str, Milli]) -> Left:
        return left_after(demand, free, capacity)

    def raised(self, claims: Sequence[Claim], free: Mapping[str, Milli], capacity: Mapping[str, Milli]) -> list[Vector]:
        return [claim.grant for claim in claims]


@dataclass(frozen=True, slots=True)
class MaximumReasonable:
    """``mra``: as much of an elastic range as is free, from the source that has most (worst fit): fast at low load.

    At high load those behind wait for what the first took: with little speed-up it is unstable where ``msa`` is not.
    """

    raises: bool = False

    def grant(self, demand: Demand, free: Mapping[str, Milli]) -> Vector:
        grant = {name: min(high, free.get(name, 0)) for name, _, high in demand.parts}
        return {name: amount for name, amount in grant.items() if amount}

    def preference(self, demand: Demand, free: Mapping[str, Milli], capacity: Mapping[str, Milli]) -> Left:
        tightest, total = left_after(demand, free, capacity)
        return -tightest, -total

    def raised(self, claims: Sequence[Claim], free: Mapping[str, Milli], capacity: Mapping[str, Milli]) -> list[Vector]:
        return [claim.grant for claim in claims]


@dataclass(frozen=True, slots=True)
class ProgressiveFilling:
    """``fill``: the least to all that fit, in order; then the smallest grants rise together until caps or capacity (max-min).

    So a long queue is served as by ``msa``, an empty one as by ``mra``, and between them everybody that can start does, before
    anybody gets more. Nothing is held back for those that do not fit at their least: they wait for a release anyway.
    """

    raises: bool = True

    def grant(self, demand: Demand, free: Mapping[str, Milli]) -> Vector:
        return _least(demand)

    def preference(self, demand: Demand, free: Mapping[str, Milli], capacity: Mapping[str, Milli]) -> Left:
        tightest, total = left_after(demand, free, capacity)
        return -tightest, -total

    def raised(self, claims: Sequence[Claim], free: Mapping[str, Milli], capacity: Mapping[str, Milli]) -> list[Vector]:
        """Each resource by itself; ranges between whole numbers rise in whole units. An odd unit goes to whoever has the smallest
        dominant share by then, of equals to the first in order.
        """
        grants = [dict(claim.grant) for claim in claims]
        for name in sorted({name for claim in claims for name, low, high in claim.demand.parts if low < high}):
            ranges = [_range(claim, name) for claim in claims]
            level = _level(ranges, free.get(name, 0))
            amounts = [one.at(level) for one in ranges]
            rest = free.get(name, 0) - sum(amounts) + sum(one.low for one in ranges)
            next_up = [n for n, one in enumerate(ranges) if one.at(level + 1) > amounts[n]]
            for n in sorted(next_up, key=lambda n: (_dominant(grants[n] | {name: amounts[n]}, capacity), n)):
                more = ranges[n].at(level + 1) - amounts[n]
                if more <= rest:
                    amounts[n] += more
                    rest -= more
            for grant, amount in zip(grants, amounts, strict=True):
                if amount:
                    grant[name] = amount
        return grants


@dataclass(frozen=True, slots=True)
class _Range:
    low: Milli
    high: Milli
    step: Milli

    def at(self, level: Milli) -> Milli:
        """What it has when everybody has been raised to ``level``."""
        return self.low + max(0, min(level, self.high) - self.low) // self.step * self.step


def _range(claim: Claim, name: str) -> _Range:
    has = claim.grant.get(name, 0)
    for resource, low, high in claim.demand.parts:
        if resource == name:
            return _Range(has, max(has, high), UNIT if low % UNIT == high % UNIT == has % UNIT == 0 else 1)
    return _Range(has, has, UNIT)


def _level(ranges: Sequence[_Range], free: Milli) -> Milli:
    """The highest level that what is free allows; beyond all caps there is none higher."""
    low, high = 0, max(one.high for one in ranges)
    had = sum(one.low for one in ranges)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(one.at(middle) for one in ranges) - had <= free:
            low = middle
        else:
            high = middle - 1
    return low


def _dominant(grant: Vector, capacity: Mapping[str, Milli]) -> int:
    """The largest share of any resource, in millionths."""
    return max((1_000_000 * amount // capacity[name] for name, amount in grant.items() if capacity.get(name)), default=0)


ALLOCATIONS: Mapping[str, Allocation] = {"msa": MinimumSufficient(), "mra": MaximumReasonable(), "fill": ProgressiveFilling()}
