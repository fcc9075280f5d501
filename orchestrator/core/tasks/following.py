"""Tasks that follow another one, because that one came first with the same key: what its end means for them (R16).

Law: a follower ends as the first one did, with its value or error. That is a *verdict*, as with the children of workflows: every
reader of the ledger comes to it, whoever leads writes it. Other arguments under a held key are refused: before they are accepted
where the key is known to be held, and by verdict where it turns out so when they are read.
"""

from __future__ import annotations

from msgspec.structs import replace

from orchestrator.core.custody.custody import FORGOTTEN
from orchestrator.core.custody.records import Grave, Record
from orchestrator.core.desk import Desk
from orchestrator.core.tasks import claims
from orchestrator.core.tasks.keys import Held, digest_of, name_of, named
from orchestrator.core.tasks.settling import OTHER_FIRST, settle_down, stop_live
from orchestrator.vocabulary import Nanos, TaskId
from orchestrator.wire.facts import Ended
from orchestrator.wire.messages import Error, Result, Task


def entered(desk: Desk, now: Nanos, record: Record) -> None:
    """A task lives that follows another one, which may be over already."""
    first = desk.custody.keys.leaders[record.id]
    other = desk.custody.live.get(first)
    hold = desk.custody.keys.by_task.get(first)
    if hold is not None and hold.digest != digest_of(record.task):
        desk.condemn(record, Ended(record.id, "refused", now, error=taken(desk, record.task, hold)))
    elif other is None and (grave := desk.custody.graves.get(first)) is not None:
        _end(desk, now, record, first, grave)
    else:
        desk.counts["shared"] += 1


def first_over(desk: Desk, now: Nanos, first: TaskId, *, anew: bool = False) -> None:
    """The end of a task was read that others may follow; ``anew``: it was believed to have ended otherwise."""
    for name in list(desk.custody.keys.followers.get(first, ())):
        record = desk.custody.live.get(name)
        if record is None:
            continue
        if anew and (verdict := desk.verdicts.get(name)) is not None and verdict.first == first:
            del desk.verdicts[name]
        _end(desk, now, record, first, desk.custody.graves[first])


def yield_keys(desk: Desk, now: Nanos) -> None:
    """Tasks that were believed to hold a key follow from now on: what ran of them is recalled."""
    usurpers, desk.custody.usurpers = desk.custody.usurpers, []
    for name in usurpers:
        record = desk.custody.live.get(name)
        if record is None:
            continue
        if (verdict := desk.verdicts.get(name)) is not None and verdict.first not in (None, desk.custody.keys.leaders[name]):
            del desk.verdicts[name]
        entered(desk, now, record)
        if record.live:
            stop_live(desk, record, OTHER_FIRST)
        elif record.state in ("waiting", "deferred", "blocked"):
            settle_down(desk, now, record)


def find_orphans(desk: Desk, now: Nanos) -> None:
    """A leader has read all there is: whoever follows a task that is neither alive nor over is on its own."""
    custody = desk.custody
    for name in [one for one, first in custody.keys.leaders.items() if first not in custody.live and first not in custody.graves]:
        if (record := custody.live.get(name)) is not None:
            claims.leave(custody, record)
            settle_down(desk, now, record)


def answer_now(desk: Desk, now: Nanos, task: Task) -> Result | None:
    """The result for a task that comes with the key of one that is done; none: it must be accepted to hear more."""
    if not named(task):
        return None
    hold = desk.custody.keys.held.get(name_of(task))
    if hold is None or hold.until_ns is None:
        return None
    kept = desk.custody.has_result(hold.task)
    if desk.custody.keys.holder(task, now, kept) is None or hold.digest != digest_of(task):
        return None
    result = _result(hold.task, desk.custody.graves[hold.task])
    return replace(result, task=task.id, accepted_ns=now, ended_ns=now, first=hold.task)


def refusal(desk: Desk, now: Nanos, task: Task) -> Error | None:
    """Why a task cannot be taken under its key; none: it can."""
    if not named(task):
        return None
    if not task.key and any(edge.into for edge in task.after):
        return Error(
            "bad_key",
            "its result cannot be cached by its arguments, since parents give it some: give it a key that says which it is",
        )
    hold = desk.custody.keys.holder(task, now)
    return taken(desk, task, hold) if hold is not None and hold.digest != digest_of(task) else None


def taken(desk: Desk, task: Task, hold: Held) -> Error:
    """What is said of other arguments under a key that is held."""
    lives = desk.custody.live.get(hold.task)
    state = lives.state if lives is not None else "done"
    return Error(
        "key_taken",
        f"task {hold.task!r} ({state}) holds the key {task.key!r} for {task.type} with other arguments; this one was not taken. "
        "Give other work a key of its own.",
    )


def _end(desk: Desk, now: Nanos, record: Record, first: TaskId, grave: Grave) -> None:
    result = _result(first, grave)
    desk.condemn(
        record,
        Ended(
            record.id, result.outcome, now, None, result.value, result.error, result.instance,
            started_ns=result.started_ns, first=first,
        ),
    )  # fmt: skip


def _result(first: TaskId, grave: Grave) -> Result:
    """What the first one left."""
    if grave.result is None:
        message = f"task {first!r}, which came first with the same key, ended as {grave.outcome}; its result is no longer kept"
        return Result(first, grave.outcome, error=Error(FORGOTTEN, message))
    error = grave.result.error
    if error is not None or grave.outcome != "done":
        said = f"{error.kind}: {error.message}" if error is not None else "as was asked"
        message = f"task {first!r}, which came first with the same key, ended as {grave.outcome} ({said})"
        error = Error(error.kind if error is not None else grave.outcome, message[:4000], error.trace if error is not None else "")
    return Result(
        first, grave.outcome, grave.result.value, error, instance=grave.result.instance, started_ns=grave.result.started_ns,
    )  # fmt: skip
