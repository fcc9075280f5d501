"""What is too quiet to be heard is not even said."""

from __future__ import annotations

import io
import sys
from collections import Counter

import pytest

from orchestrator.core.coordinator import Coordinator
from orchestrator.core.events import Read, SessionOpened
from orchestrator.live.telemetry import CATALOGUE, configure
from orchestrator.throttle import LINES_MAX, SPAN_S, Throttle
from orchestrator.wire.facts import Entry
from orchestrator.wire.messages import Task
from tests.core.floor import Floor


def told(unheard: frozenset[str]) -> tuple[Counter[str], list[tuple[str, str, int]]]:
    """What is said of some tasks, and where they ran."""
    floor = Floor(lambda task, where: 1.0)
    floor.machine.desk.unheard = unheard
    floor.instance("i", slots=2.0)
    floor.submit(*(Task(f"t{n}", "s.h") for n in range(5)))
    floor.run()
    return Counter(one.what for one in floor.noted), floor.started


def test_quiet_words_are_not_put_together_and_nothing_else_changes() -> None:
    """At a level where assignments and ends are not logged the core says nothing of them; it decides the same."""
    loud, started = told(frozenset())
    quiet, same = told(frozenset(CATALOGUE))
    assert loud["assigned"] == loud["ended"] == 5
    assert quiet["assigned"] == quiet["ended"] == 0
    assert started == same


def test_who_starts_anew_after_a_gap_in_the_ledger_still_does_not_say_what_nobody_hears() -> None:
    """All it knew is void; how loud the log is, is not."""
    machine = Coordinator("c1")
    machine.desk.unheard = frozenset(CATALOGUE)
    machine.step(1, [SessionOpened("n1"), Read(0, 1, Entry("", 0))])
    machine.step(2, [Read(7, 1, Entry("", 0))])
    assert machine.next_offset == 0
    assert machine.desk.unheard == frozenset(CATALOGUE)


def test_a_flood_of_one_word_is_a_hundred_lines_and_their_number() -> None:
    """What was left out is counted on the next line that is said; other words are not held up."""
    throttle = Throttle()
    assert sum(throttle.admits(0.0, "offence", {}) for _ in range(LINES_MAX + 7)) == LINES_MAX
    assert throttle.admits(0.0, "session", {})
    assert throttle.leaves_out(0.0, "offence"), "and it is counted"
    assert not throttle.leaves_out(0.0, "session")
    assert not throttle.leaves_out(SPAN_S, "offence")
    first: dict[str, object] = {"user": "u"}
    then: dict[str, object] = {}
    assert throttle.admits(SPAN_S, "offence", first)
    assert throttle.admits(SPAN_S, "offence", then)
    assert (first, then) == ({"user": "u", "left_out": 8}, {})


@pytest.mark.parametrize(("level", "unheard"), [("debug", False), ("info", True), ("warning", True)])
def test_the_log_knows_what_it_would_not_write(level: str, unheard: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its level."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    telemetry = configure("json", level)
    assert ("assigned" in telemetry.unheard) is unheard
    telemetry.say("assigned", {"task": "t1"})
    telemetry.say("policy_failed", {"why": "x"})
    written = sys.stderr.getvalue()
    assert ("t1" in written) is not unheard
    assert "policy_failed" in written
