"""What cannot be planned, and why: every number that comes in passes one of these gates.

Law: an error names the number, says what is wrong with it and what would be right. Nothing that is not finite gets past here, so
the formulas need not think of it.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TypeVar

Number = TypeVar("Number", bound=float | Fraction)

MOST = 10_000_000
"""The most servers, places or units in one question. Work and memory grow with them; at this size an answer takes seconds."""


LEAST, LARGEST = 1e-90, 1e90
"""Between these lies every number of a sensible question, and third powers of them can still be computed."""


NEAREST = 1e-9
"""How near to full load integrals are taken."""


class CannotPlan(ValueError):
    """A question that has no answer. The message says what is wrong and what would be right."""


class BadNumber(CannotPlan):
    """A number that makes no sense where it stands: negative, zero, not finite, out of range."""


class Overloaded(CannotPlan):
    """More work arrives than the servers can do, so the queue grows without bound and no mean exists. ``rho`` is the load."""

    def __init__(self, message: str, rho: float) -> None:
        super().__init__(message)
        self.rho = rho


def positive(what: str, value: Number) -> Number:
    """``value``, if it is above zero, and neither so small nor so large that it cannot be computed with. Raises BadNumber."""
    if not LEAST <= value <= LARGEST:
        raise BadNumber(f"{what} is {float(value):g}; it must be a finite number above 0, from {LEAST:g} to {LARGEST:g}.")
    return value


def not_negative(what: str, value: Number) -> Number:
    """``value``, if it is not below zero, and finite. Raises BadNumber."""
    if not 0 <= value <= LARGEST:
        raise BadNumber(f"{what} is {float(value):g}; it must be a finite number, 0 or more, up to {LARGEST:g}.")
    return value


def between(what: str, value: float, low: float = 0.0, high: float = 1.0) -> float:
    """``value``, if it lies strictly between ``low`` and ``high``. Raises BadNumber."""
    if not low < value < high:
        raise BadNumber(f"{what} is {value:g}; it must lie between {low:g} and {high:g}, both excluded.")
    return value


def whole(what: str, value: int, least: int = 1) -> int:
    """``value``, if it is a whole number from ``least`` to MOST. Raises BadNumber."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MOST:
        raise BadNumber(f"{what} is {value!r}; it must be a whole number from {least} to {MOST}.")
    return value


def offered(arrival_rate: float, mean_s: float) -> float:
    """The offered load, in Erlang. Raises BadNumber if a factor is not above zero or the product leaves the range of numbers."""
    return positive("the offered load (arrival rate times mean service time)", arrival_rate * mean_s)


def offered_at(arrival_rate: float, service_rate: float) -> float:
    """The offered load, in Erlang, of servers with this rate. Equal rates are exactly 1. Raises BadNumber as ``offered``."""
    positive("the arrival rate", arrival_rate)
    positive("the service rate", service_rate)
    return positive("the offered load (arrival rate over service rate)", arrival_rate / service_rate)


def utilisation(load: float, servers: int = 1) -> float:
    """rho of ``servers`` under an offered load in Erlang. Raises Overloaded from 1 on."""
    rho = load / servers
    if rho >= 1:
        enough = math.floor(load) + 1
        raise Overloaded(
            f"rho is {rho:.6g}: the work that arrives keeps {load:.6g} servers busy and there {_are(servers)}. The queue grows "
            f"without bound, so there is no mean wait. Take at least {enough} servers, or bring the load below {servers}: "
            "fewer arrivals or shorter service.",
            rho,
        )
    return rho


def reachable(rho: float, relative: float) -> float:
    """How exact an integral can be under the load ``rho``: ``relative``, or what the rounding of 1 - rho leaves.

    Raises CannotPlan where that is less than six digits.
    """
    spare = 1 - rho
    if spare < NEAREST:
        raise CannotPlan(f"rho is 1 - {spare:g}; so near to 1 the answer hangs on its last digits. Take less than 1 - {NEAREST:g}.")
    return relative + 1e-15 / spare


def _are(servers: int) -> str:
    return "is 1" if servers == 1 else f"are {servers}"
