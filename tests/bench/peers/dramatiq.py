"""Dramatiq on RabbitMQ.

It has no results over RabbitMQ, so each task's value comes back as a message to an actor that the producer runs.
"""

from __future__ import annotations

import os
import threading
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from tests.bench.peers import jobs
from tests.bench.peers.door import BlockingPeer

broker = RabbitmqBroker(url=os.environ.get("BENCH_URL", "amqp://localhost"), confirm_delivery=True)
dramatiq.set_broker(broker)

HEARD: dict[str, Any] = {}
NEWS = threading.Condition()


@dramatiq.actor(queue_name="results")
def heard(message: dict[str, Any], value: Any) -> None:
    """Runs in the producer: a result has come."""
    with NEWS:
        HEARD[message["message_id"]] = value
        NEWS.notify_all()


@dramatiq.actor(on_success="heard")
def noop() -> None:
    """Nothing."""


@dramatiq.actor(on_success="heard")
def nap(seconds: float) -> float:
    """Sleep."""
    return jobs.nap_blocking(seconds)


@dramatiq.actor(on_success="heard")
def burn(rounds: int) -> str:
    """Hash."""
    return jobs.burn(rounds)


JOBS = {"noop": noop, "nap": nap, "burn": burn}


class DramatiqPeer(BlockingPeer):
    """A worker process for each instance, threads for its slots."""

    promises = "acknowledged after the handler, persistent, publishes confirmed"
    lacks = "results over RabbitMQ: its success callback sends each value to an actor in the producer"

    async def start(self) -> None:
        self.crew.hire_instances(
            "-m", "dramatiq", __name__, "-p", "1", "-t", str(min(8, self.plan.slots)), "-Q", "default", "--skip-logging",
            dramatiq_queue_prefetch="0" if self.plan.slots > 1 else "1", dramatiq_delay_queue_prefetch="1",
        )  # fmt: skip
        self._listener = dramatiq.Worker(broker, queues={"results"}, worker_threads=1)
        self._listener.start()
        for _ in range(2 * self.plan.instances):
            await self.result(await self.submit("noop"))

    async def stop(self) -> None:
        self._listener.stop()
        broker.close()

    async def submit(self, job: str, *args: Any) -> Any:
        return JOBS[job].send(*args).message_id

    async def result(self, ticket: Any) -> Any:
        with NEWS:
            if not NEWS.wait_for(lambda: ticket in HEARD, timeout=600):
                raise TimeoutError(f"no result of {ticket}")
            return HEARD.pop(ticket)


PEER = DramatiqPeer
