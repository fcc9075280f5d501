"""The backlog of one service: demand classes in the order of their heads.

Law: a class (``lanes``) whose head fits nowhere is *blocked* until something of its service gets better; one that would fit, but
only where it would delay another's reservation (``reserving``), is *kept out*: blocked until a reservation ends, or it has a head
that goes before. A lane that a limit holds back *waits* there, and hides neither the other lanes nor the other classes; a class all
of whose lanes wait so has no head that could be judged, and is not blocked: its next head tries. After a takeover the tasks
accepted before the claim are set aside per service until every agent that may hold them has answered (R3), and come back as they
were.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from heapq import heapify, heappop
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

from orchestrator.core.custody.records import Record
from orchestrator.core.resources.limits import Limits, Shares
from orchestrator.core.scheduler.accounts import Accounts
from orchestrator.core.scheduler.heads import Entry, Heads
from orchestrator.core.scheduler.lanes import ClassKey, Delegating, DemandClass, Lane
from orchestrator.policies.ordering import Ordering
from orchestrator.resources import Demand
from orchestrator.vocabulary import Incarnation, Nanos, Service, TaskId

if TYPE_CHECKING:
    from orchestrator.core.registry.registry import Instance
    from orchestrator.core.scheduler.biding import Biding
    from orchestrator.core.scheduler.reserving import Reservation


class Judge(Protocol):
    """What is to be known of a task that waits."""

    awake: dict[Service, None]
    """Services of which somebody who was left out may try, or a place is kept no more: they have to be looked at."""

    @property
    def limits(self) -> Limits: ...

    def demand(self, record: Record) -> Demand: ...

    def shares(self, record: Record) -> Shares: ...

    def kind(self, record: Record) -> Hashable: ...

    def key(self, record: Record) -> float: ...

    def key_in(self, record: Record, lane: Lane) -> float: ...


def _likeness(record: Record) -> Hashable:
    """What an ordering and a demand are told of a task that was just accepted and has no deadline."""
    task = record.task
    return task.type, record.priority, task.tenant, repr(task.need) if task.need else ""


def heads_of(groups: Iterable[DemandClass]) -> list[tuple[Entry, int, DemandClass]]:
    """A heap of the heads of these classes, as they are now."""
    found = [(head, number, group) for number, group in enumerate(groups) if (head := group.head())]
    heapify(found)
    return found


class Queue:
    """The backlog of one service."""

    def __init__(self, service: Service, ordering: Ordering, judge: Judge) -> None:
        self.service = service
        self.judge = judge
        self.ordering = ordering
        self.by_tenant = ordering.by_tenant
        self.accounts = Accounts(ordering)
        self.kinds: dict[Hashable, dict[Lane, None]] = {}
        """Lanes by what their run times have in common, where the ordering looks at these."""
        self.classes: dict[ClassKey, DemandClass] = {}
        self.aside: dict[ClassKey, DemandClass] = {}
        """Accepted before the claim, waiting for agents to answer."""
        self.reservations: dict[TaskId, Reservation] = {}
        """Of heads that fit nowhere."""
        self.freed: dict[Incarnation, Instance] = {}
        """Kept for somebody until now."""
        self.released: set[DemandClass] = set()
        """Those that were kept out, and may try again: until the next look is over they fit on these, and on what has got better
        since, if anywhere. (Asked for membership only.)"""
        self.biding: dict[ClassKey, Biding] = {}
        """Whose head would rather wait for a faster instance than start where there is room: kept out until anything happens."""
        self.bide_ns: Nanos = 0
        """When one of them may at the earliest have waited long enough."""
        self.look_ns: Nanos = 0
        """When somebody who is not to be asked to make room yet may be."""
        self.size = 0
        """How many wait, those set aside included."""
        self._heads: Heads[DemandClass] = Heads()
        self._blocked: dict[DemandClass, None] = {}

    def add(self, record: Record, *, aside: bool = False) -> None:
        """``record`` waits here from now on."""
        judge = self.judge
        name = (record.task.type, judge.demand(record))
        classes = self.aside if aside else self.classes
        group = classes.get(name)
        if group is None:
            group = classes[name] = DemandClass(self, *name)
            group.aside = aside
        kind = judge.kind(record) if self.ordering.estimates else None
        lane = group.lane(judge.shares(record), kind, self.accounts.of(record.task.tenant) if self.by_tenant else None)
        record.ticket += 1
        entry = Entry(judge.key_in(record, lane), *record.standing, record.ticket, record)
        group.push(lane, entry)
        self.size += 1
        if aside or lane.waits is not None:
            return
        first = lane.head() if lane.ranked else entry
        if group.kept_out is not None:
            if first is not None and first < group.kept_out:
                self.unblock(group)
        elif not group.blocked and (group.queued is None or first is None or first < group.queued[0]):
            self._heads.offer(group)

    def add_all(self, records: Iterable[Record]) -> None:
        """As ``add``, of tasks that were accepted together, in their order: those alike have one key and stand one behind the
        other, so what holds for the first holds for all of them."""
        if self.ordering.estimates or self.by_tenant or self.judge.limits:
            for record in records:
                self.add(record)
            return
        for first, *others in (list(alike) for _, alike in groupby(records, _likeness)):
            self.add(first)
            lane = first.place
            assert lane is not None
            group, key = lane.group, self.judge.key_in(first, lane)
            for record in others:
                record.ticket += 1
                record.place = lane
                lane.put(Entry(key, record.accepted, record.index, 0, record.index, record.ticket, record))
            group.size += len(others)
            self.size += len(others)

    def remove(self, record: Record) -> None:
        """``record`` waits no more."""
        lane = record.place
        assert lane is not None, f"task {record.id} does not wait"
        group = lane.group
        if record.reserved is not None:
            self.unreserve(record.reserved)
        record.ticket += 1
        record.place = None
        group.drop(lane)
        self.size -= 1
        if group.size == 0:
            group.queued = None
            self._blocked.pop(group, None)
            del (self.aside if group.aside else self.classes)[group.type, group.demand]
        elif group.blocked and group.head() is None:
            self.unblock(group)  # all that is left of it waits for limits

    def best(self) -> DemandClass | None:
        """The unblocked class whose head goes next."""
        return self._heads.best()

    def block(self, group: DemandClass, *, kept_out: bool = False) -> None:
        """Its head fits nowhere (``kept_out``: but where another's reservation is): leave it out until ``unblock``."""
        group.blocked = True
        group.kept_out = group.head() if kept_out else None
        group.queued = None
        self._blocked[group] = None

    def blocked(self) -> list[DemandClass]:
        """Those left out."""
        return list(self._blocked)

    def unblock(self, group: DemandClass) -> None:
        """Something got better for it: it may try again."""
        self._blocked.pop(group, None)
        group.blocked, group.kept_out = False, None
        self._heads.offer(group)

    def bide(self, biding: Biding) -> None:
        """The head of this class would rather wait: leave it out until ``look_again``."""
        group = biding.group
        self.block(group, kept_out=True)
        self.biding[group.type, group.demand] = biding

    def look_again(self) -> None:
        """Those that bided may think otherwise now."""
        biding, self.biding = self.biding, {}
        for one in biding.values():
            if one.group in self._blocked:
                self.unblock(one.group)

    def first_blocked(self, count: int, edition: int, is_taken: Callable[[DemandClass], bool]) -> list[DemandClass]:
        """Of the classes whose head fits nowhere, those that go first. One that is kept out is not among them: it would fit; nor is
        one that nobody would take, whatever ends (``is_taken``; ``edition``: of the pool, as of now)."""
        stuck = heads_of(one for one in self._blocked if one.kept_out is None and one.barred != edition)
        found: list[DemandClass] = []
        while stuck and len(found) < count:
            group = heappop(stuck)[2]
            if is_taken(group):
                found.append(group)
        return found

    def reserve(self, reservation: Reservation) -> None:
        """The instance is kept for this head."""
        self.reservations[reservation.record.id] = reservation
        reservation.record.reserved = reservation.instance.reserved = reservation

    def unreserve(self, reservation: Reservation) -> None:
        """It is not kept any more: who was kept out may try again."""
        del self.reservations[reservation.record.id]
        reservation.record.reserved = reservation.instance.reserved = None
        self.freed[reservation.instance.incarnation] = reservation.instance
        self.judge.awake[self.service] = None
        for group in [group for group in self._blocked if group.kept_out is not None]:
            self.released.add(group)
            self.unblock(group)

    def forget_freed(self) -> None:
        """What was kept has been offered to those who were kept out, or these may try everywhere: once a look is over nobody
        remembers what got better in it."""
        self.freed, self.released = {}, set()

    def unreserve_all(self) -> None:
        """As the order of all changes."""
        for reservation in list(self.reservations.values()):
            self.unreserve(reservation)

    def hold(self, lane: Lane, meter: Delegating, where: Heads[Lane]) -> None:
        """A limit holds this lane back: it waits ``where``, and the others of its class go on."""
        lane.waits, lane.meter = where, meter
        where.offer(lane)
        if (head := lane.head()) is not None and head.record.reserved is not None:
            self.unreserve(head.record.reserved)  # it cannot go, whatever is kept for it
        self.offer(lane.group)

    def release(self, lane: Lane) -> None:
        """The limit may have room for it now."""
        lane.waits = lane.meter = lane.queued = None
        lane.group.offer(lane)
        self.offer(lane.group)

    def offer(self, group: DemandClass) -> None:
        """The head of this class may be another one now, or none, or go before those that it was behind."""
        if group.blocked:
            head = group.head()
            if head is None or (group.kept_out is not None and head < group.kept_out):
                self.unblock(group)
                self.judge.awake[self.service] = None
        elif not group.aside:
            self._heads.offer(group)

    def reorder(self) -> None:
        """Place every waiting task anew: the ordering, what a type asks by default, or a limit has changed."""
        self.unreserve_all()
        self._heads, self._blocked = Heads(), {}
        for aside in (False, True):
            groups = list((self.aside if aside else self.classes).values())
            (self.aside if aside else self.classes).clear()
            for group in groups:
                for record in list(group.waiting()):
                    self.size -= 1
                    self.add(record, aside=aside)
                for lane in group.lanes.values():
                    lane.leave()

    def records(self) -> Iterator[Record]:
        """All that wait here, those set aside included, in no particular order."""
        for group in (*self.classes.values(), *self.aside.values()):
            yield from group.waiting()

    def set_aside(self) -> None:
        """Take everything out of the order until agents have answered (R3). Costs a step per class, not per task."""
        self.unreserve_all()
        self.forget_freed()  # when they come back they may try everywhere
        self.take_back()
        self.aside, self.classes = self.classes, {}
        self._heads, self._blocked = Heads(), {}
        for group in self.aside.values():
            group.aside, group.blocked, group.kept_out, group.queued = True, False, None, None

    def take_back(self) -> None:
        """What was set aside stands in the order again."""
        aside, self.aside = self.aside, {}
        for key, group in aside.items():
            group.aside = False
            newer = self.classes.get(key)
            if newer is None:
                self.classes[key] = group
            else:  # tasks of the same class came meanwhile: the fewer move
                few, many = sorted((group, newer), key=lambda one: one.size)
                many.aside, many.blocked, many.kept_out, few.queued = False, False, None, None
                self._blocked.pop(newer, None)
                for lane in list(few.lanes.values()):
                    for entry in lane.entries():
                        many.push(many.lane(lane.shares, lane.kind, lane.account), entry)
                    lane.leave()
                self.classes[key] = group = many
            self._heads.offer(group)
