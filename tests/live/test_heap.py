"""Large blocks go back to the system, in a process of their own: the setting holds for a whole process."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from orchestrator import heap
from orchestrator.heap import give_back_large_blocks, trim

FLOOD = """
import sys
from orchestrator.heap import give_back_large_blocks
from tests.processes import resident_mb
from os import getpid
if sys.argv[1] == "give back":
    assert give_back_large_blocks()
before, kept = resident_mb(getpid()), []
for _ in range(3):
    large = []
    for _ in range(30):
        large.append(bytearray(1 << 20))
        kept.append(bytearray(2000))
    del large
print(resident_mb(getpid()) - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's setting")
def test_what_large_messages_took_is_given_back() -> None:
    """Thirty of a megabyte at a time, three times, and small things between them that stay: nothing of the thirty stays as well.
    As the allocator is by itself it would: that is measured too, or this would show nothing."""

    def grown_mb(how: str) -> float:
        command, root = [sys.executable, "-c", FLOOD, how], Path(__file__).parents[2]
        done = subprocess.run(command, cwd=root, text=True, capture_output=True, check=True, timeout=60)
        return float(done.stdout)

    assert grown_mb("give back") < 3.0
    assert grown_mb("as it is") > 15.0


BETWEEN = """
from orchestrator.heap import give_back_large_blocks, trim
from tests.processes import resident_mb
from os import getpid
give_back_large_blocks()
passing, kept = [], []
for _ in range(1000):
    passing.append(bytearray(20_000))
    kept.append(bytearray(2_000))
passing.clear()
before = resident_mb(getpid())
assert trim()
print(before - resident_mb(getpid()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's call")
def test_what_is_free_between_what_lives_is_given_back() -> None:
    """Twenty megabytes in small blocks, each before something that stays: most of that goes back, which it does not by itself."""
    command, root = [sys.executable, "-c", BETWEEN], Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, text=True, capture_output=True, check=True, timeout=60)
    assert float(done.stdout) > 10.0


async def test_what_is_only_held_by_itself_does_not_wait_for_much_more_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python would look for it after so many new things: where there are none it goes with the free pages."""

    class Ring:
        """Holds itself."""

        def __init__(self) -> None:
            self.me = self

    monkeypatch.setattr(heap, "TRIM_EVERY_S", 0.01)
    gc.disable()
    try:
        gone = asyncio.Event()
        weakref.finalize(Ring(), gone.set)
        giving_back = asyncio.create_task(heap.give_back_free_pages())
        async with asyncio.timeout(10):
            await gone.wait()
        giving_back.cancel()
    finally:
        gc.enable()


def test_where_there_is_no_such_setting_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another C library: it says so, and raises nothing."""
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert not give_back_large_blocks()
    assert not trim()
