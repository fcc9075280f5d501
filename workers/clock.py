"""The two clocks of an agent: one that decides, one that is shown."""

from __future__ import annotations

import os
import time

from orchestrator.vocabulary import Nanos

_OFFSET_NS = "WORKERS_UNIX_OFFSET_NS"
_BOOT: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def steady_ns() -> Nanos:
    """Nanoseconds on a clock that never goes back: windows and timeouts are reckoned on it.

    It counts suspended time where the system can. Where it cannot, a window missed in sleep is noticed when it
    has run out on the clock that slept too.
    """
    return time.monotonic_ns() if _BOOT is None else time.clock_gettime_ns(_BOOT)


_OFFSET: Nanos = int(os.environ.get(_OFFSET_NS, 0)) or time.time_ns() - steady_ns()


def unix_ns() -> Nanos:
    """Unix time, for people and for deadlines: as it was when the agent started, and moved on with the steady clock. A correction
    of the system's clock in the middle of an attempt would be taken for its run time."""
    return _OFFSET + steady_ns()


def handed_on() -> dict[str, str]:
    """What the environment of a child process must say, so that its Unix time is ours."""
    return {_OFFSET_NS: str(_OFFSET)}
