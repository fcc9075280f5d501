"""Shards on a broker: the same names, kept apart; and the rule, found by whoever connects."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.amqp import Link, topology
from orchestrator.amqp.deaths import watch_deaths
from orchestrator.amqp.errors import Missing, NoAnswer
from orchestrator.amqp.rule import last_rule, publish_rule
from orchestrator.amqp.topology import (
    AGENTS,
    KEY_REPORTS,
    REPORTS,
    TASKS,
    Topology,
    agent_inbox,
    agent_queue,
    intake,
    intake_queue,
    registry_inbox,
    registry_queue,
    results_inbox,
    results_queue,
    within,
)
from orchestrator.vocabulary import ID_PATTERN, NAME_PATTERN
from tests.amqp.conftest import BASE, Basket, Opener

SHARD = st.from_regex(NAME_PATTERN)
NAMES = st.one_of(
    st.sampled_from([*(one.name for one in BASE.exchanges), *(one.name for one in BASE.queues)]),
    st.from_regex(NAME_PATTERN).map(intake_queue),
    st.from_regex(ID_PATTERN).flatmap(lambda name: st.sampled_from([agent_queue(name), results_queue(name), registry_queue(name)])),
)


@given(SHARD, SHARD, NAMES, NAMES)
def test_no_name_of_one_shard_is_a_name_of_another(one: str, other: str, first: str, second: str) -> None:
    """Whatever shards, services and incarnations are called: two names on the broker are the same only if shard and name are."""
    assert (within(one, first) == within(other, second)) == ((one, first) == (other, second))
    assert within(one, within(one, first)) == within(one, first)
    assert len(within(one, first).encode()) <= 255
    assert within(one, "amq.rabbitmq.event") == "amq.rabbitmq.event"


def test_arguments_that_name_an_exchange_are_translated_too() -> None:
    """What a shard dead-letters, and what names no service, stays within the shard; the default's names are as they were."""
    there = BASE.within("gpu")
    named = [value for one in (*there.exchanges, *there.queues) for value in one.arguments.values() if isinstance(value, str)]
    assert set(named) >= {"orchestrator.@gpu.unknown", "orchestrator.@gpu.internal"}
    assert not {"orchestrator.unknown", "orchestrator.internal"}.intersection(named)
    assert BASE.within("default") == BASE


async def test_what_is_sent_in_a_shard_is_heard_there_alone(opener: Opener) -> None:
    """Intake, reports and replies of two shards on one virtual host: same calls, same keys, other queues."""
    heard: dict[str, dict[str, Basket]] = {}
    links: dict[str, Link] = {}
    for shard in ("default", "gpu"):
        link = links[shard] = await opener(shard=shard)
        await link.declare(BASE + intake("thumbs") + results_inbox(f"n-{shard}") + registry_inbox(f"r-{shard}"))
        heard[shard] = {name: Basket() for name in (intake_queue("thumbs"), TASKS, REPORTS)}
        for queue, basket in heard[shard].items():
            await link.consume(queue, basket, prefetch=10)
    for shard, link in links.items():
        for exchange, key in ((TASKS, "thumbs"), (TASKS, "nobody"), (AGENTS, KEY_REPORTS)):
            await link.publish(exchange, key, f"{shard} {key}".encode())
    for shard, baskets in heard.items():
        for key, basket in zip(("thumbs", "nobody", KEY_REPORTS), baskets.values(), strict=True):
            await basket.until(1)
            assert basket.bodies == [f"{shard} {key}".encode()]


async def test_one_reply_queue_hears_several_shards(opener: Opener) -> None:
    """Bound by its one name in each; so a producer needs one, and its ``reply_to`` means the same everywhere."""
    producer, gpu = await opener(), await opener(shard="gpu")
    await producer.declare(BASE)
    await gpu.declare(BASE)
    await producer.declare(results_inbox("n"))
    await producer.bind(within("gpu", topology.RESULTS), results_queue("n"), results_queue("n"))
    basket = Basket()
    await producer.consume(results_queue("n"), basket, prefetch=0, no_ack=True)
    for link in (producer, gpu):
        await link.publish(topology.RESULTS, results_queue("n"), link.shard.encode())
    assert sorted(one.body for one in await basket.until(2)) == [b"default", b"gpu"]


