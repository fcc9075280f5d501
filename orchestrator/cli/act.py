"""Wills: cancel, priority, drain, policy. The coordinator writes them down before it answers, so they outlive it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.faults import BAD_USAGE, Fault
from orchestrator.cli.frame import ASKING, Call, command
from orchestrator.cli.look import TaskArgument, known_services
from orchestrator.cli.words import Unclear
from orchestrator.spelling import nearest

if TYPE_CHECKING:
    from rich.console import RenderableType

PANEL = "Act"


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    command(app, "cancel", example="orchestrator cancel 0190c2f3a7", panel=PANEL, common=ASKING)(cancel)
    command(app, "priority", example="orchestrator priority 0190c2f3a7 5", panel=PANEL, common=ASKING, negative=True)(priority)
    command(app, "drain", example="orchestrator drain gpu-a", panel=PANEL, common=ASKING)(drain)
    command(app, "policy", example="orchestrator policy sjf --set ageing=10m --service thumbs", panel=PANEL, common=ASKING)(policy)


def cancel(
    call: Call,
    id: Annotated[
        str | None, typer.Argument(metavar="ID", help="The task's id, as `submit` printed it", show_default=False)
    ] = None,
    workflow: Annotated[
        str | None, typer.Option(metavar="ID", help="Instead: every task of this workflow that has not ended")
    ] = None,
) -> int:
    """Cancel a task, or a workflow.

    One that waits will not run; one that runs is stopped. Exit code 1 if it had ended otherwise before, or if nobody knows it.
    """
    if (id is None) == (workflow is None):
        raise Unclear("name one task, or one workflow with --workflow ID")
    if workflow is not None:
        found = call.ask("cancel", workflow=workflow)
        call.answer(found, lambda: cancel_workflow_view(found))
        return 0
    found = call.ask("cancel", task=id)
    call.answer(found, lambda: cancel_view(found))
    return 0 if found["cancelled"] and found["state"] != "unknown" else 1


def priority(
    call: Call,
    id: TaskArgument,
    level: Annotated[int, typer.Argument(metavar="N", help="Higher goes first", min=-1000, max=1000, show_default=False)],
) -> None:
    """Give a task another priority.

    One that waits takes its new place at once, where the ordering looks at priority (priority, fair and dps do); for one that runs
    it counts if it must be tried again.
    """
    found = call.ask("priority", task=id, priority=level)
    call.answer(found, lambda: priority_view(found))


def drain(
    call: Call,
    instance: Annotated[str, typer.Argument(metavar="INSTANCE", help="Its name, as `services` shows it", show_default=False)],
) -> None:
    """Let an instance finish what it runs, and leave."""
    found = call.ask("drain", instance=instance)
    call.answer(found, lambda: drain_view(found))


def policy(
    call: Call,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Policies to switch to, also with settings (sjf:ageing=10m); which kind a name belongs to is found out",
            show_default=False,
        ),
    ] = None,
    ordering: Annotated[str | None, typer.Option(metavar="NAME", help="Who goes next")] = None,
    placement: Annotated[str | None, typer.Option(metavar="NAME", help="On which instance")] = None,
    allocation: Annotated[str | None, typer.Option(metavar="NAME", help="How much of an elastic demand")] = None,
    set: Annotated[
        list[str] | None,
        typer.Option(metavar="SETTING=VALUE", help="A setting of the policy named, or of the one in force", show_default=False),
    ] = None,
    service: Annotated[str | None, typer.Option(metavar="NAME", help="For this service only")] = None,
    reset: Annotated[bool, typer.Option("--reset", help="With --service: it follows the default again")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="What each policy does, and its settings with their reasons")] = False,
) -> int:
    """Show or switch the policies that decide.

    A switch orders those who wait anew and is followed by every coordinator, also after a failover and a restart, whatever
    their settings say.
    """
    wanted = {"ordering": ordering, "placement": placement, "allocation": allocation}
    if names:
        for kind, name in kinds_of(names, call.ask("policy")["known"]).items():
            if wanted.get(kind) not in (None, name):
                raise Fault(
                    f"Two {kind} policies are named: {wanted[kind]} and {name}.",
                    "Nothing was switched.",
                    "Name one.",
                    code=BAD_USAGE,
                )
            wanted[kind] = name
    asked = {"set": pairs(set or []) or None, "service": service, "reset": reset or None, "explain": explain or None}
    will = bool(set or reset or any(wanted.values()))  # else it is a look
    found = call.ask_all("policy", will=will, **wanted, **asked)
    code = call.answer_each(found, explain_view if explain else policy_view)
    if service is not None and will and not reset and service not in (known := known_services(call)):
        near = nearest(service, sorted(known))
        meant = f" Is {near!r} meant? Take this back then: --service {service} --reset" if near else ""
        print(f"no service {service!r} is known yet: this holds once one comes.{meant}", file=sys.stderr)
    return code


def pairs(words: list[str]) -> dict[str, str]:
    """``["ageing=10m"]`` -> ``{"ageing": "10m"}``. Raises Unclear."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise Unclear(f"{word!r} is no setting; write SETTING=VALUE, for example ageing=10m")
        if name in found:
            raise Unclear(f"the setting {name!r} is given twice")
        found[name] = value
    return found


