"""The rules of custody, told as stories. Each has a mutant in test_mutants.py that it catches."""

from __future__ import annotations

from orchestrator.vocabulary import NS_PER_S, Attempt
from orchestrator.wire.messages import Announce, Assignment, Beat, Error, Held, Leave, Notes, Reports
from tests.workers.core.stage import LEASE_NS, MS, Stage
from workers.core.commands import CloseConnection, Connect, Finish
from workers.core.events import JobDone, JobFailed, JobLate, JobStopped, TimePassed
from workers.core.incarnation import REFUSED_MAX


def fresh() -> Stage:
    """An agent that serves epoch 1 and was just echoed."""
    stage = Stage()
    stage.step(TimePassed())
    stage.serve(1)
    stage.forget()
    return stage


# --- R2: whom to obey ---------------------------------------------------------------------------------------------------


def test_announces_with_every_beat_until_a_leader_answers() -> None:
    """Nobody coordinates yet: the agent says who it is once a second, and starts nothing."""
    stage = Stage()
    assert stage.step(TimePassed()) == [Connect()]
    stage.connect()
    stage.wait(3 * NS_PER_S)
    assert [type(message) for message in stage.said] == [Announce, Beat] * 4
    stage.sync(5)
    stage.forget()
    stage.wait(2 * NS_PER_S)
    assert [type(message) for message in stage.said] == [Beat, Beat]
    assert stage.said[0].epoch == 5


def test_a_sync_is_answered_with_who_we_are_then_what_we_hold() -> None:
    """A new leader may never have heard of this incarnation."""
    stage = fresh()
    stage.start(1, 1)
    stage.assign(1, 2, 3, handler="crunch")
    stage.step(JobDone(Attempt(1, 1)))
    stage.forget()
    stage.sync(2)
    assert [type(message) for message in stage.said[:2]] == [Announce, Held]
    held = stage.said[1]
    assert (held.epoch, held.drained) == (2, stage.order_seq)
    assert [(item.attempt.n, item.state) for item in held.attempts] == [(2, "running"), (3, "waiting"), (1, "finished")]
    assert held.attempts[0].grant == {"slots": 1.0}


def test_the_answer_to_a_sync_counts_what_the_same_orders_assigned() -> None:
    """It says that these orders are drained: an assignment in them that it did not list would be given to another one."""
    stage = fresh()
    stage.sync(1, assign=[Assignment("t1", 1, "resize", b"\x80", {"slots": 1})])
    held = stage.all_said(Held)[-1]
    assert held.drained == stage.order_seq
    assert [item.attempt for item in held.attempts] == [Attempt(1, 1)]


