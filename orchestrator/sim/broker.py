"""The broker: what RabbitMQ does, as it was measured, no kinder.

The ledger is a stream; intake, reports and control are durable queues; agents and producers have queues of their own that
vanish with their connection; soft words are fanned out to every coordinator that is connected; one session at a time holds
the leader's token. Orders for a queue that is gone come back; orders under way to one are lost without a word.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, Protocol

from orchestrator.core import events as ce
from orchestrator.sim.faults import Faults
from orchestrator.sim.journal import Journal
from orchestrator.sim.network import Connection
from orchestrator.sim.queues import Consumer, Delivery, Message, Queue
from orchestrator.sim.stream import Stream
from orchestrator.sim.timeline import Act, Timeline
from orchestrator.vocabulary import NS_PER_S, Ending, Nanos
from orchestrator.wire.facts import Entry
from orchestrator.wire.messages import AnyMessage, Echo, Orders, Result, Results

Hear = Callable[[Any], None]


class Witness(Protocol):
    """Told of what lands in the ledger."""

    def landed(self, offset: int, entry: Entry) -> None: ...
    def lost(self, end: int, power: bool) -> None: ...
    def broken(self, what: str) -> None: ...


class Coordinating:
    """A coordinator's session, as the broker sees it."""

    def __init__(self, hear: Callable[[ce.Event], None]) -> None:
        self.hear = hear
        self.deaf = False


