"""Demand classes: waiting tasks that any instance would judge alike, in lanes that any limit would judge alike.

Law: instances judge the tasks of a class alike. Where limits tell them apart (by tenant, say) a class has *lanes*, and limits
judge the tasks of a lane alike; else it has one. Where the ordering ranks tenants a lane is of one tenant, and stands among the
others by the rank of its first. Where the ordering looks at run times a lane is of those of which the same is expected: whatever
that is, it moves the lane as a whole, and its first is ranked by what is expected *now*. A lane is ordered by (ordering key,
arrival); within a workflow, whose tasks arrive together, the critical path goes first. Most tasks come in that order: they stand in
a row, and only who goes before the last of it stands in a heap. Cancelling or re-keying leaves a void entry behind (its ticket is
old), dropped when it comes up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from heapq import heapify, heappop, heappush
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from orchestrator.core.custody.records import Record
from orchestrator.core.resources.limits import Shares
from orchestrator.core.scheduler.accounts import Account
from orchestrator.core.scheduler.heads import Entry, Heads, Item
from orchestrator.resources import Demand
from orchestrator.vocabulary import Incarnation, Nanos, TaskType, Vector, handler_of, plain_vector

if TYPE_CHECKING:
    from orchestrator.core.scheduler.queues import Queue

ClassKey: TypeAlias = tuple[TaskType, Demand]
LaneKey: TypeAlias = tuple[str, Shares, Hashable]


class Frame(NamedTuple):
    """What an ordering is told of a task's run time (``policies.ordering.Waiting``)."""

    estimate_ns: Nanos
    remaining_ns: Nanos
    long_ns: Nanos
    typical_ns: Nanos


class Delegating(Protocol):
    """Where lanes wait, which wakes them and wants to know what became of them."""

    def forsaken(self, lane: Lane) -> None: ...

    def improved(self, lane: Lane) -> None: ...


class Lane:
    """Waiting tasks that any instance and any limit would judge alike."""

    __slots__ = (
        "_first",
        "_ranked",
        "_shift",
        "account",
        "delegate",
        "frame",
        "group",
        "heap",
        "kind",
        "meter",
        "queued",
        "row",
        "shares",
        "size",
        "waits",
    )

    def __init__(self, group: DemandClass, shares: Shares, kind: Hashable, account: Account | None) -> None:
        self.group = group
        self.shares = shares
        self.kind = kind
        """What their run times have in common, where the ordering looks at these; else None."""
        self.frame: Frame | None = None
        """What was expected of its tasks when the first came: within the lane they are ordered by that, so that the later ones are
        not ordered by something else than the earlier ones."""
        self.account = account
        """Its tenant's, where the ordering ranks tenants."""
        self._first: Entry | None = None
        self._shift = 0.0
        """By how much the lane has moved since its frame was taken."""
        self._ranked: Entry | None = None
        """The first, under its key as of now and its rank among the first of other tenants; kept as long as all of these stand."""
        if kind is not None:
            group.queue.kinds.setdefault(kind, {})[self] = None
        if account is not None:
            account.lanes[self] = None
        self.row: deque[Entry] = deque()
        """Those that came in their order."""
        self.heap: list[Entry] = []
        """The others."""
        self.size = 0
        self.queued: Item | None = None
        self.waits: Heads[Lane] | None = None
        """Where it waits for a limit, when it does."""
        self.meter: Delegating | None = None
        """Which limit that is."""
        self.delegate: Delegating | None = None
        """Which limit woke it, on behalf of all its like, and has not heard yet what became of that."""

    @property
    def aside(self) -> bool:
        return self.group.aside

    @property
    def queue(self) -> Queue:
        return self.group.queue

    def leave(self) -> None:
        """Nothing of it waits any more, or all of it waits elsewhere."""
        self.queued = self.waits = self.meter = None
        if self.account is not None:
            self.account.lanes.pop(self, None)
        if self.kind is not None and (alike := self.queue.kinds.get(self.kind)) is not None:
            alike.pop(self, None)
            if not alike:
                del self.queue.kinds[self.kind]
        if self.delegate is not None:
            self.delegate.forsaken(self)

    def head(self) -> Entry | None:
        """The first that still waits."""
        row, heap, first = self.row, self.heap, None
        while row:
            first = row[0]
            if first.ticket == first.record.ticket:
                break
            row.popleft()
            first = None
        while heap:
            top = heap[0]
            if top.ticket == top.record.ticket:
                if first is None or top < first:
                    first = top
                break
            heappop(heap)
        if first is None or (self.account is None and self.kind is None):
            return first
        if self._ranked is None or self._first is not first:
            self._first = first
            key = first.key if self.kind is None else self.queue.judge.key(first.record)
            self._shift = key - first.key
            self._ranked = first._replace(key=key if self.account is None else self.account.rank(key))
        return self._ranked

    def stand(self, entry: Entry) -> Entry:
        """Where that entry of it stands among those of other lanes, as far as can be told now."""
        if not self.ranked or self.head() is None:
            return entry
        key = entry.key + self._shift
        return entry._replace(key=key if self.account is None else self.account.rank(key))

    @property
    def ranked(self) -> bool:
        """Whether it stands among others by something else than the key that its first had when it came."""
        return self.account is not None or self.kind is not None

    def rank_anew(self) -> None:
        """Its tenant's account has changed, or what is expected of its tasks."""
        self._ranked = None
        if self.waits is not None:
            before = self.queued
            self.waits.offer(self)
            if self.meter is not None and before is not None and self.queued is not None and self.queued[0] < before[0]:
                self.meter.improved(self)
        else:
            self.group.offer(self)
            self.queue.offer(self.group)

    def waiting(self) -> Iterator[Record]:
        """All that wait, in no particular order."""
        return (entry.record for entry in self.entries())

    def entries(self) -> Iterator[Entry]:
        """The places of these."""
        return (entry for entry in chain(self.row, self.heap) if entry.ticket == entry.record.ticket)

    def put(self, entry: Entry) -> None:
        """One more."""
        row, heap = self.row, self.heap
        if not row or row[-1] < entry:
            row.append(entry)
        else:
            heappush(heap, entry)
        self.size += 1
        if len(row) + len(heap) > 2 * self.size + 64:  # more void than valid: many were placed anew
            self.row = deque([one for one in row if one.ticket == one.record.ticket])
            self.heap = [one for one in heap if one.ticket == one.record.ticket]
            heapify(self.heap)


