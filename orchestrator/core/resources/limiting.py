"""Limits as wills: set, changed and removed by facts; said in the settings; shown to operators.

Law: a limit is in force from the moment at which its fact is read, for every coordinator alike. Settings are proposed by whoever
begins to lead, where the ledger has no word on that limit or an older one of the settings: what an operator said stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import nlargest
from typing import Any

from msgspec import to_builtins

from orchestrator.core.desk import Desk
from orchestrator.core.resources.limits import LIMITS_MAX, Limit, Limits, Spec, spec_of
from orchestrator.core.resources.meters import Meter
from orchestrator.vocabulary import Nanos, is_name, plain
from orchestrator.wire.facts import Asked

BY_SETTINGS = "the settings"
TOP_SHOWN = 5


class CannotLimit(Exception):
    """Why a limit cannot be so, for people."""


def sound(value: Any) -> bool:
    """Whether a fact of this value can be kept. What it says may be more than this version understands."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("name"), str)
        and is_name(value["name"])
        and type(value.get("revision")) is int
        and isinstance(value.get("spec"), dict | None)
    )


def specs(desk: Desk) -> dict[str, Spec]:
    """The limits in force, as the ledger has them; one that this version does not understand is left out."""
    found = ((name, _understood(name, fact)) for name, (fact, _) in desk.custody.limits.items())
    return {name: spec for name, spec in found if spec is not None}


def _understood(name: str, fact: Asked) -> Spec | None:
    try:
        return None if fact.value.get("spec") is None else spec_of(name, fact.value["spec"])
    except ValueError:
        return None


def read(desk: Desk, name: str) -> None:
    """The ledger has a new word on this limit."""
    desk.limits_read = True
    fact = desk.custody.limits[name][0]
    if fact.value.get("spec") is not None and _understood(name, fact) is None:
        desk.note("limit_unknown", value=repr(fact.value)[:200])


def heed(desk: Desk, now: Nanos) -> None:
    """Limits as the ledger has them are in force: once a step, for those who wait may have to be placed anew."""
    desk.limits_read = False
    known = specs(desk)
    if known != {one.name: one.spec for one in desk.sharing.limits}:
        desk.sharing.use(desk, now, Limits(known))


def propose(desk: Desk, now: Nanos, name: str, value: dict[str, Any] | None, by: str) -> dict[str, Any]:
    """Write a limit down (none: that it is gone). Gives what was written; raises CannotLimit, saying why it cannot be."""
    spec = None
    if value is not None:
        try:
            spec = spec_of(name, value)
        except ValueError as fault:
            raise CannotLimit(str(fault)) from None
        if name not in desk.custody.limits and len(desk.custody.limits) >= LIMITS_MAX:
            raise CannotLimit(f"there are {LIMITS_MAX} limits already, which is the most; remove or reuse one")
        hides = sorted({one.service for one in desk.registry.instances.values() if name in one.capacity})
        if hides:
            raise CannotLimit(
                f"instances of {', '.join(hides)} have a resource {name!r}, which a limit of that name would hide. "
                f"To cap what tasks take of it give the limit another name, with `of: {name}`."
            )
    known = desk.custody.limits.get(name)
    revision = known[0].value["revision"] + 1 if known is not None else 1
    said = {"name": name, "revision": revision, "spec": _plain(spec)}
    desk.propose(Asked("limit", now, by=by, value=said))
    return said


def begin(desk: Desk, now: Nanos) -> None:
    """A reign begins: what the settings say goes into the ledger, where nobody else has said otherwise."""
    for name, spec in desk.wanted_limits.items():
        known = desk.custody.limits.get(name)
        if known is None or (known[0].by == BY_SETTINGS and known[0].value.get("spec") != _plain(spec)):
            try:
                propose(desk, now, name, _plain(spec), BY_SETTINGS)
            except CannotLimit as fault:
                desk.note("limit_refused", name=name, why=str(fault))


def wanted(limits: Mapping[str, Any]) -> dict[str, Spec]:
    """Limits as settings have them. Raises ValueError."""
    return {name: spec_of(name, dict(value)) for name, value in limits.items()}


def _plain(spec: Spec | None) -> dict[str, Any] | None:
    return None if spec is None else to_builtins(spec)


# --- for people -------------------------------------------------------------------------------------------------------------


def listed(desk: Desk, now: Nanos) -> list[dict[str, Any]]:
    """Every limit in force: what it says, what of it is out, who waits for it, its largest users."""
    meters: dict[str, list[Meter]] = {}
    for (name, _), meter in desk.sharing.meters.items():
        meters.setdefault(name, []).append(meter)
    return [_listed(limit, meters.get(limit.name, []), desk.custody.limits[limit.name][0]) for limit in desk.sharing.limits]


def rows(desk: Desk, now: Nanos) -> list[dict[str, Any]]:
    """Limits as resources that belong to no service, each with all that is known of it; of a keyed one what each key has."""
    found = []
    for one in listed(desk, now):
        capacity = one.get("capacity")
        has, out = (capacity, one["amount"]) if capacity is not None else (one.get("at_once"), one["out"])
        free = None if has is None or one.get("key") else max(0, has - out)
        used = round(out / has, 3) if has and not one.get("key") else None
        found.append({
            "service": "", "resource": one["limit"], "instances": 0, "capacity": has, "free": free, "granted": out, "used": used,
            "limit": one,
        })  # fmt: skip
    return found


def _listed(limit: Limit, meters: list[Meter], fact: Asked) -> dict[str, Any]:
    top = nlargest(TOP_SHOWN, meters, key=lambda one: (one.tasks, one.amount, one.key))
    return {
        "limit": limit.name,
        **(_plain(limit.spec) or {}),
        "out": sum(one.tasks for one in meters),
        "amount": plain(sum(one.amount for one in meters)),
        "waiting": sum(lane.size for one in meters for lane in one.lanes()),
        "keys": len(meters),
        "top": [
            {"key": one.key, "out": one.tasks, "amount": plain(one.amount), "waiting": sum(lane.size for lane in one.lanes())}
            for one in top
        ],
        "by": fact.by,
        "since_ns": fact.at_ns,
    }
