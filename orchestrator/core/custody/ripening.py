"""Deliveries that are settled a while after they are safe: where the ledger's disk may lose what was written last.

A stream is not synced to disk when it confirms. On a single node a power cut takes what the operating system had not written yet:
the end of the ledger, and with it what was accepted last. The queues of submissions and reports are synced. So what came from there
is kept unsettled until the ledger must be on disk; if its end is lost, they are delivered again.
"""

from __future__ import annotations

from collections import deque

from msgspec import Struct

from orchestrator.core.events import Handle
from orchestrator.vocabulary import Nanos


class Late(Struct, frozen=True):
    """A delivery that is not settled at once."""

    handle: Handle


class Ripening:
    """Those whose facts are committed, in the order in which they may be settled."""

    def __init__(self, after_ns: Nanos) -> None:
        self._after_ns = after_ns
        self.reports_first = False
        """What is delivered again may have ended, and its report be among those that earlier leaders left: read these before."""
        self._waiting: deque[tuple[Nanos, Handle]] = deque()

    def begin(self) -> None:
        """A reign begins."""
        self.reports_first = self._after_ns > 0

    def late(self, handle: Handle) -> Handle:
        """This delivery, if need be as one that is settled late."""
        return Late(handle) if self._after_ns and handle is not None else handle

    def put(self, now: Nanos, late: Late) -> None:
        """What it brought is committed."""
        self._waiting.append((now + self._after_ns, late.handle))

    def ripe(self, now: Nanos) -> list[Handle]:
        """Those that may be settled by now."""
        found = []
        while self._waiting and self._waiting[0][0] <= now:
            found.append(self._waiting.popleft()[1])
        return found

    @property
    def due_ns(self) -> Nanos | None:
        """When to look again: a little after the first is ripe, so that they are settled in lots. None: there is none."""
        return self._waiting[0][0] + self._after_ns // 32 if self._waiting else None

    def clear(self) -> None:
        """The session is over: their handles are void, they are delivered again."""
        self._waiting.clear()
