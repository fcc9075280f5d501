"""Questions to the coordinator (tasks, why, cancel, drain …) on their way to an answer.

Law: pure, like ``core``. A question is said again when it is certain that nobody heard it (it came back: no
coordinator listens, or the queue is full), and when its session was lost, at most ``LOST_MOST`` times, since a
question can be the very thing that the broker ends sessions for. It is *not* said again merely because nobody
answers: a will like ``drain`` may have been heard, and whether to repeat it is the asker's to decide. Each question
gets exactly one of ``Reply`` and ``NoAnswer``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from orchestrator.client.events import (
    Answered,
    Asked,
    Blocked,
    Cause,
    Close,
    Command,
    Dropped,
    Ended,
    Event,
    NoAnswer,
    Opened,
    Problem,
    Published,
    Reply,
    Say,
    Unbound,
    Verdict,
)
from orchestrator.client.footing import Footing
from orchestrator.vocabulary import NS_PER_MS, Nanos
from orchestrator.wire.messages import Control

PAUSE_FIRST_NS = 50 * NS_PER_MS
PAUSE_MOST_NS = 500 * NS_PER_MS
"""Between two tries of a question that came back: a coordinator may be about to take over."""

LOST_MOST = 2


class _Open(Struct):
    """A question without an answer."""

    question: Control
    by: Nanos
    shard: str
    number: int = 0
    """The message with it that is under way; 0: none."""
    until: Nanos = 0
    pause: Nanos = 0
    said: bool = False
    """It lies confirmed with a coordinator."""
    doubt: bool = False
    losses: int = 0
    last: Cause = Cause.SILENT


class Questions:
    """``step`` and ``next_deadline`` as in ``core``. Numbers of messages are negative: the producer's are
    positive.
    """

    def __init__(self) -> None:
        self._footing = Footing()
        self._open: dict[str, _Open] = {}
        self._number = 0
        self._out: list[Command] = []
        self._handlers: dict[type[Any], Callable[[Nanos, Any], None]] = {
            Asked: self._asked,
            Dropped: self._dropped,
            Opened: self._opened,
            Unbound: self._unbound,
            Ended: self._ended,
            Blocked: self._blocked,
            Published: self._published,
            Answered: self._answered,
            Close: self._close,
        }

    def step(self, now: Nanos, event: Event) -> list[Command]:
        """Take one event in and say what to do, in that order."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(now, event)
        for each in [each for each in self._open.values() if each.by <= now]:
            self._give_up(each)
        if self._footing.firm:
            for each in self._open.values():
                if not each.number and not each.said and each.until <= now:
                    self._say(each)
        out, self._out = self._out, []
        return out

    def next_deadline(self) -> Nanos | None:
        """When a ``Tick`` is due; none if nothing waits for time to pass."""
        times = [each.by for each in self._open.values()]
        if self._footing.firm:
            times += [each.until for each in self._open.values() if not each.number and not each.said]
        return min(times, default=None)

    def _asked(self, now: Nanos, event: Asked) -> None:
        self._open[event.question.id] = _Open(event.question, event.by_ns, event.shard)

    def _dropped(self, now: Nanos, event: Dropped) -> None:
        self._open.pop(event.question, None)

    def _opened(self, now: Nanos, event: Opened) -> None:
        self._ground()
        self._footing.heed(event)

    def _unbound(self, now: Nanos, event: Unbound) -> None:
        self._ground()

    def _ended(self, now: Nanos, event: Ended) -> None:
        self._footing.heed(event)
        self._ground()

    def _blocked(self, now: Nanos, event: Blocked) -> None:
        self._footing.heed(event)

    def _published(self, now: Nanos, event: Published) -> None:
        each = next((each for each in self._open.values() if each.number == event.number), None)
        if each is None:
            return
        if event.verdict is Verdict.LOST:
            self._footing.stumble()
            self._ground()
            return
        each.number = 0
        if event.verdict is Verdict.CONFIRMED:
            each.said = True
            return
        each.last = Cause.UNROUTED if event.verdict is Verdict.RETURNED else Cause.BACKLOG_FULL
        each.pause = min(each.pause * 2 or PAUSE_FIRST_NS, PAUSE_MOST_NS)
        each.until = now + each.pause

    def _answered(self, now: Nanos, event: Answered) -> None:
        if self._open.pop(event.answer.id, None) is not None:
            self._out.append(Reply(event.answer))

    def _close(self, now: Nanos, event: Close) -> None:
        self._footing.heed(Ended(Cause.CLOSED))
        for each in list(self._open.values()):
            self._give_up(each)

    def _ground(self) -> None:
        """The reply queue is gone, or was not bound, so whoever was asked cannot answer: ask again."""
        for each in list(self._open.values()):
            if each.number or each.said:
                each.number, each.said, each.doubt = 0, False, True
                each.losses += 1
                if each.losses > LOST_MOST:
                    self._give_up(each)

    def _give_up(self, each: _Open) -> None:
        cause, detail = self._footing.trouble() or (Cause.SILENT if each.said or each.number else each.last, "")
        del self._open[each.question.id]
        self._out.append(NoAnswer(each.question.id, Problem(cause, detail, each.doubt or each.said or each.number != 0)))

    def _say(self, each: _Open) -> None:
        self._number -= 1
        each.number = self._number
        self._out.append(Say(each.number, each.question, each.by, each.shard))
