"""The broker dies, connections break, confirms are lost: every task still ends once, as its producer sees it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from orchestrator.amqp.errors import Broken, LinkLost
from orchestrator.client import Client
from orchestrator.live.embedded import EmbeddedBroker
from orchestrator.wire.messages import Result, Task
from tests.client.scripted import coordinating, echo, never

TASKS = 3000


async def test_a_broker_that_is_killed_and_comes_back_costs_nothing_but_time(own_broker: EmbeddedBroker) -> None:
    """SIGKILL in the middle of 3,000 tasks, some accepted, some under way, some answered: each ends once with its own value."""
    ended = 0
    half = asyncio.Event()

    async def one(client: Client, n: int) -> int:
        nonlocal ended
        value = await client.run("a.b", n=n)
        ended += 1
        if ended == TASKS // 2:
            half.set()
        assert isinstance(value["n"], int)
        return value["n"]

    def every_third_later(task: Task) -> Result | None:
        """Until the broker dies; what was not answered then is answered when it is asked for again."""
        return None if not half.is_set() and len(coordinator.tasks) % 3 == 0 else echo(task)

    async with (
        coordinating(own_broker.url, every_third_later) as coordinator,
        Client(own_broker.url, unconfirmed_max=200) as client,
    ):
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            runs = [group.create_task(one(client, n)) for n in range(TASKS)]
            await half.wait()
            await own_broker.kill()
            await own_broker.restart()
        assert [run.result() for run in runs] == list(range(TASKS))
        assert len(coordinator.tasks) == TASKS
        assert client.counters.again > 0


async def test_accepted_tasks_outlive_the_session_and_are_answered_in_the_next(own_broker: EmbeddedBroker) -> None:
    """The reply queue dies with the broker; what ended meanwhile is asked for again, under the same ids."""
    async with coordinating(own_broker.url, never) as coordinator, Client(own_broker.url) as client:
        handles = [await client.submit("a.b", n=n) for n in range(5)]
        await own_broker.kill()
        for handle in handles:  # they end while nobody can be told
            coordinator.results[handle.id] = echo(coordinator.tasks[handle.id])
        await own_broker.restart()
        assert [(await handle.result(timeout=30))["n"] for handle in handles] == list(range(5))
        assert len(coordinator.tasks) == 5
        assert all(coordinator.times_submitted[handle.id] >= 2 for handle in handles)


async def test_a_reply_queue_that_is_deleted_is_replaced(amqp_url: str) -> None:
    """An operator deletes it: a new session, a new queue, and the results come there."""
    async with coordinating(amqp_url, never) as coordinator, Client(amqp_url) as client:
        handle = await client.submit("a.b", x=1)
        old = coordinator.reply_to[handle.id]
        assert old is not None
        coordinator.answer = echo
        await _delete(client, old)
        assert await handle.result(timeout=30) == {"x": 1}
        assert coordinator.reply_to[handle.id] != old


async def test_what_is_handed_in_as_a_session_ends_goes_on_in_the_next(amqp_url: str) -> None:
    """Nothing is under way, and a task comes in the very turn of the loop in which the session is given up, or near it."""

    async def run_after(turns: int, broken: asyncio.Future[Broken]) -> object:
        await asyncio.wait((broken,))
        for _ in range(turns):
            await asyncio.sleep(0)
        return await client.run("a.b", n=turns)

    async with coordinating(amqp_url, echo), Client(amqp_url) as client, asyncio.timeout(60):
        sessions = client._shell.sessions
        for turns in range(8):
            await client.run("a.b", n=-1)  # a session stands
            assert sessions._link is not None
            run = asyncio.create_task(run_after(turns, sessions._link.broken))
            await _delete(client, sessions._reply_to)
            assert await run == {"n": turns}


async def _delete(client: Client, queue: str) -> None:
    """Only the connection that owns an exclusive queue may delete it."""
    link = client._shell.sessions._link
    assert link is not None
    with suppress(LinkLost):  # it costs the session, maybe before the broker has answered
        await link.delete_queue(queue)
