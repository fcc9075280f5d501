"""How a session on a real broker ends, is held up by an alarm, or does not begin."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

import pytest

from orchestrator.amqp import Delivery, Link, Published
from orchestrator.amqp.connection import shown
from orchestrator.amqp.errors import (
    Broken,
    BrokenBy,
    CannotConnect,
    Fault,
    LinkLost,
    PublishTimeout,
    cannot_connect,
)
from orchestrator.amqp.publishers import Publishers
from orchestrator.amqp.topology import (
    TASKS,
    Binding,
    Queue,
    Topology,
    intake,
    intake_queue,
)
from orchestrator.live.embedded import EmbeddedBroker
from tests.amqp.conftest import BASE, Basket, Opener

GPU = intake_queue("gpu")


# -------------------------------------------------------------------------------------------------------------- the end


async def test_an_operator_who_deletes_a_queue_ends_the_session_and_it_says_which(opener: Opener, link: Link) -> None:
    """A consumed queue that is deleted is not made again in silence: the session is over, with the queue's name."""
    await link.declare(intake("gpu"))
    reader = await opener("reader")
    basket = Basket()
    await reader.consume(GPU, basket, prefetch=10)
    await link.publish(TASKS, "gpu", b"x")
    held = await basket.until(1)
    await link.delete_queue(GPU)
    broken = await asyncio.wait_for(reader.broken, 5)
    assert broken.by is BrokenBy.CONSUMER
    assert broken.where == GPU
    assert f"consumer of {GPU}" in str(broken)
    assert "deleted" in str(broken)
    reader.settle(held)
    assert reader.stale_settles == 1
    assert await reader.send(TASKS, "gpu", b"late") is Published.LOST
    with pytest.raises(LinkLost, match="may or may not have happened"):
        await reader.publish(TASKS, "gpu", b"late")


async def test_a_publish_to_nowhere_ends_the_session_with_the_brokers_words(opener: Opener) -> None:
    """An exchange that does not exist closes the channel; everything under way is answered LOST, nobody hangs."""
    link = await opener()
    answers = [link.send("no.such.exchange", "k", b"x") for _ in range(3)]
    assert {await asyncio.wait_for(answer, 5) for answer in answers} == {Published.LOST}
    broken = await link.broken
    assert broken.by is BrokenBy.CHANNEL
    assert "404 NOT_FOUND - no exchange 'no.such.exchange'" in broken.reason


async def test_a_sink_that_raises_ends_the_session_with_its_exception(link: Link) -> None:
    """Our own bug is neither swallowed nor retried."""
    await link.declare(intake("gpu"))

    def sink(_: Delivery) -> None:
        raise ZeroDivisionError("oops")

    await link.consume(GPU, sink, prefetch=1)
    link.send(TASKS, "gpu", b"x")
    broken = await asyncio.wait_for(link.broken, 5)
    assert broken.by is BrokenBy.BUG
    assert isinstance(broken.error, ZeroDivisionError)


async def test_closing_leaves_nothing_behind(opener: Opener) -> None:
    """Settled and published before the close is settled and published; no task of the session outlives it."""
    before = asyncio.all_tasks()
    link = await opener(connections=("consume", "publish", "beats"))
    await link.declare(BASE + intake("gpu"))
    basket = Basket()
    await link.consume(GPU, basket, prefetch=10)
    await link.publish(TASKS, "gpu", b"x")
    link.settle(await basket.until(1))
    await link.close()
    assert (await link.broken).by is BrokenBy.CLOSED
    if closing := asyncio.all_tasks() - before:  # the library's writers, which end with their sockets
        await asyncio.wait(closing, timeout=5)
    assert asyncio.all_tasks() <= before
    later = await opener()
    assert (await later.stat(GPU)).messages == 0


