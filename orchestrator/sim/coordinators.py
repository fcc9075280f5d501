"""A coordinator as a process: the real core, its shell imagined as ``live.daemon`` and ``live.session`` are.

Law: the shell never thinks. One session after another; commands are carried out in order, and a process may die between any
two of them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from orchestrator.core import commands as c
from orchestrator.core import events as e
from orchestrator.core import invariants
from orchestrator.core.config import Config
from orchestrator.core.coordinator import Coordinator
from orchestrator.sim.network import Connection
from orchestrator.sim.process import Process
from orchestrator.sim.queues import Message
from orchestrator.sim.surroundings import Surroundings
from orchestrator.sim.timeline import dice
from orchestrator.sim.workload import Workload
from orchestrator.vocabulary import NS_PER_MS, NS_PER_S, Nanos
from orchestrator.wire.messages import Reports

INTAKE_PREFETCH = 200
REPORTS_PREFETCH = 1000


class CoordinatorProcess(Process):
    """One coordinator."""

    def __init__(self, name: str, around: Surroundings, config: Config, work: Workload | None = None) -> None:
        super().__init__(name, around)
        self.config = config
        self.policies = work.policies if work is not None else {}
        self.limits = work.limits if work is not None else {}
        self.machine = Coordinator(name, config, policies=self.policies, limits=self.limits)
        self.connection: Connection | None = None
        self.read_to = 0
        """The ledger below this offset has been read by this life."""
        self._sessions = 0
        self._begins: int | None = None
        """Where it was told that the ledger begins; it hears that with whatever comes next."""
        self._intake: dict[str, None] = {}
        self._flowing = True

    # --- its life ---------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        chance = dice(self.seed, "core", self.name, self.lives)
        self.machine = Coordinator(self.name, self.config, chance, self.policies, limits=self.limits)
        self.read_to = 0
        self._retry()

    def end(self) -> None:
        self.laws.ledgers.died(self)
        if self.connection is not None:
            self.connection.die(self.chance)
            self.connection = None

    def next_deadline(self) -> Nanos | None:
        return self.machine.next_deadline() if self.connection is not None else None

    def _retry(self, after_ns: Nanos = 0) -> None:
        wait_ns = after_ns + round(NS_PER_MS * self.chance.uniform(20, 300))
        self.timeline.after(wait_ns, partial(self._connect, self.lives))

    def _connect(self, life: int) -> None:
        if not self.alive or life != self.lives or self.connection is not None:
            return
        if not self.broker.up or self.host.cut or self.host.paused:
            self._retry(NS_PER_S)
            return
        self._sessions += 1
        connection = Connection(self.timeline, self.faults, self.host, lambda why: self._lost(connection, why))
        self.connection = connection
        self._begins, self._intake, self._flowing = None, {}, True
        self.drop_inbox()
        nonce = f"{self.name}.{self._sessions}"
        self.post(e.SessionOpened(nonce))
        self.read_to = self.machine.next_offset
        self.laws.ledgers.attached(self)
        self.broker.enter(connection)
        if not self.broker.coordinator(connection, partial(self._hear, connection), self.machine.resume_at, nonce):
            self._rewound(connection)

    def _rewound(self, connection: Connection) -> None:
        """What it has read is not in the ledger any more."""
        self.drop_inbox()
        self._take([e.LedgerLost(len(self.broker.stream))])
        connection.close()
        self._ended("the ledger ends before what was read of it")

    def _hear(self, connection: Connection, event: e.Event) -> None:
        if connection is self.connection:
            self.post(event)

    def _lost(self, connection: Connection, why: str) -> None:
        """The session is over: so the daemon says before it enters again."""
        if self.host.paused:
            self.timeline.after(NS_PER_S // 10, partial(self._lost, connection, why))
        elif connection is self.connection:
            self._ended(why)

    def _ended(self, why: str, wait_ns: Nanos = 0) -> None:
        self.connection = None
        self.drop_inbox()
        self._take([e.SessionLost(why)])
        self._retry(wait_ns)

    # --- stepping ---------------------------------------------------------------------------------------------------------

    def step(self, events: list[Any]) -> None:
        if self._begins is not None:
            events, self._begins = [e.LedgerBegins(self._begins), *events], None
        commands = self._take(events)
        reached = self._dies_at(commands)
        for command in commands[:reached]:
            if self.connection is None:
                return
            self._do(self.connection, command)
        if reached is not None:
            self.kill()

    def _dies_at(self, commands: list[c.Command]) -> int | None:
        """How many of these are still done before the process dies; none: it lives."""
        appends = [at for at, command in enumerate(commands, 1) if type(command) is c.Append]
        if appends and self.faults.strikes("crash_after_append", self.chance):
            return appends[-1]
        return self.chance.randint(0, len(commands)) if self.faults.strikes("crash_in_step", self.chance) else None

    def _take(self, events: list[Any]) -> list[c.Command]:
        self.laws.reading(self, events)
        self.say("<", *events)
        commands = self.machine.step(self.timeline.now_ns, events)
        for command in commands:
            self.say(">", command)
        invariants.check(self.machine.desk)
        self.restless(self.machine.next_deadline())
        return commands

    def _do(self, connection: Connection, command: c.Command) -> None:
        broker = self.broker
        self.laws.commanded(self, command)
        match command:
            case c.Append(entry=entry):
                connection.up("ledger", partial(broker.append, entry))
            case c.Settle(handles=handles):
                connection.up("consume", partial(broker.settle, connection, handles))
            case c.Send(orders=orders):
                connection.up("publish", partial(broker.orders, connection, orders.incarnation, orders))
            case c.Broadcast(echo=echo):
                connection.up("publish", partial(broker.echo, echo))
            case c.SendResults(token=token, reply_to=reply_to, results=results):
                connection.up("publish", partial(broker.results, connection, token, reply_to, results))
            case c.Bury(token=token, letter=letter):
                connection.up("publish", partial(broker.bury, connection, token, letter))
            case c.Reply(reply_to=reply_to, answer=answer):
                connection.up("publish", partial(broker.reply, reply_to, answer))
            case c.OpenIntake(service=service):
                self._take_in(connection, f"tasks.{service}")
            case c.Flow(intake=intake):
                self._flowing = intake
                for name in self._intake:
                    connection.up("consume", partial(self._pause, connection, name, not intake))
            case c.Lead(mark=mark):
                connection.up("publish", partial(broker.publish, connection, "reports", Message(Reports(mark)), lambda _: None))
                connection.up("consume", partial(broker.consume, connection, "reports", REPORTS_PREFETCH, False))
                connection.up("consume", partial(broker.consume, connection, "control", 100, False))
                self._take_in(connection, "tasks")
            case c.LookAtLedger():
                self._begins = broker.stream.first
            case c.Resign(why=why, wait_ns=wait_ns):
                connection.close()
                self._ended(why, wait_ns)
            case c.Noted():
                pass

    def _take_in(self, connection: Connection, name: str) -> None:
        self._intake[name] = None
        connection.up("consume", partial(self.broker.consume, connection, name, INTAKE_PREFETCH, not self._flowing))

    def _pause(self, connection: Connection, name: str, paused: bool) -> None:
        self.broker.queues[name].pause(connection, paused)
