"""A stage for the agent's core: it plays the shell, the job runner and the leader, and a witness watches every step.

The witness knows nothing of the machine's insides. It keeps its own account of what was ordered, run, said and released, and
fails the test at the step at which a promise is broken, with the whole story so far.
"""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

from orchestrator.vocabulary import NS_PER_S, Attempt
from orchestrator.wire.messages import (
    Assignment,
    Beat,
    Echo,
    Handler,
    Held,
    Leave,
    Note,
    Notes,
    Orders,
    Report,
    Reports,
    Stop,
)
from workers.core import Agent, Lane, Limits, Profile
from workers.core.commands import CloseConnection, Command, Connect, Finish, Publish, StartJob, StopJob, Told
from workers.core.events import (
    Connected,
    Disconnected,
    Echoed,
    Event,
    Flushed,
    JobDone,
    JobFailed,
    JobLate,
    JobStarted,
    JobStopped,
    Ordered,
    TimePassed,
)
from workers.core.invariants import check

LEASE_NS = 10 * NS_PER_S
MS = 1_000_000

PROFILE = Profile(
    instance="thumbs@here-1",
    service="thumbs",
    handlers=(Handler("resize"), Handler("crunch"), Handler("slow", timeout_ns=2 * NS_PER_S)),
    capacity={"slots": 4},
    lanes=(Lane("async"), Lane("process", 1)),
    lane_of={"crunch": "process"},
)


