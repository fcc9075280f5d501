"""Services that the end-to-end tests run in processes of their own. Each run of a handler is written to a witness file."""

from __future__ import annotations

import asyncio
import os

from workers import Context, Service

service = Service("steps", capacity={"slots": 50})


def witness(*words: object) -> None:
    """One line, appended whole: an independent account of what really ran."""
    line = " ".join(map(str, words)) + "\n"
    file = os.open(os.environ["WITNESS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


@service.task("double", retries=5, backoff=0.1)
async def double(number: int, context: Context) -> int:
    """Twice the number, after a little while."""
    witness("start", context.task, os.getpid())
    await asyncio.sleep(0.002)
    witness("end", context.task, os.getpid())
    return 2 * number


@service.task("node", retries=5, backoff=0.1)
async def node(seconds: float, context: Context, above: list[int] | None = None) -> int:
    """One task of a workflow: runs as long as it is told, and says how deep it stands, as it learned from its parents."""
    witness("start", context.task, os.getpid())
    await asyncio.sleep(seconds)
    witness("end", context.task, os.getpid())
    return 1 + max(above or [0])
