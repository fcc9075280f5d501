"""Who is passed over for too long: the starvation bound of an ordering, checked from outside, by who started before whom.

An ordering says of a waiting task j how far it may be overtaken: no task that arrives more than H later than j (``horizon_ns``)
goes before it. So if a task k that arrived later than that starts on a machine that had room for j, j has *starved*; it is counted
once. H follows from what is expected of j when k starts, and from the shortest run time and the highest priority in the trace. An
ordering that promises nothing (``sjf:ageing=off``) starves nobody. Where an ordering lets tasks with a deadline overtake whom they
must (``dps``), they do not count as passing. Nor does who starts where room is kept for a third that needs more of it: j may have
to keep out where k, being shorter, need not; how long that one waits is the affair of its reservation, not of the ordering. Nor
is j passed over while it would itself rather wait for a faster machine.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from orchestrator.core.scheduler import biding
from orchestrator.policies.by_size import DynamicPriority
from orchestrator.policies.ordering import Extremes
from orchestrator.sim.whatif.books import NEVER
from orchestrator.vocabulary import Attempt, Nanos, ns

if TYPE_CHECKING:
    from orchestrator.core.registry.registry import Holding, Instance
    from orchestrator.sim.whatif.machines import Machine
    from orchestrator.sim.whatif.world import World


class Passing:
    """Those who wait, by when at the earliest somebody could have come who must not pass them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._desk = world.leader.machine.desk
        self._tasks = world.books.trace.tasks
        self._waiting: list[tuple[Nanos, int]] = []
        self._came = 0
        """So many are known here; in order of arrival."""
        place = world.books.place
        self._missing = {at: len(task.after) for at, task in enumerate(self._tasks) if task.after}
        """How many of those that a task comes after have still to end: until then it does not wait."""
        self._children: dict[int, list[int]] = {}
        for at in self._missing:
            for parent in self._tasks[at].after:
                self._children.setdefault(place[parent], []).append(at)
        self._extremes = Extremes(_shortest_ns(world), max(task.priority for task in self._tasks))

    def ended(self, place: int) -> None:
        """This task is done: those that come after it may wait from now on."""
        for child in self._children.pop(place, ()):
            self._missing[child] -= 1
            if not self._missing[child]:
                heappush(self._waiting, (self._world.books.submit_ns[child], child))

    def passed(self, place: int, attempt: Attempt, machine: Machine) -> None:
        """This task starts now on that machine."""
        submit_ns, waiting = self._world.books.submit_ns, self._waiting
        mine_ns = submit_ns[place]
        while self._came < place:
            if self._came not in self._missing:
                heappush(waiting, (submit_ns[self._came], self._came))
            self._came += 1
        if not waiting or waiting[0][0] >= mine_ns:
            return
        instance = self._desk.registry.instances.get(machine.incarnation)
        holding = None if instance is None else instance.holdings.get(attempt)
        if instance is None or holding is None or instance.reserved is not None:
            return
        held_back: list[tuple[Nanos, int]] = []
        while waiting and waiting[0][0] < mine_ns:
            _, other = heappop(waiting)
            if self._world.books.start_ns[other] != NEVER:
                continue
            bound_ns = self._bound_ns(other, place)
            if bound_ns is None:
                continue
            if bound_ns >= mine_ns:
                heappush(waiting, (bound_ns, other))
            elif self._would_fit(other, instance, holding):
                self._world.books.starved += 1
            else:
                held_back.append((bound_ns, other))
        for one in held_back:
            heappush(waiting, one)

    def _bound_ns(self, other: int, place: int) -> Nanos | None:
        """Until when those must have arrived who may go before this task; none: it is not waiting, or nothing is promised."""
        record = self._desk.custody.live.get(self._tasks[other].id)
        if record is None:
            return None
        ordering = self._desk.backlog.queue(record.service).ordering
        if isinstance(ordering, DynamicPriority) and ordering.deadline and self._tasks[place].deadline_s is not None:
            return self._world.books.submit_ns[place]
        horizon_ns = ordering.horizon_ns(self._desk.backlog.waiting(record, ordering), self._extremes)
        return None if horizon_ns is None else self._world.books.submit_ns[other] + horizon_ns

    def _would_fit(self, other: int, instance: Instance, holding: Holding) -> bool:
        """Whether it could have had that place instead, as the coordinator knew the machine."""
        record = self._desk.custody.live[self._tasks[other].id]
        if record.service != instance.service or record.state != "waiting" or biding.of(self._desk, record) is not None:
            return False
        return instance.fits_without(self._desk.backlog.demand(record), holding)


def _shortest_ns(world: World) -> Nanos:
    """The shortest run time that the coordinator can be told of."""
    spans = [world.question.told(task) for task in world.books.trace.tasks]
    known = [span for span in spans if span is not None]
    least_ns = Extremes().estimate_min_ns
    if len(known) < len(spans) or world.question.estimate_error:
        return least_ns
    return max(least_ns, ns(min(known)))
