"""The floor: our hops through plain aio-pika, with nothing decided, checked or remembered.

    producer ─ task ▶ queue ─▶ RELAY ─ entry ▶ stream ─▶ RELAY ─ order ▶ queue ─▶ worker
    producer ◀ queue ◀─ result ─ RELAY ◀─ stream ◀ entry ─ RELAY ◀─ queue ◀ report ─┘

As in ours each task is appended to a stream and read back before it is handed on, and so is its report; task and report are settled
once their entry is read; one append is under way at a time, and what arrives meanwhile forms the next. Tasks,
reports and results are persistent and confirmed, orders are not. Each but the appends travels as a message of its own.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import aio_pika
import msgpack
import uvloop
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from aio_pika.abc import DeliveryMode as Mode

from tests.bench.peers.door import Peer

TASKS, REPORTS, LEDGER, ORDERS, RESULTS = (f"relay.{name}" for name in ("tasks", "reports", "ledger", "orders", "results"))
STREAM = {"x-queue-type": "stream", "x-max-length-bytes": 1 << 30}


class Desk:
    """One process on the broker: a connection to consume, one to publish."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connections: list[Any] = []
        self._sending: set[asyncio.Task[Any]] = set()
        self.incoming: AbstractChannel
        self.outgoing: AbstractChannel

    async def open(self) -> None:
        self._connections = [await aio_pika.connect(self._url) for _ in range(2)]
        self.incoming = await self._connections[0].channel(publisher_confirms=False)
        self.outgoing = await self._connections[1].channel(publisher_confirms=True)

    async def close(self) -> None:
        for connection in self._connections:
            await connection.close()

    async def queue(self, name: str, **how: Any) -> AbstractQueue:
        """On a channel of its own."""
        channel = await self._connections[0].channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=1000)
        return await channel.declare_queue(name, **how)

    async def publish(self, key: str, body: bytes, mode: Mode = Mode.PERSISTENT) -> None:
        await self.outgoing.default_exchange.publish(aio_pika.Message(body, delivery_mode=mode), key)

    def send(self, key: str, body: bytes, mode: Mode = Mode.PERSISTENT) -> None:
        """Publish without waiting for the confirm."""
        task = asyncio.ensure_future(self.publish(key, body, mode))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)


async def relay(url: str) -> None:
    """The middle."""
    desk = Desk(url)
    await desk.open()
    waiting: list[tuple[str, bytes, AbstractIncomingMessage]] = []
    under_way: list[tuple[str, bytes, AbstractIncomingMessage]] = []
    turn = 0

    async def append() -> None:
        nonlocal waiting, under_way
        if under_way or not waiting:
            return
        under_way, waiting = waiting, []
        await desk.publish(LEDGER, msgpack.packb([(kind, body) for kind, body, _ in under_way]))

    async def hear(message: AbstractIncomingMessage) -> None:
        waiting.append((message.routing_key or "", message.body, message))
        await append()

    async def read(message: AbstractIncomingMessage) -> None:
        nonlocal under_way, turn
        await message.ack()
        facts, under_way = under_way, []
        if not facts:
            return  # the one that was written to have a stream to read
        for kind, body, source in facts:
            if kind == TASKS:
                turn += 1
                desk.send(f"{ORDERS}.{turn % instances}", body, Mode.NOT_PERSISTENT)
            else:
                desk.send(RESULTS, body)
            await source.ack()
        await append()

    instances = int(os.environ["BENCH_INSTANCES"])
    ledger = await desk.queue(LEDGER, durable=True, arguments=STREAM)
    for number in range(instances):
        await desk.queue(f"{ORDERS}.{number}", durable=True)
    tasks, reports = await desk.queue(TASKS, durable=True), await desk.queue(REPORTS, durable=True)
    await desk.queue(RESULTS, durable=True)
    await ledger.consume(read, arguments={"x-stream-offset": "next"})
    await tasks.consume(hear)
    await reports.consume(hear)
    await asyncio.get_running_loop().create_future()


async def work(url: str, number: int) -> None:
    """An instance: it reports what it was told."""
    desk = Desk(url)
    await desk.open()

    async def obey(message: AbstractIncomingMessage) -> None:
        desk.send(REPORTS, message.body)

    orders = await desk.queue(f"{ORDERS}.{number}", durable=True)
    await orders.consume(obey, no_ack=True)
    await asyncio.get_running_loop().create_future()


class Relay(Peer):
    """A relay in the middle, workers beside it."""

    promises = "the hops of ours, appended and read back; persistent and confirmed"
    lacks = "everything that is not a hop: nothing is decided, and what a dead process held is lost"

    async def start(self) -> None:
        self._desk = Desk(self.plan.url)
        self._waiting: dict[bytes, asyncio.Future[None]] = {}
        self._count = 0
        self.crew.hire("coordinator", "-m", __name__, "relay", BENCH_INSTANCES=str(self.plan.instances))
        self.crew.hire_instances("-m", __name__, "work", "{number}")
        await self._desk.open()
        await self._desk.queue(TASKS, durable=True)
        results = await self._desk.queue(RESULTS, durable=True)
        await results.consume(self._hear, no_ack=True)

    async def _hear(self, message: AbstractIncomingMessage) -> None:
        self._waiting.pop(message.body).set_result(None)

    async def stop(self) -> None:
        await self._desk.close()

    async def submit(self, job: str, *args: Any) -> Any:
        assert job == "noop", "a relay does not work"
        self._count += 1
        body = b"%08d" % self._count + b"x" * 80
        future = self._waiting[body] = asyncio.get_running_loop().create_future()
        await self._desk.publish(TASKS, body)
        return future

    async def result(self, ticket: Any) -> Any:
        return await ticket


PEER = Relay

if __name__ == "__main__":
    doing = relay(os.environ["BENCH_URL"]) if sys.argv[1] == "relay" else work(os.environ["BENCH_URL"], int(sys.argv[2]))
    uvloop.run(doing)
