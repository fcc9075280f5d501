"""The two clocks of an agent: one that decides, one that is shown."""

from __future__ import annotations

import time

from orchestrator.vocabulary import Nanos

_BOOT: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def steady_ns() -> Nanos:
    """Nanoseconds on a clock that never goes back: windows and timeouts are reckoned on it.

    It counts suspended time where the system can. Where it cannot, a window missed in sleep is noticed when it
    has run out on the clock that slept too.
    """
    return time.monotonic_ns() if _BOOT is None else time.clock_gettime_ns(_BOOT)


def unix_ns() -> Nanos:
    """Unix time, for people and for deadlines."""
    return time.time_ns()
