"""What is too quiet to be heard is not even said."""

from __future__ import annotations

import io
import sys
from collections import Counter

import pytest

from orchestrator.live.telemetry import CATALOGUE, configure
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
