"""Who goes next: an ordering gives each waiting task a key, and the smallest goes first.

Law: keys are *static*. A task's key is computed when it enters the backlog and does not change while it waits, so a heap
serves and a decision costs O(log n). Ageing fits in: what grows at the same rate for everyone does not change the order, so
"one priority level is worth a minute of waiting" is the static key ``arrival - level * minute``. Ties go by arrival in the
ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from orchestrator.vocabulary import NS_PER_S, Nanos


@dataclass(frozen=True, slots=True)
class Waiting:
    """What an ordering may know of a waiting task."""

    arrival_ns: Nanos
    """When it was accepted (Unix time): kept over retries and takeovers, so ageing goes on."""
    priority: int
    tenant: str
    deadline_ns: Nanos | None
    estimate_ns: Nanos | None
    """Expected run time, where anything is known of it."""


class Ordering(Protocol):
    """An ordering policy."""

    def key(self, task: Waiting) -> float:
        """The static key of a waiting task; smaller goes first."""
        ...


@dataclass(frozen=True, slots=True)
class Fifo:
    """First come, first served. Nobody is overtaken: a task starts before every later one that its instances could take."""

    def key(self, task: Waiting) -> float:
        return 0


@dataclass(frozen=True, slots=True)
class PriorityWithAgeing:
    """Higher priority first, and waiting raises priority: one level is worth ``level_ns`` of waiting.

    Starvation bound: a task of priority p can be overtaken only by tasks that arrive within ``(q - p) * level_ns`` after it, where
    q is theirs (at most 1000, so with the default of a minute within 34 hours even from -1000 to +1000; one level: a minute).
    """

    level_ns: Nanos = 60 * NS_PER_S

    def key(self, task: Waiting) -> float:
        return task.arrival_ns - task.priority * self.level_ns


ORDERINGS: Mapping[str, Ordering] = {"fifo": Fifo(), "priority": PriorityWithAgeing()}
