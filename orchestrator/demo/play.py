"""The job, the kill, the bill.

Every file is parsed, and what was found is entered into the index, as two tasks; when all are in, one more task sums up. Half way
one ``parse`` process is killed while it is in the middle of tasks.

*When* it is killed matters to what may be asked of the rest. Tasks run at least once: a handler that had completed, and whose
report had not left its process yet, would rightly run again, and nobody could tell it from a fault. So the moment is chosen so that
the process holds unfinished work and nothing finished but unreported: it is stopped (SIGSTOP), looked at, what it has reported is
waited for, and it is either killed or let go on until the next result. From then on "run twice" must be zero, and is not forgiven.
And somebody must be there to take over: nothing is submitted before all instances are in.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Any

from orchestrator.client import Client, NoCoordinator
from orchestrator.demo.bill import Bill, bill_of
from orchestrator.demo.files import SourceFile, source_files
from orchestrator.demo.services import WITNESS
from orchestrator.demo.stage import Say, Stage, stage
from orchestrator.demo.witness import Kill, Reader, work_of
from orchestrator.wire.messages import Result

PARSERS = {f"parse-{number}": "parse" for number in (1, 2, 3)}
INSTANCES = {**PARSERS, "index-1": "index", "summarise-1": "summarise"}
STANDS_S = 0.2
"""So long a process stands still before it is killed or goes on: much less than its lease."""
LOOK_S = 0.05
"""Between two looks at who has announced itself."""
PATIENCE_S = 150.0
"""After this whatever has no result counts as lost."""

Progress = Callable[[int, int], None]
"""Told how many tasks are done, and of how many."""


async def play(directory: Path, broker: str | None, limit: int, say: Say, progress: Progress) -> Bill:
    """The whole demo, in ``directory``; on a broker of its own unless ``broker`` is the URL of one.

    Raises EmbeddedBrokerError, ProcessDied, or what the client raises; nothing that was started here runs on then.
    """
    files = await asyncio.to_thread(source_files, limit)
    async with stage(directory, broker, INSTANCES, say) as cast, Client(cast.url) as client:
        say(f"{len(files)} source files, {len(INSTANCES)} instances of 3 services")
        job = Job(cast, client, directory, files, say, progress)
        fall = asyncio.create_task(cast.collapse(job.killed))
        work = asyncio.create_task(job.whole())
        try:
            await asyncio.wait((fall, work), return_when=asyncio.FIRST_COMPLETED)
            if fall.done():
                fall.result()
            return await work
        finally:
            fall.cancel()
            work.cancel()
            await asyncio.gather(fall, work, return_exceptions=True)


class Job:
    """One run: what was submitted, what came back, who was killed."""

    def __init__(self, cast: Stage, client: Client, work: Path, files: list[SourceFile], say: Say, progress: Progress) -> None:
        self._cast = cast
        self._client = client
        self._work = str(work)
        self._files = files
        self._say = say
        self._progress = progress
        self._run = f"demo-{secrets.token_hex(4)}"
        self._total = 2 * len(files) + 1
        self._witness = Reader(work / WITNESS)
        self._victims = cycle(PARSERS)
        self._parsed = 0
        self._submitted: set[str] = set()
        self._results: dict[str, Result] = {}
        self._kills: list[Kill] = []
        self._choosing = False
        """Whether somebody is looking for a victim."""
        self._came = asyncio.Event()
        """Another result is here."""
        self.killed: set[int] = set()
        """Ids of the processes that were killed on purpose."""

    async def whole(self) -> Bill:
        """Everything, and the bill for it."""
        facts: dict[str, Any] = {}
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._all_are_in()
                began = time.monotonic()
                async with asyncio.TaskGroup() as group:
                    for number, file in enumerate(self._files, 1):
                        group.create_task(self._read(number, file))
                facts = await self._do("report", "summarise.report", work=self._work) or {}
        except TimeoutError:
            self._say(f"after {PATIENCE_S:.0f} s not everything has come back; the bill says what is missing")
        elapsed_s = time.monotonic() - began
        seen = self._witness.lines()
        return bill_of(
            self._submitted, self._results, seen, self._kills, files=len(self._files), elapsed_s=elapsed_s, facts=facts
        )  # fmt: skip

    async def _all_are_in(self) -> None:
        """The coordinator knows each of our instances: on a busy machine the first could be done before the last has started."""
        while not INSTANCES.keys() <= await self._known():  # noqa: ASYNC110  nothing announces it
            await asyncio.sleep(LOOK_S)

    async def _known(self) -> set[str]:
        with suppress(NoCoordinator):
            services = await self._client.ask("services", timeout_s=PATIENCE_S)
            return {one["instance"] for service in services for one in service["instances"]}
        return set()

    async def _read(self, number: int, file: SourceFile) -> None:
        """One file, through both services."""
        found = await self._do(f"parse-{number}", "parse.file", root=file.root, name=file.name, work=self._work)
        self._parsed += 1
        if not self._kills and not self._choosing and self._parsed * 2 >= len(self._files):
            self._choosing = True
            await self._kill_one()
            self._choosing = False
        if found is not None:
            await self._do(f"index-{number}", "index.add", found=found, work=self._work)

    async def _do(self, label: str, type_: str, /, **args: Any) -> Any:
        """Submit a task and wait for its end; what it returned, or None if it did not succeed."""
        handle = await self._client.task(type_, id=f"{self._run}-{label}").submit(**args)
        self._submitted.add(handle.id)
        result = await handle.outcome()
        self._results[handle.id] = result
        self._came.set()
        self._progress(len(self._results), self._total)
        return await handle if result.outcome == "done" else None

    async def _kill_one(self) -> None:
        """Kill a parse process that is in the middle of tasks and has reported all that it has finished, if there is one now: what
        is finished and not reported runs again, as it must, and would be counted as run twice."""
        for name in (next(self._victims) for _ in PARSERS):
            pid = self._cast.agents[name].pid
            _halt(pid)
            try:
                holds, completed = work_of(self._witness.lines(), pid)
                if holds and await self._have_come(completed):
                    self.killed.add(pid)
                    self._kills.append(Kill(time.time_ns(), pid, name))
                    os.kill(pid, signal.SIGKILL)
                    self._say(f"killed {name} (process {pid}) in the middle of its work")
                    return
            finally:
                if pid not in self.killed:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCONT)

    async def _have_come(self, tasks: set[str]) -> bool:
        """Whether the results of these are here, or on their way: a moment is waited for them."""
        with suppress(TimeoutError):
            async with asyncio.timeout(STANDS_S):
                while not tasks <= self._results.keys():
                    self._came.clear()
                    await self._came.wait()
        return tasks <= self._results.keys()


def _halt(pid: int) -> None:
    """When this returns, the process stands still."""
    os.kill(pid, signal.SIGSTOP)
    os.waitpid(pid, os.WUNTRACED)
