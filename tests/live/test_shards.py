"""Shards as coordinators keep them: the rule that they publish, and what happens when it changes while tasks wait."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.amqp import Link, topology
from orchestrator.amqp.rule import last_rule
from orchestrator.amqp.topology import within
from orchestrator.client import Client
from orchestrator.shards import ALONE, read
from tests.live.peers import Task, coordinator, producer, running

LETTERS = {"letters": {"services": ["letters"]}}
WITHIN_S = 20.0


async def test_the_rule_is_published_before_anybody_can_miss_it(amqp_url: str) -> None:
    """One coordinator of one shard is enough: the rule stands, and every shard's queues are there, so what is submitted waits."""
    async with running(amqp_url, shards=LETTERS, shard="default") as ears, Client(amqp_url) as client:
        told = await ears.heard("shards")
        assert (told["shards"], told["before"]) == (("default", "letters"), ("default",))
        assert await client.shards() == ("default", "letters")
        handle = await client.submit("letters.upper", text="a")
        assert handle.shard == "letters"
        async with coordinator(amqp_url, shards=LETTERS, shard="letters"):
            async with asyncio.timeout(WITHIN_S):
                while not (found := await client.ask("tasks", shard="letters")):
                    pass  # it waited in the broker; its coordinator reads it in a moment
            assert [one["task"] for one in found] == [handle.id]
            assert await client.ask("tasks") == []


async def test_who_connects_after_a_change_goes_by_the_new_rule_and_what_waits_stays(amqp_url: str) -> None:
    """A task that waits in `default` is still there, and is known there, when its service has got a shard; an open client asks its
    handle's shard; coordinators of another rule say that they differ."""
    async with coordinator(amqp_url, shards=1) as old, Client(amqp_url) as before:
        waits = await before.submit("letters.upper", text="a")
        async with coordinator(amqp_url, shards=LETTERS, shard="letters") as new, Client(amqp_url) as after:
            await new.heard("shards")
            assert (await after.submit("letters.upper", text="b")).shard == "letters"
            assert (await before.submit("letters.upper", text="c")).shard == "default"
            async with asyncio.timeout(WITHIN_S):
                while (await before.ask("status"))["waiting"] < 2:
                    pass  # as above
            assert await waits.cancel()
            assert (await waits.outcome("10s")).outcome == "cancelled"
            async with await Link.open(amqp_url, name="operator", connections=("consume",)) as link:
                await link.delete_queue(topology.LEADER)  # any session of the old rule ends, and the next one looks
            told = await old.heard("shards_differ")
            assert (told["ours"], told["published"]) == (("default",), ("default", "letters"))


async def test_shards_are_taken_back_by_who_says_that_there_is_one(amqp_url: str) -> None:
    """The rule says so from then on. Who says nothing of shards leaves it as it was, and tells that."""
    async with coordinator(amqp_url, shards=LETTERS, shard="default"):
        pass
    async with coordinator(amqp_url) as ears, Client(amqp_url) as client:
        assert (await ears.heard("shards_kept"))["published"] == ("default", "letters")
        assert await client.shards() == ("default", "letters")
    async with coordinator(amqp_url, shards=1) as ears, Client(amqp_url) as client:
        await ears.heard("shards")
        assert await client.shards() == ("default",)
        async with await Link.open(amqp_url, name="operator", connections=("consume",)) as link:
            assert read(await last_rule(link)) == ALONE


async def test_two_shards_keep_ledgers_of_their_own(amqp_url: str) -> None:
    """The same id in both is two tasks; each leader has an epoch of its own, and knows nothing of the other's."""
    async with (
        coordinator(amqp_url, shards=LETTERS, shard="default"),
        coordinator(amqp_url, shards=LETTERS, shard="letters"),
        producer(amqp_url) as one,
        Client(amqp_url) as client,
    ):
        one.submit(Task("t1", "numbers.double"))
        await client.task("letters.upper", id="t1").submit(text="a")
        for shard, kind in (("default", "numbers.double"), ("letters", "letters.upper")):
            async with asyncio.timeout(WITHIN_S):
                while not (found := await client.ask("tasks", shard=shard)):
                    pass  # as above
            assert [(each["task"], each["type"]) for each in found] == [("t1", kind)]
            stat = await one.link.stat(within(shard, topology.LEADER))
            assert stat.consumers == 1


async def test_a_rule_whose_stream_was_emptied_is_published_again(amqp_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator deletes the stream, and it is made again without a word in it. The next session of a coordinator that runs says
    the rule again, and leads."""
    monkeypatch.setattr("orchestrator.amqp.rule.PATIENCE_S", 0.5)
    async with (
        coordinator(amqp_url, shards=LETTERS, shard="letters") as ears,
        await Link.open(amqp_url, name="operator") as link,
    ):
        await link.delete_queue(topology.SHARDS)
        await link.declare(topology.rule())
        ears.said.clear()
        await link.delete_queue(within("letters", topology.LEADER))
        await ears.heard("leading")
        assert read(await last_rule(link)).names == ("default", "letters")
