"""What the ledger says: applied fact by fact, by the leader and by every standby alike.

Law: nothing here is known but from the ledger (R15), and every change goes through these methods or ``wills`` as its
fact is *read*. So a standby is a leader that has not claimed yet, and a replay is a life lived quickly. Facts are monotone: read
twice, or late, they change nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from orchestrator.core import rules
from orchestrator.core.families import Families
from orchestrator.core.records import TOLD_WHOLE, Grave, Owed, Record, letter_of, print_of, shortened
from orchestrator.core.sizes import error_bytes, failure_bytes
from orchestrator.vocabulary import NS_PER_S, Incarnation, Nanos, Service, TaskId
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
    Served,
    Tombstone,
)
from orchestrator.wire.messages import Error, Result

LEAST_WINDOW_NS: Nanos = 60 * NS_PER_S
"""R11: no id is forgotten earlier, however many there are: it exceeds any deposed session's life (10 s)."""


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
        self.live_bytes = 0
        """What all of them would take, written again."""
        self.graves: dict[TaskId, Grave] = {}
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
        self.epoch = 0
        """The highest there ever was."""
        self.next_offset = 0
        self._results_bytes_max = results_bytes_max
        self._results_bytes = 0
        self._kept: deque[tuple[TaskId, int]] = deque()
        self._burials: deque[TaskId] = deque()
        self.shortened = 0
        """Ids that were forgotten before their window was over, since there were too many."""
        self.pinned: dict[TaskId, int] = {}
        """Parents that are over while children that need them live: kept whole (R13), with the bytes that takes in the ledger."""
        self.pinned_bytes = 0
        self._early: dict[TaskId, None] = {}
        """Ends that children need, said their writers, of which none is known yet: their results are kept like pinned ones."""
        self._spared: dict[TaskId, None] = {}
        """Such whose result or id would be forgotten otherwise: both are judged again when they are not needed any more."""

    # --- tasks ---------------------------------------------------------------------------------------------------------

    def accepted(self, fact: Accepted, offset: int, first: int) -> list[Record]:
        """Tasks that are ours from here, numbered from ``first`` within the entry; known ones are left as they are."""
        fresh: list[Record] = []
        for index, task in enumerate(fact.tasks, first):
            if task.id in self.live or task.id in self.graves:
                continue
            record = Record(task, offset, index, fact.at_ns, offset, fact.reply_to, fact.by, task.priority)
            if task.start_ns is not None:
                record.not_before_ns = task.start_ns
            if task.id in self.wills:  # kept until the end: whoever replays from here needs it too
                record.cancelled = True
            self._enter(record)
            fresh.append(record)
        return fresh

    def carried(self, fact: Carried, offset: int) -> Record | None:
        """The whole of a live task, written again. Of a known one its record moves forward; an ended one stays so (R11).

        Not if it says less than is known, because another writer's fact came between: then the old record stays the full one.
        """
        task = fact.task
        if task.id in self.graves:
            return None
        if (record := self.live.get(task.id)) is not None:
            if record.carried() == fact:
                record.offset = offset
            return None
        record = Record(
            task, fact.accepted, fact.index, fact.at_ns, offset, fact.reply_to, fact.by, fact.priority, tuple(fact.failures),
            fact.retries, fact.not_before_ns, fact.cancelled, fact.checkpoint, fact.checkpoint_of,
            fact.checkpoint_nth, fact.ran_ns, fact.preemptions, fact.preempted, tuple(fact.former),
        )  # fmt: skip
        self._enter(record)
        self.wills.pop(task.id, None)
        return record

    def _enter(self, record: Record) -> None:
        self.live[record.id] = record
        self.live_bytes += record.size()
        self.families.enter(record, self.live, self.graves.__contains__)
        for edge in record.task.after:
            self._pin(edge.task)

    def _leave(self, task: TaskId) -> Record | None:
        record = self.live.pop(task, None)
        if record is not None:
            self.live_bytes -= record.size()
            for parent in self.families.leave(record):
                self._unpin(parent)
        return record

    def _bury(self, task: TaskId, grave: Grave, *, heirs: bool) -> None:
        """The task is over: its id is remembered for a while, longer and whole if children need it.

        ``heirs``: so says the ledger, though we may not know them yet: a record carried forward stands behind its parent's end.
        """
        self.graves[task] = grave
        self.pinned_bytes -= self.pinned.pop(task, 0)
        self._burials.append(task)
        if self.families.over(task):
            self._pin(task)
        elif heirs:
            self._early[task] = None
        if grave.result is not None:
            self._keep_result(task, grave)

    def _pin(self, parent: TaskId) -> None:
        grave = self.graves.get(parent)
        self._early.pop(parent, None)
        if grave is not None and parent not in self.pinned:
            result = grave.result
            size = 0 if result is None else len(result.value or b"") + error_bytes(result.error)
            self.pinned[parent] = size
            self.pinned_bytes += size

    def _unpin(self, parent: TaskId) -> None:
        self.pinned_bytes -= self.pinned.pop(parent, 0)
        self._judge_again(parent)

    def caught_up(self) -> None:
        """All there is was read: of whose end no child is known, it has none."""
        early, self._early = self._early, {}
        for parent in early:
            self._judge_again(parent)

    def _judge_again(self, parent: TaskId) -> None:
        if parent in self._spared:
            del self._spared[parent]
            grave = self.graves[parent]
            self._burials.appendleft(parent)
            if grave.result is not None:
                self._keep_result(parent, grave)

    def ended(self, fact: Ended, offset: int) -> Record | None:
        """The task is over, if this is its first end; gives its record, if it was known alive."""
        if not rules.r1_first_end(self.graves.get(fact.task)):
            return None
        record = self._leave(fact.task)
        self.wills.pop(fact.task, None)
        result = Result(
            fact.task, fact.outcome, fact.value, fact.error,
            attempts=(len(record.failures) if record else 0) + (fact.outcome == "done"),
            instance=fact.instance, accepted_ns=record.at_ns if record else fact.accepted_ns,
            started_ns=fact.started_ns, ended_ns=fact.at_ns,
        )  # fmt: skip
        mark = fact.print if record is None else print_of(record.task)
        story = record.failures if record is not None else ()
        made_room = record.preemptions if record is not None else 0
        grave = Grave(fact.outcome, fact.at_ns, mark, offset, result, story, _workflow(record), made_room)
        self._bury(fact.task, grave, heirs=fact.heirs)
        named = [fact.reply_to] if record is None else [record.reply_to, *record.former]
        queues = {queue: 0 for queue in named if queue}
        bury = fact.outcome == "failed" or (fact.outcome == "refused" and not queues)
        if queues or bury:
            task = record.task if record is not None else None
            self.owed[fact.task] = Owed(
                result, queues, offset, record.offset if record else offset,
                letter_of(result, task, story) if bury else None,
            )  # fmt: skip
        return record

    def owe(self, task: TaskId, reply_to: str, offset: int) -> Owed | None:
        """Someone asks (again) how a task ended, in the fact at ``offset``: owed anew, to where it is asked for now."""
        grave = self.graves.get(task)
        if grave is None or not reply_to:
            return None
        message = f"the task ended as {grave.outcome}; its result is no longer kept"
        result = grave.result or Result(task, grave.outcome, ended_ns=grave.at_ns, error=Error("forgotten", message))
        owed = self.owed.pop(task, None) or Owed(result, {}, offset, grave.offset)
        owed.queues[reply_to], owed.ended = 0, offset
        self.owed[task] = owed
        return owed

    def tombstone(self, fact: Tombstone, offset: int) -> Record | None:
        """An ended task's id, written again; gives its record, if it was believed to live.

        Whoever began to read after the end may have met late words of deposed leaders about the task: the tombstone is right.
        """
        grave = self.graves.get(fact.task)
        if grave is not None and grave.outcome == fact.outcome:
            if fact.whole or fact.task not in self.pinned:  # one that says less than children need does not stand for it
                grave.offset = offset
            return None
        self.owed.pop(fact.task, None)
        self.wills.pop(fact.task, None)
        record = self._leave(fact.task)
        result = Result(fact.task, fact.outcome, fact.value, fact.error, ended_ns=fact.at_ns) if fact.whole else None
        workflow = grave.workflow if grave is not None else _workflow(record)
        grave = Grave(fact.outcome, fact.at_ns, fact.print, offset, result, workflow=workflow)
        self._bury(fact.task, grave, heirs=fact.whole)
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
        return self.reign

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

    @property
    def oldest_grave_ns(self) -> Nanos | None:
        """When the task ended whose id will be forgotten next; 0: look at once; none: no id is remembered."""
        if not self._burials:
            return None
        grave = self.graves.get(self._burials[0])
        return 0 if grave is None else grave.at_ns

    def forget(self, now: Nanos, window_ns: Nanos, most: int) -> None:
        """Ids that ended longer ago than the dedup window; while there are more than ``most``, than the least such window."""
        least_ns = min(window_ns, LEAST_WINDOW_NS)
        while self._burials:
            task = self._burials[0]
            grave = self.graves.get(task)
            if grave is not None:
                span_ns = window_ns if len(self.graves) <= most else least_ns
                if not rules.r11_forgettable(grave, now, span_ns):
                    break
                self.shortened += span_ns < window_ns and not rules.r11_forgettable(grave, now, window_ns)
            self._burials.popleft()
            if task in self.pinned:
                self._spared[task] = None
            elif grave is not None:
                self._early.pop(task, None)
                self._spared.pop(task, None)
                del self.graves[task]
                self.families.forget(task, grave.workflow)
        for task in [task for task, (will, _) in self.wills.items() if now - will.at_ns > window_ns and task not in self.live]:
            del self.wills[task]

    def _keep_result(self, task: TaskId, grave: Grave) -> None:
        """Results of ended tasks, and the stories of failed ones, stay at hand for whoever asks again, up to a bound in bytes; the
        oldest go first.
        """
        result = grave.result
        size = 200 + sum(map(failure_bytes, grave.story or ()))
        if result is not None:
            size += len(result.value or b"") + error_bytes(result.error)
        self._kept.append((task, size))
        self._results_bytes += size
        while self._results_bytes > self._results_bytes_max:
            oldest, size = self._kept.popleft()
            self._results_bytes -= size
            if oldest in self.pinned or oldest in self._early:
                self._spared[oldest] = None
            elif (other := self.graves.get(oldest)) is not None:
                other.result = None
                if other.story:
                    other.story = other.story[:0]


def _workflow(record: Record | None) -> str | None:
    return None if record is None else record.task.workflow
