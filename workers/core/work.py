"""The life of attempts in an agent: assigned, started, stopped, reported.

Who may assign and whether the window is open is decided by the incarnation (``agent``); here an attempt is
taken through its table (``lifecycle.STATES``), and every end of it becomes exactly one word to the coordinator:
a report, a ``stopped``, or a ``refused``; or none, if its incarnation is over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from orchestrator.vocabulary import Attempt, Nanos, TaskId, seconds
from orchestrator.wire.messages import LONGEST_NS, Assignment, Checkpoint, Error, Holding, Note, Report, Stop
from workers.core import rules
from workers.core.commands import StartJob, StopJob
from workers.core.events import Checkpointed, Event, JobDone, JobFailed, JobLate, JobStarted, JobStopped, Progressed
from workers.core.holdings import Holdings, Job, StopCause
from workers.core.lifecycle import Impossible
from workers.core.out import Out
from workers.core.outbox import Outbox, report_bytes
from workers.core.profile import Limits, Profile
from workers.core.window import Window


class Work:
    """Everything that this agent was given and has not been released from."""

    def __init__(self, profile: Profile, limits: Limits, out: Out) -> None:
        self._profile = profile
        self._limits = limits
        self._out = out
        self._handlers = {handler.name: handler for handler in profile.handlers}
        self.holdings = Holdings(profile.lanes)
        self.outbox = Outbox(limits)
        self.unix_offset_ns: Nanos = 0
        """Unix time minus the step's clock, as last read."""
        self._bounds = limits.reports_max, limits.report_bytes_max, limits.held_bytes_max
        self._heeds: dict[type[Any], Callable[[Nanos, Any], None]] = {
            JobStarted: self._started,
            JobDone: self._done,
            JobFailed: self._failed,
            JobStopped: self._job_over,
            JobLate: self._late,
            Progressed: self._progressed,
            Checkpointed: self._saved,
        }

    # --- orders -----------------------------------------------------------------------------------

    def assigned(self, now_ns: Nanos, epoch: int, item: Assignment) -> None:
        """An assignment of the epoch that is obeyed: it waits (and may start in this very step)."""
        attempt = Attempt(epoch, item.n)
        if attempt in self.holdings or attempt in self.outbox.kept:
            return  # said twice
        handler = self._handlers.get(item.handler)
        if self._is_full():
            self._out.tell("full", len(self.outbox.kept), attempt=attempt)
            self.refuse(item.task, attempt, epoch, "full")
        elif handler is None:
            offered = ", ".join(self._handlers) or "none"
            message = (
                f"{self._profile.service} at {self._profile.instance} has no handler {item.handler!r}; "
                f"it has: {offered}. The task cannot run there. "
                "Check the task's type, or deploy a version of the service that has the handler."
            )
            error = Error("unknown_handler", message)
            self._out.tell("unknown_handler", text=f"{item.task} {item.handler}", attempt=attempt)
            self._report(item.task, attempt, error=error, retry=False, ended_ns=self._unix(now_ns))
        else:
            lane = self._profile.lane_of.get(item.handler, self._profile.lanes[0].name)
            timeout_ns = item.timeout_ns if item.timeout_ns is not None else handler.timeout_ns
            self.holdings.add(Job(attempt, item, lane, timeout_ns))

    def refuse(self, task: TaskId, attempt: Attempt, obeyed: int, why: str) -> None:
        """An assignment (or a sync) that is not done."""
        self.outbox.note(Note(task, attempt, "refused", text=why, epoch=obeyed))

    def stop_ordered(self, now_ns: Nanos, stop: Stop) -> None:
        """A recall; always answered: at once, or when the attempt is over, or by its report."""
        job = self.holdings.get(stop.attempt)
        if stop.attempt in self.outbox.kept:
            self.outbox.owe(stop.attempt)
        elif job is None:
            self._stopped(stop.task, stop.attempt, "")
        elif job.state == "waiting":
            self._drop(job, stop.reason)
        else:
            self._stop(now_ns, job, hard=not stop.preempt, cause="order", text=stop.reason)

    def start(self, now_ns: Nanos, window: Window, epoch: int) -> None:
        """Start what waits, while the window is open and lanes have places."""
        for job in self.holdings.startable():
            if not rules.may_start(now_ns, window.until_ns, window.epoch, epoch):
                return
            deadline_ns = job.assignment.deadline_ns
            if deadline_ns is not None and self._unix(now_ns) >= deadline_ns:
                self.holdings.to(job, "gone")
                self._out.tell("expired", attempt=job.attempt)
                self.refuse(job.assignment.task, job.attempt, epoch, "expired")
                continue
            self.holdings.to(job, "starting")
            self._out.do(StartJob(job.attempt, job.assignment, job.timeout_ns))

    # --- what the job runner says -----------------------------------------------------------------

    def job_event(self, now_ns: Nanos, event: Event) -> None:
        """A word of the job runner about an attempt it was told to start."""
        heed = self._heeds.get(type(event))
        if heed is None:
            raise Impossible(f"{event!r} is no event of an agent")
        heed(now_ns, event)

    def _known(self, event: JobStarted | JobDone | JobFailed | JobStopped | JobLate) -> Job:
        job = self.holdings.get(event.attempt)
        if job is None:
            raise Impossible(f"{type(event).__name__} for attempt {event.attempt}, which is not held")
        return job

    def _speaking(self, event: Progressed | Checkpointed) -> Job | None:
        """Its job, while it runs: what it says later nobody wants to know."""
        job = self.holdings.get(event.attempt)
        return job if job is not None and job.state in ("running", "stopping") else None

    def _started(self, now_ns: Nanos, event: JobStarted) -> None:
        job = self._known(event)
        job.started_ns = event.at_ns or self._unix(now_ns)
        if job.timeout_ns is not None and job.state != "abandoned":
            self.holdings.time_out_at(job, now_ns + job.timeout_ns)
        if job.state == "starting":
            self.holdings.to(job, "running")
            note = Note(job.assignment.task, job.attempt, "started", job.started_ns)
            self.outbox.started(note, now_ns if self._is_awaited(job) else now_ns + self._limits.started_ns)

    def _is_awaited(self, job: Job) -> bool:
        """Whether the coordinator decides by its start: it may ask it to make room, or wants to know who kills instances."""
        return job.assignment.number > 1 or self._handlers[job.assignment.handler].preemptible

    def _progressed(self, now_ns: Nanos, event: Progressed) -> None:
        if (job := self._speaking(event)) is not None:
            self.outbox.note(Note(job.assignment.task, event.attempt, "progress", event.at_ns, event.fraction, event.text))

    def _saved(self, now_ns: Nanos, event: Checkpointed) -> None:
        if (job := self._speaking(event)) is None:
            return
        if len(event.state) > self._limits.value_bytes_max:
            raise Impossible(f"{job.story()}: a checkpoint of {len(event.state)} bytes fits no message")
        job.saved += 1
        ran_ns = job.assignment.ran_ns + max(0, (event.at_ns or self._unix(now_ns)) - job.started_ns)
        self.outbox.checkpoint(Checkpoint(job.assignment.task, job.attempt, event.state, job.saved, min(ran_ns, LONGEST_NS)))

    def _done(self, now_ns: Nanos, event: JobDone) -> None:
        job, value, unix_ns = self._known(event), event.value, event.at_ns or self._unix(now_ns)
        if job.state == "abandoned":
            self.holdings.to(job, "gone")
        elif len(value) > self._limits.value_bytes_max:
            message = (
                f"The result of {job.assignment.handler} takes {len(value)} bytes; "
                f"a message carries {self._limits.value_bytes_max}. The task has failed and is not retried. "
                "Store the data elsewhere and return where it is."
            )
            self._finish(job, None, Error("result_too_large", message), False, unix_ns)
        else:
            self._finish(job, value, None, True, unix_ns)

    def _failed(self, now_ns: Nanos, event: JobFailed) -> None:
        job, unix_ns = self._known(event), event.at_ns or self._unix(now_ns)
        if job.state == "abandoned":
            self.holdings.to(job, "gone")
        elif job.state == "stopping":
            self._over(job, unix_ns)  # how a handler ends that was told to is not its failure
        else:
            self._finish(job, None, event.error, event.retry, unix_ns)

    def _job_over(self, now_ns: Nanos, event: JobStopped) -> None:
        self._over(self._known(event), self._unix(now_ns))

    def _over(self, job: Job, unix_ns: Nanos) -> None:
        """Nothing of it runs, and it has no result."""
        if job.state == "abandoned":
            self.holdings.to(job, "gone")
        elif job.cause == "timeout":
            span = seconds(job.timeout_ns or 0)
            message = (
                f"{job.assignment.handler} ran longer than its timeout of {span:g} s and was stopped. "
                "The attempt has failed. Raise the handler's or the task's timeout, or make it faster."
            )
            self._finish(job, None, Error("timeout", message), True, unix_ns)
        else:
            self._drop(job, job.stop_text)

    def _late(self, now_ns: Nanos, event: JobLate) -> None:
        """It was not started because its permit ran out on the way: as if it had never been told to."""
        job = self._known(event)
        if job.state == "starting":
            self.holdings.to(job, "waiting")
        else:
            self._over(job, self._unix(now_ns))

    # --- ends -------------------------------------------------------------------------------------

    def _finish(self, job: Job, value: bytes | None, error: Error | None, retry: bool, unix_ns: Nanos) -> None:
        self.holdings.to(job, "finished")
        self._report(job.assignment.task, job.attempt, value, error, retry, job.started_ns, unix_ns)

    def _report(
        self,
        task: TaskId,
        attempt: Attempt,
        value: bytes | None = None,
        error: Error | None = None,
        retry: bool = True,
        started_ns: Nanos = 0,
        ended_ns: Nanos = 0,
    ) -> None:
        outcome: Literal["done", "failed"] = "done" if error is None else "failed"
        report = Report(task, attempt, outcome, value, error, retry, started_ns, ended_ns)
        if error is not None and report_bytes(report) > self._limits.body_bytes_max // 2:
            short = Error(error.kind[:64], error.message[:256])
            report = Report(task, attempt, outcome, None, short, retry, started_ns, ended_ns)
        self.outbox.report(report)

    def _drop(self, job: Job, text: str) -> None:
        """It will never report."""
        self.holdings.to(job, "gone")
        self._stopped(job.assignment.task, job.attempt, text, job.saved)

    def _stopped(self, task: TaskId, attempt: Attempt, text: str, saved: int = 0) -> None:
        self.outbox.note(Note(task, attempt, "stopped", text=text, saved=saved))

    def _stop(self, now_ns: Nanos, job: Job, hard: bool, cause: StopCause, text: str) -> None:
        if job.state == "stopping":
            if job.hard or not hard:
                return
        else:
            self.holdings.to(job, "stopping")
            job.cause, job.stop_text = cause, text
        job.hard = hard
        if hard:
            job.heed_by_ns = now_ns + self._limits.heed_ns
            self.holdings.time_out_at(job, job.heed_by_ns)
        self._out.do(StopJob(job.attempt, hard, text))

    def stop_all(self, now_ns: Nanos, hard: bool) -> None:
        """The grace period of a drain is (nearly) over."""
        for job in self.holdings.all():
            if job.state in ("starting", "running", "stopping"):
                self._stop(now_ns, job, hard, "drain", "draining")

    def hand_back(self) -> int:
        """Unstarted work goes back. Returns how many attempts are left to finish."""
        for job in self.holdings.all():
            if job.state == "waiting":
                self._drop(job, "draining")
        return len(self.holdings)

    def abandon(self, reason: str) -> int:
        """R5: the incarnation is over. Returns how many attempts were unfinished."""
        count = 0
        for job in self.holdings.all():
            if job.state == "abandoned" or rules.survives_end_of_incarnation(job.state):
                continue
            count += 1
            if job.state == "waiting":
                self.holdings.to(job, "gone")
                continue
            self.holdings.to(job, "abandoned")
            self._out.do(StopJob(job.attempt, True, reason))
        return count

    def heed_timeouts(self, now_ns: Nanos) -> None:
        """What has run for too long is stopped; its end becomes a report. What does not heed that is pointed out, once."""
        for job in self.holdings.timed_out(now_ns):
            who = f"{job.assignment.task} {job.assignment.handler}"
            if not job.hard:
                self._out.tell("timed_out", text=who, attempt=job.attempt)
                self._stop(now_ns, job, True, "timeout", "timeout")
            elif 0 < job.heed_by_ns <= now_ns:
                job.heed_by_ns = 0
                self._out.tell("unheeding", text=who, attempt=job.attempt)

    # --- looking in -------------------------------------------------------------------------------

    def _unix(self, now_ns: Nanos) -> Nanos:
        return max(now_ns + self.unix_offset_ns, 0)

    def _is_full(self) -> bool:
        outbox = self.outbox
        return rules.is_full(len(outbox.kept), outbox.kept_bytes, self.holdings.bytes + outbox.held_bytes, self._bounds)

    def held(self) -> list[Holding]:
        """Everything, for the answer to a sync."""
        return [self.holdings.holding(job) for job in self.holdings.all()] + self.outbox.holdings()

    def listed(self) -> list[Attempt] | None:
        """What a beat lists: all that is not released, finished ones too. None: too many.

        What a report or a last checkpoint is on its way for must not look like an attempt that vanished.
        """
        listed = [*self.holdings.jobs, *self.outbox.listed()]
        return None if len(listed) > self._limits.listed_max else listed

    def load(self) -> float:
        """Busy share of the slots, 0…1."""
        slots = self._profile.capacity.get("slots", 0)
        return min(self.holdings.granted("slots") / slots, 1.0) if slots else 0.0
