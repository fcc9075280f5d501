"""Which rows of the lifecycle tables a run walked through: the tables count how often they are asked.

Law: nothing is added to the machines; the tables they look into are put in place of the plain ones while a swarm runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from orchestrator.core import lifecycle as coordinator
from workers.core import lifecycle as agent


class _Rows(dict[Any, Any]):
    """A table of (state, step) -> state that counts its rows."""

    def __init__(self, name: str, rows: Any, seen: Counter[str]) -> None:
        super().__init__(rows)
        self._name = name
        self._seen = seen

    def __getitem__(self, row: Any) -> Any:
        found = super().__getitem__(row)
        self._seen[f"{self._name}: {row[0]} {row[1]}"] += 1
        return found


class _Next(frozenset[Any]):
    """The states that may follow one state, counting which do."""

    name: str
    seen: Counter[str]

    def __contains__(self, state: object) -> bool:
        found = super().__contains__(state)
        if found:
            self.seen[f"{self.name} -> {state}"] += 1
        return found


def _next(name: str, states: frozenset[Any], seen: Counter[str]) -> _Next:
    counting = _Next(states)
    counting.name, counting.seen = name, seen
    return counting


def all_rows() -> list[str]:
    """Every row of every table, by name."""
    rows = [f"task: {state} {step}" for state, step in coordinator.TASK]
    rows += [f"instance: {state} {step}" for state, step in coordinator.INSTANCE]
    rows += [f"phase: {old} -> {new}" for old, after in agent.PHASES.items() for new in sorted(after)]
    return rows + [f"attempt: {old} -> {new}" for old, after in agent.STATES.items() for new in sorted(after)]


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """Count the rows that are walked through meanwhile."""
    seen: Counter[str] = Counter()
    # the modules' tables are constants to everybody else, hence the casts to Any
    ours: Any = coordinator
    theirs: Any = agent
    kept = ours.TASK, ours.INSTANCE, theirs.PHASES, theirs.STATES
    ours.TASK, ours.INSTANCE = _Rows("task", kept[0], seen), _Rows("instance", kept[1], seen)
    theirs.PHASES = {old: _next(f"phase: {old}", after, seen) for old, after in kept[2].items()}
    theirs.STATES = {old: _next(f"attempt: {old}", after, seen) for old, after in kept[3].items()}
    try:
        yield seen
    finally:
        ours.TASK, ours.INSTANCE, theirs.PHASES, theirs.STATES = kept
