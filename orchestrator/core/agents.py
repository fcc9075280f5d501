"""What agents say, and what we make of their silence.

Law: a soft word may be lost, late or doubled; each handler only moves towards what the agent says is so. An attempt leaves
the set of live ones for stated reasons alone (R4). Nobody is declared dead because *we* cannot hear: while the broker is
alarmed, or all are silent at once, leases stand still.
"""

from __future__ import annotations

from typing import Literal

from orchestrator.core import leadership, placing, rules
from orchestrator.core.commands import Send
from orchestrator.core.desk import Desk
from orchestrator.core.events import Arrived, BrokerBlocked, QueueDeleted, Returned
from orchestrator.core.records import Record
from orchestrator.core.registry import QUEUE_PREFIX, Holding, Instance
from orchestrator.core.settling import EXPIRED, let_go, lose, stop, stop_live, vacate
from orchestrator.resources import demand_of
from orchestrator.vocabulary import Attempt, Nanos, vector
from orchestrator.wire import messages
from orchestrator.wire.facts import Checkpointed, Ended, Failed, Joined, Parted, Served
from orchestrator.wire.messages import Announce, Beat, Error, Handler, Held, Leave, Note, Notes, Orders, Report, Reports, Stop

FLOOR_MAX = 2**52
"""An agent that claims to know a higher epoch lies: epochs above would soon be more than messages can carry."""
STRANGERS_MAX = 1000
"""Unknown incarnations remembered, so that each is asked who it is only now and then."""


def announced(desk: Desk, now: Nanos, event: Arrived) -> None:
    """An instance is there. A new one may hold work once its ``Joined`` is committed (R2)."""
    said = event.message
    assert isinstance(said, Announce)
    instance = desk.registry.instances.get(said.incarnation)
    if instance is None:
        instance = desk.registry.add(Instance(said.incarnation, said.instance, said.service))
        instance.joined = said.incarnation in desk.custody.joined
        desk.timers.at(now + desk.config.lease_ns, "lease", said.incarnation)
    _hear(desk, now, instance)
    if instance.announced != said:
        instance.describe(said)
        _take_needs(desk, instance, said)
        placing.heed_starts(desk)
        desk.retouch(instance)
    if not desk.leading:
        return
    if said.service not in desk.custody.served:
        desk.propose(Served(said.service))
    if instance.joined:
        _resync(desk, now, instance)
    else:
        _invite(desk, now, instance)


def _take_needs(desk: Desk, instance: Instance, said: Announce) -> None:
    """What its handlers' tasks ask when they say nothing. A need that makes no sense is not taken (P6)."""
    for handler in said.handlers:
        try:
            demand_of(handler.need)
        except ValueError as fault:
            desk.counts["bad_needs"] += 1
            desk.note("bad_need", instance=instance.name, service=said.service, handler=handler.name, why=str(fault))
        else:
            desk.backlog.default_need(f"{said.service}.{handler.name}", handler.need)


def beat(desk: Desk, now: Nanos, event: Arrived) -> None:
    """An instance is alive; its window is renewed when the leader echoes this (R9)."""
    said = event.message
    assert isinstance(said, Beat)
    instance = desk.registry.instances.get(said.incarnation)
    if instance is None:
        _greet(desk, now, said.incarnation)
        return
    _hear(desk, now, instance, said.seq)
    if not desk.leading:
        return
    if not instance.joined:
        _invite(desk, now, instance)
        return
    if said.epoch != desk.epoch or instance.answered != desk.epoch:
        _resync(desk, now, instance)
        return
    if instance.full:
        instance.full = False
        desk.retouch(instance)
    _drained(desk, now, instance, said.drained)
    if said.held is not None:
        _reconcile(desk, now, instance, said.drained, said.held)
    if said.draining and instance.state == "ready":
        drain(desk, instance, order=False)


