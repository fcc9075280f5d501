"""How long tasks run: what is expected of each, before it starts.

Law: soft. Whatever stands here may be wrong and costs at most time, never a task.
"""

from __future__ import annotations

from typing import NamedTuple

from orchestrator.core.records import Record
from orchestrator.vocabulary import NS_PER_S, Nanos, Service, TaskType


class Estimate(NamedTuple):
    """What is expected of a task's run time."""

    mean_ns: Nanos
    long_ns: Nanos
    """Nine of ten need no longer."""
    error: float
    """Typical relative error, as seen so far; nan: nothing was seen."""
    samples: float
    source: str


class Estimates:
    """What was learned of run times. Times in ns."""

    def __init__(self) -> None:
        self.hints: dict[TaskType, Nanos] = {}
        """What handlers say of their tasks."""

    def hint(self, type_: TaskType, estimate_ns: Nanos | None) -> None:
        """What a handler says of its tasks."""
        if estimate_ns:
            self.hints[type_] = estimate_ns
        else:
            self.hints.pop(type_, None)

    def expect(self, record: Record) -> Estimate:
        """The run time of this task, from its start."""
        hint = record.task.estimate_ns or self.hints.get(record.task.type) or NS_PER_S
        return Estimate(hint, hint, float("nan"), 0, "hint")

    def remaining(self, record: Record) -> Estimate:
        """The run time that is still before this task, should it start now."""
        return self.expect(record)

    def typical_ns(self, service: Service) -> Nanos:
        """How long tasks of this service run, roughly: a power of two (seconds) near the mean."""
        return NS_PER_S
