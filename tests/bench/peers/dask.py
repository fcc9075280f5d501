"""Dask distributed: a scheduler in memory, no broker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dask.distributed import Client

from tests.bench.peers import jobs
from tests.bench.peers.door import BlockingPeer

JOBS = {"noop": int, "nap": jobs.nap_blocking, "burn": jobs.burn}


class DaskPeer(BlockingPeer):
    """A scheduler, and a worker process for each instance."""

    promises = "a lost worker's tasks run again"
    lacks = "persistence: tasks and results are in the memory of scheduler and workers, and gone with the scheduler"

    async def start(self) -> None:
        note = Path(self.plan.folder) / "scheduler.json"
        self.crew.hire(
            "coordinator", "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
            "--scheduler-file", str(note),
        )  # fmt: skip
        threads = str(min(8, self.plan.slots))
        self.crew.hire_instances(
            "-m", "distributed.cli.dask_worker", "--scheduler-file", str(note), "--nthreads", threads, "--no-dashboard",
            "--no-nanny", "--local-directory", self.plan.folder, "--host", "127.0.0.1",
        )  # fmt: skip
        self._client = Client(scheduler_file=str(note), timeout=60)
        self._client.wait_for_workers(self.plan.instances, timeout=60)

    async def stop(self) -> None:
        self._client.close()

    async def submit(self, job: str, *args: Any) -> Any:
        return self._client.submit(JOBS[job], *args, pure=False)

    async def result(self, ticket: Any) -> Any:
        return ticket.result()

    async def run_many(self, job: str, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        function = JOBS[job]
        futures = self._client.map(lambda args: function(*args), calls, pure=False, batch_size=1000)
        return list(self._client.gather(futures))


PEER = DaskPeer
