"""Exchanges and bindings that an operator deletes are made again.

Of a queue that is gone its consumers are told. Of these nobody is who reads behind them: producers and agents would speak to nobody
for ever, and no coordinator would hear of it. Queues are not made again here: a binding to one that is gone raises Missing, which
ends the session and says so, and the next one declares it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from typing import NoReturn

from orchestrator.amqp import Link, topology
from orchestrator.amqp.errors import AccessRefused, NoAnswer
from orchestrator.amqp.topology import Topology

MEND_S = 5.0
"""So often, and seldomer where that takes long."""
MEND_SHARE = 0.02
"""Of our time at most, where there are many services."""


async def mend(link: Link, base: Topology, nonce: str, intake: Collection[str]) -> NoReturn:
    """Look after what a coordinator's session needs, until cancelled: ``base``, its registry's queue, and the queues of ``intake``,
    as many as there are each time. Raises Missing, LinkLost, TopologyMismatch."""
    loop, took_s = asyncio.get_running_loop(), 0.0
    while True:
        await asyncio.sleep(max(MEND_S, took_s / MEND_SHARE))
        began = loop.time()
        services = (queue.removeprefix(topology.intake_queue("")) for queue in intake if queue != topology.TASKS)
        whole = sum((topology.registry_inbox(nonce), *map(topology.intake, services)), base)
        with suppress(AccessRefused, NoAnswer):  # a right that was taken away, a slow broker: a next session would say so
            await link.declare(Topology(exchanges=whole.exchanges, bindings=whole.bindings))
        took_s = loop.time() - began
        heed_cancellation()


def heed_cancellation() -> None:
    """The library ends a request that was cancelled as if it had been answered."""
    if (task := asyncio.current_task()) is not None and task.cancelling():
        raise asyncio.CancelledError
