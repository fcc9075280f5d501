"""From many threads to one loop: nothing lost, nothing twice, order kept, few wake-ups."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar, copy_context

import pytest

from workers.mailbox import Mailbox


async def test_nothing_is_lost_between_threads() -> None:
    """Eight threads put ten thousand letters each; each one's arrive in its order."""
    taken: list[tuple[int, int]] = []
    turns = 0
    full = asyncio.Event()

    def take(letters: list[tuple[int, int]]) -> None:
        nonlocal turns
        turns += 1
        taken.extend(letters)
        if len(taken) == 80_000:
            full.set()

    box: Mailbox[tuple[int, int]] = Mailbox(asyncio.get_running_loop(), take)

    def put(name: int) -> None:
        for number in range(10_000):
            box.put((name, number))

    threads = [threading.Thread(target=put, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    await asyncio.wait_for(full.wait(), 30)
    for thread in threads:
        await asyncio.to_thread(thread.join)
    for name in range(8):
        assert [number for who, number in taken if who == name] == list(range(10_000))
    assert turns < 80_000


def test_letters_to_a_closed_loop_are_dropped() -> None:
    """Whoever took them is gone; who puts them, a worker thread say, must not fall."""
    loop = asyncio.new_event_loop()
    box: Mailbox[int] = Mailbox(loop, lambda letters: None)
    loop.close()
    box.put(1)
    box.put(2)


async def test_what_is_left_wakes_nobody_and_comes_with_the_next() -> None:
    """In its place before it; or to whoever empties the box."""
    taken: list[list[int]] = []
    box: Mailbox[int] = Mailbox(asyncio.get_running_loop(), taken.append)
    box.leave(1)
    for _ in range(3):
        await asyncio.sleep(0)
    assert taken == []
    box.put(2)
    for _ in range(3):
        await asyncio.sleep(0)
    assert taken == [[1, 2]]
    box.leave(3)
    assert box.empty() == [3]
    assert box.empty() == []


@pytest.mark.parametrize("at_home", [True, False])
async def test_letters_are_taken_in_the_context_of_the_box_and_not_of_who_put_them(at_home: bool) -> None:
    """A handler that ends brings the start of the next: what it has set is not for that one, nor for a new connection."""
    whose = ContextVar("whose", default="nobody")
    seen: list[str] = []
    box: Mailbox[int] = Mailbox(asyncio.get_running_loop(), lambda letters: seen.append(whose.get()))

    def put() -> None:
        whose.set("somebody")
        box.put(1)

    box.put(0)
    await asyncio.sleep(0)
    if at_home:
        copy_context().run(put)
    else:
        await asyncio.to_thread(put)
    await asyncio.sleep(0)
    assert seen == ["nobody", "nobody"]
