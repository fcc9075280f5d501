"""A cold start reads a part of the ledger, from where everything that lives is said; it may meet what belongs to the other part."""

from __future__ import annotations

import pytest

from orchestrator.core import events as e
from orchestrator.core import invariants
from orchestrator.core.coordinator import Coordinator
from orchestrator.core.custody import wills
from orchestrator.vocabulary import NS_PER_S, Attempt
from orchestrator.wire.facts import Accepted, AnyFact, Asked, Carried, Ended, Entry, Failed, Tombstone
from orchestrator.wire.messages import Error, Task

NOW = 1_000 * NS_PER_S
TASK = Task("t1", "thumbs.resize")


def reader(*facts: AnyFact) -> Coordinator:
    """A standby that has read these, an entry each, from somewhere in the middle."""
    machine = Coordinator("c1")
    for offset, fact in enumerate(facts, 100):
        machine.step(NOW, [e.Read(offset, 100, Entry("somebody", offset, facts=[fact]))])
        invariants.check(machine.desk)
    return machine


def test_a_late_submission_before_the_tombstone() -> None:
    """A deposed leader's ``Accepted`` landed after the end, which is not read any more: the tombstone is right (R11)."""
    desk = reader(Accepted([TASK], NOW), Tombstone("t1", "done", NOW)).desk
    assert not desk.custody.live
    assert not len(desk.backlog)
    assert desk.custody.graves["t1"].outcome == "done"


def test_a_cancel_before_the_tombstone() -> None:
    """What was to be cancelled is over: the will is not kept, or it would be carried forward for ever."""
    desk = reader(Asked("cancel", NOW, "t1"), Tombstone("t1", "done", NOW)).desk
    assert not desk.custody.wills


def test_a_cancel_hours_before_its_task() -> None:
    """The submission lay in the broker, behind a closed intake: it is not wanted any more when it comes. Nobody waits for days."""
    machine, hour = reader(Asked("cancel", NOW, "t1"), Asked("cancel", NOW, "t2")), 3600 * NS_PER_S
    for moment, name in ((NOW + 23 * hour, "t1"), (NOW + 25 * hour, "t2")):
        machine.step(moment, [])
        accepted = Accepted([Task(name, "thumbs.resize")], moment)
        machine.step(moment, [e.Read(machine.desk.custody.next_offset, 100, Entry("somebody", 200, facts=[accepted]))])
    assert {name: record.cancelled for name, record in machine.desk.custody.live.items()} == {"t1": True, "t2": False}


def test_more_cancels_of_nothing_than_can_be_real(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are forgotten, and never one whose task is there."""
    monkeypatch.setattr(wills, "REMEMBERED_MAX", 2)
    machine = reader(*(Asked("cancel", NOW, f"t{n}") for n in range(5)))
    machine.step(NOW + NS_PER_S, [])
    assert list(machine.desk.custody.wills) == ["t3", "t4"]


def test_a_late_end_before_the_tombstone() -> None:
    """The first end counts; the late one is the only one that a cold start reads, until it comes to the tombstone."""
    late = Ended("t1", "failed", NOW, error=Error("boom", "it was"), reply_to="p")
    desk = reader(late, Tombstone("t1", "done", NOW)).desk
    assert desk.custody.graves["t1"].outcome == "done"
    assert not desk.custody.owed


def test_late_words_about_a_task_that_is_carried_later() -> None:
    """What is said of a task before its record comes is in the record."""
    failed = Failed("t1", Attempt(1, 1), "error", Error("boom", "it was"), NOW)
    carried = Carried(TASK, 3, 0, NOW, priority=5, cancelled=True)
    desk = reader(failed, Asked("priority", NOW, "t1", value=9), Asked("cancel", NOW, "t1"), carried).desk
    record = desk.custody.live["t1"]
    assert (record.failures, record.priority, record.cancelled, record.accepted) == ((), 5, True, 3)
    assert not desk.custody.wills


def test_a_fact_read_twice_changes_nothing() -> None:
    """Facts are monotone: true whoever wrote them and however often."""
    facts: list[AnyFact] = [
        Accepted([TASK], NOW),
        Failed("t1", Attempt(1, 1), "error", Error("boom", "it was"), NOW, retries=9),
        Asked("cancel", NOW, "t1"),
    ]
    once, twice = reader(*facts).desk.custody.live["t1"], reader(*facts, *facts).desk.custody.live["t1"]
    assert once.carried() == twice.carried()
    ended = Ended("t1", "done", NOW, Attempt(1, 2), b"\x01")
    desk = reader(*facts, ended, *facts, Ended("t1", "cancelled", NOW)).desk
    assert not desk.custody.live
    assert desk.custody.graves["t1"].outcome == "done"
