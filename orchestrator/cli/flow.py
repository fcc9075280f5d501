"""Workflows: submitted from a file, looked at as a whole."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.frame import ASKING, Call, command
from orchestrator.cli.words import Unclear

if TYPE_CHECKING:
    from rich.console import RenderableType

    from orchestrator.client.calls import Call as TaskCall

OF_THE_WHOLE = ("id", "after", "workflow", "reply", "accept_within")
"""Options of a task that a file says in its own way, or that hold for all of it."""
SHAPE = 'write {"tasks": [{"id": "a", "type": "etl.load", "args": {…}}, {"id": "b", "type": "etl.report", "after": ["a"]}]}'


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    command(app, "workflow", example="orchestrator workflow nightly-0190c2f3 --mermaid", panel="Look", common=ASKING)(workflow)


def workflow(
    call: Call,
    id: Annotated[str, typer.Argument(metavar="ID", help="Its id, as `submit --workflow` printed it", show_default=False)],
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Draw it as a Mermaid flow chart")] = False,
) -> None:
    """Show a workflow: its tasks, their parents, the longest path.

    Tasks that have ended are shown as long as they are remembered.
    """
    if mermaid and call.json:
        raise Unclear("the workflow is wanted as Mermaid and as JSON; say one of them")
    found = call.ask("workflow", workflow=id)
    if mermaid:
        print(chart(found))
    else:
        call.answer(found, lambda: workflow_view(found))


# --- from a file ------------------------------------------------------------------------------------------------------


def read(path: Path) -> Any:
    """The JSON in a file, ``-``: of stdin. Raises Unclear."""
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as trouble:
        raise Unclear(f"{path} cannot be read: {trouble}") from None
    try:
        return json.loads(text)
    except ValueError as trouble:
        raise Unclear(f"{path} is not JSON ({trouble}); {SHAPE}") from None


def calls(data: Any, id: str | None, reply: bool) -> tuple[str, list[TaskCall]]:
    """A workflow's id, new unless one is given, and its tasks. Raises Unclear for what cannot be meant, naming it."""
    if not isinstance(data, dict) or not isinstance(data.get("tasks"), list) or not data["tasks"]:
        raise Unclear(f"a workflow is an object with a list of tasks; {SHAPE}")
    if unknown := sorted(data.keys() - {"name", "tasks"}):
        raise Unclear(f"a workflow has name and tasks, and nothing named {', '.join(map(repr, unknown))}")
    name = id or f"{data.get('name', 'workflow')}-{uuid.uuid4().hex[:12]}"
    return name, [_call(name, one, reply) for one in data["tasks"]]


def _call(workflow: str, one: Any, reply: bool) -> TaskCall:
    import time

    from orchestrator.client import CannotPack
    from orchestrator.client.calls import OPTIONS, form

    if not isinstance(one, dict) or not isinstance(one.get("id"), str) or not isinstance(one.get("type"), str):
        raise Unclear(f"a task of a workflow has an id and a type, both texts, not {json.dumps(one)[:200]}; {SHAPE}")
    may = [name for name in OPTIONS if name not in OF_THE_WHOLE]
    known = {"id", "type", "args", "after", *may}
    if unknown := sorted(one.keys() - known):
        raise Unclear(f"task {one['id']!r}: {', '.join(unknown)} cannot be said of a task; what can: {', '.join(sorted(known))}")
    args = one.get("args", {})
    if not isinstance(args, dict):
        raise Unclear(f"task {one['id']!r}: args must be an object of arguments by name")
    options = {name: one[name] for name in may if name in one}
    if isinstance(options.get("need"), dict):
        options["need"] = {name: tuple(most) if isinstance(most, list) else most for name, most in options["need"].items()}
    try:
        after = [_edge(workflow, each) for each in one.get("after", [])]
        shape = form(one["type"], id=f"{workflow}.{one['id']}", workflow=workflow, after=after, reply=reply, **options)
        return shape.fill(args, "", time.time_ns())
    except (ValueError, TypeError, CannotPack) as fault:
        raise Unclear(f"task {one['id']!r}: {fault}") from None


