"""One server and tasks of known sizes: what the order does to the mean response time (M/G/1).

    FIFO   in the order of arrival                     PS     all at once, each an equal share of the server
    SJF    the shortest first, never interrupted       LAS    who had least service so far (sizes need not be known)
    PSJF   the shortest first, interrupting longer     SRPT   who needs least more service: no order has a smaller mean

Each mean is one integral over the law of sizes, good to a relative 1e-10, near full load to 1e-15/(1 - rho). Where all
sizes are equal, SJF, PSJF and SRPT are FIFO: ties go by arrival.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from orchestrator.planning.errors import offered, positive, reachable, utilisation
from orchestrator.planning.general import mg1
from orchestrator.planning.laws import Law, SmoothLaw, average, over_logarithm
from orchestrator.planning.numerics import RELATIVE


class Order(StrEnum):
    """Who is served next."""

    FIFO = "fifo"
    SJF = "sjf"
    PSJF = "psjf"
    SRPT = "srpt"
    PS = "ps"
    LAS = "las"


def response_s(order: Order, arrival_rate: float, law: Law) -> float:
    """Mean response time in seconds under ``order``; Poisson arrivals per second.

    Raises BadNumber, Overloaded; CannotPlan within 1e-9 of full load.
    """
    rho = _load(arrival_rate, law)
    if order is Order.FIFO:
        return mg1(arrival_rate, law).response_s
    if order is Order.PS:
        return law.mean / (1 - rho)
    if not isinstance(law, SmoothLaw):  # all sizes equal
        return mg1(arrival_rate, law).response_s if order is not Order.LAS else las_of(arrival_rate, law.second, rho, law.mean)
    if order is Order.SRPT:
        return sum(srpt_parts_s(arrival_rate, law))
    one = _OF_SIZE[order]
    return average(law, lambda x: one(arrival_rate, law, x), reachable(rho, RELATIVE))


def srpt_parts_s(arrival_rate: float, law: SmoothLaw) -> tuple[float, float]:
    """SRPT: mean time until a task is first served, and from there to its end, interruptions included; seconds.

    Raises BadNumber, Overloaded; CannotPlan within 1e-9 of full load.
    """
    relative = reachable(_load(arrival_rate, law), RELATIVE)
    low, high = law.reach
    waits = average(law, lambda x: srpt_wait_s(arrival_rate, law, x), relative)
    # E[∫₀^S dt/(1-rho(t))] with the order of integration exchanged; below its reach the law has neither tasks nor work.
    return waits, low + over_logarithm(lambda t: law.tail(t) / (1 - arrival_rate * law.below1(t)), low, high, relative)


def response_of_size_s(order: Order, arrival_rate: float, law: SmoothLaw, size_s: float) -> float:
    """Mean response time, in seconds, of the tasks that need ``size_s``. Raises BadNumber, Overloaded."""
    rho = _load(arrival_rate, law)
    positive("the size", size_s)
    if order is Order.FIFO:
        return mg1(arrival_rate, law).queue_wait_s + size_s
    if order is Order.PS:
        return size_s / (1 - rho)
    if order is Order.SRPT:
        low = min(law.reach[0], size_s)
        served = low
        if size_s > low:
            served += over_logarithm(lambda t: 1 / (1 - arrival_rate * law.below1(t)), low, size_s, reachable(rho, RELATIVE))
        return srpt_wait_s(arrival_rate, law, size_s) + served
    return _OF_SIZE[order](arrival_rate, law, size_s)


def _sjf(rate: float, law: SmoothLaw, x: float) -> float:
    """Who is at work stays, then all shorter ones go first: rate·E[S²]/2/(1-rho(x))². Source: Phipps 1956."""
    return x + rate * law.second / 2 / (1 - rate * law.below1(x)) ** 2


def _psjf(rate: float, law: SmoothLaw, x: float) -> float:
    """Longer tasks do not exist for one of size x. Source: Harchol-Balter 2013, ch. 32."""
    spare = 1 - rate * law.below1(x)
    return rate * law.below2(x) / (2 * spare**2) + x / spare


def _las(rate: float, law: SmoothLaw, x: float) -> float:
    """Every task counts up to x of its service. Source: Kleinrock 1976, §4.6."""
    tail = law.tail(x)
    return las_of(rate, law.below2(x) + x * x * tail, rate * (law.below1(x) + x * tail), x)


def las_of(rate: float, second: float, rho: float, x: float) -> float:
    """LAS for a task of size x, from the second moment and the load of sizes that are cut off at x."""
    return rate * second / (2 * (1 - rho) ** 2) + x / (1 - rho)


def srpt_wait_s(rate: float, law: SmoothLaw, x: float) -> float:
    """SRPT: the time until a task of size x is first served. Source: Schrage & Miller 1966."""
    return rate * (law.below2(x) + x * x * law.tail(x)) / (2 * (1 - rate * law.below1(x)) ** 2)


_OF_SIZE: dict[Order, Callable[[float, SmoothLaw, float], float]] = {Order.SJF: _sjf, Order.PSJF: _psjf, Order.LAS: _las}


def _load(arrival_rate: float, law: Law) -> float:
    return utilisation(offered(positive("the arrival rate", arrival_rate), law.mean))
