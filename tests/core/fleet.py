"""A fleet in virtual time: the coordinator's core, a ledger that reads back at once, instances whose attempts run for as long as
the test says. After every step the invariants hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from random import Random

from orchestrator.core import commands as c
from orchestrator.core import events as e
from orchestrator.core import invariants
from orchestrator.core.config import Config
from orchestrator.core.coordinator import Coordinator
from orchestrator.vocabulary import NS_PER_S, Attempt, Nanos
from orchestrator.wire.facts import Entry
from orchestrator.wire.messages import (
    Announce,
    Assignment,
    Checkpoint,
    Handler,
    Held,
    Note,
    Notes,
    Orders,
    Report,
    Reports,
    Stop,
    Submit,
    Task,
)
from tests.core.tail import Tail

START_NS = 1_000 * NS_PER_S


@dataclass(slots=True)
class Run:
    """An attempt, as the world knows it."""

    task: str
    attempt: Attempt
    where: str
    began_ns: Nanos
    before_ns: Nanos
    """Run time that its checkpoint saved."""
    ended_ns: Nanos | None = None


class Fleet:
    """``lasts``: how long a task runs in truth, in ns, from its very start."""

    def __init__(self, lasts: Callable[[str], Nanos], policies: dict[str, str], config: Config | None = None) -> None:
        self.machine = Coordinator("c1", config or Config(estimates="trust"), Random(1), policies)
        self.lasts = lasts
        self.now_ns = START_NS
        self.runs: dict[Attempt, Run] = {}
        self.started: dict[str, list[Run]] = {}
        self.done: dict[str, Nanos] = {}
        self.looked: Callable[[], None] = lambda: None
        """Called after every step."""
        self.slow: dict[str, float] = {}
        """Instances that take so many times longer."""
        self.deaf = False
        """Nobody heeds a request to make room."""
        self._offsets, self._tail = count(), Tail()
        self._numbers = count(1)
        self._due: list[tuple[Nanos, int, Callable[[], list[e.Event]]]] = []
        self.step(e.SessionOpened("n1"))
        self.step(e.TokenHeld())

    # --- what the test does ---------------------------------------------------------------------------------------------

    def instance(self, name: str, handlers: list[Handler], capacity: dict[str, float]) -> None:
        """One more, ready at once."""
        self.step(e.Arrived(Announce(name, name, "s", handlers, capacity)))
        self.step(e.Arrived(Held(name, 1, self.machine.desk.epoch, 1)))

    def submit(self, *tasks: Task) -> None:
        """They come now."""
        self.step(e.Arrived(Submit(list(tasks)), next(self._numbers), "p"))

    def at(self, when_ns: Nanos, act: Callable[[], list[e.Event]]) -> None:
        """What happens later."""
        heappush(self._due, (when_ns, next(self._numbers), act))

    def run(self, until_ns: Nanos | None = None, most: int = 100_000) -> None:
        """Until nothing is left to happen, or until then."""
        for _ in range(most):
            wakes = self.machine.next_deadline()
            due = self._due[0][0] if self._due else None
            if due is None and (until_ns is None or wakes is None):
                return
            then = min(one for one in (due, wakes) if one is not None)
            if until_ns is not None and then > until_ns:
                self.now_ns = until_ns
                return
            self.now_ns = max(self.now_ns, then)
            if due is not None and due <= self.now_ns:
                self.step(*heappop(self._due)[2]())
            else:
                self.step()
        raise AssertionError("it does not come to an end")

    def step(self, *events: e.Event) -> None:
        """One turn, and all that follows from it at this instant."""
        todo = self._tail(events)
        while True:
            commands = self.machine.step(self.now_ns, todo)
            invariants.check(self.machine.desk)
            todo = self._tail(event for command in commands for event in self._answer(command))
            self.looked()
            if not todo:
                return

    # --- the world ------------------------------------------------------------------------------------------------------

    def _answer(self, command: c.Command) -> list[e.Event]:
        match command:
            case c.Append(entry=entry):
                assert isinstance(entry, Entry)
                return [e.Read(next(self._offsets), 100 + 200 * len(entry.facts), entry)]
            case c.SendResults(token=token) | c.Bury(token=token):
                return [e.Sent(token)]
            case c.Lead(mark=mark):
                return [e.Arrived(Reports(mark), "mark")]
            case c.Send(orders=orders):
                return self._ordered(orders)
        return []

    def _ordered(self, orders: Orders) -> list[e.Event]:
        notes = [self._begin(orders, item) for item in orders.assign]
        said: list[e.Event] = [e.Arrived(Notes(orders.incarnation, notes, orders.seq))] if notes else []
        for stop in orders.stop:
            said += self._stopped(orders, stop)
        return said

    def _begin(self, orders: Orders, item: Assignment) -> Note:
        attempt = Attempt(orders.epoch, item.n)
        run = self.runs[attempt] = Run(item.task, attempt, orders.incarnation, self.now_ns, item.ran_ns)
        self.started.setdefault(item.task, []).append(run)
        takes = (self.lasts(item.task) - item.ran_ns) * self.slow.get(orders.incarnation, 1.0)
        self.at(self.now_ns + round(takes), lambda: self._ends(run))
        return Note(item.task, attempt, "started")

    def _ends(self, run: Run) -> list[e.Event]:
        if run.ended_ns is not None:
            return []
        run.ended_ns = self.done[run.task] = self.now_ns
        report = Report(run.task, run.attempt, "done", b"\x01", started_ns=run.began_ns, ended_ns=self.now_ns)
        return [e.Arrived(Reports(run.where, [report]), next(self._numbers))]

    def _stopped(self, orders: Orders, stop: Stop) -> list[e.Event]:
        run = self.runs[stop.attempt]
        if run.ended_ns is not None or (self.deaf and stop.preempt):
            return []
        run.ended_ns = self.now_ns
        ran_ns = run.before_ns + self.now_ns - run.began_ns
        saved = Checkpoint(run.task, run.attempt, b"so far", 1, ran_ns)
        return [
            e.Arrived(Notes(run.where, [Note(run.task, run.attempt, "stopped", saved=1)], orders.seq)),
            e.Arrived(Reports(run.where, checkpoints=[saved]), next(self._numbers)),
        ]
