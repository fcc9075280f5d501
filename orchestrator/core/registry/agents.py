"""What agents say of themselves: here I am, I am alive, this is what I hold, this started, this stopped.

Law: a soft word may be lost, late or doubled; each handler only moves towards what the agent says is so. An attempt leaves
the set of live ones for stated reasons alone (R4). How attempts ended is in ``reports``, farewells and silence in ``liveness``.
"""

from __future__ import annotations

from orchestrator.core import rules
from orchestrator.core.commands import Send
from orchestrator.core.custody import leadership, memory
from orchestrator.core.custody.records import Record
from orchestrator.core.desk import Desk
from orchestrator.core.events import Arrived
from orchestrator.core.registry import credence, dependencies, liveness
from orchestrator.core.registry.offences import offend
from orchestrator.core.registry.registry import QUEUE_PREFIX, Holding, Instance
from orchestrator.core.scheduler import billing, preempting
from orchestrator.core.tasks import reports
from orchestrator.core.tasks.settling import EXPIRED, OTHER_FIRST, go_on, let_go, recall, stop, stop_live, vacate
from orchestrator.resources import demand_of
from orchestrator.vocabulary import Attempt, Nanos, vector
from orchestrator.wire import messages
from orchestrator.wire.facts import Ended, Joined, Served
from orchestrator.wire.messages import Announce, Beat, Error, Held, Note, Notes, Orders, Report

FLOOR_MAX = 2**52
"""An agent that claims to know a higher epoch lies: epochs above would soon be more than messages can carry."""
REGISTRY = "registry"
"""Where these words come in."""
STRANGERS_MAX = 1000
"""Unknown incarnations remembered, so that each is asked who it is only now and then."""


def announced(desk: Desk, now: Nanos, event: Arrived) -> None:
    """An instance is there. A new one may hold work once its ``Joined`` is committed (R2)."""
    said = event.message
    assert isinstance(said, Announce)
    instance = desk.registry.instances.get(said.incarnation)
    if instance is None:
        if not desk.door.let_in(now, said, event.user, known=said.incarnation in desk.custody.joined):
            offend(
                desk,
                "crowded",
                REGISTRY,
                event.user,
                f"{said.instance} of {said.service} announced itself, one of too many at once",
            )
            return
        instance = desk.registry.add(Instance(said.incarnation, said.instance, said.service))
        instance.joined = said.incarnation in desk.custody.joined
        credence.introduced(desk, said.incarnation)
        desk.timers.at(now + desk.config.lease_ns, "lease", said.incarnation)
    if not credence.is_own(desk, instance, event, REGISTRY):
        return
    if instance.service != said.service:
        offend(
            desk, "forged", REGISTRY, event.user, f"{said.incarnation} is of {instance.service}, and says it is of {said.service}"
        )
        return
    if instance.announced is None:  # who announces it first; of an agent that never says as whom, nobody becomes the owner later
        instance.user = event.user
    _hear(desk, now, instance)
    if instance.announced != said:
        needed = dependencies.starts(instance)
        desk.registry.describe(instance, said)
        if instance.proven:
            _take_needs(desk, instance, said)
        if needed != dependencies.starts(instance):
            dependencies.judge(desk)
        dependencies.heed_start(desk, instance)
        desk.retouch(instance)
    if not desk.leading:
        return
    if instance.joined:
        _resync(desk, now, instance)
    else:
        _invite(desk, now, instance)


def _prove(desk: Desk, instance: Instance) -> None:
    """It has answered, so it is there: what it says of its service and its handlers counts from now on, not only of itself."""
    instance.proven = True
    if instance.announced is not None:
        _take_needs(desk, instance, instance.announced)
        if dependencies.starts(instance):
            dependencies.judge(desk)


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
        desk.estimates.hint(f"{said.service}.{handler.name}", handler.estimate_ns)


def beat(desk: Desk, now: Nanos, event: Arrived) -> None:
    """An instance is alive; its window is renewed when the leader echoes this (R9)."""
    said = event.message
    assert isinstance(said, Beat)
    instance = desk.registry.instances.get(said.incarnation)
    told = said.incarnation in desk.strangers if instance is None else instance.sent > 0
    if desk.leading and said.epoch == desk.epoch and not told and leadership.counts_anew(desk, now):
        return
    if instance is None:
        _greet(desk, now, said.incarnation)
        return
    if not credence.is_own(desk, instance, event, REGISTRY):
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
    if instance.announced is None and now - instance.synced_ns >= desk.config.resync_ns:
        desk.order(instance).sync = True  # what it has we know, what it offers was lost on the way: it says both when asked
    if instance.full:
        instance.full = False
        desk.retouch(instance)
    _drained(desk, now, instance, said.drained)
    if said.held is not None:
        _reconcile(desk, now, instance, said.drained, said.held)
    if said.draining and instance.state == "ready":
        liveness.drain(desk, instance, order=False)
    elif instance.unwanted and not said.draining:
        if instance.state == "ready":
            liveness.drain(desk, instance, order=True)  # it was deaf when an operator wanted it to leave
        elif instance.state == "draining" and now - instance.sent_ns > desk.config.deaf_ns:
            desk.order(instance).drain = True  # that was lost on the way: told once, it would stay, and get nothing


