"""Tasks that wait for tasks: what the end of a parent means for its children, and what they are given.

Law: a child goes once the ends of all its parents have been read (R13). What a parent that is not ``done`` means is said by the
edge: the child fails, is skipped, or runs without the parent's value. That is a *verdict*: every reader of the ledger comes to it,
whoever leads writes it, and the first ``Ended`` is the outcome here too. One level of a workflow ends at a time, so what ends a
grandchild is always in the ledger.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from orchestrator.core.custody.records import Grave, Record
from orchestrator.core.custody.sizes import error_bytes
from orchestrator.core.desk import Desk
from orchestrator.core.tasks.families import OnFailure
from orchestrator.core.tasks.settling import settle_down
from orchestrator.vocabulary import Nanos, TaskId
from orchestrator.wire.facts import Ended
from orchestrator.wire.messages import Error, Parent

KINDS = ("parent_failed", "parent_forgotten", "parents_too_large")
"""Of the errors that tasks end with because of their parents."""
OutcomeOfChild: TypeAlias = Literal["failed", "skipped"]
SAID_CHARS = 300
"""Of a parent's own error, in the error of its child."""


def entered(desk: Desk, now: Nanos, record: Record) -> None:
    """A child lives: some of its parents may have ended before it was known."""
    for edge in record.task.after:
        if edge.task in desk.custody.graves:
            _heed(desk, now, record, edge.task, edge.on_failure)
    _complete(desk, now, record)


def parent_over(desk: Desk, now: Nanos, task: TaskId, *, anew: bool = False) -> None:
    """The end of this task was read; ``anew``: it was believed to have ended otherwise, by a late word of a deposed leader."""
    for tie in list(desk.custody.families.ties(task)):
        child = tie.child
        if anew:
            verdict = desk.verdicts.get(child.id)
            if verdict is not None and verdict.error is not None and verdict.error.kind in KINDS:
                del desk.verdicts[child.id]
            entered(desk, now, child)
        else:
            _heed(desk, now, child, task, tie.on_failure)
            _complete(desk, now, child)
        if child.state == "blocked":
            settle_down(desk, now, child)


def has_heirs(desk: Desk, record: Record) -> bool:
    """Whether a child may go once the end of this task is read.

    Then what it held stays with it for that moment, or a task of less worth would take it before the child can ask.
    """
    if record.node is None:
        return False
    ties = desk.custody.families.ties(record.id)
    return any(tie.child.node is not None and len(tie.child.node.missing) == 1 for tie in ties)


def find_parents(desk: Desk, now: Nanos, record: Record) -> None:
    """A leader has read all there is: a parent that is neither alive nor over has been forgotten and will never end."""
    if record.node is None:
        return
    for parent in record.node.missing:
        if parent not in desk.custody.live:
            _condemn(desk, now, record, "failed", _forgotten(parent))
            return


def find_orphans(desk: Desk, now: Nanos) -> None:
    """As ``find_parents``, for all that wait for a parent when a reign begins."""
    custody = desk.custody
    for parent, ties in custody.families.children.items():
        if parent not in custody.live and parent not in custody.graves:
            for tie in ties.values():
                find_parents(desk, now, tie.child)


def inputs(desk: Desk, record: Record) -> list[Parent]:
    """What its parents left, each once, in the order of the edges. All of them are over."""
    given: dict[TaskId, Parent] = {}
    for edge in record.task.after:
        if (known := given.get(edge.task)) is not None:
            known.into.append(edge.into)
            continue
        grave = desk.custody.graves.get(edge.task)
        result = grave.result if grave is not None else None
        value = result.value if result is not None and result.outcome == "done" else None
        error = result.error if result is not None else None
        outcome = grave.outcome if grave is not None else "failed"
        brief = Error(error.kind, error.message[:SAID_CHARS]) if error is not None else None
        given[edge.task] = Parent(edge.task, outcome, value, brief, [edge.into])
    for parent in given.values():
        parent.into[:] = [name for name in parent.into if name]
    return list(given.values())


def parent_bytes(parent: Parent) -> int:
    """What it takes in an assignment."""
    return 300 + len(parent.value or b"") + error_bytes(parent.error)


def _heed(desk: Desk, now: Nanos, child: Record, parent: TaskId, on_failure: OnFailure) -> None:
    """What the end of this parent means for the child at once, whatever the others do."""
    grave = desk.custody.graves[parent]
    if grave.outcome == "done" or on_failure == "continue":
        return
    said = f"its parent {parent!r} ended as {grave.outcome}{_why(grave)}; it was not started"
    if on_failure == "skip":
        _condemn(desk, now, child, "skipped", Error("parent_failed", f"{said}, and is skipped, as its edge asks."))
    else:
        _condemn(desk, now, child, "failed", Error("parent_failed", f"{said}. Submit the workflow again once that is mended."))


def _why(grave: Grave) -> str:
    """Its error in a few words; of one that was not started itself, what its own parent did."""
    error = grave.result.error if grave.result is not None else None
    if error is None:
        return ""
    said = error.message.partition(";")[0] if error.kind == "parent_failed" else f"{error.kind}: {error.message}"
    return f" ({said[:SAID_CHARS]})"


def _complete(desk: Desk, now: Nanos, child: Record) -> None:
    """All parents are over: can what they left be handed on?"""
    if child.node is None or child.node.missing or child.id in desk.verdicts:
        return
    total = 0
    for parent in dict.fromkeys(edge.task for edge in child.task.after):
        grave = desk.custody.graves[parent]
        if grave.outcome == "done":
            if grave.result is None:
                _condemn(desk, now, child, "failed", _forgotten(parent))
                return
            total += len(grave.result.value or b"")
    if total > desk.config.inputs_bytes_max:
        _condemn(desk, now, child, "failed", _too_large(child, total, desk.config.inputs_bytes_max))


def _condemn(desk: Desk, now: Nanos, child: Record, outcome: OutcomeOfChild, error: Error) -> None:
    desk.condemn(child, Ended(child.id, outcome, now, error=error))


def _forgotten(parent: TaskId) -> Error:
    return Error(
        "parent_forgotten",
        f"what its parent {parent!r} returned is no longer kept; it was not started. "
        "Submit the whole workflow again, under new ids.",
    )


def _too_large(child: Record, total: int, most: int) -> Error:
    return Error(
        "parents_too_large",
        f"the values of its {len(child.task.after)} parents take {total:,} bytes together, {most:,} can be handed to one task; "
        "it was not started. Let the parents put what is large into a store and return its address, or gather it in steps.",
    )
