"""Agents for the stage: a puppet that does what the script says, and the real agent machine with an imagined job runner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from msgspec.structs import replace

from orchestrator.vocabulary import NS_PER_S, Attempt, Nanos
from orchestrator.wire.messages import (
    Announce,
    AnyMessage,
    Assignment,
    Beat,
    Checkpoint,
    Dependency,
    Echo,
    Error,
    Handler,
    Held,
    Holding,
    Leave,
    Note,
    Notes,
    Orders,
    Report,
    Reports,
)
from tests.core.stage import Evidence, Stage
from workers.core import Agent, Limits, Profile
from workers.core import commands as wc
from workers.core import events as we


@dataclass(slots=True)
class Job:
    """An attempt that a puppet has."""

    task: str
    attempt: Attempt
    grant: Mapping[str, float]
    state: str = "waiting"
    report: Report | None = None
    devices: Mapping[str, list[str]] = field(default_factory=dict)
    before_ns: Nanos = 0
    """Run time that lay behind the checkpoint it began with."""
    began_ns: Nanos = 0
    saved: int = 0
    """How many checkpoints it has said."""


@dataclass(slots=True)
class Puppet:
    """An agent that keeps the protocol as long as its strings let it: each flag cuts one string."""

    stage: Stage
    name: str
    service: str
    handlers: list[Handler]
    capacity: dict[str, float]
    depends_on: list[Dependency] = field(default_factory=list)
    devices: dict[str, list[str]] = field(default_factory=dict)
    starts: bool = True
    """Starts what it is assigned at once."""
    beats: bool = True
    answers: bool = True
    """Answers a sync."""
    reads: bool = True
    """Reads its queue."""
    stops: bool = True
    """Answers a recall."""
    fences: bool = True
    """Ends its incarnation when its window is missed."""
    incarnation: str = ""
    before: list[str] = field(default_factory=list)
    """What this process was called before."""
    lives: int = 0
    epoch: int = 0
    drained: int = 0
    seq: int = 0
    jobs: dict[Attempt, Job] = field(default_factory=dict)
    beat_ns: Nanos | None = None
    until_ns: Nanos = 0
    """End of its window; 0: it never opened. Missed, its incarnation is over (R6)."""
    sent: dict[int, Nanos] = field(default_factory=dict)
    alive: bool = True

    def connect(self) -> None:
        """A new incarnation: what was unfinished is dropped, finished reports are kept (R5)."""
        self.before = [f"{self.name}.{self.lives}", *self.before] if self.alive and self.lives else []
        self.lives += 1
        self.incarnation = f"{self.name}.{self.lives}"
        self.alive = True
        self.epoch = self.drained = self.seq = self.until_ns = 0
        self.sent.clear()
        self.jobs = {attempt: job for attempt, job in self.jobs.items() if job.state == "finished"}
        self.beat_ns = self.stage.now_ns + NS_PER_S
        self.announce()

    def announce(self) -> None:
        capacity = dict(self.capacity)
        said = Announce(self.name, self.incarnation, self.service, self.handlers, capacity, devices=self.devices)
        self._say(replace(said, depends_on=self.depends_on))

    def die(self, *, evidence: Evidence = "broken") -> None:
        """The process is killed; the broker drops its queue."""
        self.alive, self.jobs, self.beat_ns = False, {}, None
        self.stage.delete_queue(self, evidence=evidence)

    # --- hearing -------------------------------------------------------------------------------------------------------

    def take(self, what: Orders | Echo) -> None:
        if not self.alive or not self.reads:
            return
        if isinstance(what, Orders):
            self._ordered(what)
        elif what.epoch == self.epoch:
            self._echoed(what.heard.get(self.incarnation, 0))

    def _echoed(self, seq: int) -> None:
        if seq in self.sent:
            self.until_ns = max(self.until_ns, self.sent[seq] + self.stage.config.lease_ns)

    def _ordered(self, orders: Orders) -> None:
        if orders.sync and orders.epoch >= self.epoch and self.answers:
            self.epoch, self.drained = orders.epoch, orders.seq
            self.announce()
            self.hold()
            self.report(*[job.report for job in self.jobs.values() if job.report])
        if orders.epoch != self.epoch:
            if orders.assign and orders.epoch < self.epoch:
                attempts = [(one.task, Attempt(orders.epoch, one.n)) for one in orders.assign]
                self.note(*[Note(*one, "refused", text="epoch", epoch=self.epoch) for one in attempts])
            return
        self.drained = max(self.drained, orders.seq)
        self._echoed(orders.heard)
        for attempt in orders.release:
            if attempt in self.jobs and self.jobs[attempt].state == "finished":
                del self.jobs[attempt]
        for item in orders.assign:
            attempt = Attempt(orders.epoch, item.n)
            self.jobs[attempt] = Job(item.task, attempt, item.grant, devices=item.devices, before_ns=item.ran_ns)
            if self.starts:
                self.start(attempt)
        for stop in orders.stop:
            job = self.jobs.get(stop.attempt)
            if job is not None and job.report is not None:
                self.report(job.report)
            elif self.stops:
                if job is not None and stop.preempt:
                    self.checkpoint(job, f"where {stop.task} was".encode())
                self.jobs.pop(stop.attempt, None)
                self.note(Note(stop.task, stop.attempt, "stopped", saved=0 if job is None else job.saved))

    # --- speaking -------------------------------------------------------------------------------------------------------

    def _say(self, message: AnyMessage) -> None:
        if self.incarnation and self.alive:
            self.stage.say(self.incarnation, message)

    def beat(self, **what: Any) -> None:
        self._count()
        words: dict[str, Any] = {"epoch": self.epoch, "drained": self.drained, "held": sorted(self.jobs), **what}
        self._say(Beat(self.incarnation, self.seq, **words))

    def hold(self) -> None:
        self._count()
        attempts = [
            Holding(job.task, job.attempt, job.state, dict(job.grant), dict(job.devices))  # type: ignore[arg-type]
            for job in self.jobs.values()
        ]
        self._say(Held(self.incarnation, self.seq, self.epoch, self.drained, attempts, self.before))

    def _count(self) -> None:
        self.seq += 1
        self.sent[self.seq] = self.stage.now_ns

    def note(self, *notes: Note) -> None:
        self._say(Notes(self.incarnation, list(notes), self.drained))

    def report(self, *reports: Report) -> None:
        if reports and self.incarnation:
            for report in reports:
                self.stage.witness.reported(report)
            self.stage.durable("reports", Reports(self.incarnation, list(reports)))

    # --- working ---------------------------------------------------------------------------------------------------------

    def job(self, task: str) -> Job:
        """The newest attempt of the task that it has."""
        return max((job for job in self.jobs.values() if job.task == task), key=lambda job: job.attempt)

    def start(self, attempt: Attempt) -> None:
        self.jobs[attempt].state = "running"
        self.jobs[attempt].began_ns = self.stage.now_ns
        self.note(Note(self.jobs[attempt].task, attempt, "started"))

    def finish(self, job: Job, value: bytes = b"\x01") -> None:
        now_ns = self.stage.now_ns
        self._end(job, Report(job.task, job.attempt, "done", value, started_ns=job.began_ns or now_ns, ended_ns=now_ns))

    def fail(self, job: Job, error: Error, *, retry: bool = True) -> None:
        self._end(job, Report(job.task, job.attempt, "failed", error=error, retry=retry))

    def _end(self, job: Job, report: Report) -> None:
        job.state, job.report = "finished", report
        self.report(report)

    def checkpoint(self, job: Job, state: bytes) -> None:
        job.saved += 1
        ran_ns = job.before_ns + (self.stage.now_ns - job.began_ns if job.began_ns else 0)
        said = Checkpoint(job.task, job.attempt, state, job.saved, ran_ns)
        self.stage.durable("reports", Reports(self.incarnation, checkpoints=[said]))

    def leave(self) -> None:
        self._say(Leave(self.incarnation, "drained"))
        self.die()

    # --- for the stage ----------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        if self.fences and self.until_ns and self.stage.now_ns >= self.until_ns:
            self.until_ns = 0
            self.jobs = {attempt: job for attempt, job in self.jobs.items() if job.state == "finished"}
            if self.incarnation:
                self.stage.delete_queue(self)
        elif self.incarnation:
            self.beat_ns = self.stage.now_ns + NS_PER_S
            self.beat()

    def next_deadline(self) -> Nanos | None:
        if not self.alive:
            return None
        dues = [self.until_ns if self.fences and self.until_ns else None, self.beat_ns if self.beats and self.incarnation else None]
        return min((due for due in dues if due is not None), default=None)

    def running(self) -> dict[Attempt, str]:
        return {job.attempt: job.task for job in self.jobs.values() if job.state == "running"} if self.alive else {}


class RealAgent:
    """The agents' own machine. Its job runner does what it is told at once; how a job ends is up to the test."""

    def __init__(
        self, stage: Stage, name: str, service: str, handlers: list[Handler], capacity: dict[str, float], beat_ns: Nanos = NS_PER_S
    ) -> None:
        self.stage = stage
        self.limits = Limits(beat_ns=beat_ns, beat_jitter=0.0)
        self.name = name
        self.profile = Profile(name, service, capacity, tuple(handlers))
        self.incarnation = ""
        self.lives = 0
        self.jobs: dict[Attempt, Assignment] = {}
        self.paused = False
        """Stopped by a signal: nothing runs, nothing is read; it does not know."""
        self.told: list[str] = []
        self._late: list[we.Event] = []
        self.machine = self._fresh()

    def _fresh(self) -> Agent:
        return Agent(self.profile, Random(self.name), self.limits)

    def begin(self) -> None:
        """The process starts."""
        self.step(we.TimePassed())

    def step(self, *events: we.Event) -> None:
        if self.paused:
            self._late += events
            return
        todo = list(events)
        while todo:
            event = todo.pop(0)
            for command in self.machine.step(self.stage.now_ns, event):
                todo += self._do(command)

    def _do(self, command: wc.Command) -> list[we.Event]:
        match command:
            case wc.Connect():
                self.lives += 1
                self.incarnation = f"{self.name}.{self.lives}"
                return [we.Connected(self.incarnation)]
            case wc.CloseConnection():
                if self.incarnation:
                    self.stage.delete_queue(self)
                return [we.Disconnected("closed")]
            case wc.StartJob(attempt=attempt, assignment=assignment):
                self.jobs[attempt] = assignment
                return [we.JobStarted(attempt)]
            case wc.StopJob(attempt=attempt, hard=hard):
                if self.jobs.pop(attempt, None) is None:
                    return []
                return [we.JobStopped(attempt)] if hard else [we.Checkpointed(attempt, b"half"), we.JobStopped(attempt)]
            case wc.Publish(message=message, token=token):
                return self._publish(message, token)
            case wc.Told(word=word):
                self.told.append(word)
            case wc.Finish():
                pass
        return []

    def _publish(self, message: AnyMessage, token: int) -> list[we.Event]:
        mine = self.machine.incarnation
        if not self.incarnation or (mine is not None and mine.name != self.incarnation):
            return []  # the connection is gone and nobody has noticed yet
        if isinstance(message, Reports):
            for report in message.items:
                self.stage.witness.reported(report)
            self.stage.durable("reports", message)
        else:
            self.stage.say(self.incarnation, message)
        return [we.Flushed(token)] if token else []

    # --- what the test does to it -------------------------------------------------------------------------------------------

    def finish(self, attempt: Attempt, value: bytes = b"\x01") -> None:
        del self.jobs[attempt]
        self.step(we.JobDone(attempt, value))

    def fail(self, attempt: Attempt, error: Error, *, retry: bool = True) -> None:
        del self.jobs[attempt]
        self.step(we.JobFailed(attempt, error, retry))

    def checkpoint(self, attempt: Attempt, state: bytes) -> None:
        self.step(we.Checkpointed(attempt, state))

    def drop(self, *, evidence: Evidence) -> None:
        """The broker drops its connection; it has not noticed."""
        if self.incarnation:
            self.stage.delete_queue(self, evidence=evidence)

    def notice(self) -> None:
        """It finds its connection gone."""
        if not self.incarnation and self.machine.incarnation is not None:
            self.step(we.Disconnected("cut"))

    def kill(self, *, evidence: Evidence) -> None:
        """The process dies and is started again at once, knowing nothing."""
        self.drop(evidence=evidence)
        self.paused, self.jobs, self._late = False, {}, []
        self.machine = self._fresh()
        self.begin()

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        late, self._late = self._late, []
        self.step(*(late or [we.TimePassed()]))

    # --- for the stage ------------------------------------------------------------------------------------------------------

    def take(self, what: Orders | Echo) -> None:
        self.step(we.Ordered(what) if isinstance(what, Orders) else we.Echoed(what))

    def wake(self) -> None:
        self.step(we.TimePassed())

    def next_deadline(self) -> Nanos | None:
        return None if self.paused else self.machine.next_deadline()

    def running(self) -> dict[Attempt, str]:
        return {} if self.paused else {attempt: job.task for attempt, job in self.jobs.items()}