class Broker:
    """One node."""

    def __init__(self, timeline: Timeline, faults: Faults, chance: Random, journal: Journal, cap_bytes: int) -> None:
        self.timeline = timeline
        self.faults = faults
        self.chance = chance
        self.journal = journal
        self.stream = Stream(cap_bytes)
        self.up = True
        self.blocked = False
        self.witness: Witness
        self.queues = {name: Queue(name) for name in ("tasks", "reports", "control")}
        self.coordinators: dict[Connection, Coordinating] = {}
        """In the order in which they asked for the token: the first one holds it."""
        self.boxes: dict[str, tuple[Connection, Hear]] = {}
        """Exclusive queues of agents and producers, by name."""
        self.dead: list[dict[str, Any]] = []
        self.lives = 0
        self.settles_late = False
        """Coordinators settle what they took in only when the ledger must be on disk."""
        self.reports_upset = False
        """An operator has emptied or deleted the queue of reports."""
        self.powers = 0
        """How often the power went: nothing that was under way survives that."""

    # --- connections ----------------------------------------------------------------------------------------------------

    def enter(self, connection: Connection) -> None:
        """A connection is open."""
        connection.closed = partial(self._closed, connection)
        connection.stray = self._stray
        connection.block(self.blocked)

    def coordinator(self, connection: Connection, hear: Callable[[ce.Event], None], resume_at: int, nonce: str) -> bool:
        """A coordinator's session: it tails the ledger, hears what agents say, waits for the token. False: the ledger ends before
        the place from which it would read on.

        The entry there, which it knows, is looked at before anything else comes. An empty stream does not say that it is, so who
        finds it deleted writes a word into it.
        """
        if self.stream.deleted:
            self.stream.deleted = False
            self.append(Entry(nonce, 0))
        if resume_at > len(self.stream):
            return False
        holder = next(iter(self.coordinators), None)
        self.coordinators[connection] = Coordinating(hear)
        start = resume_at or self.stream.replay_from()
        if resume_at and (known := self.stream.at(resume_at)) is not None:
            hear(ce.Read(resume_at, *known))
            start += 1
        for offset in range(max(start, self.stream.first), len(self.stream)):
            self._tail(connection, offset)
        if self.blocked:
            connection.down("confirm", partial(hear, ce.BrokerBlocked(True)))
        if holder is None:
            self._token(connection)
        return True

    def box(self, connection: Connection, name: str, hear: Hear) -> None:
        """An exclusive queue."""
        self.boxes[name] = connection, hear

    def _closed(self, connection: Connection) -> None:
        self.journal.say(self.timeline.now_ns, "broker", "closed", connection.host.name)
        for queue in self.queues.values():
            queue.leave(connection)
        for name in [name for name, (owner, _) in self.boxes.items() if owner is connection]:
            del self.boxes[name]
            if self.up and self.faults.deaths_told:
                how = self._how(connection)
                for other, session in self.coordinators.items():
                    if other is not connection:
                        other.down("soft", partial(session.hear, ce.QueueDeleted(name, how)))
        if connection in self.coordinators:
            held = next(iter(self.coordinators)) is connection
            del self.coordinators[connection]
            if held and self.coordinators and self.up:
                self._token(next(iter(self.coordinators)))

    def _how(self, connection: Connection) -> Ending:
        """How the end of a connection is told: as it was, or by a node that goes down, or that is told to stop, as they tell it."""
        if self.faults.strikes("swept", self.chance):
            return "swept"
        return "closed" if self.faults.strikes("stopped", self.chance) else connection.ending

    def _token(self, connection: Connection) -> None:
        session = self.coordinators[connection]
        connection.down("inbox", partial(session.hear, ce.TokenHeld()))

    def second_token(self) -> None:
        """The broker is torn: another session is told that nobody leads, and work queues have two readers."""
        sessions = list(self.coordinators)
        if len(sessions) < 2 or not self.faults.raging:
            return
        for queue in self.queues.values():
            queue.shared = self.chance.random() < 0.5
        self._token(self.chance.choice(sessions[1:]))

    # --- the ledger -----------------------------------------------------------------------------------------------------

    def append(self, entry: Entry) -> None:
        """An entry lands; where there is no ledger it comes back, to a session that is over."""
        if self.stream.deleted:
            return
        offset, _ = self.stream.land(entry, self.timeline.now_ns)
        self.journal.say(self.timeline.now_ns, "ledger", f"[{offset}]", entry)
        self.witness.landed(offset, entry)
        for connection in self.coordinators:
            self._tail(connection, offset)

    def _tail(self, connection: Connection, offset: int) -> None:
        if (found := self.stream.at(offset)) is not None:
            connection.down("ledger", partial(self.coordinators[connection].hear, ce.Read(offset, *found)))

    def _stray(self, act: Act) -> None:
        """An append whose session is over: it lands late, at once, or never; in a ledger that was made anew too."""
        if self.chance.random() < self.faults.strays and self.faults.raging:
            self.faults.seen["stray_append"] += 1
            self.timeline.after(round(NS_PER_S * 8 * self.chance.random() ** 2), partial(self._land_late, self.powers, act))
        elif self.chance.random() < 0.5:
            act()

    def _land_late(self, power: int, act: Act) -> None:
        if power == self.powers:
            act()

    def delete_ledger(self) -> None:
        """An operator deletes the ledger: the sessions that read it end."""
        if self.stream.deleted or not self.up:
            return
        self.journal.say(self.timeline.now_ns, "operator", "deletes the ledger")
        for connection in list(self.coordinators):
            connection.broker_drops("the ledger was deleted")
        self.stream = Stream(self.stream.cap_bytes)
        self.stream.deleted = True
        self.witness.lost(0, False)

    def cut_power(self, unwritten_ns: Nanos, down_ns: Nanos) -> None:
        """The power goes: what landed in the ledger within this time before it was not on disk. Queues are synced."""
        if not self.up or self.stream.deleted:
            return
        end = self.stream.end_before(self.timeline.now_ns - unwritten_ns)
        self.powers += 1
        self.crash(down_ns)
        self.journal.say(self.timeline.now_ns, "broker", "loses the ledger from", end)
        self.stream.cut(end)
        self.witness.lost(end, True)

    # --- durable queues ---------------------------------------------------------------------------------------------------

    def publish(self, connection: Connection, queue: str, message: Message, confirm: Callable[[bool], None]) -> None:
        """A durable message, confirmed."""
        self.queues[queue if queue in self.queues else "tasks"].publish(message)
        ok = not self.faults.strikes("unconfirmed", self.chance)
        connection.down("confirm", partial(confirm, ok))

    def consume(self, connection: Connection, name: str, prefetch: int, paused: bool) -> None:
        """A coordinator consumes a queue, which is declared if need be."""
        queue = self.queues.setdefault(name, Queue(name))
        session = self.coordinators.get(connection)
        if session is None or queue.of(connection) is not None:
            return

        def hear(delivery: Delivery, message: Message) -> None:
            event = ce.Arrived(message.body, delivery, message.reply_to, message.user)
            connection.down("inbox", partial(session.hear, event))

        queue.consume(Consumer(connection, hear, prefetch, paused=paused))

    def settle(self, connection: Connection, handles: tuple[Delivery, ...]) -> None:
        """A coordinator is done with these."""
        for handle in handles:
            if not self.queues[handle.queue].settle(connection, handle, self.timeline.now_ns):
                self.witness.broken(f"{connection.host.name} settles {handle}, which its session does not have")

    # --- soft words -------------------------------------------------------------------------------------------------------

    def registry(self, message: AnyMessage) -> None:
        """A soft word of an agent, to every coordinator; lost, late or doubled for each on its own."""
        for connection, session in self.coordinators.items():
            if session.deaf or self.faults.strikes("soft_lost", self.chance):
                continue
            word = partial(connection.down, "soft", partial(session.hear, ce.Arrived(message)))
            if self.faults.strikes("soft_late", self.chance):
                self.timeline.after(round(NS_PER_S * 5 * self.chance.random() ** 3), word)
            else:
                word()
            if self.faults.strikes("soft_doubled", self.chance):
                self.timeline.after(round(NS_PER_S * 3 * self.chance.random() ** 3), word)

    def orders(self, connection: Connection, incarnation: str, orders: Orders) -> None:
        """Orders for one agent; they come back if it has no queue."""
        found = self.boxes.get(incarnation)
        if found is None:
            late = self.faults.strikes("returned_late", self.chance)
            after_ns = round(NS_PER_S * 5 * self.chance.random() ** 2) if late else 0
            self.timeline.after(after_ns, partial(self._return, connection, ce.Returned(incarnation, orders.epoch, orders.seq)))
        elif not self.faults.strikes("orders_lost", self.chance):
            found[0].down("inbox", partial(found[1], orders))

    def _return(self, connection: Connection, returned: ce.Returned) -> None:
        if connection in self.coordinators:
            connection.down("confirm", partial(self.coordinators[connection].hear, returned))

    def echo(self, echo: Echo) -> None:
        """An echo, to all agents."""
        for name, (connection, hear) in self.boxes.items():
            if name.startswith("inc.") and not self.faults.strikes("echo_lost", self.chance):
                connection.down("inbox", partial(hear, echo))

    def results(self, connection: Connection, token: int, reply_to: str, results: tuple[Result, ...]) -> None:
        """Results for one producer."""
        found = self.boxes.get(reply_to)
        unanswered = self.faults.strikes("unanswered", self.chance)
        if found is not None and not (unanswered and self.chance.random() < 0.5):
            found[0].down("inbox", partial(found[1], Results(list(results))))
        if not unanswered:
            self._sent(connection, token, unroutable=found is None)

    def reply(self, reply_to: str, answer: Any) -> None:
        """An operator is answered, if it is still there."""
        if (found := self.boxes.get(reply_to)) is not None:
            found[0].down("inbox", partial(found[1], answer))

    def bury(self, connection: Connection, token: int, letter: dict[str, Any]) -> None:
        """A dead letter."""
        self.dead.append(letter)
        if not self.faults.strikes("unanswered", self.chance):
            self._sent(connection, token, unroutable=False)

    def _sent(self, connection: Connection, token: int, *, unroutable: bool) -> None:
        if connection in self.coordinators:
            connection.down("confirm", partial(self.coordinators[connection].hear, ce.Sent(token, unroutable)))

    # --- its own troubles -------------------------------------------------------------------------------------------------

    def crash(self, down_ns: int) -> None:
        """The broker's process is killed and comes back: connections and what was transient are gone."""
        if not self.up:
            return
        self.journal.say(self.timeline.now_ns, "broker", "dies")
        self.up = False
        self.lives += 1
        for connection in self._connections():
            connection.broker_drops("the broker died")
        if self.faults.raging:
            for queue in self.queues.values():
                queue.forget_settled(self.timeline.now_ns, self.faults.settles_forgotten, self.chance)
        self.timeline.after(down_ns, self.come_back)

    def come_back(self) -> None:
        """It serves again."""
        if not self.up:
            self.journal.say(self.timeline.now_ns, "broker", "is back")
        self.up = True
        self.alarm(False)
        for queue in self.queues.values():
            queue.shared = False

    def delete(self, name: str) -> None:
        """An operator deletes a queue; whoever consumed it loses its session."""
        self.queues[name] = Queue(name)
        for connection in list(self.coordinators):
            connection.broker_drops(f"the queue {name} was deleted")

    def alarm(self, blocked: bool) -> None:
        """Memory or disk is short: publishers are not heard."""
        if blocked == self.blocked or not self.up:
            return
        self.blocked = blocked
        self.journal.say(self.timeline.now_ns, "broker", "blocks publishers" if blocked else "hears publishers again")
        for connection in self._connections():
            connection.block(blocked)
        for connection, session in self.coordinators.items():
            connection.down("confirm", partial(session.hear, ce.BrokerBlocked(blocked)))

    def _connections(self) -> list[Connection]:
        owners = [connection for connection, _ in self.boxes.values()]
        return list(dict.fromkeys([*self.coordinators, *owners]))
