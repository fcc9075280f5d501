"""When each task of a trace is due in a replay, and what is said of it.

Law: pure. Every length of time of the trace is divided by ``speed``: times between arrivals, run times, estimates, the time left
until a deadline. What is counted in amounts (demands, priorities, sizes) stays. Tasks of one workflow are one submission, due when
the first of them is.

A replay never meets the services of the trace: the tasks of ``thumbs`` go to ``trace-thumbs``, where agents sleep as long as the
task ran. (Tasks of ``trace``, which is what traces without types are read as, stay there.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from orchestrator.traces import Trace, TraceTask
from orchestrator.vocabulary import Nanos, Service, TaskId, TaskType, handler_of, ns, service_of

SERVICE = "trace"
_NAME_CHARS = 64

Estimates: TypeAlias = Literal["exact", "hint", "learned"]


class Ask(Struct, frozen=True):
    """One task of a replay, ready to be submitted."""

    task: TraceTask
    type: TaskType
    run_ns: Nanos
    """How long its agent sleeps."""
    options: dict[str, Any]
    """As ``Client.task`` takes them, but for the deadline."""
    deadline_ns: Nanos | None
    """Span from its submission."""


class Due(Struct, frozen=True):
    """One submission."""

    at_ns: Nanos
    """Span from the beginning of the replay."""
    asks: list[Ask]


def plan(trace: Trace, speed: float, estimates: Estimates, run: str) -> list[Due]:
    """All submissions, in order. ``run`` names the replay: it is the beginning of all its tasks' ids, so that none is taken for one
    of an earlier replay.
    """
    ids = {task.id: f"{run}-{number}" for number, task in enumerate(trace.tasks)}
    return [
        Due(ns(batch[0].submit_s / speed), [_ask(task, speed, estimates, ids) for task in batch]) for batch in batches(trace.tasks)
    ]


def batches(tasks: Iterable[TraceTask]) -> Iterator[list[TraceTask]]:
    """What is submitted together: a task alone, or all that depend on each other; in the order of their first arrivals."""
    tasks = list(tasks)
    graphs: dict[TaskId, list[TraceTask]] = {}
    for task in tasks:
        mine = graphs.setdefault(task.id, [])
        mine.append(task)
        for parent in task.after:  # the smaller joins the larger, so all of it costs n log n
            theirs = graphs[parent]
            if theirs is not mine:
                few, many = sorted((mine, theirs), key=len)
                many += few
                for one in few:
                    graphs[one.id] = many
                mine = many
    places = {task.id: place for place, task in enumerate(tasks)}
    told: set[TaskId] = set()
    for task in tasks:
        if task.id not in told:
            batch = sorted(graphs[task.id], key=lambda one: places[one.id])
            told.update(one.id for one in batch)
            yield batch


def service(of: Service) -> Service:
    """Where tasks of this service go in a replay."""
    return of if of == SERVICE else f"{SERVICE}-{of}"[:_NAME_CHARS]


def offers(trace: Trace) -> dict[Service, list[str]]:
    """The services of a replay, and the handlers of each."""
    found: dict[Service, dict[str, None]] = {}
    for task in trace.tasks:
        found.setdefault(service(service_of(task.type)), {})[handler_of(task.type)] = None
    return {name: list(handlers) for name, handlers in found.items()}


def _ask(task: TraceTask, speed: float, estimates: Estimates, ids: dict[TaskId, TaskId]) -> Ask:
    estimate_s = {"exact": task.runtime_s, "hint": task.estimate_s, "learned": None}[estimates]
    options: dict[str, Any] = {
        "id": ids[task.id],
        "need": dict(task.need),
        "priority": task.priority,
        "tenant": task.tenant,
        "estimate": None if estimate_s is None else estimate_s / speed,
        "after": [ids[parent] for parent in task.after],
    }
    left_s = None if task.deadline_s is None else max(0.0, task.deadline_s - task.submit_s)
    type_ = f"{service(service_of(task.type))}.{handler_of(task.type)}"
    return Ask(task, type_, ns(task.runtime_s / speed), options, None if left_s is None else ns(left_s / speed))
