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

from orchestrator.policies import BUILT_IN, Kind
from orchestrator.policies.settings import Span, parse_spec, settings_of
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
    graphs = {task.id: [task] for task in tasks}
    for task in tasks:
        for parent in task.after:  # the smaller joins the larger, so all of it costs n log n
            mine, theirs = graphs[task.id], graphs[parent]
            if theirs is not mine:
                few, many = sorted((mine, theirs), key=len)
                many += few
                for one in few:
                    graphs[one.id] = many
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


def scaled(kind: Kind, spec: str, speed: float) -> str:
    """A policy whose settings that are lengths of time are divided by ``speed`` as well: a minute of waiting in the trace is not a
    minute now. One that is not built in is left as it is. Raises BadPolicy.
    """
    if parse_spec(spec)[0] not in BUILT_IN.policies[kind]:
        return spec
    policy = BUILT_IN.build(kind, spec)
    spans = ((one.name, one.form, getattr(policy, one.field)) for one in settings_of(policy) if isinstance(one.form, Span))
    lengths = {name: (form, value) for name, form, value in spans if isinstance(value, int)}
    return BUILT_IN.changed(
        kind, spec, {name: form.show(max(form.least_ns, round(value / speed))) for name, (form, value) in lengths.items()}
    )


def _ask(task: TraceTask, speed: float, estimates: Estimates, ids: dict[TaskId, TaskId]) -> Ask:
    estimate_s = {"exact": task.runtime_s, "hint": task.estimate_s, "learned": None}[estimates]
    options: dict[str, Any] = {
        "id": ids[task.id],
        "need": dict(task.need),
        "priority": task.priority,
        "tenant": task.tenant,
        "size": task.size,
        "estimate": None if estimate_s is None else estimate_s / speed,
        "after": [ids[parent] for parent in task.after],
    }
    left_s = None if task.deadline_s is None else max(0.0, task.deadline_s - task.submit_s)
    type_ = f"{service(service_of(task.type))}.{handler_of(task.type)}"
    return Ask(task, type_, ns(task.runtime_s / speed), options, None if left_s is None else ns(left_s / speed))
