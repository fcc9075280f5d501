"""What submitting costs, on a real broker of its own:  ``python -m tests.client.measure [uvloop]``.

Three numbers: 20,000 concurrent ``submit()`` of no-op tasks until all are confirmed (nobody consumes them: producer and broker are
measured), the same awaited to the end (``run``) with a coordinator that answers at once, and one at a time on
an idle system.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

from orchestrator.client import Client, Limits
from orchestrator.live.embedded import EmbeddedBroker
from tests.client.scripted import Scripted, coordinating, running

TASKS = 20_000
DEPTHS = (1, 2, 4, 8)
SIZES = (128, 512, 1024, 4096)


async def submits(url: str, limits: Limits) -> str:
    """Submissions per second, and the messages they shared."""
    best, messages = 0.0, 0
    for _ in range(3):
        async with Client(url, limits=limits, unconfirmed_max=TASKS) as client:
            began = time.perf_counter()
            await asyncio.gather(*(client.submit("a.b") for _ in range(TASKS)))
            rate = TASKS / (time.perf_counter() - began)
            if rate > best:
                best, messages = rate, client.counters.messages
    return f"{best:8,.0f} submits/s in {messages} messages"


async def runs(url: str) -> str:
    """The same to the end."""
    async with coordinating(url), Client(url) as client:
        began = time.perf_counter()
        await asyncio.gather(*(client.run("a.b") for _ in range(TASKS)))
        return f"{TASKS / (time.perf_counter() - began):8,.0f} runs/s, unconfirmed_max=10,000 (the coordinator in this process)"


async def alone(url: str) -> str:
    """One at a time."""
    async with coordinating(url), Client(url) as client:
        submit_ms, run_ms = [], []
        for _ in range(500):
            began = time.perf_counter()
            handle = await client.submit("a.b")
            submit_ms.append((time.perf_counter() - began) * 1000)
            await handle
            run_ms.append((time.perf_counter() - began) * 1000)
        quantiles = [statistics.quantiles(each, n=100) for each in (submit_ms, run_ms)]
        return "idle: " + "; ".join(
            f"{name} p50 {each[49]:.2f} ms, p99 {each[98]:.2f} ms"
            for name, each in zip(("confirmed", "result"), quantiles, strict=True)
        )


async def main() -> None:
    """All of it."""
    with tempfile.TemporaryDirectory() as directory:
        async with EmbeddedBroker(Path(directory) / "broker") as broker:
            print(await alone(broker.url), flush=True)
            print(await runs(broker.url), flush=True)
            scripted = Scripted(broker.url)
            scripted.takes = False
            async with running(scripted):
                for size in SIZES:
                    for depth in DEPTHS:
                        limits = Limits(tasks=size, bytes=1024 * 1024, depth=depth)
                        print(f"{size:4} tasks a message, {depth} deep: {await submits(broker.url, limits)}", flush=True)
                        assert scripted.link is not None
                        await scripted.link.purge("orchestrator.tasks")


if __name__ == "__main__":
    if "uvloop" in sys.argv:
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
