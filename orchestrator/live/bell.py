"""What the main loop sleeps on.

Law: nobody misses a ring. Whoever rings has put what it rings for where the sleeper looks before it lies down.
"""

from __future__ import annotations

import asyncio


class Bell:
    """Wakes the one that sleeps: when it is rung, or after a time. One future a sleep, since it is slept on at every message."""

    def __init__(self) -> None:
        self._sleeper: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """Wake the sleeper, if there is one."""
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)

    async def sleep(self, at_most_s: float | None) -> None:
        """Until it is rung, at most so long (None: however long it takes)."""
        loop = asyncio.get_running_loop()
        self._sleeper = loop.create_future()
        timer = None if at_most_s is None else loop.call_later(max(0.0, at_most_s), self.ring)
        try:
            await self._sleeper
        finally:
            self._sleeper = None
            if timer is not None:
                timer.cancel()
