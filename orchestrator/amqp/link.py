"""A session with the broker.

Law: a session lives whole or not at all. It has a connection to consume, one to publish, and one for beats when asked;
when any part of it breaks - a socket, a channel, a consumer that the broker ended - all of it is over, once, with the
first cause in ``broken``. Nothing is repaired, nothing re-declared, no consumer re-made. Whoever owns the session
(``supervisor.py``) closes it and opens the next, whose number differs, so that no handle of the old one fits.

Why not the library's "robust" objects: they hide the loss, re-create deleted queues (empty) in silence, keep channels
in weak sets, and let a handle of before the loss be used after it.

Why a connection for the ledger alone (``ledger``, coordinators have one): what a flood has put into the socket lies before the
facts that a leader waits to read back, and every step of its work would take as long as reading all that.

Why several connections: under a memory or disk alarm the broker stops reading from connections that publish. The
acknowledgements of such a connection would wait too, and every message with it.

A link is of one shard. What callers name, exchanges and queues, is that shard's, unless they say another one
(``topology.within``).

Messages go past the library, both ways (``tap.py``): sinks run synchronously in the order of the socket, publishes are
written in the order of the calls. A sink must therefore never block: it puts the delivery where the work is done.
"""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Literal, TypeAlias, Unpack

from orchestrator.amqp.connection import Connection, shown
from orchestrator.amqp.consumer import Consumer, Consumers
from orchestrator.amqp.delivery import Delivery, How, Published, Receipt
from orchestrator.amqp.errors import Broken, BrokenBy, CannotConnect, Fault, LinkLost, NoAnswer, PublishTimeout
from orchestrator.amqp.publishers import Publishers
from orchestrator.amqp.requests import QueueStat, Requests
from orchestrator.amqp.topology import Binding, Topology, within
from orchestrator.vocabulary import DEFAULT_SHARD

Role: TypeAlias = Literal["consume", "publish", "beats", "ledger"]

BODY_BYTES_MAX = 64 << 20
"""The longest body a consumer takes unless it says otherwise; a longer one arrives empty, with a flaw."""

OnBlocked: TypeAlias = Callable[[bool, str], None]
OnReturned: TypeAlias = Callable[[str, str], None]
_sessions = itertools.count(1)


