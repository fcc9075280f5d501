"""FastStream on RabbitMQ: a framework for messages, so a task is a message with a reply address."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from typing import Any

import uvloop
from faststream import AckPolicy, FastStream
from faststream.rabbit import Channel, RabbitBroker, RabbitMessage, RabbitQueue, RabbitResponse

from tests.bench.peers import jobs
from tests.bench.peers.door import Peer

URL = os.environ.get("BENCH_URL", "amqp://localhost")
RESULTS = RabbitQueue("faststream.results", durable=True)


def queue(job: str) -> RabbitQueue:
    """Where tasks of a kind wait."""
    return RabbitQueue(f"faststream.{job}", durable=True)


def serving(slots: int) -> RabbitBroker:
    """The broker of an instance, with its handlers."""
    broker = RabbitBroker(URL, logger=None, default_channel=Channel(prefetch_count=slots))
    subscriber = {"ack_policy": AckPolicy.NACK_ON_ERROR}

    @broker.subscriber(queue("noop"), **subscriber)
    async def noop(body: list[Any]) -> RabbitResponse:
        return RabbitResponse(None, persist=True)

    @broker.subscriber(queue("nap"), **subscriber)
    async def nap(body: list[Any]) -> RabbitResponse:
        return RabbitResponse(await jobs.nap(*body), persist=True)

    @broker.subscriber(queue("burn"), **subscriber)
    async def burn(body: list[Any]) -> RabbitResponse:
        return RabbitResponse(jobs.burn(*body), persist=True)

    return broker


class FastStreamPeer(Peer):
    """A process for each instance."""

    promises = "acknowledged after the handler, tasks and replies persistent, publishes confirmed"
    lacks = "tasks: ids, retries and the wait for a reply in a durable queue are the user's"

    async def start(self) -> None:
        self.crew.hire_instances("-m", __name__, str(self.plan.slots))
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._broker = RabbitBroker(URL, logger=None)

        @self._broker.subscriber(RESULTS, ack_policy=AckPolicy.ACK_FIRST)
        async def heard(value: Any, message: RabbitMessage) -> None:
            self._waiting.pop(message.correlation_id).set_result(value)

        await self._broker.start()
        for job in ("noop", "nap", "burn"):
            await self._broker.declare_queue(queue(job))
        for _ in range(2 * self.plan.instances):
            await self.result(await self.submit("noop"))

    async def stop(self) -> None:
        await self._broker.stop()

    async def submit(self, job: str, *args: Any) -> Any:
        name = uuid.uuid4().hex
        future = self._waiting[name] = asyncio.get_running_loop().create_future()
        await self._broker.publish(list(args), queue(job), reply_to=RESULTS.name, correlation_id=name, persist=True)
        return future

    async def result(self, ticket: Any) -> Any:
        return await ticket


PEER = FastStreamPeer

if __name__ == "__main__":
    uvloop.run(FastStream(serving(int(sys.argv[1]))).run())
