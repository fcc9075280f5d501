"""Durable queues, no kinder than the real ones.

Law: a delivery stays with the session it was given to until it is settled; when that session is over it comes back, in front,
under a new handle. Settlements under way are lost with their session, and a broker that dies may forget some it had taken.
One consumer is active, the next in line follows; with two believers both may be.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import Any

from orchestrator.sim.network import Connection
from orchestrator.vocabulary import NS_PER_S, Nanos

FRESH_NS = 2 * NS_PER_S
"""A settlement younger than this may be forgotten by a broker that dies (measured on the real one)."""


@dataclass(slots=True, eq=False)
class Message:
    """What lies in a queue."""

    body: Any
    reply_to: str = ""
    user: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message given to a session: the handle that its party settles."""

    queue: str
    tag: int

    def __repr__(self) -> str:
        return f"{self.queue}/{self.tag}"


@dataclass(eq=False)
class Consumer:
    """A session that consumes this queue."""

    connection: Connection
    hear: Any
    """Called with delivery and message when one is given to it."""
    prefetch: int
    unsettled: dict[Delivery, Message] = field(default_factory=dict)
    paused: bool = False


class Queue:
    """One durable queue."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready: deque[Message] = deque()
        self.consumers: list[Consumer] = []
        self.shared = False
        """Two believers: every consumer is active."""
        self._tags = 0
        self._turns = 0
        self._settled: deque[tuple[Nanos, Message]] = deque()
        self._stale: set[Delivery] = set()
        """Handles that mean nothing any more: what they stood for was delivered again."""

    def publish(self, message: Message) -> None:
        """A message is safe here from now on."""
        self.ready.append(message)
        self.give()

    def consume(self, consumer: Consumer) -> None:
        """A session consumes from now on."""
        self.consumers.append(consumer)
        self.give()

    def of(self, connection: Connection) -> Consumer | None:
        """What this session has here."""
        return next((one for one in self.consumers if one.connection is connection), None)

    def settle(self, connection: Connection, delivery: Delivery, now_ns: Nanos) -> bool:
        """This delivery is dealt with. False: the session has no such delivery."""
        if delivery in self._stale:
            return True
        consumer = self.of(connection)
        message = consumer.unsettled.pop(delivery, None) if consumer is not None else None
        if message is None:
            return False
        self._settled.append((now_ns, message))
        while self._settled and now_ns - self._settled[0][0] > FRESH_NS:
            self._settled.popleft()
        self.give()
        return True

    def leave(self, connection: Connection) -> None:
        """A session is over: what it held comes back, in front."""
        consumer = self.of(connection)
        if consumer is not None:
            self.consumers.remove(consumer)
            self.ready.extendleft(reversed(consumer.unsettled.values()))
            self.give()

    def purge(self) -> None:
        """An operator empties it: what is ready is gone."""
        self.ready.clear()

    def redeliver(self) -> None:
        """All that sessions hold comes again, to the same ones, under new handles."""
        for consumer in self.consumers:
            held, consumer.unsettled = consumer.unsettled, {}
            self._stale |= held.keys()
            self.ready.extendleft(reversed(held.values()))
        self.give()

    def forget_settled(self, now_ns: Nanos, share: float, chance: Random) -> None:
        """The broker has died: some fresh settlements never were."""
        fresh = [message for when, message in self._settled if now_ns - when <= FRESH_NS]
        self._settled.clear()
        self.ready.extendleft(message for message in reversed(fresh) if chance.random() < share)

    def pause(self, connection: Connection, paused: bool) -> None:
        """A session stops consuming, or goes on."""
        if (consumer := self.of(connection)) is not None:
            consumer.paused = paused
            self.give()

    def give(self) -> None:
        """Give what is ready to whoever may have it."""
        while self.ready:
            active = [one for one in (self.consumers if self.shared else self.consumers[:1]) if self._may(one)]
            if not active:
                return
            self._turns += 1
            consumer = active[self._turns % len(active)]
            self._tags += 1
            delivery = Delivery(self.name, self._tags)
            message = self.ready.popleft()
            consumer.unsettled[delivery] = message
            consumer.hear(delivery, message)

    def _may(self, consumer: Consumer) -> bool:
        return not consumer.paused and len(consumer.unsettled) < consumer.prefetch

    @property
    def empty(self) -> bool:
        """Nothing lies here, nothing is out."""
        return not self.ready and not any(one.unsettled for one in self.consumers)
