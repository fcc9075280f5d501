"""Scripted peers that speak the protocol on a real broker, and a coordinator daemon in the test's own loop."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from orchestrator.amqp import Link, topology
from orchestrator.amqp.errors import Missing
from orchestrator.live.daemon import Daemon
from orchestrator.live.settings import load_settings
from orchestrator.live.telemetry import Telemetry
from orchestrator.vocabulary import Attempt
from orchestrator.wire.codec import decode, encode
from orchestrator.wire.messages import (
    Announce,
    Answer,
    Assignment,
    Beat,
    Control,
    Echo,
    Error,
    Handler,
    Held,
    Holding,
    Message,
    Note,
    Notes,
    Orders,
    Report,
    Reports,
    Result,
    Results,
    Submit,
    Task,
)

M = TypeVar("M")
PATIENCE_S = 30.0
"""Nothing waits so long but what hangs, or a machine that is very busy."""


class Ears(Telemetry):
    """Hears what the daemon says, so that a test can wait for a decision instead of sleeping."""

    crash: Callable[[], object]
    read_to: Callable[[], int]
    """The first offset of the ledger that it has not read."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []
        self._bell = asyncio.Event()

    @property
    def unheard(self) -> frozenset[str]:
        """Nothing is too quiet for it."""
        return frozenset()

    def say(self, what: str, fields: Any) -> None:
        self.said.append((what, dict(fields)))
        self._bell.set()

    async def heard(self, what: str, test: Callable[[dict[str, Any]], bool] = lambda fields: True) -> dict[str, Any]:
        """Wait until this was said."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for word, fields in self.said:
                    if word == what and test(fields):
                        return fields
                self._bell.clear()
                await self._bell.wait()


@asynccontextmanager
async def coordinator(url: str, **settings: Any) -> AsyncIterator[Ears]:
    """A coordinator that leads, in this loop. Leaving cuts it off, as a crash would."""
    async with running(url, **settings) as ears:
        await ears.heard("leading")
        yield ears


@asynccontextmanager
async def running(url: str, *, unchecked: Mapping[str, Any] | None = None, **settings: Any) -> AsyncIterator[Ears]:
    """A coordinator, leading or standing by. ``unchecked``: settings with values that nobody may give it, for a test's patience."""
    ears = Ears()
    daemon = Daemon(load_settings(None, broker=url, **settings).model_copy(update=unchecked), ears)
    task = asyncio.ensure_future(daemon.run())
    ears.crash = task.cancel
    ears.read_to = lambda: daemon.read_to
    try:
        yield ears
    finally:
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(outcome, asyncio.CancelledError), outcome


async def exists(link: Link) -> None:
    """What coordinators declare: a test may let peers come before the first coordinator. What is there stays as it is."""
    settings = load_settings(None, broker="amqp://unused")
    base = topology.base(ledger_max_bytes=settings.ledger_bytes_max, ledger_segment_bytes=settings.ledger_segment_bytes)
    try:
        await link.check(base)
    except Missing:
        await link.declare(base)


class Peer:
    """Something with a queue of its own."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()

    async def listen(self, queue: str) -> None:
        await self.link.consume(queue, self._take, prefetch=0, no_ack=True)

    def _take(self, delivery: Any) -> None:
        message = decode(delivery.body)
        assert isinstance(message, Message), message
        self.inbox.put_nowait(message)

    async def next(self, kind: type[M], test: Callable[[M], bool] = lambda message: True, timeout_s: float = PATIENCE_S) -> M:
        """The next message of a kind (others are dropped)."""
        async with asyncio.timeout(timeout_s):
            while True:
                message = await self.inbox.get()
                if isinstance(message, kind) and test(message):
                    return message


class Producer(Peer):
    """Submits, asks, and hears results."""

    reply_to = ""

    def submit(self, *tasks: Task) -> None:
        key = tasks[0].type.partition(".")[0]
        self.link.send(topology.TASKS, key, encode(Submit(list(tasks))), reply_to=self.reply_to)

    async def result(self, task: str, timeout_s: float = PATIENCE_S) -> Result:
        """How this task ended."""
        message = await self.next(Results, lambda one: any(item.task == task for item in one.items), timeout_s)
        return next(item for item in message.items if item.task == task)

    async def ask(self, op: str, **args: Any) -> Any:
        """An operator's question, which is answered."""
        answer = await self.answer(op, **args)
        assert answer.ok, answer.error
        return answer.value

    async def answer(self, op: str, **args: Any) -> Answer:
        """What becomes of an operator's question."""
        control = Control(secrets.token_hex(4), op, args)
        self.link.send(topology.CONTROL, topology.KEY_CONTROL, encode(control), reply_to=self.reply_to, persistent=False)
        return await self.next(Answer, lambda one: one.id == control.id)