def held(desk: Desk, now: Nanos, event: Arrived) -> None:
    """The answer to a sync: what this instance has. From now on it may be given work (R2)."""
    said = event.message
    assert isinstance(said, Held)
    instance = desk.registry.instances.get(said.incarnation)
    if instance is None or instance.state in ("missing", "gone") or not credence.is_own(desk, instance, event, REGISTRY):
        return
    if said.epoch == desk.epoch and instance.answered == desk.epoch and said.seq < instance.heard:
        return  # late: what has become of its attempts since then we know already
    if said.epoch == desk.epoch:
        instance.asked_ns = 0
    _hear(desk, now, instance, said.seq)
    if not desk.leading or not instance.answered <= said.epoch <= desk.epoch:
        return  # it answers another leader
    strange = any(one.attempt.epoch == desk.epoch and one.attempt.n > desk.attempts for one in said.attempts)
    if strange and instance.answered != desk.epoch and leadership.counts_anew(desk, now):
        return
    before, instance.answered = instance.answered, said.epoch
    if not rules.r2_may_receive(instance, desk.epoch):
        instance.answered = before  # too early, this answers nothing: it is asked again, with its Joined or at a later beat
        return
    if not instance.proven:
        _prove(desk, instance)
    if instance.service not in desk.custody.served and len(desk.custody.served) < desk.config.services_max:
        desk.propose(Served(instance.service))  # once more in another reign, where that was lost
    instance.follow("answered")
    instance.orders.sync = False  # asked again in this very step: its answer would not count what else is in the same orders
    _drained(desk, now, instance, said.drained)
    known = desk.registry.instances
    formers = [old for name in said.before if (old := known.get(name)) is not None and liveness.same(old, instance)]
    handed = [record for former in formers for record in _hand_over(desk, former, said.attempts)]
    for one in said.attempts:
        if one.attempt not in instance.holdings:
            _adopt(desk, now, instance, one)
    for record in handed:
        if rules.r4_assignable(record) and record.state != "ended":
            go_on(desk, now, record)
    for former in formers:
        liveness.came_back(desk, now, former, instance)
    instance.early.clear()
    _reconcile(desk, now, instance, said.drained, [one.attempt for one in said.attempts])
    leadership.answered(desk, instance)
    if instance.unwanted and instance.state == "ready":
        liveness.drain(desk, instance, order=True)
    desk.retouch(instance)
    dependencies.heed(desk, instance.service)
    dependencies.tell(desk, instance)
    desk.note("ready", instance=instance.name, service=instance.service, incarnation=instance.incarnation, holds=len(said.attempts))


def _hand_over(desk: Desk, former: Instance, said: list[messages.Holding]) -> list[Record]:
    """What its heir has of it belongs to the heir from now on. Returns the tasks whose attempts that are."""
    found = []
    for one in said:
        holding = let_go(desk, former, one.attempt)
        if holding is not None and holding.record is not None:
            desk.lapse(one.attempt, holding.task)  # should it not be adopted, its report is true all the same
            found.append(holding.record)
    return found


def notes(desk: Desk, now: Nanos, event: Arrived) -> None:
    """Soft words about attempts."""
    said = event.message
    assert isinstance(said, Notes)
    instance = desk.registry.instances.get(said.incarnation)
    if instance is None or not desk.leading or not credence.is_own(desk, instance, event, REGISTRY):
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
        if record is not None:
            record.wait_for(note.attempt, note.saved)
        if note.what == "refused":
            desk.note("refused", task=note.task, attempt=str(note.attempt), instance=instance.name, why=note.text)
            instance.full = instance.full or note.text == "full"  # or it would be offered the same task again at once, in a circle
            if note.text == "expired" and record is not None:
                _too_late(desk, now, instance, record)
        elif holding.stopping == "timeout" and record is not None:
            error = Error("timeout", "the attempt ran past its timeout and was stopped by the coordinator")
            report = Report(record.id, note.attempt, "failed", error=error)
            reports.failed(desk, now, report, instance, instance.name)
            return
        if note.what == "stopped":
            preempting.yielded(desk, now, instance, note.attempt, holding)
        vacate(desk, now, instance, note.attempt)


