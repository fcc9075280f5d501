"""The words of a script: what is typed as the data it means, and what coordinators say in words."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.vocabulary import Attempt
from orchestrator.wire import facts as f
from orchestrator.wire.messages import AnyMessage, Control, Edge, Error, Need, Orders, Parent, Range, Result, Submit

# --- what is typed --------------------------------------------------------------------------------------------------------


def fate(words: list[str]) -> bool | None:
    """What becomes of the append under way: written (the default), lost, or late."""
    return {"": False, "lost": None, "late": True}["".join(words)]


def edge(text: str) -> Edge:
    head, _, into = text.partition(">")
    parent, _, on_failure = head.partition(":")
    return Edge(parent, on_failure or "fail", into)  # type: ignore[arg-type]


def need(text: str) -> Need:
    found: Need = {}
    for part in filter(None, text.split(",")):
        name, _, amount = part.partition(":")
        low, _, high = amount.partition("..")
        found[name] = Range(float(low), float(high)) if high else float(low)
    return found


# --- what is said ---------------------------------------------------------------------------------------------------------


def delivery(message: AnyMessage) -> str:
    """What a delivery brought; empty for what is not told."""
    match message:
        case Submit(tasks=tasks):
            return f"the submission of {' '.join(task.id for task in tasks)}"
        case Control(op=op):
            return f"the question {op!r}" if op else "the garbage"
        case _:
            about = [*message.items, *message.checkpoints]  # type: ignore[union-attr]
            return f"the report of {' '.join(one.task for one in about)}" if about else ""  # the mark of a new leader


def answered(value: Any, only: list[str] | None) -> str:
    """What a coordinator answered an operator; ``only`` these parts of it."""
    if isinstance(value, Error):
        return f"{value.kind}: {value.message}"
    if isinstance(value, dict) and "reason" in value:
        lines = [f"{value.get('state')}, ahead {value.get('ahead')}: {value['reason']}"]
        return "\n    ".join([*lines, *(f"{one['instance']}: {one['reason']}" for one in value["refusals"])])
    if isinstance(value, dict) and "known" in value:  # of the policies there are new ones come now and then
        value = {name: value[name] for name in ("now", "services") if value[name]}
    if isinstance(value, dict) and only:
        value = {name: value[name] for name in only}
    elif only:
        value = [{name: one[name] for name in only} for one in value]
    return json.dumps(value, default=str)


def fact(one: f.AnyFact) -> str:
    """A fact of the ledger."""
    match one:
        case f.Accepted(tasks=tasks):
            return f"accepted {' '.join(task.id for task in tasks)}"
        case f.Failed():
            return f"failed {one.task} {one.attempt} ({one.cause}: {one.error.kind})"
        case f.Ended():
            like = f" as {one.first}" if one.first else ""
            return f"ended {one.task} {one.outcome}{like}{f' ({one.error.kind})' if one.error else ''}"
        case f.Checkpointed():
            return f"checkpointed {one.task} {one.attempt}"
        case f.Preempted():
            return f"preempted {one.task} {one.attempt}"
        case f.Asked():
            about = f" {one.task}" if one.task else ""
            return f"asked {one.what}{about}{f' {one.value}' if one.value is not None else ''}"
        case f.Joined():
            return f"joined {one.incarnation}"
        case f.Parted():
            return f"parted {one.incarnation}"
        case f.Served():
            return f"served {one.service}"
        case f.Claim():
            return f"claim{f' above {one.floor}' if one.floor else ''}"
        case f.Carried():
            return f"carried {one.task.id}{f' as {one.first}' if one.first else ''}"
        case f.Tombstone():
            holds = f" which holds {one.hold.key}" if one.hold else ""
            return f"tombstone {one.task}{' whole' if one.whole else ''}{holds}"
        case f.Restored():
            return f"restored {one.live} living, {one.ended} ended, up to {one.up_to} of epoch {one.known_epoch}"


def order(orders: Orders) -> list[str]:
    """What orders say."""
    words = ["sync"] if orders.sync else []
    for item in orders.assign:
        named = {name: f" on {','.join(devices)}" for name, devices in item.devices.items()}
        grant = " ".join(f"{name}={amount:g}{named.get(name, '')}" for name, amount in item.grant.items())
        number = f", try {item.number}" if item.number > 1 else ""
        left = f", from {item.checkpoint.decode()!r}" if item.checkpoint else ""
        left += f" after {item.ran_ns / 1e9:g} s" if item.ran_ns else ""
        given = "".join(f"; {_parent(parent)}" for parent in item.parents)
        words.append(f"run {item.task} as {Attempt(orders.epoch, item.n)} ({grant}{number}{left}{given})")
    words += [f"{'ask' if stop.preempt else 'stop'} {stop.task} {stop.attempt} ({stop.reason})" for stop in orders.stop]
    words += [f"release {' '.join(map(str, orders.release))}"] if orders.release else []
    words += [f"no work: {orders.notice}"] if orders.notice else []
    return words + (["drain"] if orders.drain else [])


def _parent(parent: Parent) -> str:
    """What a child is given of a parent."""
    value = f" {parent.value.decode()!r}" if parent.value not in (None, b"\x01") else ""  # type: ignore[union-attr]
    why = f" ({parent.error.kind})" if parent.error else ""
    return f"{parent.task} {parent.outcome}{value}{why}" + "".join(f" as {name}" for name in parent.into)


def outcome(result: Result) -> str:
    """A result."""
    if result.outcome == "done":
        value = "" if result.value == b"\x01" else f" {(result.value or b'').decode()!r}"
        how = f"as {result.first}" if result.first else f"{result.attempts} tried"
        return f"{result.task} done{value}, {how}"
    error = result.error
    return f"{result.task} {result.outcome}{f' ({error.kind}: {error.message})' if error else ''}"
