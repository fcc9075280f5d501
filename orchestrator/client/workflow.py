"""Workflows, as a producer writes them down: tasks that take what other tasks return.

    flow = client.workflow("nightly")
    rows = flow.add("etl.extract", day="2026-01-01")
    clean = flow.task("etl.clean", retries=5).add(rows=rows)
    flow.task("etl.report", after=[clean.on_failure("continue")]).add(title="done")
    values = await flow.run()
    values[clean]

Law: nothing leaves before ``submit`` or ``run``; then all of it leaves in one message, and is taken or refused as a whole. As with
single tasks keyword arguments are the handler's, all of them, and options are said in ``task(…)``. A node given as an argument *is*
an edge: the child waits for it, and takes its value there; a list of nodes takes the list of their values. What happens on the way
is the coordinator's business: a producer that dies meanwhile loses only the answer.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

from orchestrator.client.calls import Call, Form, form, options_known
from orchestrator.client.errors import TaskError, not_done
from orchestrator.client.handle import Handle
from orchestrator.client.shell import Shell
from orchestrator.vocabulary import DEFAULT_SHARD, TaskId, is_id
from orchestrator.wire.messages import Edge, Result
from orchestrator.wire.types import MOST_TASKS

OnFailure: TypeAlias = Literal["fail", "skip", "continue"]
OWN_OPTIONS = ("reply", "workflow", "accept_within")
"""Of a task; in a workflow they hold for all of it, and are said there or not at all."""


INTO_MAX = 66
PARENTS_MAX = 1000
"""As on the wire (``Edge.into``, ``Task.after``)."""


class Node:
    """One task of a workflow that is being written down. Give it to others as an argument, or in ``after``."""

    __slots__ = ("call", "flow")

    def __init__(self, flow: Workflow, call: Call) -> None:
        """Made by ``Workflow``."""
        self.flow = flow
        self.call = call

    def __repr__(self) -> str:
        return f"<Node {self.id} {self.call.task.type}>"

    @property
    def id(self) -> TaskId:
        """The task's id."""
        return self.call.id

    def on_failure(self, what: OnFailure) -> ParentNode:
        """As this node, where it is given as an argument or in ``after``; and if it does not succeed, the child is to
        ``fail`` (as if nothing were said), to be left out (``skip``), or to run with None in its place (``continue``).
        """
        return ParentNode(self, what)


class ParentNode:
    """A node, and what its failure means for the child that needs it."""

    __slots__ = ("node", "what")

    def __init__(self, node: Node, what: OnFailure) -> None:
        """Made by ``Node.on_failure``."""
        if what not in ("fail", "skip", "continue"):
            raise ValueError(f'on_failure: {what!r} is none of "fail", "skip", "continue"')
        self.node = node
        self.what = what


