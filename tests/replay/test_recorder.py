"""What the ledger tells of tasks, as a trace: from facts that a coordinator writes, and from what is left of a bounded ledger."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from orchestrator import traces
from orchestrator.replay.recorder import Recorder
from orchestrator.traces import TraceTask
from orchestrator.vocabulary import NS_PER_S, Attempt
from orchestrator.wire.facts import Accepted, AnyFact, Carried, Ended, Entry, Failed, Tombstone
from orchestrator.wire.messages import Edge, Error, Range, Task

DAY_NS = 20_000 * 86400 * NS_PER_S
S = NS_PER_S


def at(seconds: float) -> int:
    """A moment of that day."""
    return DAY_NS + round(seconds * S)


def done(task: str, start_s: float, end_s: float, outcome: str = "done") -> Ended:
    return Ended(task, outcome, at(end_s), Attempt(1, 1), started_ns=at(start_s))  # type: ignore[arg-type]


def told(recorder: Recorder, *facts: AnyFact, offset: int = 0) -> list[TraceTask]:
    """One entry a fact."""
    return [task for number, fact in enumerate(facts, offset) for task in recorder.read(number, Entry("n", number, facts=[fact]))]


def test_a_task_is_told_with_all_that_its_producer_said(tmp_path: Path) -> None:
    """Arrival, run time, demand, tenant, priority, estimate, deadline; and a trace file gives the same back."""
    task = Task(
        "t2", "films.cut", need={"cpu": 2.0, "gpu": Range(0.5, 2.0), "licence": 1.0}, tenant="acme", priority=3,
        estimate_ns=90 * S, deadline_ns=at(500),
    )  # fmt: skip
    recorder = Recorder()
    ended = told(
        recorder,
        Accepted([Task("t1", "films.cut")], at(100)),
        Accepted([task], at(107.5)),
        done("t2", 110, 170.25),
        done("t1", 100, 101),
    )
    assert ended == [
        TraceTask("t2", 7.5, 60.25, "films.cut", {"cpu": 2, "gpu": 0.5, "licence": 1}, "acme", 3, 90.0, deadline_s=400.0),
        TraceTask("t1", 0.0, 1.0, "films.cut"),
    ]
    assert (recorder.told, recorder.elastic, recorder.asked_nothing, recorder.under_way) == (2, 1, 1, 0)
    assert traces.write(tmp_path / "day.csv", ended) == 2
    assert traces.read(tmp_path / "day.csv").tasks == (ended[1], ended[0])


def test_a_task_that_was_not_to_start_before_a_time_came_then() -> None:
    """Its delay is no waiting."""
    recorder = Recorder()
    (task,) = told(recorder, Accepted([Task("t1", "a.b", start_ns=at(60))], at(0)), done("t1", 61, 62))
    assert task.submit_s == 60


def test_what_did_not_run_is_left_out_and_counted() -> None:
    """Cancelled, expired, refused, failed without a known run time, and what has not ended yet."""
    recorder = Recorder()
    names = ("c", "e", "f", "l")
    nothing = told(
        recorder,
        Accepted([Task(name, "a.b") for name in names], at(0)),
        done("c", 1, 2, "cancelled"),
        Ended("e", "expired", at(3)),
        Ended("r", "refused", at(3)),
        Failed("f", Attempt(1, 1), "error", Error("x", "y"), at(4)),
        Ended("f", "failed", at(4), Attempt(1, 1)),
    )
    assert nothing == []
    assert recorder.left_out == {"cancelled": 1, "expired": 1, "failed, its run time is not known": 1}
    assert recorder.under_way == 1


def test_each_task_is_told_once_whoever_wrote_of_it_how_often() -> None:
    """Accepted by two believers, ended by two, carried forward, remembered by a tombstone: one task, its first end."""
    recorder = Recorder()
    task = Task("t1", "a.b")
    (only,) = told(
        recorder,
        Accepted([task], at(0)),
        Accepted([task], at(0.1)),
        Failed("t1", Attempt(1, 1), "lost", Error("lost", "y"), at(1)),
        Carried(task, 0, 0, at(0)),
        done("t1", 2, 5),
        done("t1", 2, 9),
        Carried(task, 0, 0, at(0)),
        Tombstone("t1", "done", at(5)),
        done("t1", 2, 9),
    )
    assert only.runtime_s == 3
    assert (recorder.told, recorder.retried, recorder.under_way, recorder.left_out) == (1, 1, 0, {})


def test_an_id_that_is_used_again_another_day_is_another_task() -> None:
    """`nightly` every night: a trace's ids are unique, so the second gets another."""
    recorder = Recorder()
    night = [Accepted([Task("nightly", "a.b")], at(0)), done("nightly", 0, 1)]
    next_night = [Accepted([Task("nightly", "a.b")], at(86400)), done("nightly", 86400, 86402)]
    ended = told(recorder, *night, *next_night)
    assert [(one.id, one.submit_s, one.runtime_s) for one in ended] == [("nightly", 0, 1), ("nightly.2", 86400, 2)]


