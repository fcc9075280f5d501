"""The ledger as a stream: append, and read again from any place.

Law: a reader gets every message from the offset it asked for, in order, once; where messages are missing it is told
which, before the next one. It never skips in silence.

What a stream does that a queue does not, and what is made of it here (each seen on a real broker, see the tests):

* Messages travel in chunks. A reader that attaches somewhere gets the whole chunk; what is below the place asked for is
  left out. ``last`` attaches at the beginning of the newest chunk.
* Offsets grow, but not by one: at the beginning of each segment but the first the stream writes a note of its own, which
  takes an offset and is never delivered. So a single missing offset is no loss.
* The old end is cut off by whole segments. A reader that asks for an offset that is gone gets the first that is left,
  without a word: that is a ``Gap``. Since a note stands between two segments, a loss always misses two offsets or more.
* A reader that asks for an offset beyond the end gets *nothing until that offset is reached*, without a word. After the
  stream was made anew (offsets begin again at 0) or a power cut took its tail, such a reader would miss all of it. So
  the end is looked at first: ``LedgerRewound``. (A stream made anew that has already grown past the offset cannot be
  told from the old one by offsets; what its messages say must tell.)
* A reader is given the replica of the node that it is connected to, and that one lags while its node is cut off or has
  just started: it ends early, and nothing is lost. So whoever finds the end too early waits as long as it grows.
* How many messages a stream holds is not known while it matters: the broker's count lags by seconds and may say 0.
* A consumer whose channel ends without ``basic.cancel``, because it or its connection is closed or dies, stays in RabbitMQ's
  list of consumers until that is swept, every two minutes (seen on 3.10: eighteen that were none). Nothing reads for it
  and nothing is held: a row, for people to wonder at. So whoever looks now and then cancels first.
* Acknowledging only asks for more. It costs a write here and a wake-up of the broker, as much as a tenth of a lone message's
  way, so it is done for hundreds together, and once a second if fewer come; nothing is left open for long: after
  ``consumer_timeout`` the broker would close the channel over a message left open in a quiet stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from orchestrator.amqp import topology
from orchestrator.amqp.consumer import PREFETCH_MAX, Consumer
from orchestrator.amqp.delivery import Delivery, Published
from orchestrator.amqp.errors import LedgerRewound, LinkLost
from orchestrator.amqp.link import Link, Role

Place: TypeAlias = int | datetime | Literal["first", "last", "next"]

ENTRY_BYTES = 230
"""What the stream keeps of a message beside its body: envelope, and the head of its chunk, which it may have to itself (measured:
225 then, 138 among others). Of short messages that is most of what they take."""
PREFETCH = 1_000
"""Enough open messages to keep the broker reading while we decode; few enough that 30 kB each are no burden."""
SETTLED_TOGETHER = 4
"""A share of the prefetch, one in so many, is acknowledged at once when it has come: there is room for the others meanwhile."""
SETTLE_AFTER_S = 1.0
"""What is less waits so long to be acknowledged."""
LAGS_S = 2.0
"""A replica that has not grown for so long does not lag: the stream ends there. (Whoever remembers a lost ledger must say so before
the others' patience is over, some 5 s.)"""
LAGS_MAX_S = 60.0
"""Nor is one waited for longer, though it grows: who reads so late is of no use as a standby, and begins anew."""


@dataclass(frozen=True, slots=True)
class Gap:
    """What was between is gone for ever: ``expected`` should have come, ``found`` comes next."""

    expected: int
    found: int

    def __str__(self) -> str:
        return (
            f"The ledger's offsets {self.expected} to {self.found - 1} are gone: its size limit cut them off. What only "
            "they told is lost to this reader. Raise the ledger's limit if this happens to a coordinator that was running."
        )


class LedgerTail:
    """Reads and appends over one link."""

    def __init__(self, link: Link, *, queue: str = topology.LEDGER) -> None:
        self._link = link
        self._queue = queue
        self.end = 0
        """The offset behind the last message, when last looked at; 0: there was none."""

    def append(self, body: bytes) -> asyncio.Future[Published]:
        """Append a message. Appends land in the order of the calls; the future is as ``Link.send``'s."""
        return self._link.send(topology.INTERNAL, topology.KEY_LEDGER, body)

    async def last_chunk(self, *, patience_s: float = 1.0) -> list[Delivery]:
        """The newest chunk: the last message and its fellows. Empty when nothing came within ``patience_s``.

        An empty stream says nothing, so only waiting tells it from a slow broker. Whoever gets nothing reads from
        "first", which is right in both cases.
        """
        chunk = await self._chunk("last", patience_s)
        self.end = (chunk[-1].offset or 0) + 1 if chunk else 0
        return chunk

    async def latest(self, count: int, *, patience_s: float = 1.0) -> list[Delivery]:
        """The last ``count`` messages at least, if so many are left, else all. For few: each chunk costs a round trip or two."""
        found = await self.last_chunk(patience_s=patience_s)
        while found and len(found) < count and (first := found[0].offset or 0) > 0:
            # Right before may lie what is no message: the stream's own note at the beginning of a segment.
            if not (before := await self._before(first, patience_s) or await self._before(first - 1, patience_s)):
                break
            found = before + found
        return found

    async def _before(self, first: int, patience_s: float) -> list[Delivery]:
        """What the chunk holds that lies before this offset."""
        return [each for each in await self._chunk(max(0, first - 1), patience_s) if (each.offset or 0) < first]

    async def _chunk(self, place: Place, patience_s: float) -> list[Delivery]:
        """The chunk at this place, perhaps with some that follow. Empty when nothing came within ``patience_s``."""
        chunk: list[Delivery] = []
        arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def take(delivery: Delivery) -> None:
            chunk.append(delivery)
            if not arrived.done():
                arrived.set_result(None)

        # The broker sends the chunk in one go, as far as there is room: 3.10 whole even if that is for one message, 4.0 not.
        consumer = await self._consume(place, take, prefetch=PREFETCH_MAX)
        try:
            await self._until(arrived, patience_s, "Reading the end")
            await consumer.pause()  # its answer comes behind the chunk
        finally:
            await consumer.cancel()
        return chunk

    async def first_offset(self, *, patience_s: float = 5.0) -> int | None:
        """The offset of the oldest message that is left. None when nothing came within ``patience_s``: the stream is empty, or the
        broker slow. Costs one chunk; nothing but reading tells it over AMQP 0.9.1."""
        first: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def take(delivery: Delivery) -> None:
            if not first.done() and delivery.offset is not None:
                first.set_result(delivery.offset)

        consumer = await self._consume("first", take, prefetch=1)
        try:
            await self._until(first, patience_s, "Reading the beginning")
            await consumer.pause()
        finally:
            await consumer.cancel()
        return first.result() if first.done() else None

    async def follow(
        self,
        start: Place,
        sink: Callable[[Delivery], None],
        *,
        on_gap: Callable[[Gap], None],
        prefetch: int = PREFETCH,
        lags_s: float = 0.0,
    ) -> Consumer:
        """Hand every message from ``start`` on to ``sink``, then those to come, until the consumer is cancelled.

        ``start`` is an offset, or "first" (that is left), "last" (the beginning of the newest chunk), "next" (what is
        appended from now on), or a moment (the first chunk that the broker took then or later). ``on_gap`` is called
        before the message after a gap. Settles by itself: do not settle these. Raises LedgerRewound when the offset
        ``start`` lies beyond the end, and that has not moved for ``lags_s`` (0: there are no replicas that could lag).
        """
        if isinstance(start, int) and start > 0:
            await self.last_chunk(patience_s=5.0)
            if start > self.end > 0:
                await self._grows_to(start, lags_s)
            if start > self.end:
                raise LedgerRewound(self._queue, start, self.end)
        loop = asyncio.get_running_loop()
        expected = start if isinstance(start, int) else -1
        together = max(1, prefetch // SETTLED_TOGETHER)
        taken, waiting = 0, False
        consumer: Consumer | None = None

        def settle() -> None:
            nonlocal taken
            taken = 0
            if consumer is not None:
                consumer.settle_all()

        def time_is_up() -> None:
            nonlocal waiting
            waiting = False
            settle()

        def take(delivery: Delivery) -> None:
            nonlocal expected, taken, waiting
            taken += 1
            if taken >= together:
                settle()
            if not waiting:
                waiting = True
                loop.call_later(SETTLE_AFTER_S, time_is_up)
            offset = delivery.offset
            if offset is None or offset < expected:
                return  # a chunk may begin before the place asked for
            if expected >= 0 and offset > expected + 1:
                on_gap(Gap(expected, offset))
            expected = offset + 1
            sink(delivery)

        consumer = await self._consume(start, take, prefetch=prefetch)
        consumer.settle_all()
        return consumer

    async def _grows_to(self, place: int, lags_s: float) -> None:
        """Until the end is there, or has not moved for ``lags_s``, or the link is broken."""
        loop = asyncio.get_running_loop()
        over_at = loop.time() + LAGS_MAX_S
        grown = loop.create_future()

        def take(delivery: Delivery) -> None:
            if (end := (delivery.offset or 0) + 1) > self.end:
                self.end = end
                if not grown.done():
                    grown.set_result(None)

        consumer = await self._consume("last", take, prefetch=PREFETCH)
        try:
            while self.end < place and (left_s := min(lags_s, over_at - loop.time())) > 0:
                await self._until(grown, left_s, "Waiting for a replica that lags")
                if not grown.done():
                    return
                grown = loop.create_future()
                consumer.settle_all()
        finally:
            await consumer.cancel()

    async def _until(self, event: asyncio.Future[Any], patience_s: float, what: str) -> None:
        """Until this comes, or for so long. Raises LinkLost."""
        await asyncio.wait((event, self._link.broken), timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        if self._link.is_broken:
            raise LinkLost(self._link.broken.result(), f"{what} of {self._queue}")

    async def _consume(self, start: Place, sink: Callable[[Delivery], None], *, prefetch: int) -> Consumer:
        over: Role = "ledger" if self._link.has("ledger") else "consume"
        return await self._link.consume(self._queue, sink, prefetch=prefetch, arguments={"x-stream-offset": start}, over=over)
