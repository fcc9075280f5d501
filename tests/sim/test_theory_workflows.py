"""All workflows of a published collection, each alone on a fleet: how near the makespan comes to what no schedule can beat."""

from __future__ import annotations

from statistics import fmean

import pytest

from orchestrator.sim.whatif import laws
from orchestrator.sim.whatif.fleet import Fleet
from orchestrator.traces import Trace, TraceTask, capped, read, trace_of
from orchestrator.vocabulary import NS_PER_S
from tests.sim.asked import DATA, ran, times


def workflows() -> list[Trace]:
    """One trace for each; slots are all that counts."""
    tasks: dict[str, list[TraceTask]] = {}
    for task in capped(read(DATA / "traces" / "wfinstances.jsonl.gz"), {"slots": 1.0}).tasks:
        tasks.setdefault(task.workflow, []).append(task)
    return [trace_of(name, part) for name, part in tasks.items()]


def least_s(flow: Trace, slots: int) -> float:
    """The critical path, or all work spread evenly: no schedule is shorter."""
    path: dict[str, float] = {}
    for task in flow.tasks:
        path[task.id] = task.runtime_s + max((path[parent] for parent in task.after), default=0.0)
    return max(max(path.values()), sum(task.runtime_s for task in flow.tasks) / slots)


@pytest.mark.parametrize(("slots", "estimates"), [(4, "exact"), (16, "exact"), (8, "learned")])
def test_makespans_are_near_the_lower_bound(slots: int, estimates: str) -> None:
    """On average within 1.15 of it, none beyond Graham's (work / m + (1 - 1/m) critical path), all tasks done, parents first."""
    ratios = []
    for flow in workflows():
        books = ran(flow, Fleet(1, {"slots": float(slots)}), estimates=estimates)
        assert books.outcomes == {"done": len(flow.tasks)}
        laws.check(books, 0)
        when = times(books)
        for task in flow.tasks:
            assert all(when[parent][1] <= when[task.id][0] for parent in task.after), task.id
        work_s = sum(task.runtime_s for task in flow.tasks)
        bound_s = least_s(flow, slots)
        assert books.end_ns / NS_PER_S <= work_s / slots + (1 - 1 / slots) * least_s(flow, 10**9) + 1e-6, flow.name
        if bound_s:
            ratios.append(books.end_ns / NS_PER_S / bound_s)
    print(f"\n{slots} slots, {estimates} estimates: mean {fmean(ratios):.3f}, worst {max(ratios):.3f} of {len(ratios)} workflows")
    assert len(ratios) == 97
    assert fmean(ratios) <= 1.15


def test_a_workflow_on_machines_of_one_slot() -> None:
    """As on one machine with all the slots: nothing is decided by where a slot is."""
    flow = max(workflows(), key=lambda one: len(one.tasks))
    one, many = ran(flow, Fleet(1, {"slots": 16.0})), ran(flow, Fleet(16, {"slots": 1.0}))
    assert many.end_ns == pytest.approx(one.end_ns, rel=0.03)