class Link:
    """One session. Belongs to the event loop that opened it; two threads need two."""

    def __init__(self, name: str, timeout_s: float, on_blocked: OnBlocked | None, on_returned: OnReturned | None = None) -> None:
        """Use ``open``."""
        self.session = next(_sessions)
        self.name = name
        self.shard = DEFAULT_SHARD
        """Whose names are meant from now on; what was consumed before stays."""
        self._broken: asyncio.Future[Broken] = asyncio.get_running_loop().create_future()
        self._timeout_s = timeout_s
        self._on_blocked = on_blocked
        self._connections: dict[Role, Connection] = {}
        self._publishers = Publishers(self._broken, timeout_s, self._channel_closed, on_returned)
        self._consumers = Consumers(self.session, self._broken, timeout_s, self._break)

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        name: str,
        connections: Sequence[Role] = ("consume", "publish"),
        shard: str = DEFAULT_SHARD,
        incarnation: str = "",
        heartbeat_s: int = 5,
        timeout_s: float = 10.0,
        ssl_context: ssl.SSLContext | None = None,
        on_blocked: OnBlocked | None = None,
        on_returned: OnReturned | None = None,
        look_s: float | None = None,
    ) -> Link:
        """Open a session. ``name`` is what operators see of it, with the connection's role behind, and, where agents consume, their
        ``incarnation``: so the broker's word on how that connection ended is known for theirs (``deaths``).

        ``heartbeat_s``: a peer silent for three of them is gone, for the broker as for us. ``timeout_s`` bounds the opening of each
        connection, which takes four round trips (the first goes ahead, the others follow side by side), and every request.
        ``on_blocked(blocked, reason)`` is called when an alarm begins and ends. With ``on_returned`` the link can ``tell``.
        ``look_s`` is as for ``Publishers.watch``. Raises CannotConnect.
        """
        link = cls(name, timeout_s, on_blocked, on_returned)
        link.shard = shard

        first, *others = connections
        connect = partial(link._connect, url, incarnation, heartbeat_s, ssl_context)
        try:
            await connect(first)  # alone: where it is refused, it is refused once
            for fault in filter(None, await asyncio.gather(*map(connect, others), return_exceptions=True)):
                raise fault
        except BaseException as error:
            await link.close()
            if isinstance(error, TimeoutError):
                raise CannotConnect(Fault.TIMEOUT, shown(url), f"after {timeout_s} s") from error
            if isinstance(error, LinkLost | NoAnswer):  # after the greeting
                raise CannotConnect(Fault.PROTOCOL, shown(url), str(error)) from error
            raise
        link._publishers.watch(link._connections.get("publish"), look_s, link._break)
        return link

    async def _connect(self, url: str, incarnation: str, heartbeat_s: int, ssl_context: ssl.SSLContext | None, role: Role) -> None:
        async with asyncio.timeout(self._timeout_s):
            connection = await Connection.open(
                url,
                name=f"{self.name} ({role}) {incarnation if role == 'consume' else ''}".rstrip(),
                heartbeat_s=heartbeat_s,
                ssl_context=ssl_context,
                on_lost=lambda reason: self._break(Broken(BrokenBy.CONNECTION, f"the connection to {role}", reason)),
                on_blocked=partial(self._alarm, role),
                on_bug=partial(self._bug, role),
            )
            self._connections[role] = connection
            if role not in ("consume", "ledger"):
                await self._publishers.open(role, connection)

    async def __aenter__(self) -> Link:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def server_version(self) -> str:
        """The broker's version, such as ``3.10.8``."""
        return self._any().server_version

    @property
    def vhost(self) -> str:
        """The virtual host."""
        return self._any().vhost

    @property
    def user(self) -> str:
        """As whom we authenticated: the only ``user_id`` the broker lets us say."""
        return self._any().user

    @property
    def broken(self) -> asyncio.Future[Broken]:
        """Resolves once, with the first cause; never with an exception. Yours to await and to cancel: each caller gets
        its own."""
        return asyncio.shield(self._broken)

    def has(self, role: Role) -> bool:
        """Whether it was opened with a connection for that."""
        return role in self._connections

    @property
    def is_broken(self) -> bool:
        """Whether the session is over."""
        return self._broken.done()

    @property
    def blocked(self) -> bool:
        """The broker has an alarm and does not read what we publish: confirms will not come until it ends."""
        return any(connection.blocked for connection in self._connections.values())

    # ---------------------------------------------------------------------------------------------------- publishing

    def send(
        self, exchange: str, key: str, body: bytes, *, over: Role = "publish", **how: Unpack[How]
    ) -> asyncio.Future[Published]:
        """Publish without waiting; messages leave in the order of the calls. The future never raises.

        Mind ``congested``: nothing here stops a caller that sends more than the broker takes. Raises ValueError for
        what AMQP cannot carry (a key beyond 255 bytes) and for a connection that was not opened.
        """
        self._connection(over)
        return self._publishers.send(over, within(self.shard, exchange), key, body, **how)

    def tell(self, exchange: str, key: str, body: bytes, *, note: str = "", mandatory: bool = False) -> None:
        """Publish, transient, what may be lost: nobody hears that it arrived. Where it is ``mandatory`` and no queue takes it,
        ``on_returned`` is called with its key and ``note`` (at most 255 bytes).

        A confirm wakes its sender, and costs a lone message as much as the message. Raises ValueError as ``send`` does, and for a
        link that was opened without ``on_returned``.
        """
        self._publishers.tell(within(self.shard, exchange), key, body, note, mandatory)

    async def publish(
        self,
        exchange: str,
        key: str,
        body: bytes,
        *,
        timeout_s: float | None = None,
        over: Role = "publish",
        **how: Unpack[How],
    ) -> Published:
        """Publish and wait for the broker's answer: CONFIRMED, RETURNED or NACKED. ``how`` is as for ``send``.

        Raises LinkLost when the session ends first, and PublishTimeout after ``timeout_s`` (None waits as long as the
        session lives, also through an alarm). After either the message may still land.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self.room(over)
                answer = await self.send(exchange, key, body, over=over, **how)
        except TimeoutError as error:
            alarm = "The broker has an alarm and takes nothing. " if self.blocked else ""
            raise PublishTimeout(
                f"A message to {exchange} (key {key!r}) was not confirmed within {timeout_s} s. {alarm}It may still land, "
                "so whoever sends it again must be able to bear it twice. See the broker's alarms and load."
            ) from error
        if answer is Published.LOST:
            raise LinkLost(self._broken.result(), f"A message to {exchange} (key {key!r})")
        return answer

    def congested(self, over: Role = "publish") -> bool:
        """Megabytes wait in our own socket buffer: the broker takes less than we send."""
        return self._connection(over).tap.congested

    async def room(self, over: Role = "publish") -> None:
        """Wait until that is over (or the session)."""
        await self._connection(over).tap.room()

    # ----------------------------------------------------------------------------------------------------- consuming

    async def consume(
        self,
        queue: str,
        sink: Callable[[Delivery], None],
        *,
        prefetch: int,
        no_ack: bool = False,
        exclusive: bool = False,
        gather: bool = False,
        arguments: Mapping[str, str | int | bool | datetime] | None = None,
        body_bytes_max: int = BODY_BYTES_MAX,
        over: Role = "consume",
    ) -> Consumer:
        """Consume on a channel of its own. ``sink`` is called in order, synchronously; it must neither block nor raise.

        ``prefetch``: at most so many deliveries are unsettled (1 to 65,535; 0, no limit, only with ``no_ack``: on a
        quorum queue 0 would mean 2,000). ``gather``: the broker is told of settles many at a time, a second late at most.
        Raises Missing, AccessRefused, QueueLocked, LinkLost.
        """
        connection = self._connection(over)
        return await self._consumers.consume(
            connection, within(self.shard, queue), sink, prefetch=prefetch, no_ack=no_ack, exclusive=exclusive,
            gather=gather, arguments=arguments or {}, body_bytes_max=body_bytes_max,
        )  # fmt: skip

    def settle(self, deliveries: Iterable[Delivery | Receipt]) -> None:
        """Acknowledge. Handles of another session or of an ended consumer are ignored and counted (``stale_settles``).

        Settles of one consumer that reach from the oldest open delivery upwards cost one frame together.
        """
        self._consumers.settle(deliveries)

    def reject(self, deliveries: Iterable[Delivery | Receipt], *, requeue: bool) -> None:
        """Give back (``requeue``), or let the queue's dead-letter exchange have them. Stale handles are as for
        ``settle``.

        Not to delay anything: on a quorum queue what is given back comes last, on a classic one at once.
        """
        self._consumers.reject(deliveries, requeue=requeue)

    @property
    def stale_settles(self) -> int:
        """Handles settled twice, or after their channel or session was gone. They are ignored, and counted here."""
        return self._consumers.stale

    # ------------------------------------------------------------------------------------------------------- requests

    async def declare(self, topology: Topology) -> None:
        """See ``Requests.declare``; likewise the ones below."""
        await self._requests().declare(topology.within(self.shard))

    async def check(self, topology: Topology) -> None:
        await self._requests().check(topology.within(self.shard))

    async def bind(self, exchange: str, queue: str, key: str = "") -> None:
        await self._requests().bind(self._binding(exchange, queue, key))

    async def unbind(self, exchange: str, queue: str, key: str = "") -> None:
        await self._requests().unbind(self._binding(exchange, queue, key))

    async def reaches(self, exchange: str, key: str, body: bytes) -> bool:
        return await self._requests("publish").reaches(within(self.shard, exchange), key, body)

    async def stat(self, queue: str) -> QueueStat:
        return await self._requests().stat(within(self.shard, queue))

    async def delete_queue(self, queue: str) -> int:
        return await self._requests().delete_queue(within(self.shard, queue))

    async def purge(self, queue: str) -> int:
        return await self._requests().purge(within(self.shard, queue))

    async def peek(self, queue: str, limit: int, *, body_bytes_max: int = BODY_BYTES_MAX) -> list[Delivery]:
        return await self._requests().peek(within(self.shard, queue), limit, body_bytes_max)

    def _binding(self, exchange: str, queue: str, key: str) -> Binding:
        return Binding(within(self.shard, exchange), within(self.shard, queue), key)

    def _requests(self, role: Role = "consume") -> Requests:
        # over that connection where there is one: exclusive queues belong where we consume, and alarms do not stop it
        return Requests(self._connections.get(role) or self._any(), self._broken, self._timeout_s)

    def _connection(self, role: Role) -> Connection:
        if role not in self._connections:
            raise ValueError(f"link {self.name!r} was opened without a connection to {role}")
        return self._connections[role]

    def _any(self) -> Connection:
        return self._connections.get("consume") or next(iter(self._connections.values()))

    # -------------------------------------------------------------------------------------------------------- the end

    async def close(self) -> None:
        """End the session and wait until nothing of it is left. What was settled before is settled."""
        self.end(Broken(BrokenBy.CLOSED, self.name, "closed"))
        await asyncio.gather(*(connection.close() for connection in self._connections.values()))

    def end(self, broken: Broken) -> None:
        """End the session now, for this reason; whoever owns it closes it. What was settled before is settled."""
        self._consumers.acknowledge()
        self._break(broken)

    def _break(self, broken: Broken) -> None:
        """The one place where a session ends. Only the first cause counts."""
        if self._broken.done():
            return
        self._broken.set_result(broken)
        for connection in self._connections.values():
            connection.tap.mute()
        self._publishers.lose()

    def _channel_closed(self, where: str, code: int, text: str) -> None:
        self._break(Broken(BrokenBy.CHANNEL, where, f"the broker closed it: {code} {text}"))

    def _bug(self, role: Role, error: Exception) -> None:
        self._break(Broken(BrokenBy.BUG, f"the connection to {role}", f"{type(error).__name__}: {error}", error))
        self._connections[role].tap.abort()

    def _alarm(self, role: Role, blocked: bool, reason: str) -> None:
        self._connections[role].blocked = blocked
        if self._on_blocked is not None and not self._broken.done():
            self._on_blocked(blocked, reason)
