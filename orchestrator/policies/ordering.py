"""Who goes next: an ordering gives each waiting task a key, and the smallest goes first.

Law: keys are *static*. A task's key is computed when it enters the backlog and does not change while it waits, so a heap
serves and a decision costs O(log n). Ageing fits in: what grows at the same rate for everyone does not change the order. So
keys are read as instants: a task is ordered *as if it had arrived* so much earlier or later ("one priority level is worth a
minute of waiting" is ``arrival - level * minute``). They are whole nanoseconds: exact, where a float of Unix time is not. Ties
go by arrival in the ledger.

Every ordering says how far it can let a task be overtaken (``horizon_ns``): the starvation bound. Those that look at run times
are in ``by_size``, the one that looks at tenants first in ``fairness``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

from orchestrator.policies.preemption import Preemption
from orchestrator.policies.settings import Span, setting
from orchestrator.vocabulary import NS_PER_S, Nanos

DAY_NS = 86_400 * NS_PER_S
ESTIMATE_MIN_NS = 100_000
"""No estimate is shorter: below a tenth of a millisecond nobody could tell, and the bound on overtaking stays finite."""
ESTIMATE_MAX_NS = 366 * DAY_NS
PRIORITY_MAX = 1000


class Waiting(NamedTuple):
    """What an ordering may know of a waiting task."""

    arrival_ns: Nanos
    """When it was accepted (Unix time): kept over retries and takeovers, so ageing goes on."""
    priority: int = 0
    tenant: str = ""
    deadline_ns: Nanos | None = None
    estimate_ns: Nanos = NS_PER_S
    """Expected run time, from its start: the geometric mean of such tasks, by which they are best ranked."""
    remaining_ns: Nanos = NS_PER_S
    """Expected run time from now on: shorter, if it left a checkpoint."""
    long_ns: Nanos = NS_PER_S
    """Nine of ten such tasks need no longer from now on."""
    typical_ns: Nanos = NS_PER_S
    """How long tasks of this service run, roughly: a power of two near the mean, so that it changes rarely."""


class Extremes(NamedTuple):
    """What the tasks that may come later are like at the extreme: the bound on overtaking depends on it."""

    estimate_min_ns: Nanos = ESTIMATE_MIN_NS
    priority_max: int = PRIORITY_MAX
    run_max_ns: Nanos = ESTIMATE_MAX_NS
    """The longest run."""


class Account(Protocol):
    """What is known of a tenant, in one service."""

    @property
    def tenant(self) -> str: ...

    @property
    def spent_ns(self) -> float:
        """Dominant share of the service that it had, times how long, divided by its weight. Being idle saves nothing up."""
        ...

    @property
    def held(self) -> float:
        """Dominant shares of the service that its attempts have now, added up: of different resources that may be more than 1."""
        ...

    @property
    def typical_ns(self) -> Nanos:
        """As in ``Waiting``."""
        ...


class Ordering(Protocol):
    """An ordering policy. (Say so, ``class Mine(Ordering)``, to have the defaults below.)"""

    estimates: ClassVar[bool] = False
    """Whether keys look at expected run times: waiting tasks are re-keyed when these move."""

    @property
    def by_tenant(self) -> bool:
        """Whether a tenant's account has a say (``rank``)."""
        return False

    @property
    def preemption(self) -> Preemption | None:
        """The terms on which a running task is asked to make room for the first that cannot start; none: never."""
        return None

    def key(self, task: Waiting) -> float:
        """The static key of a waiting task; smaller goes first."""
        ...

    def weight(self, tenant: str) -> float:
        """How much more than others this tenant may have."""
        return 1.0

    def rank(self, key: float, account: Account) -> float:
        """The key of the first task of a tenant among the first of all tenants; asked again when the account changes."""
        return key

    def horizon_ns(self, task: Waiting, extremes: Extremes) -> Nanos | None:
        """No task that arrives later than so long after this one can have a smaller key. None: no such bound."""
        return None


@dataclass(frozen=True, slots=True)
class Fifo(Ordering):
    """First come, first served.

    Starvation bound: nobody is overtaken; a task starts before every later one that its instances could take.
    """

    def key(self, task: Waiting) -> float:
        return 0

    def horizon_ns(self, task: Waiting, extremes: Extremes) -> Nanos | None:
        return 0


@dataclass(frozen=True, slots=True)
class PriorityWithAgeing(Ordering):
    """Higher priority first, and waiting raises priority: one level is worth ``level`` of waiting.

    Starvation bound: a task of priority p can be overtaken only by tasks that arrive within ``(q - p) * level`` after it, where q
    is theirs (at most 1000, so with the default of a minute within 34 hours even from -1000 to +1000; one level: a minute).
    """

    level_ns: Nanos = setting(
        60 * NS_PER_S, Span(0, 366 * DAY_NS), "How much waiting one level is worth. A minute: people who wait longer look why."
    )

    def key(self, task: Waiting) -> float:
        return task.arrival_ns - task.priority * self.level_ns

    def horizon_ns(self, task: Waiting, extremes: Extremes) -> Nanos | None:
        return max(0, (extremes.priority_max - task.priority) * self.level_ns)


@dataclass(frozen=True, slots=True)
class EarliestDeadline(Ordering):
    """The earliest deadline first; a task without one is treated as due ``patience`` after it arrived.

    Starvation bound: a task can be overtaken only by tasks that arrive before its own deadline, and within ``patience``, since
    those that come later are due later.
    """

    patience_ns: Nanos = setting(
        DAY_NS,
        Span(0, 366 * DAY_NS),
        "When what has no deadline, or a later one, counts as due. A day: longer than most services have deadlines, so that these "
        "go first, and short enough that the others are not forgotten.",
    )

    def key(self, task: Waiting) -> float:
        due_ns = task.arrival_ns + self.patience_ns
        return due_ns if task.deadline_ns is None else min(due_ns, max(task.deadline_ns, task.arrival_ns))

    def horizon_ns(self, task: Waiting, extremes: Extremes) -> Nanos | None:
        return int(self.key(task)) - task.arrival_ns


BY_TIME: Mapping[str, Ordering] = {"fifo": Fifo(), "priority": PriorityWithAgeing(), "edf": EarliestDeadline()}
