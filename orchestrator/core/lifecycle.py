"""What may follow what, as tables. What to do about it is code elsewhere; the diagrams in DESIGN.md are drawn from here.

Law: a state changes only through ``follow``; a pair that is not in the table is our mistake and raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

TaskState: TypeAlias = Literal["waiting", "blocked", "deferred", "assigned", "running", "doubtful", "ended"]
TaskStep: TypeAlias = Literal["block", "unblock", "defer", "due", "assign", "started", "adopt", "vacate", "doubt", "end"]

TASK: Mapping[tuple[TaskState, TaskStep], TaskState] = {
    # in the backlog
    ("waiting", "assign"): "assigned",
    ("waiting", "defer"): "deferred",
    ("waiting", "block"): "blocked",
    ("waiting", "adopt"): "running",  # after a takeover an agent answers that it has it
    ("waiting", "doubt"): "doubtful",
    ("waiting", "end"): "ended",
    # not before all its parents have ended (R13)
    ("blocked", "unblock"): "waiting",
    ("blocked", "adopt"): "running",  # an agent says that it has it: it lies, or the ledger has lost what its leader had read
    ("blocked", "end"): "ended",
    # not before a time: a delay its producer asked for, or the back-off of a retry
    ("deferred", "due"): "waiting",
    ("deferred", "adopt"): "running",
    ("deferred", "end"): "ended",
    # sent to an instance; nothing heard of it yet
    ("assigned", "started"): "running",
    ("assigned", "adopt"): "running",
    ("assigned", "vacate"): "waiting",  # returned, refused, stopped, or never arrived: no attempt of it is alive
    ("assigned", "doubt"): "doubtful",
    ("assigned", "end"): "ended",
    # an agent says so
    ("running", "started"): "running",
    ("running", "adopt"): "running",
    ("running", "vacate"): "waiting",
    ("running", "doubt"): "doubtful",
    ("running", "end"): "ended",
    # its instance is gone, what that means for it is being written to the ledger
    ("doubtful", "vacate"): "waiting",
    ("doubtful", "adopt"): "running",
    ("doubtful", "end"): "ended",
}

InstanceState: TypeAlias = Literal["joining", "syncing", "ready", "draining", "deaf", "missing", "gone"]
InstanceStep: TypeAlias = Literal["joined", "resync", "answered", "drain", "deafen", "hear", "miss", "lose"]

INSTANCE: Mapping[tuple[InstanceState, InstanceStep], InstanceState] = {
    ("joining", "joined"): "syncing",  # its Joined is in the ledger
    ("joining", "lose"): "gone",
    ("syncing", "resync"): "syncing",
    ("syncing", "answered"): "ready",
    ("syncing", "miss"): "missing",  # its queue is gone, and its broker's node may be why: it may come back
    ("syncing", "lose"): "gone",
    ("ready", "resync"): "syncing",
    ("ready", "answered"): "ready",
    ("ready", "drain"): "draining",
    ("ready", "deafen"): "deaf",  # beats, but does not drain its queue
    ("ready", "miss"): "missing",
    ("ready", "lose"): "gone",
    ("draining", "resync"): "syncing",
    ("draining", "answered"): "draining",
    ("draining", "drain"): "draining",
    ("draining", "miss"): "missing",
    ("draining", "lose"): "gone",
    ("deaf", "resync"): "syncing",
    ("deaf", "answered"): "ready",
    ("deaf", "hear"): "ready",
    ("deaf", "miss"): "missing",
    ("deaf", "lose"): "gone",
    ("missing", "resync"): "syncing",  # it is heard again, or somebody else leads now: ask
    ("missing", "lose"): "gone",
}


def task_after(state: TaskState, step: TaskStep) -> TaskState:
    """The state of a task after ``step``. Raises AssertionError for a step the table does not know: a bug of ours."""
    try:
        return TASK[state, step]
    except KeyError:
        raise AssertionError(f"a task cannot {step} while it is {state}") from None


def instance_after(state: InstanceState, step: InstanceStep) -> InstanceState:
    """The state of an instance after ``step``. Raises AssertionError for a step the table does not know: a bug of ours."""
    try:
        return INSTANCE[state, step]
    except KeyError:
        raise AssertionError(f"an instance cannot {step} while it is {state}") from None


def diagram(
    table: Mapping[tuple[TaskState, TaskStep], TaskState] | Mapping[tuple[InstanceState, InstanceStep], InstanceState],
) -> str:
    """A table as a Mermaid state diagram."""
    lines = [f"    {old} --> {new}: {step}" for (old, step), new in table.items() if old != new]
    return "\n".join(["stateDiagram-v2", *lines])
