"""Who waits for whom: the live tasks that depend on others, found from either end.

Law: a child is known to its parents' ids as long as it lives, whether a parent lives, is over, or has still to be read; so facts
may come in any order. ``missing`` follows from the ledger alone (R15). Graphs and their numbers are for the order in which tasks
go, never for whether they may. Each edge costs a constant, amortised: graphs that turn out to hang together are joined, the
smaller into the larger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from orchestrator.core.custody.records import Record
from orchestrator.vocabulary import Nanos, TaskId, TaskType

OnFailure: TypeAlias = Literal["fail", "skip", "continue"]

STRICTNESS: Mapping[OnFailure, int] = {"continue": 0, "skip": 1, "fail": 2}
"""Of several edges to one parent the strictest counts."""


class Graph:
    """Live tasks that hang together by edges: what a producer sees as one workflow."""

    __slots__ = ("accepted", "first", "keyed_ns", "members", "work_ns")

    def __init__(self, record: Record) -> None:
        self.accepted, self.first = record.accepted, record.index
        """The arrival of its first task: by this it stands among others."""
        self.members: dict[TaskId, Record] = {record.id: record}
        self.work_ns: Nanos = 0
        """Expected work of all that is not over, as far as it was reckoned."""
        self.keyed_ns: Nanos = 0
        """The work by which its waiting tasks were placed last: one number for all of them."""


@dataclass(slots=True, eq=False)
class Node:
    """What a task with parents or children has besides."""

    graph: Graph
    missing: dict[TaskId, None] = field(default_factory=dict)
    """Parents whose end has not been read (R13)."""
    rank_ns: Nanos = 0
    """Expected time from its start to the end of the longest path below it; the longest goes first."""
    work_ns: Nanos = 0
    """Expected run of the task alone, as the rank was reckoned."""


class Tie(NamedTuple):
    """An edge, seen from the parent."""

    child: Record
    on_failure: OnFailure


class Outline(NamedTuple):
    """What a picture of a workflow needs of a task that is over."""

    type: TaskType
    parents: tuple[TaskId, ...]


class Families:
    """The edges of all live tasks."""

    def __init__(self) -> None:
        self.children: dict[TaskId, dict[TaskId, Tie]] = {}
        """By parent: its live children."""
        self.workflows: dict[str, dict[TaskId, Record | Outline]] = {}
        """Tasks by the name that their producer gave the whole; those that are over as long as they are remembered."""
        self.stale: dict[Graph, None] = {}
        """Graphs whose ranks are to be reckoned (anew)."""

    def enter(self, record: Record, live: Mapping[TaskId, Record], over: Callable[[TaskId], bool]) -> None:
        """A task lives from now on. ``live`` are those that do, itself included; ``over`` says whether a parent's end was read."""
        if record.task.workflow is not None:
            self.workflows.setdefault(record.task.workflow, {})[record.id] = record
        mine = self.children.get(record.id)
        if not record.task.after and not mine:
            return
        node = record.node = Node(Graph(record))
        self.stale[node.graph] = None
        for edge in record.task.after:
            ties = self.children.setdefault(edge.task, {})
            parent = live.get(edge.task)
            if parent is not None and parent.node is None:
                parent.node = Node(Graph(parent))
            other = parent if parent is not None else next((tie.child for tie in ties.values()), None)
            if other is not None:
                self._join(record, other)
            known = ties.get(record.id)
            if known is None or STRICTNESS[known.on_failure] < STRICTNESS[edge.on_failure]:
                ties[record.id] = Tie(record, edge.on_failure)
            if not over(edge.task):
                node.missing[edge.task] = None
        for tie in (mine or {}).values():
            self._join(record, tie.child)
            break  # its children are joined already: each found the one before

    def leave(self, record: Record) -> list[TaskId]:
        """A task is over; gives the parents that no live task needs any more."""
        if record.task.workflow is not None:
            parents = tuple(dict.fromkeys(edge.task for edge in record.task.after))
            self.workflows[record.task.workflow][record.id] = Outline(record.task.type, parents)
        node = record.node
        if node is None:
            return []
        graph = node.graph
        del graph.members[record.id]
        graph.work_ns -= node.work_ns
        if not graph.members:
            self.stale.pop(graph, None)
        elif 2 * graph.work_ns < graph.keyed_ns:  # often enough to follow it, seldom enough to cost little
            self.stale[graph] = None
        unneeded = []
        for edge in record.task.after:
            ties = self.children.get(edge.task)
            if ties is not None and ties.pop(record.id, None) is not None and not ties:
                del self.children[edge.task]
                unneeded.append(edge.task)
        return unneeded

    def forget(self, task: TaskId, workflow: str | None) -> None:
        """This id is not remembered any more."""
        if workflow is not None and (tasks := self.workflows.get(workflow)) is not None:
            tasks.pop(task, None)
            if not tasks:
                del self.workflows[workflow]

    def over(self, task: TaskId) -> Iterable[Tie]:
        """The end of this task was read: no child misses it any more. Gives its live children."""
        ties = self.children.get(task)
        if not ties:
            return ()
        for tie in ties.values():
            if tie.child.node is not None:
                tie.child.node.missing.pop(task, None)
        return list(ties.values())

    def needs(self, task: TaskId) -> bool:
        """Whether live children need it."""
        return task in self.children

    def ties(self, task: TaskId) -> Iterable[Tie]:
        """Its live children."""
        return self.children.get(task, {}).values()

    def _join(self, one: Record, other: Record) -> None:
        assert one.node is not None
        assert other.node is not None
        few, many = one.node.graph, other.node.graph
        if few is many:
            return
        if len(few.members) > len(many.members):
            few, many = many, few
        for record in few.members.values():
            assert record.node is not None
            record.node.graph = many
        many.members |= few.members
        many.accepted, many.first = min((many.accepted, many.first), (few.accepted, few.first))
        many.work_ns += few.work_ns
        self.stale.pop(few, None)
        self.stale[many] = None
