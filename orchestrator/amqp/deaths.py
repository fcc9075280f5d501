"""Who went, and how: the broker's own word that an agent's queue is gone.

An agent's queue is exclusive to its connection, so the broker deletes it when that connection ends, and says so within
milliseconds on the event exchange, if it has one (the plugin ``rabbitmq_event_exchange``). Without it death shows as an
unroutable order, or as silence for a lease.

Nobody says outright *how* a connection ended, but it can be told (seen on 3.10 and 4.0):

* **broken** off, as by a process that is dead: the broker says that the connection is closed, and then that its queue is deleted;
* **closed** by a handshake, asked for by the agent or by a node that is told to stop: the queue is deleted within the handshake, so
  that is said first;
* **swept**: a queue that is deleted says by whom (``user_who_performed_action``), one that is swept away with its node does
  not. A node that was suspended wakes up in the belief that all others are down, and sweeps away the queues of connections
  that live: so that word must be taken with care.

Of which agent a connection is, its name says: the last word is the incarnation (``Link.open``). Of one that does not say so it
cannot be known that it broke off, and its end passes for a handshake.

The event exchange lives in one virtual host of the broker (``/`` unless the broker is configured otherwise) and speaks
of all of them. If agents live in another, open a link to that one with ``connections=("consume",)`` and say whose
queues to listen for. Who may read the exchange hears of every user and queue of the broker: give that to coordinators
only.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Final

from orchestrator.amqp.consumer import Consumer
from orchestrator.amqp.delivery import Delivery
from orchestrator.amqp.errors import AccessRefused, Missing
from orchestrator.amqp.link import Link
from orchestrator.amqp.topology import AGENT_PREFIX, Binding, Exchange, Queue, Topology, within
from orchestrator.vocabulary import Ending

EVENTS: Final = "amq.rabbitmq.event"
_CONNECTION_CLOSED: Final = "connection.closed"
_QUEUE_DELETED: Final = "queue.deleted"
_BY_WHOM: Final = "user_who_performed_action"
_NAME: Final = "user_provided_name"
RECENT_MAX: Final = 4_096
"""Connections remembered of which the broker said that they are closed. The word on the queue follows within milliseconds."""


async def watch_deaths(
    link: Link, sink: Callable[[str, Ending], None], *, vhost: str | None = None, prefix: str = AGENT_PREFIX
) -> Consumer | None:
    """Call ``sink`` with the name of every queue of the link's shard in ``vhost`` (None: the link's) that begins with
    ``prefix`` and is deleted (as callers of the link say it), and with how its connection ended.

    None if there is nothing to listen to here: the link's virtual host has no event exchange, or we may not read it.
    Events are not kept: what was deleted before this returned, or between two sessions, is not told.
    """
    ours = link.vhost if vhost is None else vhost
    begins = within(link.shard, prefix)
    try:
        await link.check(Topology(exchanges=(Exchange(EVENTS, "topic"),)))
        name = f"orchestrator.deaths.{secrets.token_hex(8)}"
        queue = Queue(name, exclusive=True, arguments={"x-queue-type": "classic"})
        wanted = tuple(Binding(EVENTS, queue.name, key) for key in (_CONNECTION_CLOSED, _QUEUE_DELETED))
        await link.declare(Topology(queues=(queue,), bindings=wanted))
    except (Missing, AccessRefused):
        return None
    recent: dict[str, None] = {}

    def closed(headers: dict[str, Any]) -> None:
        name = headers.get(_NAME)
        if isinstance(name, str) and name:
            recent[name.rpartition(" ")[2]] = None
            if len(recent) > RECENT_MAX:
                del recent[next(iter(recent))]

    def deleted(headers: dict[str, Any]) -> None:
        name = headers.get("name")
        if headers.get("vhost") == ours and isinstance(name, str) and name.startswith(begins):
            incarnation = name.removeprefix(begins)
            broken = recent.pop(incarnation, "absent") is None
            how: Ending = "swept" if _BY_WHOM not in headers else "broken" if broken else "closed"
            sink(prefix + incarnation, how)

    def take(event: Delivery) -> None:
        (closed if event.routing_key == _CONNECTION_CLOSED else deleted)(dict(event.headers or {}))

    return await link.consume(queue.name, take, prefetch=0, no_ack=True)