def held(desk: Desk, now: Nanos, event: Arrived) -> None:
    """The answer to a sync: what this instance has. From now on it may be given work (R2)."""
    said = event.message
    assert isinstance(said, Held)
    instance = desk.registry.instances.get(said.incarnation)
    if instance is None or instance.state == "gone":
        return
    if said.epoch == desk.epoch:
        instance.asked_ns = 0
    _hear(desk, now, instance, said.seq)
    if not desk.leading or said.epoch != desk.epoch or not instance.joined:
        return
    if instance.state != "joining":
        instance.follow("answered")
    instance.answered = desk.epoch
    instance.orders.sync = False  # asked again in this very step: its answer would not count what else is in the same orders
    _drained(desk, now, instance, said.drained)
    for one in said.attempts:
        if one.attempt not in instance.holdings:
            _adopt(desk, now, instance, one)
    instance.early.clear()
    _reconcile(desk, now, instance, said.drained, [one.attempt for one in said.attempts])
    leadership.answered(desk, instance)
    if instance.unwanted and instance.state == "ready":
        drain(desk, instance, order=True)
    placing.heed_starts(desk)
    desk.retouch(instance)
    for service in desk.backlog.queues:
        desk.stir(service)  # one that depends on this service may go now
    desk.note("ready", instance=instance.name, service=instance.service, incarnation=instance.incarnation, holds=len(said.attempts))


def notes(desk: Desk, now: Nanos, event: Arrived) -> None:
    """Soft words about attempts."""
    said = event.message
    assert isinstance(said, Notes)
    instance = desk.registry.instances.get(said.incarnation)
    if instance is None or not desk.leading:
        return
    for note in said.items:
        if note.what == "refused" and desk.epoch < note.epoch <= FLOOR_MAX:
            desk.floor = max(desk.floor, note.epoch)
            desk.reclaim = True
        holding = instance.holdings.get(note.attempt)
        if holding is not None:
            _note(desk, now, instance, note, holding)


def _note(desk: Desk, now: Nanos, instance: Instance, note: Note, holding: Holding) -> None:
    record = holding.record
    if note.what == "started":
        _started(desk, now, instance, note.attempt, holding)
    elif note.what == "progress":
        if record is not None:
            record.progress = (note.fraction, note.text)
    else:  # stopped, refused: it does not run here
        desk.counts[note.what] += 1
        if note.what == "refused":
            desk.note("refused", task=note.task, attempt=str(note.attempt), instance=instance.name, why=note.text)
            instance.full = instance.full or note.text == "full"  # or it would be offered the same task again at once, in a circle
            if note.text == "expired" and record is not None:
                desk.propose_end(record, Ended(record.id, "expired", now, error=EXPIRED))
        elif holding.stopping == "timeout" and record is not None:
            error = Error("timeout", "the attempt ran past its timeout and was stopped by the coordinator")
            report = Report(record.id, note.attempt, "failed", error=error)
            _failed(desk, now, report, instance, instance.name)
            return
        vacate(desk, now, instance, note.attempt)


def _started(desk: Desk, now: Nanos, instance: Instance, attempt: Attempt, holding: Holding) -> None:
    record = holding.record
    holding.running = True
    if record is None or record.state == "ended":
        return
    record.follow("started")
    record.started_ns = record.started_ns or now
    _guard(desk, now, instance, attempt, holding, record)


def _guard(desk: Desk, now: Nanos, instance: Instance, attempt: Attempt, holding: Holding, record: Record) -> None:
    """The agent ends the attempt by its timeout; should it not, we recall it a while later."""
    handler = instance.handlers.get(record.handler)
    timeout_ns = record.task.timeout_ns if record.task.timeout_ns is not None else handler.timeout_ns if handler else None
    if timeout_ns is not None and not holding.backstop_ns:
        holding.backstop_ns = now + timeout_ns + desk.config.margin_ns
        desk.timers.at(holding.backstop_ns, "backstop", instance.incarnation, attempt.n)


def reported(desk: Desk, now: Nanos, event: Arrived) -> None:
    """How attempts ended. Written down, and the agent may forget them once that is committed (R1)."""
    said = event.message
    assert isinstance(said, Reports)
    if not desk.leading:
        return
    if said.incarnation == desk.mark:
        leadership.marked(desk)
    elif not (said.items or said.checkpoints) and leadership.is_later_mark(desk, said.incarnation):
        return  # not ours to settle: when our session ends, which will be soon, it is given to whom it is meant for
    for checkpoint in said.checkpoints:
        if checkpoint.task in desk.custody.live:
            desk.propose(Checkpointed(checkpoint.task, checkpoint.attempt, checkpoint.state))
    instance = desk.registry.instances.get(said.incarnation)
    name = instance.name if instance is not None else said.incarnation
    for report in said.items:
        if report.outcome == "done":
            _done(desk, now, report, name)
        else:
            _failed(desk, now, report, instance, name)
        if instance is not None and (holding := instance.holdings.get(report.attempt)) is not None and holding.record is None:
            let_go(desk, instance, report.attempt)  # of a task that had ended: its report is its answer to the recall
        if desk.proposed:
            desk.boarding.releases.append((said.incarnation, report.attempt))
        elif desk.flight is not None:
            desk.flight.releases.append((said.incarnation, report.attempt))
        else:
            desk.release(said.incarnation, report.attempt)
    desk.gate(event.handle)


