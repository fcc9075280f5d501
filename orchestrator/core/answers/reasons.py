"""Why a task is where it is (P4): one sentence, the refusal of every instance, its place in the order, and when it may start.

Law: looking changes nothing. Reasons come from the same filters that decide (``placing.refusal``, limits, rules), so what is shown
is what counted, and every state that a live task can be in has its cause. A look costs no more than a look at each instance and
each class of the service, and at a few thousand of those who wait, however many do.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Literal, NamedTuple, TypeAlias

from orchestrator.core import rules
from orchestrator.core.answers import forecasts, views
from orchestrator.core.answers.ahead import Ahead, ahead
from orchestrator.core.answers.misses import Misses, misses
from orchestrator.core.custody.records import Record
from orchestrator.core.desk import Desk
from orchestrator.core.registry.registry import Instance
from orchestrator.core.scheduler import biding, reserving
from orchestrator.core.scheduler.heads import Entry
from orchestrator.core.scheduler.placing import refusal
from orchestrator.core.tasks.intake import unfit
from orchestrator.resources import Demand
from orchestrator.vocabulary import Nanos, TaskId, seconds

REFUSALS_SHOWN_MAX = 50
PARENTS_SHOWN_MAX = 5
BEFORE_SHOWN_MAX = 5

Cause: TypeAlias = Literal[
    "ending",  # its end is being written
    "key",  # another task came first with the same key: it ends as that one does
    "parents",  # it waits for other tasks
    "held",  # an instance has it
    "fenced",  # it must never overlap, and an instance that is gone may run it until its lease is over
    "doubtful",  # its instance is gone, and what that means is being written
    "checkpoint",  # it has stopped, and its last checkpoint is being written
    "deferred",  # not before a time
    "takeover",  # agents that may hold it have still to answer this coordinator
    "limit",  # a limit that the cluster shares
    "unheard",  # this coordinator does not hear its own ledger, and assigns nothing meanwhile
    "missing",  # its service has no instance
    "biding",  # one could, but a faster one is expected to be done sooner
    "refused",  # no instance can take it now
    "turn",  # some could: others go first, or it is about to be placed
]
"""What keeps a task from running (or from ending), as a stable word."""


class Reason(NamedTuple):
    """Why."""

    cause: Cause
    sentence: str


def why(desk: Desk, now: Nanos, name: TaskId) -> dict[str, Any] | None:
    """Everything that keeps a task from running, as far as it is known. None: nobody knows the task."""
    record = desk.custody.live.get(name)
    if record is None:
        known = views.task(desk, now, name)
        if known is None:
            return None
        error = known.get("error")
        end = f"{known['outcome']}, {error['kind']}: {error['message']}" if error else known["outcome"]
        return known | {"reason": f"it has ended: {end}", "cause": "ended", "refusals": []}
    demand = desk.backlog.demand(record)
    pool = desk.registry.pools.get(record.service)
    members = list(pool.members.values()) if pool else []

    def against(instance: Instance) -> str | None:
        return refusal(desk, instance, record.task.type, demand) or _held_back(desk, now, instance, record, demand)

    refused = misses(members, demand, against)
    before = ahead(desk, record)
    reason = reason_of(desk, now, record, refused, before)
    answer: dict[str, Any] = views.row(record, now) | {
        "need": str(demand),
        "cause": reason.cause,
        "reason": reason.sentence,
        "refusals": [
            {"instance": one.name, "reason": said}
            for one in islice(members, REFUSALS_SHOWN_MAX)
            if (said := against(one)) is not None
        ],
        "refused": refused.plain(),
        "ahead": None if before is None else before.number,
        "ahead_exact": None if before is None else before.exact,
        "of": None if before is None else before.of,
        "before": [] if before is None else [one.id for one in before.first[:BEFORE_SHOWN_MAX]],
    }
    return answer | expected(desk, now, record, demand, before)


def task(desk: Desk, now: Nanos, name: TaskId) -> dict[str, Any] | None:
    """Everything known of one task, and when it is expected to start or end."""
    found = views.task(desk, now, name)
    record = desk.custody.live.get(name)
    if found is None or record is None:
        return found
    return found | expected(desk, now, record, desk.backlog.demand(record), ahead(desk, record))


def expected(desk: Desk, now: Nanos, record: Record, demand: Demand, before: Ahead | None) -> dict[str, Any]:
    """When it is expected to start, or to end if it runs; None where nothing can be said."""
    lane = record.place
    stands = lane is not None and not lane.aside and not desk.sharing.reasons(lane.shares, now)  # who knows when a limit has room
    start = forecasts.start(desk, now, record, demand, before) if stands and before is not None else None
    end = forecasts.end(desk, now, record) if record.state == "running" and not _overdue(desk, now, record) else None
    return {
        "expected_start": None if start is None else start.plain(now),
        "expected_end": None if end is None else end.plain(now),
    }


def reason_of(desk: Desk, now: Nanos, record: Record, refused: Misses, before: Ahead | None) -> Reason:
    """The one cause, and a sentence on it."""
    service = record.service
    if record.id in desk.ending:
        return Reason("ending", "its end is being written to the ledger")
    if (first := desk.custody.keys.leaders.get(record.id)) is not None and not record.live:
        return Reason("key", f"task {_doing(desk, first)} came first with the same key: this one ends as that one does")
    if record.state == "blocked":
        return Reason("parents", _waits_for(desk, record))
    if record.state in ("assigned", "running"):
        return _held(desk, now, record)
    if record.id in desk.saving:
        return Reason("checkpoint", "it has stopped; it goes on from its last checkpoint, which is on its way to the ledger")
    if record.state == "doubtful":
        return Reason("doubtful", "its instance is gone; what that means for it is being written to the ledger")
    if record.state == "deferred":
        tries = f" after {len(record.failures)} attempts" if record.failures else ""
        return Reason("deferred", f"it is not due for another {seconds(record.due_ns(now) - now):.1f} s{tries}")
    if record.place is not None and record.place.aside:
        return _aside(desk, record)
    if limits := desk.sharing.reasons(record.place.shares, now) if record.place is not None else []:
        return Reason("limit", "; ".join(limits))
    if not refused.instances:
        served = "its last instance is gone" if service in desk.custody.served else "no instance of it has ever announced itself"
        return Reason("missing", f"service {service!r} is missing: {served}. Start one: workers run MODULE:SERVICE")
    if not rules.r10_fresh(now, desk.proven_ns, desk.config.fresh_ns):
        silent_s = seconds(now - desk.proven_ns)
        return Reason(
            "unheard", f"the coordinator has read nothing of its own in the ledger for {silent_s:.0f} s: it assigns nothing"
        )
    first = "" if before is None or not before.number else f"; {told(before)} before it"
    if refused.refused == refused.instances:
        several = refused.instances > 1
        who = f"none of the {refused.instances} instances of {service!r}" if several else f"the only instance of {service!r}"
        if (never := unfit(desk, record.task, record.priority, desk.backlog.demand(record))) is not None:
            return Reason(
                "refused", f"{who} can {'ever take it as they are' if several else 'never take it as it is'}: {never.message}"
            )
        cannot = "can take it now" if several else "cannot take it now"
        kept = f"; {reserving.told(record.reserved, now)}" if record.reserved is not None else ""
        return Reason("refused", f"{who} {cannot}: {refused.told()}{first}{kept}")
    if (bides := biding.of(desk, record)) is not None:
        return Reason("biding", bides.told(now))
    return Reason("turn", f"{told(before)} before it" if before is not None and before.number else "it is about to be placed")


def _held_back(desk: Desk, now: Nanos, instance: Instance, record: Record, demand: Demand) -> str | None:
    """Why a task that waits may not start there though it fits."""
    if instance.reserved is None or record.place is None:
        return None
    lane = record.place
    entry = lane.stand(Entry(desk.backlog.key_in(record, lane), *record.standing, record.ticket, record))
    return reserving.held_back(desk, now, instance, entry, demand)


def told(before: Ahead) -> str:
    """How many go before it, in words."""
    if before.number == 1:
        return "1 other task goes"
    number = f"{before.number:,}" if before.exact else f"about {_rounded(before.number):,}"
    return f"{number} other tasks go"


def _rounded(number: int) -> int:
    """To two digits: an estimate need not pretend."""
    return int(float(f"{number:.2g}"))


def _held(desk: Desk, now: Nanos, record: Record) -> Reason:
    instances = [desk.registry.instances[incarnation] for incarnation in record.live.values()]
    where = ", ".join(one.name for one in instances)
    if all(one.state == "gone" for one in instances):
        return Reason("fenced", f"it must never overlap: {where} is gone and may run it until its lease is over")
    silent_ns = now - max(one.heard_ns for one in instances)
    silent = f", of which nothing was heard for {seconds(silent_ns):.0f} s" if silent_ns > 3 * desk.config.beat_ns else ""
    overdue = ", longer than its timeout: it was told to stop, and does not" if _overdue(desk, now, record) else ""
    return Reason("held", f"it is {record.state} on {where}{silent}{overdue}")


def _overdue(desk: Desk, now: Nanos, record: Record) -> bool:
    """Whether its handler should long have been ended by its timeout: nothing that looks at nothing can be stopped."""
    holdings = (desk.registry.instances[where].holdings.get(attempt) for attempt, where in record.live.items())
    return any(held is not None and 0 < held.backstop_ns <= now for held in holdings)


def _aside(desk: Desk, record: Record) -> Reason:
    pool = desk.registry.pool(record.service)
    if pool.unanswered:
        waiting = ", ".join(views.name_of(desk, one) for one in pool.unanswered)
        return Reason("takeover", f"accepted before this coordinator took over: {waiting} may hold it and has still to answer")
    fenced = ", ".join(views.name_of(desk, one) for one in pool.fenced)
    return Reason("fenced", f"it must never overlap: {fenced} is gone and may run it until its lease is over")


def _waits_for(desk: Desk, record: Record) -> str:
    """The parents that have not ended, and what each of the first few does."""
    assert record.node is not None
    missing = record.node.missing
    shown = [_doing(desk, parent) for parent in islice(missing, PARENTS_SHOWN_MAX)]
    more = f" and {len(missing) - len(shown)} more" if len(missing) > len(shown) else ""
    return f"it waits for its parent{'s' if len(missing) > 1 else ''} {', '.join(shown)}{more}"


def _doing(desk: Desk, task: TaskId) -> str:
    record = desk.custody.live.get(task)
    if record is None:
        return f"{task} (not known yet)"
    where = ", ".join(views.name_of(desk, incarnation) for incarnation in record.live.values())
    return f"{task} ({record.state}{f' on {where}' if where else ''})"
