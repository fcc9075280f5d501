"""A session on a real broker."""

from __future__ import annotations

import asyncio
import threading

import pytest
import uvloop

from orchestrator.amqp import Delivery, Link, Published
from orchestrator.amqp.errors import (
    Missing,
    QueueLocked,
)
from orchestrator.amqp.topology import (
    INTERNAL,
    KEY_DEAD,
    LEADER,
    ORDERS,
    RESULTS,
    TASKS,
    agent_inbox,
    agent_queue,
    intake,
    intake_queue,
    results_inbox,
    results_queue,
)
from tests.amqp.conftest import BASE, Basket, Opener

GPU = intake_queue("gpu")


# ------------------------------------------------------------------------------------------------------------ messages


async def test_ten_thousand_deliveries_reach_the_sink_in_order(link: Link) -> None:
    """The order of the queue is the order of the sink, while publishing, consuming and settling all go on at once."""
    await link.declare(intake("gpu"))
    basket = Basket()
    open_: list[Delivery] = []

    def sink(delivery: Delivery) -> None:
        basket(delivery)
        open_.append(delivery)
        if len(open_) == 64:
            link.settle(open_)
            open_.clear()

    consumer = await link.consume(GPU, sink, prefetch=500)
    numbers = [b"%d" % number for number in range(10_000)]
    answers = [link.send(TASKS, "gpu", body) for body in numbers]
    await basket.until(10_000)
    assert basket.bodies == numbers
    assert {await answer for answer in answers} == {Published.CONFIRMED}
    assert [delivery.tag for delivery in basket.deliveries] == list(range(1, 10_001))
    link.settle(open_)
    assert (consumer.unsettled, link.stale_settles) == (0, 0)


async def test_a_delivery_carries_what_its_publisher_said(link: Link) -> None:
    """Reply address, correlation id, the verified user, key, exchange and a body longer than a frame arrive as sent."""
    await link.declare(intake("gpu"))
    basket = Basket()
    await link.consume(GPU, basket, prefetch=10)
    body = bytes(range(256)) * 4_000
    await link.publish(TASKS, "gpu", body, reply_to="there", correlation_id="c-1", user_id=link.user)
    await link.publish(TASKS, "gpu", b"")
    first, second = await basket.until(2)
    assert first.body == body
    assert (first.reply_to, first.correlation_id, first.user_id) == ("there", "c-1", link.user)
    assert (first.exchange, first.routing_key, first.redelivered) == (TASKS, "gpu", False)
    assert (first.session, first.offset, first.headers, first.flaw) == (link.session, None, None, None)
    assert (second.body, second.reply_to, second.user_id) == (b"", None, None)


async def test_each_unroutable_message_is_told_apart_from_its_neighbours(link: Link) -> None:
    """Of a thousand publishes in flight exactly those with nobody behind their key come back."""
    await link.declare(intake("gpu") + agent_inbox("here"))
    wanted, answers = [], []
    for number in range(1_000):
        lost = number % 3 == 0
        key = "no-such-queue" if lost else agent_queue("here")
        wanted.append(Published.RETURNED if lost else Published.CONFIRMED)
        answers.append(link.send(ORDERS, key, b"x", persistent=False))
    assert [await answer for answer in answers] == wanted


async def test_what_need_not_arrive_is_confirmed_though_nobody_takes_it(link: Link) -> None:
    """Not mandatory: the broker drops it and says that it has dealt with it."""
    assert await link.publish(ORDERS, "nobody", b"x", mandatory=False) is Published.CONFIRMED


async def test_a_service_nobody_knows_is_not_lost(link: Link) -> None:
    """A submission whose key no queue is bound to waits in the common intake."""
    assert await link.publish(TASKS, "never-heard-of", b"x") is Published.CONFIRMED
    (waiting,) = await link.peek(TASKS, 5)
    assert (waiting.body, waiting.routing_key) == (b"x", "never-heard-of")


async def test_a_full_intake_refuses(link: Link) -> None:
    """Beyond its limit the queue says no, and says it to the publisher of the message that does not fit."""
    await link.declare(intake("gpu", intake_max_bytes=1_000))
    answers = [await link.publish(TASKS, "gpu", b"x" * 300) for _ in range(8)]
    assert answers[0] is Published.CONFIRMED
    assert answers[-1] is Published.NACKED


async def test_a_result_finds_its_producer(opener: Opener, link: Link) -> None:
    """A producer's own queue, named in ``reply_to``, gets what is sent to that name; with the producer it goes."""
    producer = await opener("producer")
    await producer.declare(results_inbox("n1"))
    basket = Basket()
    await producer.consume(results_queue("n1"), basket, prefetch=0, no_ack=True)
    assert await link.publish(RESULTS, results_queue("n1"), b"42") is Published.CONFIRMED
    assert [delivery.body for delivery in await basket.until(1)] == [b"42"]
    await producer.close()
    assert await link.publish(RESULTS, results_queue("n1"), b"43") is Published.RETURNED


# ------------------------------------------------------------------------------------------------------------- settling


