"""What really ran: a file to which every handler appends a line when it starts and when it ends.

It knows nothing of the orchestrator and trusts nobody: ledgers and results say what should have happened, this says what did. One
``write`` of one line on a file opened for appending is never torn or mixed with another's, also by processes that are killed.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

Phase = Literal["start", "end", "raised"]


class Line(NamedTuple):
    """One thing that was seen."""

    at_ns: int
    """Unix time on this machine's clock; all processes of the demo share it."""
    task: str
    attempt: str
    pid: int
    phase: Phase


class Kill(NamedTuple):
    """A process that was killed."""

    at_ns: int
    """Immediately before the signal."""
    pid: int
    instance: str


class Seen(NamedTuple):
    """The verdict over a whole run."""

    attempts: int
    """Handlers that started."""
    twice: tuple[str, ...]
    """Tasks whose handler was completed more than once, or ran at two places at a time."""
    unseen: tuple[str, ...]
    """Tasks said to be done that nobody was seen to complete."""
    moved: tuple[str, ...]
    """Tasks that a killed process was in the middle of, and that another one started again."""
    stuck: tuple[str, ...]
    """Tasks that a killed process was in the middle of, and that nobody started again."""
    reassign_ms: float | None
    """From the first kill to the moment the first of its tasks started elsewhere."""


@contextmanager
def attested(file: Path, task: str, attempt: str) -> Iterator[None]:
    """Write down that this task starts here and now, and how it went."""
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _write(descriptor, task, attempt, "start")
        try:
            yield
        except BaseException:
            _write(descriptor, task, attempt, "raised")
            raise
        _write(descriptor, task, attempt, "end")
    finally:
        os.close(descriptor)


def _write(descriptor: int, task: str, attempt: str, phase: Phase) -> None:
    os.write(descriptor, (json.dumps(Line(time.time_ns(), task, attempt, os.getpid(), phase)) + "\n").encode())


class Reader:
    """Reads the file as it grows."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset = 0
        self._lines: list[Line] = []

    def lines(self) -> list[Line]:
        """Everything seen so far, in the order in which it was written."""
        if self._file.exists():
            with self._file.open("rb") as handle:
                handle.seek(self._offset)
                fresh = handle.read()
            whole = fresh[: fresh.rfind(b"\n") + 1]
            self._offset += len(whole)
            self._lines += [Line(*json.loads(line)) for line in whole.splitlines()]
        return self._lines


def work_of(lines: list[Line], pid: int) -> tuple[set[str], set[str]]:
    """What a process is in the middle of, and what it has completed."""
    started = {line.task for line in lines if line.pid == pid and line.phase == "start"}
    completed = {line.task for line in lines if line.pid == pid and line.phase == "end"}
    left = {line.task for line in lines if line.pid == pid and line.phase != "start"}
    return started - left, completed


def judge(lines: list[Line], done: Collection[str], kills: Collection[Kill]) -> Seen:
    """What became of the tasks that are said to be ``done``, with these processes killed on the way."""
    runs = _runs(lines, {kill.pid: kill.at_ns for kill in kills})
    twice = [task for task, tries in runs.items() if sum(run.completed for run in tries) > 1 or _overlap(tries)]
    completed = {task for task, tries in runs.items() if any(run.completed for run in tries)}
    moved: list[str] = []
    stuck: list[str] = []
    delays: list[float] = []
    for kill in kills:
        for task, tries in runs.items():
            if not any(run.pid == kill.pid and run.cut for run in tries):
                continue
            again = [run.began_ns for run in tries if run.pid != kill.pid and run.began_ns > kill.at_ns]
            (moved if again else stuck).append(task)
            delays += [(began - kill.at_ns) / 1e6 for began in again]
    return Seen(
        attempts=sum(map(len, runs.values())),
        twice=tuple(sorted(twice)),
        unseen=tuple(sorted(set(done) - completed)),
        moved=tuple(sorted(moved)),
        stuck=tuple(sorted(stuck)),
        reassign_ms=round(min(delays), 3) if delays else None,
    )


class _Run(NamedTuple):
    """One try at a task, as seen."""

    pid: int
    began_ns: int
    ended_ns: float
    completed: bool
    cut: bool
    """It died with its process."""


def _runs(lines: list[Line], deaths: dict[int, int]) -> dict[str, list[_Run]]:
    ends = {(line.task, line.attempt, line.pid): line for line in lines if line.phase != "start"}
    runs: defaultdict[str, list[_Run]] = defaultdict(list)
    for line in lines:
        if line.phase != "start":
            continue
        end = ends.get((line.task, line.attempt, line.pid))
        death = deaths.get(line.pid)
        if end is not None:
            runs[line.task].append(_Run(line.pid, line.at_ns, end.at_ns, end.phase == "end", False))
        else:  # killed in the middle of it, or still at it
            runs[line.task].append(
                _Run(line.pid, line.at_ns, death if death is not None else float("inf"), False, death is not None)
            )
    return runs


def _overlap(tries: list[_Run]) -> bool:
    """Whether two tries ran at the same time."""
    ordered = sorted(tries, key=lambda run: run.began_ns)
    return any(later.began_ns < earlier.ended_ns for earlier, later in pairwise(ordered))
