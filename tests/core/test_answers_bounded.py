"""What is answered to people is short enough to be one message, however much handlers say."""

from __future__ import annotations

from orchestrator.core import events as e
from orchestrator.vocabulary import Attempt
from orchestrator.wire.codec import error
from orchestrator.wire.messages import Note, Notes, Report, Reports, Task
from tests.core.floor import Floor

TALE = "it began long ago, and " * 170


def test_in_a_list_what_a_handler_said_is_short_and_asked_for_alone_it_is_whole() -> None:
    """Thousands of rows are one message: 200 characters of each, of progress and of errors; who wants all asks for the one task."""
    floor = Floor(lambda task, where: 1_000.0)
    floor.instance("a", slots=1)
    floor.submit(Task("t1", "s.h"))
    attempt = Attempt(floor.machine.desk.epoch, 1)
    floor.step(e.Arrived(Notes("a", [Note("t1", attempt, "progress", text=TALE, fraction=0.5)])))
    (running,) = floor.ask("tasks").value
    assert 100 < len(running["progress_text"]) <= 200
    assert floor.ask("task", task="t1").value["progress_text"] == TALE
    floor.step(e.Arrived(Reports("a", [Report("t1", attempt, "failed", error=error("Boom", TALE), retry=False)]), "report"))
    (ended,) = floor.ask("tasks", state="ended").value
    assert 100 < len(ended["error"]["message"]) <= 200
    assert ended["error"]["message"].startswith("it began long ago")
    assert floor.ask("task", task="t1").value["error"]["message"] == TALE


def test_one_service_can_be_asked_for_alone() -> None:
    """Where all together would be too long to be told."""
    floor = Floor(lambda task, where: 1.0)
    floor.instance("a", "s", slots=1)
    floor.instance("b", "z", slots=1)
    assert [one["service"] for one in floor.ask("services").value] == ["s", "z"]
    assert [one["service"] for one in floor.ask("services", service="z").value] == ["z"]
    assert floor.ask("services", service="nobody").value == []
    wrong = floor.ask("services", service=7)
    assert wrong.error is not None
    assert wrong.error.kind == "bad_argument"
