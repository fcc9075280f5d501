"""Taskiq on RabbitMQ (taskiq-aio-pika). No result backend of its own speaks AMQP, so here is one: a queue of the producer's."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import aio_pika
from taskiq import AsyncResultBackend, TaskiqResult
from taskiq.serializers import JSONSerializer
from taskiq_aio_pika import AioPikaBroker

from tests.bench.peers import jobs
from tests.bench.peers.door import Peer

RESULTS = "taskiq.results"
URL = os.environ.get("BENCH_URL", "amqp://localhost")


class Results(AsyncResultBackend[Any]):
    """Results as persistent, confirmed messages; ``listen`` in the producer."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._serializer = JSONSerializer()
        self._connection: Any = None

    async def startup(self) -> None:
        self._connection = await aio_pika.connect(URL)
        self._channel = await self._connection.channel()
        self._queue = await self._channel.declare_queue(RESULTS, durable=True)

    async def listen(self) -> None:
        """In the producer."""
        await self._queue.consume(self._hear, no_ack=True)

    async def shutdown(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def _hear(self, message: Any) -> None:
        self._future(message.correlation_id).set_result(self._serializer.loadb(message.body))

    def _future(self, task_id: str) -> asyncio.Future[Any]:
        return self._waiting.setdefault(task_id, asyncio.get_running_loop().create_future())

    async def set_result(self, task_id: str, result: TaskiqResult[Any]) -> None:
        body = self._serializer.dumpb(result.return_value)
        message = aio_pika.Message(body, correlation_id=task_id, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await self._channel.default_exchange.publish(message, RESULTS)

    async def is_result_ready(self, task_id: str) -> bool:
        return self._future(task_id).done()

    async def get_result(self, task_id: str, with_logs: bool = False) -> Any:
        return await self._future(task_id)

    async def take(self, task_id: str) -> Any:
        """The value, once it is there."""
        value = await self._future(task_id)
        del self._waiting[task_id]
        return value


results = Results()
broker = AioPikaBroker(URL, results, qos=int(os.environ.get("BENCH_QOS", "10")))


@broker.task(task_name="noop")
async def noop() -> None:
    """Nothing."""


@broker.task(task_name="nap")
async def nap(seconds: float) -> float:
    """Sleep."""
    return await jobs.nap(seconds)


@broker.task(task_name="burn")
async def burn(rounds: int) -> str:
    """Hash."""
    return jobs.burn(rounds)


JOBS = {"noop": noop, "nap": nap, "burn": burn}


class TaskiqPeer(Peer):
    """A worker command for each instance."""

    promises = "acknowledged when the result is saved, tasks and results persistent, publishes confirmed"
    lacks = "a result backend on RabbitMQ: one was written for this benchmark"

    async def start(self) -> None:
        slots = self.plan.slots
        self.crew.hire_instances(
            "-m", "taskiq", "worker", f"{__name__}:broker", "--workers", "1", "--max-async-tasks", str(slots),
            "--ack-type", "when_saved", "--log-level", "WARNING", BENCH_QOS=str(slots),
        )  # fmt: skip
        await broker.startup()
        await results.listen()
        for _ in range(2 * self.plan.instances):
            await self.result(await self.submit("noop"))

    async def stop(self) -> None:
        await broker.shutdown()

    async def submit(self, job: str, *args: Any) -> Any:
        return (await JOBS[job].kiq(*args)).task_id

    async def result(self, ticket: Any) -> Any:
        return await results.take(ticket)


PEER = TaskiqPeer
