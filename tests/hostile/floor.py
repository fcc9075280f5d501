"""What a flood costs if nobody decides anything: its messages go to queues like ours, whose readers acknowledge and do no more.

They stand in a shard of their own (``FLOOR``), which nobody leads, beside the honest work in the other one: what that loses now it
loses to the broker, which routes, keeps and delivers, and to whoever takes it from there. In a process of its own: ``python -m
tests.hostile.floor URL REPLY_TO INCARNATION...``, until it is ended.
"""

from __future__ import annotations

import asyncio
import json
import sys

from orchestrator.amqp import Delivery, Link, topology
from orchestrator.amqp.ledger import LedgerTail
from orchestrator.live.session import CONTROL_PREFETCH, INTAKE_PREFETCH, REGISTRY_PREFETCH, REPORTS_PREFETCH
from orchestrator.wire.codec import MAX_BODY_BYTES, MAX_LONG_BODY_BYTES

FLOOR = "floor"
LEDGER_BYTES, SEGMENT_BYTES = 64 << 20, 8 << 20
NONCE = "floor"
READ = (topology.TASKS, topology.intake_queue("honest"), topology.REPORTS, topology.CONTROL)
"""Queues that fill up if they are not read fast enough."""


async def read(url: str, reply_to: str, incarnations: list[str]) -> None:
    """Read all that coordinators, agents and the honest producer would read, as they do."""
    async with (
        await Link.open(url, name="floor", connections=("consume", "publish", "ledger"), shard=FLOOR) as link,
        await Link.open(url, name="floor's agents", shard=FLOOR) as agents,
    ):
        await link.declare(
            topology.base(ledger_max_bytes=LEDGER_BYTES, ledger_segment_bytes=SEGMENT_BYTES)
            + topology.intake("honest")
            + topology.registry_inbox(NONCE)
        )

        def acknowledge(delivery: Delivery) -> None:
            link.settle([delivery.receipt])

        prefetch = dict.fromkeys(READ, INTAKE_PREFETCH)
        prefetch |= {topology.REPORTS: REPORTS_PREFETCH, topology.CONTROL: CONTROL_PREFETCH}
        prefetch |= {topology.registry_queue(NONCE): REGISTRY_PREFETCH}
        for queue, most in prefetch.items():
            await link.consume(queue, acknowledge, prefetch=most, gather=True, body_bytes_max=MAX_BODY_BYTES)
        await LedgerTail(link).follow(0, _drop, on_gap=_drop)
        for inbox in (
            topology.results_inbox(reply_to.removeprefix(topology.results_queue(""))),
            *map(topology.agent_inbox, incarnations),
        ):
            await agents.declare(inbox)
            await agents.consume(inbox.queues[0].name, _drop, prefetch=0, no_ack=True, body_bytes_max=MAX_LONG_BODY_BYTES)
        print(json.dumps({"ready": True}), flush=True)
        await asyncio.Future()


def _drop(_: object) -> None:
    """Read, and not looked at."""


if __name__ == "__main__":
    asyncio.run(read(sys.argv[1], sys.argv[2], sys.argv[3:]))