class DemandClass:
    """Waiting tasks that any instance would judge alike."""

    __slots__ = (
        "_only", "_order", "aside", "barred", "blocked", "demand", "elastic", "granted", "handler", "kept_out", "lanes", "queue",
        "queued", "size", "taker", "told", "type",
    )  # fmt: skip

    def __init__(self, queue: Queue, type_: TaskType, demand: Demand) -> None:
        self.queue = queue
        self.type = type_
        self.demand = demand
        self.handler = handler_of(type_)
        self.elastic = demand.elastic
        """Whether it is for the allocation to say what each is granted; else that is what it asks."""
        self.granted: Vector = {name: low for name, low in demand.least.items() if low}
        """What one of its tasks was granted last: it is mostly the same for all."""
        self.told = plain_vector(self.granted)
        """The same as agents are told."""
        self.lanes: dict[LaneKey, Lane] = {}
        self.size = 0
        self.blocked = False
        self.kept_out: Entry | None = None
        """The head that is kept out, if it is blocked for that."""
        self.taker: Incarnation = ""
        """Who would take its tasks if nothing were granted there, as was found last."""
        self.barred = -1
        """The edition of the pool in which nobody would; -1: somebody would, or nobody has asked."""
        self.aside = False
        self.queued: Item | None = None
        """The head under which it stands in its service's order of classes."""
        self._only: Lane | None = None
        """The lane of a class that has but one: then there is nothing to order."""
        self._order: Heads[Lane] = Heads()

    def head(self) -> Entry | None:
        """The first that still waits and that no limit holds back, as far as is known."""
        only = self._only
        if only is not None:
            return only.head() if only.waits is None else None
        best = self._order.best()
        return None if best is None else best.head()

    def waiting(self) -> Iterator[Record]:
        """All that wait, in no particular order."""
        return (record for lane in self.lanes.values() for record in lane.waiting())

    def lane(self, shares: Shares, kind: Hashable, account: Account | None) -> Lane:
        """The lane of these shares, run times and (where tenants are ranked) that tenant, made at first sight."""
        only = self._only
        if only is not None and only.account is account and only.shares == shares and only.kind == kind:
            return only
        key = ("" if account is None else account.tenant, shares, kind)
        found = self.lanes.get(key)
        if found is None:
            found = self.lanes[key] = Lane(self, shares, kind, account)
            if len(self.lanes) == 1:
                self._only = found
            elif self._only is not None:
                first, self._only = self._only, None
                self.offer(first)
        return found

    def push(self, lane: Lane, entry: Entry) -> None:
        """One more waits in this lane."""
        lane.put(entry)
        self.size += 1
        entry.record.place = lane
        if lane.waits is not None or self._only is None:
            first = lane.head() if lane.ranked else entry
            if lane.queued is None or first is None or first < lane.queued[0]:
                (lane.waits if lane.waits is not None else self._order).offer(lane)
                if lane.meter is not None:
                    lane.meter.improved(lane)

    def drop(self, lane: Lane) -> None:
        """One fewer waits in this lane."""
        lane.size -= 1
        self.size -= 1
        if not lane.size:
            lane.leave()
            del self.lanes["" if lane.account is None else lane.account.tenant, lane.shares, lane.kind]
            if len(self.lanes) == 1:
                self._only = next(iter(self.lanes.values()))
                if self._only.waits is None:
                    self._only.queued = None
            elif not self.lanes:
                # class and lane would hold each other, and the records that lie void in it, until Python looks for cycles
                self._only = None

    def offer(self, lane: Lane) -> None:
        """This lane stands in the order again, if no limit holds it back."""
        if self._only is None and lane.waits is None:
            self._order.offer(lane)
