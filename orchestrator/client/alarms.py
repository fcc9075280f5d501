"""When to give up whom: submissions by the time at which somebody must have confirmed them."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush

from orchestrator.client.lanes import Held
from orchestrator.vocabulary import NS_PER_MS, Nanos

GRAIN_NS = 10 * NS_PER_MS
"""Times of giving up are rounded up to this, so that a busy producer keeps few of them."""


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