class Witness:
    """Keeps its own books; every broken promise is an AssertionError that tells the story."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.story: list[str] = []
        self.incarnation = ""
        self.epoch = 0
        self.highest = 0
        self.lease_ns = 0
        self.sent: dict[int, int] = {}
        self.heard_until_ns = 0
        self.assigned: dict[Attempt, str] = {}
        self.running: set[Attempt] = set()
        self.buried: set[Attempt] = set()
        """Unfinished when their incarnation ended: nobody may hear of them again."""
        self.silent: set[Attempt] = set()
        """Said to be stopped: they may neither start nor report any more."""
        self.ended: set[Attempt] = set()
        """Whose handler came to an end while their incarnation lived, or never had one."""
        self.kept: set[Attempt] = set()
        """Done and not released: the agent must have them."""
        self.unconfirmed: set[Attempt] = set()
        """Those of ``kept`` that no publish since the last sync (or their end) has carried to the broker."""
        self.flying: set[Attempt] = set()
        self.published: set[Attempt] = set()
        """Reported at least once and not released."""
        self.stops_owed: set[Attempt] = set()
        self.durable_token = self.soft_token = self.durable_ns = 0
        self.over = False

    def before(self, now_ns: int, event: Event) -> None:
        """What the world has just done."""
        match event:
            case Connected(incarnation=name):
                self.incarnation = name
                self.epoch, self.sent, self.heard_until_ns, self.lease_ns = 0, {}, 0, 0
            case Disconnected():
                self._end()
            case Ordered(orders=orders) if orders.incarnation == self.incarnation and not self._missed(now_ns):
                self._orders(now_ns, orders)
            case Echoed(echo=echo) if echo.epoch == self.epoch and self.epoch and self.incarnation in echo.heard:
                self._renew(echo.heard[self.incarnation])
            case Flushed(token=token, ok=ok):
                if token == self.durable_token:
                    self.durable_token = 0
                    if ok:
                        self.unconfirmed -= self.flying
                elif token == self.soft_token:
                    self.soft_token = 0
            case JobDone(attempt=attempt) | JobFailed(attempt=attempt) | JobStopped(attempt=attempt):
                self.running.discard(attempt)
                if attempt not in self.buried:
                    self.ended.add(attempt)
                    if isinstance(event, JobDone):
                        self.kept.add(attempt)
                        self.unconfirmed.add(attempt)
            case JobLate(attempt=attempt):
                self.running.discard(attempt)

    def _missed(self, now_ns: int) -> bool:
        return self.heard_until_ns != 0 and now_ns >= self.heard_until_ns

    def _orders(self, now_ns: int, orders: Orders) -> None:
        if orders.sync and orders.epoch >= self.highest and orders.epoch:
            self.epoch = self.highest = orders.epoch
            self.lease_ns = orders.lease_ns
            self.unconfirmed = set(self.kept)
            if self.heard_until_ns:
                self.heard_until_ns = min(self.heard_until_ns, now_ns + self.lease_ns)
        if orders.epoch != self.epoch or not self.epoch:
            return
        if orders.heard:
            self._renew(orders.heard)
        for attempt in orders.release:
            self.kept.discard(attempt)
            self.unconfirmed.discard(attempt)
            self.published.discard(attempt)
            self.stops_owed.discard(attempt)  # the leader knows by itself how it ended
        for item in orders.assign:
            self.assigned.setdefault(Attempt(orders.epoch, item.n), item.task)
            if item.handler not in {handler.name for handler in PROFILE.handlers}:
                self.ended.add(Attempt(orders.epoch, item.n))
        self.stops_owed |= {stop.attempt for stop in orders.stop}

    def _renew(self, seq: int) -> None:
        if seq in self.sent and self.lease_ns:
            self.heard_until_ns = max(self.heard_until_ns, self.sent[seq] + self.lease_ns)

    def _end(self) -> None:
        self.incarnation = ""
        self.epoch = 0
        self.buried |= self.running | (self.assigned.keys() - self.ended)
        self.stops_owed.clear()
        self.durable_token = self.soft_token = 0

    def after(self, now_ns: int, commands: list[Command]) -> None:
        """What the agent answers to it."""
        assert not (self.over and commands), self.tell("spoke after Finish", commands)
        kinds = [type(command.message) for command in commands if isinstance(command, Publish)]
        assert kinds.count(Reports) <= 1, self.tell("two messages of reports in one step", commands)
        assert kinds.count(Notes) <= 1, self.tell("two messages of notes in one step", commands)
        for command in commands:
            match command:
                case StartJob(attempt=attempt):
                    self._may_start(now_ns, attempt)
                    self.running.add(attempt)
                case Connect():
                    assert not self.running, self.tell(f"connects while {self.running} run", commands)
                case CloseConnection():
                    self._end()
                case Finish():
                    self.over = True
                case Publish(message=message, durable=durable, token=token):
                    self._said(now_ns, message, durable, token)
                case _:
                    pass
        check(self.agent)

    def _may_start(self, now_ns: int, attempt: Attempt) -> None:
        assert attempt in self.assigned, self.tell(f"started {attempt}, which nobody obeyed had assigned")
        assert attempt not in self.running, self.tell(f"started {attempt} twice")
        assert attempt not in self.silent, self.tell(f"started {attempt} after saying it was stopped or refused")
        assert attempt not in self.buried, self.tell(f"started {attempt} of a former incarnation")
        assert self.epoch, self.tell(f"started {attempt} obeying nobody")
        assert now_ns < self.heard_until_ns, self.tell(f"started {attempt} with its window closed")

    def _said(self, now_ns: int, message: Any, durable: bool, token: int) -> None:
        assert self.incarnation == message.incarnation, self.tell(f"said {message} without a connection")
        assert len(msgspec.msgpack.encode(message)) <= self.agent.limits.body_bytes_max, self.tell("too big a message")
        assert durable == isinstance(message, Reports), self.tell(f"{message} by the wrong way")
        match message:
            case Beat(seq=seq) | Held(seq=seq):
                assert seq not in self.sent, self.tell(f"number {seq} said twice")
                self.sent[seq] = now_ns
                if isinstance(message, Held):
                    finished = {item.attempt for item in message.attempts if item.state == "finished"}
                    assert finished >= self.kept, self.tell(f"has forgotten {self.kept - finished}")
            case Reports(items=items):
                given_up = now_ns - self.durable_ns >= self.agent.limits.resend_ns
                assert not self.durable_token or given_up, self.tell("two publishes of reports under way")
                assert self.epoch, self.tell("reports before a sync")
                self.durable_token, self.durable_ns = token, now_ns
                self.flying = {report.attempt for report in items}
                self.published |= self.flying
                for report in items:
                    self._reported(report)
            case Notes(items=items):
                assert not self.soft_token, self.tell("two publishes of notes under way")
                self.soft_token = token
                for note in items:
                    self._noted(note)
            case Leave():
                assert not self.running, self.tell("left while something runs")
            case _:
                pass

    def _reported(self, report: Report) -> None:
        attempt = report.attempt
        assert attempt not in self.buried, self.tell(f"reported {attempt}, unfinished at the end of its incarnation")
        assert attempt not in self.silent, self.tell(f"reported {attempt} after saying it was stopped")
        assert attempt not in self.running, self.tell(f"reported {attempt}, which runs")
        self.stops_owed.discard(attempt)

    def _noted(self, note: Note) -> None:
        if note.what in ("stopped", "refused"):
            assert note.attempt not in self.running, self.tell(f"said {note.attempt} is {note.what} while it runs")
            self.stops_owed.discard(note.attempt)
            if note.what == "stopped" or note.text in ("full", "draining", "expired"):
                self.silent.add(note.attempt)

    def tell(self, what: str, commands: list[Command] | None = None) -> str:
        """The sentence of a failed assertion, with the story."""
        lines = [*self.story[-60:], *(f"    {command}" for command in commands or ())]
        return what + "\n" + "\n".join(lines)


class Stage:
    """The shell, the job runner and a leader, in one hand. ``said`` keeps everything published."""

    def __init__(self, profile: Profile = PROFILE, limits: Limits | None = None, seed: int = 1) -> None:
        self.agent = Agent(profile, Random(seed), limits or Limits(beat_jitter=0.0))
        self.witness = Witness(self.agent)
        self.now_ns = 1_000 * NS_PER_S
        self.said: list[Any] = []
        self.commands: list[Command] = []
        self.incarnations = 0
        self.order_seq = 0

    # --- pushing -----------------------------------------------------------------------------------------------------

    def step(self, *events: Event, after_ns: int = 0) -> list[Command]:
        """One step; everything it says is kept, and the witness looks on."""
        self.now_ns += after_ns
        self.witness.story.append(f"{self.now_ns / NS_PER_S:.3f} {events}")
        if self.witness._missed(self.now_ns) and self.agent.phase == "serving":
            self.witness._end()
        for event in events:
            self.witness.before(self.now_ns, event)
        commands = self.agent.step(self.now_ns, *events)
        self.witness.story += [f"    {command}" for command in commands]
        self.witness.after(self.now_ns, commands)
        self.commands += commands
        self.said += [command.message for command in commands if isinstance(command, Publish)]
        return commands

    def wait(self, span_ns: int) -> list[Command]:
        """Time passes, every deadline on the way is kept."""
        until_ns, commands = self.now_ns + span_ns, []
        while (due_ns := self.agent.next_deadline()) is not None and due_ns <= until_ns:
            self.now_ns = max(self.now_ns, due_ns)
            commands += self.step(TimePassed())
        self.now_ns = until_ns
        return commands + self.step(TimePassed())

    # --- a shell and a leader ------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The current incarnation's."""
        return f"i{self.incarnations}"

    def connect(self) -> list[Command]:
        """The connection that was asked for is open."""
        self.incarnations += 1
        self.order_seq = 0
        return self.step(Connected(self.name))

    def orders(self, epoch: int, **what: Any) -> list[Command]:
        """A leader's orders for the current incarnation, numbered on."""
        self.order_seq = what.pop("seq", self.order_seq + 1)
        return self.step(Ordered(Orders(self.name, epoch, self.order_seq, **what)))

    def sync(self, epoch: int, lease_ns: int = LEASE_NS, **what: Any) -> list[Command]:
        """A leader asks to be obeyed."""
        return self.orders(epoch, sync=True, lease_ns=lease_ns, **what)

    def serve(self, epoch: int = 1) -> None:
        """Connect, be synced, be echoed: ready to start work."""
        if self.agent.phase == "offline":
            self.wait(60 * NS_PER_S)
        self.connect()
        self.sync(epoch)
        self.echo(epoch)

    def echo(self, epoch: int, seq: int | None = None) -> list[Command]:
        """The leader has heard our last beat."""
        mine = self.agent.incarnation
        last = mine.window.seq if mine else 0
        return self.step(Echoed(Echo(epoch, {self.name: last if seq is None else seq})))

    def assign(self, epoch: int, *numbers: int, handler: str = "resize", **what: Any) -> list[Command]:
        """Tasks t<n>, one slot each."""
        items = [Assignment(f"t{n}", n, handler, b"\x80", {"slots": 1}, **what) for n in numbers]
        return self.orders(epoch, assign=items)

    def stop(self, epoch: int, n: int, preempt: bool = False, of: int | None = None) -> list[Command]:
        """Recall task t<n>."""
        return self.orders(epoch, stop=[Stop(f"t{n}", Attempt(of or epoch, n), "because", preempt)])

    def start(self, epoch: int, *numbers: int, **what: Any) -> None:
        """Assign, and have the job runner start it."""
        self.assign(epoch, *numbers, **what)
        self.step(*[JobStarted(Attempt(epoch, n), at_ns=7) for n in numbers])

    def flush(self, ok: bool = True) -> list[Command]:
        """Every publish that is under way comes back."""
        commands: list[Command] = []
        while tokens := [token for token in (self.witness.durable_token, self.witness.soft_token) if token]:
            for token in tokens:
                commands += self.step(Flushed(token, ok))
        return commands

    def lose(self, reason: str = "the broker is gone") -> list[Command]:
        """All connections are gone."""
        return self.step(Disconnected(reason))

    # --- looking ----------------------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """What was said so far is no longer of interest."""
        self.said.clear()
        self.commands.clear()

    def all_said(self, kind: type) -> list[Any]:
        """Every message of a kind."""
        return [message for message in self.said if isinstance(message, kind)]

    def notes(self) -> list[tuple[str, int, str]]:
        """(what, n, text) of every note."""
        return [(note.what, note.attempt.n, note.text) for message in self.all_said(Notes) for note in message.items]

    def reports(self) -> list[tuple[str, int]]:
        """(outcome or kind of error, n) of every report."""
        items = [report for message in self.all_said(Reports) for report in message.items]
        return [(report.error.kind if report.error else report.outcome, report.attempt.n) for report in items]

    def done(self, kind: type) -> list[Any]:
        """Every command of a kind."""
        return [command for command in self.commands if isinstance(command, kind)]

    def started(self) -> list[int]:
        """Numbers of the attempts that were started."""
        return [command.attempt.n for command in self.done(StartJob)]

    def stops(self) -> list[tuple[int, bool]]:
        """(n, hard) of every stop given to the job runner."""
        return [(command.attempt.n, command.hard) for command in self.done(StopJob)]

    def told(self) -> list[str]:
        """Words for people."""
        return [command.word for command in self.done(Told)]
