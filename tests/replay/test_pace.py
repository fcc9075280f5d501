"""When tasks of a replay are due, and what is said of them."""

from __future__ import annotations

from graphlib import TopologicalSorter

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.client.calls import form
from orchestrator.replay import pace
from orchestrator.traces import Trace, TraceTask, trace_of
from orchestrator.vocabulary import NS_PER_MS, NS_PER_S, is_name


def day(*tasks: TraceTask) -> Trace:
    return trace_of("day", tasks)


def test_all_lengths_of_time_shrink_and_amounts_do_not() -> None:
    """At a hundred times the speed: arrival, run time, estimate, time to the deadline; not demand, priority, tenant."""
    one = TraceTask("a", 0, 1)
    two = TraceTask("b", 50, 200, "thumbs.resize", {"cpu": 2}, "acme", 7, estimate_s=100, deadline_s=90)
    first, second = pace.plan(day(one, two), 100, "hint", "r")
    assert (first.at_ns, second.at_ns) == (0, 500 * NS_PER_MS)
    (ask,) = second.asks
    assert (ask.run_ns, ask.deadline_ns) == (2 * NS_PER_S, 400 * NS_PER_MS)
    said = {name: ask.options[name] for name in ("estimate", "need", "priority", "tenant")}
    assert said == {"estimate": 1, "need": {"cpu": 2}, "priority": 7, "tenant": "acme"}
    assert pace.plan(day(two), 100, "exact", "r")[0].asks[0].options["estimate"] == 2
    assert pace.plan(day(two), 100, "learned", "r")[0].asks[0].options["estimate"] is None


def test_the_services_of_the_trace_are_left_alone() -> None:
    """Their tasks go to services of the replay's own, whatever they are called."""
    long = "s" * 64
    trace = day(TraceTask("a", 0, 1, "thumbs.resize"), TraceTask("b", 0, 1, "trace.task"), TraceTask("c", 0, 1, f"{long}.x"))
    assert [ask.type for due in pace.plan(trace, 1, "exact", "r") for ask in due.asks][:2] == ["trace-thumbs.resize", "trace.task"]
    offers = pace.offers(trace)
    assert offers["trace-thumbs"] == ["resize"]
    assert "thumbs" not in offers
    assert all(is_name(name) for name in offers)


def test_policies_age_with_the_trace_s_clock() -> None:
    """A level of priority that is worth a minute of waiting is worth 120 ms at 500 times the speed; what is no time stays."""
    assert pace.scaled("ordering", "priority", 500) == "priority:level=120ms"
    assert pace.scaled("ordering", "sjf:ageing=10m", 60) == "sjf:ageing=10s"
    assert pace.scaled("ordering", "sjf", 60) == "sjf", "auto follows what tasks take: nothing to shrink"
    assert pace.scaled("ordering", "fifo", 500) == "fifo"
    assert pace.scaled("placement", "somebody-else-s", 500) == "somebody-else-s"


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """Tasks that depend on any of those before them."""
    tasks: list[TraceTask] = []
    for number in range(draw(st.integers(1, 12))):
        parents = draw(st.sets(st.sampled_from([task.id for task in tasks]), max_size=3)) if tasks else set()
        at_s = draw(st.floats(0, 100))
        tasks.append(TraceTask(f"t{number}", at_s, draw(st.floats(0, 50)), after=tuple(sorted(parents))))
    return day(*tasks)


@given(traces(), st.floats(0.1, 1000))
def test_every_task_is_submitted_once_with_its_parents(trace: Trace, speed: float) -> None:
    """In order, each under an id of its own; whoever depends on each other is one submission; and the client takes what is said."""
    plan = pace.plan(trace, speed, "exact", "r")
    assert [due.at_ns for due in plan] == sorted(due.at_ns for due in plan)
    asks = [ask for due in plan for ask in due.asks]
    assert sorted(ask.task.id for ask in asks) == sorted(task.id for task in trace.tasks)
    assert len({ask.options["id"] for ask in asks}) == len(asks)
    for due in plan:
        inside = {ask.options["id"]: ask.options["after"] for ask in due.asks}
        assert set(TopologicalSorter(inside).static_order()) == set(inside), "a parent is not in the same submission"
        for ask in due.asks:
            form(ask.type, **ask.options)
