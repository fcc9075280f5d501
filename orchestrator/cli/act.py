"""Wills: cancel, priority, drain, policy. The coordinator writes them down before it answers, so they outlive it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.faults import BAD_USAGE, Fault
from orchestrator.cli.frame import Call, command
from orchestrator.cli.look import TaskArgument

if TYPE_CHECKING:
    from rich.console import RenderableType

PANEL = "Act"


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    command(app, "cancel", example="orchestrator cancel 0190c2f3a7", panel=PANEL)(cancel)
    command(app, "priority", example="orchestrator priority 0190c2f3a7 5", panel=PANEL)(priority)
    command(app, "drain", example="orchestrator drain gpu-a", panel=PANEL)(drain)
    command(app, "policy", example="orchestrator policy fifo", panel=PANEL)(policy)


def cancel(call: Call, id: TaskArgument) -> int:
    """Cancel a task.

    One that waits will not run; one that runs is stopped. Exit code 1 if it had ended otherwise before.
    """
    found = call.ask("cancel", task=id)
    call.answer(found, lambda: cancel_view(found))
    return 0 if found["cancelled"] else 1


def priority(
    call: Call,
    id: TaskArgument,
    level: Annotated[int, typer.Argument(metavar="N", help="Higher goes first", min=-1000, max=1000, show_default=False)],
) -> None:
    """Give a task another priority.

    One that waits takes its new place at once; for one that runs it counts if it must be tried again. Below zero: -- ID -5
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
        typer.Argument(metavar="NAME", help="Policies to switch to; which kind a name belongs to is found out", show_default=False),
    ] = None,
    ordering: Annotated[str | None, typer.Option(metavar="NAME", help="Who goes next")] = None,
    placement: Annotated[str | None, typer.Option(metavar="NAME", help="On which instance")] = None,
    allocation: Annotated[str | None, typer.Option(metavar="NAME", help="How much of an elastic demand")] = None,
) -> None:
    """Show or switch the policies that decide."""
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
    found = call.ask("policy", **wanted)
    call.answer(found, lambda: policy_view(found))


def kinds_of(names: list[str], known: dict[str, list[str]]) -> dict[str, str]:
    """Which kind each policy name belongs to. Raises Fault for a name that nobody knows, or that two of one kind compete."""
    found: dict[str, str] = {}
    for name in names:
        kinds = [kind for kind, policies in known.items() if name in policies]
        if len(kinds) != 1:
            what = f"The name {name!r} belongs to several kinds ({', '.join(kinds)})." if kinds else f"There is no policy {name!r}."
            there = "; ".join(f"{kind}: {', '.join(policies)}" for kind, policies in known.items())
            do = f"Say which: --{kinds[0]} {name}." if kinds else f"There are {there}."
            raise Fault(what, "Nothing was switched.", do, code=BAD_USAGE)
        if found.setdefault(kinds[0], name) != name:
            raise Fault(
                f"Two {kinds[0]} policies are named: {found[kinds[0]]} and {name}.",
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
            return [cell(f"Task {name} is not known here; should it come, it will not run.")]
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
    rest = {
        "waiting": "It takes its new place at once.",
        "deferred": "It counts when it is due.",
    }.get(found["state"], f"It is {found['state']}: this counts if it must be tried again.")
    return [cell(f"Task {name} has priority {now} now (it had {before}). {rest}")]


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


def policy_view(found: dict[str, Any]) -> list[RenderableType]:
    """What ``policy`` answered."""
    from orchestrator.cli.show import table

    asks = {"ordering": "who goes next", "placement": "on which instance", "allocation": "how much of an elastic demand"}
    rows = [
        [kind, name, [one for one in found["known"].get(kind, []) if one != name], asks.get(kind, "")]
        for kind, name in found["now"].items()
    ]
    return [table(["kind", "now", "others there are", "decides"], rows)]
