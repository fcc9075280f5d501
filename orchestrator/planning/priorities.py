"""Classes of tasks with different rights: what each waits, in one queue.

Everything here is exact for Poisson arrivals. Classes are given in the order of their right, the first one first, except where a
slope says it. Whatever the order, as long as nobody is interrupted and sizes play no part, what one class gains others pay:
the sum of rho·wait over all classes stays rho·W0/(1 - rho) (conservation law, Kleinrock 1965).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.planning.errors import BadNumber, positive, utilisation, whole
from orchestrator.planning.laws import Law, exponential
from orchestrator.planning.queues import erlang_c


@dataclass(frozen=True, slots=True)
class TaskClass:
    """Tasks of one right. Raises BadNumber."""

    arrival_rate: float
    """Per second."""
    law: Law
    """Of their service times."""

    def __post_init__(self) -> None:
        positive("the arrival rate of a class", self.arrival_rate)

    @property
    def load(self) -> float:
        """Erlang."""
        return self.arrival_rate * self.law.mean

    @property
    def residual(self) -> float:
        """What it adds to the work in service that an arrival finds, seconds."""
        return self.arrival_rate * self.law.second / 2


def exponential_class(arrival_rate: float, service_rate: float) -> TaskClass:
    """Tasks with exponential service. Rates per second. Raises BadNumber."""
    return TaskClass(arrival_rate, exponential(1 / positive("the service rate of a class", service_rate)))


def nonpreemptive(classes: Sequence[TaskClass]) -> list[float]:
    """One server, nobody is interrupted: mean queue wait of each class, seconds.

    W_k = W0/((1 - s_{k-1})(1 - s_k)), s the load of this class and all before. Raises BadNumber, Overloaded. Source: Cobham 1954.
    """
    _stable(classes)
    return _cobham(math.fsum(one.residual for one in classes), [one.load for one in classes])


def nonpreemptive_mmc(arrival_rates: Sequence[float], service_rate: float, servers: int) -> list[float]:
    """``servers`` equal ones, exponential service of the same rate for all classes: mean queue wait of each class, seconds.

    As ``nonpreemptive`` with W0 = C/(c·service_rate). Raises BadNumber, Overloaded. Source: Cobham 1954.
    """
    classes = [exponential_class(rate, service_rate) for rate in arrival_rates]
    _stable(classes, whole("the number of servers", servers))
    load = math.fsum(one.load for one in classes)
    return _cobham(erlang_c(servers, load) / (servers * service_rate), [one.load / servers for one in classes])


def preemptive(classes: Sequence[TaskClass]) -> list[float]:
    """One server, a higher class interrupts at once, the interrupted resumes without loss: mean *response* of each class, s.

    T_k = E[S_k]/(1 - s_{k-1}) + Σ_{i≤k} rate_i·E[S_i²]/2 / ((1 - s_{k-1})(1 - s_k)). Raises BadNumber, Overloaded.
    Source: White & Christie 1958.
    """
    _stable(classes)
    found, above, residual = [], 0.0, 0.0
    for one in classes:
        with_it = above + one.load
        residual += one.residual
        found.append(one.law.mean / (1 - above) + residual / ((1 - above) * (1 - with_it)))
        above = with_it
    return found


def ageing(classes: Sequence[TaskClass], slopes: Sequence[float]) -> list[float]:
    """One server, nobody is interrupted, the highest priority first, and priority is slope times waiting time: mean queue wait of
    each class, seconds. Equal slopes are the order of arrival, slopes far apart strict priority.

    Also known as accumulating priority. Raises BadNumber, Overloaded. Source: Kleinrock 1964; Stanford, Taylor & Ziedins 2014.
    """
    rho = _stable(classes)
    if len(slopes) != len(classes):
        raise BadNumber(f"{len(slopes)} slopes for {len(classes)} classes; give each class one.")
    for slope in slopes:
        positive("a slope", slope)
    base = math.fsum(one.residual for one in classes) / (1 - rho)
    ascending = sorted(range(len(classes)), key=lambda index: slopes[index])
    waits = [0.0] * len(classes)
    for place, p in enumerate(ascending):
        slower, faster = ascending[:place], ascending[place + 1 :]
        taken = math.fsum(classes[i].load * waits[i] * (1 - slopes[i] / slopes[p]) for i in slower)
        waits[p] = (base - taken) / (1 - math.fsum(classes[i].load * (1 - slopes[p] / slopes[i]) for i in faster))
    return waits


def conserved(classes: Sequence[TaskClass]) -> float:
    """The sum of rho·wait over all classes that no order without interruption and without regard to sizes can change, seconds.

    Raises BadNumber, Overloaded. Source: Kleinrock 1965.
    """
    rho = _stable(classes)
    return rho * math.fsum(one.residual for one in classes) / (1 - rho)


def _cobham(residual: float, loads: Sequence[float]) -> list[float]:
    found, above = [], 0.0
    for load in loads:
        found.append(residual / ((1 - above) * (1 - above - load)))
        above += load
    return found


def _stable(classes: Sequence[TaskClass], servers: int = 1) -> float:
    if not classes:
        raise BadNumber("there are no classes; give at least one.")
    return utilisation(math.fsum(one.load for one in classes), servers)
