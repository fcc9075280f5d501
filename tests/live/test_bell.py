"""The bell of the main loop: rung or after a time, and never missed."""

from __future__ import annotations

import asyncio

from orchestrator.live.bell import Bell

LONG_S = 3600.0


async def woken(bell: Bell, at_most_s: float | None) -> bool:
    """Whether a sleep of at most so long ends by itself."""
    sleep = asyncio.ensure_future(bell.sleep(at_most_s))
    done, _ = await asyncio.wait([sleep], timeout=0.2)
    sleep.cancel()
    return bool(done)


async def test_a_sleeper_wakes_when_it_is_rung_or_its_time_is_up() -> None:
    """Either way."""
    bell = Bell()
    asyncio.get_running_loop().call_soon(bell.ring)
    await bell.sleep(None)
    assert await woken(bell, 0.01)
    assert not await woken(bell, None)


async def test_the_timer_of_an_earlier_sleep_does_not_make_a_shorter_one_late() -> None:
    """It was left behind by a sleep that was rung."""
    bell = Bell()
    asyncio.get_running_loop().call_soon(bell.ring)
    await bell.sleep(LONG_S)
    assert not await woken(bell, LONG_S)
    assert await woken(bell, 0.01)
    assert not await woken(bell, LONG_S)  # nor is anything left of the short one


async def test_a_timer_that_rings_for_nobody_is_no_ring() -> None:
    """Who lies down after it sleeps its own time."""
    bell = Bell()
    asyncio.get_running_loop().call_soon(bell.ring)
    await bell.sleep(0.01)
    await asyncio.sleep(0.05)
    assert not await woken(bell, LONG_S)
