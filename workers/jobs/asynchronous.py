"""Async handlers.

Tasks on the user's loop. Told from the agent's thread; one wake-up of the loop for all that is told at once.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from orchestrator.vocabulary import Attempt
from workers.clock import unix_ns
from workers.context import Context
from workers.core.events import JobLate, JobStarted, JobStopped
from workers.jobs.calling import JobEvent, Say, done, ended
from workers.jobs.job import Job, context_of
from workers.jobs.permit import Permit
from workers.mailbox import Mailbox


class _Running:
    __slots__ = ("_context", "_say", "begun", "job", "task")

    def __init__(self, job: Job, say: Say) -> None:
        self.job = job
        self.begun = False
        """Its first step was taken."""
        self.task: asyncio.Task[None] | None = None
        self._say = say
        self._context: Context | None = None

    @property
    def context(self) -> Context:
        """Made when somebody looks: most handlers take none, and most attempts are not told to stop."""
        if self._context is None:
            self._context = context_of(self.job.about(), self._say)
        return self._context


class _Stop(NamedTuple):
    attempt: Attempt
    hard: bool


class AsyncJobs:
    """Runs on ``loop``; ``start``, ``stop`` and ``say`` work from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, permit: Permit, say: Say) -> None:
        self._loop = loop
        self._permit = permit
        self._say = say
        self._running: dict[Attempt, _Running] = {}
        self._orders: Mailbox[Job | _Stop] = Mailbox(loop, self._heed)

    def start(self, job: Job) -> None:
        """Call its handler."""
        self._orders.put(job)

    def stop(self, attempt: Attempt, hard: bool) -> None:
        """Ask it to stop; ``hard``: cancel it."""
        self._orders.put(_Stop(attempt, hard))

    @property
    def unfinished(self) -> int:
        """Handlers that have not come to their end."""
        return len(self._running)

    # --- on the loop ------------------------------------------------------------------------------

    def _heed(self, orders: list[Job | _Stop]) -> None:
        for order in orders:
            if isinstance(order, Job):
                self._start(order)
            else:
                self._stop(order.attempt, order.hard)

    def _start(self, job: Job) -> None:
        running = _Running(job, self._say)
        self._running[job.attempt] = running
        running.task = self._loop.create_task(self._run(running), name=job.assignment.task)

    def _stop(self, attempt: Attempt, hard: bool) -> None:
        running = self._running.get(attempt)
        if running is None or running.task is None:
            return
        running.context.ask_to_stop(cancelled=hard)
        if hard:
            running.task.cancel()
            if not running.begun:  # then it never will
                self._end(running, JobStopped(attempt))

    async def _run(self, running: _Running) -> None:
        running.begun = True
        try:
            end = await self._call(running)
        except BaseException as trouble:  # SystemExit and Stopped too: user code must not end the loop that runs it
            end = ended(running.job.attempt, trouble, running.context)
        self._end(running, end)

    async def _call(self, running: _Running) -> JobEvent:
        job = running.job
        arguments = job.signature.bind(job.assignment.args, job.given())
        if job.signature.context is not None:
            arguments[job.signature.context] = running.context
        if not self._permit.allows(job.incarnation):
            return JobLate(job.attempt)
        self._say(JobStarted(job.attempt, unix_ns()))
        return done(job.attempt, await job.handler.function(**arguments))

    def _end(self, running: _Running, event: JobEvent) -> None:
        del self._running[running.job.attempt]
        self._say(event)
