"""Operators delete what binds producers' queues: of that nobody tells them, and they hear all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aio_pika
import pytest

from orchestrator.amqp import topology
from orchestrator.client import Client, session
from orchestrator.live import mending
from orchestrator.live.embedded import EmbeddedBroker
from tests.live.peers import PATIENCE_S, agent, coordinator

pytestmark = pytest.mark.broker


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked after more often than anybody needs."""
    monkeypatch.setattr(mending, "MEND_S", 0.1)
    monkeypatch.setattr(mending, "MEND_SHARE", 1.0)
    monkeypatch.setattr(session, "BOUND_S", 0.05)


async def delete_exchange(url: str) -> None:
    """As an operator does."""
    async with await aio_pika.connect(url) as operator:
        await (await operator.channel()).exchange_delete(topology.RESULTS)


async def delete_bindings(broker: EmbeddedBroker, url: str) -> None:
    """The same of all bindings of the exchange of results, but not of itself. (Nobody may unbind another's queue over AMQP.)"""
    source = f'rabbit_misc:r(<<"{url.rpartition("/")[2]}">>, exchange, <<"{topology.RESULTS}">>)'
    await broker.ctl("eval", f'[rabbit_binding:remove(B, <<"tests">>) || B <- rabbit_binding:list_for_source({source})].')


@asynccontextmanager
async def deaf(url: str) -> AsyncIterator[tuple[Client, Callable[[], None]]]:
    """A client that does not look whether results find it until it is told that it may."""
    async with Client(url) as client:
        sessions = client._shell.sessions
        waits, sessions._waits = sessions._waits, lambda: False

        def may_look() -> None:
            sessions._waits = waits

        yield client, may_look


async def test_what_ended_while_results_had_no_way_to_the_producer_is_heard(broker: EmbeddedBroker, amqp_url: str) -> None:
    """The binding is gone, the result comes back to the coordinator, for which that is the end of it; then the producer looks."""
    async with coordinator(amqp_url) as ears, agent(amqp_url, "s", "h") as worker, deaf(amqp_url) as (client, may_look):
        handle = await client.submit("s.h")
        assignment, attempt = await worker.assigned()
        await delete_bindings(broker, amqp_url)
        worker.done(assignment.task, attempt, b"\x07")
        await ears.heard("ended")
        may_look()
        assert await handle.result(timeout=PATIENCE_S) == 7


async def test_the_exchange_of_results_is_deleted_under_a_producer(amqp_url: str) -> None:
    """Whoever leads loses its session with the next result, and nothing else happens to anybody."""
    async with coordinator(amqp_url), agent(amqp_url, "s", "h") as worker, Client(amqp_url) as client:
        first = await client.submit("s.h")
        assignment, attempt = await worker.assigned()
        await delete_exchange(amqp_url)
        worker.done(assignment.task, attempt, b"\x01")
        assert await first.result(timeout=PATIENCE_S) == 1


async def test_an_answer_that_had_no_way_is_asked_for_anew(broker: EmbeddedBroker, amqp_url: str) -> None:
    """Within the time that its asker allows."""
    async with coordinator(amqp_url), Client(amqp_url) as client:
        await client.ask("status")
        await delete_bindings(broker, amqp_url)
        assert (await client.ask("status", timeout_s=PATIENCE_S))["epoch"]


async def test_who_may_not_publish_there_hears_what_comes_from_then_on(broker: EmbeddedBroker, amqp_url: str) -> None:
    """It cannot look, and binds its queue each time."""
    vhost = amqp_url.rpartition("/")[2]
    await broker.ctl("add_user", f"p-{vhost}", "secret")
    mine = r"^orchestrator\.results\..*"
    await broker.ctl(
        "set_permissions", "-p", vhost, f"p-{vhost}", mine, rf"{mine}|^orchestrator\.(tasks|control)$", r"^orchestrator\..*"
    )
    address = amqp_url.partition("@")[2]
    async with (
        coordinator(amqp_url),
        agent(amqp_url, "s", "h") as worker,
        Client(f"amqp://p-{vhost}:secret@{address}") as client,
    ):
        handle = await client.submit("s.h")
        assignment, attempt = await worker.assigned()
        await delete_bindings(broker, amqp_url)
        source = f'rabbit_misc:r(<<"{vhost}">>, exchange, <<"{topology.RESULTS}">>)'
        while "binding" not in await broker.ctl("eval", f"rabbit_binding:list_for_source({source})."):
            pass
        worker.done(assignment.task, attempt, b"\x02")
        assert await handle.result(timeout=PATIENCE_S) == 2


async def test_a_queue_that_is_deleted_is_replaced_and_what_came_back_meanwhile_is_heard(amqp_url: str) -> None:
    """The broker ends its consumer: a new session, a new queue."""
    async with coordinator(amqp_url), agent(amqp_url, "s", "h") as worker, Client(amqp_url) as client:
        handle = await client.submit("s.h")
        assignment, attempt = await worker.assigned()
        link = client._shell.sessions._link
        assert link is not None
        deleting = asyncio.ensure_future(link.delete_queue(client._shell.sessions._reply_to))
        worker.done(assignment.task, attempt, b"\x03")
        assert await handle.result(timeout=PATIENCE_S) == 3
        await asyncio.gather(deleting, return_exceptions=True)
