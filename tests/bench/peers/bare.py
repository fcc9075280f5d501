"""The CPU bound itself: plain processes, each hashing its share, no broker, nobody who decides."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from tests.bench.peers import jobs
from tests.bench.peers.door import Peer, Plan


class Bare(Peer):
    """A pool that is handed all the work at once."""

    promises = "none: the work in plain processes"
    lacks = "everything"
    warm_up = ("burn", 100)

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._pool = ProcessPoolExecutor(plan.capacity, mp_context=get_context("spawn"))

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(self._pool, time.sleep, 0.3) for _ in range(self.plan.capacity)))

    async def stop(self) -> None:
        self._pool.shutdown()

    async def run_many(self, job: str, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        assert job == "burn", "there is nothing else to do here"
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(self._pool, jobs.burn, *args) for args in calls))


PEER = Bare
