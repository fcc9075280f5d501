"""Back-pressure: places are taken in turn, never lost, whoever is cancelled when."""

from __future__ import annotations

import asyncio
import random

import pytest

from orchestrator.client.room import Room


async def test_places_are_given_in_the_order_of_asking() -> None:
    """Who asks for many is not overtaken by who asks for few."""
    room = Room(3)
    await room.take(2, 1)
    order: list[str] = []

    async def taking(name: str, places: int) -> None:
        await room.take(places, 10)
        order.append(name)

    tasks = [asyncio.ensure_future(taking(name, places)) for name, places in (("many", 3), ("few", 1))]
    await asyncio.sleep(0)
    assert not room.try_take(1)
    room.give(2)
    await tasks[0]
    assert order == ["many"]
    room.give(3)
    await tasks[1]


async def test_more_than_there_is_takes_the_whole_room() -> None:
    """A large workflow waits until it is alone, instead of for ever."""
    room = Room(3)
    await room.take(100, 1)
    assert not room.try_take(1)
    room.give(100)
    assert room.try_take(3)


async def test_waiting_has_an_end() -> None:
    """And whoever gave up is not counted."""
    room = Room(1)
    assert room.try_take(1)
    with pytest.raises(TimeoutError):
        await room.take(1, 0.01)
    room.give(1)
    assert room.try_take(1)


@pytest.mark.parametrize("seed", range(30))
async def test_no_place_is_lost_whoever_is_cancelled_when(seed: int) -> None:
    """Takers come, hold, give and are cancelled at any moment: in the end every place is free, and never were too many taken."""
    dice = random.Random(seed)
    room, taken = Room(5), 0

    async def one(places: int, turns: int) -> None:
        nonlocal taken
        await room.take(places, 10)
        taken += places
        assert taken <= 5
        try:
            for _ in range(turns):
                await asyncio.sleep(0)
        finally:
            taken -= places
            room.give(places)

    tasks: list[asyncio.Task[None]] = []
    for _ in range(60):
        tasks.append(asyncio.create_task(one(dice.randint(1, 5), dice.randrange(4))))
        if dice.random() < 0.3:
            dice.choice(tasks).cancel()
        if dice.random() < 0.5:
            await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert taken == 0
    assert room.try_take(5)
