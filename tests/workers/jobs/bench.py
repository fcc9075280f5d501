"""A job runner on a test's loop: jobs go in, what they say comes out."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.vocabulary import NS_PER_S, Attempt
from orchestrator.wire.codec import pack, unpack
from orchestrator.wire.messages import Assignment, Parent
from tests.workers.jobs.handlers import service
from workers.clock import steady_ns, unix_ns
from workers.core.commands import StartJob, StopJob
from workers.core.events import JobDone, JobFailed, JobLate, JobStopped
from workers.jobs import Jobs, Permit
from workers.jobs.calling import JobEvent
from workers.mailbox import Mailbox

T = TypeVar("T")
PATIENCE_S = 20.0


class Bench:
    """Starts handlers by name and waits for their words. ``permit`` is open for a minute unless a test closes it."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.permit = Permit()
        self.permit.set(("now", steady_ns() + 60 * NS_PER_S))
        self.said: list[JobEvent] = []
        self._bell = asyncio.Event()
        mailbox: Mailbox[JobEvent] = Mailbox(loop, self._hear)
        self.jobs = Jobs(service.handlers, service.signatures(), "jobs@bench", loop, self.permit, mailbox.put)
        self._n = 0

    def _hear(self, events: list[JobEvent]) -> None:
        self.said += events
        self._bell.set()

    def start(
        self,
        handler: str,
        *,
        incarnation: str = "now",
        number: int = 2,
        checkpoint: Any = None,
        parents: Sequence[Parent] = (),
        **arguments: Any,
    ) -> Attempt:
        """Tell the runner to start a handler."""
        self._n += 1
        attempt = Attempt(3, self._n)
        item = Assignment(
            f"task-{self._n}", self._n, handler, pack(arguments), {"slots": 1.0}, number=number, tenant="acme",
            deadline_ns=unix_ns() + 60 * NS_PER_S, checkpoint=None if checkpoint is None else pack(checkpoint),
            parents=list(parents),
        )  # fmt: skip
        self.jobs.start(StartJob(attempt, item, 5 * NS_PER_S), incarnation)
        return attempt

    def stop(self, attempt: Attempt, hard: bool = True) -> None:
        """Tell it to stop."""
        self.jobs.stop(StopJob(attempt, hard))

    async def heard(self, kind: type[T], attempt: Attempt) -> T:
        """The first word of that kind about the attempt."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for event in self.said:
                    if isinstance(event, kind) and event.attempt == attempt:  # type: ignore[attr-defined]
                        return event
                self._bell.clear()
                await self._bell.wait()

    async def end(self, attempt: Attempt) -> JobDone | JobFailed | JobStopped | JobLate:
        """How it ended."""
        return await self.heard(JobDone | JobFailed | JobStopped | JobLate, attempt)  # type: ignore[arg-type]

    async def value(self, handler: str, **arguments: Any) -> Any:
        """What a handler returns."""
        end = await self.end(self.start(handler, **arguments))
        assert isinstance(end, JobDone), end
        return unpack(end.value)

    async def error(self, handler: str, **arguments: Any) -> JobFailed:
        """How a handler fails."""
        end = await self.end(self.start(handler, **arguments))
        assert isinstance(end, JobFailed), end
        return end


@contextmanager
def bench() -> Iterator[Bench]:
    """A bench that leaves no process behind."""
    one = Bench()
    try:
        yield one
    finally:
        one.jobs.close()


def lives(pid: int) -> bool:
    """Whether there is such a process that is not dead already."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


async def file_filled(path: Path) -> str:
    """What a handler in another process writes, once it has."""
    async with asyncio.timeout(PATIENCE_S):
        while not (text := _text(path)):  # noqa: ASYNC110  # another process: there is no signal
            await asyncio.sleep(0.01)
    return text


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


async def gone(pid: int) -> None:
    """Wait until a process is."""
    async with asyncio.timeout(PATIENCE_S):
        while lives(pid):  # noqa: ASYNC110  # as above: nobody tells
            await asyncio.sleep(0.01)


def me() -> int:
    """The test's own process."""
    return os.getpid()
