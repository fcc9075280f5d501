"""Task graphs: how long at least, how long at most, and by which schedule.

A graph's tasks are numbered from 0. Task i takes ``cost[i][p]`` on processor p; an edge carries data that takes its time between
different processors and none within one. Any unit of time. Source: Topcuoglu, Hariri & Wu, IEEE TPDS 13(3), 2002 (HEFT, CPOP).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from graphlib import CycleError, TopologicalSorter

from orchestrator.planning.errors import BadNumber, not_negative, whole


@dataclass(frozen=True)
class TaskGraph:
    """What is to be done, and what must come before what. Raises BadNumber, also for a cycle, which it names."""

    cost: Sequence[Sequence[float]]
    edges: Mapping[tuple[int, int], float]

    def __post_init__(self) -> None:
        if not self.cost or not self.cost[0] or any(len(row) != len(self.cost[0]) for row in self.cost):
            raise BadNumber("every task needs a cost on every processor, and there must be at least one of both.")
        for row in self.cost:
            for cost in row:
                not_negative("a cost", cost)
        for (before, after), data in self.edges.items():
            not_negative("the time of an edge", data)
            if not (0 <= before < len(self.cost) and 0 <= after < len(self.cost)):
                raise BadNumber(f"the edge {before} → {after} leaves the tasks 0 to {len(self.cost) - 1}.")
        assert self.in_order is not None  # a cycle is found now, not later

    @cached_property
    def before(self) -> list[list[int]]:
        """Whom each task waits for."""
        found: list[list[int]] = [[] for _ in self.cost]
        for source, target in sorted(self.edges):
            found[target].append(source)
        return found

    @cached_property
    def after(self) -> list[list[int]]:
        """Who waits for each task."""
        found: list[list[int]] = [[] for _ in self.cost]
        for source, target in sorted(self.edges):
            found[source].append(target)
        return found

    @cached_property
    def in_order(self) -> list[int]:
        """All tasks, each after those that it waits for."""
        try:
            return list(TopologicalSorter(dict(enumerate(self.before))).static_order())
        except CycleError as trouble:
            cycle = " → ".join(map(str, reversed(trouble.args[1])))
            raise BadNumber(f"the tasks wait for each other in a circle: {cycle}. Take one of these edges out.") from None

    @cached_property
    def mean_cost(self) -> list[Fraction]:
        """Over all processors; exact, so that equal ranks are equal."""
        return [sum(map(Fraction, row), Fraction(0)) / len(row) for row in self.cost]

    @cached_property
    def upward(self) -> list[Fraction]:
        """Upward rank: the longest way from the start of the task to the end of all, in means."""
        rank = [Fraction(0)] * len(self.cost)
        for task in reversed(self.in_order):
            rank[task] = self.mean_cost[task] + max(
                (self._data(task, one) + rank[one] for one in self.after[task]), default=Fraction(0)
            )
        return rank

    @cached_property
    def downward(self) -> list[Fraction]:
        """Downward rank: the longest way from the start of all to the start of the task, in means."""
        rank = [Fraction(0)] * len(self.cost)
        for task in self.in_order:
            ways = (rank[one] + self.mean_cost[one] + self._data(one, task) for one in self.before[task])
            rank[task] = max(ways, default=Fraction(0))
        return rank

    @property
    def critical_length(self) -> float:
        """The length of the longest way through the graph, in means."""
        return float(max(self.upward))

    @cached_property
    def critical_path(self) -> list[int]:
        """A longest way through the graph, from a first task to a last; ties to the lower number."""
        path = [max(range(len(self.cost)), key=lambda task: (self.upward[task], -task))]
        while self.after[path[-1]]:
            here = path[-1]
            path.append(max(self.after[here], key=lambda one: (self._data(here, one) + self.upward[one], -one)))
        return path

    def _data(self, before: int, after: int) -> Fraction:
        return Fraction(self.edges[before, after])


@dataclass(frozen=True, slots=True)
class Placed:
    """Where and when a task runs."""

    processor: int
    start: float
    finish: float


@dataclass(frozen=True, slots=True)
class Schedule:
    """All tasks placed, in the order in which they were."""

    placed: dict[int, Placed]

    @property
    def makespan(self) -> float:
        """When the last task ends."""
        return max(one.finish for one in self.placed.values())


def heft(graph: TaskGraph, *, insertion: bool = True) -> Schedule:
    """Tasks by falling upward rank (ties to the lower number), each where it ends first; with ``insertion`` also into gaps."""
    placed: dict[int, Placed] = {}
    place = {task: index for index, task in enumerate(graph.in_order)}  # where tasks cost nothing, equal ranks must keep the order
    ties = (lambda task: place[task]) if any(not cost for cost in graph.mean_cost) else (lambda task: task)
    for task in sorted(range(len(graph.cost)), key=lambda task: (-graph.upward[task], ties(task))):
        placed[task] = min((_earliest(graph, placed, task, p, insertion) for p in range(len(graph.cost[0]))), key=_finish)
    return Schedule(placed)


def cpop(graph: TaskGraph) -> Schedule:
    """The critical path on the one processor that does it fastest, all others where they end first; ready tasks by upward plus
    downward rank (ties to the lower number)."""
    path = set(graph.critical_path)
    fastest = min(range(len(graph.cost[0])), key=lambda p: math.fsum(graph.cost[task][p] for task in path))
    placed: dict[int, Placed] = {}
    ready = {task for task in range(len(graph.cost)) if not graph.before[task]}
    while ready:
        task = max(ready, key=lambda one: (graph.upward[one] + graph.downward[one], -one))
        ready.remove(task)
        processors = [fastest] if task in path else range(len(graph.cost[0]))
        placed[task] = min((_earliest(graph, placed, task, p, True) for p in processors), key=_finish)
        ready |= {one for one in graph.after[task] if all(other in placed for other in graph.before[one])}
    return Schedule(placed)


def greedy_bound(graph: TaskGraph, processors: int) -> float:
    """Work/m + (1 - 1/m)·critical path: no schedule that never idles on purpose takes longer on m equal processors without transfer
    times. Means of the costs are used. Raises BadNumber. Source: Graham 1969.
    """
    whole("the number of processors", processors)
    bare = TaskGraph([[float(cost)] for cost in graph.mean_cost], dict.fromkeys(graph.edges, 0.0))
    return math.fsum(graph.mean_cost) / processors + (1 - 1 / processors) * bare.critical_length


def _earliest(graph: TaskGraph, placed: Mapping[int, Placed], task: int, processor: int, insertion: bool) -> Placed:
    ready = 0.0
    for one in graph.before[task]:
        transfer = 0.0 if placed[one].processor == processor else graph.edges[one, task]
        ready = max(ready, placed[one].finish + transfer)
    length = graph.cost[task][processor]
    busy = sorted((one for one in placed.values() if one.processor == processor), key=lambda one: (one.start, one.finish))
    start = ready
    for other in busy:
        if insertion and start + length <= other.start:
            break
        start = max(start, other.finish)
    return Placed(processor, start, start + length)


def _finish(one: Placed) -> float:
    return one.finish
