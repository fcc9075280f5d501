"""Running handlers: async ones on the user's loop, others in threads, CPU-bound ones in processes that can be killed.

``Jobs`` takes the core's ``StartJob`` and ``StopJob`` and answers with its job events, each exactly as the
commands promise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from workers.arguments import Signature
from workers.core.commands import StartJob, StopJob
from workers.core.profile import Lane
from workers.handler import HandlerSpec, Kind
from workers.jobs.asynchronous import AsyncJobs
from workers.jobs.calling import Say
from workers.jobs.job import Job
from workers.jobs.permit import Permit
from workers.jobs.processes import ProcessJobs
from workers.jobs.threads import ThreadJobs

__all__ = ["Jobs", "Permit", "lanes"]


def lanes(processes: int) -> tuple[Lane, ...]:
    """The lanes of the core, one for each kind.

    Only processes are few: more of them than CPUs would slow each other down.
    """
    return Lane("async"), Lane("thread"), Lane("process", processes)


class Jobs:
    """All kinds behind one door. ``perform`` is called by the agent's thread; ``say`` is called by any."""

    def __init__(
        self,
        handlers: Mapping[str, HandlerSpec],
        signatures: Mapping[str, Signature],
        instance: str,
        loop: asyncio.AbstractEventLoop,
        permit: Permit,
        say: Say,
    ) -> None:
        self._handlers = handlers
        self._signatures = signatures
        self._instance = instance
        self._async = AsyncJobs(loop, permit, say)
        self._threads = ThreadJobs(permit, say)
        self._processes = ProcessJobs(permit, say)
        self._kinds: dict[Kind, AsyncJobs | ThreadJobs | ProcessJobs] = {
            "async": self._async,
            "thread": self._threads,
            "process": self._processes,
        }

    def start(self, command: StartJob, incarnation: str) -> None:
        """Run a handler, if the window of ``incarnation`` is still open when it is about to be called."""
        item = command.assignment
        spec = self._handlers[item.handler]
        signature = self._signatures[item.handler]
        job = Job(command.attempt, item, spec, signature, incarnation, self._instance, command.timeout_ns)
        self._kinds[spec.kind].start(job)

    def stop(self, command: StopJob) -> None:
        """Stop it, whichever kind it is: the others do not know it."""
        for kind in self._kinds.values():
            kind.stop(command.attempt, command.hard)

    @property
    def unfinished(self) -> int:
        """Handlers that have not come to their end."""
        return sum(kind.unfinished for kind in self._kinds.values())

    def close(self) -> None:
        """Kill processes, let idle threads go. Threads at work cannot be ended; they end with the process."""
        self._threads.close()
        self._processes.close()
