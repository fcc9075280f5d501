"""What is asked of the broker now and then: declare, check, bind, look, delete.

Law: each request has a throw-away channel of its own, since the broker closes the channel of a request that it refuses,
and with it every consumer and every unsettled delivery that would be on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiormq.abc import AbstractChannel
from aiormq.exceptions import AMQPConnectionError, AMQPError, PublishError

from orchestrator.amqp.channels import ConsumeChannel
from orchestrator.amqp.connection import Connection, was_cancelled
from orchestrator.amqp.delivery import Delivery
from orchestrator.amqp.errors import Broken, LinkLost, NoAnswer, broker_refused, refused_by_library
from orchestrator.amqp.tap import DEAF
from orchestrator.amqp.topology import Binding, Topology

NOTICED_WITHIN_S = 1.0
"""How long the news that a connection has ended may take from the library to the session."""


@dataclass(frozen=True, slots=True)
class QueueStat:
    """What a queue holds (messages that are ready, not those a consumer holds) and how many consume from it."""

    messages: int
    consumers: int


class Subject:
    """What is being asked, for the error that may come of it: ``what`` begins a sentence, ``name`` is a queue or
    exchange."""

    __slots__ = ("name", "what")

    def __init__(self, what: str, name: str) -> None:
        self.what = what
        self.name = name


@asynccontextmanager
async def asking(broken: asyncio.Future[Broken], timeout_s: float, subject: Subject) -> AsyncIterator[None]:
    """Bound a request in time, and turn what the library raises into our errors."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError as error:
        raise NoAnswer(
            f"{subject.what} got no answer within {timeout_s} s. It may still happen. "
            "See whether the broker is overloaded or starting."
        ) from error
    except asyncio.CancelledError as error:
        if was_cancelled() or not await _is_over(broken):
            raise
        raise LinkLost(broken.result(), subject.what) from error  # not we were cancelled: the library's own tasks
    except (AMQPError, RuntimeError, StopAsyncIteration) as error:
        of_connection = not isinstance(error, AMQPError) or isinstance(error, AMQPConnectionError)
        if broken.done() or (of_connection and await _is_over(broken)):
            raise LinkLost(broken.result(), subject.what) from error
        if isinstance(error, AMQPError) and not isinstance(error, AMQPConnectionError):
            raise refused_by_library(error, subject.what, subject.name) from error
        raise


async def _is_over(broken: asyncio.Future[Broken]) -> bool:
    """Whether the session is over: what the library says of a connection it may say a moment before the session has noticed."""
    if not broken.done():
        await asyncio.wait((broken,), timeout=NOTICED_WITHIN_S)
    return broken.done()


