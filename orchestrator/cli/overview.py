"""What people see of the whole: the coordinator, services, resources, tasks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from orchestrator.cli.closeup import error_of, progress_of, state_of
from orchestrator.cli.limit import limits_view
from orchestrator.cli.show import cell, clean, facts, give, instant, since, span, state, table

if TYPE_CHECKING:
    from rich.console import RenderableType


def status_view(found: dict[str, Any]) -> list[RenderableType]:
    """What ``status`` answered."""
    policies = found["policies"]
    pairs: list[tuple[str, Any]] = [
        ("coordinator", found["coordinator"]),
        ("leads", f"since {span(found['leading_s'])}, epoch {found['epoch']}"),
        ("tasks", f"{found['waiting']} waiting, {found['live']} not ended, {found['remembered']} ended and remembered"),
        ("services", f"{found['services']} with {found['instances']} instance{'s' if found['instances'] != 1 else ''}"),
        ("policies", ", ".join(f"{kind} {name}" for kind, name in policies.items())),
        ("intake", "open" if found["intake_open"] else f"closed: {closed(found)[0]}; submissions wait in the broker"),
        ("run times", _run_times(found["run_times"])),
        ("results owed", found["owed_results"] or None),
        ("ledger", f"offset {found['ledger_offset']}, needed from {found['replay_from']}"),
        ("ledger cut", _short(found)),
        ("ledger lost", _lost(found.get("ledger_lost"))),
    ]
    for one in found.get("offences", [])[:5]:
        user = f" by user {one['user']}" if one["user"] else ""
        pairs.append(("offences", f"{one['count']:,} {one['what']} in {one['where']}{user}: {one['why']}"))
    counts = found["counts"]
    if counts:
        pairs.append(("so far", ", ".join(f"{name.replace('_', ' ')} {number}" for name, number in counts.items())))
    return [facts(pairs)]


def closed(found: dict[str, Any]) -> tuple[str, str]:
    """Why the intake is closed, and what can be done."""
    match found.get("intake_why"):
        case "ledger":
            return (
                "what lives, and the ids of what has ended, fill the ledger",
                "Let work end, or cancel some of it; ids go when the dedup window is over.",
            )
        case "reports":
            return "what earlier leaders left in the queue of reports is read first (settle_after_s)", "It opens by itself."
        case _:
            return "the backlog is full", "Run more workers."


def _short(found: dict[str, Any]) -> str | None:
    """Whether somebody else's limit cuts the ledger off."""
    if not (kept := found.get("ledger_kept_bytes")):
        return None
    cap = found["ledger_bytes_max"]
    said = f"a policy of the broker cuts it to about {kept / 1e6:,.1f} MB, and ledger_bytes_max says {cap / 1e6:,.0f}"
    return f"{said}: see rabbitmqctl list_policies"


def _lost(found: dict[str, Any] | None) -> str | None:
    """What became of what stood in a ledger that was lost."""
    if found is None:
        return None
    told = []
    if "restored_by" in found:
        whole = "nothing accepted is missing" if found["complete"] else "what its dead leader wrote last is missing"
        told.append(
            f"{instant(found['at_ns'])}, {clean(found['restored_by'])} wrote {found['live']:,} living and {found['ended']:,} ended "
            f"tasks again from memory; {whole}"
        )
    if found["unknown"]:
        names = ", ".join(clean(name) for name in found["unknown_tasks"][:10]) + (" …" if found["unknown"] > 10 else "")
        told.append(f"agents had work of {found['unknown']:,} tasks that nobody knows; submit them again: {names}")
    return "; ".join(told)


def _run_times(found: dict[str, Any]) -> str | None:
    """How well run times are known: factors within which expectations typically are."""
    if not found["seen"]:
        return None
    known = f"known of {found['seen']} of {found['types']} types, from {found['samples']:,} runs"
    if found["error"] is None:
        return known
    worst = found["worst"]
    return f"{known}; expectations are typically: {give(found['error'])} (worst: {clean(worst['type'])}, {give(worst['error'])})"


