"""What the world may do to an agent, as small acts on a stage; chosen by exhaustion or by Hypothesis."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.vocabulary import NS_PER_S, Attempt
from orchestrator.wire.messages import Error
from tests.workers.core.stage import LEASE_NS, MS, Stage
from workers.core.events import (
    Checkpointed,
    DrainAsked,
    Event,
    Flushed,
    JobDone,
    JobFailed,
    JobLate,
    JobStarted,
    JobStopped,
    Progressed,
    TimePassed,
)


class World:
    """Remembers what the acts need: the attempts that were handed out, and the reign."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.epoch = 1
        self.n = 0

    # --- the broker --------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """The connection that was asked for opens (or one is asked for, time passing)."""
        if self.stage.agent.phase == "offline":
            self.deadline()
        if self.stage.agent.phase == "connecting":
            self.stage.connect()

    def cut(self) -> None:
        """The connection is lost, or closed as asked."""
        if self.stage.agent.phase not in ("offline", "finished"):
            self.stage.lose()

    def confirm(self) -> None:
        """What is under way comes back."""
        self.stage.flush()

    def deny(self) -> None:
        """The reports under way come back refused."""
        if self.stage.witness.durable_token:
            self.stage.step(Flushed(self.stage.witness.durable_token, ok=False))

    # --- leaders ----------------------------------------------------------------------------------------------------

    def sync(self, behind: int = 0) -> None:
        """The leader (or one before it) greets."""
        self.stage.sync(max(self.epoch - behind, 1))

    def takeover(self) -> None:
        """A new leader greets."""
        self.epoch += 1
        self.stage.sync(self.epoch)

    def assign(self, handler: str = "resize", behind: int = 0) -> None:
        """One more attempt, by the leader or one before it."""
        self.n += 1
        self.stage.assign(max(self.epoch - behind, 1), self.n, handler=handler)

    def late_orders(self) -> None:
        """Orders with a number that was drained long ago."""
        self.n += 1
        seq = self.stage.order_seq
        self.stage.order_seq = 0
        self.stage.assign(self.epoch, self.n)
        self.stage.order_seq = max(seq, 1)

    def recall(self, back: int = 0, preempt: bool = False, behind: int = 0) -> None:
        """Stop one of the last attempts (a leader never recalls what it has not assigned)."""
        if not self.n:
            return
        self.stage.stop(max(self.epoch - behind, 1), max(self.n - back, 1), preempt, of=self.epoch)

    def release(self) -> None:
        """Everything published is in the ledger."""
        self.stage.orders(self.epoch, release=sorted(self.stage.witness.published))

    def echo(self, behind: int = 0) -> None:
        """A leader has heard the last beat."""
        self.stage.echo(max(self.epoch - behind, 1))

    # --- jobs -------------------------------------------------------------------------------------------------------

    def jobs(self, event: Callable[[Attempt], Event], which: int = 0) -> None:
        """The job runner says something of an attempt that it really has."""
        given = [job for job in self.stage.agent.work.holdings.all() if job.state != "waiting"]
        if given:
            job = given[which % len(given)]
            said = event(job.attempt)
            if isinstance(said, JobStarted) and job.started_ns:
                return
            if isinstance(said, JobLate) and job.started_ns:
                return
            if isinstance(said, JobStopped) and job.state not in ("stopping", "abandoned"):
                return
            self.stage.step(said)

    def begin(self, which: int = 0) -> None:
        self.jobs(lambda attempt: JobStarted(attempt, at_ns=1), which)

    def finish(self, which: int = 0) -> None:
        self.jobs(JobDone, which)

    def fail(self, which: int = 0) -> None:
        self.jobs(lambda attempt: JobFailed(attempt, Error("Boom", "")), which)

    def late(self, which: int = 0) -> None:
        self.jobs(JobLate, which)

    def halt(self, which: int = 0) -> None:
        self.jobs(JobStopped, which)

    def progress(self, which: int = 0) -> None:
        self.jobs(lambda attempt: Progressed(attempt, 0.5, "half"), which)

    def checkpoint(self, which: int = 0) -> None:
        self.jobs(lambda attempt: Checkpointed(attempt, b"state"), which)

    # --- time and people --------------------------------------------------------------------------------------------

    def tick(self) -> None:
        self.stage.step(TimePassed(), after_ns=300 * MS)

    def deadline(self) -> None:
        """Sleep until woken, as a shell does."""
        due_ns = self.stage.agent.next_deadline()
        if due_ns is not None:
            self.stage.now_ns = max(self.stage.now_ns, due_ns)
            self.stage.step(TimePassed())

    def pause(self) -> None:
        """SIGSTOP for longer than any lease: the next event finds the window missed."""
        self.stage.now_ns += LEASE_NS

    def drain(self) -> None:
        self.stage.step(DrainAsked(2 * NS_PER_S))

    # --- and in the end -----------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """All faults end, a fair world goes on: whatever happened, the agent must come to rest.

        Serving the leader with nothing owed, or finished if it was asked to drain.
        """
        stage, agent = self.stage, self.stage.agent
        for _ in range(80):
            for job in agent.work.holdings.all():
                if job.state in ("stopping", "abandoned"):
                    stage.step(JobStopped(job.attempt))
                elif job.state in ("starting", "running"):
                    stage.step(JobDone(job.attempt))
            if agent.phase in ("fenced", "leaving"):
                stage.lose("closed")
            elif agent.phase == "connecting":
                stage.connect()
            elif agent.phase == "announcing":
                self.sync()
            elif agent.phase == "serving":
                if agent.incarnation is not None and agent.incarnation.epoch != self.epoch:
                    self.sync()
                self.echo()
                stage.flush()
                self.release()
                if agent.drain is None and agent.work.outbox.quiet and not agent.work.holdings.jobs:
                    witness = stage.witness
                    assert not witness.stops_owed, witness.tell(f"stops not answered: {witness.stops_owed}")
                    assert not witness.kept, witness.tell(f"reports neither released nor sent: {witness.kept}")
                    return
            elif agent.phase == "finished":
                return
            self.deadline()
        raise AssertionError(stage.witness.tell(f"no rest: {agent.phase}, {agent.work.holdings.all()}"))
