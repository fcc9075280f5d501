"""What a handler may know of the task it runs, and say of it while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

from msgspec import Struct

from orchestrator.vocabulary import Attempt, Nanos, seconds
from orchestrator.wire.codec import unpack
from orchestrator.wire.messages import Error
from orchestrator.wire.values import clip
from workers.clock import unix_ns
from workers.errors import Stopped
from workers.packing import packed

PROGRESS_CHARS = 200
"""Of a progress text: a line for a table."""


class Given(Struct, frozen=True):
    """How a parent of the task ended, as it came."""

    task: str
    outcome: str
    value: bytes | None = None
    error: Error | None = None
    into: list[str] = []

    def read(self) -> Any:
        """The value; None if there is none. Raises ``CannotUnpack``."""
        return None if self.value is None else unpack(self.value)


class Parent(Struct, frozen=True):
    """How a parent of the task ended."""

    outcome: str
    """``done``; or ``failed``, ``skipped``, ``cancelled``, ``expired``, if the task is to run all the same."""
    value: Any = None
    """What its handler returned; None if it is not done."""
    error: Error | None = None
    """Not done: why (``kind`` and ``message``)."""


class About(Struct, frozen=True):
    """The facts of one attempt. Plain data: it crosses into processes."""

    task: str
    type: str
    attempt: Attempt
    number: int
    grant: dict[str, float]
    instance: str
    tenant: str = ""
    deadline_ns: Nanos | None = None
    timeout_ns: Nanos | None = None
    checkpoint: bytes | None = None
    parents: list[Given] = []
    devices: dict[str, list[str]] = {}


Progress: TypeAlias = Callable[[float | None, str], None]
Save: TypeAlias = Callable[[bytes], None]


class Context:
    """Handed to every handler that has a parameter annotated ``Context``.

    Works alike in async, thread and process handlers.
    """

    def __init__(self, about: About, on_progress: Progress, on_checkpoint: Save) -> None:
        """Made by the job runner, or by a test of a handler."""
        self._about = about
        self._on_progress = on_progress
        self._on_checkpoint = on_checkpoint
        self._asked = threading.Event()
        self._cancelled = False
        self._parents: dict[str, Parent] | None = None
        self._sleepers: list[Callable[[], object]] = []

    # --- to know ----------------------------------------------------------------------------------

    @property
    def task(self) -> str:
        """The task's id: the same in every attempt. The right key for making side effects idempotent."""
        return self._about.task

    @property
    def type(self) -> str:
        """``service.handler``."""
        return self._about.type

    @property
    def attempt(self) -> Attempt:
        """The name of this attempt, unique for ever and rising.

        The right fencing token for whatever is written outside.
        """
        return self._about.attempt

    @property
    def number(self) -> int:
        """Which try of the task this is, from 1."""
        return self._about.number

    @property
    def grant(self) -> Mapping[str, float]:
        """What this attempt was granted of each resource."""
        return self._about.grant

    @property
    def devices(self) -> Mapping[str, list[str]]:
        """Which devices the grant is of, by resource, where the service names them: whole ones are this attempt's alone.

        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(ctx.devices["gpu"])  # in a handler of kind ``process``
        """
        return self._about.devices

    @property
    def instance(self) -> str:
        """Name of the service instance that runs it."""
        return self._about.instance

    @property
    def tenant(self) -> str:
        """Whose task it is; empty: nobody said."""
        return self._about.tenant

    @property
    def deadline_s(self) -> float | None:
        """Seconds until the task's deadline (negative: past); none: it has none."""
        return None if self._about.deadline_ns is None else seconds(self._about.deadline_ns - unix_ns())

    @property
    def timeout_s(self) -> float | None:
        """Longest run of this attempt in seconds, enforced by the agent; none: unlimited."""
        return None if self._about.timeout_ns is None else seconds(self._about.timeout_ns)

    @property
    def resumed(self) -> Any:
        """What an earlier attempt saved last with ``checkpoint``; None: nothing, begin at the beginning."""
        return None if self._about.checkpoint is None else unpack(self._about.checkpoint)

    @property
    def parents(self) -> Mapping[str, Parent]:
        """Of a task in a workflow: how each of its parents ended, by id, in the order of its edges.

        Raises ``CannotUnpack`` if what one of them returned cannot be read.
        """
        if self._parents is None:
            self._parents = {one.task: Parent(one.outcome, one.read(), one.error) for one in self._about.parents}
        return self._parents

    # --- to say -----------------------------------------------------------------------------------

    def progress(self, fraction: float | None = None, text: str = "") -> None:
        """How far it is, ``fraction`` from 0 to 1, and a line for people.

        May be called often; only the newest is sent. A long line loses its middle.
        """
        if fraction is not None and not 0 <= fraction <= 1:
            raise ValueError(f"progress is {fraction!r}: say it as a fraction from 0 to 1")
        self._on_progress(None if fraction is None else float(fraction), clip(str(text), PROGRESS_CHARS))

    def checkpoint(self, state: Any) -> None:
        """Save work worth keeping: plain values, at most 1 MiB packed. The next attempt finds it in ``resumed``.

        Raises ``CannotPack`` for what no message can carry.
        """
        self._on_checkpoint(packed(state, "checkpoint"))

    def checkpoint_or_stop(self, state: Any) -> None:
        """Save a checkpoint and, if a stop was asked, end here: the one line that makes a long handler preemptible.

            for frame in range(ctx.resumed or 0, frames):
                ctx.checkpoint_or_stop(frame)
                render(frame)

        Work since the last call is done again by the next attempt. Raises ``Stopped`` (let it pass) and ``CannotPack``.
        """
        self.checkpoint(state)
        if self.should_stop:
            raise Stopped

    # --- to be told to stop -----------------------------------------------------------------------

    @property
    def should_stop(self) -> bool:
        """The attempt is wanted to end soon: save a checkpoint and ``raise Stopped``, or finish if that is nearer.

        Asked when a more urgent task needs the place, when the instance is about to leave, and always before
        ``cancelled``.
        """
        return self._asked.is_set()

    @property
    def cancelled(self) -> bool:
        """Nobody wants the attempt any more.

        Async handlers are cancelled and processes killed; a thread must look here.
        """
        return self._cancelled

    def wait(self, timeout_s: float) -> bool:
        """Sleep, in a thread or a process, until a stop is asked or the time is over. Returns ``should_stop``."""
        return self._asked.wait(timeout_s)

    async def sleep(self, timeout_s: float) -> bool:
        """The same for async handlers: the loop goes on meanwhile. Returns ``should_stop``."""
        import asyncio  # whoever awaits this has it: a module with a service in it stays light to import

        loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        wake = partial(loop.call_soon_threadsafe, woken.set)
        self._sleepers.append(wake)
        try:
            if not self._asked.is_set():  # or it was asked before there was anybody to wake
                async with asyncio.timeout(timeout_s):
                    await woken.wait()
        except TimeoutError:
            pass
        finally:
            self._sleepers.remove(wake)
        return self.should_stop

    def ask_to_stop(self, cancelled: bool) -> None:
        """For the job runner: it was told to stop this attempt."""
        self._cancelled = self._cancelled or cancelled
        self._asked.set()
        for wake in list(self._sleepers):
            with suppress(RuntimeError):  # the handler has ended meanwhile, and its loop with it
                wake()

    @property
    def given(self) -> list[Given]:
        """For the job runner: what parents left, some of it as arguments."""
        return self._about.parents
