"""Handlers that block: a thread each, kept for the next one. Nobody can kill a thread; it can only be told.

The threads are daemons: a handler that does not end does not keep the process from ending.
"""

from __future__ import annotations

import threading
from contextvars import copy_context
from queue import SimpleQueue

from orchestrator.vocabulary import Attempt
from orchestrator.wire import codec
from workers.clock import unix_ns
from workers.context import Context
from workers.core.events import JobFailed
from workers.jobs.calling import Say, call
from workers.jobs.job import Job, context_of
from workers.jobs.permit import Permit


class ThreadJobs:
    """As many threads as there are handlers at work; idle ones are used again. Works from any thread."""

    def __init__(self, permit: Permit, say: Say) -> None:
        self._permit = permit
        self._say = say
        self._queue: SimpleQueue[tuple[Job, Context] | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._contexts: dict[Attempt, Context] = {}
        self._count = 0

    def start(self, job: Job) -> None:
        """Call its handler in a thread."""
        if not self._idle.acquire(blocking=False):
            name = f"{job.handler.service}-{self._count + 1}"
            try:
                threading.Thread(target=self._work, name=name, daemon=True).start()
            except RuntimeError as trouble:  # no thread more
                words = f"No thread could be started for {job.handler.type}: {trouble}. The attempt has failed."
                self._say(JobFailed(job.attempt, codec.error("crashed", words), at_ns=unix_ns()))
                return
            self._count += 1
        context = context_of(job.about(), self._say)
        self._contexts[job.attempt] = context
        self._queue.put((job, context))

    def stop(self, attempt: Attempt, hard: bool) -> None:
        """Tell it to stop. It ends when it looks at its context, or by itself."""
        context = self._contexts.get(attempt)
        if context is not None:
            context.ask_to_stop(cancelled=hard)

    @property
    def unfinished(self) -> int:
        """Handlers that have not come to their end."""
        return len(self._contexts)

    def close(self) -> None:
        """Let idle threads go."""
        for _ in range(self._count):
            self._queue.put(None)

    def _work(self) -> None:
        while (given := self._queue.get()) is not None:
            job, context = given
            end = copy_context().run(  # what it sets there is not for the next one
                call,
                job.handler.function,
                job.signature,
                job.assignment.args,
                job.attempt,
                context,
                lambda incarnation=job.incarnation: self._permit.allows(incarnation),  # type: ignore[misc]
                self._say,
            )
            del self._contexts[job.attempt]
            self._idle.release()  # before the word: it may bring the next job at once
            self._say(end)
