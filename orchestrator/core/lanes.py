"""Groups of waiting tasks that need not be told apart: demand classes, and their lanes.

Law: instances judge the tasks of a class alike, limits those of a lane. A lane is a heap by (ordering key, arrival); an entry whose
ticket is old is void, and dropped when it comes up.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Protocol, TypeAlias

from orchestrator.core.heads import Entry, Heads, Item
from orchestrator.core.limits import Shares
from orchestrator.core.records import Record
from orchestrator.resources import Demand
from orchestrator.vocabulary import TaskType

if TYPE_CHECKING:
    from orchestrator.core.backlog import Queue

ClassKey: TypeAlias = tuple[TaskType, Demand]


class Delegating(Protocol):
    """Where lanes wait, which wakes them and wants to know what became of them."""

    def forsaken(self, lane: Lane) -> None: ...

    def improved(self, lane: Lane) -> None: ...


class Lane:
    """Waiting tasks that any instance and any limit would judge alike."""

    __slots__ = ("delegate", "group", "heap", "meter", "queued", "shares", "size", "waits")

    def __init__(self, group: DemandClass, shares: Shares) -> None:
        self.group = group
        self.shares = shares
        self.heap: list[Entry] = []
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
        if self.delegate is not None:
            self.delegate.forsaken(self)

    def head(self) -> Entry | None:
        """The first that still waits."""
        heap = self.heap
        while heap and heap[0].ticket != heap[0].record.ticket:
            heappop(heap)
        return heap[0] if heap else None

    def waiting(self) -> Iterator[Record]:
        """All that wait, in no particular order."""
        return (entry.record for entry in self.heap if entry.ticket == entry.record.ticket)


class DemandClass:
    """Waiting tasks that any instance would judge alike."""

    __slots__ = ("_only", "_order", "aside", "blocked", "demand", "kept_out", "lanes", "queue", "queued", "size", "type")

    def __init__(self, queue: Queue, type_: TaskType, demand: Demand) -> None:
        self.queue = queue
        self.type = type_
        self.demand = demand
        self.lanes: dict[Shares, Lane] = {}
        self.size = 0
        self.blocked = False
        self.kept_out: Entry | None = None
        """The head that is kept out, if it is blocked for that."""
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

    def lane(self, shares: Shares) -> Lane:
        """The lane of these shares, made at first sight."""
        found = self.lanes.get(shares)
        if found is None:
            found = self.lanes[shares] = Lane(self, shares)
            if len(self.lanes) == 1:
                self._only = found
            elif self._only is not None:
                first, self._only = self._only, None
                self.offer(first)
        return found

    def push(self, lane: Lane, entry: Entry) -> None:
        """One more waits in this lane."""
        heappush(lane.heap, entry)
        lane.size += 1
        self.size += 1
        entry.record.place = lane
        if lane.waits is not None:
            if lane.queued is None or entry < lane.queued[0]:
                lane.waits.offer(lane)
                assert lane.meter is not None
                lane.meter.improved(lane)
        elif self._only is None and (lane.queued is None or entry < lane.queued[0]):
            self._order.offer(lane)

    def drop(self, lane: Lane) -> None:
        """One fewer waits in this lane."""
        lane.size -= 1
        self.size -= 1
        if not lane.size:
            lane.leave()
            del self.lanes[lane.shares]
            if len(self.lanes) == 1:
                self._only = next(iter(self.lanes.values()))
                if self._only.waits is None:
                    self._only.queued = None

    def offer(self, lane: Lane) -> None:
        """This lane stands in the order again, if no limit holds it back."""
        if self._only is None and lane.waits is None:
            self._order.offer(lane)
