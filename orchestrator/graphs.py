"""The shape of a submission: which of its tasks hang together, and what is wrong with how they do.

Law: pure, over tasks as their producer words them; the client looks before it sends, the coordinator before it takes. A graph is
taken whole or refused whole, so faults belong to *components*; one that is sound does not suffer for another one of the same
submission. O(V + E).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from orchestrator.vocabulary import TaskId
from orchestrator.wire.messages import Error, Task

NAMED_MAX = 12
"""Tasks of a circle that a message names."""


class Component(NamedTuple):
    """Tasks that hang together by edges; one without edges is alone."""

    tasks: list[Task]
    fault: Error | None
    """Why these cannot be one graph."""


def components(tasks: Sequence[Task]) -> Iterator[Component]:
    """The components of a submission, in the order of their first tasks. Of a task said twice alike the second is left out."""
    if not any(task.after for task in tasks):
        for task in tasks:
            yield Component([task], None)
        return
    graph = _Graph(tasks)
    for members in graph.components():
        yield Component([tasks[index] for index in members], graph.fault(members))


class _Graph:
    """A submission with edges. Tasks are named by their index, for two may have the same id."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tasks
        self.index: dict[TaskId, int] = {}
        self.doubles: dict[int, int] = {}
        """Other content under an id that came before: index -> index of the first."""
        self.root = list(range(len(tasks)))
        repeated = set()
        for index, task in enumerate(tasks):
            first = self.index.setdefault(task.id, index)
            if first != index and tasks[first] == task:
                repeated.add(index)
            elif first != index:
                self.doubles[index] = first
                self._unite(index, first)
        self.own = [index for index in range(len(tasks)) if index not in repeated]
        for index in self.own:
            for edge in tasks[index].after:
                if (parent := self.index.get(edge.task)) is not None:
                    self._unite(index, parent)
        self.parents = {edge.task for task in tasks for edge in task.after}
        self.circular = self._left_by_kahn()

    def components(self) -> list[list[int]]:
        groups: dict[int, list[int]] = {}
        for index in self.own:
            groups.setdefault(self._find(index), []).append(index)
        return list(groups.values())

    def fault(self, members: list[int]) -> Error | None:
        """What is wrong with this component; the first thing found."""
        joined = len(members) > 1 or self.tasks[members[0]].after
        for index in members:
            if joined and (fault := self._fault_of(index)) is not None:
                return fault
        circular = next((index for index in members if index in self.circular), None)
        return None if circular is None else _circle(self._circle_from(circular))

    def _fault_of(self, index: int) -> Error | None:
        task = self.tasks[index]
        if index in self.doubles and not (task.after or self.tasks[self.doubles[index]].after or task.id in self.parents):
            return None  # not a matter of edges: the second is refused, because the id means the first
        if index in self.doubles:
            return Error(
                "duplicate_id",
                f"two tasks of this submission have the id {task.id!r}; none of their workflow was taken. Give each its own.",
            )
        lists: dict[str, bool] = {}
        for edge in task.after:
            if edge.task == task.id:
                return Error("cycle", f"task {task.id!r} waits for itself; none of its workflow was taken. Leave that edge out.")
            if edge.task not in self.index:
                return Error(
                    "unknown_parent",
                    f"task {task.id!r} waits for {edge.task!r}, which is not in this submission; none of its workflow was taken. "
                    "A workflow is submitted in one message, parents and children together.",
                )
            name, is_list = edge.into.removesuffix("[]"), edge.into.endswith("[]")
            if name in lists and not (is_list and lists[name]):
                return Error(
                    "bad_edge",
                    f"two edges of task {task.id!r} give the argument {name!r}; none of its workflow was taken. Name another "
                    f"argument in one of them, or in both the list {name + '[]'!r}.",
                )
            if edge.into:
                lists[name] = is_list
        return None

    def _left_by_kahn(self) -> dict[int, None]:
        """Take away what waits for nothing, again and again: what is left waits in a circle, or for one."""
        waits = dict.fromkeys(self.own, 0)
        children: dict[int, list[int]] = {}
        for index in self.own:
            for edge in self.tasks[index].after:
                if (parent := self.index.get(edge.task)) is not None:
                    waits[index] += 1
                    children.setdefault(parent, []).append(index)
        free = [index for index, count in waits.items() if not count]
        while free:
            index = free.pop()
            del waits[index]
            for child in children.get(index, ()):
                waits[child] -= 1
                if not waits[child]:
                    free.append(child)
        return dict.fromkeys(waits)

    def _circle_from(self, index: int) -> list[TaskId]:
        """One circle above a task that Kahn left: go up from parent to parent until one comes again."""
        path: dict[int, None] = {}
        while index not in path:
            path[index] = None
            index = next(self.index[edge.task] for edge in self.tasks[index].after if self.index.get(edge.task) in self.circular)
        order = list(path)
        return [self.tasks[one].id for one in order[order.index(index) :]]

    def _find(self, index: int) -> int:
        root = self.root
        while root[index] != index:
            root[index] = root[root[index]]
            index = root[index]
        return index

    def _unite(self, one: int, other: int) -> None:
        first, second = sorted((self._find(one), self._find(other)))
        self.root[second] = first


def _circle(names: list[TaskId]) -> Error:
    shown = names[:NAMED_MAX] + ([f"… {len(names) - NAMED_MAX} more"] if len(names) > NAMED_MAX else []) + names[:1]
    return Error(
        "cycle",
        f"tasks wait for each other in a circle: {' waits for '.join(shown)}; none of their workflow was taken. "
        "Take one of these edges out.",
    )