def _edge(workflow: str, said: Any) -> Any:
    from orchestrator.client import Edge

    given: dict[str, Any] = {"task": said} if isinstance(said, str) else said
    if not isinstance(given, dict) or not isinstance(given.get("task"), str) or given.keys() - {"task", "on_failure", "into"}:
        right = '"a", or {"task": "a", "on_failure": "skip", "into": "rows"}'
        raise ValueError(f"after: {json.dumps(said)[:200]} is no parent; write {right}")
    return Edge(**{**given, "task": f"{workflow}.{given['task']}"})  # the rest is judged with the task


# --- for people -------------------------------------------------------------------------------------------------------


def workflow_view(found: dict[str, Any]) -> list[RenderableType]:
    """What ``workflow`` answered."""
    from orchestrator.cli.show import facts, span, state, table

    tasks = found["tasks"]
    ended = len(tasks) - found["live"]
    head = facts([
        ("workflow", found["workflow"]),
        ("tasks", f"{len(tasks)}, of which {ended} have ended"),
        ("expected work left", span(found["work_s"]) if found["live"] else None),
    ])  # fmt: skip
    rows = [
        [
            one["task"], one["type"], state(one["state"]), one["on"], _short(one["parents"]),
            _span(one["path_s"]),
        ]
        for one in tasks
    ]  # fmt: skip
    return [head, table(["task", "type", "state", "on", "after", "longest path from it"], rows, right=["longest path from it"])]


def _short(parents: list[str]) -> str:
    return ", ".join(parents[:4]) + (f" and {len(parents) - 4} more" if len(parents) > 4 else "")


def ended_view(told: dict[str, Any]) -> list[RenderableType]:
    """For people: how every task of a workflow ended."""
    from orchestrator.cli.show import facts, state, table

    rows = [
        [one["task"], one["type"], state(one["outcome"]), _span(one["waited_s"]), _span(one["ran_s"]), one["instance"], _left(one)]
        for one in told["tasks"]
    ]
    columns = ["task", "type", "outcome", "waited", "ran", "instance", "value or error"]
    done = sum(one["outcome"] == "done" for one in told["tasks"])
    head = facts([("workflow", told["workflow"]), ("done", f"{done} of {len(rows)} tasks")])
    return [head, table(columns, rows, right=["waited", "ran"])]


def _span(span_s: float | None) -> str | None:
    from orchestrator.cli.show import span

    return None if span_s is None else span(span_s)


def _left(one: dict[str, Any]) -> str:
    """What a task returned, or why it did not."""
    from orchestrator.cli.show import clean, to_json

    error = one["error"]
    return clean(f"{error['kind']}: {error['message']}" if error else to_json(one["value"]))[:200]


def chart(found: dict[str, Any]) -> str:
    """A workflow as a Mermaid flow chart: coloured by state, arrows from parent to child."""
    return "\n".join(["flowchart TD", *_lines(found["tasks"])])


def _lines(tasks: list[dict[str, Any]]) -> Iterator[str]:
    from orchestrator.cli.show import STYLES

    strokes = {"green": "#2a2", "cyan": "#29c", "yellow": "#c90", "magenta": "#a3a", "red": "#c22"}
    numbers = {one["task"]: f"t{number}" for number, one in enumerate(tasks)}  # ids may be Mermaid's own words
    for one in tasks:
        colour = STYLES.get(one["state"], "yellow")
        yield f'    {numbers[one["task"]]}["{one["task"]}<br/>{one["type"]}<br/>{one["state"]}"]:::{colour}'
    for one in tasks:
        for parent in one["parents"]:
            if parent in numbers:
                yield f"    {numbers[parent]} --> {numbers[one['task']]}"
    yield from (f"    classDef {colour} stroke:{stroke}" for colour, stroke in strokes.items())
