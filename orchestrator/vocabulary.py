"""The words everything else is said in: ids, time, amounts of resources.

Law: this file imports nothing of ours and touches nothing of the world. Whoever reads a type here knows its unit:

* **time** is an integer number of nanoseconds. An *instant* is Unix time (ns) on the speaker's own clock, a *span* a
  length. Floats are for people, at the edges only (``seconds``, ``ns``).
* **amounts** of a resource are integers of a thousandth (``1500`` is 1.5 cpu), so that what was taken is exactly what
  is given back, whatever the order; floats would drift. Peers say ``1.5``: ``milli``, ``plain`` convert at the edges.
* **an attempt** is ``(epoch, n)``: the reign that made it and a number within the reign. Unique for ever.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias

Nanos: TypeAlias = int
"""An instant (Unix time) or a span, in nanoseconds."""

TaskId: TypeAlias = str
TaskType: TypeAlias = str  # "service.handler"
Service: TypeAlias = str
Incarnation: TypeAlias = str
Milli: TypeAlias = int
"""An amount of a resource, in thousandths of its unit."""

Vector: TypeAlias = dict[str, Milli]
"""Amounts by resource name. A name that is missing means zero."""

Ending: TypeAlias = Literal["broken", "closed", "swept"]
"""How the broker lost a connection: without a word, as a dead process ends one; by a handshake, which takes a living process and a
living node (one that is told to stop closes its connections so); or with the node that had it."""

DEFAULT_SHARD: Final = "default"
"""The shard that is always there. Its exchanges and queues have no shard in their names."""

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z"
"""Services, handlers, resources, tenants: one word (a dot would end a service's name in ``service.handler``)."""

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127}\Z"
"""Task ids, instance names, incarnations. (``\\Z``, for ``$`` would let a line feed at the end pass into logs.)"""

_UNITS: dict[str, Nanos] = {
    "d": 86_400 * NS_PER_S,
    "h": 3_600 * NS_PER_S,
    "m": 60 * NS_PER_S,
    "s": NS_PER_S,
    "ms": NS_PER_MS,
    "us": 1_000,
    "ns": 1,
}
_PIECE = re.compile(r"(\d+(?:\.\d+)?)(ms|us|ns|s|m|h|d)")
_SPAN = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|us|ns|s|m|h|d))+\Z")

TYPES_MAX = 1_000
"""Task types of which the two words are remembered: one string for all their tasks. A flood invents more."""

_NAME = re.compile(NAME_PATTERN)
_ID = re.compile(ID_PATTERN)


class Attempt(NamedTuple):
    """One try at a task: the reign (epoch) that assigned it and its number there. Unique for ever."""

    epoch: int
    n: int

    def __str__(self) -> str:
        return f"{self.epoch}#{self.n}"


def is_name(text: str) -> bool:
    """Whether ``text`` may name a service, handler, resource or tenant."""
    return _NAME.match(text) is not None


def is_id(text: str) -> bool:
    """Whether ``text`` may be the id of a task, an instance or an incarnation."""
    return _ID.match(text) is not None


@lru_cache(TYPES_MAX)
def service_of(task_type: TaskType) -> Service:
    """The service that a task type names: ``"thumbs.resize"`` -> ``"thumbs"``."""
    return task_type.partition(".")[0]


@lru_cache(TYPES_MAX)
def handler_of(task_type: TaskType) -> str:
    """The handler that a task type names: ``"thumbs.resize"`` -> ``"resize"``."""
    return task_type.partition(".")[2]


def ns(seconds: float) -> Nanos:
    """Seconds (a person's) to nanoseconds (ours)."""
    return round(seconds * NS_PER_S)


def seconds(span: Nanos) -> float:
    """Nanoseconds (ours) to seconds (a person's)."""
    return span / NS_PER_S


def span_ns(text: str) -> Nanos:
    """A length of time as people write it (``30s``, ``250ms``, ``1h30m``) in ns. Raises ValueError."""
    plain = text.replace(" ", "").lower()
    try:
        if _SPAN.match(plain):
            return sum(round(float(number) * _UNITS[unit]) for number, unit in _PIECE.findall(plain))
    except OverflowError:  # more digits than a float has room for
        pass
    raise ValueError(f"{text!r} is not a length of time")


def span_text(span: Nanos) -> str:
    """A length of time as people write it, exactly: ``5400000000000`` -> ``1h30m``. ``span_ns`` reads it."""
    parts = []
    for unit, length in _UNITS.items():
        count, span = divmod(span, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def milli(amount: float) -> Milli:
    """An amount as peers say it (``1.5``) to thousandths (``1500``)."""
    return round(amount * 1000)


def plain(amount: Milli) -> int | float:
    """Thousandths to the number a person would write: ``1500`` -> ``1.5``, ``2000`` -> ``2``."""
    return amount // 1000 if amount % 1000 == 0 else amount / 1000


def vector(amounts: Mapping[str, float]) -> Vector:
    """Amounts as peers say them to a vector of thousandths; zeros are left out."""
    return {name: milli(amount) for name, amount in amounts.items() if amount}


def plain_vector(amounts: Vector) -> dict[str, int | float]:
    """A vector of thousandths as a person would write it."""
    return {name: amount // 1000 if amount % 1000 == 0 else amount / 1000 for name, amount in amounts.items()}