async def test_a_death_is_told_in_its_own_shard(root_vhost_url: str) -> None:
    """The agent's queue is gone: its shard's coordinator hears the name that it knows, the other one hears nothing."""
    watch = {shard: await Link.open(root_vhost_url, name="watch", shard=shard) for shard in ("default", "gpu")}
    gone: dict[str, list[str]] = {shard: [] for shard in watch}
    told = asyncio.Event()

    def heard(shard: str, queue: str) -> None:
        gone[shard].append(queue)
        if len(gone["default"]) + len(gone["gpu"]) == 2:
            told.set()

    try:
        for shard, link in watch.items():
            await link.declare(BASE)
            assert await watch_deaths(link, lambda queue, _, shard=shard: heard(shard, queue)) is not None  # type: ignore[misc]
        for shard in watch:
            async with await Link.open(root_vhost_url, name="agent", shard=shard) as agent:
                await agent.declare(agent_inbox(f"i-{shard}"))
        async with asyncio.timeout(10):
            await told.wait()
        assert gone == {shard: [agent_queue(f"i-{shard}")] for shard in watch}
    finally:
        for link in watch.values():
            await link.close()


async def test_whoever_connects_finds_the_rule_published_last(opener: Opener) -> None:
    """None before the first; afterwards the last one, for many at the same time, and in whatever shard they look from."""
    link = await opener()
    assert await last_rule(link) is None
    assert await publish_rule(link, b"no shards", needed=False) is None
    with pytest.raises(Missing):
        await link.stat(topology.SHARDS)
    assert await publish_rule(link, b"one", needed=True) is None
    assert await publish_rule(link, b"one", needed=True) == b"one"
    assert await publish_rule(link, b"two", needed=True) == b"one"
    assert await publish_rule(link, b"no shards", needed=False) == b"two"
    readers = [await opener(shard=shard) for shard in ("default", "gpu", "acme")] * 4
    assert await asyncio.gather(*(last_rule(one) for one in readers)) == [b"no shards"] * 12


async def test_a_stream_without_a_rule_is_no_rule(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever made it died before it could publish: nobody may take that for "no shards"; the next coordinator publishes."""
    monkeypatch.setattr("orchestrator.amqp.rule.PATIENCE_S", 0.2)
    link = await opener()
    await link.declare(BASE + topology.rule())
    with pytest.raises(NoAnswer, match="Start a coordinator"):
        await last_rule(link)
    await publish_rule(link, b"no shards", needed=False)
    assert await last_rule(link) == b"no shards"


class Meddled(Link):
    """Somebody takes the binding of the rule away as soon as it is made."""

    async def declare(self, topology: Topology) -> None:
        await super().declare(topology)
        for one in topology.bindings:
            await self.unbind(one.exchange, one.queue, one.key)


async def test_a_rule_that_did_not_arrive_is_not_taken_for_published(amqp_url: str) -> None:
    """Whoever would go on makes what peers look for, and these would find no rule: they would send to the wrong shard."""
    async with await Meddled.open(amqp_url, name="coordinator") as link:
        with pytest.raises(NoAnswer, match="returned"):
            await publish_rule(link, b"one", needed=True)


async def test_who_says_nothing_of_shards_leaves_the_rule_that_there_is(opener: Opener) -> None:
    """And tells it what that is."""
    link = await opener()
    assert await publish_rule(link, b"one", needed=True) is None
    assert await publish_rule(link, b"no shards", needed=False, instead=False) == b"one"
    assert await last_rule(link) == b"one"
