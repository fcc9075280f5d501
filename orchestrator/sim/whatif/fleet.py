"""The machines of a question: how many, how large, how fast, how often they fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SLOTS = "slots"
MANY_SLOTS = 10_000.0
"""Of a machine that is described by other resources: its slots never run out."""


class BadFleet(ValueError):
    """A fleet that cannot be. The message says what would be right."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Machines that are alike but for their speed."""

    instances: int
    """Of each service in the trace."""
    capacity: Mapping[str, float]
    """Of one machine, by resource. Without ``slots``: as many tasks at once as its other resources allow."""
    speeds: tuple[float, ...] = (1.0,)
    """Dealt out in turn; a machine of speed 0.25 takes four times as long."""
    places: int | None = None
    """Tasks that one machine *runs* at once; what it holds beyond waits in it, first come first served. None: all it holds."""
    mttf_s: float | None = None
    """Mean time to failure of a machine, exponentially distributed; None: it never fails."""
    mttr_s: float = 0.0
    """Mean time until it is back, exponentially distributed."""

    def __post_init__(self) -> None:
        if self.instances < 1:
            raise BadFleet(f"{self.instances} instances: a fleet has at least one")
        if not self.capacity or any(amount <= 0 for amount in self.capacity.values()):
            raise BadFleet("a machine has some of each resource that it names, and names at least one; write slots=1 or cpu=8")
        if not self.speeds or any(speed <= 0 for speed in self.speeds):
            raise BadFleet("a machine has a speed above 0; write for example 1,1,0.25")
        if (self.mttf_s is not None and self.mttf_s <= 0) or self.mttr_s < 0:
            raise BadFleet("the time to failure is above 0, the time to repair not below")

    @property
    def offered(self) -> dict[str, float]:
        """What a machine announces."""
        return {SLOTS: MANY_SLOTS, **self.capacity}

    @property
    def machines(self) -> float:
        """How many machines of normal speed do as much: of one service."""
        return sum(self.speed(number) for number in range(self.instances))

    def speed(self, number: int) -> float:
        """Of the ``number``-th machine, from 0."""
        return self.speeds[number % len(self.speeds)]
