"""Celery on RabbitMQ, results over RabbitMQ (``rpc://``)."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

from tests.bench.peers import jobs
from tests.bench.peers.door import BlockingPeer

app = Celery("bench", broker=os.environ.get("BENCH_URL"), backend="rpc://")
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_default_delivery_mode="persistent",
    broker_transport_options={"confirm_publish": True},
    result_persistent=True,
    result_expires=3600,
    worker_prefetch_multiplier=int(os.environ.get("BENCH_PREFETCH", "1")),
    broker_connection_retry_on_startup=True,
    worker_send_task_events=False,
)


@app.task(name="noop")
def noop() -> None:
    """Nothing."""


@app.task(name="nap")
def nap(seconds: float) -> float:
    """Sleep."""
    return jobs.nap_blocking(seconds)


@app.task(name="burn")
def burn(rounds: int) -> str:
    """Hash."""
    return jobs.burn(rounds)


JOBS = {"noop": noop, "nap": nap, "burn": burn}


class CeleryPeer(BlockingPeer):
    """A prefork worker for each instance."""

    promises = "acknowledged late, requeued when a worker is lost, tasks and results persistent, publishes confirmed"

    async def start(self) -> None:
        quick = self.plan.slots > 1  # many short tasks: its guide advises a larger prefetch; for long ones, 1
        self.crew.hire_instances(
            "-m", "celery", "-A", f"{__name__}:app", "worker", "--pool", "prefork", "-c", "1", "-l", "WARNING",
            "-n", "{number}@bench", "--without-gossip", "--without-mingle", "--without-heartbeat", "-O", "fair",
            BENCH_PREFETCH="64" if quick else "1",
        )  # fmt: skip
        for _ in range(2 * self.plan.instances):
            noop.delay().get(timeout=60)

    async def stop(self) -> None:
        app.close()

    async def submit(self, job: str, *args: Any) -> Any:
        return JOBS[job].delay(*args)

    async def result(self, ticket: Any) -> Any:
        return ticket.get(timeout=600)


PEER = CeleryPeer
