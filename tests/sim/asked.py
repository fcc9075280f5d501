"""Small questions for the what-if simulator, and what is read off their answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.sim.whatif import asking
from orchestrator.sim.whatif.books import Books
from orchestrator.sim.whatif.fleet import Fleet
from orchestrator.sim.whatif.question import Question
from orchestrator.traces import Trace, TraceTask, trace_of
from orchestrator.vocabulary import NS_PER_S

DATA = Path(__file__).parents[1] / "data"
ONE = Fleet(1, {"slots": 1.0})


def reference(name: str) -> Any:
    """The content of one file of reference values."""
    return json.loads((DATA / "theory" / f"{name}.json").read_text())


def trace(*tasks: tuple[float, float] | TraceTask) -> Trace:
    """Tasks t0, t1 … that come and run as long as said."""
    made = (one if isinstance(one, TraceTask) else TraceTask(f"t{at}", *one) for at, one in enumerate(tasks))
    return trace_of("test", made)


def ran(asked: Trace, fleet: Fleet = ONE, ordering: str = "fifo", **more: Any) -> Books:
    """The books of a run."""
    policies = {"ordering": ordering, **more.pop("policies", {})}
    return asking.run(asked, fleet, Question(policies, **more))


def seconds(moments: Iterable[int]) -> list[float]:
    """Nanoseconds as seconds; never stays never."""
    return [at / NS_PER_S if at >= 0 else -1.0 for at in moments]


def times(books: Books) -> Mapping[str, tuple[float, float]]:
    """When each task first ran and when it was done."""
    starts, ends = seconds(books.start_ns), seconds(books.finish_ns)
    return {task.id: (starts[at], ends[at]) for at, task in enumerate(books.trace.tasks)}