@asynccontextmanager
async def producer(url: str) -> AsyncIterator[Producer]:
    """A producer with a reply queue."""
    link = await Link.open(url, name="producer")
    try:
        await exists(link)
        nonce = secrets.token_hex(4)
        peer = Producer(link)
        peer.reply_to = topology.results_queue(nonce)
        await link.declare(topology.results_inbox(nonce))
        await peer.listen(peer.reply_to)
        yield peer
    finally:
        await link.close()


class ScriptedAgent(Peer):
    """Says exactly what the test tells it to say; beats by itself only when asked to."""

    incarnation = ""
    name = ""
    seq = 0
    epoch = 0
    drained = 0

    def soft(self, message: Message) -> None:
        self.link.send(topology.AGENTS, topology.KEY_REGISTRY, encode(message), mandatory=False, persistent=False)

    def announce(self, service: str, *handlers: str, capacity: dict[str, float] | None = None, **more: Any) -> None:
        offers = [Handler(name, retries=1, backoff_ns=1_000_000) for name in handlers]
        self.announced = Announce(self.name, self.incarnation, service, offers, capacity or {"slots": 1}, **more)
        self.soft(self.announced)

    async def answer_sync(self, *holdings: Holding, before: Sequence[str] = ()) -> Orders:
        """Wait for a sync and answer it."""
        orders = await self.next(Orders, lambda one: one.sync)
        self.answer(orders, *holdings, before=before)
        return orders

    def answer(self, orders: Orders, *holdings: Holding, before: Sequence[str] = ()) -> None:
        """The answer to this sync."""
        self.epoch, self.drained = orders.epoch, orders.seq
        self.seq += 1
        self.soft(self.announced)
        self.soft(Held(self.incarnation, self.seq, self.epoch, self.drained, list(holdings), list(before)))

    def beat(self, *held: Attempt) -> None:
        self.seq += 1
        self.soft(Beat(self.incarnation, self.seq, self.epoch, self.drained, list(held)))

    async def assigned(self, timeout_s: float = PATIENCE_S) -> tuple[Assignment, Attempt]:
        """The next single assignment."""
        orders = await self.next(Orders, lambda one: bool(one.assign), timeout_s)
        self.drained = orders.seq
        (assignment,) = orders.assign
        return assignment, Attempt(orders.epoch, assignment.n)

    def started(self, task: str, attempt: Attempt) -> None:
        self.soft(Notes(self.incarnation, [Note(task, attempt, "started")]))

    def done(self, task: str, attempt: Attempt, value: bytes = b"\xc0") -> None:
        self._report(Report(task, attempt, "done", value, started_ns=1, ended_ns=2))

    def failed(self, task: str, attempt: Attempt, message: str, *, retry: bool = True) -> None:
        self._report(Report(task, attempt, "failed", error=Error("ValueError", message), retry=retry, started_ns=1, ended_ns=2))

    def _report(self, report: Report) -> None:
        self.link.send(topology.AGENTS, topology.KEY_REPORTS, encode(Reports(self.incarnation, [report])))

    async def released(self, attempt: Attempt) -> None:
        await self.next(Orders, lambda one: attempt in one.release)

    def die(self) -> None:
        """Its sockets are gone without a word, as after SIGKILL."""
        for connection in self.link._connections.values():
            connection.tap.abort()


@asynccontextmanager
async def agent(url: str, service: str, *handlers: str, ready: bool = True, **more: Any) -> AsyncIterator[ScriptedAgent]:
    """An agent of ``service``, joined and synced unless ``ready`` is false. Leaving closes its connection, in good order."""
    incarnation = secrets.token_hex(4)
    link = await Link.open(url, name="agent", incarnation=incarnation)
    try:
        await exists(link)
        peer = ScriptedAgent(link)
        peer.incarnation = incarnation
        peer.name = f"{service}@{peer.incarnation}"
        await link.declare(topology.agent_inbox(peer.incarnation))
        await peer.listen(topology.agent_queue(peer.incarnation))
        if ready:
            peer.announce(service, *handlers, **more)
            await peer.answer_sync()
        yield peer
    finally:
        await link.close()


__all__ = ["Ears", "Echo", "Holding", "Orders", "Task", "agent", "coordinator", "producer", "running"]
