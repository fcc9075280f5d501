"""The job runner of an imagined agent: handlers that take the time the workload gives them.

Law: as the real one it looks at the agent's permit immediately before each call, answers every start and every stop, and stands
still while its process is paused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from orchestrator.sim.laws import Laws
from orchestrator.sim.timeline import Act, Timeline
from orchestrator.sim.workload import Try
from orchestrator.vocabulary import Attempt, Nanos
from orchestrator.wire.messages import Error
from workers.core import commands as wc
from workers.core import events as we


@dataclass(slots=True, eq=False)
class Job:
    """A handler that was told to start."""

    task: str
    attempt: Attempt
    incarnation: str
    plan: Try
    number: int
    lasts_ns: Nanos
    uncalled: bool
    called: bool = False
    stopping: bool = False
    over: bool = False


class Jobs:
    """All jobs of one life of an agent's process."""

    def __init__(
        self,
        agent: str,
        timeline: Timeline,
        laws: Laws,
        post: Callable[[Any], None],
        permit: Callable[[], tuple[str, Nanos]],
        kill: Callable[[], None],
    ) -> None:
        self.agent = agent
        self.timeline = timeline
        self.laws = laws
        self.running: dict[Attempt, Job] = {}
        self.frozen = False
        self.dead = False
        self._post = post
        self._permit = permit
        self._kill = kill
        self._late: list[Act] = []

    def start(self, command: wc.StartJob, plan: Try, incarnation: str, uncalled: bool, slow_ns: Nanos = 0) -> None:
        """Call the handler, ``slow_ns`` late, unless the permit runs out before; ``uncalled``: it fails before that."""
        item = command.assignment
        lasts_ns = max(0, plan.lasts_ns - item.ran_ns)  # what is saved is not done again
        job = Job(item.task, command.attempt, incarnation, plan, item.number, lasts_ns, uncalled)
        self.running[job.attempt] = job
        self._after(plan.starts_after_ns + slow_ns, partial(self._call, job))

    def stop(self, command: wc.StopJob) -> None:
        """Stop it: softly it may still say a checkpoint, hard it is killed if it can be."""
        job = self.running.get(command.attempt)
        if job is None or job.over or (job.called and job.plan.stubborn):
            return  # a thread ends when it ends
        if not job.stopping or command.hard:
            if not command.hard and job.called:
                self._post(we.Checkpointed(job.attempt, f"{job.task}|{job.attempt}|half".encode()))
            job.stopping = True
            self._after(job.plan.stops_after_ns, partial(self._stopped, job))

    def _after(self, span_ns: Nanos, act: Act) -> None:
        self.timeline.after(span_ns, partial(self._unless_frozen, act))

    def _unless_frozen(self, act: Act) -> None:
        if self.dead:
            return
        if self.frozen:
            self._late.append(act)
        else:
            act()

    def thaw(self) -> None:
        """The process goes on: what should have happened meanwhile happens now."""
        self.frozen = False
        late, self._late = self._late, []
        for act in late:
            self._unless_frozen(act)

    def _call(self, job: Job) -> None:
        if job.over or job.stopping:
            return
        incarnation, until_ns = self._permit()
        if incarnation != job.incarnation or self.timeline.now_ns >= until_ns:
            self._end(job, we.JobLate(job.attempt))
            return
        if job.uncalled:
            self._end(job, we.JobFailed(job.attempt, Error("ImportError", "the handler cannot be loaded")))
            return
        job.called = True
        self.laws.job_called(self.agent, job.task, job.attempt, job.incarnation)
        self._post(we.JobStarted(job.attempt))
        if job.plan.checkpoint:
            self._after(job.lasts_ns // 2, partial(self._checkpoint, job))
        self._after(job.lasts_ns, partial(self._ends, job))

    def _checkpoint(self, job: Job) -> None:
        if not job.over:
            self._post(we.Checkpointed(job.attempt, f"{job.task}|{job.attempt}".encode()))

    def _ends(self, job: Job) -> None:
        if job.over:
            return
        match job.plan.ending:
            case "done":
                self._end(job, we.JobDone(job.attempt, f"{job.task}|{job.attempt}".encode()))
            case "fails":
                self._end(job, we.JobFailed(job.attempt, Error("ValueError", f"try {job.number} does not work")))
            case "is fatal":
                self.laws.truth.never_works(job.task, job.attempt)
                self._end(job, we.JobFailed(job.attempt, Error("TypeError", f"try {job.number} never works"), retry=False))
            case "kills":
                self._kill()

    def _stopped(self, job: Job) -> None:
        if not job.over:
            self._end(job, we.JobStopped(job.attempt))

    def _end(self, job: Job, event: Any) -> None:
        job.over = True
        del self.running[job.attempt]
        self.laws.job_over(self.agent, job.task, job.attempt)
        self._post(event)
