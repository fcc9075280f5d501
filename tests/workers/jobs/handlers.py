"""Handlers that the tests of the job runners run, at the top level of a module: other processes find them here."""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.workers import remembering
from workers import Context, Fatal, Service, Stopped

service = Service("jobs")


@service.task(kind="process")
def pid() -> int:
    """Who runs it."""
    print("handlers may print")
    return os.getpid()


@service.task(kind="process")
def spin(path: str) -> None:
    """Burns a CPU and never looks at anything."""
    Path(path).write_text(str(os.getpid()))
    while True:
        pass


@service.task(kind="process")
def fork_and_spin(path: str) -> None:
    """As ``multiprocessing`` does by default on Linux."""
    if (child := os.fork()) == 0:
        time.sleep(600)
        os._exit(0)
    Path(path).write_text(f"{os.getpid()} {child}")
    while True:
        pass


@service.task(kind="process")
def hold_the_gil(path: str) -> None:
    """Sleeps in C without letting any other thread of its process run."""
    Path(path).write_text(str(os.getpid()))
    ctypes.PyDLL(None).sleep(600)


@service.task(kind="process")
def die(how: int) -> None:
    """The system kills it, say."""
    os.kill(os.getpid(), how)
    time.sleep(600)


@service.task(kind="process")
def count_in_process(ctx: Context, to: int) -> int:
    """Counts, saves what it has when asked to stop."""
    return _count(ctx, to)


@service.task
def count_in_thread(ctx: Context, to: int) -> int:
    """The same."""
    return _count(ctx, to)


def _count(ctx: Context, to: int) -> int:
    reached = ctx.resumed or 0
    while reached < to:
        reached += 1
        ctx.progress(reached / to, f"at {reached}")
        if ctx.wait(0.005):
            ctx.checkpoint(reached)
            raise Stopped
    return int(reached)


@service.task
async def count(ctx: Context, to: int) -> int:
    """The same."""
    for reached in range(ctx.resumed or 0, to):
        ctx.progress(reached / to, f"at {reached}")
        await asyncio.sleep(0.005)
        if ctx.should_stop:
            ctx.checkpoint(reached)
            raise Stopped
    return to


@service.task(preemptible=True)
async def pages(ctx: Context, to: int) -> int:
    """Saves page after page; ends where it is when asked to stop, even between two pages."""
    for page in range(ctx.resumed or 0, to):
        ctx.checkpoint_or_stop(page)
        if page == 3:
            ctx.progress(text="a long one")
        await ctx.sleep(0.005 if page < 3 else 600)
    return to


@service.task(kind="process", preemptible=True)
async def pages_in_process(ctx: Context, to: int) -> int:
    """The same, with a loop of its own."""
    return await pages(ctx, to)


@service.task(preemptible=True)
def pages_in_thread(ctx: Context, to: int) -> int:
    """The same."""
    for page in range(ctx.resumed or 0, to):
        ctx.checkpoint_or_stop(page)
        if page == 3:
            ctx.progress(text="a long one")
        ctx.wait(0.005 if page < 3 else 600)
    return to


@service.task(kind="process")
async def async_in_process(value: Any) -> Any:
    """A loop of its own."""
    await asyncio.sleep(0)
    return value


@service.task
def about(ctx: Context) -> dict[str, Any]:
    """What the context knows."""
    return _about(ctx)


@service.task(kind="process")
def about_in_process(ctx: Context) -> dict[str, Any]:
    """What the context knows."""
    return _about(ctx)


@service.task
async def about_async(ctx: Context) -> dict[str, Any]:
    """What the context knows."""
    return _about(ctx)


def _about(ctx: Context) -> dict[str, Any]:
    return {
        "task": ctx.task, "type": ctx.type, "attempt": list(ctx.attempt), "number": ctx.number, "grant": dict(ctx.grant),
        "instance": ctx.instance, "tenant": ctx.tenant, "timeout_s": ctx.timeout_s, "resumed": ctx.resumed,
        "deadline_s": ctx.deadline_s is not None and 0 < ctx.deadline_s <= 60,
    }  # fmt: skip


