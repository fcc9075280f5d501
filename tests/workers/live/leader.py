"""A scripted leader and agents in processes of their own, on a real broker.

The leader knows the protocol and nothing else: it decides nothing by itself but to echo beats while ``echoing`` is set.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace

from orchestrator.amqp import Delivery, Link, topology
from orchestrator.vocabulary import Attempt, ns
from orchestrator.wire.codec import decode, encode, pack
from orchestrator.wire.messages import (
    Announce,
    Assignment,
    Beat,
    Echo,
    Held,
    Message,
    Notes,
    Orders,
    Report,
    Reports,
    Stop,
)

M = TypeVar("M", bound=Message)
ROOT = Path(__file__).parents[3]
PATIENCE_S = 20.0


class Leader:
    """One reign. Hears the registry and the reports; speaks when told."""

    def __init__(self, link: Link, epoch: int, lease_s: float) -> None:
        self.link = link
        self.epoch = epoch
        self.lease_s = lease_s
        self.echoing = True
        self.heard: list[Message] = []
        self.users: set[str | None] = set()
        self._seqs: dict[str, int] = {}
        self._bell = asyncio.Event()

    def _take(self, delivery: Delivery) -> None:
        message = decode(delivery.body)
        assert isinstance(message, Message), message
        self.heard.append(message)
        self.users.add(delivery.user_id)
        if isinstance(message, Reports):
            self.link.settle([delivery])
        if isinstance(message, Beat | Held) and self.echoing:
            self._send(topology.ECHO, "", Echo(self.epoch, {message.incarnation: message.seq}))
        self._bell.set()

    def _send(self, exchange: str, key: str, message: Any) -> None:
        self.link.send(exchange, key, encode(message), mandatory=False, persistent=False)

    # --- hearing --------------------------------------------------------------------------------------------------------

    async def next(self, kind: type[M], test: Callable[[M], bool] = lambda message: True) -> M:
        """The first message of that kind that has come and was not asked for yet."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for index, message in enumerate(self.heard):
                    if isinstance(message, kind) and test(message):
                        del self.heard[index]
                        return message
                self._bell.clear()
                await self._bell.wait()

    async def report(self, n: int) -> Report:
        """The report of an attempt of this reign."""
        attempt = Attempt(self.epoch, n)
        message = await self.next(Reports, lambda one: any(report.attempt == attempt for report in one.items))
        if others := [report for report in message.items if report.attempt != attempt]:
            self.heard.insert(0, replace(message, items=others))  # what ended at the same time comes in one message
        return next(report for report in message.items if report.attempt == attempt)

    async def noted(self, what: str, n: int) -> None:
        """A note about an attempt of this reign."""
        attempt = Attempt(self.epoch, n)
        await self.next(Notes, lambda one: any((note.what, note.attempt) == (what, attempt) for note in one.items))

    def count(self, kind: type[Message]) -> int:
        """How many messages of a kind have come and were not asked for."""
        return sum(isinstance(message, kind) for message in self.heard)

    # --- speaking -------------------------------------------------------------------------------------------------------

    def orders(self, incarnation: str, **what: Any) -> None:
        """Orders for one incarnation, numbered on."""
        seq = self._seqs[incarnation] = self._seqs.get(incarnation, 0) + 1
        self._send(topology.ORDERS, topology.agent_queue(incarnation), Orders(incarnation, self.epoch, seq, **what))

    def sync(self, incarnation: str) -> None:
        """Ask to be obeyed."""
        self.orders(incarnation, sync=True, lease_ns=ns(self.lease_s))

    def assign(self, incarnation: str, n: int, handler: str, **arguments: Any) -> None:
        """One attempt at the task t<n>."""
        self.orders(incarnation, assign=[Assignment(f"t{n}", n, handler, pack(arguments), {"slots": 1})])

    def stop(self, incarnation: str, n: int) -> None:
        """Recall the attempt."""
        self.orders(incarnation, stop=[Stop(f"t{n}", Attempt(self.epoch, n))])

    def release(self, incarnation: str, *numbers: int) -> None:
        """These reports are in the ledger."""
        self.orders(incarnation, release=[Attempt(self.epoch, n) for n in numbers])

    async def welcome(self) -> str:
        """Wait for an announcement, sync, wait for the answer; the incarnation is ready for work then."""
        announce = await self.next(Announce)
        self.sync(announce.incarnation)
        await self.next(Held, lambda held: held.incarnation == announce.incarnation and held.epoch == self.epoch)
        self.heard = [message for message in self.heard if not isinstance(message, Announce)]
        return announce.incarnation


@asynccontextmanager
async def leader(url: str, epoch: int = 5, lease_s: float = 4.0) -> AsyncIterator[Leader]:
    """A leader that listens; what all peers share is declared."""
    async with await Link.open(url, name="scripted leader") as link:
        nonce = f"leader-{epoch}"
        await link.declare(_shared() + topology.registry_inbox(nonce))
        one = Leader(link, epoch, lease_s)
        await link.consume(topology.registry_queue(nonce), one._take, prefetch=0, no_ack=True)
        await link.consume(topology.REPORTS, one._take, prefetch=1000)
        yield one


def _shared() -> topology.Topology:
    """What coordinators declare for all, without the ledger: nobody keeps books here."""
    base = topology.base(ledger_max_bytes=64 * 1024**2, ledger_segment_bytes=4 * 1024**2)
    return topology.Topology(
        base.exchanges,
        tuple(queue for queue in base.queues if queue.name != topology.LEDGER),
        tuple(binding for binding in base.bindings if binding.queue != topology.LEDGER),
    )


class Worker:
    """An agent in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self.process = process
        self._folder = folder

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Its exit code."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.wait()

    @property
    def log(self) -> str:
        """What it said to people."""
        return (self._folder / "log").read_text()

    def witnessed(self) -> list[str]:
        """What its handlers did, by their own account."""
        file = self._folder / "witness"
        return file.read_text().splitlines() if file.exists() else []

    async def seen(self, line: str) -> str:
        """Wait until a handler has witnessed a line that begins like this."""
        return await self._until(lambda: next((one for one in self.witnessed() if one.startswith(line)), ""))

    async def told(self, word: str) -> str:
        """Wait until it has logged a decision."""
        return await self._until(lambda: next((one for one in self.log.splitlines() if f'"what": "{word}"' in one), ""))

    async def _until(self, look: Callable[[], str]) -> str:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not (found := look()):  # noqa: ASYNC110  # a file that another process writes: there is no signal
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"in vain; its log:\n{self.log[-3000:]}\nwitness: {self.witnessed()}") from None
        return found


@asynccontextmanager
async def worker(url: str, folder: Path, *options: str) -> AsyncIterator[Worker]:
    """``workers run`` on the service of these tests; killed at the end if it still runs."""
    told = {"ORCHESTRATOR_BROKER": url, "WITNESS": str(folder / "witness"), "PYTHONPATH": str(ROOT), "ORCHESTRATOR_LOG": "json"}
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "workers", "run", "tests.workers.live.services:service", *options,
            env=os.environ | told, cwd=ROOT, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield Worker(process, folder)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
