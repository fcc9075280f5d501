"""What leaves when: batches without waiting, limits of size, progress, checkpoints, failed publishes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from msgspec.structs import replace

from orchestrator.vocabulary import NS_PER_S, Attempt
from orchestrator.wire.messages import Announce, Beat, Error, Handler, Held, Reports
from tests.workers.core.stage import MS, PROFILE, Stage
from workers.core import Limits
from workers.core.commands import Publish
from workers.core.events import (
    Checkpointed,
    Flushed,
    JobDone,
    JobFailed,
    JobStarted,
    JobStopped,
    Progressed,
    TimePassed,
    WallClock,
)
from workers.core.lifecycle import Impossible


def fresh(limits: Limits | None = None) -> Stage:
    """An agent that serves epoch 1 and was just echoed."""
    stage = Stage(limits=limits)
    stage.step(TimePassed())
    stage.serve(1)
    stage.flush()
    stage.forget()
    return stage


def test_a_lone_report_leaves_at_once_and_what_comes_meanwhile_is_the_next_message() -> None:
    """Group commit: one durable publish under way, no timer."""
    stage = fresh()
    stage.start(1, 1, 2, 3, 4)
    stage.flush()
    stage.step(JobDone(Attempt(1, 1)))
    assert stage.reports() == [("done", 1)]
    stage.step(*[JobDone(Attempt(1, n)) for n in (2, 3, 4)])
    assert len(stage.all_said(Reports)) == 1
    stage.flush()
    assert [len(message.items) for message in stage.all_said(Reports)] == [1, 3]


def test_a_started_note_is_not_sent_when_the_report_overtakes_it() -> None:
    """A short job costs one message, not two."""
    stage = fresh()
    stage.assign(1, 1, 2)
    stage.step(JobStarted(Attempt(1, 1)), JobDone(Attempt(1, 1)), JobStarted(Attempt(1, 2)))
    stage.flush()
    stage.wait(stage.agent.limits.started_ns)
    assert stage.reports() == [("done", 1)]
    assert stage.notes() == [("started", 2, "")]


def test_the_start_of_a_first_try_is_said_late_and_takes_the_others_along() -> None:
    """Most tasks are over before anybody would have looked; who runs on is seen soon enough."""
    stage = fresh()
    late_ns = stage.agent.limits.started_ns
    stage.start(1, 1, 2)
    stage.wait(late_ns // 2)
    stage.start(1, 3)
    stage.step(JobDone(Attempt(1, 1)))
    stage.flush()
    assert stage.notes() == []
    stage.wait(late_ns // 2)
    assert stage.notes() == [("started", 2, ""), ("started", 3, "")]
    stage.flush()
    stage.start(1, 4)
    stage.wait(late_ns - 1)
    assert len(stage.notes()) == 2
    stage.wait(1)
    assert stage.notes()[2:] == [("started", 4, "")]


def test_the_start_of_another_try_is_said_at_once() -> None:
    """Its instance may have died of it: should this one too, it must have been seen to run. What waits to be said goes along."""
    stage = fresh()
    stage.start(1, 1)
    assert stage.notes() == []
    stage.start(1, 2, number=2)
    assert stage.notes() == [("started", 1, ""), ("started", 2, "")]


def test_the_start_of_what_may_be_asked_to_make_room_is_said_at_once() -> None:
    """The coordinator weighs how long it has run."""
    profile = replace(PROFILE, handlers=(Handler("resize", preemptible=True),))
    stage = Stage(profile)
    stage.step(TimePassed())
    stage.serve(1)
    stage.start(1, 1)
    assert stage.notes() == [("started", 1, "")]


def test_started_notes_wait_while_reports_are_under_way() -> None:
    """Under load most of them are overtaken by their reports; a recall's answer does not wait."""
    stage = fresh()
    stage.start(1, 1)
    stage.flush()
    stage.step(JobDone(Attempt(1, 1)))
    stage.start(1, 2, 3)
    stage.stop(1, 99)
    assert ("stopped", 99, "") in stage.notes()
    stage.forget()
    stage.start(1, 4)
    stage.step(JobDone(Attempt(1, 4)))
    stage.flush()
    assert ("started", 4, "") not in stage.notes()
    assert stage.reports() == [("done", 4)]


