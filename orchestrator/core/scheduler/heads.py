"""An order of groups by their heads: a heap that is put right only where it is looked at.

Law: a member stands in one such order at a time, under the item that it remembers (``queued``); an older item is void and is
dropped when it comes up. Offering costs O(log n), the best is found in O(1) amortised.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from orchestrator.core.custody.records import Record


class Entry(NamedTuple):
    """A place in the order. ``ticket`` tells whether it is still the place of its record."""

    key: float
    accepted: int
    first: int
    urgency_ns: int
    nth: int
    """This and the three before: its standing among those with the same key (``Record.standing``)."""
    ticket: int
    record: Record

    @property
    def standing(self) -> tuple[int, ...]:
        return self[1:5]


class Member(Protocol):
    """What has a head."""

    queued: Item | None

    def head(self) -> Entry | None: ...


Item: TypeAlias = tuple[Entry, int, Member]
"""A head, a number that breaks ties (an entry that moved may stand here twice), and whose head it was."""

M = TypeVar("M", bound=Member)


class Heads(Generic[M]):
    """See the head of this file."""

    __slots__ = ("_count", "_items", "_kept")

    def __init__(self) -> None:
        self._items: list[tuple[Entry, int, M]] = []
        self._count = 0
        self._kept = 0

    def offer(self, member: M) -> None:
        """It stands here by its present head; without one, nowhere."""
        if (head := member.head()) is None:
            member.queued = None
            return
        self._count += 1
        member.queued = item = head, self._count, member
        heappush(self._items, item)
        if len(self._items) > 4 * self._kept + 64:
            self._items = [one for one in self._items if one[2].queued is one]
            heapify(self._items)
            self._kept = len(self._items)

    def best(self) -> M | None:
        """The member whose head goes first."""
        items = self._items
        while items:
            item = items[0]
            first, _, member = item
            if member.queued is not item:
                heappop(items)
            elif (head := member.head()) is first:
                return member
            elif head is None:
                heappop(items)
                member.queued = None
            else:
                self._count += 1
                member.queued = item = head, self._count, member
                heapreplace(items, item)
                if items[0] is item:
                    return member
        return None

    def members(self) -> Iterator[M]:
        """All that stand here, in no particular order."""
        return (one[2] for one in self._items if one[2].queued is one)
