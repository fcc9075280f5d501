"""The door that every peer is measured through.

Law: a peer is told *what* (so many no-ops, naps, hashes, on so many instances) and does it *its* way: the fastest its documentation
recommends that still keeps its promises. Only the standard library is imported here, for these lines run in every environment.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Ticket = Any
"""What a peer's submission returns: whatever its results are asked by."""


@dataclass(frozen=True)
class Plan:
    """How a peer is to be laid out."""

    url: str
    """AMQP URL of a virtual host that nobody else uses."""
    folder: str
    """For logs and files of this run."""
    instances: int
    """Worker processes, equal but for ``slow``."""
    slots: int
    """Tasks each runs at once."""
    slow: float = 1.0
    """The first instance takes so many times longer."""
    sort: bool = False
    """Order by expected run time, where a peer can (ours)."""
    spread: bool = False
    """Place by speed, where a peer can (ours)."""
    cpu: bool = False
    """Handlers keep the CPU busy."""

    @property
    def capacity(self) -> int:
        """Tasks that run at once, all together."""
        return self.instances * self.slots


class Peer:
    """One contestant. Everything is called from one event loop; a blocking library may block it, as nothing else runs there."""

    promises = ""
    """How it is set up, in words: what is acknowledged, stored and confirmed."""
    lacks = ""
    """What of the promises it cannot keep; empty if nothing."""
    warm_up: tuple[Any, ...] = ("noop",)
    """Job and arguments that are run a few times before anything is measured."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.crew = Crew(plan)

    async def start(self) -> None:
        """Start workers and connect; returns once a task would run at once."""
        raise NotImplementedError

    async def stop(self) -> None:
        """End what ``start`` began."""
        raise NotImplementedError

    async def submit(self, job: str, *args: Any) -> Ticket:
        """Submit ``noop()``, ``nap(seconds)`` or ``burn(rounds)``; returns once it is accepted, as far as the peer can say."""
        raise NotImplementedError

    async def result(self, ticket: Ticket) -> Any:
        """What the handler returned."""
        raise NotImplementedError

    async def run_many(self, job: str, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """All of these, submitted concurrently; returns when all results are there."""

        async def one(args: tuple[Any, ...]) -> Any:
            return await self.result(await self.submit(job, *args))

        return await asyncio.gather(*(one(args) for args in calls))


class BlockingPeer(Peer):
    """A peer whose library blocks: first everything is submitted, then everything awaited."""

    async def run_many(self, job: str, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        tickets = [await self.submit(job, *args) for args in calls]
        return [await self.result(ticket) for ticket in tickets]


@dataclass
class Crew:
    """The processes of a peer, by role. Each has a session of its own, so that its children can be ended with it."""

    plan: Plan
    roles: dict[str, list[subprocess.Popen[bytes]]] = field(default_factory=dict)

    def hire(self, role: str, *arguments: str, slow: bool = False, **environment: str) -> subprocess.Popen[bytes]:
        """Run this environment's Python with ``arguments``."""
        told = {**os.environ, "BENCH_URL": self.plan.url, "PYTHONUNBUFFERED": "1", **environment}
        told["BENCH_SLOW"] = str(self.plan.slow if slow else 1)
        with open(Path(self.plan.folder) / f"{role}.log", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments], env=told, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.roles.setdefault(role, []).append(process)
        return process

    def hire_instances(self, *arguments: str, **environment: str) -> None:
        """One process for each instance of the plan; the first may be slow."""
        for number in range(self.plan.instances):
            named = [argument.replace("{number}", str(number)) for argument in arguments]
            self.hire("instance", *named, slow=number == 0, **environment)

    def dismiss(self, grace_s: float = 10.0, number: int = signal.SIGTERM) -> None:
        """Ask all to end, in the order they came; then make them, with whatever they started."""
        everybody = [process for processes in self.roles.values() for process in processes]
        for process in everybody:
            if process.poll() is None:
                process.send_signal(number)
        for process in everybody:
            with suppress(subprocess.TimeoutExpired):
                process.wait(grace_s)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def judge(self) -> None:
        """Raises RuntimeError if one of them has ended by itself, with its last words."""
        for role, processes in self.roles.items():
            for process in processes:
                if process.poll() is not None:
                    words = (Path(self.plan.folder) / f"{role}.log").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"a process ({role}) ended by itself with code {process.returncode}:\n{words}")