async def test_settled_messages_are_gone_and_others_come_back(opener: Opener, link: Link) -> None:
    """Settle some of what was delivered, out of order; exactly the rest is delivered to the next session, in order."""
    await link.declare(intake("gpu"))
    for number in range(10):
        await link.publish(TASKS, "gpu", b"%d" % number)
    first = await opener("first")
    basket = Basket()
    await first.consume(GPU, basket, prefetch=100)
    deliveries = await basket.until(10)
    first.settle([deliveries[i] for i in (7, 0, 1, 2, 5)])
    first.settle([deliveries[3]])
    await first.close()
    again = Basket()
    await link.consume(GPU, again, prefetch=100)
    await again.until(4)
    assert again.bodies == [b"4", b"6", b"8", b"9"]
    assert all(delivery.redelivered for delivery in again.deliveries)


async def test_what_may_be_lost_arrives_or_is_said_to_have_found_no_queue(opener: Opener, link: Link) -> None:
    """No confirm comes, and none is waited for; what no queue takes is told by its key and its note, where that was asked."""
    returned: list[tuple[str, str]] = []
    came_back = asyncio.Event()

    def heed(key: str, note: str) -> None:
        returned.append((key, note))
        came_back.set()

    await link.declare(intake("gpu"))
    teller = await opener("teller", on_returned=heed)
    teller.tell(TASKS, "gpu", b"there")
    teller.tell(ORDERS, "nowhere", b"unasked", note="1")
    teller.tell(ORDERS, "nowhere", b"asked", note="2", mandatory=True)
    basket = Basket()
    await link.consume(GPU, basket, prefetch=10, no_ack=True)
    await basket.until(1)
    await asyncio.wait_for(came_back.wait(), 10)
    assert (basket.bodies, returned) == ([b"there"], [("nowhere", "2")])
    with pytest.raises(ValueError, match="without anybody to hear"):
        link.tell(TASKS, "gpu", b"mute")


async def test_a_handle_of_another_session_settles_nothing(opener: Opener, link: Link) -> None:
    """Tags begin at 1 in every session: a stale handle must not acknowledge the message that has its number now."""
    await link.declare(intake("gpu"))
    for body in (b"a", b"b"):
        await link.publish(TASKS, "gpu", body)
    first = await opener("first")
    basket = Basket()
    await first.consume(GPU, basket, prefetch=10)
    stale = list(await basket.until(2))
    await first.close()
    first.settle(stale)
    second = await opener("second")
    again = Basket()
    consumer = await second.consume(GPU, again, prefetch=10)
    await again.until(2)
    second.settle(stale)
    assert (first.stale_settles, second.stale_settles, consumer.unsettled) == (2, 2, 2)


async def test_rejected_messages_reach_the_dead_letters_or_come_again(link: Link) -> None:
    """Rejected for good, an intake's message is found among the dead; rejected for now, it is delivered again."""
    await link.declare(intake("gpu"))
    basket = Basket()
    await link.consume(GPU, basket, prefetch=10)
    await link.publish(TASKS, "gpu", b"poison")
    await basket.until(1)
    link.reject(basket.deliveries[:1], requeue=True)
    _, again = await basket.until(2)
    assert again.redelivered
    dead = Basket()
    await link.consume("orchestrator.dead", dead, prefetch=10)
    link.reject([again], requeue=False)
    (letter,) = await dead.until(1)
    assert (letter.body, letter.exchange, letter.routing_key) == (b"poison", INTERNAL, KEY_DEAD)
    assert letter.headers is not None
    deaths = letter.headers["x-death"]
    assert isinstance(deaths, list)
    assert (deaths[0]["queue"], deaths[0]["reason"]) == (GPU, "rejected")


async def test_prefetch_bounds_what_is_ours_to_settle(link: Link) -> None:
    """With room for three, the fourth comes when one of them is settled."""
    await link.declare(intake("gpu"))
    for number in range(5):
        await link.publish(TASKS, "gpu", b"%d" % number)
    basket = Basket()
    consumer = await link.consume(GPU, basket, prefetch=3)
    await basket.until(3)
    assert (await link.stat(GPU)).messages == 2
    assert consumer.unsettled == 3
    link.settle(basket.deliveries[:1])
    await basket.until(4)
    assert basket.bodies == [b"0", b"1", b"2", b"3"]


async def test_no_limit_is_for_those_who_need_not_settle(link: Link) -> None:
    """On a quorum queue 0 would mean 2,000: whoever settles says how much it can hold."""
    with pytest.raises(ValueError, match="prefetch"):
        await link.consume(LEADER, Basket(), prefetch=0)


async def test_what_needs_no_settling_cannot_be_settled(link: Link) -> None:
    """The broker would end the session over it; it is our mistake, and told at once."""
    await link.declare(intake("gpu"))
    basket = Basket()
    consumer = await link.consume(GPU, basket, prefetch=0, no_ack=True)
    await link.publish(TASKS, "gpu", b"x")
    with pytest.raises(ValueError, match="no_ack"):
        link.settle(await basket.until(1))
    consumer.settle_all()
    assert consumer.unsettled == 0
    assert (await link.stat(GPU)).messages == 0
    assert not link.is_broken


