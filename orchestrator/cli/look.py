"""Questions: services, resources, tasks, task, why, status. Looking changes nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.frame import ASKING, Call, command
from orchestrator.cli.words import Unclear

if TYPE_CHECKING:
    from rich.console import RenderableType

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


def status(call: Call) -> None:
    """Show the whole at a glance.

    The coordinator, its backlog, its policies, and what it has counted since it started.
    """
    call.answer_each(call.ask_all("status"), status_view)


def services(
    call: Call,
    format: Annotated[
        str | None, typer.Argument(metavar="[FORMAT]", help="With --graph: text or mermaid [default: text]", show_default=False)
    ] = None,
    graph: Annotated[bool, typer.Option("--graph", help="Draw which service needs which, and whether it is there")] = False,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="The same as --graph mermaid")] = False,
) -> None:
    """List services, their instances and backlogs; or draw what needs what."""
    from orchestrator.cli import graph as drawing

    if format is not None and format not in drawing.FORMATS:
        raise Unclear(f"{format!r} is no format; there are: {', '.join(drawing.FORMATS)}")
    if format is not None and not graph:
        raise Unclear(f"{format} is a format of the graph; write: --graph {format}")
    found = call.ask_all("services")
    if not graph and not mermaid:
        call.answer_each(found, services_view)
        return
    drawn = drawing.graph([one for told in found.values() for one in told or ()])
    if call.json:
        call.answer(drawn.plain(), list)
    elif mermaid or format == "mermaid":
        print(drawing.mermaid(drawn))
    else:
        call.answer(None, lambda: drawing.text(drawn))


def resources(call: Call) -> None:
    """List resources: what there is, granted, free."""
    call.answer_each(call.ask_all("resources"), resources_view)


def tasks(
    call: Call,
    state: Annotated[
        str | None,
        typer.Option(
            metavar="STATE",
            help="Only these: waiting, blocked, deferred, assigned, running, doubtful, or ended (the last to end first)",
        ),
    ] = None,
    service: Annotated[str | None, typer.Option(metavar="NAME", help="Only those of this service")] = None,
    workflow: Annotated[str | None, typer.Option(metavar="ID", help="Only those of this workflow")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many")] = 100,
) -> None:
    """List tasks that wait or run, oldest first."""
    found = call.ask_all("tasks", state=state, service=service, workflow=workflow, limit=limit)
    call.answer_each(found, lambda told: tasks_view(told, limit))


def task(call: Call, id: TaskArgument) -> None:
    """Show all that is known of one task."""
    found = call.ask("task", task=id)
    call.answer(found, lambda: task_view(found))


def key(
    call: Call,
    type: Annotated[str, typer.Argument(metavar="TYPE", help="SERVICE.HANDLER", show_default=False)],
    key: Annotated[str, typer.Argument(metavar="KEY", help="As given with `submit --key`", show_default=False)],
    tenant: Annotated[str, typer.Option(metavar="NAME", help="On whose behalf")] = "",
) -> None:
    """Say which task holds a key.

    Tasks of the same type and tenant that come with it end as that one does, and do not run.
    """
    found = holder(call.ask_all("key", type=type, key=key, tenant=tenant))
    call.answer(found, lambda: key_view(found))


def holder(answers: dict[str, Any]) -> Any:
    """Who holds a key, by what the shards answer (None: it did not). With a rule by tenants a type is in several."""
    return max((one for one in answers.values() if one is not None), key=lambda one: one["task"] is not None)


def why(call: Call, id: TaskArgument) -> None:
    """Say why a task is not running.

    One sentence, and what every instance has against it. The reasons are those by which the coordinator decides.
    """
    found = call.ask("why", task=id)
    call.answer(found, lambda: why_view(found))


# --- for people -------------------------------------------------------------------------------------------------------


def status_view(found: dict[str, Any]) -> list[RenderableType]:
    """What ``status`` answered."""
    from orchestrator.cli.show import facts, span

    policies = found["policies"]
    pairs: list[tuple[str, Any]] = [
        ("coordinator", found["coordinator"]),
        ("leads", f"since {span(found['leading_s'])}, epoch {found['epoch']}"),
        ("tasks", f"{found['waiting']} waiting, {found['live']} not ended, {found['remembered']} ended and remembered"),
        ("services", f"{found['services']} with {found['instances']} instances"),
        ("policies", ", ".join(f"{kind} {name}" for kind, name in policies.items())),
        ("intake", "open" if found["intake_open"] else "closed: the backlog is full; submissions wait in the broker"),
        ("run times", _run_times(found["run_times"])),
        ("results owed", found["owed_results"] or None),
        ("ledger", f"offset {found['ledger_offset']}, needed from {found['replay_from']}"),
        ("ledger lost", _lost(found.get("ledger_lost"))),
    ]
    for one in found.get("offences", [])[:5]:
        user = f" by user {one['user']}" if one["user"] else ""
        pairs.append(("offences", f"{one['count']:,} {one['what']} in {one['where']}{user}: {one['why']}"))
    counts = found["counts"]
    if counts:
        pairs.append(("so far", ", ".join(f"{name.replace('_', ' ')} {number}" for name, number in counts.items())))
    return [facts(pairs)]


def _lost(found: dict[str, Any] | None) -> str | None:
    """What became of what stood in a ledger that was lost."""
    from orchestrator.cli.show import clean, instant

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
    from orchestrator.cli.show import clean

    if not found["seen"]:
        return None
    known = f"known of {found['seen']} of {found['types']} types, from {found['samples']:,} runs"
    if found["error"] is None:
        return known
    worst = found["worst"]
    return (
        f"{known}; expectations are typically within a factor of {1 + found['error']:.2g} "
        f"(worst: {clean(worst['type'])}, {1 + worst['error']:.2g})"
    )


def services_view(found: list[dict[str, Any]]) -> list[RenderableType]:
    """What ``services`` answered."""
    from orchestrator.cli.show import cell, table

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
    learned = [
        [f"{one['service']}.{name}", *_expectation(each)] for one in found for name, each in one.get("expected", {}).items()
    ]  # fmt: skip
    if learned:
        columns = ["type", "typically runs", "in the mean", "9 of 10 within", "expected within", "runs seen"]
        shown.append(table(columns, learned, right=columns[1:]))
    return shown


def _expectation(one: dict[str, Any]) -> list[Any]:
    from orchestrator.cli.show import span

    off = None if one["error"] is None else f"± {one['error']:.0%}"
    return [span(one["middle_s"]), span(one["mean_s"]), span(one["long_s"]), off, one["samples"]]


def _instance_row(service: str, one: dict[str, Any]) -> list[Any]:
    from orchestrator.cli.show import span, state

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
    from orchestrator.cli.limit import limits_view
    from orchestrator.cli.show import cell, table

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


def tasks_view(found: list[dict[str, Any]], limit: int) -> list[RenderableType]:
    """What ``tasks`` answered: live tasks, or ended ones."""
    from orchestrator.cli.show import cell, since, span, state, table

    if not found:
        return [cell("No such task.")]
    more = [cell(f"These are the first {limit}; --limit shows more.")] if len(found) == limit else []
    now = time.time_ns()
    if found[0]["state"] == "ended":
        rows = [
            [one["task"], state(one["outcome"]), since(one["ended_ns"], now), one.get("attempts"), one.get("instance"), _error(one)]
            for one in found
        ]
        return [table(["task", "outcome", "ended", "attempts", "instance", "error"], rows, right=["attempts"]), *more]
    rows = [
        [
            one["task"], one["type"], _state_of(one), span(one["age_s"]), one["priority"], one["tries"], _progress(one),
        ]
        for one in found
    ]  # fmt: skip
    columns = ["task", "type", "state", "age", "priority", "failed tries", "progress"]
    return [table(columns, rows, right=["age", "priority", "failed tries"]), *more]


def _made_room(found: dict[str, Any]) -> str | None:
    """How often it was preempted, and what it has saved."""
    from orchestrator.cli.show import span

    times = found.get("preemptions")
    if not times:
        return None
    saved = f", {span(found['saved_s'])} of its work are saved" if found.get("saved_s") else ""
    return f"{times} {'times' if times > 1 else 'time'}{saved}"


def key_view(found: dict[str, Any]) -> list[RenderableType]:
    """What ``key`` answered."""
    from orchestrator.cli.show import cell, facts, instant, state

    if found["task"] is None:
        return [cell("nobody holds it: the next task that comes with it runs")]
    until = instant(found["until_ns"]) if found["until_ns"] else None
    return [facts([("task", found["task"]), ("state", state(found["state"])), ("until", until)])]


def task_view(found: dict[str, Any]) -> list[RenderableType]:
    """What ``task`` answered."""
    from orchestrator.cli.show import facts, instant, span, state
    from orchestrator.cli.story import attempts_view

    now = time.time_ns()
    live = found["state"] != "ended"
    pairs = [
        ("task", found["task"]),
        ("type", found.get("type")),
        ("state", _state_of(found) if live else state(found["outcome"])),
        ("error", _error(found) or None),
        ("progress", _progress(found) or None),
        ("accepted", instant(found["accepted_ns"]) if found.get("accepted_ns") else None),
        ("started", instant(found["started_ns"]) if found.get("started_ns") else None),
        ("ended", instant(found["ended_ns"]) if found.get("ended_ns") else None),
        ("age", span(found["age_s"]) if live else None),
        ("starts", _forecast(found.get("expected_start"))),
        ("ends", _forecast(found.get("expected_end"))),
        ("instance", found.get("instance") or None),
        ("needs", found.get("need")),
        ("expected to run", _expected_run(found.get("expected"))),
        ("priority", found.get("priority") or None),
        ("tenant", found.get("tenant") or None),
        ("deadline", f"in {span((found['deadline_ns'] - now) / 1e9)}" if found.get("deadline_ns") else None),
        ("submitted by", found.get("submitted_by") or None),
        ("workflow", found.get("workflow") or None),
        ("key", found.get("key") or None),
        ("as", f"{found['first']}, which came first with the same key" if found.get("first") else None),
        ("after", _kin(found.get("parents"))),
        ("before", ", ".join(found.get("children") or []) or None),
        ("made room", _made_room(found)),
        ("attempts", found["attempts"] if isinstance(found.get("attempts"), int) else None),
    ]
    running = [
        f"attempt {one['attempt']} on {one['instance']}{_devices(one)}"
        for one in (found.get("attempts") or [] if live else [])
        if isinstance(one, dict)
    ]
    if running:
        pairs.append(("now", ", ".join(running)))
    return [facts(pairs), *attempts_view(found.get("story") or [])]


def _expected_run(one: dict[str, Any] | None) -> str | None:
    """What is expected of a task's run time, by what, and how far off such expectations are."""
    from orchestrator.cli.show import span

    if one is None:
        return None
    off = "" if one["error"] is None else f", typically ± {one['error']:.0%}"
    runs = f", {one['samples']} runs" if one["samples"] else ""
    return f"{span(one['middle_s'])}, 9 of 10 within {span(one['long_s'])} (by {one['by']}{runs}{off})"


