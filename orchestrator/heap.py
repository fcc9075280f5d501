"""What messages took goes back to the system when they are gone.

glibc's allocator *learns*: once a block of a megabyte that it had from the system by itself is freed, blocks of that size come from
the heap from then on, and what lies behind a small one that lives on is never given back. A flood in which one message of a
thousand is large left a coordinator 17 MB heavier for good, all of it free. Thresholds that are said once are not moved.
What is smaller comes from the heap, and free pages between what lives go back only when that is asked for.

Cycles that nothing holds but themselves are found when Python looks for them, which it does after so many *new* things. Where
hardly anything is new, what the library's used-up channels end in waits for that for ten minutes: three megabytes.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
from typing import NoReturn

OWN_BYTES = 256 << 10
"""A larger block is taken from the system by itself, and given back whole. That costs a page fault for 4 KiB: some 50 µs for such a
block, a tenth of what it takes to read it from a socket and decode it."""
_M_MMAP_THRESHOLD = -3
_YOUNG = 1
"""Generations of the search for cycles that a look takes in: what has come since the last one, no deep backlog that lives on."""
TRIM_EVERY_S = 10.0
"""Looking for free pages takes 0.2 ms. Under a flood they were nearly a megabyte each time, of a coordinator of 66."""


def give_back_large_blocks() -> bool:
    """From now on, in this process. False where the C library has no such setting (musl, macOS): then it is as it was."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, OWN_BYTES))


async def give_back_free_pages() -> NoReturn:
    """From time to time, until cancelled; with what has come since and is only held by itself. Where the C library has no such call
    that alone is done."""
    while True:
        await asyncio.sleep(TRIM_EVERY_S)
        gc.collect(_YOUNG)
        trim()


def trim() -> bool:
    """Free pages of the heap go back to the system now. False where that cannot be asked for."""
    try:
        malloc_trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return False
    return bool(malloc_trim(ctypes.c_size_t(0)))
