"""Agents that sleep: real agents on real connections, whose handlers take as long as their task's arguments say and no CPU.

Law: everything but the work is real: they announce themselves, beat, keep windows, report, obey. All of them live on one loop, and
a job is one timer, so one process can be a hundred instances. A job that is asked to make room leaves how far it was, and goes on
from there.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from random import Random
from secrets import randbits
from typing import Self

from orchestrator.vocabulary import NS_PER_S, Attempt, Nanos, Service
from orchestrator.wire.codec import CannotUnpack, error
from orchestrator.wire.messages import Handler
from orchestrator.wire.values import pack, unpack
from workers.clock import steady_ns, unix_ns
from workers.core import Agent
from workers.core.commands import StartJob, StopJob
from workers.core.events import Checkpointed, DrainAsked, Event, JobDone, JobFailed, JobLate, JobStarted, JobStopped
from workers.core.profile import Profile
from workers.jobs import Permit
from workers.live.logbook import Level, logbook
from workers.live.shell import Shell

RUN = "run_ns"
"""The argument that says how long to sleep."""
NOTHING = b"\xc0"


class Sleep:
    """Runs jobs by doing nothing for a while."""

    def __init__(self, loop: asyncio.AbstractEventLoop, permit: Permit, say: Callable[[Event], None]) -> None:
        self._loop = loop
        self._permit = permit
        self._say = say
        self._asleep: dict[Attempt, tuple[asyncio.TimerHandle, Nanos, Nanos]] = {}
        """Its alarm, when it fell asleep (steady clock), and what it had slept before."""

    def start(self, command: StartJob, incarnation: str) -> None:
        """Sleep as long as the arguments say, less what an earlier attempt has slept."""
        item, attempt = command.assignment, command.attempt
        try:
            run_ns = int(unpack(item.args)[RUN])
            slept_ns = int(unpack(item.checkpoint)) if item.checkpoint is not None else 0
        except (CannotUnpack, KeyError, TypeError, ValueError) as trouble:
            why = f"a task of a replay says how long it runs ({RUN}); this one does not: {trouble!r}"
            self._say(JobFailed(attempt, error("bad_arguments", why), retry=False, at_ns=unix_ns()))
            return
        if not self._permit.allows(incarnation):
            self._say(JobLate(attempt))
            return
        self._say(JobStarted(attempt, unix_ns()))
        alarm = self._loop.call_later(max(0, run_ns - slept_ns) / NS_PER_S, self._wake, attempt)
        self._asleep[attempt] = (alarm, steady_ns(), slept_ns)

    def stop(self, command: StopJob) -> None:
        """Wake up at once; asked softly, leave how far it was."""
        found = self._asleep.pop(command.attempt, None)
        if found is None:
            return
        alarm, since_ns, slept_ns = found
        alarm.cancel()
        if not command.hard:
            self._say(Checkpointed(command.attempt, pack(slept_ns + steady_ns() - since_ns, "checkpoint"), unix_ns()))
        self._say(JobStopped(command.attempt))

    def _wake(self, attempt: Attempt) -> None:
        del self._asleep[attempt]
        self._say(JobDone(attempt, NOTHING, unix_ns()))


class Sleepers:
    """So many sleeping instances of each service, as long as the ``async with`` lasts."""

    def __init__(
        self,
        url: str,
        offers: Mapping[Service, Iterable[str]],
        instances: int,
        capacity: Mapping[str, float],
        *,
        log_level: Level = "warning",
    ) -> None:
        """``offers``: services, and the handlers of each. ``capacity``: of one instance."""
        self._url = url
        where = f"{socket.gethostname()[:40]}-{os.getpid()}"
        self._profiles = [
            Profile(
                f"{service}-{number}@{where}", service, dict(capacity), tuple(Handler(name, preemptible=True) for name in handlers)
            )
            for service, handlers in offers.items()
            for number in range(1, instances + 1)
        ]
        self._log_level = log_level
        self._lives: list[asyncio.Task[str]] = []
        self._posts: list[Callable[[Event], None]] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for profile in self._profiles:
            permit = Permit()
            book = logbook("console", self._log_level, instance=profile.instance)
            shell = Shell(Agent(profile, Random(randbits(64))), self._url, book, permit)
            self._posts.append(shell.post)
            self._lives.append(loop.create_task(shell.live(Sleep(loop, permit, shell.post))))
        return self

    async def __aexit__(self, *_: object) -> None:
        for post in self._posts:
            post(DrainAsked(0, "the replay is over"))
        await asyncio.gather(*self._lives, return_exceptions=True)
