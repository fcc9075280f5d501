"""A submission for which there are no bytes: it is refused where it is said, and one that comes all the same costs itself alone."""

from __future__ import annotations

import asyncio
import re

import pytest
from msgspec.structs import replace

from orchestrator.client import Call, CannotPack, Client
from orchestrator.client.events import Cause, Unsayable, Verdict
from tests.client.imagined import World, task
from tests.client.scripted import coordinating


def test_what_has_no_bytes_costs_itself_alone() -> None:
    """Two submissions share a message with one that cannot be said; that is given up, the others leave at once, in their order."""
    world = World()
    world.opened()
    world.submit(task("t0"))
    world.submit(task("t1"))
    world.submit(task("t2"), task("t3"), together=True)
    (first,) = world.under_way
    world.answer(first, Verdict.CONFIRMED)
    (number,) = world.under_way
    world.unsayable(number, "t3")
    assert {name: (told.cause, told.may_run) for name, told in world.gave_up.items()} == {
        "t2": (Cause.UNSAYABLE, False), "t3": (Cause.UNSAYABLE, False),
    }  # fmt: skip
    assert [[each.id for each in sent.tasks] for sent in world.under_way.values()] == [["t1"]]
    world.confirm_all()
    assert world.confirmed == {"t0", "t1"}


def test_what_has_no_bytes_is_given_up_though_its_session_is_gone() -> None:
    """That is told a moment later, of a message that was taken back; nothing of it goes again."""
    world = World()
    world.opened()
    world.submit(task("t1"))
    (number,) = world.under_way
    world.ended()
    world.do(Unsayable(number, {"t1": "half a character"}))
    assert world.gave_up["t1"].cause is Cause.UNSAYABLE
    world.opened()
    assert not world.under_way


def unsayable(client: Client) -> Call:
    """A task that no peer could read, made past all that judges options."""
    call = client.task("a.b").call()
    return replace(call, task=replace(call.task, key="\ud800"))


async def test_a_task_without_bytes_costs_neither_its_lane_nor_the_client(client: Client) -> None:
    """It shares its message with innocent ones: it is told at once, they are done, and so is what comes later."""
    async with asyncio.timeout(10):
        told, *values = await asyncio.gather(
            client.submit_many([unsayable(client)]), *(client.run("a.b", n=n) for n in range(20)), return_exceptions=True
        )
        assert values == [{"n": n} for n in range(20)]
        assert isinstance(told, CannotPack)
        assert re.search(r"a\.b.*no bytes.*surrogates.*will not run", str(told))
        assert await client.run("a.b", n=20) == {"n": 20}


async def test_a_task_without_bytes_that_waited_for_a_session_does_not_cost_it(amqp_url: str) -> None:
    """The session opens with all that waits, innocent ones too."""
    async with Client(amqp_url) as client, asyncio.timeout(10):
        bad = asyncio.ensure_future(client.submit_many([unsayable(client)]))
        good = asyncio.ensure_future(client.run("a.b", x=1))
        await asyncio.sleep(0)
        async with coordinating(amqp_url):
            assert await good == {"x": 1}
            with pytest.raises(CannotPack):
                await bad
