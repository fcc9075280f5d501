"""Laws of service times with long tails: Weibull, log-normal, bounded Pareto. As ``laws``, whose protocol they fulfil."""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestrator.planning.errors import BadNumber, positive
from orchestrator.planning.laws import TINY, representable
from orchestrator.planning.numerics import lower_gamma, normal_cdf, normal_density


@dataclass(frozen=True, slots=True)
class Weibull:
    """P(S > x) = exp(-(x/scale)^shape). A shape below 1 has a longer tail than the exponential law."""

    shape: float
    scale: float

    def __post_init__(self) -> None:
        positive("the shape", self.shape)
        positive("the scale", self.scale)
        if self.shape < 0.05:
            raise BadNumber(f"the shape is {self.shape:g}; below 0.05 the moments leave the range of numbers.")
        representable(self)

    def _moment(self, k: int) -> float:
        return math.pow(self.scale, k) * math.gamma(1 + k / self.shape)

    @property
    def mean(self) -> float:
        return self._moment(1)

    @property
    def second(self) -> float:
        return self._moment(2)

    @property
    def third(self) -> float:
        return self._moment(3)

    @property
    def reach(self) -> tuple[float, float]:
        most = (60 + 4 / self.shape) ** (1 / self.shape)
        return self.scale * max(1e-200, min(TINY, TINY ** (1 / self.shape))), self.scale * most

    def density(self, x: float) -> float:
        power = math.pow(x / self.scale, self.shape)
        return self.shape / x * power * math.exp(-power)

    def tail(self, x: float) -> float:
        return math.exp(-((x / self.scale) ** self.shape))

    def below1(self, x: float) -> float:
        return self.mean * lower_gamma(1 + 1 / self.shape, (x / self.scale) ** self.shape)

    def below2(self, x: float) -> float:
        return self.second * lower_gamma(1 + 2 / self.shape, (x / self.scale) ** self.shape)

    def stretched(self, factor: float) -> Weibull:
        return Weibull(self.shape, self.scale * factor)


def weibull(shape: float, mean: float = 1.0) -> Weibull:
    """The Weibull law of this shape with this mean. Raises BadNumber."""
    return Weibull(shape, positive("the mean service time", mean) / Weibull(shape, 1.0).mean)


@dataclass(frozen=True, slots=True)
class Lognormal:
    """ln S is normal with mean ``mu`` and deviation ``sigma``: times that vary by factors."""

    mu: float
    sigma: float

    def __post_init__(self) -> None:
        positive("sigma", self.sigma)
        if not math.isfinite(self.mu) or abs(self.mu) > 200 or self.sigma > 8:
            raise BadNumber(f"mu is {self.mu:g}, sigma {self.sigma:g}; beyond ±200 and 8 the moments leave the range of numbers.")
        representable(self)

    def _moment(self, k: int) -> float:
        return math.exp(k * self.mu + (k * self.sigma) ** 2 / 2)

    @property
    def mean(self) -> float:
        return self._moment(1)

    @property
    def second(self) -> float:
        return self._moment(2)

    @property
    def third(self) -> float:
        return self._moment(3)

    @property
    def reach(self) -> tuple[float, float]:
        return math.exp(self.mu - 9 * self.sigma), math.exp(self.mu + (9 + 2 * self.sigma) * self.sigma)

    def _z(self, x: float) -> float:
        return (math.log(x) - self.mu) / self.sigma

    def density(self, x: float) -> float:
        return normal_density(self._z(x)) / (x * self.sigma)

    def tail(self, x: float) -> float:
        return normal_cdf(-self._z(x))

    def below1(self, x: float) -> float:
        return self.mean * normal_cdf(self._z(x) - self.sigma)

    def below2(self, x: float) -> float:
        return self.second * normal_cdf(self._z(x) - 2 * self.sigma)

    def stretched(self, factor: float) -> Lognormal:
        return Lognormal(self.mu + math.log(factor), self.sigma)


def lognormal(mean: float, scv: float) -> Lognormal:
    """The log-normal law with this mean and squared coefficient of variation. Raises BadNumber."""
    variance = math.log1p(positive("the squared coefficient of variation", scv))
    return Lognormal(math.log(positive("the mean service time", mean)) - variance / 2, math.sqrt(variance))


@dataclass(frozen=True, slots=True)
class BoundedPareto:
    """P(S > x) falls as x^(-alpha) from ``low`` on and is cut off at ``high``: most tasks short, most work in few long ones."""

    low: float
    high: float
    alpha: float

    def __post_init__(self) -> None:
        positive("the shortest time", self.low)
        positive("alpha", self.alpha)
        if positive("the longest time", self.high) <= self.low:
            raise BadNumber(f"the longest time is {self.high:g}; it must exceed the shortest, {self.low:g}.")
        representable(self)

    @property
    def _kept(self) -> float:
        """The share of the Pareto law without end that lies below ``high``."""
        return -math.expm1(self.alpha * math.log(self.low / self.high))

    def _below(self, k: int, x: float) -> float:
        """E[S^k; S ≤ x] = alpha·low^alpha/kept · ∫ t^(k-alpha-1) dt, from ``low`` to ``x``."""
        span = math.log(min(max(x, self.low), self.high) / self.low)
        power = k - self.alpha
        grown = math.expm1(power * span) / power if power else span
        return self.alpha * self.low**k * grown / self._kept

    @property
    def mean(self) -> float:
        return self._below(1, self.high)

    @property
    def second(self) -> float:
        return self._below(2, self.high)

    @property
    def third(self) -> float:
        return self._below(3, self.high)

    @property
    def reach(self) -> tuple[float, float]:
        return self.low, self.high

    def density(self, x: float) -> float:
        return self.alpha * math.pow(self.low / x, self.alpha) / (x * self._kept)

    def tail(self, x: float) -> float:
        if x <= self.low:
            return 1.0
        if x >= self.high:
            return 0.0
        return math.pow(self.low / x, self.alpha) * -math.expm1(self.alpha * math.log(x / self.high)) / self._kept

    def below1(self, x: float) -> float:
        return self._below(1, x)

    def below2(self, x: float) -> float:
        return self._below(2, x)

    def stretched(self, factor: float) -> BoundedPareto:
        return BoundedPareto(self.low * factor, self.high * factor, self.alpha)
