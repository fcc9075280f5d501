"""The agent's mind: ``step(now_ns, *events) -> commands``.

Law: nothing of the world in here. Time comes as integer nanoseconds of a clock that counts suspended time and
never goes back (CLOCK_BOOTTIME); dice come as a seeded ``Random``; everything else comes as an event and leaves
as a command. So the same machine runs live and in a simulator, and a step can be replayed.

One step takes all events of one loop turn, in order:

1. the window: if it was missed the incarnation is over, and nothing that came in the same step from the
   coordinator is handled;
2. the events;
3. what follows: timeouts, attempts that start, a drain that goes on, a beat, and at most *one* message of
   reports and one of notes.

What is decided where: the rules of custody in ``rules``; which state may follow which in ``lifecycle``;
attempts in ``work``; whom to obey and what to say in ``incarnation``; what leaves when in ``outbox``; here,
that incarnations follow each other and end.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from orchestrator.vocabulary import Nanos
from orchestrator.wire.messages import Leave
from workers.core import rules
from workers.core.commands import CloseConnection, Command, Connect, Finish, Publish, Word
from workers.core.drain import Drain
from workers.core.events import (
    Connected,
    Disconnected,
    DrainAsked,
    Echoed,
    Event,
    Flushed,
    Ordered,
    QuitAsked,
    TimePassed,
    WallClock,
)
from workers.core.incarnation import Former, Incarnation
from workers.core.lifecycle import Impossible, Phase, phase_step
from workers.core.out import Out
from workers.core.profile import Limits, Profile
from workers.core.work import Work

_DOUBLINGS_MAX = 16


class Agent:
    """One agent process: incarnations after each other, one set of unreleased reports."""

    def __init__(self, profile: Profile, random: Random, limits: Limits | None = None) -> None:
        self.profile = profile
        self.limits = limits or Limits()
        self._random = random
        self._out = Out()
        self.phase: Phase = "offline"
        self.work = Work(profile, self.limits, self._out)
        self.incarnation: Incarnation | None = None
        """Set while announcing or serving."""
        self.drain: Drain | None = None
        self.highest_epoch = 0
        """Ever obeyed by this process."""
        self._last_name = ""
        self._former = Former()
        self._now_ns: Nanos = 0
        self._connect_ns: Nanos = 0
        """When to connect, or when that was begun."""
        self._answer_by_ns: Nanos = 0
        """Until when one that announces itself waits for a coordinator."""
        self._failures = 0
        """Connections lost or not got since the last sync."""
        self._unanswered = 0
        """Incarnations in a row that no coordinator has answered."""
        self._told_still_stopping = False
        self._heeds: dict[type[Any], Callable[[Nanos, Any], None]] = {
            Ordered: self._ordered,
            Echoed: self._echoed,
            Flushed: self._flushed,
            Connected: self._connected,
            Disconnected: self._disconnected,
            DrainAsked: self._drain_asked,
            QuitAsked: self._quit,
            WallClock: self._wall_clock,
            TimePassed: self._ignore,
        }
        """Who takes which event; all others are words about jobs."""

    # --- the door ---------------------------------------------------------------------------------

    def step(self, now_ns: Nanos, *events: Event) -> list[Command]:
        """Take time and events, return what is to be done, in order. Nothing that a peer said makes it raise.

        Raises ``Impossible`` for a step that only a bug of ours can make; ``ValueError`` for a clock that went back.
        """
        if now_ns < self._now_ns:
            raise ValueError(f"the clock went back from {self._now_ns} ns to {now_ns} ns")
        self._now_ns = now_ns
        if self.phase != "finished":
            self._heed_window(now_ns)
            for event in events:
                self._heeds.get(type(event), self.work.job_event)(now_ns, event)
            self._follow_up(now_ns)
        return self._out.take()

    def next_deadline(self) -> Nanos | None:
        """When ``step`` must be called next even if nothing happens.

        None: never (it is over, or an answer is awaited).
        """
        if self.phase in ("finished", "leaving"):
            return None
        due_ns = self.work.holdings.next_timeout_ns()
        if self.incarnation is not None:
            due_ns = _sooner(due_ns, self.incarnation.deadline_ns())
            due_ns = _sooner(due_ns, self._answer_by_ns if self.phase == "announcing" else None)
        elif self.phase == "offline" and rules.may_connect(len(self.work.holdings)):
            due_ns = _sooner(due_ns, self._connect_ns)
        if self.drain is not None and self.phase != "fenced":
            due_ns = _sooner(due_ns, self.drain.deadline_ns(idle=not len(self.work.holdings)))
        return due_ns

    @property
    def awaits_flush(self) -> bool:
        """Whether anything waits for the word that what is under way has arrived; else there is time until its next step."""
        return self.drain is not None or self.work.outbox.waits

    @property
    def permit(self) -> tuple[str, Nanos]:
        """The incarnation, and until when the job runner may call handlers that were started in it (0: not at all).

        R6 for the way between a command and the call: the job runner looks at it *immediately before* each call.
        """
        if self.incarnation is None:
            return "", 0
        return self.incarnation.name, self.incarnation.permit_until_ns()

    # --- events -----------------------------------------------------------------------------------

    def _ignore(self, now_ns: Nanos, event: TimePassed) -> None: ...

    def _wall_clock(self, now_ns: Nanos, event: WallClock) -> None:
        self.work.unix_offset_ns = event.unix_ns - now_ns

    def _echoed(self, now_ns: Nanos, event: Echoed) -> None:
        if self.incarnation is not None:
            self.incarnation.echoed(event.echo)

    def _flushed(self, now_ns: Nanos, event: Flushed) -> None:
        if unsent := self.work.outbox.flushed(event.token, event.ok, now_ns):
            self._out.tell("reports_unsent", unsent)

    def _ordered(self, now_ns: Nanos, event: Ordered) -> None:
        mine = self.incarnation
        if mine is None or event.orders.incarnation != mine.name:
            return
        if mine.ordered(now_ns, event.orders, draining=self.drain is not None):
            self._drain(now_ns, self.limits.grace_ns, "the coordinator ordered it")
        if mine.epoch and self.phase == "announcing":
            self._to("serving")
            self._failures = self._unanswered = 0
        self.highest_epoch = mine.highest_epoch

    def _connected(self, now_ns: Nanos, event: Connected) -> None:
        if self.phase in ("leaving", "finished"):
            return  # we changed our mind while it was being opened
        name = event.incarnation
        if not name or name == self._last_name:
            raise Impossible(f"the incarnation's name {name!r} is not new")
        self._to("announcing")
        self._last_name = name
        self.incarnation = Incarnation(
            name, self.highest_epoch, now_ns, self.profile, self.limits, self._random, self.work, self._out, self._former.names
        )
        patience_ns = max(self.limits.answer_ns << min(self._unanswered, _DOUBLINGS_MAX), now_ns - self._connect_ns)
        self._answer_by_ns = now_ns + min(patience_ns, self.limits.answer_max_ns)  # far away, opening took long, and so do answers

    def _disconnected(self, now_ns: Nanos, event: Disconnected) -> None:
        if self.phase in ("offline", "finished"):
            return
        if self.phase == "leaving":
            self._finish("drained")
            return
        if self.incarnation is not None:
            self._out.tell("cut_off", self._end_incarnation(event.reason), event.reason)
        self._to("offline")
        self._told_still_stopping = False
        self._connect_ns = now_ns + self._backoff()

    # --- the end of an incarnation ----------------------------------------------------------------

    def _heed_window(self, now_ns: Nanos) -> None:
        """R6: before anything else of a step."""
        if self.incarnation is not None and self.incarnation.missed(now_ns):
            self._fence("window_missed", "the window was missed")
        elif self.phase == "announcing" and now_ns >= self._answer_by_ns:
            # Perhaps nobody coordinates; or we do not hear, for a broker's node that fails may take a queue away and tell nobody.
            self._unanswered += 1
            self._fence("unanswered", "no coordinator has answered")

    def _fence(self, word: Word, reason: str) -> None:
        self._out.tell(word, self._end_incarnation(reason))
        self._to("fenced")
        self._out.do(CloseConnection(reason))

    def _end_incarnation(self, reason: str) -> int:
        """R5: what is unfinished is stopped and never spoken of; reports are kept. Returns how many were unfinished."""
        if self.incarnation is not None:
            self._former.was(self.incarnation.name, served=self.incarnation.epoch > 0)
        self.incarnation = None
        self.work.outbox.incarnation_ended()
        return self.work.abandon(reason)

    def _backoff(self) -> Nanos:
        whole_ns = min(self.limits.reconnect_ns << min(self._failures, _DOUBLINGS_MAX), self.limits.reconnect_max_ns)
        self._failures += 1
        return round(whole_ns * (0.5 + self._random.random() / 2))

    # --- what follows -----------------------------------------------------------------------------

    def _follow_up(self, now_ns: Nanos) -> None:
        self.work.heed_timeouts(now_ns)
        if self.drain is not None:
            self._go_on_draining(now_ns, self.drain)
        elif self.incarnation is not None:
            self.work.start(now_ns, self.incarnation.window, self.incarnation.epoch)
        if self.phase == "offline" and now_ns >= self._connect_ns:
            self._come_back()
        if self.incarnation is not None:
            self.incarnation.speak(now_ns, draining=self.drain is not None)

    def _come_back(self) -> None:
        """R5: not before nothing of the former incarnation runs."""
        unfinished = len(self.work.holdings)
        if rules.may_connect(unfinished):
            self._to("connecting")
            self._connect_ns = self._now_ns
            self._out.do(Connect())
        elif not self._told_still_stopping:
            self._told_still_stopping = True
            self._out.tell("still_stopping", unfinished)

    # --- leaving ----------------------------------------------------------------------------------

    def _drain_asked(self, now_ns: Nanos, event: DrainAsked) -> None:
        self._drain(now_ns, event.grace_ns, event.reason)

    def _drain(self, now_ns: Nanos, grace_ns: Nanos, reason: str) -> None:
        if self.drain is not None:
            self.drain.shorten(now_ns, grace_ns)
            return
        self.drain = Drain(now_ns, grace_ns, self.limits)
        if self.incarnation is not None:
            self.incarnation.beat_ns = now_ns  # the coordinator shall know at once
        self._out.tell("draining", self.work.hand_back(), reason)

    def _go_on_draining(self, now_ns: Nanos, drain: Drain) -> None:
        self.work.hand_back()
        unfinished = len(self.work.holdings)
        verdict = drain.verdict(now_ns, unfinished, quiet=self.work.outbox.quiet)
        if verdict == "soft":
            self.work.stop_all(now_ns, hard=False)
        elif verdict == "hard":
            self._out.tell("grace_over", unfinished)
            self.work.stop_all(now_ns, hard=True)
        elif verdict == "leave":
            self._leave(unfinished)

    def _leave(self, unfinished: int) -> None:
        if self.phase == "offline":
            self._finish("drained")
        elif self.phase in ("connecting", "announcing", "serving"):
            if self.incarnation is not None and not unfinished:
                self._out.do(Publish(Leave(self.incarnation.name, "drained")))
            self._end_incarnation("drained")
            self._to("leaving")
            self._out.do(CloseConnection("drained"))

    def _quit(self, now_ns: Nanos, event: QuitAsked) -> None:
        if self.phase == "finished":
            return  # it came to its end in this very step
        self._end_incarnation("told to end at once")
        if self.phase in ("connecting", "announcing", "serving"):
            self._out.do(CloseConnection("told to end at once"))
        self._finish("told to end at once")

    def _finish(self, reason: str) -> None:
        if self.work.outbox.kept:
            self._out.tell("reports_left", len(self.work.outbox.kept))
        self._to("finished")
        self._out.do(Finish(reason))

    def _to(self, phase: Phase) -> None:
        story = f"incarnation {self._last_name or 'none'}, epoch {self.highest_epoch}"
        self.phase = phase_step(self.phase, phase, story)


def _sooner(one_ns: Nanos | None, other_ns: Nanos | None) -> Nanos | None:
    """The earlier of two moments, where there are any."""
    if one_ns is None or other_ns is None:
        return other_ns if one_ns is None else one_ns
    return one_ns if one_ns < other_ns else other_ns
