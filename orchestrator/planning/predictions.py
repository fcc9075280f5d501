"""One server and tasks whose sizes are only predicted (M/G/1): how much of the gain survives.

A task of size x comes with a prediction y. Served by prediction: SPJF without interruption, PSPJF interrupting larger ones, SPRPT
 by what is left of the prediction (which may become negative: then the task keeps the server).

Source: Mitzenmacher, Scheduling with Predictions and the Price of Misprediction (2020); SPRPT by the SOAP method of Scully,
Harchol-Balter & Scheller-Wolf (2018), worked out here.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

from orchestrator.planning.errors import BadNumber, not_negative, offered, positive, reachable, utilisation
from orchestrator.planning.laws import SmoothLaw
from orchestrator.planning.numerics import bessel_k, even, integrate, normal_cdf, normal_density, points

_E = math.exp(-1)


@dataclass(frozen=True, slots=True)
class Predicted:
    """Mean response times, in seconds, when sizes are exponential and predictions exponential around them."""

    spjf_s: float
    pspjf_s: float
    sprpt_s: float


def exponential_predictions(arrival_rate: float, mean_s: float = 1.0) -> Predicted:
    """M/M/1 where a task of size x has a prediction drawn from the exponential law with mean x: rough guesses. Relative error 1e-9.

    The integrals over sizes are Bessel functions of z = 2√y: density 2K₀(z), load of smaller predictions rho·(1 - z²/2·K₂(z)), its
    second moment 2 - z³/4·K₃(z). Raises BadNumber, Overloaded.
    """
    rho = utilisation(offered(positive("the arrival rate", arrival_rate), positive("the mean service time", mean_s)))

    def over_z(f: Callable[[float, float, tuple[float, float, float, float]], float]) -> float:
        """∫ f dy over all predictions, with dy = z/2·dz; f is given z, 1 - the load of smaller predictions, and K₀ … K₃."""

        def g(z: float) -> float:
            k = bessel_k(z)
            return f(z, 1 - rho * (1 - z * z / 2 * k[2]), k) * z / 2

        return integrate(g, [0.0, 1e-3, 0.1, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 45.0], reachable(rho, 1e-10))

    waits = over_z(lambda z, spare, k: 2 * k[0] / spare**2)
    pspjf = over_z(lambda z, spare, k: z * k[1] / spare + k[0] * rho * (2 - z**3 / 4 * k[3]) / spare**2)
    # SPRPT: also tasks with larger predictions interfere, with what they need beyond (prediction - y): 1 - 2/e of z³/4·K₃.
    old = over_z(lambda z, spare, k: k[0] * rho * (2 - 2 * _E * z**3 / 4 * k[3]) / spare**2)
    served = _E + (1 - _E) * over_z(lambda z, spare, k: z * k[1] / spare)
    return Predicted((1 + rho * waits) * mean_s, pspjf * mean_s, (old + served) * mean_s)


@dataclass(frozen=True)
class NoisySizes:
    """Sizes of ``law`` with predictions y = x·exp(sigma·Z), Z standard normal: wrong by a factor, as often up as down.

    Built once, asked for many loads. Relative error below 1e-9. Raises BadNumber.
    """

    law: SmoothLaw
    sigma: float

    def __post_init__(self) -> None:
        if not 0.02 <= self.sigma <= 20:
            raise BadNumber(
                f"sigma is {self.sigma:g}; it must be from 0.02 (below: as good as exact) to 20 (above: as good as none)."
            )

    def sjf_s(self, arrival_rate: float) -> float:
        """Mean response time, in seconds, under SJF by predictions. Raises BadNumber, Overloaded."""
        utilisation(offered(positive("the arrival rate", arrival_rate), self.law.mean))
        waits = math.fsum(weight / (1 - arrival_rate * work) ** 2 for weight, work in self._predictions)
        return self.law.mean + arrival_rate * self.law.second / 2 * waits

    @cached_property
    def _sizes(self) -> list[tuple[float, float, float]]:
        """ln x on a grid finer than the noise, with the mass and the work at each point."""
        low, high = map(math.log, self.law.reach)
        low = max(low, math.log(self.law.mean) - 45)
        found = []
        for left, right in _panels(low, high, min(1.0, 2 * self.sigma)):
            for u, weight in points(left, right):
                x = math.exp(u)
                mass = weight * x * self.law.density(x)
                if mass > 1e-14 or mass * x > 1e-14 * self.law.mean:
                    found.append((u, mass, mass * x))
        return found

    @cached_property
    def _predictions(self) -> list[tuple[float, float]]:
        """ln y on a grid: the share of predictions there, and the work of tasks predicted smaller."""
        sizes, sigma = sorted(self._sizes), self.sigma
        at = [u for u, *_ in sizes]
        before = list(accumulate((work for *_, work in sizes), initial=0.0))
        found = []
        for left, right in _panels(at[0] - 7 * sigma, at[-1] + 7 * sigma, min(1.0, sigma)):
            for v, weight in points(left, right):
                near = bisect_left(at, v - 9 * sigma)  # sizes further away are predicted smaller for sure, or larger for sure
                window = sizes[near : bisect_left(at, v + 9 * sigma)]
                share = math.fsum(mass * normal_density((v - u) / sigma) for u, mass, _ in window) / sigma
                work = before[near] + math.fsum(work * normal_cdf((v - u) / sigma) for u, _, work in window)
                found.append((weight * share, work))
        return found


def _panels(low: float, high: float, width: float) -> list[tuple[float, float]]:
    return list(pairwise(even(low, high, math.ceil((high - low) / width))))


def share_of_gain_kept(fifo_s: float, exact_s: float, predicted_s: float) -> float:
    """How much of what SJF saves over FIFO is saved by predictions too: 1 all of it, 0 none. Times in seconds. Raises BadNumber."""
    gain = not_negative("the gain of exact sizes", fifo_s - exact_s)
    return (fifo_s - predicted_s) / gain if gain else 1.0
