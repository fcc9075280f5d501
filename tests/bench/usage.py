"""CPU time and memory of a peer's processes, by role (Linux)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.bench.peers.door import Crew
from tests.processes import cpu_s as cpu_of_one_s
from tests.processes import resident_mb


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
                "mb": max(sum(resident_mb(pid) for pid in members) for members in families),
                "peak_mb": max(sum(resident_mb(pid, peak=True) for pid in members) for members in families),
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
    return sum(cpu_of_one_s(pid, children=True) for pid in members)