def _devices(attempt: dict[str, Any]) -> str:
    """Of which devices it has some, if there are any."""
    named = [f"{resource} {', '.join(names)}" for resource, names in attempt.get("devices", {}).items()]
    return f" with {'; '.join(named)}" if named else ""


def why_view(found: dict[str, Any]) -> list[RenderableType]:
    """What ``why`` answered."""
    from orchestrator.cli.show import cell, facts, span, table

    sentence = facts([
        (f"{found['task']}", _state_of(found) if found["state"] != "ended" else found["state"]),
        ("why", found["reason"]),
        ("needs", found.get("need")),
        ("age", span(found["age_s"]) if "age_s" in found else None),
        ("place", _place(found)),
        ("starts", _forecast(found.get("expected_start"))),
        ("ends", _forecast(found.get("expected_end"))),
    ])  # fmt: skip
    if found["state"] not in ("waiting", "deferred") or not found["refusals"]:
        return [sentence]
    rows = [[one["instance"], one["reason"]] for one in found["refusals"]]
    more = found["refused"]["refused"] - len(rows)
    return [
        sentence,
        table(["instance", "cannot take it because"], rows),
        *([cell(f"{more:,} more instances cannot take it.")] if more > 0 else []),
    ]


def _kin(parents: list[dict[str, Any]] | None) -> str | None:
    """Parents with their states, and what is unusual about the edge."""
    said = []
    for one in parents or []:
        edge = [one["state"]]
        edge += [f"on failure {one['on_failure']}"] if one["on_failure"] != "fail" else []
        edge += [f"as {one['into']}"] if one["into"] else []
        said.append(f"{one['task']} ({', '.join(edge)})")
    return "; ".join(said) or None


