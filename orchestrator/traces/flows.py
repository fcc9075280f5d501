"""Traces of workflows: JSON, one workflow a line.

Law: ids count within their workflow; in the trace they carry its name before them (``blast-001:7``). A task that says ``instances``
is a gang: it asks for so many times its cpus and memory at once, which ``capped`` cuts to what a machine has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, TextIO

import msgspec
from msgspec import Meta, Struct

from orchestrator.traces.errors import BadTrace
from orchestrator.traces.names import Kind, kinds, word
from orchestrator.traces.table import LONGEST_S
from orchestrator.traces.task import Trace, TraceTask, trace_of
from orchestrator.vocabulary import is_id

_FOREIGN = re.compile(r"[^A-Za-z0-9_.:@-]")

Seconds = Annotated[float, Meta(ge=0, le=LONGEST_S)]


class Node(Struct):
    """A task of a workflow, as the file has it."""

    id: Annotated[str, Meta(min_length=1)]
    runtime_s: Seconds
    name: str = ""
    cpus: Annotated[float, Meta(ge=0)] | None = None
    mem_mb: Annotated[float, Meta(ge=0)] | None = None
    gpus: Annotated[float, Meta(ge=0)] | None = None
    instances: Annotated[int, Meta(ge=1)] = 1
    depends_on: list[str] = []


class Flow(Struct):
    """A workflow, as the file has it."""

    name: Annotated[str, Meta(min_length=1)]
    tasks: Annotated[list[Node], Meta(min_length=1)]
    submit_s: Seconds | None = None


def read_flows(text: TextIO, where: str) -> Trace:
    """The tasks of all workflows. Raises BadTrace."""
    decoder = msgspec.json.Decoder(Flow)
    flows: list[tuple[int, Flow]] = []
    for line, row in enumerate(text, 1):
        if row.strip():
            try:
                flows.append((line, decoder.decode(row)))
            except (msgspec.DecodeError, UnicodeError) as fault:
                raise BadTrace(f"it is not a workflow ({fault})", where, line) from None
    times = [flow.submit_s for _, flow in flows]
    timed = bool(times) and None not in times
    if not timed and any(time is not None for time in times):
        line = next(line for line, flow in flows if flow.submit_s is None)
        raise BadTrace("this workflow says no submit_s, others do; say it for all of them or for none", where, line)
    said = kinds(node.name for _, flow in flows for node in flow.tasks)
    tasks: list[TraceTask] = []
    names: set[str] = set()
    for line, flow in flows:
        name = word(flow.name)
        name = name if name not in names else f"{name}-{line}"
        names.add(name)
        inside = {node.id: _id(name, node.id, where, line) for node in flow.tasks}
        at_s = flow.submit_s or 0.0
        tasks += [_task(node, at_s, said[node.name], name, inside, where, line) for node in flow.tasks]
    notes = () if timed else ("arrival times are not known: everything is there at 0",)
    return trace_of(where, tasks, timed=timed, notes=notes, where=where)


def _task(node: Node, submit_s: float, kind: Kind, name: str, inside: dict[str, str], where: str, line: int) -> TraceTask:
    unknown = [parent for parent in node.depends_on if parent not in inside]
    if unknown:
        raise BadTrace(f"the task {node.id!r} depends on {unknown[0]!r}, which is not in its workflow", where, line, "depends_on")
    asked = {"cpu": node.cpus, "mem_mb": node.mem_mb, "gpu": node.gpus}
    need = {resource: round(amount * node.instances, 6) for resource, amount in asked.items() if amount}
    after = tuple(inside[parent] for parent in dict.fromkeys(node.depends_on))
    return TraceTask(inside[node.id], submit_s, node.runtime_s, kind.type, need, size=kind.size, after=after, workflow=name)


def _id(name: str, node: str, where: str, line: int) -> str:
    """As the file has it, with ``-`` for what may not be in an id."""
    made = f"{name}:{_FOREIGN.sub('-', node)}"
    if not is_id(made):
        raise BadTrace(f"{node!r} is too long to be a task's id (at most 63 characters)", where, line, "id")
    return made


def write_flows(text: TextIO, tasks: Iterable[TraceTask]) -> int:
    """Write tasks as workflows, a line each; a task that is part of none is a workflow by itself. Returns how many tasks."""
    flows: dict[str, dict[str, Any]] = {}
    count = 0
    for count, task in enumerate(tasks, 1):  # noqa: B007 - how many it were is the answer
        name = task.workflow or task.id
        prefix = f"{name}:"
        flow = flows.setdefault(name, {"name": name, "submit_s": task.submit_s, "tasks": []})
        node = {
            "id": task.id.removeprefix(prefix),
            "name": task.type.partition(".")[2],
            "runtime_s": task.runtime_s,
            "cpus": task.need.get("cpu"),
            "mem_mb": task.need.get("mem_mb"),
            "gpus": task.need.get("gpu"),
            "depends_on": [parent.removeprefix(prefix) for parent in task.after],
        }
        flow["tasks"].append({key: value for key, value in node.items() if value is not None})
    for flow in flows.values():
        text.write(msgspec.json.encode(flow).decode() + "\n")
    return count
