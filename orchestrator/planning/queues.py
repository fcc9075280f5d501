"""Markovian queues: Poisson arrivals, exponential service, the order of arrival.

From Erlang B everything else follows. It is computed by its recursion and never by factorials, which overflow at 170 servers.
Relative error below 1e-12 up to 1000 servers (1e-10 promised).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestrator.planning.errors import BadNumber, between, not_negative, offered_at, positive, utilisation, whole


@dataclass(frozen=True, slots=True)
class Steady:
    """A queue in the long run. Times in seconds if rates are per second."""

    rho: float
    """The share of its time that a server works."""
    wait_probability: float
    """The share of tasks that find all servers busy."""
    queue_wait_s: float
    """Mean time before service starts (Wq), over all tasks."""
    response_s: float
    """Mean time from arrival to end (W): wait and service."""
    in_queue: float
    """Mean number of tasks that wait (Lq)."""
    in_system: float
    """Mean number of tasks that wait or are served (L)."""


@dataclass(frozen=True, slots=True)
class Bounded:
    """A queue with a limited number of places, in the long run. Means are over the tasks that got in."""

    loss: float
    """The share of tasks that is turned away."""
    empty: float
    """The share of time with nothing to do."""
    accepted_rate: float
    """Tasks per second that got in."""
    queue_wait_s: float
    response_s: float
    in_queue: float
    in_system: float


def mm1(arrival_rate: float, service_rate: float) -> Steady:
    """M/M/1: one server. Rates per second.

    L = rho/(1-rho) tasks are in the system; a task waits rho/(service_rate - arrival_rate) and is back after
    1/(service_rate - arrival_rate). Raises BadNumber, Overloaded. Source: Kleinrock, Queueing Systems I (1975), ch. 3.
    """
    rho = utilisation(offered_at(arrival_rate, service_rate))
    spare = service_rate - arrival_rate
    return Steady(rho, rho, rho / spare, 1 / spare, rho * arrival_rate / spare, arrival_rate / spare)


def mm1_response_tail(arrival_rate: float, service_rate: float, time_s: float) -> float:
    """M/M/1: the share of tasks whose response takes longer than ``time_s``, exp(-(service_rate - arrival_rate)·time_s).

    Raises BadNumber, Overloaded. Source: Kleinrock 1975.
    """
    spare = 1 / mm1(arrival_rate, service_rate).response_s
    return math.exp(-spare * not_negative("the time", time_s))


def erlang_b(servers: int, load: float) -> float:
    """Erlang's loss formula: the share of tasks lost by ``servers`` without a queue under ``load`` Erlang; any load.

    B₀ = 1, B_k = load·B_{k-1} / (k + load·B_{k-1}). Raises BadNumber. Source: Erlang 1917; recursion in Cooper 1981.
    """
    whole("the number of servers", servers, 0)
    positive("the offered load", load)
    loss = 1.0
    for k in range(1, servers + 1):
        loss = load * loss / (k + load * loss)
    return loss


def erlang_c(servers: int, load: float) -> float:
    """Erlang's delay formula: the probability to wait with ``servers`` and an endless queue under ``load`` Erlang.

    C = c·B / (c - load·(1 - B)). Raises BadNumber, Overloaded. Source: Erlang 1917; Gans, Koole & Mandelbaum 2003.
    """
    whole("the number of servers", servers)
    utilisation(positive("the offered load", load), servers)
    return delay_from_loss(servers, load, erlang_b(servers, load))


def delay_from_loss(servers: int, load: float, loss: float) -> float:
    """Erlang C from the Erlang B of the same question, which is known already. Unchecked."""
    return servers * loss / (servers - load * (1 - loss))


def mmc(arrival_rate: float, service_rate: float, servers: int) -> Steady:
    """M/M/c: one queue before ``servers`` equal ones, each with ``service_rate``. Rates per second.

    Wq = C/(c·service_rate - arrival_rate). Raises BadNumber, Overloaded. Source: Erlang; Gans, Koole & Mandelbaum 2003.
    """
    load = offered_at(arrival_rate, service_rate)
    rho = utilisation(load, whole("the number of servers", servers))
    waiting = erlang_c(servers, load)
    queue_wait_s = waiting / service_rate / (servers - load)
    in_queue = waiting * load / (servers - load)
    return Steady(rho, waiting, queue_wait_s, queue_wait_s + 1 / service_rate, in_queue, in_queue + load)


def mmc_wait_tail(arrival_rate: float, service_rate: float, servers: int, time_s: float) -> float:
    """M/M/c: the share of tasks that wait longer than ``time_s``, C·exp(-(c·service_rate - arrival_rate)·time_s).

    Raises BadNumber, Overloaded. Source: Erlang 1917.
    """
    steady = mmc(arrival_rate, service_rate, servers)
    spare = (servers - arrival_rate / service_rate) * service_rate
    return steady.wait_probability * math.exp(-spare * not_negative("the time", time_s))


def mmc_wait_quantile(arrival_rate: float, service_rate: float, servers: int, share: float) -> float:
    """M/M/c: the time, in seconds, within which ``share`` of the tasks start: ln(C/(1-share))/(c·service_rate - arrival_rate), 0 if
    that many do not wait at all. Raises BadNumber, Overloaded. Source: Erlang 1917.
    """
    steady = mmc(arrival_rate, service_rate, servers)
    rest = 1 - between("the share of tasks", share)
    if steady.wait_probability <= rest:
        return 0.0
    return math.log(steady.wait_probability / rest) / (servers - arrival_rate / service_rate) / service_rate


def mmck(arrival_rate: float, service_rate: float, servers: int, places: int) -> Bounded:
    """M/M/c/K: as ``mmc``, but who finds ``places`` tasks in the system (served ones included) is turned away. Any load is stable.

    This is a bounded queue, or admission control. Raises BadNumber. Source: Gross & Harris, Fundamentals of Queueing Theory, ch. 2.
    """
    load = offered_at(arrival_rate, service_rate)
    whole("the number of servers", servers)
    if whole("the number of places", places) < servers:
        raise BadNumber(f"{places} places hold fewer tasks than {servers} servers; count served tasks in: take {servers} or more.")
    fewer = 0.0  # the weight of all states with a server free, in units of "all busy, nobody waits"
    idle = 1.0  # the weight of the empty state, in the same units
    for k in range(1, servers + 1):
        fewer = k / load * (1 + fewer)
        idle *= k / load
    if not math.isfinite(fewer):  # so little load that all servers are never busy
        return Bounded(0.0, math.exp(-load), arrival_rate, 0.0, 1 / service_rate, 0.0, load)
    ratio = load / servers
    room = places - servers
    # Weights of the states with 0, 1, … waiting; relative to the heaviest, lest they overflow.
    weights = [ratio**j for j in range(room + 1)] if ratio <= 1 else [ratio ** (j - room) for j in range(room + 1)]
    not_full = math.fsum(weights[:-1]) + fewer * weights[0]
    total = not_full + weights[-1]
    kept = not_full / total
    in_queue = math.fsum(j * weight for j, weight in enumerate(weights)) / total
    accepted = arrival_rate * kept
    queue_wait_s = in_queue / accepted
    in_system = in_queue + load * kept
    empty = idle * weights[0] / total
    return Bounded(weights[-1] / total, empty, accepted, queue_wait_s, queue_wait_s + 1 / service_rate, in_queue, in_system)
