"""The orchestrator: a coordinator and agents as a user would start them, and the client library."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

from orchestrator.amqp import Delivery, Link, topology
from orchestrator.client import Client
from orchestrator.policies import ORDERINGS, PLACEMENTS
from orchestrator.wire.codec import decode, encode
from orchestrator.wire.messages import Results, Submit, Task
from tests.bench.peers import jobs
from tests.bench.peers.door import Peer, Plan
from workers import Service

service = Service("bench")


@service.task
async def noop() -> None:
    """Nothing."""


@service.task
async def nap(seconds: float) -> float:
    """Sleep."""
    return await jobs.nap(seconds)


@service.task(cpu_bound=True)
def burn(rounds: int) -> str:
    """Hash."""
    return jobs.burn(rounds)


SHORTEST_FIRST = ("srtf", "sjf")
BY_SPEED = ("earliest_finish", "fastest")


class Ours(Peer):
    """One coordinator, an agent for each instance."""

    promises = (
        "submissions, reports and results persistent and confirmed; every fact read back from the ledger before it counts; "
        "a dead worker's tasks move on"
    )

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        if plan.cpu:
            self.warm_up = ("burn", 100)  # the processes of such handlers are started by their first task
        self._client = Client(plan.url, name="bench", unconfirmed_max=1_000_000, accept_within=300)
        self._settings = {"ORCHESTRATOR_BROKER": plan.url, "ORCHESTRATOR_LOG_LEVEL": "warning"}
        for wanted, names, known, key in (
            (plan.sort, SHORTEST_FIRST, ORDERINGS, "ordering"),
            (plan.spread, BY_SPEED, PLACEMENTS, "placement"),
        ):
            best = next((name for name in names if name in known), None) if wanted else None
            if best is not None:
                self._settings[f"ORCHESTRATOR_{key.upper()}"] = best
                self.promises += f"; {key} {best}"

    async def start(self) -> None:
        self.crew.hire("coordinator", "-m", "orchestrator", "coordinator", **self._settings)
        self.crew.hire_instances(
            "-m", "workers", "run", f"{__name__}:service", "--capacity", f"slots={self._slots}", "--processes",
            str(self._processes), **self._settings,
        )  # fmt: skip
        await self._client.__aenter__()
        while not await self._all_ready():  # other processes: nobody tells
            self.crew.judge()
            await asyncio.sleep(0.05)

    @property
    def _processes(self) -> int:
        """CPU-bound handlers that an instance runs at once."""
        return self.plan.slots if self.plan.cpu else 1

    @property
    def _slots(self) -> int:
        """For CPU-bound work one task more lies ready at each instance, as peers prefetch."""
        return self.plan.slots + self.plan.cpu

    async def _all_ready(self) -> bool:
        services = await self._client.ask("services", timeout_s=60)
        return sum(one["ready"] for one in services) >= self.plan.instances

    async def stop(self) -> None:
        await self._client.close()

    async def submit(self, job: str, *args: Any) -> Any:
        if job == "nap":
            return await self._client.task("bench.nap", estimate=args[0]).submit(seconds=args[0])
        if job == "burn":
            return await self._client.submit("bench.burn", rounds=args[0])
        return await self._client.submit("bench.noop")

    async def result(self, ticket: Any) -> Any:
        return await ticket

    async def run_singly(self, job: str, calls: Sequence[tuple[Any, ...]]) -> None:
        """What a foreign producer does: bytes by PROTOCOL.md, one task a message, confirms awaited together."""
        async with await Link.open(self.plan.url, name="foreign") as link:
            nonce = os.urandom(8).hex()
            await link.declare(topology.results_inbox(nonce))
            missing = {f"{nonce}-{number}" for number in range(len(calls))}
            over = asyncio.Event()

            def take(delivery: Delivery) -> None:
                message = decode(delivery.body)
                assert isinstance(message, Results)
                missing.difference_update(item.task for item in message.items)
                if not missing:
                    over.set()

            queue = topology.results_queue(nonce)
            await link.consume(queue, take, prefetch=0, no_ack=True)
            bodies = [encode(Submit([Task(task, f"bench.{job}")])) for task in sorted(missing)]
            fates = []
            for body in bodies:
                await link.room()
                fates.append(link.send(topology.TASKS, "bench", body, reply_to=queue))
                if len(fates) % 100 == 0:
                    await asyncio.sleep(0)
            await asyncio.gather(*fates)
            await over.wait()


PEER = Ours
