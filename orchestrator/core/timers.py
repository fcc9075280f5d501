"""Everything that waits for a moment, in one heap.

Law: a timer is a hint to look again, never a decision: whoever is woken checks whether the reason still stands. So nothing
is ever cancelled; a timer whose reason is gone wakes up, finds that, and is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Literal, TypeAlias

from orchestrator.vocabulary import Nanos

Reason: TypeAlias = Literal["due", "deadline", "backstop", "fence", "lease", "tokens", "saved", "yield", "ripe", "early", "return"]
Timer: TypeAlias = tuple[Reason, str, int]
"""Reason, of whom (task, incarnation, limit or service), and the number of the attempt or meter where that matters."""


class Timers:
    """A heap of moments."""

    def __init__(self) -> None:
        self._heap: list[tuple[Nanos, int, Timer]] = []
        self._count = 0

    def at(self, when: Nanos, reason: Reason, whom: str, n: int = 0) -> None:
        """Look again at ``when``."""
        self._count += 1
        heappush(self._heap, (when, self._count, (reason, whom, n)))

    def __len__(self) -> int:
        return len(self._heap)

    def sweep(self, stands: Callable[[Timer], bool]) -> None:
        """Forget those whose reason is gone: a task that ended at once may have had a deadline in a hundred years."""
        self._heap = [one for one in self._heap if stands(one[2])]
        heapify(self._heap)

    def next(self) -> Nanos | None:
        """The earliest moment, if any."""
        return self._heap[0][0] if self._heap else None

    def due(self, now: Nanos) -> list[Timer]:
        """Those whose moment has come, in order."""
        woken: list[Timer] = []
        while self._heap and self._heap[0][0] <= now:
            woken.append(heappop(self._heap)[2])
        return woken
