"""Reading the ledger: where facts count.

Law: this is the only place that changes the books, and it does so for the leader's own facts exactly as for anybody's
(R15). What a leader does *because* of a fact - settle, release, answer, stop, try again - happens here too, when the fact
is read (R1, R8).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any, cast

from orchestrator.core import rules
from orchestrator.core.commands import OpenIntake
from orchestrator.core.custody import leadership, memory, wills
from orchestrator.core.custody.records import NOWHERE, Record
from orchestrator.core.desk import Desk
from orchestrator.core.events import Read
from orchestrator.core.registry import dependencies, liveness
from orchestrator.core.registry.registry import Instance
from orchestrator.core.resources import limiting
from orchestrator.core.tasks import answering, following, workflows
from orchestrator.core.tasks.settling import go_on, let_go, settle_down, settle_fresh, stop, stop_live
from orchestrator.policies import BadPolicy
from orchestrator.vocabulary import Attempt, Nanos, TaskId
from orchestrator.wire.facts import (
    Accepted,
    Asked,
    Carried,
    Checkpointed,
    Claim,
    Ended,
    Failed,
    Joined,
    Parted,
    Preempted,
    Restored,
    Served,
    Tombstone,
)
from orchestrator.wire.messages import Error


def read(desk: Desk, now: Nanos, event: Read) -> None:
    """Apply an entry, then free what waited for it if it is our own."""
    entry, offset = event.entry, event.offset
    desk.custody.read_to(offset, entry.replay_from)
    desk.custody.last = entry.by, entry.number
    desk.past.anew = desk.past.anew or not (offset or entry.number or entry.facts)
    desk.stirred_ns = desk.past.read_ns = now
    desk.custody.epoch = max(desk.custody.epoch, entry.epoch)
    flight = desk.flight
    index = 0
    for kind, facts in groupby(entry.facts, type):
        if kind is Ended:
            ended(desk, now, cast("Iterable[Ended]", facts), offset)
            continue
        for fact in facts:
            if type(fact) is Accepted:
                accepted(desk, now, fact, offset, index)
                index += len(fact.tasks)
            else:
                APPLY[kind](desk, now, fact, offset)
    if desk.custody.usurpers:
        following.yield_keys(desk, now)
    desk.keeping.read(offset, event.size)
    if flight is not None and desk.flight is flight and rules.r1_committed(entry, desk.nonce, flight.number, desk.leading):
        desk.flight = None
        desk.arriving_bytes -= flight.arriving_bytes
        desk.read_ns, desk.proven_ns = now, desk.appended_ns
        for gate in flight.gates:
            desk.settle(gate)
        desk.out += flight.replies
        for incarnation, attempts in flight.releases.items():
            desk.release(incarnation, attempts)
    elif entry.by != desk.nonce and entry.answered_to <= offset:  # a later place would be one of a ledger that is gone
        desk.custody.answered(entry.answered_to)
    elif desk.past.reminding is not None and flight is not None and entry.number == flight.number:
        desk.flight = None
    if desk.phase == "claiming":
        desk.read_ns = now  # the ledger answers, it may have much to say before it comes to our claim


def accepted(desk: Desk, now: Nanos, fact: Accepted, offset: int, index: int) -> None:
    """Tasks are ours: they may be assigned from here on (R3)."""
    if desk.arriving:
        for task in fact.tasks:
            desk.arriving.pop(task.id, None)
    fresh, known = desk.custody.accepted(fact, offset, index)
    for name in known:
        if desk.custody.owe(name, fact.reply_to, offset):  # its report was read before it
            answering.post_owed(desk, name)
    if not fresh:
        return
    desk.counts["accepted"] += len(fresh)
    desk.keeping.rows(offset, "task", [record.id for record in fresh])
    settle_fresh(desk, now, [record for record in fresh if not _enter(desk, now, record)])
    if desk.leading:
        for record in fresh:
            if record.node is not None:
                workflows.find_parents(desk, now, record)


def carried(desk: Desk, now: Nanos, fact: Carried, offset: int) -> None:
    """A live task, written again."""
    record = desk.custody.carried(fact, offset)
    if fact.task.id in desk.custody.live:
        desk.keeping.row(offset, "task", fact.task.id)
    else:
        desk.keeping.came_late("task", fact.task.id)
    if record is not None:
        desk.past.unsure = rules.r3_came_late(desk.leading)
        _judge(desk, now, record)
        if not _enter(desk, now, record):
            settle_down(desk, now, record)


def _enter(desk: Desk, now: Nanos, record: Record) -> bool:
    """A task lives. Gives whether anything but its turn is to be waited for: then it is where it belongs already."""
    task, leaders = record.task, desk.custody.keys.leaders
    if task.deadline_ns is None and not task.after and record.id not in leaders:
        return False
    if task.deadline_ns is not None:
        desk.timers.at(task.deadline_ns, "deadline", record.id)
    if task.after:
        workflows.entered(desk, now, record)
    if record.id in leaders:
        following.entered(desk, now, record)
    settle_down(desk, now, record)
    return True


def ended(desk: Desk, now: Nanos, facts: Iterable[Ended], offset: int) -> None:
    """Outcomes, each if it is the first of its task; else counted and ignored. Most facts are such, and stand side by side."""
    custody, counts = desk.custody, desk.counts
    over: list[TaskId] = []
    for fact in facts:
        task = fact.task
        first, record = custody.ended(fact, offset)
        desk.ending.pop(task, None)
        refused = desk.arriving.pop(task, None) if desk.arriving else None
        if not first:
            counts["late"] += 1
            continue
        counts[fact.outcome] += 1
        over.append(task if record is None else record.id)
        if record is not None:
            if fact.started_ns and fact.outcome == "done" and fact.first is None:
                learn(desk, record, fact)
            _bury(desk, record, fact)
        if task in custody.families.children:
            workflows.parent_over(desk, now, task)
        if task in custody.keys.followers:
            following.first_over(desk, now, task)
        answering.post_owed(desk, task, refused)
        if "ended" not in desk.unheard and desk.leading:
            desk.note(
                "ended", task=task, outcome=fact.outcome, attempt=str(fact.attempt) if fact.attempt else None,
                instance=fact.instance or None, error=fact.error.kind if fact.error else None,
            )  # fmt: skip
    if over:
        desk.keeping.rows(offset, "grave", over)


def learn(desk: Desk, record: Record, fact: Ended) -> None:
    """How long one that is done ran in all. One that saved its work in its last attempt and in others tells nothing: how much was
    done before this attempt the ledger does not say."""
    saved = record.checkpoint_of == fact.attempt
    if saved and record.number + record.preemptions > 1:
        return
    before_ns = 0 if saved else record.ran_ns
    if desk.estimates.learn(record.task, before_ns + max(0, fact.at_ns - fact.started_ns), fact.instance):
        _look_again(desk, record, fact.attempt)


def _look_again(desk: Desk, record: Record, attempt: Attempt | None) -> None:
    """What was learned of this attempt may let in whom a reservation holds back where it ran, or make it pay to ask for room."""
    queue = desk.backlog.queue(record.service)
    if (queue.reservations or queue.biding or queue.ordering.preemption is not None) and attempt is not None:
        instance = desk.registry.instances.get(record.live.get(attempt, ""))
        if instance is not None:
            desk.retouch(instance)


def _bury(desk: Desk, record: Record, fact: Ended) -> None:
    """The attempt that ended it is over; any other live one is stopped, and keeps its grant until it says so (P2)."""
    if desk.verdicts or desk.missed or desk.doubtful or desk.saving:
        for book in (desk.verdicts, desk.missed, desk.doubtful, desk.saving):
            book.pop(record.id, None)
    if record.place is not None:
        desk.backlog.remove(record)
    live, record.live = record.live, NOWHERE
    for attempt, incarnation in live.items():
        instance = desk.registry.instances.get(incarnation)
        if instance is None:
            continue
        if attempt == fact.attempt:
            let_go(desk, instance, attempt)
        elif (holding := instance.holdings.get(attempt)) is not None:
            stop(desk, instance, attempt, holding, f"the task has ended: {fact.outcome}")
            holding.record = None
    record.follow("end")


def failed(desk: Desk, now: Nanos, fact: Failed, offset: int) -> None:
    """An attempt is over: try again, or end. Decided here, from ledger content only (R8)."""
    record = desk.custody.live.get(fact.task)
    news = desk.custody.failed(fact) is not None
    if record is None:
        return
    over = fact.attempt in record.live and rules.r8_over(fact)
    if news and desk.estimates.learn_cut(record.task, max(fact.ran_ns, record.ran_ns)):
        _look_again(desk, record, fact.attempt)
    if over and (instance := desk.registry.instances.get(record.live[fact.attempt])) is not None:
        let_go(desk, instance, fact.attempt)
    if news:
        desk.counts[f"attempt_{fact.cause}"] += 1
        _judge(desk, now, record)
    if (news or over) and rules.r4_assignable(record):
        go_on(desk, now, record)
    if news and desk.leading and record.id not in desk.verdicts:
        desk.note(
            "retry", task=record.id, attempt=str(fact.attempt), cause=fact.cause, error=fact.error.message[:200],
            tries=len(record.failures), wait_s=max(0, record.due_ns(now) - now) / 1e9,
        )  # fmt: skip


def _judge(desk: Desk, now: Nanos, record: Record) -> None:
    """Whether the attempts so far are enough to end it as failed."""
    if not record.failures or record.id in desk.verdicts:
        return
    last = record.failures[-1]
    if not rules.r8_tried_enough(record, desk.config.losses_max, last.cause == "fatal"):
        return
    if last.cause in ("lost", "unseen"):
        before = f", {record.unseen} just before it was seen to start" if record.unseen else ""
        error = Error(
            "quarantined",
            f"{record.losses} instances died while they ran this task{before}; it is suspected of killing them and is not tried "
            "again. Its story is in the dead letters.",
        )
    else:
        error = last.error
    desk.verdicts[record.id] = Ended(record.id, "failed", now, last.attempt, error=error, instance=last.instance)


def checkpointed(desk: Desk, now: Nanos, fact: Checkpointed, offset: int) -> None:
    """Work worth keeping; the task may have waited for it."""
    record = desk.custody.checkpointed(fact)
    if record is not None and record.awaits is not None and record.id in desk.saving and record.has_saved(*record.awaits):
        settle_down(desk, now, record)


def preempted(desk: Desk, now: Nanos, fact: Preempted, offset: int) -> None:
    """An attempt has made room for a more urgent task."""
    if desk.custody.preempted(fact):
        desk.counts["preempted"] += 1


def asked(desk: Desk, now: Nanos, fact: Asked, offset: int) -> None:
    """A will: done by whoever leads when it is read, and by every later leader if that one dies."""
    if fact.what == "limit" and not limiting.sound(fact.value):
        desk.note("limit_unknown", value=repr(fact.value)[:200])
        return
    if not _sound(fact):
        desk.counts["strange_wills"] += 1
        return
    record = wills.asked(desk.custody, fact, offset)
    if desk.leading and fact.what != "redirect":  # the audit: who wanted what, when it holds
        desk.note("will", will=fact.what, task=fact.task or None, value=fact.value, by=fact.by)
    if fact.what == "limit":
        desk.keeping.row(offset, "limit", fact.value["name"])
        limiting.read(desk, fact.value["name"])
        return
    if fact.what == "policy":
        policy(desk, fact, offset)
        return
    if fact.task in desk.custody.wills:
        desk.keeping.row(offset, "will", fact.task)
    else:
        desk.keeping.came_late("will", fact.task)
    if record is None:
        if fact.what == "redirect" and desk.custody.owe(fact.task, fact.value, offset):
            answering.post_owed(desk, fact.task)
    elif fact.what == "cancel":
        stop_live(desk, record, "cancelled")
        desk.condemn(record, Ended(record.id, "cancelled", now))
    elif fact.what == "priority" and record.place is not None:
        desk.backlog.remove(record)
        settle_down(desk, now, record)


def _sound(fact: Asked) -> bool:
    """Whether the value of a will is such as coordinators write. One that is not (of another version, or of whoever may write
    here) has no effect on anybody, and stops nobody."""
    value = fact.value
    if fact.what == "policy":
        return isinstance(value, dict) and all(isinstance(word, str) for item in value.items() for word in item)
    if fact.what == "priority":
        return type(value) is int and -1000 <= value <= 1000
    return fact.what != "redirect" or isinstance(value, str)


def policy(desk: Desk, fact: Asked, offset: int) -> None:
    """Other policies from now on. One that this coordinator does not know (it is of another version, or lacks a plug-in) it cannot
    follow: it keeps what it has for that scope, and says so; the ledger keeps the will for those who can."""
    for scope, spec in fact.value.items():
        desk.keeping.row(offset, "policy", scope)
        try:
            desk.use_policies({scope: spec})
        except BadPolicy as fault:
            desk.counts["policy_unknown"] += 1
            desk.note("policy_unknown", scope=scope, policy=spec, why=str(fault))
        else:
            desk.note("policy", scope=scope, policy=spec or "as the default", by=fact.by)


def joined(desk: Desk, now: Nanos, fact: Joined, offset: int) -> None:
    """This incarnation may hold work: ask what it has, and give it some (R2)."""
    desk.custody.join(fact, offset)
    desk.keeping.row(offset, "joined", fact.incarnation)
    instance = desk.registry.instances.get(fact.incarnation)
    if not desk.leading:
        return
    if instance is None:  # an earlier leader's, that we have not heard of: it answers, or its lease runs out
        instance = desk.registry.add(Instance(fact.incarnation, fact.instance, fact.service, heard_ns=now))
        instance.over_ns = rules.r10_over_after_claim(now, desk.config.fresh_ns, desk.config.lease_ns)
        desk.timers.at(instance.over_ns, "lease", fact.incarnation)
    if instance.joined:
        return
    instance.joined = True
    instance.follow("joined")
    if dependencies.starts(instance):
        dependencies.judge(desk)  # its place among those that joined is known now
    desk.order(instance).sync = True
    desk.note("joined", instance=fact.instance, service=fact.service, incarnation=fact.incarnation)


def parted(desk: Desk, now: Nanos, fact: Parted, offset: int) -> None:
    """This incarnation is gone for good, says its writer. We know better if it lives with us: then the ledger shall know too."""
    known = desk.custody.joined.get(fact.incarnation)
    desk.custody.part(fact)
    desk.deaths.pop(fact.incarnation, None)
    instance = desk.registry.instances.get(fact.incarnation)
    if instance is None:
        return
    if not desk.leading:
        desk.registry.remove(instance)
    elif instance.joined and known is not None:
        desk.propose(known[0])


def served(desk: Desk, now: Nanos, fact: Served, offset: int) -> None:
    """A service has its own intake queue."""
    news = desk.custody.serve(fact, offset)
    desk.keeping.row(offset, "served", fact.service)
    if news and desk.leading:
        desk.out.append(OpenIntake(fact.service))


def tombstone(desk: Desk, now: Nanos, fact: Tombstone, offset: int) -> None:
    """An ended task's id, written again."""
    before = desk.custody.graves.get(fact.task)
    record = desk.custody.tombstone(fact, offset)
    desk.keeping.row(offset, "grave", fact.task)
    if record is not None:
        _bury(desk, record, Ended(fact.task, fact.outcome, fact.at_ns))
    if desk.custody.graves[fact.task] is not before:
        workflows.parent_over(desk, now, fact.task, anew=before is not None)
        following.first_over(desk, now, fact.task, anew=before is not None)


