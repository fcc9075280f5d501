"""Clocks of others that are hours off: what was a task's wait or its deadline is still judged as it was meant."""

from __future__ import annotations

from orchestrator.core import commands as c
from orchestrator.core import events as e
from orchestrator.vocabulary import NS_PER_S, Attempt, Nanos
from orchestrator.wire.facts import Entry, Failed
from orchestrator.wire.messages import Assignment, Error, Note, Notes, Task
from tests.core.floor import Floor

HOURS_NS = 3 * 3600 * NS_PER_S


class Listening(Floor):
    """Remembers what agents are told to run."""

    def __init__(self) -> None:
        self.told: list[Assignment] = []
        super().__init__(lambda task, where: 1.0)

    def _answer(self, command: c.Command) -> list[e.Event]:
        if isinstance(command, c.Send):
            self.told += command.orders.assign
        return super()._answer(command)


def reads(floor: Floor, *facts: object) -> None:
    """From the ledger, by another writer."""
    floor.step(e.Read(next(floor.offsets), 500, Entry("other", 1, facts=list(facts))))  # type: ignore[arg-type]


def test_between_two_tries_it_waits_as_long_as_was_meant_whatever_the_clock_of_who_wrote_it() -> None:
    """A leader three hours ahead writes that a task may be tried again in two seconds, and dies. Its successor tries it then; who
    has failed again in a reign of the right time waits as ever."""
    floor = Floor(lambda task, where: 1.0)
    floor.submit(Task("t", "s.h"), Task("u", "s.h", start_ns=floor.now_ns + 60 * NS_PER_S))
    ahead_ns = floor.now_ns + HOURS_NS
    reads(floor, Failed("t", Attempt(1, 1), "error", Error("E", ""), ahead_ns, "i", 5, ahead_ns + 2 * NS_PER_S))
    record = floor.machine.desk.custody.live["t"]
    assert record.state == "deferred"
    assert floor.ask("why", task="t").value["reason"].startswith("it is not due for another 2.0 s")
    _passes(floor, 1)
    assert record.state == "deferred"
    _passes(floor, 1)
    assert record.state == "waiting"
    reads(floor, Failed("t", Attempt(1, 2), "error", Error("E", ""), floor.now_ns, "i", 5, floor.now_ns + 2 * NS_PER_S))
    assert record.not_before_ns == ahead_ns + 2 * NS_PER_S, "what the ledger says is not touched: every coordinator reads the same"
    assert floor.machine.desk.custody.live["u"].state == "deferred"
    _passes(floor, 2)
    assert record.state == "waiting"
    _passes(floor, 60)
    assert floor.machine.desk.custody.live["u"].state == "waiting"


def _passes(floor: Floor, seconds: Nanos) -> None:
    floor.now_ns += seconds * NS_PER_S
    floor.step(e.TimePassed())


def test_an_agent_whose_clock_is_ahead_ends_no_task_by_its_deadline() -> None:
    """It refuses what is not over. The task is offered again without a deadline, once, and runs; what is over ends as expired."""
    floor = Listening()
    floor.instance("i", slots=1.0)
    floor.submit(Task("t", "s.h", deadline_ns=floor.now_ns + HOURS_NS))
    (first,) = floor.told
    assert first.deadline_ns == floor.now_ns + HOURS_NS
    attempt = Attempt(floor.machine.desk.epoch, first.n)
    floor.step(e.Arrived(Notes("i", [Note("t", attempt, "refused", text="expired")]), ("note", 1)))
    second = floor.told[-1]
    assert (second.task, second.deadline_ns) == ("t", None)
    assert [one.what for one in floor.noted].count("hasty") == 1
    floor.run(5)
    assert floor.machine.desk.custody.graves["t"].outcome == "done"


def test_an_agent_that_finds_a_deadline_over_when_it_is_ends_the_task() -> None:
    """Nobody's clock is off."""
    floor = Listening()
    floor.instance("i", slots=1.0)
    floor.submit(Task("t", "s.h", deadline_ns=floor.now_ns + NS_PER_S))
    attempt = Attempt(floor.machine.desk.epoch, floor.told[0].n)
    floor.now_ns += 2 * NS_PER_S
    floor.step(e.Arrived(Notes("i", [Note("t", attempt, "refused", text="expired")]), ("note", 1)))
    assert floor.machine.desk.custody.graves["t"].outcome == "expired"
