"""The share of time in which something works: one unit, a chain, k of n, with few hands to repair.

A unit works for ``mttf`` on average and is repaired in ``mttr``: the same unit of time for both, any one. (The mean time *between*
failures is the sum of both.) Results are exact; the unavailability, which is what matters, is computed on its own: 1 - 3e-11 would
have lost its digits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.planning.errors import BadNumber, positive, whole


@dataclass(frozen=True, slots=True)
class Uptime:
    """How much of the time a system works."""

    availability: float
    unavailability: float
    """1 - availability, with all its digits."""


@dataclass(frozen=True, slots=True)
class Repaired(Uptime):
    """The same, of a system that is repaired."""

    mttf: float
    """From all units working to the first time that too few do, on average, in the unit of time given; inf beyond all numbers."""


def single(mttf: float, mttr: float) -> Uptime:
    """One unit: mttf/(mttf + mttr), whatever the laws of failure and repair. Raises BadNumber. Source: renewal theory."""
    positive("the mean time to failure", mttf)
    positive("the mean time to repair", mttr)
    both = positive("the mean time between failures", mttf + mttr)
    return Uptime(mttf / both, mttr / both)


def series(availabilities: Iterable[float]) -> Uptime:
    """A chain of independent units that all must work: the product. Raises BadNumber. Source: Barlow & Proschan 1975."""
    logarithm = math.fsum(math.log(_share(one)) if one else -math.inf for one in availabilities)
    return Uptime(math.exp(logarithm), -math.expm1(logarithm))


def k_of_n(availability: float, k: int, n: int) -> Uptime:
    """At least ``k`` of ``n`` independent units must work, each repaired by hands of its own.

    Σ_{i≥k} C(n,i)·A^i·(1-A)^(n-i). Optimistic where repairs wait for each other: see ``repaired``. Raises BadNumber.
    Source: Barlow & Proschan 1975.
    """
    _quorum(k, n)
    a = _share(availability)
    terms = [_binomial(n, i, a) for i in range(n + 1)]
    return Uptime(min(1.0, math.fsum(terms[k:])), min(1.0, math.fsum(terms[:k])))


def repaired(mttf: float, mttr: float, k: int, n: int, crews: int | None = None) -> Repaired:
    """At least ``k`` of ``n`` units must work; at most ``crews`` are repaired at a time (without: all of them).

    A birth-death chain: with j units down failures come at (n-j)/mttf, repairs at min(j, crews)/mttr; all units run, needed or not.
    Exponential times. An orchestrator that restarts one after the other is a single crew. Raises BadNumber. Source: Trivedi 2001.
    """
    positive("the mean time to failure", mttf)
    positive("the mean time to repair", mttr)
    _quorum(k, n)
    crews = n if crews is None else whole("the number of repair crews", crews)
    logs = [0.0]  # of the weight of 0, 1, … units down
    for down in range(n):
        logs.append(logs[-1] + math.log((n - down) / min(down + 1, crews) * mttr / mttf))
    top = max(logs)
    weights = [math.exp(one - top) for one in logs]
    total = math.fsum(weights)
    up, failed = math.fsum(weights[: n - k + 1]), math.fsum(weights[n - k + 1 :])
    return Repaired(up / total, failed / total, _first_failure(mttf, mttr, k, n, crews))


def _first_failure(mttf: float, mttr: float, k: int, n: int, crews: int) -> float:
    """The mean time until n - k + 1 units are down: the sum over j of the time to lose one more than j.

    h_j = 1/f_j + (r_j/f_j)·h_{j-1}, with failure rate f_j and repair rate r_j.
    """
    total = step = 0.0
    for down in range(n - k + 1):
        failures = (n - down) / mttf
        step = 1 / failures + min(down, crews) / mttr / failures * step
        total += step
    return total


def _binomial(n: int, i: int, a: float) -> float:
    if a in (0.0, 1.0):
        return float(i == n * a)
    if n <= 500:
        return math.comb(n, i) * a**i * (1 - a) ** (n - i)
    logarithm = math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * math.log(a) + (n - i) * math.log1p(-a)
    return math.exp(logarithm)


def _share(availability: float) -> float:
    if not 0 <= availability <= 1:
        raise BadNumber(f"the availability of a unit is {availability:g}; it must be from 0 to 1.")
    return availability


def _quorum(k: int, n: int) -> None:
    whole("the number of units", n)
    whole("the number of units that must work", k)
    if k > n:
        raise BadNumber(f"{k} of {n} units must work, which can never be; take k from 1 to {n}.")
