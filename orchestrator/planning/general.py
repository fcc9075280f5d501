"""Queues with general service or arrival times, in the order of arrival: exact, or approximations with their errors.

``scv`` is a squared coefficient of variation: 0 constant, 1 exponential (Poisson), more for bursts and long tails.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass

from orchestrator.planning.errors import not_negative, offered, offered_at, positive, utilisation, whole
from orchestrator.planning.laws import Law, SmoothLaw, Transformed, average
from orchestrator.planning.numerics import root
from orchestrator.planning.queues import Steady, erlang_c


@dataclass(frozen=True, slots=True)
class Spread:
    """The mean of a wait and how much it varies."""

    mean_s: float
    variance_s2: float


def mg1(arrival_rate: float, law: Law) -> Steady:
    """M/G/1 in the order of arrival. Exact.

    Wq = rate·E[S²] / (2·(1 - rho)) (Pollaczek 1930, Khinchine 1932). ``arrival_rate`` per second. Raises BadNumber, Overloaded.
    """
    rho = _load(arrival_rate, law)
    wait = arrival_rate * law.second / (2 * (1 - rho))
    return Steady(rho, rho, wait, wait + law.mean, arrival_rate * wait, arrival_rate * (wait + law.mean))


def mg1_wait_spread(arrival_rate: float, law: Law) -> Spread:
    """M/G/1 in the order of arrival: mean and variance of the queue wait; E[Wq²] = 2·Wq² + rate·E[S³]/(3·(1 - rho)). Exact.

    Raises BadNumber, Overloaded. Source: Takács 1962.
    """
    steady = mg1(arrival_rate, law)
    return Spread(steady.queue_wait_s, steady.queue_wait_s**2 + arrival_rate * law.third / (3 * (1 - steady.rho)))


def _load(arrival_rate: float, law: Law) -> float:
    return utilisation(offered(positive("the arrival rate", arrival_rate), law.mean))


def gim1(between_arrivals: Law, service_rate: float) -> Steady:
    """GI/M/1: independent times between arrivals of any law, exponential service at ``service_rate`` per second. Exact to 1e-12.

    sigma, the probability to wait, solves sigma = A*(service_rate·(1 - sigma)); Wq = sigma/(service_rate·(1 - sigma)).
    Raises BadNumber, Overloaded. Source: Kleinrock 1975, §6.4.
    """
    arrival_rate = 1 / between_arrivals.mean
    rho = utilisation(offered_at(arrival_rate, service_rate))

    def transform(s: float) -> float:
        if isinstance(between_arrivals, Transformed):
            return between_arrivals.laplace(s)
        assert isinstance(between_arrivals, SmoothLaw), "a law has a transform in closed form or a density"
        return average(between_arrivals, lambda x: math.exp(-s * x))

    # In terms of the spare share 1 - sigma, which keeps its digits near full load. 0 solves it too; as the function is convex, the
    # solution that is meant lies above twice this.
    least = rho * (1 - rho) * between_arrivals.mean**2 / between_arrivals.second
    spare = root(lambda free: transform(service_rate * free) - (1 - free), least, 1.0)
    sigma = transform(service_rate * spare)  # 1 - spare, with all its digits also where hardly anybody waits
    wait = sigma / (service_rate * spare)
    return Steady(rho, sigma, wait, wait + 1 / service_rate, arrival_rate * wait, arrival_rate * wait + rho)


def kingman(arrival_rate: float, mean_s: float, arrival_scv: float, service_scv: float) -> float:
    """G/G/1: approximate queue wait, rho/(1-rho)·(ca²+cs²)/2·E[S], seconds. Exact for M/G/1; exact in the limit of heavy traffic.

    Measured on GI/M/1: within 97 % from rho .5, 19 % from .8, 8 % from .9. Raises BadNumber, Overloaded. Source: Kingman 1961.
    """
    rho = utilisation(offered(positive("the arrival rate", arrival_rate), positive("the mean service time", mean_s)))
    return rho / (1 - rho) * _variability(arrival_scv, service_scv) * mean_s


def kraemer_langenbach_belz(arrival_rate: float, mean_s: float, arrival_scv: float, service_scv: float) -> float:
    """G/G/1: Kingman's wait corrected for arrivals more regular than Poisson; seconds.

    Measured on GI/M/1: within 50 % from rho .5, 3.9 % from .8, 1.2 % from .9. Raises BadNumber, Overloaded.
    Source: Krämer & Langenbach-Belz 1976; without a correction for bursts, as in Whitt's QNA 1983.
    """
    wait = kingman(arrival_rate, mean_s, arrival_scv, service_scv)
    if arrival_scv >= 1:
        return wait
    rho = arrival_rate * mean_s
    return wait * math.exp(-2 * (1 - rho) * (1 - arrival_scv) ** 2 / (3 * rho * (arrival_scv + service_scv)))


def allen_cunneen(arrival_rate: float, mean_s: float, servers: int, arrival_scv: float, service_scv: float) -> float:
    """G/G/c: approximate queue wait, that of M/M/c times (ca²+cs²)/2; seconds. Exact for M/M/c and M/G/1.

    Measured on M/D/c: within 39 % from rho .5 (32 servers, where waits are negligible), 15 % from .8, 6.1 % from .9.
    Raises BadNumber, Overloaded. Source: Allen 1990.
    """
    return _mmc_wait(arrival_rate, mean_s, servers) * _variability(arrival_scv, service_scv)


def sakasegawa(arrival_rate: float, mean_s: float, servers: int, arrival_scv: float, service_scv: float) -> float:
    """G/G/c: approximate queue wait without Erlang C, rho^(√(2(c+1))-1)/(c(1-rho))·(ca²+cs²)/2·E[S]; seconds.

    Measured on M/D/c: 15 times too long at rho .5, within 8.7 % from .8, 3.3 % from .9: not for low load.
    Raises BadNumber, Overloaded. Source: Sakasegawa 1977.
    """
    load = offered(positive("the arrival rate", arrival_rate), positive("the mean service time", mean_s))
    rho = utilisation(load, whole("the number of servers", servers))
    power = math.sqrt(2 * (servers + 1)) - 1
    return math.pow(rho, power) / (servers * (1 - rho)) * _variability(arrival_scv, service_scv) * mean_s


def cosmetatos(arrival_rate: float, service_s: float, servers: int) -> float:
    """M/D/c: approximate queue wait, half of that of M/M/c with a correction; seconds.

    Measured: within 2.7 % from rho .5, 0.8 % from .8. Raises BadNumber, Overloaded. Source: Cosmetatos 1975.
    """
    wait = _mmc_wait(arrival_rate, service_s, servers) / 2
    rho = arrival_rate * service_s / servers
    return wait * (1 + (1 - rho) * (servers - 1) * (math.sqrt(4 + 5 * servers) - 2) / (16 * servers * rho))


def mdc(arrival_rate: float, service_s: float, servers: int) -> Steady:
    """M/D/c: every task takes ``service_s`` on any of ``servers``. Exact to 1e-11 up to 1000 servers.

    Raises BadNumber, Overloaded. Source: Crommelin 1932 (zeros); Spitzer 1956 (sums).
    """
    load = offered(positive("the arrival rate", arrival_rate), positive("the service time", service_s))
    rho = utilisation(load, whole("the number of servers", servers))
    sums = _MDC_REACH / (servers * (rho - 1 - math.log(rho)))
    in_queue, waiting = _mdc_by_sums(load, servers, math.ceil(sums)) if sums < 200 else _mdc_by_zeros(load, servers, rho)
    wait = in_queue / arrival_rate
    return Steady(rho, waiting, wait, wait + service_s, in_queue, in_queue + load)


_MDC_REACH = 40.0
"""The sums end where their terms are exp(-40) of the first."""


def _mdc_by_sums(load: float, servers: int, terms: int) -> tuple[float, float]:
    """Mean number waiting and the probability to wait, from what m service times bring more than they serve.

    The number that waits is W → max(0, W + A - c), with A Poisson arrivals in a service time. Spitzer's identity sums over m:
    Lq = Σ E[(A_m - m·c)⁺]/m, P(no wait) = exp(-Σ P(A_m ≥ m·c)/m). All terms are positive, so even the rarest wait has its digits.
    """
    in_queue = busy = 0.0
    for m in range(1, terms + 1):
        mean, k = m * load, m * servers
        share = math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) / m
        i = 0
        least = share * 1e-17
        while share * (i + 1) > least:
            busy += share
            in_queue += i * share
            i += 1
            share *= mean / (k + i)
    return in_queue, -math.expm1(-busy)


def _mdc_by_zeros(load: float, servers: int, rho: float) -> tuple[float, float]:
    """The same from the zeros within the unit circle of z^c = exp(-load·(1-z)), at high load, where the sums are long.

    With u = 1 - z over all zeros but 1: L = Σ 1/u - ((c-load)² - c)/(2(c-load)), P(no wait) = (c-load)/Π u.
    """
    inverse, product = 0.0, 1.0
    for k in range(1, servers // 2 + 1):  # they come in conjugate pairs: -k is the partner of k
        gap = 1 - _zero(cmath.exp(2j * math.pi * k / servers), rho)
        both = 2 * k != servers
        inverse += (1 / gap).real * (2 if both else 1)
        product *= abs(gap) ** 2 if both else abs(gap)
    spare = servers - load
    return inverse - (spare * spare - servers) / (2 * spare) - load, 1 - spare / product


def _zero(direction: complex, rho: float) -> complex:
    """The zero of z = direction·exp(-rho·(1-z)) within the unit circle, by Newton's method."""
    z = rho * direction / (1 + rho)
    for _ in range(200):
        there = direction * cmath.exp(-rho * (1 - z))
        step = (z - there) / (1 - rho * there)
        z -= step
        if abs(step) < 1e-16:
            break
    return z


def _mmc_wait(arrival_rate: float, mean_s: float, servers: int) -> float:
    load = offered(positive("the arrival rate", arrival_rate), positive("the mean service time", mean_s))
    return erlang_c(servers, load) * mean_s / (servers - load)


def _variability(arrival_scv: float, service_scv: float) -> float:
    arrivals = not_negative("the squared coefficient of variation of arrivals", arrival_scv)
    return (arrivals + not_negative("the squared coefficient of variation of service", service_scv)) / 2
