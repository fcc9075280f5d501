"""What people see of one task: how it stands, why it does not run, who is its kin; and of a key."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from orchestrator.cli.show import cell, clean, facts, give, instant, span, state, table
from orchestrator.cli.story import attempts_view

if TYPE_CHECKING:
    from rich.console import RenderableType


def task_view(found: dict[str, Any]) -> list[RenderableType]:
    """What ``task`` answered."""
    now = time.time_ns()
    live = found["state"] != "ended"
    pairs = [
        ("task", found["task"]),
        ("type", found.get("type")),
        ("state", state_of(found) if live else state(found["outcome"])),
        ("error", error_of(found) or None),
        ("progress", progress_of(found) or None),
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


def why_view(found: dict[str, Any]) -> list[RenderableType]:
    """What ``why`` answered."""
    sentence = facts([
        (f"{found['task']}", state_of(found) if found["state"] != "ended" else found["state"]),
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


def key_view(found: dict[str, Any]) -> list[RenderableType]:
    """What ``key`` answered."""
    if found["task"] is None:
        return [cell("nobody holds it: the next task that comes with it runs")]
    until = instant(found["until_ns"]) if found["until_ns"] else None
    return [facts([("task", found["task"]), ("state", state(found["state"])), ("until", until)])]


def _expected_run(one: dict[str, Any] | None) -> str | None:
    """What is expected of a task's run time, by what, and how far off such expectations are."""
    if one is None:
        return None
    off = "" if one["error"] is None else f", typically {give(one['error'])}"
    runs = f", {one['samples']} runs" if one["samples"] else ""
    return f"{span(one['middle_s'])}, 9 of 10 within {span(one['long_s'])} (by {one['by']}{runs}{off})"


def _devices(attempt: dict[str, Any]) -> str:
    """Of which devices it has some, if there are any."""
    named = [f"{resource} {', '.join(names)}" for resource, names in attempt.get("devices", {}).items()]
    return f" with {'; '.join(named)}" if named else ""


def _made_room(found: dict[str, Any]) -> str | None:
    """How often it was preempted, and what it has saved."""
    times = found.get("preemptions")
    if not times:
        return None
    saved = f", {span(found['saved_s'])} of its work are saved" if found.get("saved_s") else ""
    return f"{times} {'times' if times > 1 else 'time'}{saved}"


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
    if expected is None:
        return None
    if expected["in_s"] <= 0 and not expected["error_s"]:
        return "now"
    give = f", give or take {span(expected['error_s'])}" if expected["error_s"] else ""
    return f"in about {span(max(0.0, expected['in_s']))}{give}, if nothing more urgent comes"


def state_of(found: dict[str, Any]) -> Any:
    """Its state, and whether it is being cancelled."""
    return state(f"{found['state']}, being cancelled") if found.get("cancelled") else state(found["state"])


def progress_of(found: dict[str, Any]) -> str:
    """How far its handler says it is."""
    fraction, text = found.get("progress"), found.get("progress_text", "")
    return f"{fraction:.0%} {text}".strip() if fraction is not None else text or ""


def error_of(found: dict[str, Any]) -> str:
    """Why it ended as it did, on one line."""
    error = found.get("error")
    return f"{error['kind']}: {error['message']}" if error else ""
