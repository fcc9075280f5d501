"""Answers: what is going on, as plain data for people and machines.

Law: looking changes nothing. Why something waits is told by ``reasons``, when it will start by ``forecasts``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from orchestrator.core.custody.records import Grave, Record
from orchestrator.core.desk import Desk
from orchestrator.core.estimates.estimates import Estimate
from orchestrator.core.registry import dependencies
from orchestrator.core.registry.offences import Offence
from orchestrator.core.registry.registry import Instance
from orchestrator.core.scheduler.queues import Queue
from orchestrator.core.tasks.families import Outline
from orchestrator.core.tasks.intake import unfit, why_closed
from orchestrator.core.tasks.keys import Name
from orchestrator.policies import KINDS
from orchestrator.resources import APART
from orchestrator.vocabulary import Attempt, Incarnation, Nanos, TaskId, TaskType, Vector, plain_vector, seconds
from orchestrator.wire.facts import Failure

UNFIT_LOOKS_MAX = 5_000
"""For tasks that can never run so many looks are taken, each at a lane and an instance: some ten milliseconds."""
UNFIT_SHOWN_MAX = 10
ALL_WORDS = 4_096
"""Characters: as many as there may be of what is a ``Text``."""
LISTED_WORDS = 200
"""Characters of what a handler said, in a row of a list; ``task`` tells all of it. Ten thousand rows are one message."""


def status(desk: Desk, now: Nanos) -> dict[str, Any]:
    """The whole at a glance."""
    return {
        "coordinator": desk.name,
        "epoch": desk.epoch,
        "now_ns": now,
        "leading_s": seconds(now - desk.claimed_ns),
        "waiting": len(desk.backlog),
        "live": len(desk.custody.live),
        "remembered": len(desk.custody.graves),
        "owed_results": len(desk.custody.owed),
        "keys": len(desk.custody.keys.by_task),
        "instances": len(desk.registry.instances),
        "services": len(desk.registry.pools),
        "policies": {kind: desk.policies.spec(None, kind) for kind in KINDS},
        "intake_open": desk.intake_open,
        "intake_why": why_closed(desk),
        "ledger_offset": desk.custody.next_offset,
        "ledger_kept_bytes": desk.keeping.kept_bytes,
        "ledger_bytes_max": desk.keeping.cap_bytes,
        "replay_from": desk.keeping.replay_from(desk.custody),
        "run_times": _run_times(desk),
        "counts": dict(sorted(desk.counts.items())),
        "offences": [_offence(row) for row in desk.offences.worst(10)],
        "forgotten_early": desk.custody.graveyard.shortened,
        "ledger_lost": _lost(desk),
    }


def _lost(desk: Desk) -> dict[str, Any] | None:
    """Whether the ledger was lost once: what of it was written again from memory, and which tasks nobody knows any more."""
    restored = desk.custody.restored
    found = [task for task in desk.past.unknown if task in desk.custody.live or task in desk.custody.graves]
    missed = desk.past.unknown_count - len(found)
    if restored is None and not missed:
        return None
    told: dict[str, Any] = {"unknown": missed, "unknown_tasks": [task for task in desk.past.unknown if task not in found][:100]}
    if restored is not None:
        fact, _ = restored
        told |= {
            "restored_by": fact.by, "at_ns": fact.at_ns, "live": fact.live, "ended": fact.ended, "read_to": fact.up_to,
            "complete": fact.led,
        }  # fmt: skip
    return told


def _offence(row: Offence) -> dict[str, Any]:
    """What somebody does that he must not."""
    return {
        "what": row.what, "where": row.where, "user": row.user, "count": row.count, "kept": row.kept, "first_ns": row.first_ns,
        "last_ns": row.last_ns, "why": row.why, "digest": row.digest,
    }  # fmt: skip


def _run_times(desk: Desk) -> dict[str, Any]:
    """How far off expectations of run times are: over the types that somebody here offers, the middle one and the worst."""
    types = {
        f"{name}.{one}" for name, pool in desk.registry.pools.items() for each in pool.members.values() for one in each.handlers
    }
    seen = [(one, found) for one in sorted(types) if (found := desk.estimates.of_type(one)) is not None]
    errors = sorted((found.error, one) for one, found in seen if found.error is not None)
    return {
        "types": len(types),
        "seen": len(seen),
        "samples": sum(found.samples for _, found in seen),
        "error": round(errors[len(errors) // 2][0], 3) if errors else None,
        "worst": {"type": errors[-1][1], "error": round(errors[-1][0], 3)} if errors else None,
    }


def services(desk: Desk, now: Nanos, only: str | None = None) -> list[dict[str, Any]]:
    """Every service that is known (``only``: that one), with its instances and its backlog."""
    names = {*desk.registry.pools, *desk.custody.served, *(name for name, queue in desk.backlog.queues.items() if queue.size)}
    return [_service(desk, now, name) for name in sorted(names if only is None else names & {only})]


def _service(desk: Desk, now: Nanos, name: str) -> dict[str, Any]:
    pool = desk.registry.pools.get(name)
    queue = desk.backlog.queues.get(name)
    members = list(pool.members.values()) if pool else []
    handlers = sorted({handler for one in members for handler in one.handlers})
    return {
        "service": name,
        "ready": sum(one.state == "ready" and not one.circle for one in members),
        "waiting": queue.size if queue else 0,
        "running": sum(len(one.holdings) for one in members),
        "handlers": handlers,
        "expected": {one: found for one in handlers if (found := _expected(desk, f"{name}.{one}")) is not None},
        "depends_on": sorted({need.service for one in members if one.announced for need in one.announced.depends_on}),
        "unfit": _unfit(desk, queue, len(members)) if queue else [],
        "needs": _needs(desk, members),
        "instances": [_instance(desk, now, one) for one in sorted(members, key=lambda one: one.name)],
    }


def _unfit(desk: Desk, queue: Queue, members: int) -> list[dict[str, Any]]:
    """What waits and can never run as things are: of each lane one is asked, for instances and limits judge a lane alike."""
    found: dict[tuple[TaskType, str, str], dict[str, Any]] = {}
    lanes = (lane for group in queue.classes.values() for lane in group.lanes.values())
    for lane in islice(lanes, max(1, UNFIT_LOOKS_MAX // max(1, members))):
        first, demand = next(lane.waiting(), None), lane.group.demand
        never = None if first is None else unfit(desk, first.task, first.priority, demand)
        if first is not None and never is not None:
            row = {"type": lane.group.type, "need": str(demand), "waiting": 0, "task": first.id, "why": never.message}
            found.setdefault((lane.group.type, str(demand), never.message), row)["waiting"] += lane.size
    return sorted(found.values(), key=lambda one: -one["waiting"])[:UNFIT_SHOWN_MAX]


def _needs(desk: Desk, members: list[Instance]) -> list[dict[str, Any]]:
    """Which services its instances need, when, and whether they are there."""
    found = {(need.service, need.at) for one in members if one.announced for need in one.announced.depends_on}
    return [{"service": name, "at": at, "ready": desk.registry.ready(name)} for name, at in sorted(found)]


def _expected(desk: Desk, type_: TaskType) -> dict[str, Any] | None:
    """What was learned of a type's run times; None: nothing."""
    found = desk.estimates.of_type(type_)
    return None if found is None else _estimate(found)


