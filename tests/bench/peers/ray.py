"""Ray: a scheduler in memory, no broker."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import ray
from ray.cluster_utils import Cluster

from tests.bench.peers import jobs
from tests.bench.peers.door import BlockingPeer


@ray.remote
def noop() -> None:
    """Nothing."""


@ray.remote
def nap(seconds: float, slow_node: str, factor: float) -> float:
    """Sleep, longer on the slow node."""
    slow = slow_node and ray.get_runtime_context().get_node_id() == slow_node
    return jobs.nap_blocking(seconds * factor if slow else seconds)


@ray.remote
def burn(rounds: int) -> str:
    """Hash."""
    return jobs.burn(rounds)


JOBS = {"noop": noop, "nap": nap, "burn": burn}


class RayPeer(BlockingPeer):
    """One node with a worker for each instance (more were slower); if one instance is to be slow, a node for each."""

    promises = "a lost worker's tasks run again"
    lacks = "persistence: tasks and results are in memory, and gone with the process that submitted them"

    async def start(self) -> None:
        os.environ.setdefault("RAY_DEDUP_LOGS", "0")
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        settings = {"include_dashboard": False, "object_store_memory": 200 << 20}
        self._cluster: Any = None
        self._slow_node = ""
        if self.plan.slow == 1:
            ray.init(num_cpus=self.plan.instances, log_to_driver=False, logging_level="ERROR", **settings)
        else:
            self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": self.plan.slots, **settings})
            for _ in range(self.plan.instances - 1):
                self._cluster.add_node(num_cpus=self.plan.slots, object_store_memory=200 << 20)
            ray.init(address=self._cluster.address, log_to_driver=False, logging_level="ERROR")
            self._slow_node = ray.nodes()[-1]["NodeID"]
        ray.get([noop.remote() for _ in range(4 * self.plan.instances)])

    async def stop(self) -> None:
        ray.shutdown()
        if self._cluster is not None:
            self._cluster.shutdown()

    async def submit(self, job: str, *args: Any) -> Any:
        more = (self._slow_node, self.plan.slow) if job == "nap" else ()
        return JOBS[job].remote(*args, *more)

    async def result(self, ticket: Any) -> Any:
        return ray.get(ticket)

    async def run_many(self, job: str, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        return list(ray.get([await self.submit(job, *args) for args in calls]))


PEER = RayPeer
