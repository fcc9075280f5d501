"""What tasks ask and what instances have: demands, grants, shortages.

Law: amounts are integer thousandths; a grant is all or nothing over every resource a task names (so nobody ever holds some
and waits for the rest); what is taken is given back exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from msgspec import Struct

from orchestrator.vocabulary import Milli, Vector, milli, plain
from orchestrator.wire.messages import Need, Range

SLOT: Vector = {"slots": 1000}
APART = "apart"
"""Of this every instance has one, and a task that is suspected of killing its instances takes it: two such never meet."""


class Demand(Struct, frozen=True, cache_hash=True, gc=False):
    """What a task asks: for each resource the least that will do and the most that helps. Sorted by name, hashable."""

    parts: tuple[tuple[str, Milli, Milli], ...]

    @property
    def least(self) -> Vector:
        return {name: low for name, low, _ in self.parts}

    @property
    def elastic(self) -> bool:
        """Whether more than the least of anything would help."""
        return any(low < high for _, low, high in self.parts)

    def __str__(self) -> str:
        return ", ".join(
            f"{name}={plain(low)}" if low == high else f"{name}={plain(low)}..{plain(high)}" for name, low, high in self.parts
        )


@dataclass(frozen=True, slots=True)
class Shortage:
    """By how much one resource falls short of a demand."""

    resource: str
    wanted: Milli
    free: Milli

    def __str__(self) -> str:
        if self.resource == APART:
            return "a task already that is suspected of killing its instances, as this one is"
        return f"{self.resource} short by {plain(self.wanted - self.free)} (wants {plain(self.wanted)}, free {plain(self.free)})"


def demand_of(need: Need) -> Demand:
    """A task's ``need`` as a demand. A task always takes a slot: one, unless it says otherwise.

    Raises ValueError for a range whose minimum exceeds its maximum, and for no part of a slot: such a task could be given to an
    instance without end.
    """
    parts = []
    for name, amount in sorted({"slots": 1.0, **need}.items()):
        if isinstance(amount, Range):
            low, high = milli(amount.min), milli(amount.max)
            if low > high:
                raise ValueError(f"{name}: the least ({plain(low)}) exceeds the most ({plain(high)})")
        else:
            low = high = milli(amount)
        if name == "slots" and not low:
            raise ValueError("slots: a task takes one, or a part of one (at least 0.001)")
        if high:
            parts.append((name, low, high))
    return Demand(tuple(parts))


def apart(demand: Demand) -> Demand:
    """The same for a task that must not meet others of its like."""
    return Demand(tuple(sorted((*(part for part in demand.parts if part[0] != APART), (APART, 1000, 1000)))))


def shortages(demand: Demand, free: Mapping[str, Milli]) -> list[Shortage]:
    """What is missing for the least of ``demand``; empty: it fits."""
    return [Shortage(name, low, free.get(name, 0)) for name, low, _ in demand.parts if free.get(name, 0) < low]


def fits(demand: Demand, free: Mapping[str, Milli]) -> bool:
    """Whether the least of ``demand`` is free."""
    for name, low, _ in demand.parts:  # noqa: SIM110 - asked for every class on every instance that got better: twice as fast as all()
        if free.get(name, 0) < low:
            return False
    return True


Left: TypeAlias = tuple[int, int]
"""What is left somewhere: of the tightest resource asked for, and of all together; in millionths of what there is of each."""


def left_after(demand: Demand, free: Mapping[str, Milli], capacity: Mapping[str, Milli]) -> Left:
    """What would be left where the least of ``demand`` is taken: shares, for a sum of cores and bytes means nothing.

    The tightest share is one minus the dominant share (Ghodsi et al., NSDI 2011) of what is then in use, over what is asked for.
    The second number breaks ties: of two equally tight places best fit keeps the one that has more of something else.
    """
    tightest, total = 1_000_000, 0
    rest = dict(free)
    for name, low, _ in demand.parts:
        rest[name] = rest.get(name, 0) - low
        if had := capacity.get(name, 0):
            tightest = min(tightest, 1_000_000 * rest[name] // had)
    for name, had in capacity.items():
        if had:
            total += 1_000_000 * rest.get(name, 0) // had
    return tightest, total


def take(free: Vector, grant: Vector) -> None:
    """Take ``grant`` out of ``free``. Raises AssertionError if it is not there: a bug of ours."""
    for name, amount in grant.items():
        left = free.get(name, 0) - amount
        assert left >= 0, f"granted {amount} of {name} where {left + amount} were free"
        free[name] = left


def give_back(free: Vector, grant: Vector) -> None:
    """Return ``grant`` to ``free``."""
    for name, amount in grant.items():
        free[name] = free.get(name, 0) + amount
