"""Questions: services, resources, tasks, task, why, status. Looking changes nothing."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from orchestrator.cli.faults import Fault
from orchestrator.cli.frame import ASKING, Call, all_told, command
from orchestrator.cli.words import Unclear
from orchestrator.spelling import nearest

PANEL = "Look"

TaskArgument = Annotated[str, typer.Argument(metavar="ID", help="The task's id, as `submit` printed it", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``, in the order in which help shows them."""
    command(app, "status", example="orchestrator status", panel=PANEL, common=ASKING)(status)
    command(app, "services", example="orchestrator services --graph", panel=PANEL, common=ASKING)(services)
    command(app, "resources", example="orchestrator resources", panel=PANEL, common=ASKING)(resources)
    command(app, "tasks", example="orchestrator tasks --state waiting --service thumbs --limit 20", panel=PANEL, common=ASKING)(
        tasks
    )
    command(app, "task", example="orchestrator task 0190c2f3a7", panel=PANEL, common=ASKING)(task)
    command(app, "why", example="orchestrator why 0190c2f3a7", panel=PANEL, common=ASKING)(why)
    command(app, "key", example="orchestrator key pay.charge order-2041", panel=PANEL, common=ASKING)(key)


def status(call: Call) -> int:
    """Show the whole at a glance.

    The coordinator, its backlog, its policies, and what it has counted since it started. Exit code 1 if nobody answers, or not in
    every shard.
    """
    from orchestrator.cli import overview

    return call.answer_each(call.ask_all("status"), overview.status_view)


def services(
    call: Call,
    format: Annotated[
        str | None, typer.Argument(metavar="[FORMAT]", help="With --graph: text or mermaid [default: text]", show_default=False)
    ] = None,
    graph: Annotated[bool, typer.Option("--graph", help="Draw which service needs which, and whether it is there")] = False,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="The same as --graph mermaid")] = False,
    service: Annotated[str | None, typer.Option(metavar="NAME", help="Only this one")] = None,
) -> int:
    """List services, instances, backlogs; or draw their needs."""
    from orchestrator.cli import graph as drawing
    from orchestrator.cli import overview

    if format is not None and format not in drawing.FORMATS:
        raise Unclear(f"{format!r} is no format; there are: {', '.join(drawing.FORMATS)}")
    if format is not None and not graph:
        raise Unclear(f"{format} is a format of the graph; write: --graph {format}")
    mermaid = mermaid or format == "mermaid"
    if mermaid and call.json:
        raise Unclear("the graph is wanted as Mermaid and as JSON; say one of them")
    found = call.ask_all("services", service=service)
    if service is not None and not any(found.values()):
        raise unknown_service(service, known_services(call))
    if not graph and not mermaid:
        return call.answer_each(found, overview.services_view)
    drawn = drawing.graph([one for told in found.values() for one in told or ()])
    if call.json:
        call.answer(drawn.plain(), list)
    elif mermaid:
        print(drawing.mermaid(drawn))
    else:
        call.answer(None, lambda: drawing.text(drawn))
    return all_told(found)


def resources(call: Call) -> int:
    """List resources: what there is, granted, free."""
    from orchestrator.cli import overview

    return call.answer_each(call.ask_all("resources"), overview.resources_view)


def tasks(
    call: Call,
    state: Annotated[
        str | None,
        typer.Option(
            metavar="STATE",
            help="Only these: waiting, blocked, deferred, assigned, running, doubtful, or ended (the last to end first; of all "
            "services and workflows)",
        ),
    ] = None,
    service: Annotated[str | None, typer.Option(metavar="NAME", help="Only those of this service")] = None,
    workflow: Annotated[str | None, typer.Option(metavar="ID", help="Only those of this workflow")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many")] = 100,
) -> int:
    """List tasks that wait or run, oldest first."""
    from orchestrator.cli import overview

    found = call.ask_all("tasks", state=state, service=service, workflow=workflow, limit=limit)
    if service is not None and not any(found.values()) and service not in (known := known_services(call)):
        raise unknown_service(service, known)
    if call.json and any(len(told or ()) == limit for told in found.values()):
        print(f"these are the first {limit}; --limit shows more", file=sys.stderr)
    return call.answer_each(found, lambda told: overview.tasks_view(told, limit, narrowed=bool(state or service or workflow)))


def known_services(call: Call) -> set[str]:
    """The names of those that have announced themselves, or that tasks wait for; of all shards."""
    return {one["service"] for told in call.ask_all("services").values() for one in told or []}


def unknown_service(name: str, known: set[str]) -> Fault:
    """For who has mistyped it, most likely."""
    near = nearest(name, sorted(known))
    do = f"Is {near!r} meant?" if near else f"There are: {', '.join(sorted(known)[:20]) or 'none'}."
    return Fault(f"No service {name!r} is known: none has announced itself, and no task waits for one.", "Nothing is listed.", do)


def task(call: Call, id: TaskArgument) -> None:
    """Show all that is known of one task."""
    from orchestrator.cli import closeup

    found = call.ask("task", task=id)
    call.answer(found, lambda: closeup.task_view(found))


def key(
    call: Call,
    type: Annotated[str, typer.Argument(metavar="TYPE", help="SERVICE.HANDLER", show_default=False)],
    key: Annotated[str, typer.Argument(metavar="KEY", help="As given with `submit --key`", show_default=False)],
    tenant: Annotated[str, typer.Option(metavar="NAME", help="On whose behalf")] = "",
) -> int:
    """Say which task holds a key.

    Tasks of the same type and tenant that come with it end as that one does, and do not run.
    """
    from orchestrator.cli import closeup
    from orchestrator.client.calls import form

    try:
        form(type, key=key, tenant=tenant)
    except ValueError as fault:
        raise Unclear(str(fault)) from None
    answers = call.ask_all("key", type=type, key=key, tenant=tenant)
    found = holder(answers)
    call.answer(found, lambda: closeup.key_view(found))
    return all_told(answers) if found["task"] is None else 0  # a shard that is silent may know who holds it


def holder(answers: dict[str, Any]) -> Any:
    """Who holds a key, by what the shards answer (None: it did not). With a rule by tenants a type is in several."""
    return max((one for one in answers.values() if one is not None), key=lambda one: one["task"] is not None)


def why(call: Call, id: TaskArgument) -> None:
    """Say why a task is not running.

    One sentence, and what every instance has against it. The reasons are those by which the coordinator decides.
    """
    from orchestrator.cli import closeup

    found = call.ask("why", task=id)
    call.answer(found, lambda: closeup.why_view(found))
