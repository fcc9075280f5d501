"""A consumer: one queue, one channel that does nothing else, one sink."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from aiormq.abc import AbstractChannel, DeliveredMessage

from orchestrator.amqp.channels import ConsumeChannel
from orchestrator.amqp.errors import Broken
from orchestrator.amqp.requests import Subject, asking
from orchestrator.amqp.tap import DEAF, Tap


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
        arguments: Mapping[str, str | int | bool],
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
        number = self._channel.number
        if not self._broken.done():
            self._tap.channels[number] = DEAF
            if not self._channel.is_closed:
                async with asking(self._broken, self._timeout_s, Subject(f"Ending {self.queue}", self.queue)):
                    await self._channel.close()
            self._tap.channels.pop(number, None)


async def _never(_: DeliveredMessage) -> None:
    """The library wants a callback; the tap leaves nothing for it."""
    raise AssertionError("a delivery passed the tap")
