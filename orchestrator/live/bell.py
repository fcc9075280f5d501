"""What the main loop sleeps on.

Law: nobody misses a ring. Whoever rings has put what it rings for where the sleeper looks before it lies down.
"""

from __future__ import annotations

import asyncio
from math import inf


class Bell:
    """Wakes the one that sleeps: when it is rung, or after a time.

    It is slept on at every message: so a sleep costs one future, and its timer stays for the next one, which seldom ends earlier.
    Whoever is woken by it too soon lies down again.
    """

    def __init__(self) -> None:
        self._sleeper: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = inf
        """When the timer rings, on the loop's clock."""

    def ring(self) -> None:
        """Wake the sleeper, if there is one."""
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)

    async def sleep(self, at_most_s: float | None) -> None:
        """Until it is rung, at most so long (None: however long it takes)."""
        loop = asyncio.get_running_loop()
        if at_most_s is not None and (due_s := loop.time() + max(0.0, at_most_s)) < self._due_s:
            if self._timer is not None:
                self._timer.cancel()
            self._due_s, self._timer = due_s, loop.call_at(due_s, self._time_is_up)
        self._sleeper = loop.create_future()
        try:
            await self._sleeper
        finally:
            self._sleeper = None

    def _time_is_up(self) -> None:
        self._due_s, self._timer = inf, None
        self.ring()
