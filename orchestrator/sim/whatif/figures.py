"""What came of a run, as numbers.

* **response**: from a task's arrival to its end; of a task that comes after others, from the end of the last of these.
* **wait**: of that the time in which it did not run (all attempts). Without preemption and failures: start minus arrival.
* **slowdown**: response over run time (at normal speed, undisturbed). Tasks that take no time have none.
* **flow_stretch**: of a workflow, from its arrival to its last end, over its critical path.
* **jain_tenants**: Jain's index over tenants of the share of their time in the system in which they ran: 1, all were served alike.
  (Jain, Chiu, Hawe 1984: (Σx)² / (n Σx²).)
* **utilisation**: of the busiest resource, from the first arrival to the last end.
* **starved**: tasks that were passed over for longer than their ordering promises (``passing``).

Means are over tasks that ended as ``done``; a run goes on until every task has ended, so nothing is left out because it waits
still.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from orchestrator.sim.whatif.books import NEVER, Books
from orchestrator.sim.whatif.fleet import Fleet
from orchestrator.vocabulary import NS_PER_S

GROWING = 0.1
"""A backlog at the last arrival of more than this share of all tasks: more came than could be done."""


def figures(books: Books, fleet: Fleet, services: int, warm_up: int = 0) -> dict[str, Any]:
    """Everything that is reported of one run. ``warm_up``: so many tasks, the first to arrive, are left out of means."""
    done = [place for place in range(warm_up, len(books.finish_ns)) if books.finish_ns[place] != NEVER]
    ready, finish, busy, length = books.ready_ns(), books.finish_ns, books.busy_ns, books.length_ns
    response = sorted(finish[place] - ready[place] for place in done)
    wait = sorted(finish[place] - ready[place] - busy[place] for place in done)
    slow = sorted((finish[place] - ready[place]) / length[place] for place in done if length[place])
    span_ns = books.end_ns
    return {
        "tasks": len(books.submit_ns),
        **dict(sorted(books.outcomes.items())),
        "wait_s_mean": mean(wait) / NS_PER_S,
        "wait_s_median": quantile(wait, 0.5) / NS_PER_S,
        "wait_s_p99": quantile(wait, 0.99) / NS_PER_S,
        "response_s_mean": mean(response) / NS_PER_S,
        "response_s_p99": quantile(response, 0.99) / NS_PER_S,
        "slowdown_mean": mean(slow),
        "slowdown_median": quantile(slow, 0.5),
        "slowdown_p99": quantile(slow, 0.99),
        "jain_tenants": jain(_served(books, done)),
        "utilisation": utilisation(books, fleet, services),
        "preemptions": books.preemptions,
        "starved": books.starved,
        "makespan_s": span_ns / NS_PER_S,
        "backlog_end": books.backlog_end,
        "growing": books.backlog_end > GROWING * len(books.submit_ns),
        "in_system_mean": books.present_ns / span_ns if span_ns else 0.0,
        "machine_failures": books.failures,
        "attempts_lost": books.losses,
        **_flows(books),
    }


def mean(values: Sequence[float]) -> float:
    """The mean; 0 of none."""
    return sum(values) / len(values) if values else 0.0


def quantile(ordered: Sequence[float], share: float) -> float:
    """The least value that ``share`` of all do not exceed (nearest rank); 0 of none."""
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)] if ordered else 0.0


def jain(shares: Iterable[float]) -> float:
    """Jain's index of fairness: from 1 over how many there are, if one has all, to 1, if all have the same."""
    values = list(shares)
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


def utilisation(books: Books, fleet: Fleet, services: int) -> float:
    """Of the busiest resource, all machines together."""
    capacity = {name: amount * 1000 * fleet.instances * services * books.end_ns for name, amount in fleet.capacity.items()}
    return max((books.used.get(name, 0) / amount for name, amount in capacity.items() if amount), default=0.0)


def _served(books: Books, places: Iterable[int]) -> list[float]:
    """By tenant: which share of its tasks' time in the system they ran."""
    ran: dict[str, int] = {}
    were: dict[str, int] = {}
    for place in places:
        tenant = books.trace.tasks[place].tenant
        ran[tenant] = ran.get(tenant, 0) + books.busy_ns[place]
        were[tenant] = were.get(tenant, 0) + books.finish_ns[place] - books.submit_ns[place]
    return [ran[tenant] / were[tenant] for tenant in ran if were[tenant]]


def _flows(books: Books) -> dict[str, Any]:
    """Of whole workflows, where there are any."""
    spans: dict[str, tuple[int, int, int]] = {}
    paths: dict[str, int] = {}
    for place, task in enumerate(books.trace.tasks):
        paths[task.id] = books.length_ns[place] + max((paths[parent] for parent in task.after), default=0)
        if task.workflow:
            came, ended, path = spans.get(task.workflow, (books.submit_ns[place], 0, 0))
            spans[task.workflow] = (came, max(ended, books.finish_ns[place]), max(path, paths[task.id]))
    if not spans:
        return {}
    makespans = sorted(ended - came for came, ended, _ in spans.values())
    stretches = sorted((ended - came) / path for came, ended, path in spans.values() if path)
    return {
        "flows": len(spans),
        "flow_makespan_s_mean": mean(makespans) / NS_PER_S,
        "flow_stretch_mean": mean(stretches),
        "flow_stretch_p99": quantile(stretches, 0.99),
    }
