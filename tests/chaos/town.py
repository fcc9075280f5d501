"""A town: brokers, coordinators, workers, a producer with its load, a witness. What scenarios break, and look at afterwards.

Law: a town waits for signals, not for time. Every process writes its log as JSON into a pipe that the town reads, so "it leads" and
"it has work" are known when they are said.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from orchestrator.client import Client, Handle, OrchestratorError
from tests.chaos.clocks import Clock, Clocks
from tests.chaos.door import Door
from tests.chaos.nodes import Nodes, Torn
from tests.chaos.witness import Harm

ROOT = Path(__file__).parents[2]
SERVICE = "tests.chaos.services:service"
READY_WITHIN_S = 120.0
SETTLES_WITHIN_S = 120.0
PATIENCE_S = 300.0
"""The producer does not give a submission up: what it was told is asked for at the end."""
FOR_EVER_NS = 1 << 62
QUIET_VHOST = "quiet"
"""A virtual host without an event exchange."""


async def nothing() -> AsyncIterator[bytes]:
    """The log of one that is not heard."""
    return
    yield b""


Kind = Literal["coordinator", "worker"]


class Actor:
    """One process of ours, through as many lives as it takes."""

    def __init__(self, town: Town, kind: Kind, name: str, door: Door | None, environment: dict[str, str]) -> None:
        self.kind = kind
        self.name = name
        self.door = door
        self.said: list[dict[str, Any]] = []
        """Its log, over all lives."""
        self.process: asyncio.subprocess.Process | None = None
        self.lives = 0
        self._town = town
        self._environment = environment
        self.clock: Clock | None = None
        """Its own, where there can be one."""
        self._reader: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """Of its present life."""
        assert self.process is not None
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def start(self, log: int = asyncio.subprocess.PIPE) -> None:
        """Begin a life; returns before it is ready. ``log``: a descriptor to write it to, instead of where we hear it."""
        command = ["-m", "orchestrator", "coordinator"] if self.kind == "coordinator" else ["-m", "workers", "run", SERVICE]
        environment = self._environment | (self.clock.environment if self.clock else {})
        self.lives += 1
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, *command, env=environment, cwd=ROOT, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL, stderr=log, limit=1 << 22,
        )  # fmt: skip
        self._reader = asyncio.ensure_future(self._listen(self.process))

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        async for line in process.stderr or nothing():
            try:
                word: dict[str, Any] = json.loads(line)
            except ValueError:
                word = {"what": "noise", "text": line.decode(errors="replace").rstrip()}
            word["heard_ns"], word["life"] = time.monotonic_ns(), self.lives
            self.said.append(word)
            self._town.heard()

    def send(self, number: signal.Signals) -> None:
        """A signal to this life."""
        assert self.process is not None
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Wait until this life is over, and all it said is read."""
        assert self.process is not None
        assert self._reader is not None
        code = await self.process.wait()
        await self._reader
        return code

    def last(self, what: str) -> int:
        """When it last said so (ns; 0: never, in this life)."""
        mine = (word for word in reversed(self.said) if word["life"] == self.lives)
        return next((word["heard_ns"] for word in mine if word["what"] == what), 0)

    def follows(self) -> int:
        """When a coordinator last said that it has read the ledger. (After many short sessions it only says that one lasts.)"""
        return max(map(self.last, ("standing_by", "leading", "session_lasts")))


@dataclass(slots=True)
class Load:
    """Tasks submitted at a steady rate, and what their producer was told of them."""

    sent: dict[str, int] = field(default_factory=dict)
    """Task -> when its submission was confirmed (ns)."""
    wrong: dict[str, str] = field(default_factory=dict)
    """Ended, but not as they should have."""
    results: dict[str, int] = field(default_factory=dict)
    """Ended well -> when the producer was told."""
    asked: int = 0
    """Submissions that were begun."""
    flowing: asyncio.Event = field(default_factory=asyncio.Event)
    over_ns: int = 0

    @property
    def unknown(self) -> int:
        """Submissions that were never confirmed, refused or not, though their producer did not give up before the end."""
        return self.asked - len(self.sent)

    @property
    def lost(self) -> list[str]:
        """Confirmed, and never answered."""
        return [task for task in self.sent if task not in self.results and task not in self.wrong]


