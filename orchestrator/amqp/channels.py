"""The bookkeeping of a channel: what was published and not answered, what was delivered and not settled.

Law: no awaiting here. These objects turn calls into frames and frames into results, in order.

One channel has one purpose. What may be lost (``SoftChannel``) leaves without confirms: each would wake its sender, for nothing. A
publisher's counts its publishes as the broker does (the n-th publish after
``confirm.select`` has tag n) and matches a return by the message id it gave itself; were that the caller's, two
publishes under one id would have their answers swapped. A consumer's remembers which tags are open, so that a
settle of many is one frame where it can be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Unpack

from orchestrator.amqp import frames
from orchestrator.amqp.delivery import Delivery, How, Published
from orchestrator.amqp.frames import Envelope, Properties
from orchestrator.amqp.tap import Tap

ACK_WITHIN_S = 1.0
"""So long what is settled may wait for more, where it is gathered: whoever floods us with what is settled at once, between honest
messages that wait for the ledger, would cost the broker a frame and a wake-up each. By then those are settled too, and one frame
is enough for all. A task that travels alone would pay for one at each of its messages; nobody waits for them: what was settled and
not told comes again if we die, and is known then."""


class PublishChannel:
    """Publishes with confirms, any number under way at once."""

    body_bytes_max = 0
    """Returned bodies are of no use to anybody: the sender has them."""
    headers_bytes_max = 0

    def __init__(self, tap: Tap, number: int, frame_max: int, prefix: str, on_closed: Callable[[int, str], None]) -> None:
        self._tap = tap
        self._number = number
        self._frame_max = frame_max
        self._prefix = prefix
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._tag = 0
        self._oldest = 1
        """No tag below is pending. (The first key of a dict would tell too, but finding it costs a walk over the
        removed.)"""
        self._pending: dict[int, asyncio.Future[Published]] = {}

    def send(self, exchange: str, key: str, body: bytes, **how: Unpack[How]) -> asyncio.Future[Published]:
        """Write one message; the future gets the broker's answer."""
        tag = self._tag + 1
        data = frames.publish(
            self._number,
            exchange,
            key,
            body,
            frame_max=self._frame_max,
            message_id=f"{self._prefix}{tag}",
            **how,
        )
        self._tag = tag  # only now: what could not be encoded was not sent, and the broker does not count it
        future: asyncio.Future[Published] = self._loop.create_future()
        self._pending[tag] = future
        self._tap.write(data)
        return future

    @property
    def oldest(self) -> int:
        """Number of the first of these; 0: there is none."""
        return next(iter(self._pending), 0)

    @property
    def pending(self) -> int:
        """Publishes that the broker has not answered."""
        return len(self._pending)

    def lose(self) -> None:
        """The session is over: nobody will answer."""
        pending, self._pending = self._pending, {}
        for future in pending.values():
            _resolve(future, Published.LOST)

    def on_confirm(self, tag: int, multiple: bool, ok: bool) -> None:
        answer = Published.CONFIRMED if ok else Published.NACKED
        pending = self._pending
        if not multiple:
            future = pending.pop(tag, None)
            if future is not None:
                _resolve(future, answer)
            if not pending:
                self._oldest = self._tag + 1
            return
        for each in range(self._oldest, tag + 1):
            future = pending.pop(each, None)
            if future is not None:
                _resolve(future, answer)
        self._oldest = tag + 1

    def on_message(self, envelope: Envelope, properties: Properties, body: bytes) -> None:
        """A return. The confirm of the same message follows, and is then an answer to a settled question."""
        message_id = properties.message_id or ""
        tag = message_id.removeprefix(self._prefix)
        if message_id.startswith(self._prefix) and tag.isascii() and tag.isdecimal():
            future = self._pending.get(int(tag))
            if future is not None:
                _resolve(future, Published.RETURNED)

    def on_empty(self) -> None:
        """Never: nothing is got here."""

    def on_cancelled(self) -> None:
        """Never: nothing is consumed here."""

    def on_closed(self, code: int, text: str) -> None:
        self._on_closed(code, text)


class SoftChannel:
    """Publishes what may be lost: no confirms. Of a mandatory message that no queue takes ``on_returned`` hears key and note."""

    body_bytes_max = 0
    headers_bytes_max = 0

    def __init__(
        self,
        tap: Tap,
        number: int,
        frame_max: int,
        *,
        on_returned: Callable[[str, str], None],
        on_closed: Callable[[int, str], None],
    ) -> None:
        self._tap = tap
        self._number = number
        self._frame_max = frame_max
        self._on_returned = on_returned
        self._on_closed = on_closed

    def tell(self, exchange: str, key: str, body: bytes, note: str, **how: Unpack[How]) -> None:
        """Write one message; ``note`` travels as its message id."""
        self._tap.write(frames.publish(self._number, exchange, key, body, frame_max=self._frame_max, message_id=note, **how))

    def on_message(self, envelope: Envelope, properties: Properties, body: bytes) -> None:
        """A return."""
        self._on_returned(envelope.routing_key, properties.message_id or "")

    def on_confirm(self, tag: int, multiple: bool, ok: bool) -> None:
        """Never: it is not in confirm mode."""

    def on_empty(self) -> None:
        """Never: nothing is got here."""

    def on_cancelled(self) -> None:
        """Never: nothing is consumed here."""

    def on_closed(self, code: int, text: str) -> None:
        self._on_closed(code, text)