class Requests:
    """Asks over one connection. An exclusive queue belongs to the connection it was declared over."""

    def __init__(self, connection: Connection, broken: asyncio.Future[Broken], timeout_s: float) -> None:
        self._connection = connection
        self._broken = broken
        self._timeout_s = timeout_s

    @asynccontextmanager
    async def _channel(self, subject: Subject) -> AsyncIterator[AbstractChannel]:
        async with asking(self._broken, self._timeout_s, subject):
            channel = await self._connection.channel()
            try:
                yield channel
            finally:
                if not channel.is_closed:
                    await channel.close()

    async def knock(self) -> None:
        """Returns when the broker has read all that was said before on this connection. Raises NoAnswer, LinkLost."""
        async with self._channel(Subject("Opening a channel", "")):
            pass

    async def declare(self, topology: Topology) -> None:
        """Declare what is not there; what is there must be the same. Raises TopologyMismatch, AccessRefused,
        QueueLocked."""
        subject = Subject("Declaring", "")
        async with self._channel(subject) as channel:
            for exchange in topology.exchanges:
                subject.what, subject.name = f"Declaring the exchange {exchange.name}", exchange.name
                await channel.exchange_declare(
                    exchange.name, exchange_type=exchange.kind, durable=True, arguments=dict(exchange.arguments)
                )
            for queue in topology.queues:
                subject.what, subject.name = f"Declaring the queue {queue.name}", queue.name
                await channel.queue_declare(
                    queue.name,
                    durable=not queue.exclusive,
                    exclusive=queue.exclusive,
                    auto_delete=queue.exclusive,
                    arguments=dict(queue.arguments),
                )
            for binding in topology.bindings:
                subject.what, subject.name = f"Binding the queue {_path(binding)}", binding.exchange
                await channel.queue_bind(binding.queue, binding.exchange, binding.key)

    async def check(self, topology: Topology) -> None:
        """Whether all exchanges and queues exist, making none. (Bindings cannot be asked for.) Raises Missing."""
        subject = Subject("Looking", "")
        async with self._channel(subject) as channel:
            for exchange in topology.exchanges:
                subject.what, subject.name = f"Looking for the exchange {exchange.name}", exchange.name
                await channel.exchange_declare(exchange.name, passive=True)
            for queue in topology.queues:
                subject.what, subject.name = f"Looking for the queue {queue.name}", queue.name
                await channel.queue_declare(queue.name, passive=True)

    async def bind(self, binding: Binding) -> None:
        """Bind; binding again is harmless."""
        async with self._channel(Subject(f"Binding the queue {_path(binding)}", binding.queue)) as channel:
            await channel.queue_bind(binding.queue, binding.exchange, binding.key)

    async def unbind(self, binding: Binding) -> None:
        """Unbind; unbinding what is not bound is harmless."""
        async with self._channel(Subject(f"Unbinding the queue {_path(binding)}", binding.queue)) as channel:
            await channel.queue_unbind(binding.queue, binding.exchange, binding.key)

    async def reaches(self, exchange: str, key: str, body: bytes) -> bool:
        """Whether what is published there with this key finds a queue; nothing else tells of bindings. The body is published, not
        persistent. Raises Missing: there is no such exchange."""
        subject = Subject(f"Publishing to {exchange}", exchange)
        async with asking(self._broken, self._timeout_s, subject):
            channel = await self._connection.confirming_channel()
            try:
                await channel.basic_publish(body, exchange=exchange, routing_key=key, mandatory=True)
                return True
            except PublishError:
                return False
            finally:
                if not channel.is_closed:
                    await channel.close()

    async def stat(self, queue: str) -> QueueStat:
        """How full a queue is. Raises Missing, or QueueLocked: exclusive to another connection, which lives."""
        async with self._channel(Subject(f"Looking at the queue {queue}", queue)) as channel:
            answer = await channel.queue_declare(queue, passive=True)
            return QueueStat(answer.message_count or 0, answer.consumer_count or 0)

    async def delete_queue(self, queue: str) -> int:
        """Delete a queue with all in it; how many messages were ready."""
        async with self._channel(Subject(f"Deleting the queue {queue}", queue)) as channel:
            return (await channel.queue_delete(queue)).message_count or 0

    async def purge(self, queue: str) -> int:
        """Drop all ready messages; how many there were."""
        async with self._channel(Subject(f"Emptying the queue {queue}", queue)) as channel:
            return (await channel.queue_purge(queue)).message_count or 0

    async def peek(self, queue: str, limit: int, body_bytes_max: int) -> list[Delivery]:
        """The first ``limit`` ready messages, left where they are (marked as redelivered). They cannot be settled.

        Not for streams. On a quorum queue every look counts as a return; ours allow a million.
        """
        what = f"Looking into the queue {queue}"
        found: list[Delivery] = []
        if limit < 1:
            return found
        answered = 0
        done: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

        def answer() -> None:
            nonlocal answered
            answered += 1
            if answered == limit and not done.done():
                done.set_result(None)

        def take(delivery: Delivery) -> None:
            found.append(delivery)
            answer()

        def ended(_closed: bool, reason: str) -> None:
            if not done.done():
                done.set_result(reason)

        async with self._channel(Subject(what, queue)) as channel:
            tap = self._connection.tap
            entry = ConsumeChannel(
                tap, channel.number, session=0, key=0, sink=take, no_ack=False, body_bytes_max=body_bytes_max,
                on_end=ended, on_empty=answer,
            )  # fmt: skip
            tap.channels[channel.number] = entry
            try:
                for _ in range(limit):
                    entry.get(queue)
                await asyncio.wait((done, self._broken), return_when=asyncio.FIRST_COMPLETED)
            finally:
                tap.channels[channel.number] = DEAF
                if not channel.is_closed:
                    await channel.close()  # gives everything back, in its place
                tap.channels.pop(channel.number, None)
        if not done.done():
            raise LinkLost(self._broken.result(), what)
        failed = done.result()
        if failed is not None:
            code, _, text = failed.partition(" ")
            raise broker_refused(int(code), text, what, queue)
        return found


def _path(binding: Binding) -> str:
    return f"{binding.queue} to {binding.exchange} (key {binding.key!r})"
