"""How fast instances are: learned from how runs on each turned out against what was expected of such tasks.

Law: soft. In logarithms every instance is taken to be a draw from one law (``BETWEEN``: how they differ), seen through noise (how
runs of the service on one and the same instance differ, learned too). So where runs are all alike one of them tells nearly all, and
where they are not, few tell little. What is known of an instance that is not used fades: one that was slow while it
started up is tried again some time.
"""

from __future__ import annotations

from collections import OrderedDict
from math import exp, sqrt

from orchestrator.core.histories import Ratio
from orchestrator.vocabulary import Service

WEIGHT = 0.02
"""Least weight of the newest run: about the last fifty count."""
MOST = 3.9
"""A factor of 50 either way is all that one run may say."""
BETWEEN = 0.2
"""Variance of the logarithm of speeds among instances: one in twenty is more than 2.4 times as fast as usual, or as slow."""
HARDLY_KNOWN = 20
"""So many runs of an instance are all looked at."""
FADES_IN = 300
"""After so many runs that taught of others a third (1/e) is left of what was known of one."""


class _Service:
    """What instances of one service have in common."""

    __slots__ = ("noise", "runs")

    def __init__(self) -> None:
        self.noise = Ratio(WEIGHT)
        self.runs = 0


class _Instance:
    __slots__ = ("ratio", "runs", "service")

    def __init__(self, service: _Service) -> None:
        self.service = service
        self.ratio = Ratio(WEIGHT)
        self.runs = 0
        """Runs of the service at its last one."""

    @property
    def samples(self) -> float:
        """On how many runs that rests which is known of it."""
        return min(self.ratio.samples, 1 / WEIGHT) * exp((self.runs - self.service.runs) / FADES_IN)


class Speeds:
    """Of instances, by name."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._instances: OrderedDict[str, _Instance] = OrderedDict()
        self._services: dict[Service, _Service] = {}

    def wants(self, instance: str) -> bool:
        """Whether so little is known of it that every run counts."""
        found = self._instances.get(instance)
        return found is None or found.ratio.samples < HARDLY_KNOWN

    def learn(self, service: Service, instance: str, log_ratio: float) -> None:
        """A run there was faster than expected by this factor, as a logarithm."""
        found = self._instances.get(instance)
        if found is None:
            found = self._instances[instance] = _Instance(self._services.setdefault(service, _Service()))
            if len(self._instances) > self._most:
                self._instances.popitem(last=False)
        else:
            self._instances.move_to_end(instance)
        log_ratio = max(-MOST, min(MOST, log_ratio))
        if found.ratio.samples:
            found.service.noise.add(log_ratio - found.ratio.mean)
        found.ratio.add(log_ratio)
        found.service.runs += 1
        found.runs = found.service.runs

    def speed(self, instance: str) -> float:
        """2.0: it runs tasks in half the time that such tasks take in the mean. 1.0: not known."""
        found = self._instances.get(instance)
        return 1.0 if found is None else exp(_likely(found)[0])

    def hopeful(self, instance: str) -> float:
        """How fast it may be, in all likelihood: who is hardly known gets the benefit of the doubt, and with it the work by which
        it becomes known. (An upper confidence bound of two standard errors; else one that was unlucky at first is never tried
        again.)
        """
        found = self._instances.get(instance)
        mean, variance = (0.0, BETWEEN) if found is None else _likely(found)
        return exp(mean + 2 * sqrt(variance))


def _likely(one: _Instance) -> tuple[float, float]:
    """Mean and variance of the logarithm of its speed, given what was seen (normal law with a normal prior)."""
    samples, noise = one.samples, one.service.noise.uncertainty
    certain = samples + noise / BETWEEN
    return one.ratio.mean * samples / certain, noise / certain
