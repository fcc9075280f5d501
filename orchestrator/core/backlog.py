"""Who waits: tasks of one type and demand form a demand class, and a decision looks at heads of classes, never at all tasks.

Law: instances judge the tasks of a class alike. Where limits tell them apart (by tenant, say) a class has *lanes*, and limits
judge the tasks of a lane alike; else it has one. A lane is a heap by (ordering key, arrival); within a workflow, whose tasks
arrive together, the critical path goes first. Cancelling or re-keying leaves a void entry behind (its ticket is old), dropped when
it comes up. A class whose head fits nowhere is *blocked* until something of its service gets better; one that would fit, but only
where it would delay another's reservation (``reserving``), is *kept out*: blocked until a reservation ends, or it has a head that
goes before. A lane that a limit holds back *waits* there, and hides neither the other lanes nor the other classes. After a takeover
the tasks accepted before the claim are set aside per service until every agent that may hold them has answered (R3), and come
back as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import nsmallest
from typing import TYPE_CHECKING

from orchestrator.core.estimates import Estimates
from orchestrator.core.heads import Entry, Heads
from orchestrator.core.lanes import ClassKey, Delegating, DemandClass, Lane
from orchestrator.core.limits import Limits, Shares
from orchestrator.core.records import Record
from orchestrator.policies.ordering import Ordering, Waiting
from orchestrator.resources import Demand, demand_of
from orchestrator.vocabulary import Incarnation, Nanos, Service, TaskId, TaskType, service_of
from orchestrator.wire.messages import Need, Task

if TYPE_CHECKING:
    from orchestrator.core.registry import Instance
    from orchestrator.core.reserving import Reservation


class Queue:
    """The backlog of one service."""

    def __init__(self, service: Service, ordering: Ordering) -> None:
        self.service = service
        self.ordering = ordering
        self.classes: dict[ClassKey, DemandClass] = {}
        self.aside: dict[ClassKey, DemandClass] = {}
        """Accepted before the claim, waiting for agents to answer."""
        self.reservations: dict[TaskId, Reservation] = {}
        """Of heads that fit nowhere."""
        self.freed: dict[Incarnation, Instance] = {}
        """Kept for somebody until now."""
        self.released: set[DemandClass] = set()
        """Those that were kept out, fit on these if anywhere, and may try again. (Asked for membership only.)"""
        self.look_ns: Nanos = 0
        """When somebody who is not to be asked to make room yet may be."""
        self.size = 0
        """How many wait, those set aside included."""
        self._heads: Heads[DemandClass] = Heads()
        self._blocked: dict[ClassKey, DemandClass] = {}

    def add(self, record: Record, demand: Demand, shares: Shares, key: float, *, aside: bool = False) -> None:
        """``record`` waits here from now on, in the place that its ``key`` gives it."""
        name = (record.task.type, demand)
        classes = self.aside if aside else self.classes
        group = classes.get(name)
        if group is None:
            group = classes[name] = DemandClass(self, *name)
            group.aside = aside
        record.ticket += 1
        lane = group.lane(shares)
        entry = Entry(key, record.standing, record.ticket, record)
        group.push(lane, entry)
        self.size += 1
        if group.kept_out is not None and not lane.waits and entry < group.kept_out:
            self.unblock(group)
        elif not (aside or group.blocked or lane.waits) and (group.queued is None or entry < group.queued[0]):
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
            key = (group.type, group.demand)
            if not group.aside:
                self._blocked.pop(key, None)
            del (self.aside if group.aside else self.classes)[key]

    def best(self) -> DemandClass | None:
        """The unblocked class whose head goes next."""
        return self._heads.best()

    def block(self, group: DemandClass, *, kept_out: bool = False) -> None:
        """Its head fits nowhere (``kept_out``: but where another's reservation is): leave it out until ``unblock``."""
        group.blocked = True
        group.kept_out = group.head() if kept_out else None
        group.queued = None
        self._blocked[group.type, group.demand] = group

    def blocked(self) -> list[DemandClass]:
        """Those left out."""
        return list(self._blocked.values())

    def unblock(self, group: DemandClass) -> None:
        """Something got better for it: it may try again."""
        self._blocked.pop((group.type, group.demand), None)
        group.blocked, group.kept_out = False, None
        self._heads.offer(group)

    def first(self) -> DemandClass | None:
        """The class with the first head of all, blocked or not."""
        heads = [(head, group) for group in self.classes.values() if (head := group.head())]
        return min(heads, key=lambda one: one[0])[1] if heads else None

    def first_blocked(self, count: int) -> list[DemandClass]:
        """Of the classes whose head fits nowhere, those that go first. One that is kept out is not among them: it would fit."""
        stuck = [(head, one) for one in self._blocked.values() if one.kept_out is None and (head := one.head())]
        return [group for _, group in nsmallest(count, stuck, key=lambda one: one[0])]

    def reserve(self, reservation: Reservation) -> None:
        """The instance is kept for this head."""
        self.reservations[reservation.record.id] = reservation
        reservation.record.reserved = reservation.instance.reserved = reservation

    def unreserve(self, reservation: Reservation) -> None:
        """It is not kept any more: who was kept out may try again."""
        del self.reservations[reservation.record.id]
        reservation.record.reserved = reservation.instance.reserved = None
        self.freed[reservation.instance.incarnation] = reservation.instance
        for group in [group for group in self._blocked.values() if group.kept_out is not None]:
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
        self._reoffer(lane.group)

    def release(self, lane: Lane) -> None:
        """The limit may have room for it now."""
        lane.waits = lane.meter = lane.queued = None
        lane.group.offer(lane)
        kept_out, head = lane.group.kept_out, lane.head()
        if kept_out is not None and head is not None and head < kept_out:
            self.unblock(lane.group)
        self._reoffer(lane.group)

    def _reoffer(self, group: DemandClass) -> None:
        if not (group.blocked or group.aside):
            self._heads.offer(group)

    def reorder(
        self, key: Callable[[Record], float], demand: Callable[[Record], Demand], shares: Callable[[Record], Shares]
    ) -> None:
        """Place every waiting task anew: the ordering, what a type asks by default, or a limit has changed."""
        self.unreserve_all()
        self._heads, self._blocked = Heads(), {}
        for aside in (False, True):
            groups = list((self.aside if aside else self.classes).values())
            (self.aside if aside else self.classes).clear()
            for group in groups:
                for record in list(group.waiting()):
                    self.size -= 1
                    self.add(record, demand(record), shares(record), key(record), aside=aside)
                for lane in group.lanes.values():
                    lane.leave()

    def records(self) -> Iterator[Record]:
        """All that wait here, those set aside included, in no particular order."""
        for group in (*self.classes.values(), *self.aside.values()):
            yield from group.waiting()

    def set_aside(self) -> None:
        """Take everything out of the order until agents have answered (R3). Costs a step per class, not per task."""
        self.unreserve_all()
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
                self._blocked.pop(key, None)
                for lane in list(few.lanes.values()):
                    for entry in lane.heap:
                        if entry.ticket == entry.record.ticket:
                            many.push(many.lane(lane.shares), entry)
                    lane.leave()
                self.classes[key] = group = many
            self._heads.offer(group)


class Backlog:
    """All services' queues."""

    def __init__(self, ordering_of: Callable[[Service], Ordering], estimates: Estimates) -> None:
        self.ordering_of = ordering_of
        """Which ordering holds for a service now."""
        self.estimates = estimates
        self.queues: dict[Service, Queue] = {}
        self.needs: dict[TaskType, Need] = {}
        """What a handler says its tasks ask when they say nothing themselves."""
        self.limits = Limits()
        """What tells apart the tasks of a class."""
        self._demands: dict[str, Demand] = {}
        self._stale: dict[Service, dict[TaskType, None]] = {}
        """Of which types (all, with ``""``) what is expected has moved."""
        self._renewing: list[Record] = []
        """Of the service whose turn it is, those still to be placed anew."""

    def queue(self, service: Service) -> Queue:
        """The queue of a service, made at first sight."""
        found = self.queues.get(service)
        if found is None:
            found = self.queues[service] = Queue(service, self.ordering_of(service))
        return found

    def __len__(self) -> int:
        return sum(queue.size for queue in self.queues.values())

    def add(self, record: Record, *, aside: bool = False) -> Queue:
        """``record`` waits from now on; ``aside``: not before agents have answered."""
        queue = self.queue(record.service)
        queue.add(record, self.demand(record), self.shares(record), self.key(record), aside=aside)
        return queue

    def remove(self, record: Record) -> None:
        """``record`` waits no more, if it did."""
        if record.place is not None:
            self.queue(record.service).remove(record)

    def order_anew(self, but_for: Ordering | None = None) -> None:
        """Orderings may have been switched: those who wait where another holds now take their new places.

        ``but_for``: one that decides otherwise than before.
        """
        for service, queue in self.queues.items():
            ordering = self.ordering_of(service)
            if ordering != queue.ordering or ordering is but_for:
                queue.ordering = ordering
                queue.reorder(self.key, self.demand, self.shares)

    def limit_by(self, limits: Limits) -> None:
        """Other limits from now on, for those who wait as well. Only if they tell tasks apart otherwise is anybody moved."""
        moved = limits.grain != self.limits.grain
        self.limits = limits
        if moved:
            self._demands.clear()
            for queue in self.queues.values():
                queue.reorder(self.key, self.demand, self.shares)

    def note_moves(self) -> None:
        """What the estimates expect otherwise now: those of these types (or services) that wait shall be placed anew, a few each
        step."""
        estimates = self.estimates
        for type_ in estimates.moved:
            self._stale.setdefault(service_of(type_), {})[type_] = None
        for service in estimates.rescaled:
            self._stale.setdefault(service, {})[""] = None
        estimates.moved.clear()
        estimates.rescaled.clear()

    def refresh(self, most: int) -> bool:
        """Place anew at most so many of those whose estimates have moved; gives whether there are more.

        Until its turn comes a task stands where it stood: an estimate is no promise, and a hundred thousand at once would stop all
        else.
        """
        while most > 0 and (self._renewing or self._stale):
            if not self._renewing:
                service = next(iter(self._stale))
                types = self._stale.pop(service)
                queue = self.queues.get(service)
                if queue is not None and queue.ordering.estimates:
                    self._renewing = [one for one in queue.records() if "" in types or one.task.type in types]
                continue
            few, self._renewing = self._renewing[-most:], self._renewing[:-most]
            most -= len(few)
            for record in few:
                if record.place is not None:
                    aside = record.place.aside
                    self.remove(record)
                    self.add(record, aside=aside)
        return bool(self._renewing or self._stale)

    def default_need(self, type_: TaskType, need: Need) -> None:
        """What tasks of this type ask when they say nothing; those that wait are judged by it at once."""
        if self.needs.get(type_, {}) != need:
            self.needs[type_] = need
            self.queue(service_of(type_)).reorder(self.key, self.demand, self.shares)

    def key(self, record: Record) -> float:
        """The key of a task, as the ordering of its service has it."""
        ordering = self.queue(record.service).ordering
        return ordering.key(self.waiting(record, ordering))

    def waiting(self, record: Record, ordering: Ordering) -> Waiting:
        """What that ordering may know of a waiting task."""
        task = record.task
        if not ordering.estimates:
            return Waiting(record.at_ns, record.priority, task.tenant, task.deadline_ns)
        whole, rest = self.estimates.expect(record), self.estimates.remaining(record)
        whole_ns, rest_ns = whole.middle_ns, rest.middle_ns
        if record.node is not None:  # one size for all of a workflow: what remains of it
            whole_ns = rest_ns = record.node.graph.keyed_ns or whole_ns
        return Waiting(
            record.at_ns, record.priority, task.tenant, task.deadline_ns,
            whole_ns, rest_ns, rest.long_ns, self.estimates.typical_ns(record.service),
        )  # fmt: skip

    def demand(self, record: Record) -> Demand:
        """What the task asks, as a demand; equal needs share one."""
        return self.demand_for(record.task)

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
