"""How long tasks will still take, as far as anybody knows.

Law: work that a checkpoint has saved need not be done again; an attempt that runs has less left by as long as it has run. What is
expected of a task that has outlived its estimate is the estimates' affair; of one of which nothing at all is known nothing is said.
"""

from __future__ import annotations

from orchestrator.core.custody.records import Record
from orchestrator.core.desk import Desk
from orchestrator.vocabulary import Nanos


def rest(desk: Desk, record: Record, now: Nanos) -> Nanos | None:
    """Expected run time from now on, in the mean; none: unknown."""
    found = desk.estimates.remaining(record, ran(record, now))
    return found.mean_ns if found.source else None


def long_rest(desk: Desk, record: Record, now: Nanos) -> Nanos | None:
    """Nine of ten such tasks need no longer from now on; none: unknown."""
    found = desk.estimates.remaining(record, ran(record, now))
    return found.long_ns if found.source else None


def ran(record: Record, now: Nanos) -> Nanos:
    """Run time behind it that need not be repeated, if it goes on as it is."""
    if record.started_ns and record.live:
        return record.before_ns + max(0, now - record.started_ns)
    return record.ran_ns
