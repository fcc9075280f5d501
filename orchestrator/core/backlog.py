"""Who waits: tasks of one type and demand form a demand class, and a decision looks at heads of classes, never at all tasks.

Law: a class (``lanes``) whose head fits nowhere is *blocked* until something of its service gets better; one that would fit, but
only where it would delay another's reservation (``reserving``), is *kept out*: blocked until a reservation ends, or it has a head
that goes before. A lane that a limit holds back *waits* there, and hides neither the other lanes nor the other classes. After a
takeover the tasks accepted before the claim are set aside per service until every agent that may hold them has answered (R3), and
come back as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from heapq import nsmallest
from operator import itemgetter
from typing import TYPE_CHECKING, Protocol

from orchestrator.core import rules
from orchestrator.core.accounts import Accounts
from orchestrator.core.estimates import Estimates, kind_of
from orchestrator.core.heads import Entry, Heads
from orchestrator.core.lanes import ClassKey, Delegating, DemandClass, Frame, Lane
from orchestrator.core.limits import Limits, Shares
from orchestrator.core.records import Record
from orchestrator.policies.ordering import Ordering, Waiting
from orchestrator.resources import Demand, apart, demand_of
from orchestrator.vocabulary import Incarnation, Nanos, Service, TaskId, TaskType, service_of
from orchestrator.wire.messages import Need, Task

if TYPE_CHECKING:
    from orchestrator.core.biding import Biding
    from orchestrator.core.registry import Instance
    from orchestrator.core.reserving import Reservation


def own_words(type_: TaskType) -> Hashable:
    """The kind of tasks of which each is expected something of its own: it says so, has run before, or is part of a workflow."""
    return type_, "own"


class Judge(Protocol):
    """What is to be known of a task that waits."""

    def demand(self, record: Record) -> Demand: ...

    def shares(self, record: Record) -> Shares: ...

    def kind(self, record: Record) -> Hashable: ...

    def key(self, record: Record) -> float: ...

    def key_in(self, record: Record, lane: Lane) -> float: ...


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
        """Those that were kept out, fit on these if anywhere, and may try again. (Asked for membership only.)"""
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

    def first(self) -> DemandClass | None:
        """The class with the first head of all, blocked or not."""
        heads = [(head, group) for group in self.classes.values() if (head := group.head())]
        return min(heads, key=lambda one: one[0])[1] if heads else None

    def first_blocked(self, count: int) -> list[DemandClass]:
        """Of the classes whose head fits nowhere, those that go first. One that is kept out is not among them: it would fit."""
        stuck = [(head, one) for one in self._blocked if one.kept_out is None and (head := one.head())]
        return [group for _, group in nsmallest(count, stuck, key=itemgetter(0))]

    def reserve(self, reservation: Reservation) -> None:
        """The instance is kept for this head."""
        self.reservations[reservation.record.id] = reservation
        reservation.record.reserved = reservation.instance.reserved = reservation

    def unreserve(self, reservation: Reservation) -> None:
        """It is not kept any more: who was kept out may try again."""
        del self.reservations[reservation.record.id]
        reservation.record.reserved = reservation.instance.reserved = None
        self.freed[reservation.instance.incarnation] = reservation.instance
        for group in [group for group in self._blocked if group.kept_out is not None]:
            self.released.add(group)
            self.unblock(group)

    def forget_freed(self) -> None:
        """What was kept has been offered to those who were kept out."""
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
        """The head of this class may be another one now, or go before those that it was behind."""
        if group.kept_out is not None:
            if (head := group.head()) is not None and head < group.kept_out:
                self.unblock(group)
        elif not (group.blocked or group.aside):
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


class Backlog:
    """All services' queues."""

    def __init__(self, ordering_of: Callable[[Service], Ordering], estimates: Estimates, losses_max: int = 3) -> None:
        self.ordering_of = ordering_of
        """Which ordering holds for a service now."""
        self.estimates = estimates
        self.losses_max = losses_max
        self.queues: dict[Service, Queue] = {}
        self.needs: dict[TaskType, Need] = {}
        """What a handler says its tasks ask when they say nothing themselves."""
        self.limits = Limits()
        """What tells apart the tasks of a class."""
        self._demands: dict[str, Demand] = {}
        self._stale: dict[Lane, None] = {}
        """Lanes whose tasks are to be placed anew."""
        self._renewing: list[Record] = []
        """Of the lane whose turn it is, those still to be placed."""

    def queue(self, service: Service) -> Queue:
        """The queue of a service, made at first sight."""
        found = self.queues.get(service)
        if found is None:
            found = self.queues[service] = Queue(service, self.ordering_of(service), self)
            found.accounts.typical_ns = self.estimates.typical_ns(service)
        return found

    def __len__(self) -> int:
        return sum(queue.size for queue in self.queues.values())

    def add(self, record: Record, *, aside: bool = False) -> Queue:
        """``record`` waits from now on; ``aside``: not before agents have answered."""
        queue = self.queue(record.service)
        queue.add(record, aside=aside)
        return queue

    def remove(self, record: Record) -> None:
        """``record`` waits no more, if it did."""
        if record.place is not None:
            record.place.queue.remove(record)

    def order_anew(self, but_for: Ordering | None = None) -> None:
        """Orderings may have been switched: those who wait where another holds now take their new places.

        ``but_for``: one that decides otherwise than before.
        """
        for service, queue in self.queues.items():
            ordering = self.ordering_of(service)
            if ordering != queue.ordering or ordering is but_for:
                queue.ordering = queue.accounts.ordering = ordering
                queue.by_tenant = ordering.by_tenant
                queue.reorder()

    def limit_by(self, limits: Limits) -> None:
        """Other limits from now on, for those who wait as well. Only if they tell tasks apart otherwise is anybody moved."""
        moved = limits.grain != self.limits.grain
        self.limits = limits
        if moved:
            self._demands.clear()
            for queue in self.queues.values():
                queue.reorder()

    def note_moves(self) -> None:
        """Something else is expected of some than those who wait were ordered by. A lane of which all that is expected moves stands
        elsewhere at once; tasks of which each is expected something of its own are placed anew, a few each step.
        """
        estimates = self.estimates
        for kind, type_ in estimates.moved.items():
            queue = self.queues.get(service_of(type_))
            if queue is not None and queue.kinds:
                alike = [kind] if kind != (type_,) else [one for one in queue.kinds if one == kind or self._like_type(one, type_)]
                for lane in [lane for one in alike for lane in queue.kinds.get(one, ())]:
                    lane.rank_anew()
                if lanes := queue.kinds.get(own_words(type_)):
                    self._stale |= dict.fromkeys(lanes)
        for service in estimates.rescaled:
            queue = self.queue(service)
            queue.accounts.typical_ns = estimates.typical_ns(service)
            for lanes in queue.kinds.values():
                self._stale |= dict.fromkeys(lanes)
        estimates.moved.clear()
        estimates.rescaled.clear()

    def _like_type(self, kind: Hashable, type_: TaskType) -> bool:
        """Whether, for want of better knowledge, what is expected of the type is expected of this kind."""
        return isinstance(kind, tuple) and kind[0] == type_ and kind != own_words(type_) and not self.estimates.knows(kind)

    def refresh(self, most: int, stir: Callable[[Service], None]) -> bool:
        """Place anew at most so many of those whose estimates have moved; gives whether there are more.

        Until its turn comes a task stands where it stood: an estimate is no promise, and a hundred thousand at once would stop all
        else. ``stir`` hears whose services these are, for who stands in a new lane is held back by nothing yet.
        """
        while most > 0 and (self._renewing or self._stale):
            if not self._renewing:
                lane = next(iter(self._stale))
                del self._stale[lane]
                lane.frame = None
                self._renewing = list(lane.waiting())
                continue
            few = self._renewing[-most:]
            del self._renewing[-most:]
            most -= len(few)
            for record in few:
                if record.place is not None:
                    aside = record.place.aside
                    self.remove(record)
                    self.add(record, aside=aside)
                    stir(record.service)
        return bool(self._renewing or self._stale)

    def default_need(self, type_: TaskType, need: Need) -> None:
        """What tasks of this type ask when they say nothing; those that wait are judged by it at once."""
        if self.needs.get(type_, {}) != need:
            self.needs[type_] = need
            self.queue(service_of(type_)).reorder()

    def key(self, record: Record) -> float:
        """The key of a task, as the ordering of its service has it."""
        ordering = self.queue(record.service).ordering
        return ordering.key(self.waiting(record, ordering))

    def key_in(self, record: Record, lane: Lane) -> float:
        """Its key within that lane: by what is expected of it, or was when the first of the lane came."""
        ordering, task = lane.group.queue.ordering, record.task
        if lane.kind is None:
            return ordering.key(Waiting(record.at_ns, record.priority, task.tenant, task.deadline_ns))
        if lane.kind == own_words(task.type):
            return ordering.key(self.waiting(record, ordering))
        if lane.frame is None:
            lane.frame = self._frame(record)
        return ordering.key(Waiting(record.at_ns, record.priority, task.tenant, task.deadline_ns, *lane.frame))

    def waiting(self, record: Record, ordering: Ordering) -> Waiting:
        """What that ordering may know of a waiting task."""
        task = record.task
        if not ordering.estimates:
            return Waiting(record.at_ns, record.priority, task.tenant, task.deadline_ns)
        return Waiting(record.at_ns, record.priority, task.tenant, task.deadline_ns, *self._frame(record))

    def _frame(self, record: Record) -> Frame:
        """What is expected of it now."""
        whole, rest = self.estimates.expect(record), self.estimates.remaining(record)
        whole_ns, rest_ns = whole.middle_ns, rest.middle_ns
        if record.node is not None:  # one size for all of a workflow: what remains of it
            whole_ns = rest_ns = record.node.graph.keyed_ns or whole_ns
        return Frame(whole_ns, rest_ns, rest.long_ns, self.estimates.typical_ns(record.service))

    def kind(self, record: Record) -> Hashable:
        """What its run time has in common with others: with those of its kind all, or nothing, if it has something of its own."""
        if record.task.estimate_ns or record.node is not None or record.ran_ns:
            return own_words(record.task.type)
        return kind_of(record.task)

    def demand(self, record: Record) -> Demand:
        """What the task asks, as a demand; equal needs share one. On its last chance it meets no other such (R8).

        What makes no sense is refused at submission; should the ledger have such a task all the same (of another version, or
        another hand), it asks for one slot.
        """
        try:
            demand = self.demand_for(record.task)
        except ValueError:
            demand = demand_of({})
        return apart(demand) if record.failures and rules.r8_last_chance(record, self.losses_max) else demand

    def demand_for(self, task: Task) -> Demand:
        """What ``task`` asks. Raises ValueError if that makes no sense."""
        need = task.need or self.needs.get(task.type)
        key = repr(need) if need else ""
        found = self._demands.get(key)
        if found is None:
            if len(self._demands) > 10_000:
                self._demands.clear()  # ten thousand odd demands: a flood, not a workload
            found = self._demands[key] = demand_of(self.limits.of_instances(need or {}))
        return found

    def shares(self, record: Record) -> Shares:
        """What the task takes of limits; nothing, where there are none."""
        return self.shares_for(record.task, record.priority) if self.limits else ()

    def shares_for(self, task: Task, priority: int) -> Shares:
        """The same, at this priority."""
        return self.limits.shares(task, self.needs.get(task.type), priority)
