"""Everything that may change an agent's mind. Frozen data; time comes beside it, as ``now_ns`` of the step.

Times inside events (``at_ns``) are Unix time and cargo: passed on, never compared.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from orchestrator.vocabulary import Attempt, Nanos
from orchestrator.wire.messages import Echo, Error, Orders


class _Event(Struct, frozen=True, tag=True):
    """Tagged with its name: the words of a job cross from other processes as bytes."""


class TimePassed(_Event, frozen=True):
    """Nothing happened but time; also how the first step of all is made."""


class WallClock(_Event, frozen=True):
    """Unix time at this step's now.

    A task's deadline is Unix time, so the agent must know how far the two are apart.
    """

    unix_ns: Nanos


class Connected(_Event, frozen=True):
    """A connection is open, the queue of this (new, never used before) incarnation declared, bound and consumed."""

    incarnation: str


class Disconnected(_Event, frozen=True):
    """The answer to ``Connect`` or ``CloseConnection``, or bad news: there is no connection (any more)."""

    reason: str = ""


class Ordered(_Event, frozen=True):
    orders: Orders


class Echoed(_Event, frozen=True):
    echo: Echo


class JobStarted(_Event, frozen=True):
    """The handler is being called now."""

    attempt: Attempt
    at_ns: Nanos = 0


class JobLate(_Event, frozen=True):
    """The window that allowed this start was over when the handler was about to be called; nothing ran."""

    attempt: Attempt


class JobDone(_Event, frozen=True):
    attempt: Attempt
    value: bytes = b"\xc0"
    at_ns: Nanos = 0


class JobFailed(_Event, frozen=True):
    attempt: Attempt
    error: Error
    retry: bool = True
    at_ns: Nanos = 0


class JobStopped(_Event, frozen=True):
    """It was told to stop and has: nothing of it runs."""

    attempt: Attempt


class Progressed(_Event, frozen=True):
    attempt: Attempt
    fraction: float | None = None
    text: str = ""
    at_ns: Nanos = 0


class Checkpointed(_Event, frozen=True):
    attempt: Attempt
    state: bytes
    at_ns: Nanos = 0


class DrainAsked(_Event, frozen=True):
    """Take no new work, let what runs finish within the grace period, leave. Asked again: the shorter grace holds."""

    grace_ns: Nanos
    reason: str = ""


class QuitAsked(_Event, frozen=True):
    """Stop everything and end at once."""


class Flushed(_Event, frozen=True):
    """A publish with this token came back: confirmed (or written, for a soft one), or not."""

    token: int
    ok: bool = True


Event: TypeAlias = (
    TimePassed
    | WallClock
    | Connected
    | Disconnected
    | Ordered
    | Echoed
    | JobStarted
    | JobLate
    | JobDone
    | JobFailed
    | JobStopped
    | Progressed
    | Checkpointed
    | DrainAsked
    | QuitAsked
    | Flushed
)
