"""CPU time and memory of a peer's processes, by role (Linux)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.bench.peers.door import Crew

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Usage:
    """A look now and then at what each role has used since the look before. This process itself is the role ``producer``."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._before: dict[str, tuple[float, float]] = {}
        self.look()

    def look(self) -> dict[str, dict[str, Any]]:
        """Of each role: processes, seconds since the last look, CPU seconds of all of them, resident memory of the largest, now
        and at its peak, in MB. The children of a process (a pool's) count as its own.
        """
        now = time.perf_counter()
        roles = {role: [family(process.pid) for process in processes] for role, processes in self._crew.roles.items()}
        roles["producer"] = [[os.getpid()]]
        told: dict[str, dict[str, Any]] = {}
        for role, families in roles.items():
            spent_s = sum(cpu_s(members) for members in families)
            before_s, at = self._before.get(role, (spent_s, now))
            self._before[role] = (spent_s, now)
            told[role] = {
                "processes": len(families),
                "elapsed_s": now - at,
                "cpu_s": spent_s - before_s,
                "mb": max(sum(_mb(pid, "VmRSS") for pid in members) for members in families),
                "peak_mb": max(sum(_mb(pid, "VmHWM") for pid in members) for members in families),
            }
        return told


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    members = [pid]
    for one in members:
        try:
            tasks = list(Path(f"/proc/{one}/task").iterdir())
        except OSError:
            continue
        for task in tasks:
            with suppress(OSError):
                members += map(int, (task / "children").read_text().split())
    return members


def cpu_s(members: Iterable[int]) -> float:
    """User and system time of these processes, and of their children that have ended."""
    ticks = 0
    for pid in members:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks * _TICK_S


def _mb(pid: int, what: str) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(what):
                return int(line.split()[1]) / 1024
    return 0.0