def test_messages_stay_below_the_wires_limit() -> None:
    """Many results, and large ones, are split; each message fits (the witness measures every one)."""
    stage = fresh(Limits(beat_jitter=0.0, body_bytes_max=20_000, items_max=50))
    numbers = range(1, 131)
    stage.start(1, *numbers)
    for n in numbers:
        stage.step(JobDone(Attempt(1, n), b"x" * (3_000 if n < 20 else 1)))
    stage.flush()
    assert sorted(stage.reports()) == sorted(("done", n) for n in numbers)
    assert max(len(message.items) for message in stage.all_said(Reports)) <= 50


def test_a_result_that_fits_no_message_is_a_failure_that_says_so() -> None:
    """It would be refused by the other side for ever."""
    stage = fresh()
    stage.start(1, 1)
    stage.step(JobDone(Attempt(1, 1), b"x" * (1024 * 1024 + 1)))
    (report,) = stage.all_said(Reports)[0].items
    assert (report.error.kind, report.retry) == ("result_too_large", False)
    assert "Store the data elsewhere" in report.error.message


def test_a_failure_with_an_enormous_trace_still_fits() -> None:
    """The trace is cut away before the message is lost."""
    stage = fresh(Limits(beat_jitter=0.0, body_bytes_max=16_384))
    stage.start(1, 1)
    stage.step(JobFailed(Attempt(1, 1), Error("Boom", "ä" * 4096, "t" * 16_384)))
    assert stage.reports() == [("Boom", 1)]


def test_a_failed_publish_is_made_again_after_a_beat() -> None:
    """The broker said no (a queue is full, or gone): the report is not lost, and the broker not hammered."""
    stage = fresh()
    stage.start(1, 1)
    stage.flush()
    stage.step(JobDone(Attempt(1, 1)))
    stage.step(Flushed(stage.witness.durable_token, ok=False))
    assert stage.told() == ["reports_unsent"]
    assert stage.reports() == [("done", 1)]
    stage.wait(NS_PER_S)
    assert stage.reports() == [("done", 1)] * 2


def test_refuses_work_rather_than_forget_a_report() -> None:
    """A coordinator that releases nothing gets no more work done here, and loses nothing."""
    stage = fresh(Limits(beat_jitter=0.0, reports_max=3))
    stage.start(1, 1, 2, 3)
    stage.step(*[JobDone(Attempt(1, n)) for n in (1, 2, 3)])
    stage.assign(1, 4)
    stage.flush()
    assert ("refused", 4, "full") in stage.notes()
    stage.orders(1, release=[Attempt(1, 2)])
    stage.assign(1, 5)
    assert 5 in stage.started()


def test_what_is_held_always_fits_the_answer_to_a_sync() -> None:
    """Long ids count, not only how many: beyond the room of one message new work is refused."""
    stage = fresh(Limits(beat_jitter=0.0, body_bytes_max=65_536, held_bytes_max=49_152))
    stage.assign(1, *range(1, 1001))
    stage.sync(2)
    assert 0 < len(stage.started()) < 1000
    stage.flush()
    assert [note[2] for note in stage.notes()].count("full") == 1000 - len(stage.started())


def test_progress_leaves_at_most_five_times_a_second_and_the_newest_wins() -> None:
    """Progress is for eyes."""
    stage = fresh()
    stage.start(1, 1)
    stage.flush()
    for percent in range(100):
        stage.step(Progressed(Attempt(1, 1), percent / 100, f"{percent} %"), after_ns=10 * MS)
        stage.flush()
        stage.wait(0)
    stage.wait(NS_PER_S)
    texts = [text for what, _, text in stage.notes() if what == "progress"]
    assert texts[-1] == "99 %"
    assert 5 <= len(texts) <= 7


