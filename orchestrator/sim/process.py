"""A process: events gather in its inbox, and one step takes all that came meanwhile, as in the real shells.

Law: a paused process (SIGSTOP) does nothing, and its clock goes on; a dead one is forgotten with all it knew. Whatever was asked
for by a former life does not reach the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestrator.sim.network import Host
from orchestrator.sim.surroundings import Surroundings
from orchestrator.sim.timeline import Alarm, dice
from orchestrator.vocabulary import NS_PER_MS, Nanos

AT_ONCE_MAX = 3


class Process:
    """A machine with a mailbox, an alarm clock and a host. Subclasses say what a step is."""

    def __init__(self, name: str, around: Surroundings) -> None:
        self.name = name
        self.seed = around.seed
        self.timeline = around.timeline
        self.faults = around.faults
        self.journal = around.journal
        self.broker = around.broker
        self.laws = around.laws
        self.host = Host(name, self.seed)
        self.chance = dice(self.seed, "process", name)
        self.alive = False
        self.died: Callable[[], None] = lambda: None
        """Whoever starts it again is told here."""
        self.lives = 0
        self._at_once = 0
        self._inbox: list[Any] = []
        self._soon: Alarm | None = None
        self._wake: Alarm | None = None

    # --- to be said by subclasses -----------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The process starts, knowing nothing."""
        raise NotImplementedError

    def step(self, events: list[Any]) -> None:
        """Take events, do what follows."""
        raise NotImplementedError

    def next_deadline(self) -> Nanos | None:
        """When to step even if nothing happens, on the timeline."""
        raise NotImplementedError

    def end(self) -> None:
        """The process has died: connections end."""
        raise NotImplementedError

    def thaw(self) -> None:
        """It goes on after a pause; called before anything else happens in it."""

    # --- living -----------------------------------------------------------------------------------------------------------

    def say(self, what: str, *things: Any) -> None:
        """Write it into the journal."""
        self.journal.say(self.timeline.now_ns, self.name, what, *things)

    def start(self) -> None:
        """The process starts."""
        if not self.alive:
            self.alive = True
            self.lives += 1
            self.say("starts")
            self.begin()
            self._sleep()

    def kill(self) -> None:
        """The process dies (SIGKILL)."""
        if not self.alive:
            return
        self.say("dies")
        self.alive = False
        self._inbox.clear()
        for alarm in (self._soon, self._wake):
            if alarm is not None:
                alarm.put_off()
        self._soon = self._wake = None
        self.host.paused = False
        self.end()
        self.died()

    def pause(self) -> None:
        """SIGSTOP."""
        if self.alive and not self.host.paused:
            self.say("is paused")
            self.host.paused = True

    def resume(self) -> None:
        """SIGCONT."""
        if self.host.paused:
            self.say("goes on")
            self.host.paused = False
            if self.alive:
                self.thaw()
                self._step_soon()

    def post(self, event: Any) -> None:
        """Something for its next step."""
        if self.alive:
            self._inbox.append(event)
            self._step_soon()

    def drop_inbox(self) -> None:
        """What came is void."""
        self._inbox.clear()

    def restless(self, due_ns: Nanos | None) -> None:
        """A machine may want one more step at once, but not for ever."""
        self._at_once = self._at_once + 1 if due_ns is not None and due_ns <= self.timeline.now_ns else 0
        if self._at_once > AT_ONCE_MAX:
            raise AssertionError(f"{self.name} came to rest {AT_ONCE_MAX} times and wants to be woken at once")

    def _step_soon(self) -> None:
        if self._soon is None and not self.host.paused:
            self._soon = self.timeline.after(round(NS_PER_MS * 0.05 * self.chance.random()), self._turn)

    def _turn(self) -> None:
        self._soon = None
        if self.host.paused or not self.alive:
            return
        events, self._inbox = self._inbox, []
        self.step(events)
        self._sleep()

    def _sleep(self) -> None:
        if self._wake is not None:
            self._wake.put_off()
            self._wake = None
        due_ns = self.next_deadline() if self.alive else None
        if due_ns is not None:
            self._wake = self.timeline.at(due_ns, self._step_soon)
