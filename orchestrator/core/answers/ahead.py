"""Who goes before a waiting task: how many, and the first of them in their order.

Law: looking changes nothing and costs a bounded look, however many wait. A lane is a row and a heap, and of a heap the part that
goes before some place is a tree that hangs from its top (what ranks a lane moves all of it alike): so the first ``LOOK_MAX`` are
walked in order, exactly. If more go before it, their number is estimated from an even sample of all that wait, and called so.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from itertools import chain, count, islice
from typing import NamedTuple

from orchestrator.core.custody.records import Record
from orchestrator.core.desk import Desk
from orchestrator.core.scheduler.heads import Entry
from orchestrator.core.scheduler.lanes import Lane
from orchestrator.core.scheduler.queues import Queue

LOOK_MAX = 1000
"""Places walked in order. Cancelled tasks leave void places behind, which count."""
SAMPLE_MAX = 4000
"""Places looked at when more go before it."""


class Ahead(NamedTuple):
    """Who goes before a task, as far as the order says now: what comes later and is more urgent does so too."""

    number: int
    exact: bool
    """Whether ``number`` was counted; else it is estimated."""
    of: int
    """How many wait for this service, itself included."""
    first: list[Record]
    """Those that go first, in order: all of them if ``exact``."""
    sample: list[Record]
    """Some of those behind ``first``, evenly chosen; empty if ``exact``."""


def ahead(desk: Desk, record: Record) -> Ahead | None:
    """Who goes before this task; None: it does not stand in the order."""
    lane = record.place
    if lane is None:
        return None
    queue = lane.queue
    mine = lane.stand(Entry(desk.backlog.key_in(record, lane), *record.standing, record.ticket, record))
    lanes = [one for one in _lanes(queue) if one.head() is not None]
    first, whole = _first(lanes, mine)
    if whole:
        return Ahead(len(first), True, queue.size, first, [])
    number, sample = _sampled(lanes, mine)
    known = {one.id for one in first}
    behind = [one for one in sample if one.id not in known]
    number = min(max(number, len(first)), queue.size - 1)
    return Ahead(number, False, queue.size, first, behind)


def _lanes(queue: Queue) -> Iterable[Lane]:
    """All of the service: those set aside will be back, in their old places."""
    return (lane for group in chain(queue.classes.values(), queue.aside.values()) for lane in group.lanes.values())


def _first(lanes: list[Lane], mine: Entry) -> tuple[list[Record], bool]:
    """The first that go before it, in order, and whether these are all."""
    numbers = count()
    tops = [(lane.stand(some[0]), next(numbers), lane, some, 0) for lane in lanes for some in (lane.row, lane.heap) if some]
    open_ = [one for one in tops if one[0] < mine]
    heapify(open_)
    found: list[Record] = []
    looks = 0
    while open_ and looks < LOOK_MAX:
        entry, _, lane, some, at = heappop(open_)
        looks += 1
        if entry.ticket == entry.record.ticket and entry.record is not mine.record:
            found.append(entry.record)
        for next_ in (at + 1,) if some is lane.row else (2 * at + 1, 2 * at + 2):
            if next_ < len(some) and (stands := lane.stand(some[next_])) < mine:
                heappush(open_, (stands, next(numbers), lane, some, next_))
    return found, not open_


def _sampled(lanes: list[Lane], mine: Entry) -> tuple[int, list[Record]]:
    """About how many go before it, and the sample that says so."""
    step = max(1, sum(len(lane.row) + len(lane.heap) for lane in lanes) // SAMPLE_MAX)
    found: list[Record] = []
    start = 0
    for lane in lanes:
        seen = islice(chain(lane.row, lane.heap), start, None, step)
        found += [one.record for one in seen if one.ticket == one.record.ticket and lane.stand(one) < mine]
        start = (start - len(lane.row) - len(lane.heap)) % step
    return len(found) * step, found