def _estimate(found: Estimate) -> dict[str, Any] | None:
    """An estimate, for people: seconds, and by how much it is typically off. None: it is a guess."""
    if not found.source:
        return None
    return {
        "mean_s": seconds(found.mean_ns),
        "middle_s": seconds(found.middle_ns),
        "long_s": seconds(found.long_ns),
        "error": None if found.error is None else round(found.error, 3),
        "samples": found.samples,
        "by": found.source,
    }


def _instance(desk: Desk, now: Nanos, one: Instance) -> dict[str, Any]:
    return {
        "instance": one.name,
        "incarnation": one.incarnation,
        "state": one.state,
        "holds": len(one.holdings),
        "capacity": _told(one.capacity),
        "free": _told(one.free),
        "heard_s": round(seconds(now - one.heard_ns), 3),
        "speed": round(desk.estimates.speeds.overall(one.service, one.name), 2),
        "version": one.announced.version if one.announced else "",
        "waits_for": dependencies.missing(desk, one),
        "circle": list(one.circle),
        "devices": {resource: plain_vector(shelf.free) for resource, shelf in one.devices.items()},
    }


def _told(amounts: Vector) -> dict[str, float]:
    """Without what only we count."""
    return {name: amount for name, amount in plain_vector(amounts).items() if name != APART}


