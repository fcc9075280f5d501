"""A policy of the broker's cuts the ledger shorter than we told it to: noticed, told, and nothing that waits is lost (R11, R12)."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.live.embedded import EmbeddedBroker
from orchestrator.vocabulary import Attempt
from orchestrator.wire.messages import Beat, Orders
from tests.live.peers import Producer, ScriptedAgent, Task, agent, coordinator, producer, running

pytestmark = pytest.mark.broker

CAP = {"ledger_bytes_max": 64 * 1024**2, "ledger_segment_bytes": 1024**2, "lease_s": 60.0}
POLICY = '{"max-length-bytes": 4000000}'
ARGS = b"\xc5\x1f\xfd" + bytes(0x1FFD)
"""8 KiB: a MessagePack ``bin``."""


async def through(client: Producer, worker: ScriptedAgent, name: str, count: int) -> None:
    """So many tasks come, are run and end, twenty at a time."""
    for first in range(0, count, 20):
        client.submit(*(Task(f"{name}{n}", "s.h", ARGS) for n in range(first, first + 20)))
        done = 0
        while done < 20:
            orders = await worker.next(Orders, lambda one: bool(one.assign))
            worker.drained = orders.seq
            for one in orders.assign:
                worker.done(one.task, Attempt(orders.epoch, one.n))
            done += len(orders.assign)
            worker.seq += 1
            worker.soft(Beat(worker.incarnation, worker.seq, worker.epoch, worker.drained))


async def test_what_waits_outlives_a_policy_that_cuts_the_ledger(own_broker: EmbeddedBroker) -> None:
    """Twenty tasks of a service that is not there, then traffic. A policy of 4 MB comes into force, of which ours say 64; more
    traffic. The first records of the twenty are cut off, long before half of our cap has passed; whoever starts then, knowing
    nothing, knows them."""
    async with running(own_broker.url, **CAP) as ears:
        await ears.heard("leading")
        async with producer(own_broker.url) as client:
            client.submit(*(Task(f"old{n}", "nobody.h", b"\x01") for n in range(20)))
            while (status := await client.ask("status"))["live"] < 20:
                pass
            above = status["ledger_offset"]
            async with agent(own_broker.url, "s", "h", capacity={"slots": 20}) as worker:
                await through(client, worker, "a", 200)
                assert (await client.ask("status"))["ledger_kept_bytes"] is None
                await own_broker.ctl("set_policy", "short", "^orchestrator[.]ledger$", POLICY, "--apply-to", "queues")
                await through(client, worker, "b", 1_000)
                told = await asyncio.wait_for(ears.heard("ledger_short"), 60)
                assert told["kept_bytes"] < 5_000_000 < told["cap_bytes"]
                status = await client.ask("status")
                assert status["ledger_kept_bytes"] < 5_000_000
                assert status["replay_from"] >= told["begins"] >= above, "the first records of the twenty are cut off"
            ears.crash()
            async with coordinator(own_broker.url, **CAP) as heir:
                assert len(await client.ask("tasks", service="nobody")) == 20
                assert not any(word == "ledger_gap" for word, _ in heir.said)