def test_a_preempted_attempt_is_stopped_only_when_its_checkpoint_is_safe() -> None:
    """The next attempt would start from nothing."""
    stage = fresh()
    stage.start(1, 1)
    stage.flush()
    stage.stop(1, 1, preempt=True)
    assert stage.stops() == [(1, False)]
    stage.step(Checkpointed(Attempt(1, 1), b"old"), Checkpointed(Attempt(1, 1), b"half"), JobStopped(Attempt(1, 1)))
    assert [item.state for message in stage.all_said(Reports) for item in message.checkpoints] == [b"half"]
    assert ("stopped", 1, "because") not in stage.notes()
    stage.step(Flushed(stage.witness.durable_token, ok=False))
    stage.wait(NS_PER_S)
    assert ("stopped", 1, "because") not in stage.notes()
    stage.flush()
    assert ("stopped", 1, "because") in stage.notes()


def test_what_an_attempt_saved_before_it_failed_leaves_with_its_report() -> None:
    """The next one goes on from there: in one message, of which checkpoints are read first; and when that is said again."""
    stage = fresh()
    stage.start(1, 1, 2, 3)
    stage.step(JobDone(Attempt(1, 3)))
    stage.step(
        Checkpointed(Attempt(1, 1), b"old"), Checkpointed(Attempt(1, 1), b"half"), JobFailed(Attempt(1, 1), Error("Boom", ""))
    )
    stage.step(Checkpointed(Attempt(1, 2), b"vain"), JobFailed(Attempt(1, 2), Error("Fatal", ""), retry=False))
    stage.step(Flushed(stage.witness.durable_token, ok=True))
    stage.step(Flushed(stage.witness.durable_token, ok=False))
    stage.wait(NS_PER_S)
    said = [
        ([one.attempt.n for one in message.items], [one.state for one in message.checkpoints])
        for message in stage.all_said(Reports)
    ]
    assert said == [([3], []), ([1, 2], [b"half"]), ([1, 2], [b"half"])]


def test_a_checkpoint_that_leaves_no_room_for_the_report_of_its_attempt_goes_before_it() -> None:
    """In a message of its own; and no message has more items than it may."""
    stage = fresh(Limits(beat_jitter=0.0, body_bytes_max=20_000, items_max=2))
    stage.start(1, 1, 2, 3)
    stage.step(JobDone(Attempt(1, 3)))
    for n, size in ((1, 15_000), (2, 10)):
        stage.step(Checkpointed(Attempt(1, n), b"x" * size), JobFailed(Attempt(1, n), Error("Boom", "m" * 5_000)))
    stage.flush()
    said = [
        ([one.attempt.n for one in message.items], [one.attempt.n for one in message.checkpoints])
        for message in stage.all_said(Reports)
    ]
    assert said == [([3], []), ([], [1]), ([1], [2]), ([2], [])]


def test_one_long_attempt_does_not_keep_the_timeouts_of_all_that_have_ended_since() -> None:
    """Those that live are told on time."""
    stage = fresh()
    stage.start(1, 1, timeout_ns=3600 * NS_PER_S)
    for n in range(2, 1000):
        stage.start(1, n, timeout_ns=7200 * NS_PER_S)
        stage.step(JobDone(Attempt(1, n)))
        stage.flush()
        stage.orders(1, release=[Attempt(1, n)])
    stage.start(1, 1000, handler="slow")
    assert len(stage.agent.work.holdings._timeouts) < 80
    stage.wait(2 * NS_PER_S)
    assert stage.stops() == [(1000, True)]


def test_a_beat_lists_what_has_stopped_until_that_is_said() -> None:
    """The beat overtakes the word that names the last checkpoint, the task would go on from an earlier one (swarm seed 5000)."""
    stage = fresh()
    stage.start(1, 1)
    stage.flush()
    stage.stop(1, 1, preempt=True)
    stage.step(Checkpointed(Attempt(1, 1), b"half"), JobStopped(Attempt(1, 1)))
    stage.step(Flushed(stage.witness.durable_token, ok=True))
    assert ("stopped", 1, "because") in stage.notes()
    stage.wait(NS_PER_S)
    assert stage.all_said(Beat)[-1].held == [Attempt(1, 1)]
    stage.flush()
    stage.wait(NS_PER_S)
    assert stage.all_said(Beat)[-1].held == []