@service.task
def merge(ctx: Context, rows: list[int], more: list[int] | None, other: str = "") -> dict[str, Any]:
    """What its parents left."""
    return _merge(ctx, rows, more)


@service.task
async def merge_async(ctx: Context, rows: list[int], more: list[int] | None) -> dict[str, Any]:
    """What its parents left."""
    return _merge(ctx, rows, more)


@service.task(kind="process")
def merge_in_process(ctx: Context, rows: list[int], more: list[int] | None) -> dict[str, Any]:
    """What its parents left."""
    return _merge(ctx, rows, more)


def _merge(ctx: Context, rows: list[int], more: list[int] | None) -> dict[str, Any]:
    parents = {name: [one.outcome, one.value, one.error.kind if one.error else None] for name, one in ctx.parents.items()}
    return {"rows": rows, "more": more, "parents": parents}


@service.task
def boom() -> None:
    """Fails."""
    raise KeyError("missing thing")


@service.task
def hopeless() -> None:
    """Fails for good."""
    raise Fatal("no such picture")


@service.task
async def leave() -> None:
    """User code that thinks it owns the process."""
    sys.exit(3)


@service.task
async def odd() -> object:
    """No message carries it."""
    return object()


@dataclass
class Picky:
    """Checks itself, and raises what it likes."""

    how: str

    def __post_init__(self) -> None:
        raise {"KeyError": KeyError, "AssertionError": AssertionError, "SystemExit": SystemExit}[self.how](self.how)


@service.task
async def picky(value: Picky) -> None:
    """Cannot be called."""


@service.task
def picky_in_thread(value: Picky) -> None:
    """The same."""


@service.task(kind="process")
def picky_in_process(value: Picky) -> None:
    """The same."""


remembering.enrol(service)


@service.task(kind="process")
def fork_and_end() -> int | None:
    """What it forks can be ended, and is asked to while it begins."""
    forked = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    forked.start()
    forked.terminate()
    forked.join(10)
    forked.kill()
    return forked.exitcode


class Torn:
    """A model, of a library that is broken."""

    def model_dump(self, mode: str) -> Any:
        """Raises what no packer expects."""
        raise KeyError("nothing in it")


@service.task
async def torn() -> Torn:
    """Returns what raises when it is packed."""
    return Torn()


@service.task
def torn_in_thread() -> Torn:
    """The same."""
    return Torn()


@service.task(kind="process")
def torn_in_process() -> Torn:
    """The same."""
    return Torn()


@service.task
async def mumble(ctx: Context) -> str:
    """Says what no message can carry as it is."""
    ctx.progress(0.5, "\udc80" + "much to say " * 10_000)
    return "said"


@service.task(kind="process")
def mumble_in_process(ctx: Context) -> str:
    """The same."""
    ctx.progress(0.5, "\udc80" + "much to say " * 10_000)
    return "said"


@service.task
async def stubborn() -> str:
    """Does not want to be cancelled."""
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        return "all the same"
    return "never"


@service.task
async def sleep(seconds: float) -> str:
    """Waits."""
    await asyncio.sleep(seconds)
    return "woke"


@service.task
async def freeze(seconds: float) -> str:
    """Blocks the loop, as people do."""
    time.sleep(seconds)  # noqa: ASYNC251  # the mistake is the point
    return "thawed"


@service.task
def noop() -> None:
    """Nothing."""


@service.task
def nap(seconds: float) -> str:
    """Cannot be killed."""
    time.sleep(seconds)
    return "rested"


@service.task(kind="process")
def start_program() -> int:
    """A program that a handler starts can be stopped like any other."""
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    program.send_signal(signal.SIGTERM)
    return program.wait(10)
