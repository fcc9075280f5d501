"""How many bytes things take in the ledger, estimated from above.

Law: cheap before exact. An entry may not be longer than the broker and every reader allow, and the living must not fill the
ledger: both limits are far enough away that an estimate serves, as long as it forgets nothing that a peer can make long.
"""

from __future__ import annotations

from orchestrator.wire.facts import Accepted, AnyFact, Asked, Carried, Checkpointed, Ended, Failed, Failure, Hold, Tombstone
from orchestrator.wire.messages import Error, Task

FACT_BYTES = 300
"""Of any fact: names, ids, numbers."""
HOLD_BYTES = 250
"""Of a key that is held, besides its text: the task type, a digest."""
TEXT_BYTES = 4
"""Of a character, at most."""


def task_bytes(task: Task) -> int:
    """A task as its producer asked for it."""
    size = FACT_BYTES + len(task.args)
    if task.affinity or task.key:
        size += TEXT_BYTES * (len(task.affinity) + len(task.key))
    if task.labels or task.need or task.after or task.workflow:
        size += 20 + len(task.workflow or "")
        size += sum(TEXT_BYTES * (len(name) + len(text)) for name, text in task.labels.items())
        size += 100 * len(task.need) + sum(150 + TEXT_BYTES * len(edge.into) for edge in task.after)
    return size


def error_bytes(error: Error | None) -> int:
    """An error with its trace."""
    return 0 if error is None else TEXT_BYTES * (len(error.kind) + len(error.message) + len(error.trace))


def failure_bytes(failure: Failure) -> int:
    """A line of a task's story."""
    return FACT_BYTES + error_bytes(failure.error)


def hold_bytes(hold: Hold | None) -> int:
    """A key that is held."""
    return 0 if hold is None else HOLD_BYTES + TEXT_BYTES * (len(hold.tenant) + len(hold.key))


def fact_bytes(fact: AnyFact) -> int:
    """Any fact."""
    match fact:
        case Ended(value=value, error=None, first=None, hold=None):
            return FACT_BYTES if value is None else FACT_BYTES + len(value)
        case Ended(value=value, error=error, first=first, hold=hold):
            return FACT_BYTES + len(value or b"") + error_bytes(error) + len(first or "") + hold_bytes(hold)
        case Accepted(tasks=tasks):
            return FACT_BYTES + sum(map(task_bytes, tasks))
        case Tombstone(value=value, error=error, hold=hold):
            return FACT_BYTES + len(value or b"") + error_bytes(error) + hold_bytes(hold)
        case Failed(error=error):
            return FACT_BYTES + error_bytes(error)
        case Carried(task=task, checkpoint=checkpoint, failures=failures, first=first):
            return FACT_BYTES + task_bytes(task) + len(checkpoint or b"") + sum(map(failure_bytes, failures)) + len(first or "")
        case Checkpointed(state=state):
            return FACT_BYTES + len(state)
        case Asked(what="policy", value=specs):
            return FACT_BYTES + sum(TEXT_BYTES * (len(scope) + len(spec)) for scope, spec in specs.items())
        case Asked(what="limit", value=value):
            return FACT_BYTES + TEXT_BYTES * len(repr(value))
        case _:
            return FACT_BYTES
