"""Back-pressure: so many may be inside, the others wait their turn."""

from __future__ import annotations

import asyncio
from collections import deque


class Room:
    """A bounded number of places, first come first served. One event loop."""

    __slots__ = ("_free", "_size", "_waiting")

    def __init__(self, size: int) -> None:
        self._size = size
        self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def try_take(self, places: int) -> bool:
        """Take that many places if that is possible now. More than there are at all needs the whole room."""
        places = min(places, self._size)
        if self._waiting or self._free < places:
            return False
        self._free -= places
        return True

    async def take(self, places: int, timeout_s: float) -> None:
        """Take that many places, waiting for them. Raises TimeoutError."""
        if self.try_take(places):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((min(places, self._size), turn))
        try:
            async with asyncio.timeout(timeout_s):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled():  # the places came and the wait was cancelled in the same turn
                self.give(places)
            else:
                turn.cancel()
                self._admit()
            raise

    def give(self, places: int) -> None:
        """Give places back."""
        self._free += min(places, self._size)
        self._admit()

    def _admit(self) -> None:
        while self._waiting:
            places, turn = self._waiting[0]
            if turn.done():
                self._waiting.popleft()
            elif places <= self._free:
                self._waiting.popleft()
                self._free -= places
                turn.set_result(None)
            else:
                return
