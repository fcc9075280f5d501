"""The one clock of a coordinator.

Law: time that decides never jumps back. The clock is anchored at Unix time once, when the process starts, and from then on
moves with the system's monotonic clock (one that counts suspended time, where there is one). So instants can be compared
with deadlines of producers, and a correction of the wall clock changes nothing until the next start.
"""

from __future__ import annotations

import time

from orchestrator.vocabulary import Nanos

_BOOT = getattr(time, "CLOCK_BOOTTIME", None)


def steady_ns() -> Nanos:
    """Nanoseconds on a clock that never goes back and counts suspended time."""
    return time.clock_gettime_ns(_BOOT) if _BOOT is not None else time.monotonic_ns()


class Clock:
    """Unix time in ns that never goes back."""

    def __init__(self) -> None:
        self._offset = time.time_ns() - steady_ns()

    def now(self) -> Nanos:
        return self._offset + steady_ns()
