"""Work in, results out: submit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.faults import Fault
from orchestrator.cli.frame import ANSWER_WITHIN_S, Call, command
from orchestrator.cli.where import CONNECT_WITHIN_S
from orchestrator.cli.words import Unclear, arguments, duration_s, needs

if TYPE_CHECKING:
    from rich.console import RenderableType

    from orchestrator.client import Client, Handle

_HANDED_IN = "the broker keeps it; a coordinator has still to look at it, and may refuse it. What becomes of it"
_SILENT_S = 3.0
"""So long whoever waits for a task sees nothing before it is said what the task waits for: most have ended by then."""


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    command(
        app, "submit", example="orchestrator submit thumbs.resize path=a.png width=200 --need cpu=1 --wait", panel="Work"
    )(submit)  # fmt: skip


def submit(
    call: Call,
    type: Annotated[str | None, typer.Argument(metavar="TYPE", help="SERVICE.HANDLER", show_default=False)] = None,
    pairs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="K=V", help="Arguments. A value that is JSON is that value (n=3, deep=true), else text", show_default=False
        ),
    ] = None,
    args: Annotated[str | None, typer.Option(metavar="JSON", help="Arguments as one JSON object")] = None,
    need: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=N", help="What it needs: cpu=1, or gpu=1..4 (least..most); repeat for more", show_default=False),
    ] = None,
    priority: Annotated[int | None, typer.Option(metavar="N", help="Higher goes first [default: 0]", min=-1000, max=1000)] = None,
    deadline: Annotated[
        str | None, typer.Option(metavar="TIME", help="Not to be started later than this from now: 30s, 5m")
    ] = None,
    delay: Annotated[str | None, typer.Option(metavar="TIME", help="Not to be started sooner than this from now")] = None,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="Longest run of one attempt [default: the handler's own]")
    ] = None,
    retries: Annotated[
        int | None, typer.Option(metavar="N", help="Further attempts after a failure [default: the handler's own]", min=0, max=1000)
    ] = None,
    tenant: Annotated[str | None, typer.Option(metavar="NAME", help="On whose behalf")] = None,
    size: Annotated[
        float | None, typer.Option(metavar="N", help="How large it is, in any measure: run times are learned by it", min=0)
    ] = None,
    estimate: Annotated[
        str | None, typer.Option(metavar="TIME", help="A guess of its run time; what is learned corrects it")
    ] = None,
    affinity: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Rather on the instance where tasks with the same key run (placement `affinity`)"),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Of all tasks of this type with the same key one runs; the others end as it does"),
    ] = None,
    cache_for: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="A result of the same key (without --key: the same arguments) that is no older will do"),
    ] = None,
    id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="The task's id: the same id is never taken twice [default: a new one]")
    ] = None,
    workflow: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Instead of one task a workflow: a JSON file of tasks that name their parents; - is stdin"
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; print the result and the task's life story")] = False,
    wait_timeout: Annotated[str | None, typer.Option(metavar="TIME", help="Wait no longer than this; the task goes on")] = None,
) -> int:
    """Submit a task, or a workflow; with --wait, print its result.

    Accepted means that the broker has confirmed it: from then on it is not lost, and a coordinator has it run or says why not
    (`orchestrator why ID`). Without --wait the task's id is printed; with it the result and the task's life story, and the exit
    code is 1 if the task failed.
    """
    if wait_timeout is not None and not wait:
        raise Unclear("--wait-timeout says how long --wait may wait; add --wait, or leave both out")
    patience_s = None if wait_timeout is None else duration_s(wait_timeout)
    said = {"priority": priority, "retries": retries, "tenant": tenant, "size": size, "affinity": affinity, "key": key}
    times = {"deadline": deadline, "delay": delay, "timeout": timeout, "estimate": estimate, "cache_for": cache_for}
    if workflow is not None:
        single: dict[str, Any] = {"TYPE": type, "K=V": pairs or None, "--args": args, "--need": need or None}
        single |= {f"--{name.replace('_', '-')}": value for name, value in (said | times).items()}
        if alone := [name for name, value in single.items() if value is not None]:
            raise Unclear(f"{', '.join(alone)} cannot be said of a whole workflow; say it of its tasks, in {workflow}")
        return _submit_workflow(call, workflow, id, wait, patience_s)
    if type is None:
        raise Unclear("what is to be done is missing; write the task's type (thumbs.resize), or --workflow FILE")
    import asyncio

    from orchestrator.client import CannotPack, Client
    from orchestrator.client.calls import form

    options: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    options |= {name: duration_s(text) for name, text in times.items() if text is not None}
    options |= {"need": needs(need or []), "id": id, "reply": wait}
    given = arguments(pairs or [], args)
    try:
        form(type, **options)
    except ValueError as fault:
        raise Unclear(str(fault)) from None
    url = call.found.url

    async def submitted() -> dict[str, Any]:
        async with Client(url, name="orchestrator submit", connect_within=CONNECT_WITHIN_S) as client:
            handle = await client.task(type, **options).submit(**given)
            if not wait:
                return {"task": handle.id, "type": type, "accepted": True}
            _tell_that_it_waits(call, "task", handle.id)
            why = None if call.json else asyncio.create_task(_say_why_it_waits(client, handle))
            try:
                return await _ended(client, handle, patience_s)
            finally:
                if why is not None:
                    why.cancel()

    try:
        told = asyncio.run(submitted())
    except CannotPack as fault:
        raise Unclear(str(fault)) from None
    call.answer(told, lambda: submit_view(told))
    if not (wait or call.json):
        print(f"{_HANDED_IN}: orchestrator why {told['task']}", file=sys.stderr)
    return 0 if told.get("outcome", "done") == "done" else 1


def _tell_that_it_waits(call: Call, kind: str, name: str) -> None:
    """So that whoever gives up waiting can ask for it."""
    if not call.json:
        print(f"the broker has {kind} {name}; Ctrl-C ends the waiting, not the {kind}", file=sys.stderr)


async def _say_why_it_waits(client: Client, handle: Handle) -> None:
    """Nobody sits before a silent screen: what a task that has not ended after a few seconds waits for."""
    import asyncio

    from orchestrator.cli.show import clean
    from orchestrator.client import OrchestratorError

    await asyncio.sleep(_SILENT_S)
    try:
        why = await client.ask("why", task=handle.id, shard=handle.shard, timeout_s=ANSWER_WITHIN_S)
    except OrchestratorError as fault:
        print(clean(str(fault)), file=sys.stderr)
    else:
        print(clean(f"it is {why['state']}: {why['reason']}"), file=sys.stderr)


async def _ended(client: Client, handle: Handle, patience_s: float | None) -> dict[str, Any]:
    """How the task ended, with its life story."""
    from orchestrator.cli.story import life
    from orchestrator.wire.values import unpack

    result = await handle.outcome(patience_s)
    error = result.error
    told: dict[str, Any] = {
        "task": handle.id,
        "type": handle.type,
        "outcome": result.outcome,
        "value": None if result.value is None else unpack(result.value),
        "error": None if error is None else {"kind": error.kind, "message": error.message, "trace": error.trace},
        "first": handle.first,
        **life(result),
        "story": [],
    }
    if result.attempts > 1:  # the attempts that failed on the way
        told["story"] = (await client.ask("task", task=handle.id, shard=handle.shard, timeout_s=ANSWER_WITHIN_S)).get("story", [])
    return told


def _submit_workflow(call: Call, path: Path, id: str | None, wait: bool, patience_s: float | None) -> int:
    import asyncio

    from orchestrator.cli import flow
    from orchestrator.client import Client

    name, calls = flow.calls(flow.read(path), id, reply=wait)
    url = call.found.url

    async def submitted() -> dict[str, Any]:
        async with Client(url, name="orchestrator submit", connect_within=CONNECT_WITHIN_S) as client:
            try:
                handles = await client.submit_many(calls)
            except ValueError as fault:
                raise Unclear(str(fault)) from None
            if not wait:
                tasks = [{"task": handle.id, "type": handle.type} for handle in handles]
                return {"workflow": name, "accepted": True, "tasks": tasks}
            _tell_that_it_waits(call, "workflow", name)
            try:
                async with asyncio.timeout(patience_s) as patience:  # for the whole
                    return {"workflow": name, "tasks": [await _ended(client, handle, None) for handle in handles]}
            except TimeoutError:
                if not patience.expired():
                    raise
                do = f"`orchestrator workflow {name}` shows how far it is, `orchestrator cancel --workflow {name}` ends it."
                raise Fault(f"Workflow {name} has not ended within {patience_s:g} s.", "It goes on.", do) from None

    told = asyncio.run(submitted())
    call.answer(told, lambda: flow.ended_view(told) if wait else submit_view({"task": name}))
    if not (wait or call.json):
        print(f"{_HANDED_IN}: orchestrator workflow {name}", file=sys.stderr)
    return 0 if all(one.get("outcome", "done") == "done" for one in told["tasks"]) else 1


def submit_view(told: dict[str, Any]) -> list[RenderableType]:
    """For people: the id; or the result and the life story."""
    from orchestrator.cli.show import cell, clean, to_json
    from orchestrator.cli.story import life_view

    if "outcome" not in told:
        return [cell(told["task"])]
    blocks: list[RenderableType] = []
    if told["outcome"] == "done":
        value = told["value"]
        blocks.append(cell(value if isinstance(value, str) and value else to_json(value)))
    error = told["error"]
    if error is not None:
        blocks.append(cell(f"{error['kind']}: {error['message']}"))
        blocks += [cell(clean(error["trace"].rstrip()))] if error["trace"] else []
    blocks.append(cell(f"task {told['task']} ({told['type']})"))
    if told.get("first", told["task"]) != told["task"]:
        blocks.append(cell(f"task {told['first']} did it, which came first with the same key; this one never ran"))
    return [*blocks, *life_view(told["outcome"], told, told["story"])]