def test_a_soft_stop_can_be_made_hard() -> None:
    """The handler does not care for checkpoints; the leader loses patience."""
    stage = fresh()
    stage.start(1, 1)
    stage.stop(1, 1, preempt=True)
    stage.stop(1, 1)
    stage.stop(1, 1)
    assert stage.stops() == [(1, False), (1, True)]


def test_a_timeout_is_a_failure_that_may_be_tried_again() -> None:
    """The handler's own limit holds unless the task brings one; work that was done in spite of it counts."""
    stage = fresh()
    stage.start(1, 1, 2, handler="slow")
    stage.start(1, 3, handler="slow", timeout_ns=NS_PER_S)
    stage.wait(NS_PER_S)
    assert stage.stops() == [(3, True)]
    stage.wait(NS_PER_S)
    assert stage.stops() == [(3, True), (1, True), (2, True)]
    stage.step(JobStopped(Attempt(1, 1)), JobDone(Attempt(1, 2)), JobFailed(Attempt(1, 3), Error("X", "")))
    stage.flush()
    assert stage.reports() == [("timeout", 1), ("done", 2), ("timeout", 3)]
    assert "ran longer than its timeout of 2 s" in stage.all_said(Reports)[0].items[0].error.message


def test_a_handler_that_does_not_heed_a_stop_is_pointed_out_once() -> None:
    """By its timeout, or by an order; one that has heeded it is not. Its place stays taken, and nobody else can see why."""
    stage = fresh()
    stage.start(1, 1, handler="slow")
    stage.start(1, 2)
    stage.start(1, 3)
    stage.stop(1, 2)
    stage.stop(1, 3, preempt=True)
    stage.wait(2 * NS_PER_S)
    assert [word for word in stage.told() if word in ("timed_out", "unheeding")] == ["timed_out"]
    stage.step(JobStopped(Attempt(1, 2)))
    stage.wait(4 * NS_PER_S)
    assert "unheeding" not in stage.told()
    stage.wait(20 * NS_PER_S)
    assert [word for word in stage.told() if word in ("timed_out", "unheeding")] == ["timed_out", "unheeding"]


def test_a_task_past_its_deadline_is_not_started() -> None:
    """Deadlines are Unix time; the agent compares them with its own."""
    stage = fresh()
    stage.step(WallClock(1_700_000_000 * NS_PER_S))
    stage.assign(1, 1, deadline_ns=1_700_000_000 * NS_PER_S)
    stage.assign(1, 2, deadline_ns=1_700_000_001 * NS_PER_S)
    stage.flush()
    assert stage.started() == [2]
    assert ("refused", 1, "expired") in stage.notes()


def test_an_unknown_handler_is_a_failure_that_names_the_known_ones() -> None:
    """No retry will find it."""
    stage = fresh()
    stage.assign(1, 1, handler="rezise")
    (report,) = stage.all_said(Reports)[0].items
    assert (report.error.kind, report.retry) == ("unknown_handler", False)
    assert "it has: resize, crunch, slow" in report.error.message


def test_a_full_lane_keeps_attempts_waiting_and_others_pass() -> None:
    """One process place: the second waits unstarted (and could be recalled); the async one does not wait for it."""
    stage = fresh()
    stage.assign(1, 1, 2, handler="crunch")
    stage.assign(1, 3)
    assert stage.started() == [1, 3]
    stage.step(JobFailed(Attempt(1, 1), Error("bad_arguments", "no"), retry=False))
    assert stage.started() == [1, 3, 2]


