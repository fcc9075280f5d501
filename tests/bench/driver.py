"""The process in which one peer is played: ``python -m tests.bench.driver PEER``.

It reads orders from stdin, a JSON object a line, and answers each with a line on stdout. When stdin ends, so does the peer, with
everything it started. Only the standard library is needed here; the peer's file brings its own.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tests.bench.peers.door import Peer, Plan
from tests.bench.usage import Usage

STOPS_WITHIN_S = 10.0
WARM_UP = 200
GARBAGE = (50_000, 20, 50)
"""A producer with ten thousand calls open holds a million objects, and with Python's own thresholds looks through them for cycles
again and again: a third of its time. So it looks less often, as a producer of that size should; for every peer alike."""


class Driver:
    """Carries orders out, one at a time. Method names are the orders."""

    def __init__(self, peer: type[Peer]) -> None:
        self._class = peer
        self._peer: Peer | None = None
        self._usage: Usage | None = None

    @property
    def peer(self) -> Peer:
        assert self._peer is not None, "start comes first"
        return self._peer

    async def start(self, **plan: Any) -> dict[str, Any]:
        """Lay it out and warm it up: connections made, code loaded, caches filled."""
        self._peer = self._class(Plan(**plan))
        began = time.perf_counter()
        await self.peer.start()
        job, *args = self.peer.warm_up
        await self.peer.run_many(job, [tuple(args)] * min(WARM_UP, 10 * self.peer.plan.capacity))
        self._usage = Usage(self.peer.crew)
        gc.freeze()
        gc.set_threshold(*GARBAGE)
        return {"promises": self.peer.promises, "lacks": self.peer.lacks, "start_s": time.perf_counter() - began}

    async def many(self, tasks: int) -> dict[str, Any]:
        """So many no-ops at once, to the last result."""
        began = time.perf_counter()
        await self.peer.run_many("noop", [()] * tasks)
        return {"seconds": time.perf_counter() - began}

    async def singly(self, tasks: int) -> dict[str, Any]:
        """The same from a producer that sends one task a message."""
        run = getattr(self.peer, "run_singly", self.peer.run_many)
        began = time.perf_counter()
        await run("noop", [()] * tasks)
        return {"seconds": time.perf_counter() - began}

    async def latency(self, tasks: int) -> dict[str, Any]:
        """One no-op after another on an idle system, each from submission to result."""
        each_ms = []
        for _ in range(tasks):
            began = time.perf_counter()
            await self.peer.result(await self.peer.submit("noop"))
            each_ms.append((time.perf_counter() - began) * 1000)
        return {"each_ms": each_ms}

    async def play(self, schedule: list[tuple[float, float]]) -> dict[str, Any]:
        """Naps that arrive when the schedule says, whatever is going on: from then to the end of the handler is what counts."""
        began = time.time()
        tickets = []
        for at_s, nap_s in schedule:
            pause_s = began + at_s - time.time()
            if pause_s > 0:
                await asyncio.sleep(pause_s)
            tickets.append(await self.peer.submit("nap", nap_s))
        ends = [await self.peer.result(ticket) for ticket in tickets]
        return {"each_s": [end - began - at_s for end, (at_s, _) in zip(ends, schedule, strict=True)]}

    async def burn(self, tasks: int, rounds: int) -> dict[str, Any]:
        """Hashing, all submitted at once."""
        began = time.perf_counter()
        await self.peer.run_many("burn", [(rounds,)] * tasks)
        return {"seconds": time.perf_counter() - began}

    async def rest(self, seconds: float) -> dict[str, Any]:
        """Nothing to do: what does that cost?"""
        assert self._usage is not None
        self._usage.look()
        await asyncio.sleep(seconds)
        return {"usage": self._usage.look()}

    async def usage(self) -> dict[str, Any]:
        """CPU and memory of its processes, since it was last asked."""
        assert self._usage is not None
        self.peer.crew.judge()
        return {"usage": self._usage.look()}

    async def stop(self) -> dict[str, Any]:
        """The end."""
        if self._peer is not None:
            peer, self._peer = self._peer, None
            try:
                async with asyncio.timeout(STOPS_WITHIN_S):
                    await peer.stop()
            except TimeoutError:
                pass  # its broker may be gone; its processes end all the same
            finally:
                peer.crew.dismiss()
        return {}


async def serve(driver: Driver, answer: Callable[[dict[str, Any]], None]) -> None:
    """Until stdin ends."""
    loop = asyncio.get_running_loop()
    try:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            order = json.loads(line)
            act: Callable[..., Awaitable[dict[str, Any]]] = getattr(driver, order.pop("do"))
            try:
                answer(await act(**order))
            except Exception as trouble:  # the harness reads it and goes on with the next peer
                answer({"error": f"{type(trouble).__name__}: {trouble}"})
    finally:
        await driver.stop()


def main() -> None:
    """Play the peer that the command line names."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints must not fall between our answers
    module = importlib.import_module(f"tests.bench.peers.{sys.argv[1]}")
    driver = Driver(module.PEER)
    try:
        import uvloop
    except ImportError:
        runner = asyncio.Runner()
    else:
        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    with runner:
        runner.run(serve(driver, lambda told: print(json.dumps(told), file=answers)))


if __name__ == "__main__":
    main()
