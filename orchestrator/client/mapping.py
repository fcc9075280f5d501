"""``map``, its two ends: inputs, as they come, and the tasks whose values are handed out next.

Law: an input is read only when there is room for its task. Whoever waits for an input waits for a value too: a slow source keeps
nothing back, and one that needs an earlier value to go on gets it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any

from orchestrator.client.handle import Handle

Inputs = Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]]
"""The arguments of many calls, one mapping each."""


# --- values, in which order -------------------------------------------------------------------------------------------


class InOrder:
    """Handles, first in, first out."""

    def __init__(self) -> None:
        self._line: deque[Handle] = deque()

    def __len__(self) -> int:
        return len(self._line)

    def put(self, handle: Handle) -> None:
        """One more is submitted."""
        self._line.append(handle)

    def news(self) -> asyncio.Future[None] | None:
        """Done once the next one has ended; none: it has."""
        return None if self._line[0].done() else self._line[0].next_waiter()

    async def get(self) -> Handle:
        """The next one, maybe before its end."""
        return self._line.popleft()


class AsTheyCome:
    """Handles, as they end."""

    def __init__(self) -> None:
        self._open = 0
        self._ended: deque[Handle] = deque()
        self._news: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return self._open

    def put(self, handle: Handle) -> None:
        """One more is submitted."""
        self._open += 1
        handle.when_done(self._end)

    def _end(self, handle: Handle) -> None:
        self._ended.append(handle)
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def news(self) -> asyncio.Future[None] | None:
        """Done once one has ended; none: one has."""
        if self._ended:
            return None
        self._news = asyncio.get_running_loop().create_future()
        return self._news

    async def get(self) -> Handle:
        """The next one that has ended."""
        if (news := self.news()) is not None:
            await news
        self._open -= 1
        return self._ended.popleft()


# --- inputs -----------------------------------------------------------------------------------------------------------


class AtHand:
    """Inputs of a plain iterable."""

    def __init__(self, inputs: Iterable[Mapping[str, Any]]) -> None:
        self._inputs = iter(inputs)

    async def next(self, order: InOrder | AsTheyCome) -> Mapping[str, Any] | None:
        """The next input; none: there are no more."""
        return next(self._inputs, None)

    async def close(self) -> None:
        """Nothing is open."""


class Awaited:
    """Inputs that one has to wait for. All are read by one task, for what a source opens it must close in the same."""

    def __init__(self, inputs: AsyncIterable[Mapping[str, Any]]) -> None:
        self._wanted = asyncio.Event()
        self._came: asyncio.Future[Mapping[str, Any] | None] | None = None
        """The next input, once somebody wants it; none in it: there are no more."""
        self._over = False
        self._reader = asyncio.get_running_loop().create_task(self._read(inputs), name="orchestrator client: inputs of a map")

    async def next(self, order: InOrder | AsTheyCome) -> Mapping[str, Any] | None:
        """The next input; none: there are no more, or one of ``order`` ended before it came. Raises what the source raises."""
        if self._over:
            return None
        if self._came is None:
            self._came = asyncio.get_running_loop().create_future()
            self._wanted.set()
            await asyncio.sleep(0)  # a source that need not wait has it by then, and the window fills
        if not self._came.done():
            news = order.news() if len(order) else self._came
            if news is None:
                return None
            try:
                await asyncio.wait((self._came, news), return_when=asyncio.FIRST_COMPLETED)
            finally:
                if news is not self._came:
                    news.cancel()
            if not self._came.done():
                return None
        came, self._came = self._came, None
        args = came.result()
        self._over = args is None
        return args

    async def close(self) -> None:
        """Whoever iterates has left: the source is read no further."""
        self._reader.cancel()
        await asyncio.wait((self._reader,))
        if self._came is not None and self._came.done() and not self._came.cancelled():
            self._came.exception()  # nobody is left to hear it

    async def _read(self, inputs: AsyncIterable[Mapping[str, Any]]) -> None:
        try:
            await self._wanted.wait()
            async for args in inputs:
                self._wanted.clear()
                self._tell(args)
                await self._wanted.wait()
            self._tell(None)
        except Exception as fault:  # the source's: whoever iterates hears it
            if self._came is not None and not self._came.done():
                self._came.set_exception(fault)
        finally:
            if self._came is not None:  # a source that was cancelled
                self._came.cancel()

    def _tell(self, args: Mapping[str, Any] | None) -> None:
        if self._came is not None and not self._came.done():
            self._came.set_result(args)


def reader(inputs: Inputs) -> AtHand | Awaited:
    """What reads these."""
    return Awaited(inputs) if isinstance(inputs, AsyncIterable) else AtHand(inputs)