# -------------------------------------------------------------------------------------------------- pausing, looking in


async def test_a_paused_consumer_keeps_what_it_has_and_gets_no_more(link: Link) -> None:
    """The backlog is full: the rest waits in the broker. What was delivered is settled meanwhile; then it goes on."""
    await link.declare(intake("gpu"))
    basket = Basket()
    consumer = await link.consume(GPU, basket, prefetch=100)
    await link.publish(TASKS, "gpu", b"1")
    await basket.until(1)
    await consumer.pause()
    await link.publish(TASKS, "gpu", b"2")
    assert (await link.stat(GPU)).messages == 1
    assert consumer.unsettled == 1
    link.settle(basket.deliveries)
    await consumer.resume()
    await basket.until(2)
    assert basket.bodies == [b"1", b"2"]
    assert link.stale_settles == 0


async def test_a_cancelled_consumer_gives_back_what_it_has(link: Link) -> None:
    """Its handles are void; another consumer of the same session gets the messages."""
    await link.declare(intake("gpu"))
    await link.publish(TASKS, "gpu", b"1")
    basket = Basket()
    consumer = await link.consume(GPU, basket, prefetch=10)
    await basket.until(1)
    await consumer.cancel()
    again = Basket()
    await link.consume(GPU, again, prefetch=10)
    (delivery,) = await again.until(1)
    assert delivery.redelivered
    link.settle(basket.deliveries)
    assert link.stale_settles == 1
    assert not link.is_broken


async def test_looking_into_a_queue_leaves_everything_in_its_place(link: Link) -> None:
    """Dead letters can be read by an operator, and read again."""
    for number in range(4):
        await link.publish(INTERNAL, KEY_DEAD, b"%d" % number)
    for _ in range(2):
        assert [delivery.body for delivery in await link.peek("orchestrator.dead", 3)] == [b"0", b"1", b"2"]
    assert (await link.stat("orchestrator.dead")).messages == 4
    assert len(await link.peek("orchestrator.dead", 100)) == 4
    assert await link.peek("orchestrator.dead", 0) == []
    assert await link.purge("orchestrator.dead") == 4
    with pytest.raises(Missing, match=r"no\.such\.queue"):
        await link.peek("no.such.queue", 1)
    assert not link.is_broken


# ------------------------------------------------------------------------------------------------------ one of several


async def test_the_token_goes_to_the_next_when_its_holder_goes(opener: Opener, link: Link) -> None:
    """Of two that wait for the one message only the active one has it; when it closes, the other gets it."""
    await link.publish(INTERNAL, "leader", b"token")
    await link.publish(INTERNAL, "leader", b"token")
    first, second = await opener("first"), await opener("second")
    holds, waits = Basket(), Basket()
    await first.consume(LEADER, holds, prefetch=1)
    await second.consume(LEADER, waits, prefetch=1)
    await holds.until(1)
    assert waits.deliveries == []
    await first.close()
    (token,) = await waits.until(1)
    assert token.redelivered


async def test_an_exclusive_queue_tells_whether_its_owner_lives(opener: Opener, link: Link) -> None:
    """Asked by another: locked while the owner lives, missing when it is gone."""
    agent = await opener("agent")
    await agent.declare(agent_inbox("a1"))
    with pytest.raises(QueueLocked, match="exclusive to another connection"):
        await link.stat(agent_queue("a1"))
    await agent.close()
    with pytest.raises(Missing):
        await link.stat(agent_queue("a1"))


async def test_two_sessions_live_in_two_threads(amqp_url: str, link: Link) -> None:
    """An agent beats from a thread with a loop of its own (here even another kind of loop) while the first works on."""
    await link.declare(agent_inbox("a1"))
    basket = Basket()
    await link.consume(agent_queue("a1"), basket, prefetch=0, no_ack=True)
    sessions: list[int] = []

    async def beat() -> None:
        async with await Link.open(amqp_url, name="beats", connections=("publish",)) as beats:
            sessions.append(beats.session)
            for number in range(500):
                await beats.publish(ORDERS, agent_queue("a1"), b"%d" % number, persistent=False)

    def in_thread() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(beat())

    thread = threading.Thread(target=in_thread)
    thread.start()
    await basket.until(500)
    await asyncio.to_thread(thread.join)
    assert basket.bodies == [b"%d" % number for number in range(500)]
    assert sessions != [link.session]


async def test_beats_have_a_connection_of_their_own_when_asked(opener: Opener) -> None:
    """What is sent over it is confirmed like the rest; asking for one that was not opened is our mistake."""
    link = await opener("agent", connections=("consume", "publish", "beats"))
    await link.declare(BASE + agent_inbox("a1"))
    basket = Basket()
    await link.consume(agent_queue("a1"), basket, prefetch=0, no_ack=True)
    assert await link.publish(ORDERS, agent_queue("a1"), b"beat", over="beats") is Published.CONFIRMED
    await basket.until(1)
    plain = await opener("plain")
    with pytest.raises(ValueError, match="beats"):
        plain.send(ORDERS, "x", b"", over="beats")
