"""How many servers? The least number that keeps a promise about waiting; exact for M/M/c, by Erlang C.

One utilisation target does not fit all: to make 5 % of the tasks wait, 4 servers may be a quarter busy, 1056 may be 95 % busy. The
square-root rule says why: beside the work itself a reserve of its square root is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.planning.errors import MOST, CannotPlan, between, not_negative, offered_at, positive
from orchestrator.planning.numerics import normal_cdf, normal_density, root
from orchestrator.planning.queues import delay_from_loss


@dataclass(frozen=True, slots=True)
class Staffing:
    """The answer, and what it achieves."""

    servers: int
    rho: float
    wait_probability: float
    queue_wait_s: float
    """Mean queue wait, seconds."""
    within_target: float
    """The share of tasks that start within the target time."""


def for_wait_probability(arrival_rate: float, service_rate: float, target: float) -> Staffing:
    """The least number of servers with which at most a share ``target`` of the tasks has to wait. Rates per second.

    Raises BadNumber, CannotPlan beyond ten million servers. Source: Erlang 1917.
    """
    between("the share of tasks that may wait", target)
    return for_wait(arrival_rate, service_rate, 0.0, 1 - target, _late=target)


def for_wait(
    arrival_rate: float, service_rate: float, target_wait_s: float, probability: float, *, _late: float | None = None
) -> Staffing:
    """The least number of servers with which a share ``probability`` of tasks starts within ``target_wait_s`` seconds of arrival.

    C·exp(-(c·service_rate - arrival_rate)·t) ≤ 1 - probability. Exact for exponential service; for other laws divide the time by
    (ca²+cs²)/2 as an approximation. Rates per second. Raises BadNumber, CannotPlan beyond ten million servers. Source: Erlang 1917.
    """
    load = offered_at(arrival_rate, service_rate)
    not_negative("the target wait", target_wait_s)
    between("the target probability", probability)
    late = 1 - probability if _late is None else _late

    def tail(servers: int, waiting: float) -> float:
        return waiting * math.exp(-(servers - load) * service_rate * target_wait_s)

    servers, waiting = _least(load, lambda c, w: tail(c, w) <= late)
    return Staffing(
        servers, load / servers, waiting, waiting / service_rate / (servers - load), 1 - tail(servers, waiting)
    )  # fmt: skip


def _least(load: float, enough: Callable[[int, float], bool]) -> tuple[int, float]:
    """The first number of servers above the load that is enough, and its probability to wait: one pass of Erlang's recursion."""
    if load >= MOST:
        raise CannotPlan(f"{load:g} servers are busy with that load; more than {MOST} are not counted here. Split the question.")
    loss = 1.0
    for servers in range(1, MOST + 1):
        loss = load * loss / (servers + load * loss)
        if servers > load:
            waiting = delay_from_loss(servers, load, loss)
            if enough(servers, waiting):
                return servers, waiting
    raise CannotPlan(f"more than {MOST} servers would be needed for {load:g} Erlang; ask for less, or split the question.")


def quality(target: float) -> float:
    """beta of the square-root rule for a share ``target`` of tasks that wait: 1/(1 + beta·Φ(beta)/φ(beta)) = target.

    Raises BadNumber. Source: Halfin & Whitt 1981.
    """
    between("the share of tasks that may wait", target)

    def waiting(beta: float) -> float:
        return 1 / (1 + beta * normal_cdf(beta) / normal_density(beta))

    return root(lambda beta: waiting(beta) - target, 0.0, 37.0)


def square_root(load: float, target: float) -> int:
    """The square-root rule: ⌈load + beta·√load⌉ servers. Exact in half of the cases and one too low in the other: a first guess.
    Raises BadNumber. Source: Halfin & Whitt 1981; Borst, Mandelbaum & Reiman 2004.
    """
    return math.ceil(positive("the offered load", load) + quality(target) * math.sqrt(load))
