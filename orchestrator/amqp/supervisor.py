"""One session after another, through the same door.

Law: a session is entered whole, and left whole before the next is entered. Nothing of the old one is carried over by
this file; what must survive (the core, finished reports) belongs to whoever calls.

The wait before the next attempt begins short, since most losses are one broken socket or a broker that restarts, and
doubles up to a few seconds, with jitter, so that a thousand agents do not come back in the same instant. It begins
short again only after a session that lasted: one that breaks at once every time must not become a busy loop. What only
a person can cure (a wrong password, a missing virtual host) is tried at the slowest pace from the start, and said as
such.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import TypeAlias, TypeVar

from orchestrator.amqp.errors import (
    OPERATOR_MUST_ACT,
    AccessRefused,
    Broken,
    BrokenBy,
    CannotConnect,
    LinkLost,
    Missing,
    NoAnswer,
    NotYet,
)
from orchestrator.amqp.link import Link

T = TypeVar("T")
_NUMBER = re.compile(r"\d+")

CANCEL_AGAIN_S = 2.0
"""A run that was cancelled and has not ended by then is cancelled again."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait between sessions, in seconds."""

    first_s: float = 0.1
    factor: float = 2.0
    most_s: float = 5.0
    steady_s: float = 10.0
    """A session that lasted so long ended by accident: the wait begins at ``first_s`` again."""

    def wait_s(self, attempt: int, rng: Random) -> float:
        """The wait after the ``attempt``-th failure in a row (1, 2, …): half of it certain, half by chance."""
        full = min(self.most_s, self.first_s * self.factor ** min(attempt - 1, 60))
        return full * (0.5 + rng.random() / 2)


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """A session begins; ``run`` is called with it."""

    session: int
    server_version: str

    def __str__(self) -> str:
        return f"Session {self.session} with the broker (RabbitMQ {self.server_version}) is open."


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """A session broke; the next attempt is in ``retry_in_s``."""

    session: int
    broken: Broken
    retry_in_s: float

    @property
    def trouble(self) -> str:
        """The same for what is the same trouble: without numbers (of sessions, of offsets)."""
        return _NUMBER.sub("#", f"{self.broken.by.value} {self.broken.where} {self.broken.reason}")

    def __str__(self) -> str:
        return f"{self.broken} Session {self.session} is closed; the next one is tried in {self.retry_in_s:.1f} s."


@dataclass(frozen=True, slots=True)
class OpenFailed:
    """No session could be opened; the next attempt is in ``retry_in_s``."""

    error: CannotConnect
    retry_in_s: float

    @property
    def trouble(self) -> str:
        """The same for what is the same trouble."""
        return f"{self.error.fault.value} {self.error.address}"

    @property
    def operator_must_act(self) -> bool:
        """Waiting cures nothing: a setting is wrong, here or at the broker."""
        return self.error.fault in OPERATOR_MUST_ACT

    def __str__(self) -> str:
        hope = "Waiting does not cure this; it" if self.operator_must_act else "It"
        return f"{self.error} {hope} is tried again in {self.retry_in_s:.1f} s."


SessionEvent: TypeAlias = SessionOpened | SessionEnded | OpenFailed


async def keep_session(
    open: Callable[[], Awaitable[Link]],
    run: Callable[[Link], Awaitable[T]],
    *,
    rng: Random,
    on_event: Callable[[SessionEvent], None],
    backoff: Backoff | None = None,
) -> T:
    """Open a session and ``run`` with it, again and again until ``run`` returns by itself; its result is ours.

    When the session breaks, ``run`` is cancelled and awaited, then the link is closed, and the next one begins after
    the backoff's wait and ``Broken.wait_s``, whichever is longer. A ``run`` that raises LinkLost or NoAnswer ended with
    its session; so did one that raises Missing (nobody has declared yet what it needs, or it was deleted) or NotYet
    (the broker is still making it), and one that raises AccessRefused, unless that was in the first session before it
    was steady: a right that was taken away may be given back, one that never was is a mistake. Whatever else it raises,
    and the exception of a sink that failed, is a crash and is raised here, after the link is closed. To stop from
    outside, cancel.
    """
    backoff = backoff or Backoff()
    loop = asyncio.get_running_loop()
    failures = 0
    served = False
    while True:
        try:
            link = await open()
        except CannotConnect as error:
            failures += 1
            wait_s = backoff.wait_s(1_000 if error.fault in OPERATOR_MUST_ACT else failures, rng)
            on_event(OpenFailed(error, wait_s))
            await asyncio.sleep(wait_s)
            continue
        began = loop.time()
        on_event(SessionOpened(link.session, link.server_version))
        try:
            ended = await _one(link, run)
        except AccessRefused as error:
            if not served and loop.time() - began < backoff.steady_s:
                raise
            ended = Broken(BrokenBy.REFUSED, f"session {link.session}", str(error))
        finally:
            await link.close()
        if not isinstance(ended, Broken):
            return ended[0]
        served = served or ended.by is not BrokenBy.REFUSED
        if ended.by is BrokenBy.BUG and ended.error is not None:
            raise ended.error
        failures = 1 if loop.time() - began >= backoff.steady_s else failures + 1
        wait_s = max(backoff.wait_s(failures, rng), ended.wait_s)
        on_event(SessionEnded(link.session, ended, wait_s))
        await asyncio.sleep(wait_s)


async def _one(link: Link, run: Callable[[Link], Awaitable[T]]) -> tuple[T] | Broken:
    """Run until it is done by itself (its result, wrapped), or the session is over."""
    broken = link.broken
    task = asyncio.ensure_future(run(link))
    try:
        await asyncio.wait((task, broken), return_when=asyncio.FIRST_COMPLETED)
        cut_short = not task.done()
    finally:
        broken.cancel()
        while not task.done():  # a request under way may swallow a cancellation; the next one it cannot
            task.cancel()
            await asyncio.wait((task,), timeout=CANCEL_AGAIN_S)
    error = None if task.cancelled() else task.exception()
    if isinstance(error, LinkLost):
        return error.broken
    if isinstance(error, NoAnswer | Missing | NotYet):
        return Broken(BrokenBy.REFUSED, f"session {link.session}", str(error))
    if error is not None:
        raise error
    if link.is_broken and (cut_short or task.cancelled()):
        return link.broken.result()
    return (task.result(),)  # raises CancelledError if the run gave itself up
