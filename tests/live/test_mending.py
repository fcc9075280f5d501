"""Operators delete exchanges and bindings: coordinators, whom nobody tells, make them again."""

from __future__ import annotations

import aio_pika
import pytest

from orchestrator.amqp import Published, topology
from orchestrator.live import mending
from orchestrator.live.embedded import EmbeddedBroker
from tests.live.peers import Task, agent, coordinator, producer

pytestmark = pytest.mark.broker


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked after more often than anybody needs."""
    monkeypatch.setattr(mending, "MEND_S", 0.1)
    monkeypatch.setattr(mending, "MEND_SHARE", 1.0)


async def keys(broker: EmbeddedBroker, url: str, exchange: str) -> str:
    """By which keys queues are bound to it, as the broker says."""
    source = f'rabbit_misc:r(<<"{url.rpartition("/")[2]}">>, exchange, <<"{exchange}">>)'
    return await broker.ctl("eval", f"[element(3, B) || B <- rabbit_binding:list_for_source({source})].")


async def test_an_exchange_that_is_deleted_is_there_again_with_all_its_bindings(broker: EmbeddedBroker, amqp_url: str) -> None:
    """Where producers submit: only they publish there, so only they would ever hear that it is gone. Services have their own queues
    again, not the common one."""
    async with coordinator(amqp_url), producer(amqp_url) as client:
        async with agent(amqp_url, "s", "h") as worker:
            client.submit(Task("before", "s.h"))
            _, attempt = await worker.assigned()
            worker.done("before", attempt)
            await client.result("before")
        async with await aio_pika.connect(amqp_url) as operator:
            await (await operator.channel()).exchange_delete(topology.TASKS)
        while '<<"s">>' not in await keys(broker, amqp_url, topology.TASKS):
            pass
        client.submit(Task("after", "s.h"))
        async with agent(amqp_url, "s", "h") as worker:
            assert (await worker.assigned())[0].task == "after"


@pytest.mark.parametrize(
    ("exchange", "queue", "key"),
    [
        (topology.AGENTS, topology.REPORTS, topology.KEY_REPORTS),
        (topology.CONTROL, topology.CONTROL, topology.KEY_CONTROL),
        (topology.INTERNAL, topology.DEAD, topology.KEY_DEAD),
    ],
)
async def test_a_binding_that_is_deleted_is_there_again(amqp_url: str, exchange: str, queue: str, key: str) -> None:
    """Until then what is published comes back."""
    async with coordinator(amqp_url), producer(amqp_url) as client:
        await client.link.unbind(exchange, queue, key)
        while await client.link.publish(exchange, key, b"") is Published.RETURNED:
            pass


async def test_a_queue_that_nobody_reads_is_missed_too(amqp_url: str) -> None:
    """The dead letters': a session that cannot bind it is left, and the next one makes it."""
    async with coordinator(amqp_url) as ears, producer(amqp_url) as client:
        await client.link.delete_queue(topology.DEAD)
        assert topology.DEAD in (await ears.heard("session_ended"))["why"]
        while await client.link.publish(topology.INTERNAL, topology.KEY_DEAD, b"") is Published.RETURNED:
            pass