def services_view(found: list[dict[str, Any]]) -> list[RenderableType]:
    """What ``services`` answered."""
    if not found:
        return [cell("No service has announced itself yet, and no task waits for one. Start one: workers run MODULE:SERVICE")]
    summary = table(
        ["service", "ready", "waiting", "running", "handlers", "depends on"],
        [[one["service"], one["ready"], one["waiting"], one["running"], one["handlers"], one["depends_on"]] for one in found],
        right=["ready", "waiting", "running"],
    )
    rows = [_instance_row(one["service"], each) for one in found for each in one["instances"]]
    columns = ["instance", "service", "state", "holds", "capacity", "free", "speed", "heard", "version", "waits for"]
    shown: list[RenderableType] = [summary, *([table(columns, rows, right=["holds", "speed", "heard"])] if rows else [])]
    unfit = [one for each in found for one in each.get("unfit", [])]
    shown += [
        cell(f"{one['waiting']:,} of {one['type']} ({one['need']}) can never run as things are: {one['why']}") for one in unfit
    ]
    learned = [
        [f"{one['service']}.{name}", *_expectation(each)] for one in found for name, each in one.get("expected", {}).items()
    ]  # fmt: skip
    if learned:
        columns = ["type", "typically runs", "in the mean", "9 of 10 within", "expected within", "runs seen"]
        shown.append(table(columns, learned, right=columns[1:]))
    return shown


def _expectation(one: dict[str, Any]) -> list[Any]:
    return [span(one["middle_s"]), span(one["mean_s"]), span(one["long_s"]), give(one["error"]), one["samples"]]


def _instance_row(service: str, one: dict[str, Any]) -> list[Any]:
    how = state("circular" if one["circle"] else one["state"])
    waits = " → ".join(one["circle"]) or one["waits_for"]
    heard = f"{span(one['heard_s'])} ago"
    return [
        one["instance"],
        service,
        how,
        one["holds"],
        one["capacity"],
        one["free"],
        one.get("speed"),
        heard,
        one["version"],
        waits,
    ]


def resources_view(found: list[dict[str, Any]]) -> list[RenderableType]:
    """What ``resources`` answered: what instances have, and limits that belong to none."""
    limits = [one["limit"] for one in found if "limit" in one]
    owned = [one for one in found if "limit" not in one]
    shown = limits_view(limits) if limits else []
    if not owned:
        return [cell("No instance is here, so there are no resources. Start one: workers run MODULE:SERVICE"), *shown]
    rows = [
        [
            one["service"], one["resource"], one["instances"], one["capacity"], one["granted"], one["free"], f"{one['used']:.0%}",
        ]
        for one in owned
    ]  # fmt: skip
    columns = ["service", "resource", "instances", "capacity", "granted", "free", "used"]
    return [table(columns, rows, right=columns[2:]), *shown]


def tasks_view(found: list[dict[str, Any]], limit: int, *, narrowed: bool = False) -> list[RenderableType]:
    """What ``tasks`` answered: live tasks, or ended ones. ``narrowed``: not all were asked for."""
    if not found:
        every = "No task waits or runs. Those that have ended: orchestrator tasks --state ended"
        return [cell("No such task." if narrowed else every)]
    more = [cell(f"These are the first {limit}; --limit shows more.")] if len(found) == limit else []
    now = time.time_ns()
    if found[0]["state"] == "ended":
        rows = [
            [
                one["task"], state(one["outcome"]), since(one["ended_ns"], now), one.get("attempts"), one.get("instance"),
                error_of(one),
            ]
            for one in found
        ]  # fmt: skip
        return [table(["task", "outcome", "ended", "attempts", "instance", "error"], rows, right=["attempts"]), *more]
    rows = [
        [
            one["task"], one["type"], state_of(one), span(one["age_s"]), one["priority"], one["tries"], progress_of(one),
        ]
        for one in found
    ]  # fmt: skip
    columns = ["task", "type", "state", "age", "priority", "failed tries", "progress"]
    return [table(columns, rows, right=["age", "priority", "failed tries"]), *more]
