"""What the ledger says: applied fact by fact, by the leader and by every standby alike.

Law: nothing here is known but from the ledger (R15), and every change goes through these methods or ``wills`` as its
fact is *read*. So a standby is a leader that has not claimed yet, and a replay is a life lived quickly. Facts are monotone: read
twice, or late, they change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.core import rules
from orchestrator.core.custody.graveyard import Graveyard
from orchestrator.core.custody.records import TOLD_WHOLE, Grave, Owed, Record, letter_of, print_of, shortened
from orchestrator.core.tasks import claims
from orchestrator.core.tasks.families import Families
from orchestrator.core.tasks.keys import Keys, named
from orchestrator.vocabulary import Incarnation, Nanos, Service, TaskId
from orchestrator.wire.facts import (
    Accepted,
    Asked,
    Carried,
    Checkpointed,
    Claim,
    Ended,
    Failed,
    Failure,
    Joined,
    Parted,
    Preempted,
    Restored,
    Served,
    Tombstone,
)
from orchestrator.wire.messages import Error, Result

FORGOTTEN = "forgotten"
"""The kind of error that stands for a result which is not kept any more."""


@dataclass(frozen=True, slots=True)
class Reign:
    """Who leads, as the ledger has it."""

    epoch: int
    offset: int
    nonce: str
    coordinator: str


class Custody:
    """The books. Tables are private to the coordinator that owns them."""

    def __init__(self, results_bytes_max: int) -> None:
        self.live: dict[TaskId, Record] = {}
        self.families = Families()
        self.keys = Keys(results_bytes_max)
        self.usurpers: list[TaskId] = []
        """Tasks that were believed to hold a key, before it was read that another one does: they follow that one now."""
        self.live_bytes = 0
        """What all of them would take, written again."""
        self.graveyard = Graveyard(self.families, self.keys, results_bytes_max)
        self.graves = self.graveyard.graves
        """Those that ended, as far as they are remembered."""
        self.owed: dict[TaskId, Owed] = {}
        """In the order of their ends, so the first is the oldest."""
        self.joined: dict[Incarnation, tuple[Joined, int]] = {}
        """May hold work; with the offset of its record."""
        self.served: dict[Service, int] = {}
        self.wills: dict[TaskId, tuple[Asked, int]] = {}
        """Cancels of tasks that were not known yet."""
        self.policies: dict[str, tuple[Asked, int]] = {}
        """By scope: what was asked last, and where that stands."""
        self.limits: dict[str, tuple[Asked, int]] = {}
        """The last word on each, the removed ones included: a late word of a deposed leader must not bring one back."""
        self.reign: Reign | None = None
        self.unfinished: int | None = None
        """Here somebody began to write a lost ledger again, and nobody who led since has said that it is done."""
        self.epoch = 0
        """The highest there ever was."""
        self._began = 0
        """Offset of the first entry that was read."""
        self._partial = True
        """Whether there may live some of whom we know nothing yet, since their records stand before that."""
        self.next_offset = 0
        self.last = ("", 0)
        """By whom the entry before that is, and its number: by these the ledger is known again."""
        self.restored: tuple[Restored, int] | None = None
        """That the ledger was lost once, and how much of it was written again; where that stands."""

    # --- tasks ---------------------------------------------------------------------------------------------------------

    def accepted(self, fact: Accepted, offset: int, first: int) -> tuple[list[Record], list[TaskId]]:
        """Tasks that are ours from here, numbered from ``first`` within the entry, and those that were known: left as they are."""
        fresh: list[Record] = []
        known: list[TaskId] = []
        for index, task in enumerate(fact.tasks, first):
            if task.id in self.live or task.id in self.graves:
                if named(task):
                    claims.take_late(self, task, fact.keep_ns)
                record = self.live.get(task.id)
                if record is not None and fact.reply_to and fact.reply_to not in (record.reply_to, *record.former):
                    record.answer_to(fact.reply_to)  # of two leaders each took it in, from two sessions of its producer
                known.append(task.id)
                continue
            record = Record(task, offset, index, fact.at_ns, offset, fact.reply_to, fact.by, task.priority)
            if task.start_ns is not None:
                record.not_before_ns = task.start_ns
            if task.id in self.wills:  # kept until the end: whoever replays from here needs it too
                record.cancelled = True
            self._enter(record)
            if named(task):
                claims.take(self, record, fact.keep_ns)
            fresh.append(record)
        return fresh, known

    def carried(self, fact: Carried, offset: int) -> Record | None:
        """The whole of a live task, written again. Of a known one its record moves forward; an ended one stays so (R11).

        Not if it says less than is known, because another writer's fact came between: then the old record stays the full one.
        """
        task = fact.task
        if task.id in self.graves:
            return None
        if (record := self.live.get(task.id)) is not None:
            if claims.again(self, record) == fact:
                record.offset = offset
            return None
        record = Record(
            task, fact.accepted, fact.index, fact.at_ns, offset, fact.reply_to, fact.by, fact.priority, tuple(fact.failures),
            fact.retries, fact.not_before_ns, fact.cancelled, fact.checkpoint, fact.checkpoint_of,
            fact.checkpoint_nth, fact.ran_ns, fact.preemptions, fact.preempted, tuple(fact.former),
        )  # fmt: skip
        self._enter(record)
        if record.cancelled:
            self.wills.pop(task.id, None)
        elif task.id in self.wills:  # somebody asked for that while only those knew the task who remember a ledger that is lost
            record.cancelled = True
        if fact.first is not None:
            first = self.keys.leaders.get(fact.first, fact.first)  # in a ledger that was lost that one was first, here another is
            self.keys.follow(task.id, first)
            self.graveyard.pin(first)
        elif named(task):
            claims.take(self, record, fact.keep_ns)
        return record

    def has_result(self, task: TaskId) -> bool:
        """Whether what an ended task returned is at hand."""
        grave = self.graves.get(task)
        return grave is not None and grave.result is not None

    def _enter(self, record: Record) -> None:
        self.live[record.id] = record
        self.live_bytes += record.size()
        if record.task.after or record.task.workflow is not None or record.id in self.families.children:
            self.families.enter(record, self.live, self.graves.__contains__)
            for edge in record.task.after:
                self.graveyard.pin(edge.task)

    def _leave(self, task: TaskId) -> Record | None:
        record = self.live.pop(task, None)
        if record is not None:
            self.live_bytes -= record.size()
            if record.node is not None or record.task.workflow is not None:
                for parent in self.families.leave(record):
                    self.graveyard.unpin(parent)
            if task in self.keys.leaders and (first := self.keys.leave(task)) is not None:
                self.graveyard.unpin(first)
        return record

    def ended(self, fact: Ended, offset: int) -> tuple[bool, Record | None]:
        """The task is over, if this is its first end: gives whether it is, and its record, if it was known alive."""
        if not rules.r1_first_end(self.graves.get(fact.task)):
            return False, None
        record = self._leave(fact.task)
        if self.wills:
            self.wills.pop(fact.task, None)
        tries = fact.outcome == "done" and fact.first is None
        if record is None:
            name = fact.task
            result = Result(
                name, fact.outcome, fact.value, fact.error, int(tries), fact.instance, fact.accepted_ns, fact.started_ns,
                fact.at_ns, fact.first,
            )  # fmt: skip
            grave = Grave(fact.outcome, fact.at_ns, fact.print, offset, result)
            queues = {fact.reply_to: 0} if fact.reply_to else {}
        else:
            name = record.id  # one text for each id: a million may be remembered
            result = Result(
                name, fact.outcome, fact.value, fact.error, len(record.failures) + tries, fact.instance, record.at_ns,
                fact.started_ns, fact.at_ns, fact.first,
            )  # fmt: skip
            mark = print_of(record.task)
            grave = Grave(
                fact.outcome, fact.at_ns, mark, offset, result, record.failures, record.task.workflow, record.preemptions,
            )  # fmt: skip
            queues = {record.reply_to: 0} if record.reply_to else {}
            if record.former:
                queues |= {queue: 0 for queue in record.former if queue}
            if fact.reply_to:  # of a ledger that was lost: who waits for it here may be another
                queues[fact.reply_to] = 0
        if fact.hold is not None and fact.task not in self.keys.by_task:
            claims.restore(self, fact.task, fact.hold, fact.at_ns)
        self.graveyard.bury(name, grave, heirs=fact.heirs)
        bury = (fact.outcome == "failed" and fact.first is None) or (fact.outcome == "refused" and not queues)
        if queues or bury:
            task = record.task if record is not None else None
            letter = letter_of(result, task, () if record is None else record.failures) if bury else None
            self.owed[name] = Owed(result, queues, offset, record.offset if record else offset, letter)
        return True, record

    def outcome(self, task: TaskId) -> Result | None:
        """How a task ended, as far as that is remembered; none: nobody knows of an end."""
        grave = self.graves.get(task)
        if grave is None:
            return None
        message = f"the task ended as {grave.outcome}; its result is no longer kept"
        return grave.result or Result(task, grave.outcome, ended_ns=grave.at_ns, error=Error(FORGOTTEN, message))

    def owe(self, task: TaskId, reply_to: str, offset: int) -> Owed | None:
        """Someone asks (again) how a task ended, in the fact at ``offset``: owed anew, to where it is asked for now."""
        result = self.outcome(task)
        if result is None or not reply_to:
            return None
        owed = self.owed.pop(task, None) or Owed(result, {}, offset, self.graves[task].offset)
        owed.queues[reply_to], owed.ended = 0, offset
        self.owed[task] = owed
        return owed

    def tombstone(self, fact: Tombstone, offset: int) -> Record | None:
        """An ended task's id, written again; gives its record, if it was believed to live.

        Whoever began to read after the end may have met late words of deposed leaders about the task: the tombstone is right.
        """
        grave = self.graves.get(fact.task)
        if grave is not None and grave.outcome == fact.outcome:
            less = (fact.task in self.graveyard.pinned and not fact.whole) or (
                fact.hold is None and self.keys.said(fact.task) is not None
            )
            if not less:  # one that says less than children need, or that a key is free, does not stand for it
                grave.offset = offset
            return None
        self.owed.pop(fact.task, None)
        self.wills.pop(fact.task, None)
        record = self._leave(fact.task)
        result = Result(fact.task, fact.outcome, fact.value, fact.error, ended_ns=fact.at_ns) if fact.whole else None
        workflow = grave.workflow if grave is not None else _workflow(record)
        if fact.hold is not None:
            claims.restore(self, fact.task, fact.hold, fact.at_ns)
        elif (hold := self.keys.by_task.get(fact.task)) is not None:
            self.keys.free(hold)
        grave = Grave(fact.outcome, fact.at_ns, fact.print, offset, result, workflow=workflow)
        self.graveyard.bury(fact.task, grave, heirs=fact.heirs)
        return record

    def failed(self, fact: Failed) -> Record | None:
        """An attempt is over; gives the record if that is news (R8)."""
        record = self.live.get(fact.task)
        if record is None or not rules.r8_counts(record, fact):
            return None
        before = record.size()
        failures = [*record.failures, Failure(fact.attempt, fact.cause, fact.error, fact.at_ns, fact.instance)]
        if len(failures) > TOLD_WHOLE:  # a thousand retries must not make a story that no message can carry
            failures[-TOLD_WHOLE - 1] = shortened(failures[-TOLD_WHOLE - 1])
        record.failures = tuple(failures)
        self.live_bytes += record.size() - before
        record.retries = fact.retries
        record.not_before_ns = max(record.not_before_ns, fact.retry_ns)
        return record

    def checkpointed(self, fact: Checkpointed) -> Record | None:
        """Work worth keeping; gives the record, if the task lives."""
        if (record := self.live.get(fact.task)) is not None:
            self.live_bytes += record.save(fact)
        return record

    def preempted(self, fact: Preempted) -> bool:
        """An attempt has made room; gives whether that is news."""
        record = self.live.get(fact.task)
        return record is not None and record.make_room(fact.attempt)

    # --- who may hold work, who leads ------------------------------------------------------------------------------------

    def join(self, fact: Joined, offset: int) -> None:
        self.joined[fact.incarnation] = (fact, offset)

    def part(self, fact: Parted) -> None:
        self.joined.pop(fact.incarnation, None)

    def serve(self, fact: Served, offset: int) -> bool:
        """An intake queue exists; gives whether that is news."""
        news = fact.service not in self.served
        self.served[fact.service] = offset
        return news

    def claim(self, fact: Claim, offset: int) -> Reign:
        """Someone leads from here. Epochs start at 1, since 0 says "none" among agents, and no two reigns share one."""
        self.epoch = max(offset, fact.floor, self.epoch) + 1
        self.reign = Reign(self.epoch, offset, fact.nonce, fact.coordinator)
        if fact.reminds and self.unfinished is None:
            self.unfinished = offset
        return self.reign

    def read_to(self, offset: int, replay_from: int) -> None:
        """An entry was read. Whoever began in the middle of the ledger knows all that live once an entry says that a reader may
        begin where it did, or later: what was written before that of them has been written again."""
        if not self.next_offset:
            self._began = offset
        self.next_offset = offset + 1
        if self._partial and self._began <= replay_from <= offset:
            self._partial = False
            self.graveyard.caught_up()

    def restore(self, fact: Restored, offset: int) -> None:
        """Much of a lost ledger is in this one again; of several words the one counts that says most."""
        if self.reign is not None and self.reign.nonce == fact.nonce:
            self.unfinished = None
        if (fact.known_epoch, fact.up_to) >= self.restored_to:
            self.restored = fact, offset

    @property
    def restored_to(self) -> tuple[int, int]:
        """How much of ledgers that were lost was written again."""
        return (0, 0) if self.restored is None else (self.restored[0].known_epoch, self.restored[0].up_to)

    # --- answering, forgetting ------------------------------------------------------------------------------------------

    def answered_to(self) -> int:
        """The results of all ends below this offset are answered (R7)."""
        return next((owed.ended for owed in self.owed.values()), self.next_offset)

    def answered(self, offset: int) -> None:
        """Another leader has answered everything that ended below ``offset``."""
        while self.owed:
            task, owed = next(iter(self.owed.items()))
            if owed.ended >= offset:
                return
            del self.owed[task]

    def forget(self, now: Nanos, window_ns: Nanos, most: int) -> None:
        """Ids that ended before the dedup window (sooner, if there are more than ``most``)."""
        self.graveyard.forget(now, window_ns, most)


def forgotten(result: Result) -> bool:
    """Whether it says no more than that the task has ended: how, nobody knows any more."""
    return result.error is not None and result.error.kind == FORGOTTEN


def _workflow(record: Record | None) -> str | None:
    return None if record is None else record.task.workflow
