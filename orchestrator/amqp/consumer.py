"""Consumers: each one queue, one channel that does nothing else, one sink; and all those of a session together, for whom
a handle is looked up when it is settled."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial

from aiormq.abc import AbstractChannel, DeliveredMessage

from orchestrator.amqp.channels import ConsumeChannel
from orchestrator.amqp.connection import Connection
from orchestrator.amqp.delivery import Delivery, Receipt
from orchestrator.amqp.errors import Broken, BrokenBy
from orchestrator.amqp.requests import Subject, asking
from orchestrator.amqp.tap import DEAF, Tap

PREFETCH_MAX = 65_535
GATHER_MAX = 256
"""Settles that are told in one go: a quarter of what may be on its way, but no more than this."""


class Consumer:
    """Made by ``Link.consume``. It ends with its link, or with ``cancel``."""

    def __init__(
        self,
        queue: str,
        *,
        tap: Tap,
        channel: AbstractChannel,
        entry: ConsumeChannel,
        exclusive: bool,
        arguments: Mapping[str, str | int | bool | datetime],
        broken: asyncio.Future[Broken],
        timeout_s: float,
        forget: Callable[[], object],
    ) -> None:
        self.queue = queue
        self.over = False
        """Cancelled for good."""
        self._tap = tap
        self._channel = channel
        self._entry = entry
        self._exclusive = exclusive
        self._arguments = dict(arguments)
        self._broken = broken
        self._timeout_s = timeout_s
        self._forget = forget
        self._turn = 0
        self._tag: str | None = None

    @property
    def paused(self) -> bool:
        """Whether the broker was told to deliver no more."""
        return self._tag is None

    @property
    def unsettled(self) -> int:
        """How many deliveries are ours to settle."""
        return self._entry.unsettled

    async def resume(self) -> None:
        """Let deliveries come (again). The broker's tag for the consumer is a new one each time: some brokers close the
        connection of whoever uses one again too soon. Raises Missing, AccessRefused, QueueLocked, LinkLost."""
        if self._tag is not None or self.over:
            return
        self._turn += 1
        tag = f"{self._entry.key}.{self._turn}"
        self._tag = tag
        try:
            async with asking(self._broken, self._timeout_s, Subject(f"Consuming from {self.queue}", self.queue)):
                await self._channel.basic_consume(
                    self.queue,
                    _never,
                    no_ack=self._entry.no_ack,
                    exclusive=self._exclusive,
                    arguments=dict(self._arguments),
                    consumer_tag=tag,
                )
        except BaseException:
            self._tag = None
            raise

    async def pause(self) -> None:
        """Let no more come. What was delivered stays ours to settle; when this returns the last has reached the sink.

        Not for auto-delete queues (agents', producers', registry): with its last consumer such a queue is deleted. On a
        queue with a single active consumer the next one becomes active.
        """
        tag, self._tag = self._tag, None
        if tag is None or self.over:
            return
        async with asking(self._broken, self._timeout_s, Subject(f"Pausing {self.queue}", self.queue)):
            await self._channel.basic_cancel(tag)

    def settle_all(self) -> None:
        """Acknowledge everything that was delivered so far, in one frame."""
        if not self.over and not self._broken.done():
            self._entry.settle_all()

    async def cancel(self) -> None:
        """End it: nothing reaches the sink from now on, and the broker takes back what is not settled."""
        if self.over:
            return
        self.over = True
        self._tag = None
        self._forget()
        self._entry.acknowledge()
        number = self._channel.number
        if not self._broken.done():
            self._tap.channels[number] = DEAF
            if not self._channel.is_closed:
                async with asking(self._broken, self._timeout_s, Subject(f"Ending {self.queue}", self.queue)):
                    await self._channel.close()
            self._tap.channels.pop(number, None)


class Consumers:
    """All consumers of one session. ``stale`` counts the handles that fitted none."""

    def __init__(self, session: int, broken: asyncio.Future[Broken], timeout_s: float, on_broken: Callable[[Broken], None]) -> None:
        self.stale = 0
        self._session = session
        self._broken = broken
        self._timeout_s = timeout_s
        self._on_broken = on_broken
        self._entries: dict[int, ConsumeChannel] = {}
        self._keys = itertools.count(1)

    async def consume(
        self,
        connection: Connection,
        queue: str,
        sink: Callable[[Delivery], None],
        *,
        prefetch: int,
        no_ack: bool,
        exclusive: bool,
        gather: bool,
        arguments: Mapping[str, str | int | bool | datetime],
        body_bytes_max: int,
    ) -> Consumer:
        """As ``Link.consume``."""
        if not (0 < prefetch <= PREFETCH_MAX or (no_ack and prefetch == 0)):
            raise ValueError(f"a prefetch of {prefetch} on {queue}: must be 1 to {PREFETCH_MAX} (0 with no_ack only)")
        tap = connection.tap
        endings: list[Broken] = []
        started = False

        def ended(closed: bool, reason: str) -> None:
            if closed:
                endings.append(Broken(BrokenBy.CHANNEL, f"the channel of {queue}", reason))
            else:
                endings.append(Broken(BrokenBy.CONSUMER, queue, reason))
            if started and not consumer.over:
                self._on_broken(endings[0])

        async with asking(self._broken, self._timeout_s, Subject(f"Consuming from {queue}", queue)):
            channel = await connection.channel()
            entry = ConsumeChannel(
                tap, channel.number, session=self._session, key=next(self._keys), sink=sink, no_ack=no_ack,
                stream="x-stream-offset" in arguments, gather=min(prefetch // 4, GATHER_MAX) if gather else 1,
                body_bytes_max=body_bytes_max, on_end=ended,
            )  # fmt: skip
            consumer = Consumer(
                queue, tap=tap, channel=channel, entry=entry, exclusive=exclusive, arguments=arguments,
                broken=self._broken, timeout_s=self._timeout_s, forget=partial(self._entries.pop, entry.key, None),
            )  # fmt: skip
            tap.channels[channel.number] = entry
            self._entries[entry.key] = entry
            try:
                if prefetch:
                    await channel.basic_qos(prefetch_count=prefetch)
                await consumer.resume()
                started = True
            finally:
                if not started:
                    del self._entries[entry.key]
                    tap.channels.pop(channel.number, None)
        if endings:
            self._on_broken(endings[0])  # it began, and ended before we were told that it began
        return consumer

    def acknowledge(self) -> None:
        """What was settled so far the broker hears now."""
        if not self._broken.done():
            for entry in self._entries.values():
                entry.acknowledge()

    def settle(self, deliveries: Iterable[Delivery | Receipt]) -> None:
        """As ``Link.settle``."""
        for entry, tags in self._by_channel(deliveries):
            self.stale += entry.settle(tags)

    def reject(self, deliveries: Iterable[Delivery | Receipt], *, requeue: bool) -> None:
        """As ``Link.reject``."""
        for entry, tags in self._by_channel(deliveries):
            self.stale += entry.reject(tags, requeue=requeue)

    def _by_channel(self, deliveries: Iterable[Delivery | Receipt]) -> Iterable[tuple[ConsumeChannel, list[int]]]:
        groups: dict[int, list[int]] = {}
        for delivery in deliveries:
            if delivery.session == self._session and delivery.channel in self._entries and not self._broken.done():
                groups.setdefault(delivery.channel, []).append(delivery.tag)
            else:
                self.stale += 1
        return [(self._entries[key], tags) for key, tags in groups.items()]


async def _never(_: DeliveredMessage) -> None:
    """The library wants a callback; the tap leaves nothing for it."""
    raise AssertionError("a delivery passed the tap")
