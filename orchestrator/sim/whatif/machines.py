"""A machine: the real agent's core, and handlers that take as long as the trace says.

Law: as the real job runner it answers every start and every stop. A handler that is asked to stop softly says a checkpoint, which
holds the work it has done, and stops; the next attempt goes on from there, after the cost of a checkpoint. One that is stopped
hard, or dies with its machine, has done nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from orchestrator.sim.timeline import Alarm, dice
from orchestrator.vocabulary import Attempt, Nanos, milli
from orchestrator.wire.messages import Orders
from workers.core import Agent, Profile
from workers.core import commands as c
from workers.core import events as e

if TYPE_CHECKING:
    from orchestrator.sim.whatif.world import World


class Run:
    """A handler at work."""

    __slots__ = ("alarm", "began_ns", "cost_ns", "done_ns", "grant", "place", "task")

    def __init__(self, task: str, place: int, began_ns: Nanos, done_ns: Nanos, cost_ns: Nanos, grant: dict[str, int]) -> None:
        self.task = task
        self.place = place
        self.began_ns = began_ns
        self.done_ns = done_ns
        """Work that earlier attempts have left, at normal speed."""
        self.cost_ns = cost_ns
        """What this attempt spends before it goes on with it, at normal speed."""
        self.grant = grant
        self.alarm: Alarm | None = None


class Machine:
    """One instance of a service, through all its lives."""

    def __init__(self, world: World, profile: Profile, speed: float) -> None:
        self.world = world
        self.profile = profile
        self.speed = speed
        self.incarnation = ""
        self.lives = 0
        self._inbox: list[e.Event] = []
        self._queued = False
        self._runs: dict[Attempt, Run] = {}
        self._wake: Alarm | None = None
        self._agent = Agent(profile, dice(world.question.seed, profile.instance))

    # --- its life ---------------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """It is there, and knows nothing of a former life."""
        world = self.world
        self.lives += 1
        self._agent = Agent(self.profile, dice(world.question.seed, self.profile.instance, self.lives), world.limits)
        self._inbox.clear()
        self.post(e.TimePassed())
        if world.fleet.mttf_s is not None:
            world.later(round(world.failures.expovariate(1.0) * world.fleet.mttf_s * 1e9), self.die)

    def die(self) -> None:
        """It is gone, and all that ran on it; the broker says so, and after a while it is back."""
        world = self.world
        for run in self._runs.values():
            self._leave(run, "lost")
            world.books.losses += 1
        self._runs.clear()
        self._inbox.clear()
        world.books.failures += 1
        world.machine_gone(self)
        self.incarnation = ""
        world.later(round(world.failures.expovariate(1.0) * world.fleet.mttr_s * 1e9), self.boot)

    # --- stepping ---------------------------------------------------------------------------------------------------------

    def post(self, event: e.Event) -> None:
        """Something for its next step, in this moment."""
        self._inbox.append(event)
        self._stir()

    def _stir(self) -> None:
        if not self._queued:
            self._queued = True
            self.world.restless.append(self)

    def hear(self, incarnation: str, orders: Orders) -> None:
        """Orders that were sent to an incarnation of it; mere leave to forget reports is heard with whatever comes next."""
        if incarnation == self.incarnation:
            self._inbox.append(e.Ordered(orders))
            if orders.assign or orders.stop or orders.sync or orders.drain:
                self._stir()

    def step(self) -> None:
        """Take what came, do what follows."""
        self._queued = False
        events, self._inbox = self._inbox, []
        for command in self._agent.step(self.world.now_ns, *events):
            kind = type(command)
            if kind is c.Publish:
                self._publish(command)  # type: ignore[arg-type]
            elif kind is c.StartJob:
                self._start(command)  # type: ignore[arg-type]
            elif kind is c.StopJob:
                self._stop(command)  # type: ignore[arg-type]
            elif kind is c.Connect:
                self.incarnation = f"{self.profile.instance}.{self.lives}"
                self.world.machine_there(self)
                self.post(e.Connected(self.incarnation))
            elif kind is not c.Told:
                raise AssertionError(f"{self.profile.instance} wants {command}, for which nothing here gives it reason")
        if self._inbox and self._agent.work.outbox.waits:
            self._stir()
        self._sleep()

    def _sleep(self) -> None:
        due_ns = self._agent.next_deadline()
        if self._wake is not None:
            self._wake.put_off()
            self._wake = None
        if due_ns is not None and due_ns < self.world.horizon_ns:
            self._wake = self.world.timeline.at(due_ns, partial(self.post, e.TimePassed()))

    def _publish(self, command: c.Publish) -> None:
        self.world.to_leader(command.message)
        if command.token:
            self.world.answer(self, self.incarnation, e.Flushed(command.token))

    def flushed(self, incarnation: str, event: e.Event) -> None:
        """The broker confirms: heard with whatever comes next, unless a word is held back by it."""
        if incarnation == self.incarnation:
            self._inbox.append(event)
            if self._agent.work.outbox.waits:
                self._stir()

    # --- handlers ---------------------------------------------------------------------------------------------------------

    def _start(self, command: c.StartJob) -> None:
        world, said = self.world, command.assignment
        books, place = world.books, world.books.place[said.task]
        done_ns, cost_ns = 0, 0
        if said.checkpoint is not None:
            done_ns, cost_ns = int(said.checkpoint), world.question.checkpoint_cost_ns
        grant = {name: milli(amount) for name, amount in said.grant.items()}
        run = Run(said.task, place, world.now_ns, done_ns, cost_ns, grant)
        self._runs[command.attempt] = run
        books.started(place, world.trace_ns)
        self.post(e.JobStarted(command.attempt))
        world.passing.passed(place, command.attempt, self)
        left_ns = books.length_ns[place] - done_ns + cost_ns
        run.alarm = world.later(left_ns if self.speed == 1.0 else round(left_ns / self.speed), partial(self._ends, command.attempt))

    def _ends(self, attempt: Attempt) -> None:
        run = self._runs.pop(attempt)
        self._leave(run, "done")
        self.world.books.finished(run.place, self.world.trace_ns)
        self.world.passing.ended(run.place)
        self.post(e.JobDone(attempt))

    def _stop(self, command: c.StopJob) -> None:
        run = self._runs.pop(command.attempt, None)
        if run is None:
            return  # it came to its own end in this very moment
        kept_ns = self._leave(run, "lost" if command.hard else "kept")
        if not command.hard:
            self.world.books.preemptions += 1
            self.post(e.Checkpointed(command.attempt, b"%d" % kept_ns))
        self.post(e.JobStopped(command.attempt))

    def _leave(self, run: Run, how: Literal["done", "kept", "lost"]) -> Nanos:
        """It does not run any more. Returns the work of all attempts that is not lost."""
        assert run.alarm is not None
        run.alarm.put_off()
        books, span_ns = self.world.books, self.world.now_ns - run.began_ns
        if how == "done":
            work_ns, vain_ns = books.length_ns[run.place] - run.done_ns + run.cost_ns, run.cost_ns
        else:
            work_ns = span_ns if self.speed == 1.0 else int(span_ns * self.speed)
            vain_ns = min(work_ns, run.cost_ns) if how == "kept" else work_ns
        books.left(run.place, span_ns, work_ns, vain_ns, run.grant)
        kept_ns = run.done_ns + work_ns - vain_ns
        if kept_ns:
            books.kept_ns[run.place] = kept_ns
        return kept_ns
