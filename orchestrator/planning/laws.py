"""Laws of service times (and of times between arrivals): their moments, tails and partial moments.

Law of this file: what can be said in closed form is, so that a policy needs one integral only. Times in seconds. ``below1(x)`` and
``below2(x)`` are the partial moments E[S; S ≤ x] and E[S²; S ≤ x]: the work, and its second moment, that short tasks bring.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from orchestrator.planning.errors import BadNumber, not_negative, positive, whole
from orchestrator.planning.numerics import RELATIVE, even, integrate, lower_gamma

TINY = 1e-18
"""Mass of a law that is left out at its ends, where they reach to 0 or to infinity."""


class Law(Protocol):
    """A law of positive times."""

    @property
    def mean(self) -> float:
        """E[S], seconds."""

    @property
    def second(self) -> float:
        """E[S²], seconds squared."""

    @property
    def third(self) -> float:
        """E[S³], seconds cubed."""

    def stretched(self, factor: float) -> Law:
        """The law of ``factor`` · S: every time so many times as long."""


@runtime_checkable
class SmoothLaw(Law, Protocol):
    """A law with a density: no size has a mass of its own."""

    @property
    def reach(self) -> tuple[float, float]:
        """From where to where, with 0 < from: what lies outside is less than any result shows."""

    def density(self, x: float) -> float:
        """Per second, at ``x`` within the reach."""

    def tail(self, x: float) -> float:
        """P(S > x)."""

    def below1(self, x: float) -> float:
        """E[S; S ≤ x]."""

    def below2(self, x: float) -> float:
        """E[S²; S ≤ x]."""


@runtime_checkable
class Transformed(Protocol):
    """A law whose Laplace transform is known in closed form."""

    def laplace(self, s: float) -> float:
        """E[exp(-s·S)]."""


def representable(law: Law) -> None:
    """Raises BadNumber if a moment of the law leaves the range of numbers."""
    try:
        fine = law.mean > 0 and law.second > 0 and 0 < law.third < math.inf
    except OverflowError:
        fine = False
    if not fine:
        raise BadNumber(f"the moments of {law} leave the range of numbers; take a unit of time in which they are nearer to 1.")


def scv(law: Law) -> float:
    """The squared coefficient of variation, variance over squared mean: 0 for constant times, 1 for exponential ones."""
    return max(0.0, law.second / law.mean**2 - 1)


def with_mean(law: Law, mean_s: float) -> Law:
    """The law of the same shape whose mean is ``mean_s``. Raises BadNumber."""
    return law.stretched(positive("the mean service time", mean_s) / law.mean)


def average(law: SmoothLaw, f: Callable[[float], float], relative: float = RELATIVE) -> float:
    """E[f(S)] to ``relative``, for f that is smooth and bounded near 0. Raises NoConvergence."""
    return over_logarithm(lambda x: f(x) * law.density(x), *law.reach, relative)


def over_logarithm(f: Callable[[float], float], low: float, high: float, relative: float = RELATIVE) -> float:
    """∫ f(x) dx from ``low`` > 0 to ``high``, over the logarithm of x: sizes of tasks differ by factors, not by amounts."""

    def stretched(u: float) -> float:
        x = math.exp(u)
        return f(x) * x

    return integrate(stretched, even(math.log(low), math.log(high), 16), relative)


@dataclass(frozen=True, slots=True)
class Deterministic:
    """Every task takes the same time."""

    value: float

    def __post_init__(self) -> None:
        positive("the service time", self.value)
        representable(self)

    @property
    def mean(self) -> float:
        return self.value

    @property
    def second(self) -> float:
        return self.value**2

    @property
    def third(self) -> float:
        return self.value**3

    def stretched(self, factor: float) -> Deterministic:
        return Deterministic(self.value * factor)

    def laplace(self, s: float) -> float:
        return math.exp(-s * self.value)


@dataclass(frozen=True, slots=True)
class Hyperexponential:
    """A task is of one of several kinds, each exponential: the share and the mean of each. The exponential law is one kind."""

    kinds: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        for share, mean in self.kinds:
            positive("the mean of a kind", mean)
            positive("the share of a kind", share)
        total = math.fsum(share for share, _ in self.kinds)
        if abs(total - 1) > 1e-12:
            raise BadNumber(f"the shares of the kinds add up to {total:.12g}; they must add up to 1.")
        representable(self)

    @property
    def mean(self) -> float:
        return math.fsum(p * m for p, m in self.kinds)

    @property
    def second(self) -> float:
        return math.fsum(2 * p * m**2 for p, m in self.kinds)

    @property
    def third(self) -> float:
        return math.fsum(6 * p * m**3 for p, m in self.kinds)

    @property
    def reach(self) -> tuple[float, float]:
        return TINY * min(m for _, m in self.kinds), 45 * max(m for _, m in self.kinds)

    def density(self, x: float) -> float:
        return sum(p / m * math.exp(-x / m) for p, m in self.kinds)

    def tail(self, x: float) -> float:
        return sum(p * math.exp(-x / m) for p, m in self.kinds)

    def below1(self, x: float) -> float:
        return sum(p * m * lower_gamma(2, x / m) for p, m in self.kinds)

    def below2(self, x: float) -> float:
        return sum(2 * p * m * m * lower_gamma(3, x / m) for p, m in self.kinds)

    def stretched(self, factor: float) -> Hyperexponential:
        return Hyperexponential(tuple((p, m * factor) for p, m in self.kinds))

    def laplace(self, s: float) -> float:
        return sum(p / (1 + s * m) for p, m in self.kinds)


def exponential(mean: float = 1.0) -> Hyperexponential:
    """The exponential law. Raises BadNumber."""
    return Hyperexponential(((1.0, mean),))


def balanced_h2(mean: float, scv: float) -> Hyperexponential:
    """Two kinds that bring the same work, with this mean and this squared coefficient of variation, which must exceed 1.

    Raises BadNumber. Source: Tijms, A First Course in Stochastic Models (2003), balanced means.
    """
    positive("the mean service time", mean)
    if not 1 < scv < math.inf:
        raise BadNumber(
            f"the squared coefficient of variation is {scv:g}; a mixture of exponentials varies more: give more than 1."
        )
    rare = 1 / (scv + 1 + math.sqrt(scv * scv - 1))  # (1 - √((scv-1)/(scv+1))) / 2, without the cancellation
    return Hyperexponential(((1 - rare, mean / (2 * (1 - rare))), (rare, mean / (2 * rare))))


@dataclass(frozen=True, slots=True)
class Erlang:
    """The sum of ``stages`` equal exponential times."""

    stages: int
    average: float = 1.0

    def __post_init__(self) -> None:
        whole("the number of stages", self.stages)
        positive("the mean service time", self.average)
        representable(self)

    @property
    def mean(self) -> float:
        return self.average

    @property
    def second(self) -> float:
        return self.average**2 * (1 + 1 / self.stages)

    @property
    def third(self) -> float:
        return self.second * self.average * (1 + 2 / self.stages)

    @property
    def reach(self) -> tuple[float, float]:
        return TINY * self.average, self.average * (1 + 45 / self.stages + 12 / math.sqrt(self.stages))

    def density(self, x: float) -> float:
        k, t = self.stages, x * self.stages / self.average
        return math.exp((k - 1) * math.log(t) - t - math.lgamma(k)) * k / self.average

    def tail(self, x: float) -> float:
        return 1 - lower_gamma(self.stages, x * self.stages / self.average)

    def below1(self, x: float) -> float:
        return self.mean * lower_gamma(self.stages + 1, x * self.stages / self.average)

    def below2(self, x: float) -> float:
        return self.second * lower_gamma(self.stages + 2, x * self.stages / self.average)

    def stretched(self, factor: float) -> Erlang:
        return Erlang(self.stages, self.average * factor)

    def laplace(self, s: float) -> float:
        return math.exp(-self.stages * math.log1p(s * self.average / self.stages))


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every time from ``low`` to ``high`` is equally likely."""

    low: float
    high: float

    def __post_init__(self) -> None:
        not_negative("the shortest time", self.low)
        if positive("the longest time", self.high) <= self.low:
            raise BadNumber(f"the longest time is {self.high:g}; it must exceed the shortest, {self.low:g}.")
        representable(self)

    @property
    def mean(self) -> float:
        return (self.low + self.high) / 2

    @property
    def second(self) -> float:
        return (self.low**2 + self.low * self.high + self.high**2) / 3

    @property
    def third(self) -> float:
        return (self.low + self.high) * (self.low**2 + self.high**2) / 4

    @property
    def reach(self) -> tuple[float, float]:
        return self.low or TINY * self.high, self.high

    def density(self, x: float) -> float:
        return 1 / (self.high - self.low)

    def tail(self, x: float) -> float:
        return min(1.0, max(0.0, (self.high - x) / (self.high - self.low)))

    def below1(self, x: float) -> float:
        x = min(max(x, self.low), self.high)
        return (x - self.low) * (x + self.low) / 2 / (self.high - self.low)

    def below2(self, x: float) -> float:
        x = min(max(x, self.low), self.high)
        return (x - self.low) * (x * x + x * self.low + self.low**2) / 3 / (self.high - self.low)

    def stretched(self, factor: float) -> Uniform:
        return Uniform(self.low * factor, self.high * factor)

    def laplace(self, s: float) -> float:
        width = (self.high - self.low) * s
        return math.exp(-s * self.low) * (-math.expm1(-width) / width if width else 1.0)
