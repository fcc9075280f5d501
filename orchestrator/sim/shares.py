"""What is shared, seen from above: limits of the cluster and single devices, counted from what handlers really do.

Law: it reads orders, the ledger and the beginnings and ends of handlers, and reckons by itself who may have what.

* no limit is exceeded by attempts that run on agents that live, are connected and whose window is open, of tasks that have not
  ended; those that a leader assigned before it had read of the limit are not counted
* no device is used for more than the whole of it, whoever led when its users were assigned
* one reign starts no more than its bucket held and what came in since
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.vocabulary import NS_PER_S, Attempt, Nanos
from orchestrator.wire.facts import Asked, Entry
from orchestrator.wire.messages import Assignment, Range, Task

Limits = Mapping[str, Mapping[str, Any]]


@dataclass(slots=True)
class Run:
    """An attempt whose handler runs."""

    task: Task
    attempt: Attempt
    agent: str
    incarnation: str


@dataclass(slots=True)
class Shares:
    """The observer's books of limits and devices."""

    limits: Limits
    counts_beside: Callable[[Run, Run], bool]
    """Whether the first run counts when the second begins: its agent lives, is connected and may start work, and whoever assigned
    the second could know of it."""
    over: Callable[[str], bool]
    """Whether the ledger says that this task has ended."""
    counts: Counter[str]
    _said: dict[str, int] = field(default_factory=dict)
    """Limits in the ledger, with the offset at which they stand."""
    _given: dict[Attempt, tuple[Assignment, frozenset[str]]] = field(default_factory=dict)
    """What attempts were assigned, and under which limits."""
    _started: dict[tuple[int, str], list[Nanos]] = field(default_factory=dict)
    _runs: dict[Attempt, Run] = field(default_factory=dict)

    def landed(self, offset: int, entry: Entry) -> None:
        """An entry is in the ledger."""
        for fact in entry.facts:
            if isinstance(fact, Asked) and fact.what == "limit":
                self._said.setdefault(fact.value["name"], offset)

    def assigned(self, task: Task, epoch: int, item: Assignment, read_to: int, now: Nanos) -> str | None:
        """A leader that has read so far has this task run; gives what is wrong with it, if anything."""
        attempt = Attempt(epoch, item.n)
        known = frozenset(name for name, offset in self._said.items() if offset < read_to)
        self._given[attempt] = item, known
        for name in sorted(known):
            spec = self.limits[name]
            if "rate" in spec and takes(name, spec, task) is not None:
                times = self._started.setdefault((epoch, name), [])
                times.append(now)
                for back, since_ns in enumerate(reversed(times)):
                    if back + 1 > max(1.0, spec["rate"] / 10) + spec["rate"] * (now - since_ns) / NS_PER_S + 1e-6:
                        return f"limit {name} lets {spec['rate']} through a second, and {back + 1} went since {since_ns} ns"
        return None

    def called(self, run: Run) -> str | None:
        """A handler begins to run; gives what is exceeded by that, if anything."""
        self._runs[run.attempt] = run
        return next((fault for fault in (self._device(run), self._limit(run)) if fault is not None), None)

    def ended(self, attempt: Attempt) -> None:
        """A handler is over."""
        self._runs.pop(attempt, None)

    def died(self, agent: str) -> None:
        """Nothing of this agent runs."""
        for attempt in [one for one, run in self._runs.items() if run.agent == agent]:
            del self._runs[attempt]

    def lost(self, end: int) -> None:
        """All of the ledger from this offset on is gone."""
        self._said = {name: offset for name, offset in self._said.items() if offset < end}
        self._started.clear()

    # --- judging ----------------------------------------------------------------------------------------------------------

    def _device(self, run: Run) -> str | None:
        used: Counter[str] = Counter()
        for other in self._runs.values():
            if other.incarnation == run.incarnation:
                item = self._given[other.attempt][0]
                for name, devices in item.devices.items():
                    used.update(dict.fromkeys(devices, round(1000 * item.grant[name]) // len(devices)))
                    self.counts["devices used"] += 1
        over = [one for one, parts in used.items() if parts > 1000]
        return f"{over[0]} of {run.agent} is used by more than it is, {run.task.id} among others" if over else None

    def _limit(self, run: Run) -> str | None:
        known = self._given[run.attempt][1]
        if not self.counts_beside(run, run) or self.over(run.task.id):
            return None
        for name in sorted(known):
            spec = self.limits[name]
            mine = takes(name, spec, run.task)
            if mine is None:
                continue
            self.counts["limits watched"] += 1
            tasks = amount = 0.0
            for other, key, takes_ in self._others(name, spec, run):
                if key == mine[0]:
                    item = self._given[other.attempt][0]
                    tasks += 1
                    amount += item.grant.get(spec["of"], 0.0) if "of" in spec else takes_
            if "at_once" in spec and tasks > spec["at_once"]:
                return f"{tasks:.0f} run under limit {name} ({mine[0]}), which allows {spec['at_once']}: {run.task.id} is too many"
            if "capacity" in spec and amount > spec["capacity"] + 1e-9:
                return f"{amount} of limit {name} ({mine[0]}) are out, there are {spec['capacity']}: {run.task.id} has too much"
        return None

    def _others(self, name: str, spec: Mapping[str, Any], begins: Run) -> Iterator[tuple[Run, str, float]]:
        """Those that count, the one that begins among them."""
        for run in self._runs.values():
            counts = name in self._given[run.attempt][1] and self.counts_beside(run, begins)
            if counts and not self.over(run.task.id):
                share = takes(name, spec, run.task)
                if share is not None:
                    yield run, *share


def takes(name: str, spec: Mapping[str, Any], task: Task) -> tuple[str, float] | None:
    """Whose share of a limit the task takes, and how much of its own amount; none: it does not concern it."""
    asked = task.need.get(name, 0.0)
    asked = asked.min if isinstance(asked, Range) else asked
    on = spec.get("on", "")
    if not asked and not (on == "*" or (on.endswith("*") and task.type.startswith(on[:-1])) or on == task.type):
        return None
    return task.tenant if spec.get("key") == "tenant" else "", asked
