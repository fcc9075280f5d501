"""Who gets a key when a task is read that wants it (R16).

Law: the first in ledger order, whatever is read first: who begins to read in the middle may meet the second before the first one's
record comes by, written again. Then the second has held the key in that reader's books for a while, and gives it up; or it is over
by then, cancelled, and those that seemed to follow it follow the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from orchestrator.core.custody.records import Record
from orchestrator.core.tasks.keys import Name, name_of
from orchestrator.vocabulary import Nanos, TaskId
from orchestrator.wire.facts import Carried, Hold
from orchestrator.wire.messages import Task

if TYPE_CHECKING:
    from orchestrator.core.custody.custody import Custody


def take(books: Custody, record: Record, keep_ns: Nanos) -> None:
    """A live task holds its key, or follows who came first; whoever came later and was read before follows it."""
    keys = books.keys
    held = keys.held.get(name_of(record.task))
    other = books.live.get(held.task) if held is not None else None
    if other is not None and (other.accepted, other.index) > (record.accepted, record.index):
        keys.hold(record.task, keep_ns)
        _usurped(books, other.id, record.id)
        return
    hold = keys.enter(record.task, record.at_ns, keep_ns, held is not None and books.has_result(held.task))
    if hold is not None:
        books.graveyard.pin(hold.task)
    elif keys.bereft:
        _adopt(books, record)


def take_late(books: Custody, task: Task, keep_ns: Nanos) -> None:
    """A task is accepted whose end was read before: it cannot follow, but if it is done others will follow it."""
    grave = books.graves.get(task.id)
    if grave is not None and grave.outcome == "done" and name_of(task) not in books.keys.held:
        books.keys.hold(task, keep_ns)
        books.keys.over(task.id, grave.at_ns)
        if grave.result is not None:
            books.keys.weigh(task.id, len(grave.result.value or b""))


def restore(books: Custody, task: TaskId, said: Hold, done_ns: Nanos) -> None:
    """A tombstone says which key its task holds. Who came after that time, or was done later, keeps it."""
    keys = books.keys
    held = keys.held.get(Name(said.tenant, said.type, said.key))
    other = books.live.get(held.task) if held is not None and held.task != task else None
    if other is not None and other.at_ns >= said.until_ns:
        return
    if held is not None and held.task != task and other is None and held.done_ns >= done_ns:
        return
    keys.restore(task, done_ns, said)
    if other is not None:
        _usurped(books, other.id, task)


def leave(books: Custody, record: Record) -> None:
    """Whom it follows nobody knows any more: it is on its own, or follows who holds the key now."""
    books.keys.leave(record.id)
    take(books, record, 0)


def again(books: Custody, record: Record) -> Carried:
    """The whole of a live task as a fact, as of now."""
    fact = record.carried()
    if (first := books.keys.leaders.get(record.id)) is not None:
        return replace(fact, first=first)
    hold = books.keys.by_task.get(record.id)
    return fact if hold is None else replace(fact, keep_ns=hold.keep_ns)


def _adopt(books: Custody, record: Record) -> None:
    """Who came later, and followed one that is over and holds the key no more, follows this one, which was there before."""
    gone = books.keys.bereft.get(name_of(record.task))
    for name in list(books.keys.followers.get(gone, ())) if gone is not None else ():
        later = books.live.get(name)
        if later is None or (later.accepted, later.index) < (record.accepted, record.index):
            continue
        if (alone := books.keys.leave(name)) is not None:
            books.graveyard.unpin(alone)
        books.usurpers += books.keys.follow(name, record.id)


def _usurped(books: Custody, task: TaskId, first: TaskId) -> None:
    books.usurpers += books.keys.follow(task, first)
    books.graveyard.pin(first)