def claimed(desk: Desk, now: Nanos, fact: Claim, offset: int) -> None:
    """Someone leads from here."""
    leadership.claimed(desk, now, fact, offset)
    if desk.leading and desk.claim == offset:
        liveness.heed_deaths(desk, now)


def restored(desk: Desk, now: Nanos, fact: Restored, offset: int) -> None:
    """Somebody has written again all that it remembered of a lost ledger. If that was us, we lead from here."""
    desk.custody.restore(fact, offset)
    desk.keeping.row(offset, "restored", "")
    memory.pending(desk)
    reminding = desk.past.reminding
    if reminding is None or fact.nonce != desk.nonce:
        return
    desk.past.reminding, desk.past.memories = None, []
    desk.note("restored", live=fact.live, ended=fact.ended, read_to=fact.up_to, led=fact.led)
    leadership.begin_reign(desk, now, reminding.reign.epoch, reminding.reign.offset)
    liveness.heed_deaths(desk, now)


APPLY: dict[type, Callable[[Desk, Nanos, Any, int], None]] = {
    Carried: carried,
    Failed: failed,
    Checkpointed: checkpointed,
    Preempted: preempted,
    Asked: asked,
    Joined: joined,
    Parted: parted,
    Served: served,
    Tombstone: tombstone,
    Claim: claimed,
    Restored: restored,
}
