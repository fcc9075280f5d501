"""Limits that belong to no instance: set, changed, removed, shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli import questions
from orchestrator.cli.faults import Fault
from orchestrator.cli.frame import ASKING, Call, command
from orchestrator.cli.words import Unclear

if TYPE_CHECKING:
    from rich.console import RenderableType

PANEL = "Act"
SAID = ("at_once", "capacity", "rate", "burst", "key", "on", "tenant", "labels", "of", "per")
"""What a limit says; the rest of an answer is what has become of it."""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(
        app, "limit", example="orchestrator limit api --on 'pay.*' --at-once 5 --rate 50 --key tenant", panel=PANEL, common=ASKING
    )(limit)


def limit(
    call: Call,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Of the limit; none: show all", show_default=False)] = None,
    at_once: Annotated[int | None, typer.Option(metavar="N", min=0, help="So many tasks at a time; 0: none for now")] = None,
    rate: Annotated[float | None, typer.Option(metavar="N", help="So many may start a second")] = None,
    burst: Annotated[
        float | None, typer.Option(metavar="N", help="So many may start together after a quiet time [default: 0.1 s of the rate]")
    ] = None,
    capacity: Annotated[
        float | None, typer.Option(metavar="N", help="So much at a time of what tasks ask by this name: submit --need NAME=2")
    ] = None,
    of: Annotated[str, typer.Option(metavar="RESOURCE", help="--capacity counts what tasks take of this resource instead")] = "",
    on: Annotated[
        str, typer.Option(metavar="TYPE", help="Task types it holds for: pay.charge, 'pay.*', '*' [default: tasks that ask for it]")
    ] = "",
    tenant: Annotated[str | None, typer.Option(metavar="NAME", help="Only tasks of this tenant")] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="NAME=TEXT", help="Only tasks so labelled; repeat for more")] = None,
    key: Annotated[
        str, typer.Option(metavar="FIELD", help="Each tenant, type, service, affinity, priority or label:NAME has it to itself")
    ] = "",
    per: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY:BOUNDS", help="Otherwise for one key: acme:at_once=20; repeat for more"),
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(metavar="WORD", help="Take out what it says: rate, tenant, per …; repeat for more")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="It holds nobody back any more")] = False,
) -> int:
    """Limit what is shared: licences, calls a second, tenants.

    What is not said of a limit that exists stays as it is; --without takes it out (with the rate its burst). A limit stands in the
    ledger: every coordinator keeps it, also after a failover. Attempts that run already are counted, not stopped. Where there are
    shards each has the limit to itself: --shard NAME sets it in one.
    """
    asked = {
        "at_once": at_once, "rate": rate, "burst": burst, "capacity": capacity, "of": of or None, "on": on or None,
        "tenant": tenant, "labels": dict(_pair(word) for word in label) if label else None, "key": key or None,
        "per": dict(_bounds(word) for word in per) if per else None,
    }  # fmt: skip
    said = {name: value for name, value in asked.items() if value is not None}
    out = [_word(word, said) for word in without or []]
    if name is None or not (said or out or remove):
        if said or out or remove:
            raise Unclear("which limit? Name it: orchestrator limit NAME --at-once 5")
        found = in_force(call.ask_all("limit"), will=False)
        return call.answer_each(
            {shard: told and [one for one in told if name in (None, one["limit"])] for shard, told in found.items()}, limits_view
        )
    if remove and (said or out):
        raise Unclear("a limit is either changed or removed")
    _say(call, name, wills(in_force(call.ask_all("limit"), will=True), name, None if remove else said, out))
    return 0


def in_force(answers: dict[str, Any], *, will: bool) -> dict[str, Any]:
    """The limits of each shard: each counts for itself. None of one that did not answer; for a ``will`` that raises Fault, since
    what a limit says there, and so what it is to say, is not known."""
    found = {shard: None if told is None else told["limits"] for shard, told in answers.items()}
    silent = [shard for shard, told in found.items() if told is None]
    if will and silent:
        raise Fault(
            f"Which limits there are in shard {', '.join(silent)} is not known.", "Nothing was changed.",
            "Say it again once that is cured, or say in which one (--shard).",
        )  # fmt: skip
    return found


def wills(found: dict[str, Any], name: str, said: dict[str, Any] | None, out: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """What to tell each shard: what is ``said`` of the limit, the rest as it is there, without what is taken ``out``; None: remove
    it where it is. One that is nowhere is asked for all the same, in one shard, which says so. Raises Unclear for what cannot be
    taken out, since no shard has it.
    """
    known = {shard: next((one for one in told if one["limit"] == name), None) for shard, told in found.items()}
    if said is None:
        return {shard: {"remove": True} for shard in [shard for shard, one in known.items() if one is not None] or list(found)[:1]}
    if strange := [word for word in out if not any(one and word in one for one in known.values())]:
        raise Unclear(f"limit {name!r} says nothing of {strange[0].replace('_', '-')}, so that cannot be taken out")
    gone = {*out, *(("burst",) if "rate" in out else ())}
    kept = {
        shard: {field: one[field] for field in SAID if one and field in one and field not in gone} for shard, one in known.items()
    }
    return {shard: {"set": one | said} for shard, one in kept.items() if one or said or known[shard]}


def _say(call: Call, name: str, wills: dict[str, dict[str, Any]]) -> None:
    """Tell each shard what it is to do with the limit: all of them, also if one refuses, and show what has become of it."""
    from orchestrator.client import OrchestratorError

    told: questions.Answers = {}
    for shard, will in wills.items():
        try:
            told[shard] = replace(call, shard=shard).ask("limit", name=name, **will)
        except OrchestratorError as fault:
            told[shard] = fault
    call.answer_each(questions.of_all(told, will=True), limit_view)


def _word(word: str, said: dict[str, Any]) -> str:
    """What ``--without`` takes out, as the coordinator calls it. Raises Unclear."""
    name = {"label": "labels"}.get(word, word.replace("-", "_"))
    if name not in SAID:
        raise Unclear(f"--without {word}: a limit says {', '.join(one.replace('_', '-') for one in SAID)}")
    if name in said:
        raise Unclear(f"{word} is both said and taken out")
    return name


def _pair(word: str) -> tuple[str, str]:
    name, equals, text = word.partition("=")
    if not equals or not name:
        raise Unclear(f"{word!r} is no label; write NAME=TEXT")
    return name, text


def _bounds(word: str) -> tuple[str, dict[str, float]]:
    """``acme:at_once=20,rate=100``. Raises Unclear."""
    key, colon, rest = word.rpartition(":")
    found: dict[str, float] = {}
    for part in rest.split(","):
        name, equals, text = part.partition("=")
        name = name.replace("-", "_")
        try:
            if not (colon and equals and name in SAID[:4]):
                raise ValueError
            found[name] = int(text) if name == "at_once" else float(text)
        except ValueError:
            raise Unclear(f"{word!r} is no bound for a key; write for example acme:at_once=20,rate=100") from None
    return key, found


# --- for people -------------------------------------------------------------------------------------------------------


def limit_view(told: dict[str, Any]) -> list[RenderableType]:
    """What setting or removing answered."""
    from orchestrator.cli.show import cell

    if told["spec"] is None:
        return [cell(f"Limit {told['name']} is removed.")]
    return [cell(f"Limit {told['name']}: {sentence(told['spec'])}.")]


def sentence(spec: dict[str, Any]) -> str:
    """What a limit says, in words."""
    bounds = _said(spec, spec.get("of") or "")
    whose = f"tasks {spec['on']}" if spec.get("on") and spec["on"] != "*" else "all tasks" if spec.get("on") else ""
    if not whose:
        whose = "all tasks" if spec.get("tenant") is not None or spec.get("labels") else "tasks that ask for it by name"
    if spec.get("tenant") is not None:
        whose += f" of tenant {spec['tenant']}"
    if spec.get("labels"):
        whose += " with " + ", ".join(f"{name}={text}" for name, text in spec["labels"].items())
    each = f", for each {spec['key']}" if spec.get("key") else ""
    others = "".join(f"; {key}: {_said(own, spec.get('of') or '')}" for key, own in (spec.get("per") or {}).items())
    return f"{bounds} for {whose}{each}{others}"


def _said(bounds: dict[str, Any], of: str) -> str:
    parts = []
    if bounds.get("at_once") is not None:
        parts.append(f"{bounds['at_once']} at once")
    if bounds.get("capacity") is not None:
        parts.append(f"{bounds['capacity']:g} {of} in all".replace("  ", " "))
    if bounds.get("rate") is not None:
        burst = f" (bursts of {bounds['burst']:g})" if bounds.get("burst") is not None else ""
        parts.append(f"{bounds['rate']:g} a second{burst}")
    return ", ".join(parts)


def limits_view(found: list[dict[str, Any]]) -> list[RenderableType]:
    """All limits: what they say, what is out, who waits, who has most."""
    from orchestrator.cli.show import cell, table

    if not found:
        return [cell("No such limit is set. Set one: orchestrator limit api --on 'pay.*' --at-once 5")]
    rows = [
        [
            one["limit"], sentence(one), one["out"], f"{one['amount']:g}" if one.get("capacity") is not None else "",
            one["waiting"], [f"{each['key'] or 'none'}: {each['out']}" for each in one["top"] if one.get("key")], one["by"],
        ]
        for one in found
    ]  # fmt: skip
    columns = ["limit", "says", "tasks out", "amount out", "waiting", "who has most", "set by"]
    return [table(columns, rows, right=["tasks out", "amount out", "waiting"])]
