"""What every peer's handlers do. The same lines for all of them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time

SLOW = float(os.environ.get("BENCH_SLOW", "1"))
"""How many times longer this instance takes: one of them may be slow."""


async def nap(seconds: float) -> float:
    """Be busy without the CPU, as a handler is that waits for a database; returns when it ended, in Unix time."""
    await asyncio.sleep(seconds * SLOW)
    return time.time()


def nap_blocking(seconds: float) -> float:
    """The same where handlers are plain functions."""
    time.sleep(seconds * SLOW)
    return time.time()


def burn(rounds: int) -> str:
    """Keep a CPU busy: a chain of hashes of 1 KiB, short enough that Python does not let go of its lock."""
    block = b"x" * 1024
    for _ in range(rounds):
        block = hashlib.sha256(block).digest() * 32
    return block[:8].hex()
