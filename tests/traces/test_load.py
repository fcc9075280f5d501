"""A trace is brought to a load by its arrivals alone, and demands are cut to what machines have."""

from __future__ import annotations

from random import Random

import pytest

from orchestrator import traces
from orchestrator.traces import BadTrace, Trace, TraceTask


def two_a_second(tasks: int = 101) -> Trace:
    """Tasks of one second, half a second apart, which ask for 2 cpus each."""
    return traces.trace_of("t", [TraceTask(f"t{n}", n / 2, 1.0, need={"cpu": 2.0, "gpu": 1.0}) for n in range(tasks)])


def test_load_is_work_over_what_the_fleet_could_do_meanwhile() -> None:
    """Of the busiest resource: 202 cpu-seconds in 50 s on one machine with 8, 101 slot-seconds on one with 4."""
    assert traces.load_of(two_a_second(), {"cpu": 8.0}, 1) == pytest.approx(202 / 50 / 8)
    assert traces.load_of(two_a_second(), {"slots": 4.0}, 1) == pytest.approx(101 / 50 / 4)
    assert traces.load_of(two_a_second(), {"slots": 4.0, "cpu": 8.0, "gpu": 1.0}, 2.5) == pytest.approx(101 / 50 / 2.5)


def test_rescaling_moves_arrivals_and_nothing_else() -> None:
    """The factor is what every time between two arrivals was multiplied by."""
    before = two_a_second()
    after, factor = traces.rescaled(before, 0.9, {"slots": 1.0}, 3)
    assert traces.load_of(after, {"slots": 1.0}, 3) == pytest.approx(0.9)
    assert [task.submit_s for task in after.tasks] == pytest.approx([task.submit_s * factor for task in before.tasks])
    assert [task.runtime_s for task in after.tasks] == [task.runtime_s for task in before.tasks]


def test_a_deadline_moves_with_its_task() -> None:
    """Time to spare is a property of the task, not of the load."""
    tasks = [TraceTask("a", 0.0, 1.0), TraceTask("b", 10.0, 1.0, deadline_s=12.0)]
    after, factor = traces.rescaled(traces.trace_of("t", tasks), 0.1, {"slots": 1.0}, 1)
    assert after.tasks[1].deadline_s == pytest.approx(10.0 * factor + 2.0)


def test_what_has_no_load_cannot_be_brought_to_one() -> None:
    """All at once, or nothing to do."""
    with pytest.raises(BadTrace, match="at the same moment"):
        traces.rescaled(traces.trace_of("t", [TraceTask("a", 0.0, 1.0)]), 0.9, {"slots": 1.0}, 1)
    with pytest.raises(BadTrace, match="take no time"):
        traces.rescaled(traces.trace_of("t", [TraceTask("a", 0.0, 0.0), TraceTask("b", 1.0, 0.0)]), 0.9, {"slots": 1.0}, 1)


def test_demands_are_cut_to_a_machine_and_said_so() -> None:
    """Resources that machines do not have are left out: nobody could ever meet them."""
    trace = traces.capped(two_a_second(3), {"cpu": 1.5})
    assert [task.need for task in trace.tasks] == [{"cpu": 1.5}] * 3
    assert trace.notes == ("3 of 3 tasks asked for more than a machine has and were cut to that",)
    assert traces.capped(two_a_second(3), {"slots": 1.0}).notes == ()


def test_workflows_without_times_are_spread() -> None:
    """Each as a whole, at a seeded Poisson process of the load that was asked for."""
    flows = [TraceTask(f"w{n}:{part}", 0.0, 2.0, workflow=f"w{n}") for n in range(400) for part in "ab"]
    trace = traces.trace_of("t", flows, timed=False)
    spread = traces.spread(trace, 0.5, {"slots": 1.0}, 4, Random(1))
    assert traces.load_of(spread, {"slots": 1.0}, 4) == pytest.approx(0.5, rel=0.15)
    assert spread.tasks[2].submit_s == spread.tasks[3].submit_s > spread.tasks[1].submit_s
    assert spread == traces.spread(trace, 0.5, {"slots": 1.0}, 4, Random(1))
    assert spread.timed
