"""Honest work, and how much of it gets done: a producer that keeps so many tasks open, or submits so many a second.

It speaks the protocol itself, so that it costs little beside what is measured, and it looks at every result: an echo that is not
the number that was sent is a failure, as is any other outcome.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter

from orchestrator.amqp import Delivery, Link, topology
from orchestrator.wire.codec import decode, encode, pack, unpack
from orchestrator.wire.messages import Results, Submit, Task

BATCH = 10


FIRST = 1_000_000
"""Where the load's numbers begin: its names and arguments are of one length, for longer ones in its midst would pass for growth."""


class Load:
    """``window``: so many tasks open; ``rate``: so many a second instead."""

    def __init__(self, url: str, *, window: int = 0, rate: float = 0.0, batch: int = BATCH) -> None:
        self._url = url
        self._window = window
        self._rate = rate
        self._batch = batch
        self._prefix = f"good-{secrets.token_hex(2)}-"
        self._number = FIRST
        self._stopped = False
        self._bell = asyncio.Event()
        self.reply_to = topology.results_queue(secrets.token_hex(8))
        self.open: dict[str, tuple[int, float]] = {}
        self.done = 0
        self._wrong: dict[str, str] = {}
        self.squatted = 0
        """Not done: somebody had submitted another task under that id before us. Ids that can be guessed can be taken."""
        self.waits_s: list[float] = []
        """From submission to result, since they were last taken."""
        self.strays: Counter[str] = Counter()
        """What came into the reply queue and was none of ours."""

    @property
    def tasks(self) -> str:
        """What its tasks are called: this, and a number from ``FIRST`` + 1."""
        return self._prefix

    @property
    def submitted(self) -> int:
        """How many, so far."""
        return self._number - FIRST

    @property
    def oldest(self) -> int:
        """Which of them, counted from 1, is the oldest one that is open, or the next one."""
        return next(iter(self.open.values()), (self._number + 1, 0.0))[0] - FIRST

    @property
    def wrong(self) -> list[str]:
        """What became of those that did not end as they should."""
        return list(self._wrong.values())

    def waits_ms(self) -> dict[str, float | None]:
        """Median and tail of the waits, None if there are none."""
        waits = sorted(self.waits_s)
        return {f"wait_ms_p{share}": round(1000 * waits[len(waits) * share // 100], 1) if waits else None for share in (50, 99)}

    async def run(self) -> None:
        """Until ``stop``; then until all results are there."""
        async with await Link.open(self._url, name="honest producer") as link:
            await link.declare(topology.results_inbox(self.reply_to.removeprefix(topology.results_queue(""))))
            await link.consume(self.reply_to, self._take, prefetch=0, no_ack=True)
            await (self._at_rate(link) if self._rate else self._in_window(link))
            while self.open:
                await self._wait()

    def stop(self) -> None:
        self._stopped = True
        self._bell.set()

    async def _in_window(self, link: Link) -> None:
        while not self._stopped:
            while len(self.open) + self._batch <= self._window:
                self._submit(link)
            await self._wait()

    async def _at_rate(self, link: Link) -> None:
        due = time.perf_counter()
        while not self._stopped:
            now = time.perf_counter()
            while due <= now:
                self._submit(link)
                due += self._batch / self._rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))

    async def _wait(self) -> None:
        self._bell.clear()
        async with asyncio.timeout(60):  # nothing at all for a minute: it is stuck
            await self._bell.wait()

    def _submit(self, link: Link) -> None:
        tasks, now = [], time.perf_counter()
        for _ in range(self._batch):
            self._number += 1
            name = f"{self._prefix}{self._number}"
            self.open[name] = self._number, now
            tasks.append(Task(name, "honest.echo", pack({"number": self._number}, "args")))
        link.send(topology.TASKS, "honest", encode(Submit(tasks)), reply_to=self.reply_to, user_id=link.user)

    def _take(self, delivery: Delivery) -> None:
        message = decode(delivery.body)
        if not isinstance(message, Results):
            self.strays[type(message).__name__] += 1
            return
        now = time.perf_counter()
        for item in message.items:
            taken = item.outcome == "refused" and item.error is not None and item.error.kind == "id_taken"
            known = self.open.pop(item.task, None)
            if taken and (known is not None or item.task in self._wrong):
                self._wrong.pop(item.task, None)  # the other task's end was sent here too, and came first
                self.squatted += 1
                continue
            if known is None:
                self.strays["result"] += 1
                continue
            number, since = known
            if item.outcome != "done" or unpack(item.value or b"\xc0") != number:
                self._wrong[item.task] = f"{item.task}: {item.outcome}, {item.error}"
            self.done += 1
            self.waits_s.append(now - since)
        self._bell.set()
