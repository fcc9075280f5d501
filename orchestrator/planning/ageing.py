"""The static key of dynamic priority: everybody's priority grows with waiting at the same rate, so the order never changes.

Priority at time t is (t - arrival)/tau - ln(estimate) + omega·level; what does not depend on t is the key, smaller first:

    key = arrival/tau + ln(estimate) - omega·level

One level is worth omega·tau seconds of waiting, a task r times as long waits tau·ln r longer. All times in seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestrator.planning.errors import BadNumber, not_negative, positive


@dataclass(frozen=True, slots=True)
class Ageing:
    """How fast waiting weighs up size and level. Raises BadNumber."""

    tau_s: float
    """Seconds of waiting that weigh up a factor e in size. Keep it long: 100 mean service times."""
    omega: float
    """What a level of priority is worth, as the logarithm of a size ratio."""
    guard_s: float = 0.0
    """A task with a deadline is to start so much earlier than needed."""

    def __post_init__(self) -> None:
        positive("tau", self.tau_s)
        not_negative("omega", self.omega)
        not_negative("the guard", self.guard_s)

    def key(
        self, arrival_s: float, estimate_s: float, level: float = 0, *, deadline_s: float | None = None, p90_s: float = 0.0
    ) -> float:
        """The key; smaller goes first. With a deadline at most (deadline - p90 - guard)/tau: the latest start, on the same scale.

        ``p90_s`` is the service time not exceeded by nine of ten. Raises BadNumber.
        """
        key = arrival_s / self.tau_s + math.log(positive("the estimate", estimate_s)) - self.omega * level
        if deadline_s is None:
            return key
        return min(key, (deadline_s - p90_s - self.guard_s) / self.tau_s)

    def priority(self, at_s: float, key: float) -> float:
        """The priority at a point in time, larger first, of a task with this key."""
        return at_s / self.tau_s - key

    def overtaking_s(self, arrival_s: float, key: float, *, least_estimate_s: float, most_level: float) -> float:
        """How long after its arrival a task may still be overtaken by newcomers without a deadline; 0 or less: not at all.

        tau·(key - ln(least estimate) + omega·most level) - arrival. Raises BadNumber.
        """
        least = math.log(positive("the least estimate", least_estimate_s))
        return self.tau_s * (key - least + self.omega * most_level) - arrival_s


def tau_for(horizon_s: float, *, size_ratio: float, omega: float, most_level: float) -> float:
    """The tau with which nobody is overtaken later than ``horizon_s`` seconds after arrival, if sizes differ by at most a factor
    ``size_ratio`` and levels by ``most_level``: horizon/(ln(size ratio) + omega·most level). Raises BadNumber.
    """
    if not 1 <= size_ratio < math.inf:
        raise BadNumber(f"the ratio of the longest to the shortest size is {size_ratio:g}; it must be 1 or more.")
    spread = math.log(size_ratio) + not_negative("omega", omega) * not_negative("the highest level", most_level)
    return positive("the horizon", horizon_s) / positive("the spread of keys (equal tasks need no tau)", spread)
