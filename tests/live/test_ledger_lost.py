"""An operator deletes the ledger of living coordinators on a real broker: what lived is written again from memory (R15)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from orchestrator.amqp import topology
from orchestrator.amqp.errors import LinkLost
from orchestrator.vocabulary import Attempt
from orchestrator.wire.codec import encode_entry
from orchestrator.wire.facts import Entry
from orchestrator.wire.messages import Orders
from tests.live.peers import Ears, Holding, Producer, ScriptedAgent, Task, agent, coordinator, producer, running

pytestmark = pytest.mark.broker


async def has_read_all(client: Producer, standby: Ears) -> None:
    """The standby has read what the leader, asked just now, says stands there."""
    end = (await client.ask("status"))["ledger_offset"]
    while standby.read_to() < end:
        await client.ask("status")


async def test_a_ledger_that_is_deleted_under_its_leader_is_written_again(amqp_url: str) -> None:
    """One task runs, one has ended, one waits: the same after the deletion. Nothing runs twice, the dedup window still holds, and
    the next coordinator, which starts with nothing, knows all of it."""
    async with producer(amqp_url) as client, agent(amqp_url, "s", "h", ready=False) as worker:
        async with coordinator(amqp_url) as ears:
            worker.announce("s", "h")
            await worker.answer_sync()
            client.submit(Task("over", "s.h"))
            _, attempt = await worker.assigned()
            worker.done("over", attempt, b"\x07")
            await client.result("over")
            client.submit(Task("runs", "s.h"), Task("waits", "s.h"))
            _, attempt = await worker.assigned()
            await client.link.delete_queue(topology.LEDGER)
            lost = await ears.heard("ledger_lost")
            assert (lost["live"], lost["ended"], lost["led"]) == (2, 1, True)
            restored = await ears.heard("restored")
            assert (restored["live"], restored["ended"], restored["led"]) == (2, 1, True)
            sync = await worker.answer_sync(Holding("runs", attempt, "running", {"slots": 1}))
            assert sync.epoch > attempt.epoch
            told = (await client.ask("status"))["ledger_lost"]
            assert (told["live"], told["ended"], told["complete"], told["unknown"]) == (2, 1, True, 0)
            client.submit(Task("over", "s.h"))
            assert (await client.result("over")).value == b"\x07"
            worker.done("runs", attempt, b"\x01")
            assert (await client.result("runs")).value == b"\x01"
            _, attempt = await worker.assigned()
        async with coordinator(amqp_url):
            await worker.answer_sync(Holding("waits", attempt, "running", {"slots": 1}))
            assert (await client.ask("status"))["ledger_lost"]["restored_by"] == told["restored_by"]
            worker.done("waits", attempt, b"\x02")
            assert (await client.result("waits")).value == b"\x02"


@asynccontextmanager
async def both(url: str) -> AsyncIterator[tuple[Producer, ScriptedAgent, Ears, Ears, Attempt]]:
    """A producer, an agent, a leader and a standby that has read all; ``t1`` has this attempt, ``t2`` waits."""
    async with (
        producer(url) as client,
        agent(url, "s", "h", ready=False) as worker,
        running(url, name="first") as first,
    ):
        await first.heard("leading")
        async with running(url, name="second") as second:
            await second.heard("replaying")
            worker.announce("s", "h")
            await worker.answer_sync()
            client.submit(Task("t1", "s.h"), Task("t2", "s.h"))
            _, attempt = await worker.assigned()
            await has_read_all(client, second)
            yield client, worker, first, second, attempt


async def test_who_led_goes_first_and_a_standby_that_remembers_no_more_is_silent(amqp_url: str) -> None:
    """Both remember; one writes, once; the work goes on under it."""
    async with both(amqp_url) as (client, worker, first, second, attempt):
        await client.link.delete_queue(topology.LEDGER)
        await first.heard("restored")
        await second.heard("ledger_lost")
        await worker.answer_sync(Holding("t1", attempt, "running", {"slots": 1}))
        worker.done("t1", attempt, b"\x01")
        assert (await client.result("t1")).value == b"\x01"
        assert not any(what == "restored" for what, _ in second.said)


async def test_the_standby_writes_it_again_when_the_leader_dies_with_it(amqp_url: str) -> None:
    """Deleted and its leader dead in the same moment: the standby had read along, so it loses nothing that it could have read."""
    async with both(amqp_url) as (client, worker, first, second, attempt):
        first.crash()
        await client.link.delete_queue(topology.LEDGER)
        restored = await second.heard("restored")
        assert (restored["live"], restored["led"]) in ((2, False), (2, True))  # True: it had claimed before the deletion
        epoch = (await client.ask("status"))["epoch"]
        while (await worker.answer_sync(Holding("t1", attempt, "running", {"slots": 1}))).epoch < epoch:
            pass  # it had asked in that reign too
        worker.done("t1", attempt, b"\x01")
        assert (await client.result("t1")).value == b"\x01"
        assert (await worker.assigned())[0].task == "t2"


async def test_a_stranger_that_comes_first_leaves_the_first_word_to_who_remembers(amqp_url: str) -> None:
    """A coordinator that was never here starts in the moment of the deletion. It finds that there was a ledger, and does not lead:
    what runs is not recalled."""
    async with (
        coordinator(amqp_url, name="first") as first,
        producer(amqp_url) as client,
        agent(amqp_url, "s", "h") as worker,
    ):
        client.submit(Task("t1", "s.h"))
        _, attempt = await worker.assigned()
        await client.link.delete_queue(topology.LEDGER)
        async with running(amqp_url, name="stranger") as stranger:
            await first.heard("restored")
            orders = await worker.answer_sync(Holding("t1", attempt, "running", {"slots": 1}))
            assert not orders.stop
            worker.done("t1", attempt, b"\x01")
            assert (await client.result("t1")).value == b"\x01"
            assert not any(what == "leading" for what, _ in stranger.said)


async def test_a_stranger_leads_when_nobody_comes_who_remembers(amqp_url: str) -> None:
    """It says what it waits for. Its reign has a number that none in the ledger had which is lost."""
    async with coordinator(amqp_url) as ears:
        before = (await ears.heard("leading"))["epoch"]
    async with producer(amqp_url) as client:
        await client.link.delete_queue(topology.LEDGER)
    async with running(amqp_url) as stranger:
        assert (await stranger.heard("waits_for_memory"))["wait_s"] > 0
        assert (await stranger.heard("leading"))["epoch"] > before + 1_000_000_000


async def test_an_entry_that_was_meant_for_the_deleted_ledger_hides_nothing_from_who_comes_new(amqp_url: str) -> None:
    """It lands last in the one made anew, and says that all before a place was over: that was true of the other."""
    async with producer(amqp_url) as client, agent(amqp_url, "s", "h", ready=False) as worker:
        async with coordinator(amqp_url):
            worker.announce("s", "h")
            await worker.answer_sync()
            client.submit(Task("runs", "s.h"))
            _, attempt = await worker.assigned()
            for each in range(8):  # each has an end of its own in the ledger
                client.submit(Task(f"expired-{each}", "s.h", deadline_ns=1))
                await client.result(f"expired-{each}")
            end = (await client.ask("status"))["ledger_offset"]
        stray = encode_entry(Entry("of the deleted one", 1, replay_from=end - 1))
        await client.link.publish(topology.INTERNAL, topology.KEY_LEDGER, stray, timeout_s=10)
        async with coordinator(amqp_url):
            await worker.answer_sync(Holding("runs", attempt, "running", {"slots": 1}))
            worker.done("runs", attempt, b"\x02")
            assert (await client.result("runs")).value == b"\x02"


async def test_of_what_nobody_remembers_the_names_are_said(amqp_url: str) -> None:
    """Deleted while no coordinator lives: what an agent still has is recalled, named and counted, and can be submitted again."""
    async with producer(amqp_url) as client, agent(amqp_url, "s", "h", ready=False) as worker:
        async with coordinator(amqp_url):
            worker.announce("s", "h")
            await worker.answer_sync()
            client.submit(Task("t1", "s.h"), Task("t2", "s.h"))
            _, attempt = await worker.assigned()
        await client.link.delete_queue(topology.LEDGER)
        async with coordinator(amqp_url) as ears:
            worker.beat()
            worker.announce("s", "h")
            stopped = False
            while not stopped:  # it is asked again when the leader has found that its epoch was one of the ledger that is gone
                orders = await worker.next(Orders, lambda one: one.sync or bool(one.stop))
                if orders.sync:
                    worker.answer(orders, Holding("t1", attempt, "running", {"slots": 1}))
                stopped = bool(orders.stop)
            assert [stop.attempt for stop in orders.stop] == [attempt]
            assert (await ears.heard("unknown_task"))["task"] == "t1"
            told = (await client.ask("status"))["ledger_lost"]
            assert (told["unknown"], told["unknown_tasks"]) == (1, ["t1"])


async def test_a_stream_cannot_be_purged(amqp_url: str) -> None:
    """So all that an operator can do to the ledger at once is to delete it."""
    async with coordinator(amqp_url), producer(amqp_url) as client:
        client.submit(Task("t1", "s.h"))
        while (await client.ask("status"))["live"] < 1:
            pass
        with pytest.raises(LinkLost, match="not supported by stream queues"):
            await client.link.purge(topology.LEDGER)