def _too_late(desk: Desk, now: Nanos, instance: Instance, record: Record) -> None:
    """It says that the task's deadline has passed. If we do not think so, its clock is ahead of ours, and ours decides: it is told
    no deadline any more, or it would be offered the same task again at once, in a circle."""
    deadline_ns = record.task.deadline_ns
    if deadline_ns is None or deadline_ns <= now:
        desk.propose_end(record, Ended(record.id, "expired", now, error=EXPIRED))
    elif not instance.hasty:
        instance.hasty = True
        desk.note("hasty", instance=instance.name, task=record.id, left_s=(deadline_ns - now) / 1e9)


def _started(desk: Desk, now: Nanos, instance: Instance, attempt: Attempt, holding: Holding) -> None:
    record = holding.record
    holding.running = True
    if record is None or record.state == "ended":
        return
    record.follow("started")
    record.started_ns = record.started_ns or now
    _guard(desk, now, instance, attempt, holding, record)
    preempting.started(desk, instance)


def _guard(desk: Desk, now: Nanos, instance: Instance, attempt: Attempt, holding: Holding, record: Record) -> None:
    """The agent ends the attempt by its timeout; should it not, we recall it a while later."""
    handler = instance.handlers.get(record.handler)
    timeout_ns = record.task.timeout_ns if record.task.timeout_ns is not None else handler.timeout_ns if handler else None
    if timeout_ns is not None and not holding.backstop_ns:
        holding.backstop_ns = now + timeout_ns + desk.config.margin_ns
        desk.timers.at(holding.backstop_ns, "backstop", instance.incarnation, attempt.n)


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
    if not desk.leading or now - desk.strangers.get(incarnation, 0) < desk.config.resync_ns or not desk.door.greets(now):
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
    elif instance.state == "missing":
        instance.follow("resync")
    desk.order(instance).sync = True


def _drained(desk: Desk, now: Nanos, instance: Instance, drained: int) -> None:
    """How far it has read its queue. One that beats but does not read is deaf: it gets nothing, is echoed no more, and so ends."""
    if drained > instance.drained or drained >= instance.sent:
        instance.drained, instance.drained_ns = max(drained, instance.drained), now
        if instance.state == "deaf":
            instance.follow("hear")
            desk.retouch(instance)
            dependencies.heed(desk, instance.service)
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
    for attempt in held:
        recalled = instance.holdings.get(attempt)
        if recalled is not None and recalled.stopping and now - recalled.recalled_ns > desk.config.deaf_ns:
            recall(desk, instance, attempt, recalled)  # that was lost: told once, what nobody wants would keep its place
    released = set(instance.orders.release)  # they have not left yet
    unknown = [one for one in held if not (one in instance.holdings or one in instance.expected or one in released)]
    if unknown:  # its report is over for us; should it run instead, the answer to a sync says so
        book = desk.order(instance)
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
    if record is None or record.live.get(attempt, instance.incarnation) != instance.incarnation:
        # over, or never known, or it is said of an attempt that another one has: recall it
        why = "the task has ended"
        if record is None and 0 < attempt.epoch < desk.epoch and task not in desk.custody.graves:
            why = "nobody knows this task any more"
            memory.miss(desk, task, instance.incarnation)
        elif record is not None:
            why = "another instance has this attempt"
        over = Holding(task, None, grant, 0, state == "running", why, devices=said.devices)
        instance.hold(attempt, over)
        recall(desk, instance, attempt, over)
        return
    if any(failure.attempt == attempt and rules.r8_over(failure) for failure in record.failures):
        return  # its own report has come before this answer
    holding = Holding(task, record, grant, 0, running=state != "waiting", devices=said.devices)
    if state != "finished":
        holding.shares = desk.sharing.held(desk, record, grant)
    instance.hold(attempt, holding)
    desk.sharing.count(holding.shares)
    billing.charge(desk, now, instance, record, holding)
    if state == "running":
        _guard(desk, now, instance, attempt, holding, record)
    record.given(attempt, instance.incarnation)
    desk.backlog.remove(record)
    desk.doubtful.pop(task, None)
    desk.saving.pop(task, None)  # what it waits for is waited for still, should this come to nothing
    record.follow("adopt")
    if record.cancelled:
        stop_live(desk, record, "cancelled")
        return
    if not rules.r16_may_start(desk.custody.keys, task):
        stop_live(desk, record, OTHER_FIRST)  # it was told so already, and that may have been lost with the reign
        return
    wanted = sorted(one for one, where in record.live.items() if not desk.registry.instances[where].holdings[one].stopping)
    for younger in wanted[1:]:  # two alive, or, if somebody lies, more: all but the oldest yield
        where = desk.registry.instances[record.live[younger]]
        stop(desk, where, younger, where.holdings[younger], "another attempt of the task is alive")