def _done(desk: Desk, now: Nanos, report: Report, name: str) -> None:
    if report.task in desk.custody.graves:
        desk.counts["late"] += 1
        return
    ran = max(0, report.ended_ns - report.started_ns)  # two readings of one clock, the agent's
    fact = Ended(report.task, "done", now, report.attempt, report.value, instance=name, started_ns=now - ran)
    record = desk.custody.live.get(report.task)
    if record is not None:
        desk.ending[report.task] = record
    desk.propose(fact)  # of a task not known yet it is written all the same: its submission may still come


def _failed(desk: Desk, now: Nanos, report: Report, instance: Instance | None, name: str) -> None:
    record = desk.custody.live.get(report.task)
    aside = record is not None and record.place is not None and record.place.aside
    if record is None or not (report.attempt in record.live or aside):
        desk.counts["late"] += 1
        return  # of an attempt that is not alive: no retry comes of it (R8); one set aside may be, its agent has yet to say
    handler = _handler(desk, record, instance)
    retries = record.task.retries if record.task.retries is not None else handler.retries if handler else 2
    base, most = (handler.backoff_ns, handler.backoff_max_ns) if handler else (10**9, 300 * 10**9)
    wait = min(most, base << min(len(record.failures) - record.losses, 30))
    wait = round(wait * desk.dice.uniform(0.8, 1.2))
    error = report.error
    assert error is not None, "the codec refuses a failed report without an error"
    cause: Literal["fatal", "timeout", "error"] = "fatal" if not report.retry else "timeout" if error.kind == "timeout" else "error"
    desk.propose(Failed(record.id, report.attempt, cause, error, now, name, retries, now + wait))


def _handler(desk: Desk, record: Record, instance: Instance | None) -> Handler | None:
    """What the handler says of its tasks: as the instance that ran it has it, or any of its service."""
    members = desk.registry.pool(record.service).members.values()
    known = (one.handlers.get(record.handler) for one in ([instance] if instance is not None else []) + list(members))
    return next((handler for handler in known if handler is not None), None)


def left(desk: Desk, now: Nanos, event: Arrived) -> None:
    """Goodbye: it holds nothing."""
    said = event.message
    assert isinstance(said, Leave)
    if (instance := desk.registry.instances.get(said.incarnation)) is not None:
        gone(desk, now, instance, f"left: {said.reason}" if said.reason else "left")


# --- evidence and silence ----------------------------------------------------------------------------------------------------


def returned(desk: Desk, now: Nanos, event: Returned) -> None:
    """Orders for it found no queue."""
    if (instance := desk.registry.instances.get(event.incarnation)) is not None:
        gone(desk, now, instance, "its queue does not exist: orders for it came back")


def queue_deleted(desk: Desk, now: Nanos, event: QueueDeleted) -> None:
    """Its exclusive queue went with its connection."""
    if (instance := desk.registry.instances.get(event.incarnation)) is not None:
        gone(desk, now, instance, "its connection to the broker is gone")


def broker_blocked(desk: Desk, now: Nanos, event: BrokerBlocked) -> None:
    """An alarm stops beats and orders alike: while it lasts, and a lease after, silence means nothing."""
    desk.blocked = event.blocked
    desk.calm_ns = max(desk.calm_ns, now + desk.config.lease_ns)
    desk.note("broker_blocked" if event.blocked else "broker_unblocked")


