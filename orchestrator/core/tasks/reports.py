"""How attempts ended: written down, and the agent may forget its report once that is committed.

Law: a report is durable word. It is settled, and released, when its fact is read back (R1), never before; what a failure means for
the task is decided there too (R8).
"""

from __future__ import annotations

from typing import Literal

from orchestrator.core import rules
from orchestrator.core.custody import leadership, memory
from orchestrator.core.custody.records import Record
from orchestrator.core.desk import Desk
from orchestrator.core.events import Arrived
from orchestrator.core.registry import credence
from orchestrator.core.registry.offences import offend
from orchestrator.core.registry.registry import Instance
from orchestrator.core.tasks import workflows
from orchestrator.core.tasks.settling import give_back, let_go
from orchestrator.vocabulary import Nanos
from orchestrator.wire.facts import Checkpointed, Ended, Failed
from orchestrator.wire.messages import Checkpoint, Handler, Report, Reports

REPORTS = "orchestrator.reports"
"""Where these come in."""


def reported(desk: Desk, now: Nanos, event: Arrived) -> None:
    """How attempts ended. Written down, and the agent may forget them once that is committed (R1)."""
    said = event.message
    assert isinstance(said, Reports)
    if not desk.leading:
        return
    if said.incarnation == desk.mark:
        leadership.marked(desk)
    elif credence.is_early(desk, said) or (
        not (said.items or said.checkpoints) and leadership.is_later_mark(desk, said.incarnation)
    ):
        credence.postpone(desk, event)
        return
    if credence.is_unintroduced(desk, said, event):
        credence.postpone(desk, event)
        return
    instance = desk.registry.instances.get(said.incarnation)
    if instance is not None and not credence.is_own(desk, instance, event, REPORTS):
        desk.settle(event.handle)
        return
    young = rules.r2_is_young(now, desk.past.since_ns, desk.config.lease_ns)
    if young and credence.is_of_namesake(desk, said, event) and leadership.counts_anew(desk, now):
        desk.early.append((now, event))  # what it says is true of a reign before the one that we now claim, and judged then
        return
    heeded = said.incarnation == desk.mark
    for checkpoint in said.checkpoints:
        if checkpoint.task in desk.custody.live and _believed(desk, checkpoint, event):
            heeded = True
            fact = Checkpointed(checkpoint.task, checkpoint.attempt, checkpoint.state, checkpoint.nth, checkpoint.ran_ns)
            desk.propose(fact)
    name = instance.name if instance is not None else said.incarnation
    room = False
    for report in said.items:
        holding = instance.holdings.get(report.attempt) if instance is not None else None
        if not (holding is not None and holding.task == report.task) and not _believed(desk, report, event):
            continue  # who has it may speak of it: the quick look first
        heeded = True
        if report.outcome == "done":
            _done(desk, now, report, name, instance is not None)
        else:
            failed(desk, now, report, instance, name)
        if instance is not None and holding is not None:
            if holding.record is None:
                let_go(desk, instance, report.attempt)  # of a task that had ended: its report is its answer to the recall
            elif holding.record.node is None or not workflows.has_heirs(desk, holding.record):
                room = give_back(desk, instance, holding) or room  # its slot need not wait for the ledger: grants are soft
        flight = desk.boarding if desk.proposed else desk.flight
        if flight is not None:
            flight.releases[said.incarnation].append(report.attempt)
        else:
            desk.release(said.incarnation, [report.attempt])
    if instance is not None and room:
        desk.retouch(instance)
    handle = desk.ripening.late(event.handle)
    if heeded:
        desk.gate(handle)
    else:
        desk.settle(handle)  # nothing of it is to be written: it does not wait for the ledger


def _believed(desk: Desk, word: Report | Checkpoint, event: Arrived) -> bool:
    """Whether the sender can know this; if not, it is counted."""
    said = event.message
    assert isinstance(said, Reports)
    if credence.may_know(desk, word.task, word.attempt, said.incarnation, event):
        return True
    why = f"{said.incarnation} speaks of attempt {word.attempt} of {word.task}, which it was not given"
    offend(desk, "forged", REPORTS, event.user, why)
    return False


def _done(desk: Desk, now: Nanos, report: Report, name: str, known: bool) -> None:
    record = desk.custody.live.get(report.task)
    if record is None and (report.task in desk.custody.graves or not _orphaned(desk, report, known)):
        desk.counts["late"] += 1
        return
    ran = max(0, report.ended_ns - report.started_ns)  # two readings of one clock, the agent's
    heirs, keys = desk.custody.graveyard.needed(report.task), desk.custody.keys
    hold = keys.said(report.task, now) if report.task in keys.by_task else None
    fact = Ended(
        report.task, "done", now, report.attempt, report.value, instance=name, started_ns=now - ran, heirs=heirs, hold=hold
    )
    if record is not None:
        desk.ending[report.task] = record
    desk.propose(fact)  # of a task not known yet it is written all the same: its submission may still come


def _orphaned(desk: Desk, report: Report, known: bool) -> bool:
    """Whether this end of a task that we do not know is to be written down: an earlier leader may have accepted it, and the ledger
    have lost that. What we assigned ourselves we knew: it is forgotten by now. Where the ledger may lose its end in a power cut, it
    may have lost the agent's ``Joined`` too.
    """
    known = known or desk.config.settle_after_ns > 0
    if report.attempt.epoch == desk.epoch or not known or desk.orphans >= credence.ORPHANS_MAX:
        return False
    desk.orphans += 1
    return True


def failed(desk: Desk, now: Nanos, report: Report, instance: Instance | None, name: str) -> None:
    record = desk.custody.live.get(report.task)
    aside = record is not None and record.place is not None and record.place.aside
    if record is None and report.attempt.epoch < desk.epoch and report.task not in desk.custody.graves:
        memory.miss(desk, report.task, name)
    if record is None or not (report.attempt in record.live or aside):
        desk.counts["late"] += 1
        return  # of an attempt that is not alive: no retry comes of it (R8); one set aside may be, its agent has yet to say
    handler = _handler(desk, record, instance)
    retries = record.task.retries if record.task.retries is not None else handler.retries if handler else 2
    base, most = (handler.backoff_ns, handler.backoff_max_ns) if handler else (10**9, 300 * 10**9)
    wait = min(most, base << min(record.failed, 30))
    wait = round(wait * desk.dice.uniform(0.8, 1.2))
    error = report.error
    assert error is not None, "the codec refuses a failed report without an error"
    cause: Literal["fatal", "timeout", "error"] = "fatal" if not report.retry else "timeout" if error.kind == "timeout" else "error"
    since_ns = report.ended_ns - report.started_ns if report.started_ns else now - record.started_ns if record.started_ns else 0
    desk.propose(Failed(record.id, report.attempt, cause, error, now, name, retries, now + wait, max(0, since_ns)))


def _handler(desk: Desk, record: Record, instance: Instance | None) -> Handler | None:
    """What the handler says of its tasks: as the instance that ran it has it, or any of its service."""
    if instance is not None and (own := instance.handlers.get(record.handler)) is not None:
        return own
    pool = desk.registry.pools.get(record.service)
    known = (one.handlers.get(record.handler) for one in pool.members.values()) if pool is not None else iter(())
    return next((handler for handler in known if handler is not None), None)
