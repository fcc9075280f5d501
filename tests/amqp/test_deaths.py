"""The broker's own word that somebody is gone, and how."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from orchestrator.amqp import Link
from orchestrator.amqp.deaths import watch_deaths
from orchestrator.amqp.topology import Topology, agent_inbox, agent_queue, results_inbox
from orchestrator.vocabulary import Ending
from tests.amqp.conftest import BASE


@pytest.fixture
async def ears(root_vhost_url: str) -> AsyncIterator[Link]:
    """A session where the events are."""
    async with await Link.open(root_vhost_url, name="ears", connections=("consume",)) as link:
        yield link


class Ends:
    """A sink that can be waited for."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[tuple[str, Ending]] = asyncio.Queue()

    def __call__(self, name: str, how: Ending) -> None:
        self.queue.put_nowait((name, how))

    async def next(self) -> tuple[str, Ending]:
        return await asyncio.wait_for(self.queue.get(), 30)


def vanish(link: Link) -> None:
    """Its sockets are gone without a word, as after SIGKILL."""
    for connection in link._connections.values():
        connection.tap.abort()


def only_queues(topology: Topology) -> Topology:
    return Topology(queues=topology.queues)


async def test_the_death_of_an_agent_is_told_within_a_tenth_of_a_second(amqp_url: str, ears: Link) -> None:
    """Its sockets vanish (as after a SIGKILL); its queue's name is told at once, and no other's."""
    ends = Ends()
    vhost = amqp_url.rpartition("/")[2]
    assert await watch_deaths(ears, ends, vhost=vhost) is not None
    taken = []
    for number in range(5):
        bystander = await Link.open(amqp_url, name="bystander")
        await bystander.declare(only_queues(results_inbox(f"n{number}")))
        agent = await Link.open(amqp_url, name="agent", incarnation=f"a{number}")
        await agent.declare(only_queues(agent_inbox(f"a{number}")))
        await bystander.close()
        began = time.perf_counter()
        vanish(agent)
        assert await ends.next() == (agent_queue(f"a{number}"), "broken")
        taken.append(time.perf_counter() - began)
        await agent.close()
    assert sorted(taken)[2] < 0.1
    assert ends.queue.empty()


async def test_the_dead_do_not_shake_hands(amqp_url: str, ears: Link) -> None:
    """An agent that closes its connection lives, and so does one whose node closes it: that is told from one that broke off. Of one
    that does not say whose it is nothing can be told: it passes for closed. How an agent's other connections end does not matter.
    """
    ends = Ends()
    assert await watch_deaths(ears, ends, vhost=amqp_url.rpartition("/")[2]) is not None
    for name, incarnation, how in (("a", "a", "broken"), ("b", "b", "closed"), ("c", "", "closed"), ("d", "d", "half")):
        agent = await Link.open(amqp_url, name=f"worker {name} of some", connections=("consume", "beats"), incarnation=incarnation)
        await agent.declare(only_queues(agent_inbox(name)))
        if how == "half":
            agent._connections["beats"].tap.abort()
            await agent.broken
        elif name != "b":
            vanish(agent)
        await agent.close()
        assert await ends.next() == (agent_queue(name), "broken" if how == "broken" else "closed")


async def test_who_closes_while_somebody_else_does_breaks_nothing_off(amqp_url: str, ears: Link) -> None:
    """An agent whose window ran out closes its link, and closes it once more when it hears that it is over. What it had finished,
    and could not report, is still its heir's to say: nobody may take it for dead."""
    ends = Ends()
    assert await watch_deaths(ears, ends, vhost=amqp_url.rpartition("/")[2]) is not None
    for number in range(5):
        name = f"e{number}"
        agent = await Link.open(amqp_url, name="worker", connections=("consume", "beats"), incarnation=name)
        await agent.declare(only_queues(agent_inbox(name)))
        await asyncio.gather(agent.close(), agent.close())
        assert await ends.next() == (agent_queue(name), "closed")


async def test_deaths_in_other_virtual_hosts_are_not_ours(amqp_url: str, ears: Link) -> None:
    """The events are of the whole broker; only the named virtual host's are told."""
    ends = Ends()
    assert await watch_deaths(ears, ends) is not None  # the link's own: "/"
    async with await Link.open(amqp_url, name="elsewhere") as elsewhere:
        await elsewhere.declare(only_queues(agent_inbox("x")))
    await ears.declare(only_queues(agent_inbox("here")))
    await ears.delete_queue(agent_queue("here"))
    assert await ends.next() == (agent_queue("here"), "closed")
    assert ends.queue.empty()


async def test_without_the_event_exchange_it_says_so_and_the_session_lives(link: Link) -> None:
    """In a virtual host of its own there is none: rely on returns and leases."""
    assert await watch_deaths(link, lambda *_: None) is None
    await link.check(BASE)
    assert not link.is_broken
