"""Who waits: tasks of one type and demand form a demand class, and a decision looks at heads of classes, never at all tasks.

Law: a class is a heap by (ordering key, arrival); within a workflow, whose tasks arrive together, the critical path goes first.
Cancelling or re-keying leaves a void entry behind (its ticket is old), dropped when it comes up. A class whose head fits nowhere is
*blocked* until something of its service gets better; its refusals are what ``why`` prints. After a takeover the tasks accepted
before the claim are set aside per service until every agent that may hold them has answered (R3), and come back as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import NamedTuple, TypeAlias

from orchestrator.core.estimates import Estimates
from orchestrator.core.records import Record
from orchestrator.policies.ordering import Ordering, Waiting
from orchestrator.resources import Demand, demand_of
from orchestrator.vocabulary import Service, TaskType, service_of
from orchestrator.wire.messages import Need, Task


class Entry(NamedTuple):
    """A place in the order. ``ticket`` tells whether it is still the place of its record."""

    key: float
    standing: tuple[int, int, int, int]
    """Among those with the same key (``Record.standing``)."""
    ticket: int
    record: Record


ClassKey: TypeAlias = tuple[TaskType, Demand]


class DemandClass:
    """Waiting tasks that any instance would judge alike."""

    __slots__ = ("aside", "blocked", "demand", "heap", "queued", "size", "type")

    def __init__(self, type_: TaskType, demand: Demand) -> None:
        self.type = type_
        self.demand = demand
        self.heap: list[Entry] = []
        self.size = 0
        self.blocked = False
        self.aside = False
        self.queued: Entry | None = None
        """The head under which it stands in its service's order of classes."""

    def head(self) -> Entry | None:
        """The first that still waits."""
        heap = self.heap
        while heap and heap[0].ticket != heap[0].record.ticket:
            heappop(heap)
        return heap[0] if heap else None

    def waiting(self) -> Iterator[Record]:
        """All that wait, in no particular order."""
        return (entry.record for entry in self.heap if entry.ticket == entry.record.ticket)


class Queue:
    """The backlog of one service."""

    def __init__(self, service: Service, ordering: Ordering) -> None:
        self.service = service
        self.ordering = ordering
        self.classes: dict[ClassKey, DemandClass] = {}
        self.aside: dict[ClassKey, DemandClass] = {}
        """Accepted before the claim, waiting for agents to answer."""
        self.size = 0
        """How many wait, those set aside included."""
        self._heads: list[tuple[Entry, int, DemandClass]] = []
        """Numbered, for an entry that moved from one class to another may stand here under both."""
        self._offers = 0

    def add(self, record: Record, demand: Demand, key: float, *, aside: bool = False) -> None:
        """``record`` waits here from now on, in the place that its ``key`` gives it."""
        name = (record.task.type, demand)
        classes = self.aside if aside else self.classes
        group = classes.get(name)
        if group is None:
            group = classes[name] = DemandClass(*name)
            group.aside = aside
        record.ticket += 1
        record.place = group
        entry = Entry(key, record.standing, record.ticket, record)
        heappush(group.heap, entry)
        group.size += 1
        self.size += 1
        if not aside and not group.blocked and (group.queued is None or entry < group.queued):
            self._offer(group)

    def remove(self, record: Record) -> None:
        """``record`` waits no more."""
        group = record.place
        assert group is not None, f"task {record.id} does not wait"
        record.ticket += 1
        record.place = None
        group.size -= 1
        self.size -= 1
        if group.size == 0:
            group.queued = None
            del (self.aside if group.aside else self.classes)[group.type, group.demand]

    def best(self) -> DemandClass | None:
        """The unblocked class whose head goes next."""
        heads = self._heads
        while heads:
            entry, _, group = heads[0]
            if group.queued is not entry:
                heappop(heads)
                continue
            head = group.head()
            if head is entry:
                return group
            heappop(heads)
            group.queued = None
            if head is not None:
                self._offer(group)
        return None

    def block(self, group: DemandClass) -> None:
        """Its head fits nowhere: leave it out until ``unblock``."""
        group.blocked = True
        group.queued = None

    def blocked(self) -> list[DemandClass]:
        """Those left out."""
        return [group for group in self.classes.values() if group.blocked]

    def unblock(self, group: DemandClass) -> None:
        """Something got better for it: it may try again."""
        group.blocked = False
        self._offer(group)

    def reorder(self, key: Callable[[Record], float], demand: Callable[[Record], Demand]) -> None:
        """Place every waiting task anew: the ordering, or what a type asks by default, has changed."""
        for aside in (False, True):
            groups = list((self.aside if aside else self.classes).values())
            (self.aside if aside else self.classes).clear()
            for group in groups:
                for record in list(group.waiting()):
                    self.size -= 1
                    self.add(record, demand(record), key(record), aside=aside)
        self._heads.clear()
        for group in self.classes.values():
            self._offer(group)

    def records(self) -> Iterator[Record]:
        """All that wait here, those set aside included, in no particular order."""
        for group in (*self.classes.values(), *self.aside.values()):
            yield from group.waiting()

    def set_aside(self) -> None:
        """Take everything out of the order until agents have answered (R3). Costs a step per class, not per task."""
        self.take_back()
        self.aside, self.classes = self.classes, {}
        self._heads.clear()
        for group in self.aside.values():
            group.aside, group.blocked, group.queued = True, False, None

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
                many.aside, many.blocked = False, False
                for entry in few.heap:
                    if entry.ticket == entry.record.ticket:
                        entry.record.place = many
                        heappush(many.heap, entry)
                many.size += few.size
                few.queued = None
                self.classes[key] = group = many
            self._offer(group)

    def _offer(self, group: DemandClass) -> None:
        head = group.head()
        group.queued = head
        if head is not None:
            self._offers += 1
            heappush(self._heads, (head, self._offers, group))
            if len(self._heads) > 4 * len(self.classes) + 64:
                self._heads = [one for one in self._heads if one[2].queued is one[0]]
                heapify(self._heads)


class Backlog:
    """All services' queues."""

    def __init__(self, ordering_of: Callable[[Service], Ordering], estimates: Estimates) -> None:
        self.ordering_of = ordering_of
        """Which ordering holds for a service now."""
        self.estimates = estimates
        self.queues: dict[Service, Queue] = {}
        self.needs: dict[TaskType, Need] = {}
        """What a handler says its tasks ask when they say nothing themselves."""
        self._demands: dict[str, Demand] = {}

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
        queue.add(record, self.demand(record), self.key(record), aside=aside)
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
                queue.reorder(self.key, self.demand)

    def default_need(self, type_: TaskType, need: Need) -> None:
        """What tasks of this type ask when they say nothing; those that wait are judged by it at once."""
        if self.needs.get(type_, {}) != need:
            self.needs[type_] = need
            self.queue(service_of(type_)).reorder(self.key, self.demand)

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
        whole_ns, rest_ns = whole.mean_ns, rest.mean_ns
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
            found = self._demands[key] = demand_of(need or {})
        return found
