"""A stage for the coordinator's core: real machines over an imagined broker, one event at a time, no clock and no loop.

What is imagined is only what RabbitMQ does. The ledger is a list. Durable queues keep a delivery until it is settled and
give it to the next session when this one is lost. Everything between two parties travels on a *wire*, a queue of its own
that keeps order; ``pump`` moves the wires until nothing is under way, ``hold`` makes one wait, ``move`` moves one thing along
one wire. So a test decides what overtakes what, and nothing happens that it did not ask for.

    (node, "append")    the append under way                    (node, "confirm")   returns, confirmations
    (node, "begins")    where the ledger begins
    (node, "ledger")    what it has not read yet                (agent, node)       announcements, beats, notes
    (node, agent)       orders and echoes                       (queue, "durable")  intake, reports, control

After every step the invariants of the core are checked and a witness looks at what left (``tests.core.witness``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, Protocol, TypeAlias

from orchestrator.core import commands as c
from orchestrator.core import events as e
from orchestrator.core import invariants
from orchestrator.core.config import Config
from orchestrator.core.coordinator import Coordinator
from orchestrator.vocabulary import NS_PER_S, Ending, Nanos
from orchestrator.wire.codec import encode_entry
from orchestrator.wire.facts import Entry
from orchestrator.wire.messages import Answer, AnyMessage, Control, Echo, Orders, Reports, Result, Submit
from tests.core.witness import Witness

Wire = tuple[str, str]
Evidence: TypeAlias = Ending | Literal[False]
"""How the connection of an agent ended, as the broker says; False: it says nothing."""
START_NS = 1_000 * NS_PER_S
DURABLE = ("reports", "intake", "control")


class Actor(Protocol):
    """An agent on the stage: the scripted one and the real one look alike."""

    incarnation: str
    """The queue that the broker has for it now; empty: none."""

    def take(self, what: Orders | Echo) -> None: ...
    def wake(self) -> None: ...
    def next_deadline(self) -> Nanos | None: ...
    def running(self) -> dict[Any, str]: ...


@dataclass(slots=True)
class Delivery:
    """A message of a durable queue; its number is the handle."""

    number: int
    queue: str
    message: AnyMessage
    reply_to: str = ""


@dataclass(slots=True)
class Node:
    """One coordinator process."""

    name: str
    machine: Coordinator
    nonce: str = ""
    """Of its session; empty: none is open."""
    consuming: bool = False
    intake: bool = True
    cursor: int = 0
    unsettled: dict[int, Delivery] = field(default_factory=dict)
    reopen_ns: Nanos | None = None


class Stage:
    """See the head of this file."""

    def __init__(self, config: Config | None = None, *, own_token: bool = True) -> None:
        self.config = config or Config()
        self.now_ns = START_NS
        self.ledger: list[tuple[int, Entry | None]] = []
        """None: a note of the stream's own, which takes an offset and is read by nobody."""
        self.first = 0
        """The oldest offset that the broker has not dropped."""
        self.deleted = False
        """The ledger is gone, and nobody has come since."""
        self.nodes: dict[str, Node] = {}
        self.actors: list[Actor] = []
        self.wires: dict[Wire, deque[Any]] = {}
        self.held: set[Wire] = set()
        self.strays: list[tuple[Nanos, Entry]] = []
        """Appends of lost sessions, with when these were lost, that may still land."""
        self.replies: dict[str, list[Result]] = {}
        self.answers: list[Answer] = []
        self.dead: list[dict[str, Any]] = []
        self.events_of_deaths = True
        """Whether the broker tells of deleted queues (it has the plugin)."""
        self.own_token = own_token
        self.token: str = ""
        self.deliveries = 0
        self.sessions = 0
        self.bytes = 0
        self.crash_after: int | None = None
        """Perform so many commands of the next step, then the process dies."""
        self.witness = Witness(self)
        self.heard: Callable[[str, c.Command], None] = lambda name, command: None
        """Told of every command, in order."""

    # --- coordinators ---------------------------------------------------------------------------------------------------

    def coordinator(self, name: str) -> Node:
        """A process starts: it reads the ledger from where everything still lives, and opens a session."""
        node = self.nodes[name] = Node(name, Coordinator(name, self.config, Random(name)))
        self.open(node)
        return node

    def open(self, node: Node) -> None:
        """A new session: it reads the ledger from where it knows nothing, or from where everything still lives."""
        self.sessions += 1
        node.reopen_ns = None
        if found := self.deleted:
            self.deleted = False
            self.land(Entry(f"{node.name}.{self.sessions}", 0))
        if node.machine.next_offset > len(self.ledger):
            self.step(node, e.LedgerLost(len(self.ledger)))
            return
        node.cursor = node.machine.resume_at or next((entry.replay_from for _, entry in reversed(self.ledger) if entry), 0)
        node.nonce = f"{node.name}.{self.sessions}"
        self.step(node, e.SessionOpened(node.nonce))
        if found and not node.machine.next_offset:
            self.move((node.name, "ledger"))  # who has not read what is there stands in no line
        self._pass_token()

    def lose(self, node: Node, why: str = "cut", *, late: bool | None = None) -> None:
        """Its session is gone; an append under way was written, never was, or (``late``) will be some time."""
        if node.nonce:
            self._close(node, late)
            self.step(node, e.SessionLost(why))
            node.reopen_ns = self.now_ns + NS_PER_S // 10
            self._pass_token()

    def crash(self, node: Node, *, late: bool | None = None) -> None:
        """The process dies, with all it knew."""
        self._close(node, late)
        del self.nodes[node.name]
        self._pass_token()

    def _close(self, node: Node, late: bool | None) -> None:
        under_way = self.wires.pop((node.name, "append"), deque())
        if late:
            self.strays += [(self.now_ns, entry) for entry in under_way]
        elif late is False:
            for entry in under_way:
                self.land(entry)
        for wire in [wire for wire in self.wires if node.name in wire]:
            if wire[0] != node.name or wire[1] in ("confirm", "begins"):  # what it sent to agents is with the broker
                del self.wires[wire]
        for delivery in reversed(node.unsettled.values()):
            self.wire((delivery.queue, "durable")).appendleft(delivery)
        node.unsettled.clear()
        node.nonce, node.consuming, node.intake = "", False, True
        if self.token == node.name:
            self.token = ""

    def _pass_token(self) -> None:
        if self.own_token and not self.token:
            for node in self.nodes.values():
                if node.nonce:
                    self.give_token(node)
                    return

    def give_token(self, node: Node) -> None:
        """The broker hints that nobody else leads."""
        self.token = node.name
        self.step(node, e.TokenHeld())

    def leader(self) -> Node | None:
        """The one that leads and has read everything there is; none if nobody has."""
        for node in self.nodes.values():
            if node.machine.desk.leading and node.cursor == len(self.ledger):
                return node
        return None

    # --- stepping ----------------------------------------------------------------------------------------------------------

    def step(self, node: Node, *events: e.Event) -> list[c.Command]:
        """One step of a coordinator: what it wants done is done, in order."""
        self.witness.story.append((f"{(self.now_ns - START_NS) / 1e9:.3f}", node.name, events))
        commands = node.machine.step(self.now_ns, events)
        invariants.check(node.machine.desk)
        due = node.machine.next_deadline()
        assert due is None or due > self.now_ns, f"{node.name} came to rest and wants to be woken at once"
        crash, self.crash_after = self.crash_after, None
        for command in commands[:crash]:
            self.witness.command(node, command)
            self.heard(node.name, command)
            self._do(node, command)
        if crash is not None and node.name in self.nodes and len(commands) > crash:
            self.crash(node, late=None)
        self.witness.look()
        return commands

    def _do(self, node: Node, command: c.Command) -> None:
        match command:
            case c.Append(entry=entry):
                wire = self.wire((node.name, "append"))
                assert not wire, f"{node.name} has two appends under way"
                wire.append(entry)
            case c.Settle(handles=handles):
                for handle in handles:
                    del node.unsettled[handle]
            case c.Send(queue=queue, orders=orders):
                if self.actor(orders.incarnation) is not None:
                    assert queue == f"orchestrator.agent.{orders.incarnation}"
                    self.wire((node.name, orders.incarnation)).append(orders)
                else:
                    self.wire((node.name, "confirm")).append(e.Returned(orders.incarnation, orders.epoch, orders.seq))
            case c.Broadcast(echo=echo):
                for actor in self.actors:
                    if actor.incarnation:
                        self.wire((node.name, actor.incarnation)).append(echo)
            case c.SendResults(token=token, reply_to=reply_to, results=results):
                self.wire((node.name, "confirm")).append(e.Sent(token, unroutable=reply_to not in self.replies))
                self.replies.get(reply_to, []).extend(results)
            case c.Bury(token=token, letter=letter):
                self.dead.append(letter)
                self.wire((node.name, "confirm")).append(e.Sent(token))
            case c.Reply(answer=answer):
                self.answers.append(answer)
            case c.Lead(mark=mark):
                node.consuming = True
                self.durable("reports", Reports(mark))
            case c.Flow(intake=intake):
                node.intake = intake
            case c.Resign(wait_ns=wait_ns):
                self._close(node, late=False)
                node.reopen_ns = self.now_ns + wait_ns + NS_PER_S // 10
                self._pass_token()
            case c.LookAtLedger():
                self.wire((node.name, "begins")).append(e.LedgerBegins(self.first))
            case c.OpenIntake() | c.Noted():
                pass

    # --- peers ---------------------------------------------------------------------------------------------------------------

    def actor(self, incarnation: str) -> Actor | None:
        """The agent whose queue this is."""
        return next((actor for actor in self.actors if actor.incarnation == incarnation), None)

    def say(self, incarnation: str, message: AnyMessage) -> None:
        """A soft word of an agent, to every coordinator."""
        for node in self.nodes.values():
            if node.nonce:
                self.wire((incarnation, node.name)).append(e.Arrived(message))

    def durable(self, queue: str, message: Submit | Reports | Control, reply_to: str = "") -> Delivery:
        """A confirmed message in a durable queue."""
        self.deliveries += 1
        delivery = Delivery(self.deliveries, queue, message, reply_to)
        self.wire((queue, "durable")).append(delivery)
        return delivery

    def delete_queue(self, actor: Actor, *, evidence: Evidence = "broken") -> None:
        """An agent's connection is no more for the broker, and so its queue."""
        gone, actor.incarnation = actor.incarnation, ""
        for node in self.nodes.values():
            self.wires.pop((node.name, gone), None)
            if evidence and self.events_of_deaths and node.nonce:
                self.wire((node.name, "confirm")).append(e.QueueDeleted(gone, evidence))

    # --- wires ---------------------------------------------------------------------------------------------------------------

    def wire(self, wire: Wire) -> deque[Any]:
        return self.wires.setdefault(wire, deque())

    def busy(self) -> Iterator[Wire]:
        """Wires along which something could move now."""
        for node in self.nodes.values():
            if node.nonce and node.cursor < len(self.ledger):
                yield (node.name, "ledger")
        for wire, things in list(self.wires.items()):
            if things and (wire[1] != "durable" or self._consumer(wire[0]) is not None):
                yield wire

    def _consumer(self, queue: str) -> Node | None:
        wanted = (node for node in self.nodes.values() if node.consuming and (queue != "intake" or node.intake))
        return next(wanted, None)

    def move(self, wire: Wire) -> None:
        """One thing moves along one wire."""
        source, kind = wire
        if kind == "ledger":
            node = self.nodes[source]
            node.cursor = max(node.cursor, self.first)
            size, entry = self.ledger[node.cursor]
            node.cursor += 1
            if entry is not None:
                self.step(node, e.Read(node.cursor - 1, size, entry))
        elif kind == "durable":
            consumer = self._consumer(source)
            assert consumer is not None, f"nobody consumes {source}"
            delivery = self.wires[wire].popleft()
            consumer.unsettled[delivery.number] = delivery
            self.step(consumer, e.Arrived(delivery.message, delivery.number, delivery.reply_to, "somebody"))
        else:
            thing = self.wires[wire].popleft()
            if kind == "append":
                self.land(thing)
            elif kind in ("confirm", "begins"):
                self.step(self.nodes[source], thing)
            elif kind in self.nodes:
                self.step(self.nodes[kind], thing)
            elif (actor := self.actor(kind)) is not None:
                actor.take(thing)

    def pump(self, most: int = 10_000) -> None:
        """Until nothing is under way, except what is held."""
        for _ in range(most):
            wire = next((wire for wire in self.busy() if wire not in self.held), None)
            if wire is None:
                return
            self.move(wire)
        raise AssertionError(self.witness.tell("the stage does not come to rest"))

    def land(self, entry: Entry) -> None:
        """This entry reaches the ledger."""
        self.ledger.append((len(encode_entry(entry)), entry))
        self.witness.landed(len(self.ledger) - 1, entry)
        self.bytes += self.ledger[-1][0]
        while self.bytes > self.config.ledger_bytes_max:
            self.bytes -= self.ledger[self.first][0]
            self.first += 1

    def write_note(self) -> None:
        """The stream begins a new segment: it writes a note of its own."""
        self.ledger.append((0, None))

    def shorten_ledger(self, first: int) -> None:
        """A policy of the broker has it drop all below this offset."""
        self.bytes -= sum(size for size, _ in self.ledger[self.first : first])
        self.first = max(self.first, first)

    def lose_ledger(self, end: int = 0) -> None:
        """Somebody deletes the ledger, or a power cut takes all from ``end`` on; all sessions break, nothing is under way."""
        del self.ledger[end:]
        self.first = min(self.first, end)
        self.bytes = sum(size for size, _ in self.ledger[self.first :])
        self.strays.clear()
        self.witness.lost(end)
        self.deleted = not end
        sessions = [node for node in self.nodes.values() if node.nonce]
        for node in sessions:
            self._close(node, late=None)
        for node in sessions:
            self.step(node, e.SessionLost("the ledger is gone"))
            node.reopen_ns = self.now_ns + NS_PER_S // 10

    def land_stray(self) -> None:
        """An append of a lost session reaches the ledger after all, unless the session's life is long over (R11)."""
        lost_ns, entry = self.strays.pop(0)
        if self.now_ns - lost_ns <= self.config.close_ns:
            self.land(entry)

    # --- time ----------------------------------------------------------------------------------------------------------------

    def wait(self, span_ns: Nanos, *, pump: bool = True) -> None:
        """Time passes; whoever wanted to be woken is woken, agents before coordinators."""
        until_ns = self.now_ns + span_ns
        if pump:
            self.pump()
        while (due := self._next()) is not None and due <= until_ns:
            self.now_ns = max(self.now_ns, due)
            self._wake()
            if pump:
                self.pump()
        self.now_ns = until_ns

    def _next(self) -> Nanos | None:
        dues = [actor.next_deadline() for actor in self.actors]
        dues += [node.machine.next_deadline() if node.nonce else node.reopen_ns for node in self.nodes.values()]
        return min((due for due in dues if due is not None), default=None)

    def _wake(self) -> None:
        for actor in self.actors:
            due = actor.next_deadline()
            if due is not None and due <= self.now_ns:
                actor.wake()
        for node in list(self.nodes.values()):
            if not node.nonce:
                if node.reopen_ns is not None and node.reopen_ns <= self.now_ns:
                    self.open(node)
                continue
            due = node.machine.next_deadline()
            if due is not None and due <= self.now_ns:
                self.step(node, e.TimePassed())