def gone(desk: Desk, now: Nanos, instance: Instance, why: str, *, lease_over: bool = False) -> None:
    """This incarnation is no more: its attempts are not alive, its tasks move on at once (P3).

    Tasks that must never overlap wait for the lease, whatever the evidence.
    """
    if instance.state == "gone":
        return
    instance.follow("lose")
    if not lease_over and now < instance.over_ns and instance.incarnation in desk.registry.pool(instance.service).unanswered:
        leadership.fence(desk, instance)
    leadership.answered(desk, instance)
    desk.counts["instances_lost"] += 1
    moved = 0
    for attempt, holding in list(instance.holdings.items()):
        record = holding.record
        if record is not None and record.task.overlap == "never" and not lease_over and now < instance.over_ns:
            desk.timers.at(instance.over_ns, "fence", instance.incarnation, attempt.n)
        elif desk.leading:
            lose(desk, now, instance, attempt, holding)
            moved += 1
    desk.note(
        "instance_gone", instance=instance.name, service=instance.service, incarnation=instance.incarnation, why=why, moved=moved
    )
    desk.registry.touch(instance)
    _bury_instance(desk, instance)


def _bury_instance(desk: Desk, instance: Instance) -> None:
    """Nothing of it may be alive any more: forget it. Every later leader may, too, once that is in the ledger."""
    if instance.holdings or instance.incarnation in desk.registry.pool(instance.service).fenced:
        return
    desk.registry.remove(instance)
    if desk.leading and instance.joined:
        desk.propose(Parted(instance.incarnation))


def fence_over(desk: Desk, now: Nanos, incarnation: str, n: int) -> None:
    """The lease of a lost instance is over: what it still held is not alive."""
    instance = desk.registry.instances.get(incarnation)
    if instance is None or instance.state != "gone" or not desk.leading:
        return
    for attempt, holding in list(instance.holdings.items()):
        if attempt.n == n:
            lose(desk, now, instance, attempt, holding)
    if not n:
        leadership.answered(desk, instance)
    _bury_instance(desk, instance)


def lease_due(desk: Desk, now: Nanos, incarnation: str) -> None:
    """Look whether this instance has been silent for too long."""
    instance = desk.registry.instances.get(incarnation)
    if instance is None or instance.state == "gone":
        return
    silent_all = now - desk.heard_ns > 2 * desk.config.beat_ns
    if desk.blocked or silent_all:
        desk.calm_ns = now + desk.config.lease_ns  # our trouble: once it is over, everyone has a lease to be heard again
        if desk.leading and not desk.blocked:
            desk.order(instance).orders.sync = True  # or it was the last one: if its queue is gone, these orders come back
    over = max(instance.over_ns, desk.calm_ns)
    if now < over:
        desk.timers.at(over, "lease", incarnation)
    elif desk.leading:
        silent_ns = now - instance.heard_ns
        spoke = silent_ns < min(desk.config.lease_ns, desk.config.deaf_ns)
        why = "it beats, but does not read its queue" if spoke else f"silent for {silent_ns / 1e9:.1f} s"
        gone(desk, now, instance, why, lease_over=True)
    else:
        instance.follow("lose")
        desk.registry.remove(instance)


def backstop(desk: Desk, now: Nanos, incarnation: str, n: int) -> None:
    """The agent should have ended this attempt by its timeout: recall it."""
    instance = desk.registry.instances.get(incarnation)
    if instance is None or not desk.leading:
        return
    for attempt, holding in list(instance.holdings.items()):  # of any reign: two may have the same number
        if attempt.n == n and holding.backstop_ns and holding.backstop_ns <= now:
            stop(desk, instance, attempt, holding, "timeout")


def drain(desk: Desk, instance: Instance, *, order: bool) -> None:
    """No new work for it; ``order``: tell it to finish and leave."""
    instance.follow("drain")
    if order:
        desk.order(instance).orders.drain = True
    desk.retouch(instance)
    desk.note("draining", instance=instance.name, service=instance.service, holds=len(instance.holdings))


def _hear(desk: Desk, now: Nanos, instance: Instance, seq: int = 0) -> None:
    """It speaks. That counts, for its lease as for its window, only while it also listens."""
    desk.heard_ns = now
    instance.heard_ns = now
    if instance.state == "deaf" or (instance.asked_ns and now - instance.asked_ns > desk.config.deaf_ns):
        return
    instance.heard = max(instance.heard, seq)
    instance.over_ns = max(instance.over_ns, now + desk.config.lease_ns)