def test_an_assignment_said_twice_is_one_attempt() -> None:
    """Running, or finished and kept: it is not run again."""
    stage = fresh()
    stage.start(1, 1)
    stage.assign(1, 1)
    stage.step(JobDone(Attempt(1, 1)))
    stage.assign(1, 1)
    assert stage.started() == [1]


def test_the_load_is_the_granted_share_of_the_slots() -> None:
    """Two of four."""
    stage = fresh()
    stage.start(1, 1, 2)
    stage.wait(NS_PER_S)
    assert stage.all_said(Beat)[-1].load == 0.5


def test_a_report_whose_publish_is_never_answered_is_sent_again() -> None:
    """A node of the broker took the answer along: what is said next must not wait for it. The old answer means nothing any more."""
    stage = fresh()
    stage.start(1, 1)
    stage.step(JobDone(Attempt(1, 1), b"\x01"))
    lost = stage.witness.durable_token
    for _ in range(33):
        stage.echo(1)
        stage.wait(NS_PER_S)
    assert stage.reports() == [("done", 1), ("done", 1)]
    stage.step(Flushed(lost, False))
    stage.flush()
    assert stage.reports() == [("done", 1), ("done", 1)]
    stage.orders(1, release=[Attempt(1, 1)])
    assert not stage.agent.work.outbox.kept


def test_beats_are_jittered_but_on_time() -> None:
    """A thousand agents started together spread out; none is late by more than its share."""
    stage = Stage(limits=Limits(beat_jitter=0.1), seed=3)
    stage.step(TimePassed())
    stage.connect()
    stage.sync(1)
    times = []
    for _ in range(50):
        stage.now_ns = stage.agent.next_deadline()
        commands = stage.step(TimePassed())
        times += [stage.now_ns for command in commands if isinstance(command, Publish) and type(command.message) is Beat]
    gaps = [b - a for a, b in pairwise(times)]
    assert all(0.9 * NS_PER_S <= gap <= 1.1 * NS_PER_S for gap in gaps)
    assert len(set(gaps)) > 40


def test_the_announcement_carries_the_profile() -> None:
    """Who, what, how much."""
    stage = Stage()
    stage.step(TimePassed())
    stage.connect()
    (announce,) = stage.all_said(Announce)
    assert (announce.instance, announce.service) == (PROFILE.instance, "thumbs")
    assert [handler.name for handler in announce.handlers] == ["resize", "crunch", "slow"]
    assert announce.capacity == {"slots": 4}


def test_a_sync_is_told_which_devices_an_attempt_has() -> None:
    """A new leader must not give them to somebody else."""
    stage = fresh()
    stage.assign(1, 1, devices={"gpu": ["G0", "G1"]})
    stage.orders(2, sync=True)
    (held,) = stage.all_said(Held)[-1].attempts
    assert held.devices == {"gpu": ["G0", "G1"]}


def test_the_same_seed_and_events_give_the_same_commands() -> None:
    """Nothing is decided by anything but time, events and the dice handed in."""

    def run() -> list[object]:
        stage = Stage(limits=Limits(), seed=9)
        stage.step(TimePassed())
        stage.serve(1)
        stage.start(1, 1, 2, 3)
        stage.lose()
        stage.step(JobStopped(Attempt(1, 2)), JobStopped(Attempt(1, 1)), JobStopped(Attempt(1, 3)))
        stage.wait(NS_PER_S)
        return list(stage.commands)

    assert run() == run()


def test_our_own_mistakes_are_crashes_with_a_story() -> None:
    """A job runner that speaks of an attempt it was never given, or a clock that goes back."""
    stage = fresh()
    with pytest.raises(Impossible, match="attempt 1#9, which is not held"):
        stage.agent.step(stage.now_ns, JobDone(Attempt(1, 9)))
    stage.start(1, 1)
    with pytest.raises(Impossible, match="task t1 attempt 1#1 handler resize"):
        stage.agent.step(stage.now_ns, JobStopped(Attempt(1, 1)))
    with pytest.raises(ValueError, match="clock went back"):
        stage.agent.step(0)