def resources(desk: Desk) -> list[dict[str, Any]]:
    """Every resource: capacity, granted, free, over all instances and per service."""
    rows: dict[tuple[str, str], list[int]] = {}
    for one in desk.registry.instances.values():
        for name, had in one.capacity.items():
            if name == APART:
                continue
            row = rows.setdefault((one.service, name), [0, 0, 0])
            row[0] += had
            row[1] += one.free.get(name, 0)
            row[2] += 1
    return [
        {
            "service": service, "resource": name, "instances": count, "capacity": had / 1000, "free": free / 1000,
            "granted": (had - free) / 1000, "used": round((had - free) / had, 3) if had else 0.0,
        }
        for (service, name), (had, free, count) in sorted(rows.items())
    ]  # fmt: skip


def tasks(desk: Desk, now: Nanos, state: str | None, service: str | None, workflow: str | None, limit: int) -> list[dict[str, Any]]:
    """Live tasks, oldest first, and (asked for by ``state="ended"``) those that ended last."""
    if state == "ended":
        graves = islice(reversed(desk.custody.graves.items()), limit)
        return [_ended(name, grave, LISTED_WORDS) for name, grave in graves]
    live = desk.custody.live
    among = live if workflow is None else [name for name in desk.custody.families.workflows.get(workflow, ()) if name in live]
    found = (
        record
        for record in map(live.__getitem__, among)
        if (state is None or record.state == state) and (service is None or record.service == service)
    )
    return [row(record, now, LISTED_WORDS) for record in islice(found, limit)]


def task(desk: Desk, now: Nanos, name: str) -> dict[str, Any] | None:
    """Everything known of one task: its state and the story of its attempts."""
    record = desk.custody.live.get(name)
    if record is not None:
        return row(record, now) | {
            "need": str(desk.backlog.demand(record)),
            "expected": _estimate(desk.estimates.expect(record)),
            "tenant": record.task.tenant,
            "deadline_ns": record.task.deadline_ns,
            "submitted_by": record.by,
            "attempts": [_attempt(desk, attempt, where) for attempt, where in record.live.items()],
            "story": _story(record.failures),
            "preemptions": record.preemptions,
            "saved_s": round(seconds(record.ran_ns), 3),
            "key": record.task.key,
            "first": desk.custody.keys.leaders.get(name),
            "parents": _parents(desk, record),
            "children": [tie.child.id for tie in desk.custody.families.ties(name)],
        }
    grave = desk.custody.graves.get(name)
    return None if grave is None else _ended(name, grave) | {"story": _story(grave.story)}


def key(desk: Desk, now: Nanos, tenant: str, type_: TaskType, name: str) -> dict[str, Any]:
    """Who holds a key; all None if nobody does."""
    hold = desk.custody.keys.held.get(Name(tenant, type_, name))
    if hold is None or (hold.until_ns is not None and hold.until_ns <= now):
        return {"task": None, "state": None, "until_ns": None}
    record = desk.custody.live.get(hold.task)
    return {"task": hold.task, "state": "done" if record is None else record.state, "until_ns": hold.until_ns}


