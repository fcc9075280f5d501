"""How much a trace asks of a fleet, and the same trace asking for more or less.

Law: run times are left alone. A trace is brought to a load by stretching the times *between* arrivals, all by one factor, which is
always reported; a demand that no machine could meet is cut to the largest that one can, and that is reported too.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from msgspec.structs import replace

from orchestrator.traces.errors import BadTrace
from orchestrator.traces.task import Trace, TraceTask

SLOTS = "slots"


def asks(task: TraceTask, capacity: Mapping[str, float]) -> dict[str, float]:
    """What a task takes of machines with this capacity: of each resource that they have what it needs, and a slot."""
    need = {name: amount for name, amount in task.need.items() if name in capacity}
    if SLOTS in capacity:
        need.setdefault(SLOTS, 1.0)
    return need


def capped(trace: Trace, capacity: Mapping[str, float]) -> Trace:
    """The trace with no demand above what one machine has; resources that machines do not have are left out of it."""
    cut = 0
    tasks = []
    for task in trace.tasks:
        need = {name: min(amount, capacity[name]) for name, amount in task.need.items() if capacity.get(name)}
        cut += any(need.get(name, 0.0) < amount for name, amount in task.need.items() if capacity.get(name))
        tasks.append(task if need == task.need else replace(task, need=need))
    return trace.noting(
        tasks, *([f"{cut} of {len(tasks)} tasks asked for more than a machine has and were cut to that"] if cut else [])
    )


def span_s(trace: Trace) -> float:
    """From the first arrival to the last."""
    return trace.tasks[-1].submit_s - trace.tasks[0].submit_s


def work_of(trace: Trace, capacity: Mapping[str, float]) -> dict[str, float]:
    """Seconds of each resource that all tasks together take."""
    work = dict.fromkeys(capacity, 0.0)
    for task in trace.tasks:
        for name, amount in asks(task, capacity).items():
            work[name] += amount * task.runtime_s
    return work


def load_of(trace: Trace, capacity: Mapping[str, float], machines: float) -> float:
    """The share of its busiest resource that a fleet needs to keep up while tasks arrive; 1 and above: it falls behind.

    ``machines`` counts machines of normal speed. Infinite if all tasks come at once.
    """
    busiest = max((done / (capacity[name] * machines) for name, done in work_of(trace, capacity).items()), default=0.0)
    time_s = span_s(trace)
    return busiest / time_s if time_s else float("inf") if busiest else 0.0


def rescaled(trace: Trace, load: float, capacity: Mapping[str, float], machines: float) -> tuple[Trace, float]:
    """The trace at this load, and the factor by which times between arrivals were multiplied.

    Raises BadTrace if all tasks come at once, or if there is nothing to do.
    """
    now = load_of(trace, capacity, machines)
    if not 0.0 < now < float("inf"):
        why = "all its tasks come at the same moment" if now else "its tasks take no time"
        raise BadTrace(f"it cannot be brought to a load: {why}", trace.name)
    factor = now / load
    first = trace.tasks[0].submit_s
    tasks = [_moved(task, first + (task.submit_s - first) * factor) for task in trace.tasks]
    return trace.noting(tasks), factor


def spread(trace: Trace, load: float, capacity: Mapping[str, float], machines: float, dice: Random) -> Trace:
    """A trace of workflows without arrival times: they come in their order, at random moments (a Poisson process) at this load."""
    flows: dict[str, list[TraceTask]] = {}
    for task in trace.tasks:
        flows.setdefault(task.workflow or task.id, []).append(task)
    busiest = max((done / (capacity[name] * machines) for name, done in work_of(trace, capacity).items()), default=0.0)
    between_s = busiest / load / len(flows)
    at_s, tasks = 0.0, []
    for part in flows.values():
        tasks += [_moved(task, at_s) for task in part]
        at_s += dice.expovariate(1.0) * between_s
    return Trace(
        trace.name, trace.noting(tasks).tasks, True, (f"{len(flows)} workflows come at random, {between_s:.4g} s apart on average",)
    )


def _moved(task: TraceTask, submit_s: float) -> TraceTask:
    """At another moment; its deadline moves with it."""
    deadline_s = None if task.deadline_s is None else task.deadline_s - task.submit_s + submit_s
    return replace(task, submit_s=submit_s, deadline_s=deadline_s)
