"""An agent finds its shard: by the rule on the broker, or because it is told."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

from orchestrator.amqp import Delivery, Link, topology
from orchestrator.amqp.rule import publish_rule
from orchestrator.shards import Rule
from orchestrator.wire.codec import decode, encode
from orchestrator.wire.messages import Announce, Shard
from tests.workers.live.leader import worker

BASE = topology.base(ledger_max_bytes=64 * 1024**2, ledger_segment_bytes=4 * 1024**2)


async def shard_of(url: str, folder: Path, *told: str) -> str:
    """Where the agent of the service ``live`` announces itself, with shards for ``live`` and for the tenant acme."""
    rule = Rule([Shard("living", services=["li*"]), Shard("acme", tenants=["acme"])])
    heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    links = [await Link.open(url, name="coordinator", shard=name) for name in rule.names]
    try:
        await publish_rule(links[0], encode(rule.message()), needed=True)
        for link in links:
            nonce = secrets.token_hex(4)
            await link.declare(BASE + topology.registry_inbox(nonce))

            def take(delivery: Delivery, shard: str = link.shard) -> None:
                if isinstance(decode(delivery.body), Announce) and not heard.done():
                    heard.set_result(shard)

            await link.consume(topology.registry_queue(nonce), take, prefetch=0, no_ack=True)
        async with worker(url, folder, *told):
            return await asyncio.wait_for(heard, 20)
    finally:
        for link in links:
            await link.close()


async def test_by_the_rule(amqp_url: str, tmp_path: Path) -> None:
    """Nobody has to tell it: its service says where tasks for it go."""
    assert await shard_of(amqp_url, tmp_path) == "living"


async def test_or_as_it_is_told(amqp_url: str, tmp_path: Path) -> None:
    """Only its operator knows for which tenants it works."""
    assert await shard_of(amqp_url, tmp_path, "--shard", "acme") == "acme"


async def test_a_shard_that_is_not_there_is_waited_for(amqp_url: str, tmp_path: Path) -> None:
    """A misspelt name, or a coordinator that has still to publish it: the log says which shards there are."""
    rule = Rule([Shard("acme", tenants=["acme"])])
    async with await Link.open(amqp_url, name="coordinator") as link:
        await publish_rule(link, encode(rule.message()), needed=True)
        await link.declare(BASE)
        async with worker(amqp_url, tmp_path, "--shard", "amce") as agent:
            async with asyncio.timeout(20):
                while "there is no shard 'amce'; the coordinators have: default, acme" not in agent.log:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
