"""What now? - for a task none of whose attempts is alive, and for attempts that are over.

Law: a task without live attempts waits, in the backlog, for a moment or for its parents, until it has ended; ``settle_down`` is
the only door into these. One whose end is being written waits too (its end may yet be lost with this leader), but is not assigned.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from operator import attrgetter

from orchestrator.core import rules
from orchestrator.core.custody.records import Record
from orchestrator.core.desk import Desk
from orchestrator.core.lifecycle import TaskState, TaskStep
from orchestrator.core.registry.registry import Holding, Instance
from orchestrator.core.scheduler import billing
from orchestrator.vocabulary import NS_PER_S, Attempt, Nanos
from orchestrator.wire.facts import Ended, Failed
from orchestrator.wire.messages import Error, Stop

EXPIRED = Error("expired", "the deadline passed before the task could start; it was not started")
OTHER_FIRST = "another task came first with the same key"
LOST = Error("lost", "the instance that ran this attempt is gone")
UNSEEN = Error("unseen", "the instance is gone before this attempt was seen to start")
UNSEEN_WAIT_NS, UNSEEN_WAIT_MAX_NS = NS_PER_S // 20, 60 * NS_PER_S
"""An instance that comes and goes must not use up in seconds what speaks against the tasks that it was given: after the second such
death a task waits for the first of these, then four times as long each time, up to the last. The first is short: of two that die at
one moment the second may well be given what the first had."""

BACK: Mapping[TaskState, TaskStep] = {
    "blocked": "unblock",
    "deferred": "due",
    "assigned": "vacate",
    "running": "vacate",
    "doubtful": "vacate",
}
"""From wherever it is a task comes back to wait; what else it waits for is looked at then."""


def settle_down(desk: Desk, now: Nanos, record: Record, *, waited: bool = False) -> None:
    """Put a task with no live attempt where it belongs. ``waited``: as long as it had to between two tries."""
    if desk.doubtful:
        desk.doubtful.pop(record.id, None)
    if record.awaits is not None:
        record.awaits = None
        desk.saving.pop(record.id, None)
    aside = desk.aside(record)
    if record.cancelled:
        desk.condemn(record, Ended(record.id, "cancelled", now))
    elif record.id in desk.verdicts:
        desk.carry_out(record)
    elif record.task.deadline_ns is not None and record.task.deadline_ns <= now:
        miss_deadline(desk, now, record)
    if record.place is not None:
        desk.backlog.remove(record)
    if record.state != "waiting":
        record.follow(BACK[record.state])
    if not (rules.r13_may_start(record) and rules.r16_may_start(desk.custody.keys, record.id)):
        record.follow("block")
        desk.backlog.queue(record.service)  # each service of which anything lives has one: who begins to lead sets it aside
        return
    if record.not_before_ns > now and not waited:
        record.follow("defer")
        desk.timers.at(record.due_ns(now), "due", record.id, len(record.failures))
        desk.backlog.queue(record.service)
        return
    desk.backlog.queue(record.service).add(record, aside=aside)
    desk.stir(record.service)


def settle_fresh(desk: Desk, now: Nanos, records: list[Record]) -> None:
    """The same for tasks that were accepted together, and that nothing but their turn keeps waiting, for all that they say
    themselves: most are free to go at once, and what they have in common is looked up once."""
    if len(records) == 1:
        settle_down(desk, now, records[0])
        return
    free: list[Record] = []
    for record in records:
        if record.cancelled or record.not_before_ns or record.node is not None or record.id in desk.verdicts or desk.aside(record):
            settle_down(desk, now, record)
        else:
            free.append(record)
    for service, some in groupby(free, key=attrgetter("service")):
        desk.backlog.queue(service).add_all(some)
        desk.stir(service)


def miss_deadline(desk: Desk, now: Nanos, record: Record) -> None:
    """Its deadline is over and it has not started, as far as we know; an agent that has still to answer may know better."""
    if not desk.leading or desk.aside(record):
        desk.missed[record.id] = None
    else:
        desk.propose_end(record, Ended(record.id, "expired", now, error=EXPIRED))


def let_go(desk: Desk, instance: Instance, attempt: Attempt) -> Holding | None:
    """The instance does not have this attempt any more: its grant is free, and the attempt is not alive (R4)."""
    holding = instance.holdings.pop(attempt, None)
    if holding is None:
        return None
    if holding.record is not None and holding.record.live:
        holding.record.taken_back(attempt)
    if holding.grant or holding.shares or holding.bill is not None:  # mostly its report has freed all of it already
        relieve(desk, instance, holding)
    return holding


def relieve(desk: Desk, instance: Instance, holding: Holding) -> None:
    """This attempt needs nothing any more, though it may not be over in the ledger yet: what it had others may have."""
    if give_back(desk, instance, holding):
        desk.retouch(instance)


def give_back(desk: Desk, instance: Instance, holding: Holding) -> bool:
    """The same, of one of several: gives whether there is more room on the instance, which is then to be retouched."""
    had = bool(holding.grant)
    if had:
        instance.relieve(holding)
    if holding.shares:
        desk.sharing.give(holding.shares)
        holding.shares = ()
    if holding.bill is not None:
        billing.settle(desk.now_ns, holding)
    return had


def go_on(desk: Desk, now: Nanos, record: Record) -> None:
    """None of its attempts is alive any more, and what that means is known: the task goes on, from its last checkpoint.

    That lies in the reports queue, and may be read after the soft word that an attempt has stopped, and after whatever another one
    of the task came to: until it is in the ledger the task is not given to anybody. One that is to end waits for nothing.
    """
    if record.awaits is None or record.has_saved(*record.awaits) or record.id in desk.verdicts:
        settle_down(desk, now, record)
        return
    if record.state != "doubtful":
        record.follow("doubt")
    desk.doubtful.pop(record.id, None)
    desk.saving[record.id] = record
    desk.timers.at(now + desk.config.checkpoint_ns, "saved", record.id, record.awaits[0].n)


def vacate(desk: Desk, now: Nanos, instance: Instance, attempt: Attempt) -> None:
    """This attempt does not run any more and has no end: the task waits again, nothing is counted against it."""
    holding = let_go(desk, instance, attempt)
    if holding is None or (record := holding.record) is None:
        return
    desk.lapse(attempt, record.id)
    if rules.r4_assignable(record):
        go_on(desk, now, record)


def give_up_waiting(desk: Desk, now: Nanos, record: Record, n: int) -> None:
    """The last checkpoint of attempt ``n`` should long have come: somebody emptied the reports queue. Go on from an earlier one."""
    if record.id in desk.saving and record.awaits is not None and record.awaits[0].n == n:
        desk.note("checkpoint_missing", task=record.id, attempt=str(record.awaits[0]), nth=record.awaits[1])
        settle_down(desk, now, record)


def lose(desk: Desk, now: Nanos, instance: Instance, attempt: Attempt, holding: Holding) -> None:
    """The instance is gone, and this attempt with it. That counts, once it is in the ledger (R8): as lost if it was seen to run."""
    let_go(desk, instance, attempt)
    record = holding.record
    if record is None:
        return
    desk.lapse(attempt, record.id)
    if not rules.r4_assignable(record):
        return
    if any(failure.attempt == attempt for failure in record.failures):
        go_on(desk, now, record)  # the ledger has its loss already: an earlier leader wrote it too soon
        return
    if not holding.running and holding.sent > instance.drained and instance.heard_ns > record.assigned_ns:
        go_on(desk, now, record)  # its order was not read by an instance that lived on: this proves nothing at all
        return
    record.follow("doubt")
    desk.doubtful[record.id] = record
    handler = instance.handlers.get(record.handler)
    retries = record.task.retries if record.task.retries is not None else handler.retries if handler else 2
    if holding.running:
        desk.counts["lost"] += 1
        ran_ns = max(0, now - record.started_ns) if record.started_ns else 0
        desk.propose(Failed(record.id, attempt, "lost", LOST, now, instance.name, retries, ran_ns=ran_ns))
        return
    desk.counts["unseen"] += 1
    wait_ns = min(UNSEEN_WAIT_MAX_NS, UNSEEN_WAIT_NS << 2 * record.unseen - 2) if record.unseen else 0
    not_before = now + round(wait_ns * desk.dice.uniform(0.8, 1.2))
    desk.propose(Failed(record.id, attempt, "unseen", UNSEEN, now, instance.name, retries, not_before))


def stop(desk: Desk, instance: Instance, attempt: Attempt, holding: Holding, reason: str) -> None:
    """Recall this attempt; its grant stays out until the agent answers."""
    if not holding.stopping:
        holding.stopping = reason
        recall(desk, instance, attempt, holding)


def recall(desk: Desk, instance: Instance, attempt: Attempt, holding: Holding) -> None:
    """Tell its agent to stop it (again, should that have been lost)."""
    holding.recalled_ns = desk.now_ns
    desk.order(instance).stop.append(Stop(holding.task, attempt, holding.stopping))


def stop_live(desk: Desk, record: Record, reason: str, *, but: Attempt | None = None) -> None:
    """Recall every live attempt of this task (except one that is known to be over)."""
    for attempt, incarnation in list(record.live.items()):
        instance = desk.registry.instances.get(incarnation)
        holding = instance.holdings.get(attempt) if instance else None
        if instance is not None and holding is not None and attempt != but:
            stop(desk, instance, attempt, holding, reason)
