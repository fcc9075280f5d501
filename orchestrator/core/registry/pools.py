"""The instances of one service, ready to be asked by a placement: those with room, by load, by lot, on a ring of keys.

Law: an instance of which something has changed (``touch``) is put right in the index, in O(log n), before the index is looked at
next, however often it has changed meanwhile; so a choice looks at as few as the policy likes; and its order does not depend on
hashing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace
from itertools import takewhile
from math import exp
from random import Random
from typing import TYPE_CHECKING

from orchestrator.core.scheduler.draws import Lots, Ring
from orchestrator.vocabulary import Incarnation, Milli, Nanos, Service, Vector

if TYPE_CHECKING:
    from orchestrator.core.registry.registry import Instance


@dataclass(slots=True, eq=False)
class Load:
    """A share, averaged over time with a memory that fades: what lies ``window`` back counts a third as much as what is now."""

    busy: float = 0.0
    """The share since it was last averaged."""
    mean: float = 0.0
    at_ns: Nanos = 0

    def average(self, now: Nanos, window_ns: Nanos) -> float:
        """The mean up to ``now``."""
        if self.at_ns:
            fades = exp((self.at_ns - now) / window_ns)
            self.mean = self.mean * fades + self.busy * (1.0 - fades)
        self.at_ns = now
        return self.mean


class Pool:
    """The instances of one service that have room, in an order that does not depend on hashing."""

    def __init__(self, service: Service, editions: int = 0) -> None:
        self.service = service
        self.editions = editions
        """How often one of them has begun to offer something."""
        self.members: dict[Incarnation, Instance] = {}
        self.unanswered: dict[Incarnation, None] = {}
        """Joined before our claim, not answered, not known to be gone (R2, R3)."""
        self.fenced: dict[Incarnation, None] = {}
        """Gone on evidence before they could answer, their lease not over: what must never overlap waits for them too."""
        self.turns = 0
        self.planned = 0
        """How many instances were looked at for reservations: the next look goes on from there."""
        self.load = Load()
        self.toil = Load()
        """The same, over some dozens of typical run times; kept where the placement is patient."""
        self._offering: dict[Instance, int] = {}
        """Those that are ready, with the edition in which each began to offer what it does: the newest last."""
        self._places = self._taken = 0
        self._total: Vector = {}
        self._changed: dict[Instance, None] = {}
        """Touched since the index was put right."""
        self._uncounted: dict[Instance, None] = {}
        """Touched since the sums were put right: these are asked for less often."""
        self._tickets = 0
        self._open: list[Instance] = []
        self._lots: Lots | None = None
        """Chances of the open ones, in their order; kept from the first draw on."""
        self._ring: Ring | None = None
        """Where keys live; drawn anew when members come and go."""
        self._named: dict[str, list[Instance]] = {}
        self._by_load: list[tuple[int, str, int, Instance]] = []

    @property
    def deserted(self) -> bool:
        """Whether nobody is here, and nobody is expected to answer."""
        return not (self.members or self.unanswered or self.fenced)

    def enter(self, instance: Instance) -> None:
        """It belongs to the service from now on."""
        self.members[instance.incarnation] = instance
        self._ring = None

    def leave(self, instance: Instance) -> None:
        """It does not any more. Nothing here holds it from now on: where nothing is placed the index is never put right."""
        if self.members.pop(instance.incarnation, None) is not None:
            self._ring = None
        self._changed.pop(instance, None)
        self._uncounted.pop(instance, None)
        self._index(instance, room=False)
        self._count(instance, 0, 0, {})
        self._offering.pop(instance, None)
        instance.offers = None

    def touch(self, instance: Instance) -> None:
        """Something about this instance changed."""
        self._changed[instance] = None

    def _put_right(self) -> None:
        """The index is true again."""
        changed, self._changed = self._changed, {}
        for instance in changed:
            if self.members.get(instance.incarnation) is instance:  # it may have been touched once more after it had left
                self._take_offer(instance)
                self._index(instance, instance.has_room)
                self._uncounted[instance] = None

    def _take_offer(self, instance: Instance) -> None:
        """It may offer something else than before, or nothing any more."""
        offers = instance.announced if instance.state == "ready" and not instance.circle else None
        if offers is not instance.offers:
            instance.offers = offers
            self._offering.pop(instance, None)
            if offers is not None:
                self.editions += 1
                self._offering[instance] = self.editions

    @property
    def edition(self) -> int:
        """What is offered in the next one may be more than in this."""
        if self._changed:
            self._put_right()
        return self.editions

    def offering(self, since: int) -> Iterator[Instance]:
        """Those that are ready and offer something else than in this edition, the newest first."""
        if self._changed:
            self._put_right()
        return (one for one, edition in takewhile(lambda item: item[1] > since, reversed(self._offering.items())))

    def _index(self, instance: Instance, room: bool) -> None:
        self._tickets += 1  # unique in the pool: an incarnation that is forgotten and comes again must not tie with itself
        instance.ticket = self._tickets
        if room:
            if instance.place < 0:
                instance.place = len(self._open)
                self._open.append(instance)
            if self._lots is not None:
                self._lots.put(instance.place, instance.capacity.get("slots", 0))
            self._stand(instance)
        elif instance.place >= 0:
            last = self._open.pop()
            if self._lots is not None:
                self._lots.put(len(self._open), 0)
            if last is not instance:
                self._open[instance.place] = last
                last.place = instance.place
                if self._lots is not None:
                    self._lots.put(last.place, last.capacity.get("slots", 0))
            instance.place = -1

    def _stand(self, instance: Instance) -> None:
        """It stands among the others by its load of now."""
        heap, entry = self._by_load, (instance.load, instance.incarnation, instance.ticket, instance)
        if heap and heap[0][3] is instance:
            heapreplace(heap, entry)  # it was the least loaded, and has just been given something
            return
        heappush(heap, entry)
        if len(heap) > 4 * len(self._open) + 64:
            self._by_load = [entry for entry in heap if _current(entry)]
            heapify(self._by_load)

    def _add_up(self) -> None:
        """The sums are true again."""
        self._put_right()
        uncounted, self._uncounted = self._uncounted, {}
        for instance in uncounted:
            places = instance.capacity.get("slots", 0) if instance.state == "ready" else 0
            taken = places - instance.free.get("slots", 0) if instance.state == "ready" else 0
            self._count(instance, places, taken, instance.capacity)

    def _count(self, instance: Instance, places: Milli, taken: Milli, whole: Vector) -> None:
        before = instance.counted
        self._places += places - before[0]
        self._taken += taken - before[1]
        instance.counted = places, taken
        if whole is not instance.totalled:
            for name, amount in instance.totalled.items():
                self._total[name] -= amount
            for name, amount in whole.items():
                self._total[name] = self._total.get(name, 0) + amount
            instance.totalled = whole

    @property
    def places(self) -> float:
        """Slots of those that are ready."""
        self._add_up()
        return self._places / 1000

    @property
    def taken(self) -> float:
        """Of these, how many are granted."""
        self._add_up()
        return self._taken / 1000

    @property
    def total(self) -> Vector:
        """What all members have together."""
        self._add_up()
        return self._total

    @property
    def busy(self) -> float:
        """Share of the slots that is granted, 0…1."""
        places = self.places
        return min(1.0, self._taken / 1000 / places) if places > 0 else 0.0

    @property
    def open(self) -> int:
        """How many have room."""
        if self._changed:
            self._put_right()
        return len(self._open)

    def draw(self, count: int, dice: Random) -> list[Instance]:
        """``count`` different open instances, each with a chance in proportion to its slots. O(count · log n)."""
        self._put_right()
        lots = self._lots
        if lots is None:
            lots = self._lots = Lots()
            for one in self._open:
                lots.put(one.place, one.capacity.get("slots", 0))
        return [self._open[position] for position in lots.draw(count, dice)]

    def home(self, key: str) -> Instance | None:
        """The ready instance on which this key lives. O(log n), but for the first time after members have come or gone."""
        if self._ring is None:
            self._named = {}
            for one in self.members.values():
                self._named.setdefault(one.name, []).append(one)
            self._ring = Ring(self._named)
        return next((one for name in self._ring.around(key) for one in self._named[name] if one.state == "ready"), None)

    def opened(self, index: int) -> Instance:
        """The ``index``-th of those that have room."""
        self._put_right()
        return self._open[index]

    def least_loaded(self, most: int) -> list[Instance]:
        """The least loaded of the open instances, and those that are as little loaded: the first ``most`` of them, in order."""
        if self._changed:
            self._put_right()
        heap = self._by_load
        while heap:
            load, _, ticket, first = heap[0]
            if ticket == first.ticket and first.place >= 0:
                break
            heappop(heap)
        else:
            return []
        count = len(heap)
        if (count < 2 or heap[1][0] > load) and (count < 3 or heap[2][0] > load):
            return [first]
        found: list[Instance] = []
        near = [(heap[0], 0)]  # those whose turn it may be, and where they stand: the heap is walked from its top, and not changed
        while near and len(found) < most:
            entry, at = heappop(near)
            if _current(entry):
                found.append(entry[3])
            left, right = 2 * at + 1, 2 * at + 2
            if left < count and heap[left][0] == load:
                heappush(near, (heap[left], left))
            if right < count and heap[right][0] == load:
                heappush(near, (heap[right], right))
        return found

    def by_load(self, most: int) -> Generator[list[Instance]]:
        """Open instances from the least loaded up, ``most`` equally loaded ones at a time; what was looked at goes back into the
        index when the caller is done.
        """
        self._put_right()
        if len(self._open) == 1:
            yield list(self._open)
            return
        seen: list[tuple[int, str, int, Instance]] = []
        heap = self._by_load
        equals: list[Instance] = []
        try:
            while heap:
                entry = heap[0]
                if equals and (len(equals) == most or entry[0] != seen[-1][0]):
                    yield equals
                    equals = []
                elif _current(heappop(heap)):
                    seen.append(entry)
                    equals.append(entry[3])
            if equals:
                yield equals
        finally:
            for entry in seen:
                if _current(entry):
                    heappush(heap, entry)


def _current(entry: tuple[int, str, int, Instance]) -> bool:
    return entry[2] == entry[3].ticket and entry[3].place >= 0
