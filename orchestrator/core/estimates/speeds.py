"""How fast instances are: learned from how runs on each turned out against what was expected of such tasks.

Law: soft. Known first of an instance, then of an instance and a task type, as one may have what some types gain by. In logarithms,
each is taken to be a draw from a normal law around what is known more generally (``BETWEEN``: how they differ), seen through noise
(how runs of a type on one and the same instance differ, learned too). So where runs are all alike one of them tells nearly
all, and where they are not, few tell little. What is known of an instance that is not used fades: one that was slow while it
started up is tried again some time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from math import exp, sqrt
from typing import TypeAlias

from orchestrator.core.estimates.histories import Ratio
from orchestrator.vocabulary import TaskType, service_of

WEIGHT = 0.02
"""Least weight of the newest run: about the last fifty count."""
MOST = 3.9
"""A factor of 50 either way is all that one run may say."""
BETWEEN = 0.2
"""Variance of the logarithm of speeds among instances: one in twenty is more than 2.4 times as fast as usual, or as slow."""
HARDLY_KNOWN = 20
"""So many runs of a type on an instance are all looked at."""
FADES_IN = 300
"""After so many runs that taught of others a third (1/e) is left of what was known of one."""
KNOWN_MAX = 50_000
"""So many instances, and instances with a type, are remembered: some 300 bytes each."""

Key: TypeAlias = tuple[Hashable, str]
"""A service or a type, and the name of an instance."""
Belief: TypeAlias = tuple[float, float]
"""Mean and variance of the logarithm of a speed."""


class _Kind:
    """What instances have in common when they run tasks of a service, or of a type."""

    __slots__ = ("noise", "runs")

    def __init__(self) -> None:
        self.noise = Ratio(WEIGHT)
        self.runs = 0


class _Known:
    """What was seen of one instance with that."""

    __slots__ = ("at", "kind", "ratio")

    def __init__(self, kind: _Kind) -> None:
        self.kind = kind
        self.ratio = Ratio(WEIGHT)
        self.at = 0
        """How many runs of its kind there had been at its last one."""

    def add(self, log_ratio: float) -> None:
        kind, ratio = self.kind, self.ratio
        if ratio.samples:
            kind.noise.add(log_ratio - ratio.mean)
        ratio.add(log_ratio)
        kind.runs += 1
        self.at = kind.runs

    def likely(self, before: Belief) -> Belief:
        """What to believe, given what is believed more generally."""
        noise = self.kind.noise.uncertainty
        runs = min(self.ratio.samples, 1 / WEIGHT) * exp((self.at - self.kind.runs) / FADES_IN)
        doubt = noise / BETWEEN
        return (before[0] * doubt + self.ratio.mean * runs) / (doubt + runs), noise / (doubt + runs)


class Speeds:
    """Of instances, by name."""

    def __init__(self) -> None:
        self._known: OrderedDict[Key, _Known] = OrderedDict()
        self._kinds: OrderedDict[Hashable, _Kind] = OrderedDict()

    def wants(self, type_: TaskType, instance: str) -> bool:
        """Whether so little is known of such tasks on that instance that every run counts."""
        found = self._known.get((type_, instance))
        return found is None or found.ratio.samples < HARDLY_KNOWN

    def learn(self, type_: TaskType, instance: str, log_ratio: float) -> None:
        """A run there was faster than expected by this factor, as a logarithm."""
        log_ratio = max(-MOST, min(MOST, log_ratio))
        self._of((service_of(type_), instance)).add(log_ratio)
        self._of((type_, instance)).add(log_ratio)

    def speed(self, type_: TaskType, instance: str) -> float:
        """2.0: it runs such tasks in half the time that they take in the mean. 1.0: not known."""
        return exp(self._likely(type_, instance)[0])

    def overall(self, service: str, instance: str) -> float:
        """The same, whatever the type."""
        found = self._known.get((service, instance))
        return 1.0 if found is None else exp(found.likely((0.0, BETWEEN))[0])

    def hopeful(self, type_: TaskType, instance: str) -> float:
        """How fast it may be, in all likelihood: who is hardly known gets the benefit of the doubt, and with it the work by which
        it becomes known. (An upper confidence bound of two standard errors; else one that was unlucky at first is never tried
        again.)
        """
        mean, variance = self._likely(type_, instance)
        return exp(mean + 2 * sqrt(variance))

    def _likely(self, type_: TaskType, instance: str) -> Belief:
        belief = 0.0, BETWEEN
        for kind in (service_of(type_), type_):
            if (found := self._known.get((kind, instance))) is not None:
                belief = found.likely(belief)
        return belief

    def _of(self, key: Key) -> _Known:
        found = self._known.get(key)
        if found is None:
            kind = key[0]
            found = self._known[key] = _Known(self._kinds.setdefault(kind, _Kind()))
            self._kinds.move_to_end(kind)
            for table in (self._known, self._kinds):
                if len(table) > KNOWN_MAX:
                    table.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return found
