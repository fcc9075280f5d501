"""One task of a trace, and a trace.

Law: frozen, in a person's units (seconds, cpus, MiB), in order of arrival. What is not known is None or empty, never a guess.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from msgspec import Struct

from orchestrator.traces.errors import BadTrace


class TraceTask(Struct, frozen=True, gc=False):
    """A task as it came and as long as it ran. (Hundreds of thousands live at once, in no cycle: not the collector's affair.)"""

    id: str
    """Unique in the trace, fit to be a task's id."""
    submit_s: float
    """When it came, in seconds from the trace's beginning."""
    runtime_s: float
    """How long it ran, alone, at normal speed."""
    type: str = "trace.task"
    """``service.handler``: tasks of one type are alike."""
    need: Mapping[str, float] = {}
    """What it asked, by resource: ``cpu``, ``mem_mb``, ``gpu``; never zero."""
    tenant: str = ""
    priority: int = 0
    """Higher is more urgent."""
    estimate_s: float | None = None
    """How long its user said that it would run."""
    size: float | None = None
    """A number that says something about how long it will run: tokens, bytes, pixels."""
    after: tuple[str, ...] = ()
    """Ids of the tasks that must have ended before."""
    workflow: str = ""
    """Of which workflow it is a part."""
    deadline_s: float | None = None
    """By when it had to begin, on the trace's clock."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Tasks in order of arrival, and what was noticed when they were read."""

    name: str
    tasks: tuple[TraceTask, ...]
    timed: bool = True
    """Whether arrival times are known; if not, everything is there at 0."""
    notes: tuple[str, ...] = field(default=())
    """What a reader should know of how this trace came about: what was cut, stretched, invented."""

    def noting(self, tasks: Iterable[TraceTask], *notes: str) -> Trace:
        """The same trace with other tasks, and why."""
        return trace_of(self.name, tasks, timed=self.timed, notes=(*self.notes, *notes), where=self.name)


def trace_of(name: str, tasks: Iterable[TraceTask], *, timed: bool = True, notes: Iterable[str] = (), where: str = "") -> Trace:
    """A trace of these tasks, sorted by arrival (those that came together stay in their order, parents first).

    Raises BadTrace: no tasks, an id twice, a parent that is unknown, a cycle.
    """
    ordered = sorted(tasks, key=lambda task: task.submit_s)
    if not ordered:
        raise BadTrace("there are no tasks in it", where)
    ids = Counter(task.id for task in ordered)
    if len(ids) < len(ordered):
        raise BadTrace(f"the id {ids.most_common(1)[0][0]!r} names more than one task", where)
    if any(task.after for task in ordered):
        ordered = _parents_first(ordered, where)
    return Trace(name, tuple(ordered), timed, tuple(notes))


def _parents_first(tasks: list[TraceTask], where: str) -> list[TraceTask]:
    """By arrival, and among those that come together each after its parents."""
    places = {task.id: place for place, task in enumerate(tasks)}
    for task in tasks:
        for parent in task.after:
            if parent not in places:
                raise BadTrace(f"the task {task.id!r} comes after {parent!r}, which is not in the trace", where)
    try:
        depth: dict[str, int] = {}
        for one in TopologicalSorter({task.id: task.after for task in tasks}).static_order():
            depth[one] = max((depth[parent] + 1 for parent in tasks[places[one]].after), default=0)
    except CycleError as cycle:
        raise BadTrace(f"tasks wait for each other in a circle: {' -> '.join(cycle.args[1])}", where) from None
    return sorted(tasks, key=lambda task: (task.submit_s, depth[task.id], places[task.id]))