class Workflow:
    """A graph of tasks. Made by ``Client.workflow``; belongs to that client."""

    def __init__(self, shell: Shell, name: str, submit_together: Callable[[list[Call]], Awaitable[list[Handle]]]) -> None:
        self._shell = shell
        self._submit_together = submit_together
        self.id: str = f"{name}-{shell.fresh_id()}" if name else shell.fresh_id()
        """Its name for ``orchestrator workflow ID`` and ``orchestrator cancel --workflow ID``."""
        if not is_id(self.id):
            raise ValueError(
                f"{name!r} cannot name a workflow: letters, digits, _ . : @ - please, beginning with one of the first two"
            )
        self.nodes: dict[TaskId, Node] = {}
        """In the order in which they were added."""
        self.handles: list[Handle] = []
        """Once it is submitted: of each node, in the order of ``nodes``."""

    def __repr__(self) -> str:
        return f"<Workflow {self.id} of {len(self.nodes)} tasks{', submitted' if self.handles else ''}>"

    # --- writing it down ----------------------------------------------------------------------------------------------

    def add(self, task_type: str, /, **args: Any) -> Node:
        """A task with these arguments. A node among them is a parent whose value the argument takes; a list of nodes takes the list
        of their values.

        Raises ValueError for what cannot be, CannotPack as ``Client.submit``.
        """
        return self.task(task_type).add(**args)

    def task(self, task_type: str, /, **options: Any) -> NodeTemplate:
        """A task type with options, as ``Client.task``; ``after`` takes nodes of this workflow. ``id`` names the node within it:
        the task's id is the workflow's and that.
        """
        for name in OWN_OPTIONS:
            if name in options:
                raise ValueError(f"{task_type}: {name}: a workflow is one submission; leave it out here")
        options_known(options)
        after = [self._edge(parent, "") for parent in options.pop("after", ())]
        name = options.pop("id", None)
        return NodeTemplate(self, form(task_type, workflow=self.id, after=after, **options), name)

    def enter(self, shape: Form, name: str | None, args: Mapping[str, Any]) -> Node:
        """For ``NodeTemplate``: one more task."""
        if self.handles:
            raise ValueError(f"workflow {self.id} is submitted; nothing can be added to it. Make another one")
        given, edges = self._edges(shape.shape.type, args)
        task_id = f"{self.id}.{len(self.nodes) + 1 if name is None else name}"
        if task_id in self.nodes or not is_id(task_id):
            raise ValueError(
                f"id: {name!r} is {'taken' if task_id in self.nodes else 'no id'}; give each node one of its own, or none"
            )
        node = Node(self, shape.fill(given, task_id, time.time_ns(), edges))
        self.nodes[task_id] = node
        return node

    def _edges(self, who: str, args: Mapping[str, Any]) -> tuple[dict[str, Any], list[Edge]]:
        """Arguments that are values, and the edges that the others are."""
        given: dict[str, Any] = {}
        edges: list[Edge] = []
        for name, value in args.items():
            if isinstance(value, Node | ParentNode):
                edges.append(self._edge(value, name))
            elif isinstance(value, list | tuple) and any(isinstance(one, Node | ParentNode) for one in value):
                if not all(isinstance(one, Node | ParentNode) for one in value):
                    raise ValueError(
                        f"{who}: {name}: a list of nodes, or a list of values; not both. Let the handler take two arguments"
                    )
                parents = [self._edge(one, f"{name}[]") for one in value]
                if len({edge.task for edge in parents}) < len(parents):
                    raise ValueError(f"{who}: {name}: the same node twice in one list")
                edges += parents
            else:
                given[name] = value
        if len(edges) > PARENTS_MAX:
            raise ValueError(f"{who}: {len(edges):,} nodes as arguments; {PARENTS_MAX:,} can be. Gather them in steps")
        return given, edges

    def _edge(self, parent: Any, into: str) -> Edge:
        given = ParentNode(parent, "fail") if isinstance(parent, Node) else parent
        if not isinstance(given, ParentNode) or self.nodes.get(given.node.id) is not given.node:
            raise ValueError(f"{parent!r} is no node of workflow {self.id}; a task waits for tasks of its own workflow")
        if len(into) > INTO_MAX:
            raise ValueError(
                f"{into!r} is too long for an argument that takes what a node returns; {INTO_MAX - 2} characters can be"
            )
        return Edge(given.node.id, given.what, into)

    # --- having it done -----------------------------------------------------------------------------------------------

    async def submit(self) -> list[Handle]:
        """Submit the whole; returns the handles of its nodes, in their order, once the broker has confirmed it.

        Raises as ``Client.submit``; ValueError for a workflow that is too large for one message, or empty.
        """
        if not self.nodes:
            raise ValueError(f"workflow {self.id} is empty: add tasks to it first")
        if len(self.nodes) > MOST_TASKS:
            raise ValueError(
                f"workflow {self.id} has {len(self.nodes):,} tasks; {MOST_TASKS:,} are the limit of one submission. Nothing was "
                "submitted. Split it, or let one task do the work of several"
            )
        self.handles = await self._submit_together([node.call for node in self.nodes.values()])
        return self.handles

    async def run(self, *, return_errors: bool = False) -> dict[Node, Any]:
        """Submit it, unless it is; wait for the end of every node; returns their values.

        If any is not done, raises the TaskError of the first that did not end so because of a parent; with ``return_errors`` errors
        stand in the place of values, as exceptions.
        """
        handles = self.handles or await self.submit()
        ends = [(node, handle, await handle.outcome()) for node, handle in zip(self.nodes.values(), handles, strict=True)]
        if not return_errors:
            lost = [end for end in ends if end[2].outcome != "done"]
            for _, handle, result in [end for end in lost if not _because_of_parents(end[2])] + lost:
                raise not_done(handle.id, handle.type, result)
        return {node: await _value(handle, return_errors) for node, handle, _ in ends}

    async def cancel(self) -> int:
        """Cancel every task of it that has not ended; returns how many that were. Raises NoCoordinator, AskRefused if none has."""
        first = next(iter(self.nodes.values()), None)  # none: nobody knows it, and a coordinator says so
        shard = DEFAULT_SHARD if first is None else self._shell.producer.shard_of(first.call.task)
        answer = await self._shell.ask("cancel", {"workflow": self.id}, 5.0, shard)
        return int(answer["tasks"])

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())


class NodeTemplate:
    """A task type with options, within a workflow: give it arguments."""

    __slots__ = ("_flow", "_form", "_name")

    def __init__(self, flow: Workflow, shape: Form, name: str | None) -> None:
        """Made by ``Workflow.task``."""
        self._flow = flow
        self._form = shape
        self._name = name

    def add(self, /, **args: Any) -> Node:
        """As ``Workflow.add``."""
        return self._flow.enter(self._form, self._name, args)


def _because_of_parents(result: Result) -> bool:
    return result.error is not None and result.error.kind == "parent_failed"


async def _value(handle: Handle, return_errors: bool) -> Any:
    try:
        return await handle.result()
    except TaskError as error:
        if not return_errors:
            raise
        return error
