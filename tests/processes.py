"""Watching processes that are not children of the test: who belongs to a directory, when they have ended, what they weigh and use.
Linux only.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int, *, peak: bool = False) -> float:
    """Resident memory of a process, now or at its peak; 0 if it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines():
            if line.startswith("VmHWM:" if peak else "VmRSS:"):
                return int(line.split()[1]) / 1024
    return 0.0


def cpu_s(pid: int, *, children: bool = False) -> float:
    """User and system time of a process, with those of its children that have ended if wanted; 0 if it has ended itself."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return sum(map(int, fields[11 : 15 if children else 13])) * _TICK_S
    return 0.0


def below(directory: Path) -> set[int]:
    """Processes whose environment or command line names something below ``directory``."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if os.fsencode(directory) in (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes():
                    found.add(int(entry.name))
    return found


@contextmanager
def watched(processes: set[int]) -> Iterator[list[int]]:
    """A descriptor for each of them that becomes readable when it ends."""
    descriptors = []
    try:
        for process in processes:
            with suppress(ProcessLookupError):
                descriptors.append(os.pidfd_open(process))
        yield descriptors
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def all_end(descriptors: list[int], within_s: float) -> bool:
    """Wait until all of them have ended; False if some have not."""
    until, left = time.monotonic() + within_s, set(descriptors)
    while left and time.monotonic() < until:
        ended, _, _ = select.select(list(left), [], [], max(0.0, until - time.monotonic()))
        left -= set(ended)
    return not left
