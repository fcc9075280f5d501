"""Orderings that look at how long tasks run: ``sjf``, ``srtf``, ``dps``.

Law: size counts in its logarithm. A task that runs r times as long as another waits as if it had arrived ``ageing * ln r`` later,
so the key ``arrival + ageing * ln(estimate)`` is static and every task ages at the same rate. Of the keys that age, this one has
about half the worst wait at the same mean (simulated against ``size + a * arrival`` and response ratios), and a bound that can be
stated. The ageing is weak by default: a hundred times what tasks of the service typically run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import ClassVar

from orchestrator.policies.ordering import DAY_NS, ESTIMATE_MAX_NS, ESTIMATE_MIN_NS, Account, Extremes, Ordering, Waiting
from orchestrator.policies.preemption import FREE_MAX, Preemption
from orchestrator.policies.settings import Number, Span, Weights, setting, weight_of
from orchestrator.vocabulary import NS_PER_MS, NS_PER_S, Nanos

TERMS = Preemption()
AUTO, OFF = "auto", "off"
AGEING_BY_TYPICAL = 100
"""``auto``: so many times the typical run time. Weaker ages too late for the rare long task, stronger costs mean response."""

_AGEING = Span(NS_PER_MS, 366 * DAY_NS, (AUTO, OFF))
_WHY_AGEING = (
    "How much waiting a factor e (2.7) in run time is worth: a task that runs 20 times as long is overtaken for three times this. "
    "auto: 100 times what tasks of the service typically run. off: for ever, nothing bounds how long a long task waits."
)


def size_in_logs(span_ns: Nanos) -> float:
    """ln(run time / 1 s), the run time held to what can be told apart and to a year."""
    return log(min(max(span_ns, ESTIMATE_MIN_NS), ESTIMATE_MAX_NS) / NS_PER_S)


def _ageing_ns(setting: Nanos | str, typical_ns: Nanos) -> Nanos:
    return AGEING_BY_TYPICAL * typical_ns if setting == AUTO else int(setting)


@dataclass(frozen=True, slots=True)
class ShortestFirst(Ordering):
    """Shortest expected run time first, with ageing: ``arrival + ageing * ln(estimate)``.

    Starvation bound: a task is overtaken only by tasks that arrive within ``ageing * ln(its estimate / the shortest one)`` after
    it; by none that runs as long. Estimates are held above 0.1 ms, so the bound is finite: at most 27 times ``ageing``.
    """

    estimates: ClassVar[bool] = True
    ageing_ns: Nanos | str = setting(AUTO, _AGEING, _WHY_AGEING)

    def key(self, task: Waiting) -> float:
        return self._key(task, task.estimate_ns)

    def horizon_ns(self, task: Waiting, extremes: Extremes) -> Nanos | None:
        return self._horizon_ns(task, task.estimate_ns, extremes)

    def _key(self, task: Waiting, span_ns: Nanos) -> float:
        if self.ageing_ns == OFF:
            return size_in_logs(span_ns)
        return task.arrival_ns + round(_ageing_ns(self.ageing_ns, task.typical_ns) * size_in_logs(span_ns))

    def _horizon_ns(self, task: Waiting, span_ns: Nanos, extremes: Extremes) -> Nanos | None:
        if self.ageing_ns == OFF:
            return None
        ratio = size_in_logs(span_ns) - size_in_logs(extremes.estimate_min_ns)
        return max(0, round(_ageing_ns(self.ageing_ns, task.typical_ns) * ratio) + 1)


@dataclass(frozen=True, slots=True)
class ShortestRemainingFirst(ShortestFirst):
    """Shortest expected *remaining* run time first: as ``sjf``, but what a checkpoint has saved does not count, and a running task
    may be asked to yield where that pays.

    Starvation bound: as that of ``sjf``, with the remaining time; a task that yielded keeps its arrival, so it goes on ageing.
    When it pays to ask is said in ``preemption``.
    """

    cost_ns: Nanos = setting(
        TERMS.cost_ns,
        Span(0, 366 * DAY_NS),
        "What a preemption costs: the way to the next checkpoint, saving it, starting again. 0: nothing, and nothing holds it back "
        "(plain SRPT). 50 ms: what it takes through a broker with a handler that looks often.",
    )
    margin: float = setting(
        TERMS.margin, Number(0, 100), "How much longer the others must have left, in parts of the waiting task's: estimates err."
    )
    preemptions_max: float = setting(
        TERMS.preemptions_max,
        Number(0, 1_000_000),
        f"Not asked more often: at most so many costs are lost (at no cost: {FREE_MAX}).",
    )
    quantum: float = setting(
        TERMS.quantum, Number(0, 1_000_000), "An attempt runs at least so many times the cost before it may be asked."
    )
    share_max: float = setting(
        TERMS.share_max, Number(0, 1000), "Nobody is asked where the cost exceeds this share of what tasks run in the mean."
    )
    grace_ns: Nanos = setting(
        TERMS.grace_ns, Span(NS_PER_MS, 366 * DAY_NS), "Who has not yielded by then is left alone: near its end, or without ears."
    )
    window_ns: Nanos = setting(
        TERMS.window_ns, Span(NS_PER_MS, 366 * DAY_NS), "Over which the load is averaged: the busier, the dearer is a preemption."
    )

    @property
    def preemption(self) -> Preemption:
        return Preemption(
            self.cost_ns, self.margin, self.preemptions_max, self.quantum, self.share_max, self.grace_ns, self.window_ns
        )

    def key(self, task: Waiting) -> float:
        return self._key(task, task.remaining_ns)

    def horizon_ns(self, task: Waiting, extremes: Extremes) -> Nanos | None:
        return self._horizon_ns(task, task.remaining_ns, extremes)


@dataclass(frozen=True, slots=True)
class DynamicPriority(Ordering):
    """Dynamic priority: waiting, size, priority, deadline and what the tenant holds already, each with a weight.

    The priority of a task at time t is ``(t - arrival) / ageing - size * ln(estimate) + priority * level - share * held / weight
    of its tenant``; all rise alike, so the order is that of the static ``arrival + ageing * (size * ln(estimate) - priority *
    level)``. With a deadline it is ordered no later than as if it had arrived when it must start at the latest: ``deadline - long
    estimate - guard``.

    Starvation bound: a task is overtaken only by tasks without deadline that arrive within ``ageing * (size * ln(its estimate /
    the shortest) + priority * (highest level - its own) + share / weight of its tenant)`` after it. A deadline can only move a
    task forward; tasks with deadlines overtake whom they must, so it is their number that has to be limited.
    """

    estimates: ClassVar[bool] = True
    ageing_ns: Nanos | str = setting(AUTO, Span(NS_PER_MS, 366 * DAY_NS, (AUTO,)), _WHY_AGEING.partition(" off:")[0])
    size: float = setting(1.0, Number(0, 100), "Weight of the run time (its logarithm). 1: as sjf; 0: long and short are alike.")
    priority: float = setting(
        round(log(4), 6),
        Number(0, 100),
        "Weight of one priority level. ln 4: a level is worth a factor 4 in run time, levels differ clearly, and short tasks "
        "of the next level still pass long ones.",
    )
    deadline: float = setting(
        1.0, Number(0, 1), "How far a near deadline moves a task forward: 1 fully, 0 not at all, between in proportion."
    )
    guard_ns: Nanos = setting(
        NS_PER_S, Span(0, 30 * DAY_NS), "Kept free before the latest start that a deadline allows: for the way, and for bad luck."
    )
    share: float = setting(
        1.0,
        Number(0, 100),
        "Weight of what its tenant holds. 1: tasks of one that holds the whole service are put back as by a factor e in run time.",
    )
    weights: tuple[tuple[str, float], ...] = setting(
        (), Weights(), "Tenants that may hold more (or less) than others before it counts."
    )

    @property
    def by_tenant(self) -> bool:
        return self.share > 0

    def key(self, task: Waiting) -> float:
        return self._key(task, _ageing_ns(self.ageing_ns, task.typical_ns))

    def _key(self, task: Waiting, ageing_ns: Nanos) -> int:
        key = task.arrival_ns + round(ageing_ns * (self.size * size_in_logs(task.estimate_ns) - self.priority * task.priority))
        if task.deadline_ns is not None:
            latest_ns = task.deadline_ns - task.long_ns - self.guard_ns
            key -= max(0, key - latest_ns) * round(1000 * self.deadline) // 1000  # whole numbers: exact, as all of the key
        return key

    def weight(self, tenant: str) -> float:
        return weight_of(self.weights, tenant)

    def rank(self, key: float, account: Account) -> float:
        ageing_ns = _ageing_ns(self.ageing_ns, account.typical_ns)
        return key + round(ageing_ns * self.share * min(1.0, account.held) / self.weight(account.tenant))

    def horizon_ns(self, task: Waiting, extremes: Extremes) -> Nanos | None:
        ageing_ns = _ageing_ns(self.ageing_ns, task.typical_ns)
        ahead = self.size * size_in_logs(extremes.estimate_min_ns) - self.priority * extremes.priority_max
        held = self.share / self.weight(task.tenant)
        return max(0, self._key(task, ageing_ns) - task.arrival_ns - round(ageing_ns * (ahead - held)) + 1)


BY_SIZE: Mapping[str, Ordering] = {"sjf": ShortestFirst(), "srtf": ShortestRemainingFirst(), "dps": DynamicPriority()}
