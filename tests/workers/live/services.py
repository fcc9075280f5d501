"""Services that the live tests run in processes of their own."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time

from tests.workers import remembering
from workers import Context, Service

service = Service("live", slots=8, capacity={"gpu": 1}, version="1.2", depends_on=["store"], labels={"zone": "a"})


def witness(*words: object) -> None:
    """One line, appended whole: an account of what ran that does not depend on what is tested."""
    file = os.open(os.environ["WITNESS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, (" ".join(map(str, words)) + "\n").encode())
    os.close(file)


@service.on_start
async def open_up() -> None:
    """A hook."""
    witness("hook start")


@service.on_stop
def close_down() -> None:
    """A hook."""
    witness("hook stop")


@service.task(timeout="60s", retries=7)
async def echo(value: object, ctx: Context) -> object:
    """Says it again."""
    witness("ran", ctx.task)
    return value


@service.task
async def freeze(seconds: float, ctx: Context) -> str:
    """Blocks the loop, as people do."""
    witness("freeze", ctx.task)
    time.sleep(seconds)  # noqa: ASYNC251  # the mistake is the point
    witness("thawed", ctx.task)
    return "thawed"


remembering.enrol(service)


@service.task
def fork_and_end() -> int | None:
    """What it forks can be ended, and is asked to while it begins."""
    forked = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    forked.start()
    forked.terminate()
    forked.join(10)
    forked.kill()
    return forked.exitcode


@service.task
async def sleep(seconds: float, ctx: Context) -> str:
    """Waits."""
    witness("asleep", ctx.task)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        witness("cancelled", ctx.task)
        raise
    witness("woke", ctx.task)
    return "woke"


@service.task
def refuse(secret: str) -> None:
    """Fails deep down, with much to say."""
    below(secret)


def below(secret: str) -> None:
    raise LookupError(f"not one of {len(secret)}" + " and more" * 100)


@service.task(kind="process")
def crunch(seconds: float, ctx: Context) -> str:
    """Burns a CPU."""
    witness("crunching", ctx.task, os.getpid())
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    witness("crunched", ctx.task)
    return "crunched"


@service.task(timeout=0.2)
async def slow() -> None:
    """Longer than it may."""
    await asyncio.sleep(600)