def _place(found: dict[str, Any]) -> str | None:
    """Its place in the order, and who goes before it."""
    from orchestrator.cli.show import clean

    number, of = found.get("ahead"), found.get("of")
    if number is None:
        return None
    about = "" if found.get("ahead_exact", True) else "about "
    place = f"{about}{number + 1:,} of {of:,} that wait for this service" if of is not None else f"{number + 1:,}"
    before = [clean(one) for one in found.get("before", [])]
    more = " …" if number > len(before) else ""
    return f"{place}; before it go {', '.join(before)}{more}" if before else place


def _forecast(expected: dict[str, Any] | None) -> str | None:
    """``in about 2 min, give or take 20 s``."""
    from orchestrator.cli.show import span

    if expected is None:
        return None
    if expected["in_s"] <= 0 and not expected["error_s"]:
        return "now"
    give = f", give or take {span(expected['error_s'])}" if expected["error_s"] else ""
    return f"in about {span(max(0.0, expected['in_s']))}{give}, if nothing more urgent comes"


def _state_of(found: dict[str, Any]) -> Any:
    from orchestrator.cli.show import state

    return state(f"{found['state']}, being cancelled") if found.get("cancelled") else state(found["state"])


def _progress(found: dict[str, Any]) -> str:
    fraction, text = found.get("progress"), found.get("progress_text", "")
    return f"{fraction:.0%} {text}".strip() if fraction is not None else text or ""


def _error(found: dict[str, Any]) -> str:
    error = found.get("error")
    return f"{error['kind']}: {error['message']}" if error else ""
