"""When to give up whom: submissions by the time at which somebody must have confirmed them; and when to ask again for a result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush

from orchestrator.client.lanes import Held
from orchestrator.vocabulary import NS_PER_MS, NS_PER_S, Nanos

GRAIN_NS = 10 * NS_PER_MS
"""Times of giving up are rounded up to this, so that a busy producer keeps few of them."""
ROUND_NS: Nanos = 60 * NS_PER_S
"""So often is looked who has no answer yet."""
ROUNDS_MOST = 4
"""Who has none after one whole round is asked for again, then after two, then after every four: well before a coordinator forgets
what has ended (``dedup_window_s``), after which it would run again."""


def grained(at: Nanos) -> Nanos:
    """When who is to be given up at ``at`` is given up."""
    return -(-at // GRAIN_NS) * GRAIN_NS


class Alarms:
    """Each is set at ``Held.by``."""

    __slots__ = ("_at", "_times")

    def __init__(self) -> None:
        self._at: dict[Nanos, dict[Held, None]] = {}
        self._times: list[Nanos] = []
        """Heap of the keys above."""

    def set(self, held: Held) -> None:
        """It must be confirmed by then."""
        waiting = self._at.get(held.by)
        if waiting is None:
            waiting = self._at[held.by] = {}
            heappush(self._times, held.by)
        waiting[held] = None

    def drop(self, held: Held) -> None:
        """Nobody need look at it any more."""
        if (waiting := self._at.get(held.by)) is not None:
            waiting.pop(held, None)

    def first(self) -> list[Nanos]:
        """The next time, if there is one."""
        while self._times and not self._at[self._times[0]]:
            del self._at[heappop(self._times)]
        return self._times[:1]

    def due(self, now: Nanos) -> Iterable[Held]:
        """Those whose time has come; their alarms are over."""
        while self._times and self._times[0] <= now:
            yield from self._at.pop(heappop(self._times))


class Rounds:
    """Of a producer that goes round among those who have no answer, for as long as there are any."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at: Nanos = 0
        """When the next one is due."""

    def begin(self, now: Nanos) -> None:
        """Somebody waits, where nobody did."""
        self.at = now + ROUND_NS

    def take(self, now: Nanos, waiting: Iterable[Held]) -> Iterator[Held]:
        """Go round, if it is time to; gives those whose turn it is to be asked for."""
        if now < self.at:
            return
        self.at = now + ROUND_NS
        for held in dict.fromkeys(waiting):  # once for each, of workflows too
            held.rounds += 1
            if held.rounds == 2 or held.rounds % ROUNDS_MOST == 0:
                yield held
