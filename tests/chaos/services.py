"""What the workers of the chaos suite run. Every handler writes down when it begins and how it comes to its end."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from workers import Context, Service

service = Service("town", capacity={"slots": 20})


def tell(*words: object) -> None:
    """One line for the witness, appended whole, with the moment on a clock that all processes of this machine share."""
    line = f"{time.monotonic_ns()} {os.getpid()} {' '.join(map(str, words))}\n"
    file = os.open(os.environ["WITNESS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


@service.task("work", retries=5, backoff=0.1)
async def work(number: int, seconds: float, context: Context) -> int:
    """Takes so long, has its effect, and is twice the number."""
    tell("start", context.task, context.attempt)
    try:
        await asyncio.sleep(seconds)
    except BaseException:
        tell("stop", context.task, context.attempt)
        raise
    tell("end", context.task, context.attempt)
    return 2 * number


@service.task("hold", retries=5)
async def hold(seconds: float, context: Context) -> None:
    """Holds its place, and has no effect."""
    tell("start", context.task, context.attempt)
    await asyncio.sleep(seconds)


@service.task("stumble", retries=1, backoff=2.0)
async def stumble(context: Context) -> None:
    """Fails once."""
    tell("start", context.task, context.attempt)
    if context.number == 1:
        raise RuntimeError("the first time")
    tell("end", context.task, context.attempt)


@service.task("poison", retries=5, backoff=0.1)
async def poison(context: Context) -> None:
    """Kills its worker, a moment after it was seen to start."""
    tell("start", context.task, context.attempt)
    await asyncio.sleep(0.3)
    os.kill(os.getpid(), signal.SIGKILL)


@service.task("hog", retries=0)
async def hog(seconds: float, context: Context) -> None:
    """Computes, and lets nothing else on its loop have a turn."""
    tell("start", context.task, context.attempt)
    time.sleep(seconds)  # noqa: ASYNC251  that is what it is for
    tell("end", context.task, context.attempt)


@service.task("stubborn", kind="thread", retries=0)
def stubborn(seconds: float, context: Context) -> None:
    """Does not care that it was told to stop."""
    tell("start", context.task, context.attempt)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.02)
    tell("end", context.task, context.attempt)


@service.task("bomb", kind="process", retries=0)
def bomb(megabytes: int, context: Context) -> int:
    """Takes memory until it is killed, as the kernel kills: without a word."""
    import resource

    tell("start", context.task, context.attempt)
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, resource.RLIM_INFINITY))
    taken = [bytes(1 << 20) for _ in range(megabytes)]
    os.kill(os.getpid(), signal.SIGKILL)
    return len(taken)