async def test_whoever_waits_for_the_end_may_give_up_waiting(link: Link) -> None:
    """A cancelled wait for ``broken`` is nobody else's business."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(link.broken, 0.01)
    assert not link.is_broken
    waits = asyncio.ensure_future(link.broken)
    await link.close()
    assert (await waits).by is BrokenBy.CLOSED


# -------------------------------------------------------------------------------------------------------------- alarms


async def test_an_alarm_stops_publishing_and_nothing_else(broker: EmbeddedBroker, opener: Opener, link: Link) -> None:
    """Under a memory alarm publishes wait (and land after it); deliveries, settles, and requests go on."""
    await link.declare(intake("gpu") + Topology(queues=(Queue("plain"),), bindings=(Binding(TASKS, "plain", "plain"),)))
    alarms: list[tuple[bool, str]] = []
    changed = asyncio.Event()

    def on_blocked(blocked: bool, reason: str) -> None:
        alarms.append((blocked, reason))
        changed.set()

    worker = await opener("worker", on_blocked=on_blocked)
    for number in range(10):
        await worker.publish(TASKS, "gpu", b"%d" % number)
    try:
        await broker.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
        late = worker.send(TASKS, "plain", b"late")
        await asyncio.wait_for(changed.wait(), 10)
        assert worker.blocked
        assert alarms[0][0]
        assert "memory" in alarms[0][1]
        with pytest.raises(PublishTimeout, match="has an alarm"):
            await worker.publish(TASKS, "plain", b"later", timeout_s=0.2)
        basket = Basket()
        await worker.consume(GPU, basket, prefetch=5)
        await basket.until(5)
        worker.settle(basket.deliveries)
        await basket.until(10)  # the settles were heard
        assert not late.done()
        changed.clear()
    finally:
        await broker.ctl("set_vm_memory_high_watermark", "0.4")
    await asyncio.wait_for(changed.wait(), 10)
    assert not worker.blocked
    assert await asyncio.wait_for(late, 5) is Published.CONFIRMED
    while (await link.stat("plain")).messages < 2:  # a publish that timed out lands all the same
        pass
    assert not worker.is_broken


async def test_a_blocked_session_closes_at_once(broker: EmbeddedBroker, opener: Opener) -> None:
    """The broker reads no goodbye from a blocked connection: none is waited for."""
    blocked = asyncio.Event()
    link = await opener("blocked", on_blocked=lambda *_: blocked.set())
    try:
        await broker.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
        answer = link.send("", "nowhere", b"x")
        await asyncio.wait_for(blocked.wait(), 10)
        await asyncio.wait_for(link.close(), 1)
        assert await answer is Published.LOST
    finally:
        await broker.ctl("set_vm_memory_high_watermark", "0.4")


# ------------------------------------------------------------------------------------------------------- not beginning


async def test_a_session_that_cannot_begin_says_why(amqp_url: str, broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody there, wrong password, no such virtual host, no such host, no such scheme: each is told apart."""
    resolve = socket.getaddrinfo
    asked: list[str] = []

    def asks_nobody(host: Any, *more: Any, **how: Any) -> Any:
        """The network here may drop the question, and we would see how long we wait."""
        if host == "no-such-host.invalid":
            asked.append(host)
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *more, **how)

    monkeypatch.setattr(socket, "getaddrinfo", asks_nobody)
    user, _, rest = amqp_url.removeprefix("amqp://").partition(":")
    at = rest.partition("@")[2]
    cases = {
        Fault.REFUSED: "amqp://guest:guest@127.0.0.1:9/",
        Fault.AUTH: f"amqp://{user}:wrong-secret@{at}",
        Fault.VHOST: broker.url_of("no-such-vhost"),
        Fault.UNREACHABLE: "amqp://guest:guest@no-such-host.invalid/",
        Fault.URL: "http://127.0.0.1/",
    }
    for fault, url in cases.items():
        with pytest.raises(CannotConnect) as caught:
            await Link.open(url, name="test", timeout_s=5)
        assert caught.value.fault is fault
        assert "wrong-secret" not in str(caught.value)
        assert "guest:guest" not in str(caught.value)
    assert asked, "or it was the network's answer that was judged"
    with pytest.raises(CannotConnect, match="rabbitmqctl add_vhost"):
        await Link.open(cases[Fault.VHOST], name="test")


async def test_a_port_that_is_not_a_brokers_is_left_in_time() -> None:
    """One that accepts and says nothing: a timeout; one that says something else: a greeting cut short."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    for answer, fault in ((silent, Fault.TIMEOUT), (rude, Fault.PROTOCOL)):
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(CannotConnect) as caught:
                await Link.open(f"amqp://guest:guest@127.0.0.1:{port}/", name="test", timeout_s=0.3)
            assert caught.value.fault is fault
            assert "HTTP" in str(caught.value) or fault is Fault.TIMEOUT


async def test_a_connection_that_is_cut_in_the_greeting_is_told_in_words() -> None:
    """At whichever byte of the broker's first sentence; what a library calls it helps nobody."""
    start = b"\x01\x00\x00\x00\x00\x00\x2a"

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(start[: next(lengths)])
        writer.close()

    lengths = iter(range(len(start) + 1))
    async with await asyncio.start_server(cut, "127.0.0.1", 0) as server:
        for _ in range(len(start) + 1):
            with pytest.raises(CannotConnect) as caught:
                await Link.open(f"amqp://guest:guest@127.0.0.1:{server.sockets[0].getsockname()[1]}/", name="test", timeout_s=5)
            assert caught.value.fault is Fault.PROTOCOL
            assert "closed" in str(caught.value), caught.value


def test_a_reader_that_ended_is_told_as_what_it_was() -> None:
    """aiormq lets its generator's end through when a connection closes between two steps of the greeting."""
    told = cannot_connect("amqp://user@host/", StopAsyncIteration(), 0, "")
    assert told.fault is Fault.PROTOCOL
    assert "StopAsyncIteration" not in str(told)
    assert "the connection was closed" in str(told)


@pytest.mark.parametrize("password", ["12/34", "pa/ss", "12?34", "12#34"])
async def test_a_password_that_was_not_encoded_is_never_shown(password: str) -> None:
    """What is read as host and port is its beginning. It is told what to do, and not tried."""
    with pytest.raises(CannotConnect) as refused:
        await Link.open(f"amqp://user:{password}@localhost/", name="test")
    assert refused.value.fault is Fault.URL
    assert "%2F" in str(refused.value)
    assert not any(part in str(refused.value).replace("%23", "") for part in ("user:12", "34@", "12/", "ss@", "'pa'"))
    assert shown("amqp://user:12%2F34@localhost/a%40b") == "amqp://user@localhost/a@b"


async def test_a_session_that_broke_while_it_was_opened_leaves_no_watch_behind() -> None:
    """It is over before anybody could cancel that."""
    broken: asyncio.Future[Broken] = asyncio.get_running_loop().create_future()
    broken.set_result(Broken(BrokenBy.CONNECTION, "the connection to consume", "gone"))
    publishers = Publishers(broken, 1.0, lambda *_: None, None)
    before = asyncio.all_tasks()
    publishers.watch(cast(Any, object()), 10.0, lambda _: None)
    assert asyncio.all_tasks() == before
