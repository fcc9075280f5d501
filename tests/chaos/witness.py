"""What really ran, from the file that the handlers wrote; and what that means: lost, twice, overlapping, how long nothing moved.

Law: an effect counts as doubled only where that could have been avoided. A worker that was killed, frozen or cut off *between its
attempt's start and the moment its report must have been out* is harmed: it may have had an effect that nobody could know of. Its
second run is counted apart (``again``). With every other one (``twice``) the promise is broken: a second effect of nobody harmed,
and one of a harmed run that began when an effect of nobody harmed was long reported, so that there was nothing left to run.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

NS = 1_000_000_000
REPORTED_WITHIN_NS = 2 * NS
"""A worker that is left in peace has handed its report over by then."""


@dataclass(slots=True)
class Run:
    """One attempt, as its handler told it."""

    task: str
    attempt: str
    pid: int
    began_ns: int
    ended_ns: int = 0
    """0: it never said so."""
    effect: bool = False
    """It came to its end; it was not stopped on the way."""


@dataclass(frozen=True, slots=True)
class Harm:
    """What was done to a process, and from when to when."""

    pid: int
    what: str
    from_ns: int
    until_ns: int

    def excuses(self, run: Run) -> bool:
        """Whether an effect of this attempt could have gone unreported because of it."""
        over_ns = (run.ended_ns or self.from_ns) + REPORTED_WITHIN_NS
        return run.pid == self.pid and run.began_ns <= self.until_ns and self.from_ns <= over_ns


@dataclass(slots=True)
class Account:
    """The witness's verdict on one scenario."""

    effects: set[str] = field(default_factory=set)
    """Tasks that had their effect at all."""
    twice: list[str] = field(default_factory=list)
    """Effects had once more though that could have been avoided, once for each."""
    again: list[str] = field(default_factory=list)
    """Effects had twice because their worker was killed or cut off before it could report."""
    overlaps: list[str] = field(default_factory=list)
    """Attempts of one task that ran at the same time though nobody was harmed."""
    silence_s: float = 0.0
    """The longest time without any effect, from the first fault on."""
    moved_s: list[float] = field(default_factory=list)
    """For each attempt that was cut off in the middle by a kill: after how long its task ran elsewhere."""


def read(file: Path) -> list[Run]:
    """Every attempt, in the order in which they began."""
    runs: dict[tuple[str, str], Run] = {}
    text = file.read_text()
    for line in text[: text.rfind("\n") + 1].splitlines():  # a line that is being written ends at a page of the file
        moment, pid, what, task, attempt = line.split(" ", 4)
        if what == "start":
            runs[task, attempt] = Run(task, attempt, int(pid), int(moment))
        elif (run := runs.get((task, attempt))) is not None:
            run.ended_ns, run.effect = int(moment), what == "end"
    return list(runs.values())


def judge(runs: list[Run], tasks: set[str], harms: list[Harm], from_ns: int, until_ns: int) -> Account:
    """What came of these tasks. ``from_ns``, ``until_ns``: from the first fault to the end of the load."""
    account = Account()
    of_task: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if run.task in tasks:
            of_task[run.task].append(run)
    killed = {harm.pid: harm.from_ns for harm in harms if harm.what == "killed"}
    for task, mine in of_task.items():
        effects = [run for run in mine if run.effect]
        if effects:
            account.effects.add(task)
        unharmed = [run for run in effects if not any(harm.excuses(run) for harm in harms)]
        harmed = [run for run in effects if run not in unharmed]  # who was frozen may come to its end after its successor
        late = [run for run in harmed if any(one.ended_ns + REPORTED_WITHIN_NS < run.began_ns for one in unharmed)]
        twice = max(0, len(unharmed) - 1) + len(late)
        account.twice += [task] * twice
        account.again += [task] * max(0, len(effects) - 1 - twice)
        mine.sort(key=lambda run: run.began_ns)
        for one, other in pairwise(mine):
            over_ns = one.ended_ns or killed.get(one.pid, other.began_ns)
            if other.began_ns < over_ns and not any(harm.excuses(one) or harm.excuses(other) for harm in harms):
                account.overlaps.append(task)
            if not one.ended_ns and one.pid in killed:
                account.moved_s.append((other.began_ns - killed[one.pid]) / NS)
    account.silence_s = silence_s(runs, tasks, from_ns, until_ns)
    return account


def silence_s(runs: list[Run], tasks: set[str], from_ns: int, until_ns: int) -> float:
    """The longest time without any effect of these tasks."""
    moments = sorted(run.ended_ns for run in runs if run.task in tasks and run.effect and from_ns <= run.ended_ns <= until_ns)
    return max((b - a for a, b in pairwise([from_ns, *moments, until_ns])), default=0) / NS
