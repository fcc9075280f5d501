"""The ledger at its limits on a real broker: longer than its cap, answers late or lost, ids repeated."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.amqp import Delivery
from orchestrator.amqp.ledger import LedgerTail
from orchestrator.vocabulary import Attempt
from orchestrator.wire.messages import Beat, Orders
from tests.live.peers import Producer, ScriptedAgent, Task, agent, coordinator, producer, running

pytestmark = pytest.mark.broker

CAP = {"ledger_bytes_max": 64 * 1024**2, "ledger_segment_bytes": 1024**2, "lease_s": 60.0}
ARGS = b"\xc5\xbf\xff" + bytes(0xBFFF)
"""48 KiB: a MessagePack ``bin``."""


async def test_more_passes_through_the_ledger_than_it_holds(amqp_url: str) -> None:
    """Two thousand tasks, 96 MB, through a ledger of 64 MB. What lives takes a quarter of it at most: intake stops, the rest waits
    in the broker. Twenty tasks that nobody runs were accepted first: they are written again all along, so that whoever starts when
    their first records have long been cut off knows them."""
    async with running(amqp_url, **CAP) as ears:
        await ears.heard("leading")
        async with producer(amqp_url) as client:
            client.submit(*(Task(f"old{n}", "nobody.h", ARGS) for n in range(20)))
            for batch in range(100):
                client.submit(*(Task(f"t{batch}.{n}", "s.h", ARGS) for n in range(20)))
            await ears.heard("intake", lambda said: not said["open"])
            assert (await client.ask("status"))["live"] < 2020
            async with agent(amqp_url, "s", "h", capacity={"slots": 200}) as worker:
                await do_all(worker, 2000)
                while (await client.ask("status"))["live"] > 20:
                    alive(worker)
            assert (await client.ask("status"))["counts"]["done"] == 2000
            assert await first_offset(client) > 0, "nothing was cut off: this ledger never came near its cap"
            ears.crash()
            async with coordinator(amqp_url, **CAP) as ears:
                assert len(await client.ask("tasks", service="nobody")) == 20
                assert not any(word == "ledger_gap" for word, _ in ears.said)
                async with agent(amqp_url, "nobody", "h", capacity={"slots": 20}) as worker:
                    await do_all(worker, 20)


async def do_all(worker: ScriptedAgent, count: int) -> None:
    """Report whatever is assigned as done, until it was so many different tasks; none comes twice."""
    seen: set[str] = set()
    while len(seen) < count:
        orders = await worker.next(Orders, lambda one: bool(one.assign))
        worker.drained = orders.seq
        for one in orders.assign:
            assert one.task not in seen
            seen.add(one.task)
            worker.done(one.task, Attempt(orders.epoch, one.n))
        alive(worker)


def alive(worker: ScriptedAgent) -> None:
    """A beat that does not say what it holds: its reports are on their way."""
    worker.seq += 1
    worker.soft(Beat(worker.incarnation, worker.seq, worker.epoch, worker.drained))


async def first_offset(client: Producer) -> int:
    """Of what is left of the ledger."""
    found = asyncio.get_running_loop().create_future()

    def take(delivery: Delivery) -> None:
        if not found.done():
            found.set_result(delivery.offset)

    consumer = await LedgerTail(client.link).follow("first", take, on_gap=lambda _: None)
    offset = await found
    await consumer.cancel()
    assert isinstance(offset, int)
    return offset


async def test_an_id_names_the_first_task_within_the_window_and_a_new_one_after_it(amqp_url: str) -> None:
    """Submitted again while it is remembered it is answered with the first one's result; once it is forgotten it runs."""
    async with producer(amqp_url) as client:
        async with coordinator(amqp_url), agent(amqp_url, "s", "h", capacity={"slots": 9}) as worker:
            client.submit(Task("t1", "s.h"))
            _, attempt = await worker.assigned()
            worker.done("t1", attempt, b"\x01")
            assert (await client.result("t1")).value == b"\x01"
            client.submit(Task("t1", "s.h"), Task("t2", "s.h"))
            assert (await worker.assigned())[0].task == "t2"
            assert (await client.result("t1")).value == b"\x01"
        async with running(amqp_url, unchecked={"dedup_window_s": 0.5}) as ears:
            await ears.heard("leading")
            while (await client.ask("status"))["remembered"]:
                pass
            async with agent(amqp_url, "s", "h", capacity={"slots": 9}) as worker:
                client.submit(Task("t1", "s.h"))
                tasks = {}
                while "t1" not in tasks:
                    orders = await worker.next(Orders, lambda one: bool(one.assign))
                    tasks |= {one.task: Attempt(orders.epoch, one.n) for one in orders.assign}
                worker.done("t1", tasks["t1"], b"\x02")
                assert (await client.result("t1")).value == b"\x02"