class Town:
    """Use as a context manager. ``events``: whether the broker tells of lost connections."""

    def __init__(
        self,
        folder: Path,
        *,
        nodes: int = 1,
        coordinators: int = 2,
        workers: int = 3,
        events: bool = True,
        doors: bool = True,
        disk_mb: int = 0,
        torn: Torn = "autoheal",
    ) -> None:
        self.folder = folder
        self.witness = folder / "witness"
        self.witness.touch()
        self.clocks = Clocks(folder)
        self.nodes = Nodes(folder / "nodes", nodes, self.clocks.clock("nodes"), disk_mb, torn)
        self.coordinators: list[Actor] = []
        self.workers: list[Actor] = []
        self.harms: list[Harm] = []
        self.client: Client
        self._counts = coordinators, workers
        self._events = events
        self._doors = doors
        self._stack = AsyncExitStack()
        self._bell = asyncio.Event()
        self.producer_door: Door | None = None

    # --- its life ---------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        try:
            await self._stack.enter_async_context(self.nodes)
            if not self._events:
                await self.nodes.eval(f'rabbit_vhost:add(<<"{QUIET_VHOST}">>, <<"operator">>).')
                await self.nodes.permit(".*", QUIET_VHOST)
            self._stack.push_async_callback(self._end_actors)
            coordinators, workers = self._counts
            self.coordinators = [await self._actor("coordinator", n) for n in range(coordinators)]
            self.workers = [await self._actor("worker", n) for n in range(workers)]
            for one in (*self.coordinators, *self.workers):
                await one.start()
            self.producer_door = await self._door(0)
            port = self.nodes.port(0) if self.producer_door is None else self.producer_door.port
            await self.ready()
            self.client = await self._stack.enter_async_context(Client(self._url(port), accept_within=PATIENCE_S))
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stack.aclose()

    @property
    def url(self) -> str:
        """Of the broker, for one more."""
        return self._url(self.nodes.port(0))

    def _url(self, port: int) -> str:
        url = self.nodes.url(port)
        return url if self._events else url.replace("%2F", QUIET_VHOST)

    async def _door(self, n: int) -> Door | None:
        if not self._doors:
            return None
        count = self.nodes.count
        ports = [self.nodes.port((n + i) % count) for i in range(count)]
        return await self._stack.enter_async_context(Door(ports))

    async def _actor(self, kind: Kind, n: int) -> Actor:
        door = await self._door(n)
        port = self.nodes.port(n % self.nodes.count) if door is None else door.port
        environment = os.environ | {
            "ORCHESTRATOR_BROKER": self._url(port), "ORCHESTRATOR_LOG": "json", "ORCHESTRATOR_NAME": f"{kind}{n}",
            "ORCHESTRATOR_REPLICATED": str(self.nodes.count > 1).lower(), "WORKERS_INSTANCE": f"{kind}{n}",
            "WITNESS": str(self.witness), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1",
        }  # fmt: skip
        actor = Actor(self, kind, f"{kind}{n}", door, environment)
        actor.clock = self.clocks.clock(actor.name)
        return actor

    async def _end_actors(self) -> None:
        living = [one for one in (*self.coordinators, *self.workers) if one.alive]
        for one in living:
            one.send(signal.SIGCONT)
            one.send(signal.SIGKILL)
        for one in living:
            await one.ended()

    # --- what is said ------------------------------------------------------------------------------------------------------

    def heard(self) -> None:
        """One of ours said something: whoever waits looks again."""
        self._bell.set()

    async def until(self, what: Callable[[], Any], why: str, within_s: float = READY_WITHIN_S) -> None:
        """Wait until something that the processes say makes this true. Raises AssertionError with their last words."""
        try:
            async with asyncio.timeout(within_s):
                while not what():
                    self._bell.clear()
                    await self._bell.wait()
        except TimeoutError:
            raise AssertionError(f"{why}: not within {within_s:.0f} s") from None

    def story(self, lines: int = 12) -> str:
        """The end of what each of them said."""
        said = []
        for one in (*self.coordinators, *self.workers):
            said.append(f"--- {one.name}, life {one.lives}, {'alive' if one.alive else 'dead'}")
            said += [json.dumps({k: v for k, v in word.items() if k not in ("level", "heard_ns")}) for word in one.said[-lines:]]
        return "\n".join(said)

    @property
    def leader(self) -> Actor:
        """Who said last that it leads."""
        return max(self.coordinators, key=lambda one: one.last("leading") if one.alive else -1)

    @property
    def leaders(self) -> list[Actor]:
        """All who live and have not said since that they do not lead any more."""
        over = "session_ended", "session_lost", "resigned"
        return [one for one in self.coordinators if one.alive and one.last("leading") > max(map(one.last, over))]

    @property
    def standby(self) -> Actor:
        """Another coordinator that lives."""
        return next(one for one in self.coordinators if one.alive and one is not self.leader)

    async def ready(self) -> None:
        """Until somebody leads, everybody lives, and every worker has work or may have it."""
        await self.until(lambda: self.leader.last("leading"), "nobody leads")
        for one in self.coordinators:
            await self.until(one.follows, f"{one.name} does not follow")
        for one in self.workers:
            await self.until(lambda one=one: one.last("joined"), f"{one.name} gets no work")

    async def revive(self) -> None:
        """Start again whoever is dead."""
        for one in (*self.coordinators, *self.workers):
            if not one.alive:
                await one.start()
        await self.ready()

    def harm(self, actor: Actor, what: str, from_ns: int, until_ns: int = FOR_EVER_NS) -> None:
        """Write down what was done to a process."""
        self.harms.append(Harm(actor.pid, what, from_ns, until_ns))

    # --- the load -----------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def load(self, *, rate: float = 100.0, seconds: float = 0.03, settle_s: float = SETTLES_WITHIN_S) -> AsyncIterator[Load]:
        """So many tasks a second for as long as the block lasts; at its end everything that was confirmed is waited for."""
        load = Load()
        runs: set[asyncio.Task[None]] = set()
        flow = asyncio.ensure_future(self._flow(load, runs, rate, seconds))
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                await load.flowing.wait()
            yield load
        finally:
            flow.cancel()
            load.over_ns = time.monotonic_ns()
            if runs:
                await asyncio.wait(runs, timeout=settle_s)
            for run in runs:
                run.cancel()
            await asyncio.gather(flow, *runs, return_exceptions=True)

    async def _flow(self, load: Load, runs: set[asyncio.Task[None]], rate: float, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        work = self.client.task("town.work")
        due = loop.time()
        number = 0
        while True:
            number += 1
            call = work.call(number=number, seconds=seconds)
            run = asyncio.ensure_future(self._one(load, call, number))
            runs.add(run)
            run.add_done_callback(runs.discard)
            due += 1 / rate
            if (wait_s := due - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            elif wait_s < -1:
                due = loop.time()  # we were held up: what was not submitted then is not made up for

    async def _one(self, load: Load, call: Any, number: int) -> None:
        handle: Handle
        load.asked += 1
        try:
            (handle,) = await self.client.submit_many([call])
        except OrchestratorError:
            return  # it is asked, and not sent
        load.sent[handle.id] = time.monotonic_ns()
        result = await handle.outcome()
        if result.outcome == "done" and await handle == 2 * number:
            load.results[handle.id] = time.monotonic_ns()
        else:
            load.wrong[handle.id] = f"{result.outcome}: {result.error}"
        load.flowing.set()