def kinds_of(names: list[str], known: dict[str, list[str]]) -> dict[str, str]:
    """Which kind each policy belongs to. Raises Fault for a name that nobody knows, or that two of one kind compete."""
    found: dict[str, str] = {}
    for spec in names:
        name = spec.partition(":")[0]
        kinds = [kind for kind, policies in known.items() if name in policies]
        if len(kinds) != 1:
            what = f"The name {name!r} belongs to several kinds ({', '.join(kinds)})." if kinds else f"There is no policy {name!r}."
            there = "; ".join(f"{kind}: {', '.join(policies)}" for kind, policies in known.items())
            near = nearest(name, [one for policies in known.values() for one in policies])
            meant = f"Is {near} meant? " if near else ""
            do = f"Say which: --{kinds[0]} {spec}." if kinds else f"{meant}There are {there}."
            raise Fault(what, "Nothing was switched.", do, code=BAD_USAGE)
        if found.setdefault(kinds[0], spec) != spec:
            raise Fault(
                f"Two {kinds[0]} policies are named: {found[kinds[0]]} and {spec}.",
                "Nothing was switched.",
                "Name one.",
                code=BAD_USAGE,
            )
    return found


# --- for people -------------------------------------------------------------------------------------------------------


def cancel_view(found: dict[str, Any]) -> list[RenderableType]:
    """What ``cancel`` answered."""
    from orchestrator.cli.show import cell

    name = found["task"]
    if not found["cancelled"]:
        return [cell(f"Task {name} had ended as {found['outcome']} before; nothing was cancelled.")]
    match found["state"]:
        case "ended":
            return [cell(f"Task {name} was cancelled before.")]
        case "unknown":
            return [
                cell(
                    f"Nobody knows a task {name}, so nothing was cancelled; should it come, it will not run. Is that its id? "
                    "`orchestrator tasks` lists those there are."
                )
            ]
        case "running":
            return [
                cell(
                    f"Task {name} is being cancelled: its worker is told to stop it. `orchestrator task {name}` shows when it has."
                )
            ]
    return [cell(f"Task {name} is cancelled (it was {found['state']}).")]


def priority_view(found: dict[str, Any]) -> list[RenderableType]:
    """What ``priority`` answered."""
    from orchestrator.cli.show import cell

    name, now, before = found["task"], found["priority"], found["before"]
    if now == before:
        return [cell(f"Task {name} has priority {now}, as before.")]
    if not found.get("heeded", True):
        rest = (
            f"But the ordering of its service is {found['ordering']}, which does not look at priority: it keeps its place. "
            "`orchestrator policy --explain` says which do."
        )
    elif found["state"] == "waiting":
        among = " among the tasks of its tenant" if found.get("ordering", "").partition(":")[0] == "fair" else ""
        rest = f"It takes its new place{among} at once."
    elif found["state"] == "deferred":
        rest = "It counts when it is due."
    else:
        rest = f"It is {found['state']}: this counts if it must be tried again."
    return [cell(f"Task {name} has priority {now} now (it had {before}). {rest}")]


def cancel_workflow_view(found: dict[str, Any]) -> list[RenderableType]:
    """What ``cancel`` answered of a workflow."""
    from orchestrator.cli.show import cell

    tasks = f"{found['tasks']} tasks" if found["tasks"] != 1 else "the one task that was left"
    return [cell(f"Workflow {found['workflow']}: {tasks} cancelled. `orchestrator workflow {found['workflow']}` shows them.")]


def drain_view(found: dict[str, Any]) -> list[RenderableType]:
    """What ``drain`` answered."""
    from orchestrator.cli.show import cell

    names, holds = ", ".join(found["draining"]), found["holds"]
    rest = (
        "holds nothing and leaves now"
        if not holds
        else f"finishes the {holds} tasks it holds, then leaves"
        if holds > 1
        else "finishes the task it holds, then leaves"
    )
    return [cell(f"{names} takes no new work, {rest}.")]


ASKS = {"ordering": "who goes next", "placement": "on which instance", "allocation": "how much of an elastic demand"}


def policy_view(found: dict[str, Any]) -> list[RenderableType]:
    """What ``policy`` answered: what holds, what else there is, which services have their own."""
    from orchestrator.cli.show import cell, table

    rows = [
        [kind, spec, [one for one in found["known"].get(kind, []) if one != spec.partition(":")[0]], ASKS.get(kind, "")]
        for kind, spec in found["now"].items()
    ]
    whose = f"now, for {found['service']}" if found.get("service") else "now"
    shown: list[RenderableType] = [table(["kind", whose, "others there are", "decides"], rows)]
    if own := found.get("services"):
        named = [[service, kind, spec] for service, specs in own.items() for kind, spec in specs.items()]
        shown.append(table(["service", "kind", "has its own"], named))
    shown += [
        cell(f"The {one['kind']} policy {one['name']} of {one['distribution']} cannot be used: {one['why']}.")
        for one in found.get("broken", [])
    ]
    return shown


def explain_view(found: dict[str, Any]) -> list[RenderableType]:
    """Every policy: what it does, and what can be set of it."""
    from orchestrator.cli.show import cell, table

    shown: list[RenderableType] = []
    for kind, policies in found["about"].items():
        for name, about in policies.items():
            whose = f" (of {about['from']})" if about["from"] else ""
            shown.append(cell(f"{kind} {name}{whose}: {' '.join(about['doc'].split()).replace('``', '')}"))
            if about["settings"]:
                rows = [[word, one["default"], one["is"], one["why"]] for word, one in about["settings"].items()]
                shown.append(table(["setting", "default", "is", "why"], rows))
    return shown