def test_who_is_not_obeyed_hears_it_once_between_two_beats() -> None:
    """However much he orders: a word for each would be thousands for one message. Of more epochs than can be some hear nothing."""
    stage = fresh()
    stage.sync(4)
    stage.flush()
    stage.forget()
    for turn in range(3):
        for _ in range(5):
            stage.orders(3, sync=True, assign=[Assignment(f"t{n}", n, "resize", b"\x80", {"slots": 1}) for n in range(300)])
            stage.flush()
        assert stage.notes() == [("refused", 0, "epoch")] * (turn + 1)
        stage.wait(3 * NS_PER_S // 2)
    for epoch in range(5, 1_005):
        stage.assign(epoch, 1)
        stage.flush()
    assert len(stage.notes()) == 3 + REFUSED_MAX
    stage.wait(3 * NS_PER_S // 2)
    stage.assign(3, 7)
    stage.flush()
    assert stage.notes()[-1] == ("refused", 7, "epoch")


def test_orders_of_a_lower_or_foreign_epoch_do_nothing() -> None:
    """A deposed leader's assignments are refused, with the epoch that is obeyed; its other orders are not even answered."""
    stage = fresh()
    stage.sync(4)
    stage.start(4, 1)
    stage.flush()
    stage.forget()
    for epoch in (3, 5):
        stage.assign(epoch, 7)
        stage.orders(epoch, release=[Attempt(4, 1)], drain=True)
        stage.stop(epoch, 1, of=4)
    stage.flush()
    assert stage.started() == []
    assert stage.stops() == []
    assert stage.notes() == [("refused", 7, "epoch")] * 2
    assert {note.epoch for message in stage.all_said(Notes) for note in message.items} == {4}
    assert stage.agent.drain is None


def test_a_lower_leader_is_refused_even_by_a_new_incarnation() -> None:
    """The agent lost its connection, and the deposed leader is the first to greet it: it must not change sides."""
    stage = fresh()
    stage.sync(6)
    stage.lose()
    stage.wait(NS_PER_S)
    stage.connect()
    stage.forget()
    stage.sync(5)
    stage.assign(5, 1)
    stage.flush()
    assert stage.started() == []
    assert not stage.all_said(Held)
    notes = [note for message in stage.all_said(Notes) for note in message.items]
    assert [(note.what, note.epoch) for note in notes] == [("refused", 6)], "once says it all"
    stage.sync(6)
    assert stage.agent.phase == "serving"


def test_orders_for_another_incarnation_are_not_ours() -> None:
    """A misrouted or forged message changes nothing."""
    stage = fresh()
    stage.incarnations += 7
    stage.assign(1, 1)
    assert stage.commands == []


def test_orders_behind_what_we_said_we_drained_start_nothing() -> None:
    """The coordinator has read that we drained past them and hold nothing of them; it may have moved the task."""
    stage = fresh()
    stage.assign(1, 1)
    stage.orders(1, seq=stage.order_seq)  # the same number again
    stage.assign(1, 2)
    before = stage.started()
    stage.order_seq -= 1
    stage.assign(1, 3)
    stage.flush()
    assert stage.started() == before == [1, 2]
    assert ("refused", 3, "stale") in stage.notes()


# --- R6, R9: the window -------------------------------------------------------------------------------------------------


def test_assignments_wait_for_the_first_echo() -> None:
    """Before the leader has shown that it hears us nothing starts; it is not refused either."""
    stage = Stage()
    stage.step(TimePassed())
    stage.connect()
    stage.sync(1)
    stage.assign(1, 1)
    assert stage.started() == []
    stage.echo(1)
    assert stage.started() == [1]


def test_orders_that_carry_what_was_heard_start_their_own_work() -> None:
    """No round trip is lost: the first assignment opens the window it needs."""
    stage = Stage()
    stage.step(TimePassed())
    stage.connect()
    stage.sync(1)
    stage.orders(1, heard=stage.agent.incarnation.window.seq)
    stage.assign(1, 1)
    assert stage.started() == [1]


def test_paused_window_missed_resumed_starts_nothing_and_comes_back_new() -> None:
    """A laptop lid: assignments and echoes queued up meanwhile are not even looked at."""
    stage = fresh()
    stage.start(1, 1)
    stage.forget()
    stage.now_ns += LEASE_NS
    stage.assign(1, 2)
    assert stage.started() == []
    assert stage.stops() == [(1, True)]
    assert stage.commands[-1] == CloseConnection("the window was missed")
    assert "window_missed" in stage.told()
    assert stage.said == []
    stage.echo(1)
    stage.lose("closed")
    assert not stage.done(Connect)
    stage.step(JobDone(Attempt(1, 1)))
    stage.wait(NS_PER_S)
    assert stage.done(Connect)
    stage.connect()
    stage.sync(1)
    stage.flush()
    assert stage.reports() == []


def test_who_is_not_answered_comes_back_new_less_and_less_often() -> None:
    """Its queue may be gone, and nobody have told it; or nobody coordinates. Once it is answered it is as impatient as ever."""
    stage = Stage()
    waited = []
    for _ in range(6):
        stage.wait(NS_PER_S)
        assert stage.done(Connect)
        stage.connect()
        began_ns = stage.now_ns
        while not stage.done(CloseConnection):
            stage.wait(NS_PER_S)
        waited.append(round((stage.now_ns - began_ns) / NS_PER_S))
        assert "unanswered" in stage.told()
        stage.lose("closed")
        stage.forget()
        if len(waited) == 5:
            stage.wait(3 * NS_PER_S)
            stage.connect()
            stage.sync(1)
            stage.lose("reset")
    assert waited == [5, 10, 20, 40, 60, 5]


def test_who_is_far_away_waits_for_an_answer_as_long_as_its_connections_took_to_open() -> None:
    """At a round trip of seconds that takes half a minute, and an answer more than five: who gave up then would never come in."""
    stage = Stage()
    stage.wait(NS_PER_S)
    assert stage.done(Connect)
    stage.wait(30 * NS_PER_S)
    stage.connect()
    stage.wait(29 * NS_PER_S)
    assert not stage.done(CloseConnection)
    stage.wait(2 * NS_PER_S)
    assert stage.done(CloseConnection)


def test_a_window_that_runs_out_ends_the_incarnation_on_time() -> None:
    """Nobody echoes any more: running work is stopped when the window closes, not when somebody next speaks."""
    stage = fresh()
    stage.start(1, 1)
    assert stage.agent.permit == ("i1", stage.now_ns + LEASE_NS)
    stage.wait(LEASE_NS - 1)
    assert stage.stops() == []
    stage.wait(1)
    assert stage.stops() == [(1, True)]
    assert stage.agent.permit == ("", 0)


def test_the_window_runs_from_the_sending_of_the_beat() -> None:
    """However late the echo comes: the leader's lease began when it heard the beat, after we sent it."""
    stage = fresh()
    stage.wait(5 * NS_PER_S)
    sent_ns = stage.now_ns
    last = stage.agent.incarnation.window.seq
    stage.wait(2 * NS_PER_S)
    stage.echo(1, last)
    assert stage.agent.permit[1] == sent_ns + LEASE_NS


def test_only_the_leader_that_is_obeyed_renews_the_window() -> None:
    """Neither another leader's echo, nor one of a beat never sent, nor any broker's confirm keeps it open."""
    stage = fresh()
    until_ns = stage.agent.permit[1]
    stage.start(1, 1)
    stage.wait(NS_PER_S)
    stage.echo(2)
    stage.echo(1, seq=999)
    stage.flush()
    assert stage.agent.permit[1] == until_ns
    stage.echo(1)
    assert stage.agent.permit[1] == until_ns + NS_PER_S


def test_after_a_takeover_the_new_leader_must_open_the_window_itself() -> None:
    """Work of the old reign runs on under the old window; nothing starts before the new leader has heard us."""
    stage = fresh()
    stage.start(1, 1)
    stage.forget()
    stage.sync(2)
    stage.assign(2, 2)
    assert stage.started() == []
    assert stage.stops() == []
    stage.echo(2)
    assert stage.started() == [2]


def test_a_start_that_came_too_late_waits_again() -> None:
    """The user's loop was busy and the permit ran out on the way: the runner did not call it, and nobody else was told."""
    stage = fresh()
    stage.assign(1, 1)
    stage.step(JobLate(Attempt(1, 1)))
    assert stage.started() == [1, 1]
    assert stage.notes() == []


# --- R5: an incarnation's end -------------------------------------------------------------------------------------------


def test_reconnect_stops_unfinished_but_keeps_finished() -> None:
    """The broker goes: running and waiting work is dropped in silence, a finished report waits for the next leader."""
    stage = fresh()
    stage.start(1, 1, 2)
    stage.assign(1, 3, 4, handler="crunch")
    stage.step(JobDone(Attempt(1, 1)))
    stage.forget()
    stage.lose()
    assert stage.stops() == [(2, True), (3, True)]
    stage.step(JobStopped(Attempt(1, 3)))
    stage.wait(NS_PER_S)
    assert not stage.done(Connect), "a job still runs"
    stage.step(JobFailed(Attempt(1, 2), Error("Boom", "while being cancelled")))
    stage.wait(NS_PER_S)
    assert stage.done(Connect)
    stage.connect()
    stage.sync(2)
    stage.flush()
    assert stage.reports() == [("done", 1)]
    assert stage.all_said(Held)[-1].attempts[0].state == "finished"
    assert stage.all_said(Reports)[-1].incarnation == "i2"
    assert [note for note in stage.notes() if note[0] == "stopped"] == []


def test_a_thread_that_nobody_can_kill_keeps_the_agent_away() -> None:
    """It would overlap with the attempt that the coordinator gives to somebody else, in an agent that says it is idle."""
    stage = fresh()
    stage.start(1, 1)
    stage.forget()
    stage.lose()
    stage.wait(60 * NS_PER_S)
    assert not stage.done(Connect)
    assert stage.told().count("still_stopping") == 1
    stage.step(JobDone(Attempt(1, 1)))
    stage.wait(NS_PER_S)
    assert stage.done(Connect)


def test_reconnects_for_ever_more_and_more_slowly() -> None:
    """A broker that is away for an hour is asked again, not hammered."""
    stage = Stage()
    stage.step(TimePassed())
    gaps = []
    for _ in range(12):
        before_ns = stage.now_ns
        stage.lose("refused")
        while stage.agent.phase == "offline":
            stage.now_ns = stage.agent.next_deadline()
            stage.step(TimePassed())
        gaps.append(stage.now_ns - before_ns)
    assert gaps[0] <= 100 * MS
    assert all(1.5 * NS_PER_S <= gap <= 3 * NS_PER_S for gap in gaps[-4:])


# --- R4: a stop is always answered --------------------------------------------------------------------------------------


def test_a_stop_is_always_answered() -> None:
    """Unknown, waiting, running, finished, failing meanwhile: each stop gets its word."""
    stage = fresh()
    stage.start(1, 1, 2, 3)
    stage.assign(1, 4, 5, handler="crunch")
    stage.step(JobDone(Attempt(1, 3)))
    stage.flush()
    stage.wait(stage.agent.limits.started_ns)
    stage.flush()
    stage.forget()
    for n in (99, 5, 1, 2, 3):
        stage.stop(1, n)
    stage.flush()
    assert stage.notes() == [("stopped", 99, ""), ("stopped", 5, "because")]
    assert stage.reports() == [("done", 3)], "sent again: that is the answer"
    assert stage.stops() == [(1, True), (2, True)]
    stage.step(JobStopped(Attempt(1, 1)))
    stage.step(JobDone(Attempt(1, 2)))
    stage.flush()
    assert stage.notes()[2:] == [("stopped", 1, "because")]
    assert stage.reports()[1:] == [("done", 2)]


def test_an_assignment_recalled_by_the_same_orders_does_not_start() -> None:
    """The leader changed its mind before the message left."""
    stage = fresh()
    stage.start(1, 1, handler="crunch")
    stage.forget()
    stage.assign(1, 2, handler="crunch")
    stage.stop(1, 2)
    stage.step(JobDone(Attempt(1, 1)))
    stage.flush()
    assert stage.started() == []
    assert ("stopped", 2, "because") in stage.notes()


def test_a_handler_that_raises_because_it_was_stopped_has_not_failed() -> None:
    """It would count as an attempt and delay the next one."""
    stage = fresh()
    stage.start(1, 1)
    stage.stop(1, 1)
    stage.step(JobFailed(Attempt(1, 1), Error("Stopped", "as I was told")))
    stage.flush()
    assert stage.reports() == []
    assert ("stopped", 1, "because") in stage.notes()


# --- reports ------------------------------------------------------------------------------------------------------------


def test_a_report_is_kept_until_released_and_sent_again_on_sync() -> None:
    """The broker's confirm is not enough: a leader may die between reading a report and writing it down."""
    stage = fresh()
    stage.start(1, 1)
    stage.step(JobDone(Attempt(1, 1), b"\x01", at_ns=9))
    stage.flush()
    stage.sync(2)
    stage.flush()
    stage.sync(3)
    stage.flush()
    assert stage.reports() == [("done", 1)] * 3
    assert {message.items[0].started_ns for message in stage.all_said(Reports)} == {7}
    stage.orders(3, release=[Attempt(1, 1)])
    stage.sync(4)
    stage.flush()
    assert len(stage.reports()) == 3
    assert stage.all_said(Held)[-1].attempts == []


def test_a_report_that_nobody_releases_is_sent_again() -> None:
    """Somebody emptied the reports queue, or the release was lost: without it the task, or the report, would stay for ever."""
    stage = fresh()
    stage.start(1, 1, 2)
    stage.step(JobDone(Attempt(1, 1), b"\x01"), JobDone(Attempt(1, 2), b"\x01"))
    stage.flush()
    stage.orders(1, release=[Attempt(1, 2)])
    for _ in range(31):
        stage.echo(1)
        stage.wait(NS_PER_S)
        stage.flush()
    assert stage.reports() == [("done", 1), ("done", 2), ("done", 1)]


def test_a_beat_lists_finished_attempts_until_they_are_released() -> None:
    """A report on its way must not look like an attempt that vanished."""
    stage = fresh()
    stage.start(1, 1)
    stage.step(JobDone(Attempt(1, 1)))
    stage.wait(NS_PER_S)
    assert stage.all_said(Beat)[-1].held == [Attempt(1, 1)]
    stage.orders(1, release=[Attempt(1, 1)])
    stage.wait(NS_PER_S)
    assert stage.all_said(Beat)[-1].held == []


def test_leave_is_said_when_nothing_is_held() -> None:
    """Goodbye means: holds nothing, will start nothing."""
    stage = fresh()
    stage.orders(1, drain=True)
    stage.flush()
    assert stage.all_said(Leave)
    stage.lose("closed")
    assert stage.done(Finish)