def _invite(desk: Desk, now: Nanos, instance: Instance) -> None:
    """It may hold work once this is in the ledger (R2)."""
    if instance.asked_epoch != desk.epoch:
        instance.asked_epoch = desk.epoch
        desk.propose(Joined(instance.name, instance.incarnation, instance.service, now))


def _greet(desk: Desk, now: Nanos, incarnation: str) -> None:
    """A stranger beats: one that was given up before its window ever opened does not know it. Ask who it is, once a while."""
    if not desk.leading or now - desk.strangers.get(incarnation, 0) < desk.config.resync_ns:
        return
    if len(desk.strangers) >= STRANGERS_MAX:
        desk.strangers.clear()
    desk.strangers[incarnation] = now
    orders = Orders(incarnation, desk.epoch, 0, sync=True, lease_ns=desk.config.lease_ns)
    desk.out.append(Send(QUEUE_PREFIX + incarnation, orders))


def _resync(desk: Desk, now: Nanos, instance: Instance) -> None:
    """It does not know this reign yet: ask what it has (again, should the asking have been lost)."""
    if instance.answered == desk.epoch or now - instance.synced_ns < desk.config.resync_ns or instance.state == "gone":
        return
    if instance.state == "joining":
        instance.follow("joined")
    desk.order(instance).orders.sync = True


def _drained(desk: Desk, now: Nanos, instance: Instance, drained: int) -> None:
    """How far it has read its queue. One that beats but does not read is deaf: it gets nothing, is echoed no more, and so ends."""
    if drained > instance.drained or drained >= instance.sent:
        instance.drained, instance.drained_ns = max(drained, instance.drained), now
        if instance.state == "deaf":
            instance.follow("hear")
            desk.retouch(instance)
    elif instance.state == "ready" and now - instance.drained_ns > desk.config.deaf_ns:
        instance.follow("deafen")
        desk.retouch(instance)
        desk.note("deaf", instance=instance.name, sent=instance.sent, drained=drained)


def _reconcile(desk: Desk, now: Nanos, instance: Instance, drained: int, held: list[Attempt]) -> None:
    """What it holds against what we think it holds, in both directions (R4)."""
    present = set(held)
    for attempt, holding in list(instance.holdings.items()):
        if rules.r4_not_held(attempt, holding.sent, drained, present) and holding.task not in desk.ending:
            desk.counts["never_arrived"] += 1
            vacate(desk, now, instance, attempt)
    if drained < instance.sent:
        return  # what we released or recalled may still be on its way
    unknown = [attempt for attempt in held if attempt not in instance.holdings and attempt not in instance.expected]
    if unknown:  # its report is over for us; should it run instead, the answer to a sync says so
        book = desk.order(instance).orders
        book.release += unknown
        book.sync = book.sync or now - instance.synced_ns >= desk.config.resync_ns


def _adopt(desk: Desk, now: Nanos, instance: Instance, said: messages.Holding) -> None:
    """An attempt that an earlier leader assigned and that this instance still has."""
    task, attempt, grant, state = said.task, said.attempt, vector(said.grant), said.state
    record = desk.custody.live.get(task)
    if state == "finished" and not rules.r4_finished_lives(record, attempt):
        if attempt not in instance.early:
            instance.expected.add(attempt)
        return
    if record is None:  # over, or never known: recall it
        instance.hold(attempt, Holding(task, None, grant, 0, state == "running", "the task has ended"))
        desk.order(instance).orders.stop.append(Stop(task, attempt, "the task has ended"))
        return
    holding = Holding(task, record, grant, 0, running=state != "waiting")
    instance.hold(attempt, holding)
    if state == "running":
        _guard(desk, now, instance, attempt, holding, record)
    older = list(record.live)
    record.live[attempt] = instance.incarnation
    desk.backlog.remove(record)
    desk.doubtful.pop(task, None)
    record.follow("adopt")
    if record.cancelled:
        stop_live(desk, record, "cancelled")
    elif older:  # two alive: the younger yields
        younger = max([*older, attempt])
        where = desk.registry.instances.get(record.live[younger])
        if where is not None and (yielding := where.holdings.get(younger)) is not None:
            stop(desk, where, younger, yielding, "another attempt of the task is alive")
