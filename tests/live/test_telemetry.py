"""What is too quiet to be heard is not even said."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys
from collections import Counter

import pytest

from orchestrator.amqp.errors import Broken, BrokenBy
from orchestrator.amqp.supervisor import SessionEnded, SessionOpened
from orchestrator.core import events as e
from orchestrator.core.coordinator import Coordinator
from orchestrator.core.events import Read
from orchestrator.live.telemetry import CATALOGUE, configure
from orchestrator.live.tidings import Tidings
from orchestrator.throttle import LINES_MAX, SPAN_S, WELL_S, Throttle, Troubles
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
    machine.step(1, [e.SessionOpened("n1"), Read(0, 1, Entry("", 0))])
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


def test_a_trouble_that_goes_on_is_said_seldom_with_the_tries_and_for_how_long() -> None:
    """Tried every five seconds for two hours: at once, after 1, 2, 4, 8 minutes, then each quarter of an hour. Another is said at
    once, and so is the first again after a session that lasted."""
    troubles = Troubles()
    said: list[tuple[float, dict[str, object]]] = []
    for now_s in range(0, 7_000, 5):
        shown: dict[str, object] = {}
        if troubles.admits(now_s, "nobody listens there", shown):
            said.append((now_s / 60, shown))
    assert [minute for minute, _ in said] == [0, 1, 3, 7, 15, 30, 45, 60, 75, 90, 105]
    assert said[0][1] == {}
    assert said[1][1] == {"tries": 13, "for_s": 60}
    assert troubles.silent
    assert troubles.admits(7_000, "a wrong password", {})
    assert not troubles.silent
    troubles.well(7_000)
    assert troubles.told(7_000)["tries"] == 1_401
    assert not troubles.admits(7_010, "nobody listens there", {}), "a session of ten seconds cures nothing"
    troubles.well(7_020)
    again: dict[str, object] = {}
    assert troubles.admits(7_020 + WELL_S, "nobody listens there", again)
    assert again == {}


class Jumping(asyncio.SelectorEventLoop):
    """A loop whose time is the test's."""

    now_s = 0.0

    def time(self) -> float:
        return self.now_s


def test_a_coordinator_that_comes_and_goes_for_hours_does_not_fill_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sessions end after nine seconds, by the same: of 2,880 lines in an hour some are left. One that lasts is told, with the
    tries that it took, and from then on all is said again."""
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    telemetry = configure("json", "info")
    loop = Jumping()

    async def hour() -> None:
        tidings = Tidings(telemetry)
        for session in range(360):
            tidings.tell(SessionOpened(session, "3.13"))
            for word in ("deaths_watched", "replaying", "standing_by", "claiming", "broker_blocked", "resigned"):
                telemetry.say(word, {})
            loop.now_s += 9
            tidings.tell(SessionEnded(session, Broken(BrokenBy.CLOSED, "coordinator", f"nothing read since {session}"), 1.0))
            loop.now_s += 1
        tidings.tell(SessionOpened(360, "3.13"))
        loop.now_s += 61
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        telemetry.say("replaying", {})

    loop.run_until_complete(hour())
    loop.close()
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line.get("tries") for line in lines if line["what"] == "session_ended"] == [None, 7, 19, 43, 91, 181, 271]
    assert len(lines) < 80
    assert [(line["what"], line.get("session"), line.get("tries")) for line in lines[-2:]] == [
        ("session_lasts", 360, 360),
        ("replaying", None, None),
    ]


def test_that_somebody_leads_no_more_is_said_whenever_it_was_said_that_he_led() -> None:
    """Among many short sessions, when the rest is not said: two coordinators that take turns would both seem to lead."""
    log = io.StringIO()
    with contextlib.redirect_stderr(log):
        telemetry = configure("json", "info")
        telemetry.silent = frozenset({"resigned", "session_lost", "claiming"})
        for what in ("claiming", "resigned", "leading", "resigned", "session_lost", "leading", "session_lost", "resigned"):
            telemetry.say(what, {})
    said = [json.loads(line)["what"] for line in log.getvalue().splitlines()]
    assert said == ["leading", "resigned", "leading", "session_lost"]


def test_that_the_session_of_one_who_leads_has_ended_is_said_whatever_has_been_said_of_that_trouble() -> None:
    """Of three that end by the same within seconds the second is the one that led."""
    log = io.StringIO()
    loop = Jumping()

    async def ends() -> None:
        telemetry = configure("json", "info")
        tidings = Tidings(telemetry)
        for session in range(3):
            tidings.tell(SessionOpened(session, "3.13"))
            if session == 1:
                telemetry.say("leading", {})
            tidings.tell(SessionEnded(session, Broken(BrokenBy.CLOSED, "coordinator", f"reset {session}"), 1.0))

    with contextlib.redirect_stderr(log):
        loop.run_until_complete(ends())
    loop.close()
    whys = [line["why"] for line in map(json.loads, log.getvalue().splitlines()) if line["what"] == "session_ended"]
    assert ["reset 0" in whys[0], "reset 1" in whys[1], len(whys)] == [True, True, 2]