def _resolve(future: asyncio.Future[Published], answer: Published) -> None:
    if not future.done():  # returned before it was confirmed; or its publisher gave up waiting
        future.set_result(answer)


class ConsumeChannel:
    """Delivers to one sink and settles. ``key`` is the link's own number for it, never used twice."""

    def __init__(
        self,
        tap: Tap,
        number: int,
        *,
        session: int,
        key: int,
        sink: Callable[[Delivery], None],
        no_ack: bool,
        stream: bool = False,
        gather: int = 1,
        body_bytes_max: int,
        on_end: Callable[[bool, str], None],
        on_empty: Callable[[], None] | None = None,
    ) -> None:
        self.body_bytes_max = body_bytes_max
        self.headers_bytes_max = frames.STREAM_HEADERS_BYTES_MAX if stream else frames.HEADERS_BYTES_MAX
        self.key = key
        self.no_ack = no_ack
        self._stream = stream
        self._tap = tap
        self._number = number
        self._session = session
        self._sink = sink
        self._on_end = on_end
        self._empty = on_empty
        self._open: set[int] = set()
        """Delivered and not settled: no more than are let come at once. (Of settled ones above an open one there may be any number:
        under a flood beside one delivery that waited for ten seconds they took two megabytes, for good.)"""
        self._below = 0
        """No tag up to here is open."""
        self._last = 0
        self._gather = gather
        """What is settled is told to the broker when it is so many, or after ``ACK_WITHIN_S``."""
        self._untold: dict[int, None] = {}
        """Settled, and the broker has not been told yet."""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def unsettled(self) -> int:
        """Deliveries that are ours to settle."""
        return len(self._open)

    def on_message(self, envelope: Envelope, properties: Properties, body: bytes) -> None:
        self._last = envelope.number
        if not self.no_ack:
            self._open.add(envelope.number)
        flaw = properties.flaw
        if envelope.flaw is not None:
            flaw = envelope.flaw if flaw is None else f"{envelope.flaw}; {flaw}"
        self._sink(
            Delivery(
                body,
                self._session,
                self.key,
                envelope.number,
                envelope.redelivered,
                envelope.exchange,
                envelope.routing_key,
                properties.reply_to,
                properties.user_id,
                properties.message_id,
                properties.correlation_id,
                properties.offset if self._stream else None,  # elsewhere a peer may have put the header there
                properties.headers,
                flaw,
            )
        )

    def settle(self, tags: Iterable[int]) -> int:
        """Acknowledge; returns how many of the tags were settled already (or never delivered)."""
        fresh, stale = self._mark(tags)
        self._tell(fresh)
        return stale

    def settle_all(self) -> None:
        """Acknowledge everything delivered so far."""
        if self._open:
            fresh = sorted(self._open)
            self._open.clear()
            self._tell(fresh)

    def _tell(self, fresh: list[int]) -> None:
        """The broker is to hear that these are settled, soon or now."""
        self._untold.update(dict.fromkeys(fresh))
        if len(self._untold) >= self._gather:
            self.acknowledge()
        elif self._untold and self._timer is None:
            self._timer = self._tap.call_later(ACK_WITHIN_S, self.acknowledge)

    def acknowledge(self) -> None:
        """Tell the broker now what is settled.

        A tag that joins the settled ones from the bottom up goes with all below it in one frame. Others go one by one,
        since ``multiple`` would take what is still unsettled below them. The tag of a ``multiple`` must itself be open:
        the broker closes the channel over one it does not know.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        untold, self._untold = self._untold, {}
        while self._below < self._last and self._below + 1 not in self._open:
            self._below += 1
        covering = max((tag for tag in untold if tag <= self._below), default=0)
        out = [frames.ack(self._number, covering, multiple=True)] if covering else []
        out += [frames.ack(self._number, tag, multiple=False) for tag in untold if tag > covering]
        if out:
            self._tap.write(b"".join(out))

    def reject(self, tags: Iterable[int], *, requeue: bool) -> int:
        """Refuse, each on its own; returns how many were settled already."""
        self.acknowledge()
        fresh, stale = self._mark(tags)
        if fresh:
            self._tap.write(b"".join(frames.nack(self._number, tag, requeue=requeue) for tag in fresh))
        return stale

    def _mark(self, tags: Iterable[int]) -> tuple[list[int], int]:
        if self.no_ack:  # the broker would close the channel over it
            raise ValueError("deliveries of a consumer with no_ack are settled already")
        fresh: list[int] = []
        stale = 0
        for tag in tags:
            if tag in self._open:
                self._open.remove(tag)
                fresh.append(tag)
            else:
                stale += 1
        return fresh, stale

    def get(self, queue: str) -> None:
        """Ask for one message; it arrives in the sink, or ``on_empty`` is called."""
        self._tap.write(frames.get(self._number, queue))

    def on_confirm(self, tag: int, multiple: bool, ok: bool) -> None:
        """Never: nothing is published here."""

    def on_empty(self) -> None:
        if self._empty is not None:
            self._empty()

    def on_cancelled(self) -> None:
        self._on_end(False, "the queue was deleted, or its node went away")

    def on_closed(self, code: int, text: str) -> None:
        self.hush()
        self._on_end(True, f"{code} {text}")

    def hush(self) -> None:
        """There is nobody to be told anything any more."""
        self._untold.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
