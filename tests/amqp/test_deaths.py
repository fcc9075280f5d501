"""The broker's own word that somebody is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from orchestrator.amqp import Link
from orchestrator.amqp.deaths import watch_deaths
from orchestrator.amqp.topology import Topology, agent_inbox, agent_queue, results_inbox
from tests.amqp.conftest import BASE


@pytest.fixture
async def ears(root_vhost_url: str) -> AsyncIterator[Link]:
    """A session where the events are."""
    async with await Link.open(root_vhost_url, name="ears", connections=("consume",)) as link:
        yield link


class Names:
    """A sink of names that can be waited for."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[str] = asyncio.Queue()

    def __call__(self, name: str, node_down: bool) -> None:
        assert not node_down, "its connection has ended, and the node lives"
        self.queue.put_nowait(name)

    async def next(self) -> str:
        return await asyncio.wait_for(self.queue.get(), 5)


def only_queues(topology: Topology) -> Topology:
    return Topology(queues=topology.queues)


async def test_the_death_of_an_agent_is_told_within_a_tenth_of_a_second(amqp_url: str, ears: Link) -> None:
    """Its sockets vanish (as after a SIGKILL); its queue's name is told at once, and no other's."""
    names = Names()
    vhost = amqp_url.rpartition("/")[2]
    assert await watch_deaths(ears, names, vhost=vhost) is not None
    taken = []
    for number in range(5):
        bystander = await Link.open(amqp_url, name="bystander")
        await bystander.declare(only_queues(results_inbox(f"n{number}")))
        agent = await Link.open(amqp_url, name="agent")
        await agent.declare(only_queues(agent_inbox(f"a{number}")))
        await bystander.close()
        began = time.perf_counter()
        for connection in agent._connections.values():
            connection.tap.abort()
        assert await names.next() == agent_queue(f"a{number}")
        taken.append(time.perf_counter() - began)
        await agent.close()
    assert sorted(taken)[2] < 0.1
    assert names.queue.empty()


async def test_deaths_in_other_virtual_hosts_are_not_ours(amqp_url: str, ears: Link) -> None:
    """The events are of the whole broker; only the named virtual host's are told."""
    names = Names()
    assert await watch_deaths(ears, names) is not None  # the link's own: "/"
    async with await Link.open(amqp_url, name="elsewhere") as elsewhere:
        await elsewhere.declare(only_queues(agent_inbox("x")))
    await ears.declare(only_queues(agent_inbox("here")))
    await ears.delete_queue(agent_queue("here"))
    assert await names.next() == agent_queue("here")
    assert names.queue.empty()


async def test_without_the_event_exchange_it_says_so_and_the_session_lives(link: Link) -> None:
    """In a virtual host of its own there is none: rely on returns and leases."""
    assert await watch_deaths(link, lambda *_: None) is None
    await link.check(BASE)
    assert not link.is_broken
