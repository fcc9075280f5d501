"""What a grant does to response times: ``units`` shared by tasks that run g^exponent times as fast with g of them.

Poisson arrivals; exponential sizes with mean ``mean_s``, the time a task takes with one unit. An exponent of 1 is perfect speed-up,
below 1 every further unit helps less. Granting much is fast at low load and loses capacity at high load; dividing what there is
among those who are there is never worse than either.
"""

from __future__ import annotations

import math

from orchestrator.planning.errors import BadNumber, Overloaded, between, offered, positive, whole
from orchestrator.planning.queues import mmc


def fixed_grant_s(arrival_rate: float, mean_s: float, units: int, grant: int, exponent: float) -> float:
    """Every task gets ``grant`` units or waits: M/M/c with ⌊units/grant⌋ servers of rate grant^exponent. Mean response, s.

    Exact. Raises BadNumber, Overloaded: a large grant may lose so much capacity that the load no longer fits.
    """
    whole("the number of units", units)
    if whole("the grant", grant) > units:
        raise BadNumber(f"a grant of {grant} units exceeds all {units}; grant at most {units}.")
    rate = math.pow(grant, _exponent(exponent)) / positive("the mean size", mean_s)
    return mmc(arrival_rate, rate, units // grant).response_s


def equal_split_s(arrival_rate: float, mean_s: float, units: int, least: int, most: int, exponent: float) -> float:
    """All tasks present share the units equally, each within ``least`` … ``most``; who would get less waits. Mean response, s.

    Progressive filling, resized at every arrival and end, in fractions of units. A birth-death chain; exact. Raises BadNumber,
    Overloaded. Theory: Berg, Dorsman & Harchol-Balter 2018 (optimal for exponential sizes and one concave speed-up).
    """
    whole("the number of units", units)
    whole("the least grant", least)
    if not least <= whole("the largest grant", most) or least > units:
        raise BadNumber(f"grants from {least} to {most} of {units} units are impossible; give least ≤ most and least ≤ units.")
    _exponent(exponent)
    load = offered(positive("the arrival rate", arrival_rate), positive("the mean size", mean_s))
    full = units // least
    speeds = [n * math.pow(min(most, units / n), exponent) for n in range(1, full + 1)]  # with n tasks at work
    ratio = load / speeds[-1]  # of arrivals to ends when all units are used
    if ratio >= 1:
        raise Overloaded(
            f"rho is {ratio:.6g}: {units} units, {least} for each task, end {speeds[-1] / mean_s:.6g} tasks a second "
            f"and {arrival_rate:g} arrive. The queue grows without bound, so there is no mean response. "
            "Take more units, or let fewer arrive.",
            ratio,
        )
    logs = [0.0]  # of the weight of 0, 1, … tasks present
    for speed in speeds:
        logs.append(logs[-1] + math.log(load / speed))
    top = max(logs)
    weights = [math.exp(one - top) for one in logs]
    last, rest = weights[-1], 1 - ratio  # beyond, the chain is geometric
    total = math.fsum(weights) + last * ratio / rest
    present = math.fsum(n * weight for n, weight in enumerate(weights)) + last * ratio * (full / rest + 1 / rest**2)
    return present / total / arrival_rate


def _exponent(exponent: float) -> float:
    if exponent == 1:
        return 1.0
    return between("the exponent of the speed-up", exponent)
