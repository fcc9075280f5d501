"""Leaving is a state: no new work, unstarted work handed back, running work finishes or is checkpointed, reports released."""

from __future__ import annotations

from orchestrator.vocabulary import NS_PER_S, Attempt
from orchestrator.wire.messages import Beat, Leave
from tests.workers.core.stage import Stage
from workers.core.commands import CloseConnection, Connect, Finish
from workers.core.events import Checkpointed, DrainAsked, JobDone, JobLate, JobStopped, QuitAsked, TimePassed

GRACE_NS = 10 * NS_PER_S


def busy() -> Stage:
    """Two attempts run, one waits for the process lane."""
    stage = Stage()
    stage.step(TimePassed())
    stage.serve(1)
    stage.start(1, 1)
    stage.start(1, 2, handler="crunch")
    stage.assign(1, 3, handler="crunch")
    stage.wait(stage.agent.limits.started_ns)
    stage.flush()
    stage.forget()
    return stage


def test_a_drain_hands_unstarted_work_back_and_lets_running_work_finish() -> None:
    """A rolling update: nothing is cut short, nothing starts, goodbye is said when the last report is released."""
    stage = busy()
    stage.step(DrainAsked(GRACE_NS, "SIGTERM"))
    assert stage.all_said(Beat)[-1].draining
    assert stage.notes() == [("stopped", 3, "draining")]
    stage.assign(1, 4)
    stage.flush()
    assert ("refused", 4, "draining") in stage.notes()
    stage.step(JobDone(Attempt(1, 1)))
    stage.step(JobDone(Attempt(1, 2)))
    stage.flush()
    assert stage.started() == []
    assert not stage.all_said(Leave)
    stage.orders(1, release=[Attempt(1, 1), Attempt(1, 2)])
    assert stage.all_said(Leave)
    assert stage.commands[-1] == CloseConnection("drained")
    stage.lose("closed")
    assert stage.commands[-1] == Finish("drained")
    assert stage.step(TimePassed(), after_ns=NS_PER_S) == []


def test_late_work_is_asked_for_a_checkpoint_then_stopped() -> None:
    """The grace period is nearly over, then over."""
    stage = busy()
    stage.step(DrainAsked(GRACE_NS))
    stage.wait(8 * NS_PER_S)
    stage.echo(1)
    assert stage.stops() == [(1, False), (2, False)]
    stage.step(Checkpointed(Attempt(1, 1), b"half"), JobStopped(Attempt(1, 1)))
    stage.flush()
    assert ("stopped", 1, "draining") in stage.notes()
    stage.wait(2 * NS_PER_S)
    assert stage.stops()[2:] == [(2, True)]
    stage.step(JobStopped(Attempt(1, 2)))
    stage.flush()
    assert stage.all_said(Leave)


def test_a_thread_that_does_not_end_does_not_keep_the_process() -> None:
    """It leaves without goodbye, which would be a lie: the end of the process ends the thread, the broker tells the rest."""
    stage = busy()
    stage.step(DrainAsked(0))
    stage.step(JobStopped(Attempt(1, 2)))
    stage.flush()
    stage.wait(stage.agent.limits.stop_wait_ns)
    assert not stage.all_said(Leave)
    assert stage.done(CloseConnection)
    stage.lose("closed")
    assert stage.done(Finish)


def test_unreleased_reports_are_waited_for_but_not_for_ever() -> None:
    """No coordinator answers: the tasks will run again elsewhere, and that is said."""
    stage = busy()
    stage.step(DrainAsked(GRACE_NS))
    stage.step(JobDone(Attempt(1, 1)), JobDone(Attempt(1, 2)))
    stage.flush()
    stage.wait(stage.agent.limits.release_wait_ns)
    stage.lose("closed")
    assert "reports_left" in stage.told()
    assert stage.done(Finish)


def test_draining_without_a_broker_ends_at_once_or_waits_for_one_to_take_its_reports() -> None:
    """Nothing held: nothing to wait for. A report held: one more try to hand it over."""
    stage = busy()
    stage.lose()
    stage.step(JobStopped(Attempt(1, 1)), JobStopped(Attempt(1, 2)))
    stage.step(DrainAsked(GRACE_NS))
    assert stage.done(Finish)

    stage = busy()
    stage.step(JobDone(Attempt(1, 1)))
    stage.lose()
    stage.step(JobStopped(Attempt(1, 2)))
    stage.step(DrainAsked(GRACE_NS))
    assert not stage.done(Finish)
    stage.wait(NS_PER_S)
    assert stage.done(Connect)
    stage.connect()
    stage.sync(1)
    stage.flush()
    stage.orders(1, release=[Attempt(1, 1)])
    assert stage.all_said(Leave)


def test_asked_twice_the_shorter_grace_holds() -> None:
    """An impatient second wish; a longer one changes nothing."""
    stage = busy()
    stage.step(DrainAsked(GRACE_NS))
    stage.step(DrainAsked(NS_PER_S))
    stage.step(DrainAsked(60 * NS_PER_S))
    stage.wait(NS_PER_S)
    assert stage.stops() == [(1, False), (2, False), (1, True), (2, True)] or stage.stops() == [(1, True), (2, True)]


def test_quit_ends_everything_in_one_step() -> None:
    """The second signal."""
    stage = busy()
    stage.step(QuitAsked())
    assert stage.stops() == [(1, True), (2, True)]
    assert [type(command) for command in stage.commands[-2:]] == [CloseConnection, Finish]
    stage.step(JobStopped(Attempt(1, 1)), JobStopped(Attempt(1, 2)))
    assert stage.agent.next_deadline() is None


def test_quit_twice_in_one_turn_ends_once() -> None:
    """The first has ended it (swarm seed 54)."""
    stage = busy()
    stage.step(QuitAsked(), QuitAsked())
    assert [type(command) for command in stage.commands].count(Finish) == 1


def test_a_start_that_came_too_late_during_a_drain_is_handed_back() -> None:
    """It never ran here."""
    stage = busy()
    stage.assign(1, 5)
    stage.step(DrainAsked(GRACE_NS))
    stage.step(JobLate(Attempt(1, 5)))
    stage.flush()
    assert ("stopped", 5, "draining") in stage.notes()


def test_a_missed_window_during_a_drain_ends_in_an_orderly_way() -> None:
    """Fenced while draining: stop, close, and end, for nothing is left to hand over."""
    stage = busy()
    stage.step(DrainAsked(60 * NS_PER_S))
    stage.wait(20 * NS_PER_S)
    assert "window_missed" in stage.told()
    stage.step(JobStopped(Attempt(1, 1)), JobStopped(Attempt(1, 2)))
    stage.lose("closed")
    assert stage.done(Finish)