def test_a_workflow_keeps_its_edges_except_to_what_is_left_out(tmp_path: Path) -> None:
    """Parents that never ran, or that the ledger has forgotten, are no parents in the trace; both forms can be read again."""
    recorder = Recorder()
    flow = [Task("a", "f.x"), Task("b", "f.y", after=(Edge("a"),)), Task("c", "f.z", after=(Edge("b", "continue"), Edge("a")))]
    ended = told(
        recorder, Accepted(flow, at(10)), done("a", 11, 12), Ended("b", "cancelled", at(13)), done("c", 14, 20),
        Carried(Task("k", "f.z", after=(Edge("gone"),)), 3, 1, at(12)), done("k", 15, 16),
    )  # fmt: skip
    assert [(one.id, one.after, one.workflow) for one in ended] == [("a", (), "w0.0"), ("c", ("a",), "w0.0"), ("k", (), "w3")]
    assert (recorder.workflows, recorder.edges_lost) == (1, 2)
    for name in ("flow.csv", "flow.jsonl.gz"):
        traces.write(tmp_path / name, ended)
        again = {one.id.rpartition(":")[2]: one for one in traces.read(tmp_path / name).tasks}
        assert [len(again[task].after) for task in ("a", "c", "k")] == [0, 1, 0]


def test_of_what_the_bounded_ledger_has_forgotten_only_the_count_is_told() -> None:
    """The submission was cut off: when it came and what it asked is not known, so it is not guessed."""
    recorder = Recorder()
    assert told(recorder, done("old", 1, 2), Accepted([Task("t", "a.b")], at(3)), done("t", 3, 4)) != []
    assert recorder.left_out == {"its submission is not in the ledger any more": 1}


def test_since_leaves_out_what_came_before() -> None:
    """Also if it ended after."""
    recorder = Recorder(since_ns=at(50))
    (one,) = told(
        recorder,
        Accepted([Task("early", "a.b")], at(49)),
        Accepted([Task("t", "a.b")], at(51)),
        done("early", 60, 61),
        done("t", 60, 62),
    )
    assert (one.id, one.submit_s) == ("t", 0)
    assert recorder.left_out == {"accepted before the time asked for": 1}


words = st.sampled_from(["t1", "t2", "t3"])
times = st.floats(0, 200)
facts = st.one_of(
    st.builds(lambda name, when: Accepted([Task(name, "a.b")], at(when)), words, times),
    st.builds(lambda names, when: Accepted([Task(n, "a.b", after=(Edge("t1"),)) for n in names], at(when)), st.sets(words), times),
    st.builds(lambda name, when, ran: done(name, when - ran, when), words, times, st.floats(0, 50)),
    st.builds(lambda name, when: Carried(Task(name, "a.b"), 0, 0, at(when)), words, times),
    st.builds(lambda name, when: Tombstone(name, "done", at(when)), words, times),
    st.builds(lambda name, when: Failed(name, Attempt(1, 1), "lost", Error("lost", ""), at(when)), words, times),
)


@given(st.lists(facts, max_size=20))
def test_any_ledger_makes_a_trace_that_can_be_read(history: list[AnyFact]) -> None:
    """Whatever was written, cut off, said twice: ids are unique, parents are there, times are no less than nothing."""
    recorder = Recorder()
    ended = told(recorder, *history)
    assert len(ended) == recorder.told
    if ended:
        trace = traces.trace_of("any", ended)
        assert all(task.runtime_s >= 0 for task in trace.tasks)
