"""The coordinator: the real core, a ledger that reads everything back at once, and a broker that loses nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.core import commands as c
from orchestrator.core import events as e
from orchestrator.core.coordinator import Coordinator
from orchestrator.core.registry.registry import QUEUE_PREFIX
from orchestrator.sim.timeline import Alarm, dice
from orchestrator.sim.whatif.question import FOREVER_NS
from orchestrator.wire.facts import Ended
from orchestrator.wire.messages import Reports

if TYPE_CHECKING:
    from orchestrator.sim.whatif.world import World

LATER = e.TimePassed()


class Leader:
    """The only one."""

    def __init__(self, world: World) -> None:
        self.world = world
        question = world.question
        self.machine = Coordinator(
            "whatif", question.config, dice(question.seed, "coordinator"), question.policies, question.catalogue
        )
        self.inbox: list[e.Event] = [e.SessionOpened("whatif"), e.TokenHeld()]
        self.submitted: list[e.Event] = []
        """Submissions of this moment: a step ahead of the rest, so that they are in the ledger when slots become free in it."""
        self._offset = 0
        self._wake: Alarm | None = None
        self._wake_ns = FOREVER_NS

    def hear(self, event: e.Event) -> None:
        """Something for its next step, in this moment."""
        self.inbox.append(event)

    def submit(self, event: e.Event) -> None:
        """A submission, for a step of its own."""
        self.submitted.append(event)

    def step(self) -> None:
        """Take what came, do what follows."""
        world = self.world
        if self.submitted:
            events, self.submitted = self.submitted, []
        else:
            events, self.inbox = self.inbox, []
        for command in self.machine.step(world.now_ns, events):
            kind = type(command)
            if kind is c.Append:
                self._append(command)  # type: ignore[arg-type]
            elif kind is c.Send:
                world.to_machine(command.queue.removeprefix(QUEUE_PREFIX), command.orders)  # type: ignore[union-attr]
            elif kind is c.Lead:
                self.inbox.append(e.Arrived(Reports(command.mark), "mark"))  # type: ignore[union-attr]
            elif kind is c.Bury:
                self.inbox.append(e.Sent(command.token))  # type: ignore[union-attr]
            elif kind is c.Resign:
                raise AssertionError(f"the only leader resigns: {command}")

    def _append(self, command: c.Append) -> None:
        entry = command.entry
        for fact in entry.facts:
            if type(fact) is Ended:
                self.world.books.ended(fact.task, fact.outcome, self.world.trace_ns)
        self.inbox.insert(0, e.Read(self._offset, 0, entry))
        self._offset += 1

    def sleep(self) -> None:
        """A moment is over: be woken when time alone may change its mind. Woken too early, it looks and sleeps again."""
        due_ns = self.machine.next_deadline()
        if due_ns is None or due_ns >= min(self._wake_ns, self.world.horizon_ns):
            return
        if self._wake is not None:
            self._wake.put_off()
        self._wake_ns = due_ns
        self._wake = self.world.timeline.at(due_ns, self._woken)

    def _woken(self) -> None:
        self._wake, self._wake_ns = None, FOREVER_NS
        self.inbox.append(LATER)
