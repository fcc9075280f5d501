"""Who waits: tasks of one type and demand form a demand class, and a decision looks at heads of classes, never at all tasks.

Law: each service has a queue of its own (``queues``). When what a task is judged by changes - an ordering, an estimate, a limit,
what its type asks by default - those who wait take their new places.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

from orchestrator.core import rules
from orchestrator.core.custody.records import Record
from orchestrator.core.estimates.estimates import Estimates, kind_of
from orchestrator.core.resources.limits import Limits, Shares
from orchestrator.core.scheduler.lanes import Frame, Lane
from orchestrator.core.scheduler.queues import Queue
from orchestrator.policies.ordering import Ordering, Waiting
from orchestrator.resources import Demand, apart, demand_of
from orchestrator.vocabulary import Service, TaskType, service_of
from orchestrator.wire.messages import Need, Task

DEMANDS_MAX = 250
"""So many different demands are remembered as they were reckoned. Of more, a flood or a workload that computes them, each is
reckoned anew: two microseconds."""


def own_words(type_: TaskType) -> Hashable:
    """The kind of tasks of which each is expected something of its own: it says so, has run before, or is part of a workflow."""
    return type_, "own"


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
        self.awake: dict[Service, None] = {}
        """Services of which somebody who was left out may try, or a place is kept no more."""
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

    def order_anew(self, changed: Iterable[Ordering] = ()) -> list[Service]:
        """Orderings may have been switched: those who wait where another holds now take their new places. Gives whose these are.

        ``changed``: those that decide otherwise than before.
        """
        others, moved = {id(one) for one in changed}, []
        for service, queue in self.queues.items():
            ordering = self.ordering_of(service)
            if ordering != queue.ordering or id(ordering) in others:
                moved.append(service)
                queue.ordering = queue.accounts.ordering = ordering
                queue.by_tenant = ordering.by_tenant
                queue.reorder()
        return moved

    def limit_by(self, limits: Limits) -> None:
        """Other limits from now on, for those who wait as well. Only if they tell tasks apart otherwise is anybody moved."""
        moved = limits.grain != self.limits.grain
        self.limits = limits
        if moved:
            self._demands.clear()
            for queue in self.queues.values():
                queue.reorder()

    def note_moves(self, stir: Callable[[Service], None]) -> None:
        """Something else is expected of some than those who wait were ordered by. A lane of which all that is expected moves stands
        elsewhere at once; tasks of which each is expected something of its own are placed anew, a few each step. ``stir`` hears
        whose these are: who goes before others now may start where they may not.
        """
        estimates = self.estimates
        for kind, type_ in estimates.moved.items():
            queue = self.queues.get(service_of(type_))
            if queue is not None and queue.kinds:
                alike = [kind] if kind != (type_,) else [one for one in queue.kinds if one == kind or self._like_type(one, type_)]
                for lane in [lane for one in alike for lane in queue.kinds.get(one, ())]:
                    lane.rank_anew()
                stir(queue.service)
                if lanes := queue.kinds.get(own_words(type_)):
                    self._stale |= dict.fromkeys(lanes)
        for service in estimates.rescaled:
            queue = self.queue(service)
            queue.accounts.typical_ns = estimates.typical_ns(service)
            for lanes in queue.kinds.values():
                self._stale |= dict.fromkeys(lanes)
        estimates.moved.clear()
        estimates.rescaled.clear()

    def note_awake(self, stir: Callable[[Service], None]) -> None:
        """``stir`` hears where a reservation has ended, or a head has come to go before others, and nobody has looked since."""
        for service in self.awake:
            if (queue := self.queues.get(service)) is not None and (queue.freed or queue.best() is not None):
                stir(service)
        self.awake.clear()

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

    def heeds(self, record: Record, priority: int) -> bool:
        """Whether the ordering of its service would put it elsewhere at this priority."""
        ordering = self.ordering_of(record.service)
        now = self.waiting(record, ordering)
        return ordering.key(now) != ordering.key(now._replace(priority=priority))

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
            if len(self._demands) >= DEMANDS_MAX:
                self._demands.clear()
            found = self._demands[key] = demand_of(self.limits.of_instances(need or {}))
        return found

    def shares(self, record: Record) -> Shares:
        """What the task takes of limits; nothing, where there are none."""
        return self.shares_for(record.task, record.priority) if self.limits else ()

    def shares_for(self, task: Task, priority: int) -> Shares:
        """The same, at this priority."""
        return self.limits.shares(task, self.needs.get(task.type), priority)
