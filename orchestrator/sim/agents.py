"""An agent as a process: the real core, its shell imagined as ``workers.live.shell`` is.

Law: the agent's clock is its own (it counts from its host's boot, and goes on while the process is paused); Unix time comes
beside it. A connection is a new incarnation, with a queue of its own.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from orchestrator.sim.jobs import Jobs
from orchestrator.sim.network import Connection
from orchestrator.sim.process import Process
from orchestrator.sim.queues import Message
from orchestrator.sim.surroundings import Surroundings
from orchestrator.sim.timeline import dice
from orchestrator.sim.workload import Place, Workload
from orchestrator.vocabulary import NS_PER_MS, NS_PER_S, Attempt, Nanos
from orchestrator.wire.messages import Echo, Held, Holding, Notes, Orders
from workers.core import Agent, Lane, Profile, invariants
from workers.core import commands as wc
from workers.core import events as we


class AgentProcess(Process):
    """One instance of a service."""

    def __init__(self, place: Place, around: Surroundings, work: Workload) -> None:
        super().__init__(place.name, around)
        self.place = place
        self.work = work
        self.booted_ns = self.timeline.now_ns - round(NS_PER_S * self.chance.uniform(1, 1000))
        self.connection: Connection | None = None
        lanes = (Lane("async"), Lane("threads", 2))
        who = (place.name, place.service, place.capacity, place.handlers)
        self.profile = Profile(*who, lanes=lanes, lane_of={"fly": "threads"}, devices=place.devices)
        self.agent = Agent(self.profile, self.chance)
        self.jobs = Jobs(self.name, self.timeline, self.laws, self.post, self.permit, self.kill)
        self._incarnation = ""
        self._opening = 0
        self._opens = False

    # --- its life ---------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        self.agent = Agent(self.profile, dice(self.seed, "core", self.name, self.lives))
        self.jobs = Jobs(self.name, self.timeline, self.laws, self.post, self.permit, self.kill)
        self.laws.agent_starts(self)
        self.post(we.TimePassed())

    def end(self) -> None:
        self.jobs.dead = True
        self.laws.agent_died(self.name)
        if self.connection is not None:
            self.connection.die(self.chance)
            self.connection = None
        self._opens = False

    def pause(self) -> None:
        super().pause()
        self.jobs.frozen = self.host.paused

    def thaw(self) -> None:
        self.jobs.thaw()

    def drain(self) -> None:
        """SIGTERM."""
        self.post(we.DrainAsked(NS_PER_S * 3, "told to"))

    def quit(self) -> None:
        """Told a second time: end at once, whatever runs."""
        self.post(we.QuitAsked())

    def belie(self, ghosts: list[tuple[str, int]], of_this_reign: bool) -> None:
        """A forged answer to a sync in its name: besides what it has these attempts, by task and number."""
        mine = self.agent.incarnation
        if mine is None or not mine.epoch or self.connection is None:
            return
        epoch = mine.epoch if of_this_reign else max(1, mine.epoch - 1)
        false = [Holding(task, Attempt(epoch, n), "running", {"slots": 1.0}) for task, n in ghosts]
        self.say("is lied about", *false)
        held = Held(mine.name, mine.window.seq, mine.epoch, mine.drained, self.agent.work.held() + false)
        self.broker.registry(held)

    @property
    def connected(self) -> bool:
        """Whether the broker has its queue."""
        return self._incarnation in self.broker.boxes

    def now_ns(self) -> Nanos:
        """On its own clock."""
        return self.timeline.now_ns - self.booted_ns

    def permit(self) -> tuple[str, Nanos]:
        """Which incarnation may call handlers, until when (on the timeline; 0: not at all)."""
        incarnation, until_ns = self.agent.permit
        return incarnation, until_ns + self.booted_ns if until_ns else 0

    def next_deadline(self) -> Nanos | None:
        due_ns = self.agent.next_deadline()
        return None if due_ns is None else due_ns + self.booted_ns

    # --- stepping ---------------------------------------------------------------------------------------------------------

    def step(self, events: list[Any]) -> None:
        self.say("<", *events)
        commands = self.agent.step(self.now_ns(), we.WallClock(self.timeline.now_ns), *events)
        for command in commands:
            self.say(">", command)
        invariants.check(self.agent)
        self.laws.agent_stepped(self, commands)
        self.restless(self.next_deadline())
        dies = self.faults.strikes("crash_agent_in_step", self.chance)
        for command in commands[: self.chance.randint(0, len(commands)) if dies else None]:
            if self.alive:
                self._do(command)
        if dies:
            self.kill()

    def _do(self, command: wc.Command) -> None:
        match command:
            case wc.Publish():
                self._publish(command)
            case wc.StartJob(assignment=assignment):
                uncalled = self.faults.strikes("uncalled", self.chance)
                plan = self.work.tries(assignment.task, assignment.number)
                self.jobs.start(command, plan, self._incarnation, uncalled, self._slow_ns("slow_start", 2))
            case wc.StopJob():
                self.jobs.stop(command)
            case wc.Connect():
                self._opening += 1
                self._opens = True
                after_ns = round(NS_PER_MS * self.chance.uniform(5, 50)) + self._slow_ns("slow_link", 6)
                self.timeline.after(after_ns, partial(self._open, self.lives, self._opening))
            case wc.CloseConnection(reason=reason):
                self._opening += 1
                if not self._opens and self.connection is None:
                    return  # it was lost in this very turn, and that is told: a connection ends once
                self._opens = False
                if self.connection is not None:
                    self.connection.close()
                    self.connection = None
                if after_ns := self._slow_ns("slow_link", 3):
                    self.timeline.after(after_ns, partial(self._closed, self.lives, reason))
                else:
                    self.post(we.Disconnected(reason))
            case wc.Finish():
                self.kill()
            case wc.Told():
                pass

    def _slow_ns(self, kind: str, most_s: float) -> Nanos:
        """How much longer than usual it takes, this time."""
        return round(NS_PER_S * most_s * self.chance.random() ** 2) if self.faults.strikes(kind, self.chance) else 0

    def _closed(self, life: int, reason: str) -> None:
        if life == self.lives:
            self.post(we.Disconnected(reason))

    def _publish(self, command: wc.Publish) -> None:
        connection, message = self.connection, command.message
        if connection is None:
            return
        if command.durable:
            confirm = partial(self._flushed, connection, command.token)
            connection.up("publish", partial(self.broker.publish, connection, "reports", Message(message), confirm))
            return
        spoken = isinstance(message, Notes)
        connection.up("publish" if spoken else "beats", partial(self._said, connection, command))

    def _said(self, connection: Connection, command: wc.Publish) -> None:
        self.broker.registry(command.message)
        if command.token:
            connection.down("confirm", partial(self._flushed, connection, command.token, True))

    def _flushed(self, connection: Connection, token: int, ok: bool) -> None:
        if connection is self.connection:
            self.post(we.Flushed(token, ok))

    # --- a connection -----------------------------------------------------------------------------------------------------

    def _open(self, life: int, opening: int) -> None:
        if not self.alive or life != self.lives or opening != self._opening:
            return
        if self.host.paused:
            self.timeline.after(NS_PER_S // 10, partial(self._open, life, opening))
        elif not self.broker.up or self.host.cut:
            self._opens = False
            self.post(we.Disconnected("the broker cannot be reached"))
        else:
            self._opens = False
            self._incarnation = f"inc.{self.name}.{self.lives}.{opening}"
            self.connection = Connection(self.timeline, self.faults, self.host, self._lost)
            self.broker.enter(self.connection)
            self.broker.box(self.connection, self._incarnation, partial(self._hear, self.connection))
            self.post(we.Connected(self._incarnation))

    def _hear(self, connection: Connection, message: Orders | Echo) -> None:
        if connection is self.connection:
            self.post(we.Ordered(message) if isinstance(message, Orders) else we.Echoed(message))

    def _lost(self, why: str) -> None:
        if self.connection is not None and not self.connection.here:
            self.connection = None
            self.post(we.Disconnected(why))
