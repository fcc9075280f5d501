"""Who went: the broker's own word that an agent's queue is gone.

An agent's queue is exclusive to its connection, so the broker deletes it when that connection ends, and says so within
milliseconds on the event exchange, if it has one (the plugin ``rabbitmq_event_exchange``). Without it death shows as an
unroutable order, or as silence for a lease.

The event exchange lives in one virtual host of the broker (``/`` unless the broker is configured otherwise) and speaks
of all of them. If agents live in another, open a link to that one with ``connections=("consume",)`` and say whose
queues to listen for. Who may read the exchange hears of every user and queue of the broker: give that to coordinators
only.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

from orchestrator.amqp.consumer import Consumer
from orchestrator.amqp.delivery import Delivery
from orchestrator.amqp.errors import AccessRefused, Missing
from orchestrator.amqp.link import Link
from orchestrator.amqp.topology import AGENT_PREFIX, Binding, Exchange, Queue, Topology, within

EVENTS: Final = "amq.rabbitmq.event"
_QUEUE_DELETED: Final = "queue.deleted"
_BY_WHOM: Final = "user_who_performed_action"


async def watch_deaths(
    link: Link, sink: Callable[[str, bool], None], *, vhost: str | None = None, prefix: str = AGENT_PREFIX
) -> Consumer | None:
    """Call ``sink`` with the name of every queue of the link's shard in ``vhost`` (None: the link's) that begins with
    ``prefix`` and is deleted (as callers of the link say it), and with whether a node went down with it; otherwise its
    connection has ended.

    Nobody says the latter outright. A queue that is deleted says by whom (``user_who_performed_action``), one that is swept
    away with its node does not. A node that was suspended wakes up in the belief that all others are down, and sweeps away
    the queues of connections that live: so that word must be taken with care. (Seen on 3.10.8 with three nodes.)

    None if there is nothing to listen to here: the link's virtual host has no event exchange, or we may not read it.
    Events are not kept: what was deleted before this returned, or between two sessions, is not told.
    """
    ours = link.vhost if vhost is None else vhost
    begins = within(link.shard, prefix)
    try:
        await link.check(Topology(exchanges=(Exchange(EVENTS, "topic"),)))
        name = f"orchestrator.deaths.{secrets.token_hex(8)}"
        queue = Queue(name, exclusive=True, arguments={"x-queue-type": "classic"})
        await link.declare(Topology(queues=(queue,), bindings=(Binding(EVENTS, queue.name, _QUEUE_DELETED),)))
    except (Missing, AccessRefused):
        return None

    def take(event: Delivery) -> None:
        headers = event.headers or {}
        name = headers.get("name")
        if headers.get("vhost") == ours and isinstance(name, str) and name.startswith(begins):
            sink(prefix + name.removeprefix(begins), _BY_WHOM not in headers)

    return await link.consume(queue.name, take, prefetch=0, no_ack=True)