def _attempt(desk: Desk, attempt: Attempt, where: Incarnation) -> dict[str, Any]:
    """A live attempt: where, with how much, and of which devices."""
    holding = desk.registry.instances[where].holdings[attempt]
    return {
        "attempt": str(attempt), "instance": name_of(desk, where), "grant": plain_vector(holding.grant), "devices": holding.devices,
    }  # fmt: skip


def name_of(desk: Desk, incarnation: str) -> str:
    """An instance as people call it."""
    instance = desk.registry.instances.get(incarnation)
    return instance.name if instance else incarnation


def _short(said: str, words: int) -> str:
    return said if len(said) <= words else said[: words - 2] + " …"


def row(record: Record, now: Nanos, words: int = ALL_WORDS) -> dict[str, Any]:
    """A live task in a line, with so many characters of what its handler said."""
    return {
        "task": record.id,
        "type": record.task.type,
        "state": record.state,
        "priority": record.priority,
        "age_s": round(seconds(now - record.at_ns), 3),
        "accepted_ns": record.at_ns,
        "started_ns": record.started_ns or None,
        "tries": len(record.failures),
        "progress": record.progress[0] if record.progress else None,
        "progress_text": _short(record.progress[1], words) if record.progress else "",
        "cancelled": record.cancelled,
        "workflow": record.task.workflow,
    }


def _ended(name: str, grave: Grave, words: int = ALL_WORDS) -> dict[str, Any]:
    result = grave.result
    answer: dict[str, Any] = {"task": name, "state": "ended", "outcome": grave.outcome, "ended_ns": grave.at_ns}
    if result is not None:
        answer |= {
            "instance": result.instance,
            "attempts": result.attempts,
            "accepted_ns": result.accepted_ns,
            "started_ns": result.started_ns or None,
            "preemptions": grave.preemptions,
            "first": result.first,
            "error": {"kind": result.error.kind, "message": _short(result.error.message, words)} if result.error else None,
        }
    return answer


def _story(failures: Sequence[Failure]) -> list[dict[str, Any]]:
    return [
        {
            "attempt": str(failure.attempt), "cause": failure.cause, "instance": failure.instance, "at_ns": failure.at_ns,
            "error": f"{failure.error.kind}: {failure.error.message}",
        }
        for failure in failures
    ]  # fmt: skip


def workflow(desk: Desk, now: Nanos, name: str) -> dict[str, Any] | None:
    """Every task of a workflow that is remembered, with its parents, in the order of their coming."""
    known = desk.custody.families.workflows.get(name)
    if known is None:
        return None
    tasks = []
    for task_id, one in known.items():
        parents = one.parents if isinstance(one, Outline) else tuple(dict.fromkeys(edge.task for edge in one.task.after))
        state = _state(desk, task_id)
        where = [] if isinstance(one, Outline) else [name_of(desk, incarnation) for incarnation in one.live.values()]
        type_ = one.type if isinstance(one, Outline) else one.task.type
        rank_s = None if isinstance(one, Outline) or one.node is None else round(seconds(one.node.rank_ns), 3)
        tasks.append({"task": task_id, "type": type_, "state": state, "on": where, "parents": list(parents), "path_s": rank_s})
    live = [record for record in map(desk.custody.live.get, known) if record is not None]
    return {
        "workflow": name,
        "live": len(live),
        "work_s": round(seconds(sum(record.node.work_ns for record in live if record.node is not None)), 3),
        "tasks": tasks,
    }


def _parents(desk: Desk, record: Record) -> list[dict[str, Any]]:
    return [
        {"task": edge.task, "state": _state(desk, edge.task), "on_failure": edge.on_failure, "into": edge.into}
        for edge in record.task.after
    ]


def _state(desk: Desk, task: TaskId) -> str:
    """``running`` …, or the outcome of one that is over."""
    if (record := desk.custody.live.get(task)) is not None:
        return record.state
    grave = desk.custody.graves.get(task)
    return grave.outcome if grave is not None else "unknown"
