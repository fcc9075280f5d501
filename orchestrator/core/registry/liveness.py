"""Who is still there: farewells, evidence of death, silence.

Law: an instance is gone when a living broker says that its connection has broken off, on its farewell, or when its lease is over.
Nobody is declared dead because *we* cannot hear: while the broker is alarmed, or all are silent at once, leases stand still.

A queue that is gone without that word is weaker evidence: it may have gone with the broker, or with a node of it, or because its
connection was closed in good order, as a node does that is told to stop, under an agent that lives, has finished work it could
not report, and will be back in a moment under a new name. Such an instance is *missing*: what it held moves when its heir has said
what of that is finished, when nobody has come back in time, or with its lease.
"""

from __future__ import annotations

from orchestrator.core import rules
from orchestrator.core.custody import leadership
from orchestrator.core.desk import Desk
from orchestrator.core.events import Arrived, BrokerBlocked, QueueDeleted, Returned
from orchestrator.core.registry import credence, dependencies
from orchestrator.core.registry.registry import Instance
from orchestrator.core.tasks.settling import lose, stop, vacate
from orchestrator.vocabulary import NS_PER_S, Nanos
from orchestrator.wire.facts import Parted
from orchestrator.wire.messages import Leave

CUT = "its connection to the broker is gone"
CLOSED = "its connection was closed in good order, by itself or by a node of the broker that stops"
SWEPT = "the broker's node that it was connected to is gone"
SILENT = "its connection ended while nobody could renew its window"


def left(desk: Desk, now: Nanos, event: Arrived) -> None:
    """Goodbye: it holds nothing."""
    said = event.message
    assert isinstance(said, Leave)
    instance = desk.registry.instances.get(said.incarnation)
    if instance is not None and credence.is_own(desk, instance, event, "registry"):
        gone(desk, now, instance, said.reason or "it said goodbye", farewell=True)


def returned(desk: Desk, now: Nanos, event: Returned) -> None:
    """Orders for it found no queue. What was assigned in them it never had: that goes elsewhere at once, and nothing counts against
    it, however many died in one moment and are still believed alive."""
    instance = desk.registry.instances.get(event.incarnation)
    if instance is None or not desk.leading:
        return
    for attempt, holding in list(instance.holdings.items()):
        if rules.r4_undelivered(attempt, holding.sent, event.epoch, event.seq):
            desk.counts["never_arrived"] += 1
            vacate(desk, now, instance, attempt)
    if instance.state == "gone":
        _bury_instance(desk, instance)
    else:
        miss(desk, now, instance, "its queue does not exist: orders for it came back")


def queue_deleted(desk: Desk, now: Nanos, event: QueueDeleted) -> None:
    """Its exclusive queue went with its connection, or with the node that had it. Who follows remembers, for its own reign."""
    instance = desk.registry.instances.get(event.incarnation)
    if not rules.r4_end_is_proof(event.how, now, desk.stirred_ns, desk.blocked, desk.config.quiet_ns):
        if instance is not None:
            # Were all silent until now, it was shut out as long as we: of leases that stand still none is over.
            miss(desk, now, instance, {"broken": SILENT, "closed": CLOSED, "swept": SWEPT}[event.how], desk.calm_ns)
        return
    if event.incarnation in desk.custody.joined:
        desk.deaths[event.incarnation] = None
    if instance is not None:
        gone(desk, now, instance, CUT)


def heed_deaths(desk: Desk, now: Nanos) -> None:
    """We lead from here, and saw some of those end whom the ledger still has: nobody waits for them."""
    for incarnation in list(desk.deaths):
        if (instance := desk.registry.instances.get(incarnation)) is not None:
            gone(desk, now, instance, CUT)


def miss(desk: Desk, now: Nanos, instance: Instance, why: str, calm_ns: Nanos = 0) -> None:
    """Its queue is gone: it may be back as another incarnation in a moment, with what it had finished (R4)."""
    if not desk.leading or instance.state in ("missing", "gone"):
        return
    over = max(instance.over_ns, desk.calm_ns if desk.blocked else calm_ns)
    until = rules.r4_may_return_until(now, over, desk.config.return_ns)
    holds = instance.holdings or instance.incarnation in desk.registry.pool(instance.service).unanswered
    if until <= now or not holds:
        gone(desk, now, instance, why)
        return
    instance.follow("miss")
    instance.answered = 0  # should it be heard again all the same, it is asked what it has
    instance.return_ns = until
    desk.timers.at(until, "return", instance.incarnation)
    desk.registry.touch(instance)
    desk.note("missing", instance=instance.name, service=instance.service, incarnation=instance.incarnation, why=why)


def return_over(desk: Desk, now: Nanos, incarnation: str) -> None:
    """Nobody has come back as its heir."""
    instance = desk.registry.instances.get(incarnation)
    if instance is None or instance.state != "missing" or now < instance.return_ns:
        return
    if desk.blocked or _knocks(desk, instance):  # nobody who came back could say so; or somebody has, and is not taken in yet
        instance.return_ns = now + (desk.config.lease_ns if desk.blocked else NS_PER_S)
        desk.timers.at(instance.return_ns, "return", incarnation)
    else:
        gone(desk, now, instance, "its queue is gone, and it has not come back")


def _knocks(desk: Desk, former: Instance) -> bool:
    """Whether somebody of its name is here, and has not said yet what came of what the former one held: a ledger that is slow to be
    read back keeps it waiting."""
    return any(same(former, one) and one.state in ("joining", "syncing") for one in desk.registry.namesakes(former))


def same(former: Instance, heir: Instance) -> bool:
    """Whether the one may be the other under a former name: what an agent says of others is not heeded."""
    alike = (former.service, former.name) == (heir.service, heir.name) and former.user in ("", heir.user)
    return alike and former is not heir


def came_back(desk: Desk, now: Nanos, former: Instance, heir: Instance) -> None:
    """Its agent is here again under another name, and says itself that nothing of the former runs (R5). Nothing is held against
    the tasks: it lives, so they did not kill it.
    """
    if former.state != "gone":
        gone(desk, now, former, f"it has come back as {heir.incarnation}", back=True)
        return
    for attempt in list(former.holdings):
        vacate(desk, now, former, attempt)
    leadership.answered(desk, former)
    _bury_instance(desk, former)


def broker_blocked(desk: Desk, now: Nanos, event: BrokerBlocked) -> None:
    """An alarm stops beats and orders alike: while it lasts, and a lease after, silence means nothing."""
    desk.blocked = event.blocked
    desk.calm_ns = max(desk.calm_ns, now + desk.config.lease_ns)
    desk.note("broker_blocked" if event.blocked else "broker_unblocked")


def gone(
    desk: Desk, now: Nanos, instance: Instance, why: str,
    *, lease_over: bool = False, farewell: bool = False, back: bool = False,
) -> None:  # fmt: skip
    """This incarnation is no more: its attempts are not alive, its tasks move on at once (P3).

    Tasks that must never overlap wait for the lease, whatever the evidence, unless its agent is ``back`` and says so itself.
    """
    if instance.state == "gone":
        return
    instance.follow("lose")
    over = lease_over or back or now >= instance.over_ns
    if not over and instance.incarnation in desk.registry.pool(instance.service).unanswered:
        leadership.fence(desk, instance)
    leadership.answered(desk, instance)
    desk.counts["instances_lost"] += 1
    moved = 0
    for attempt, holding in list(instance.holdings.items()):
        record = holding.record
        if back:
            vacate(desk, now, instance, attempt)
            moved += 1
        elif record is not None and record.task.overlap == "never" and not over:
            desk.timers.at(instance.over_ns, "fence", instance.incarnation, attempt.n)
        elif desk.leading:
            lose(desk, now, instance, attempt, holding)
            moved += 1
    told = {"instance": instance.name, "service": instance.service, "incarnation": instance.incarnation, "why": why, "moved": moved}
    if moved or instance.proven or instance.announced is None:
        desk.note("instance_left" if farewell and not moved else "instance_gone", **told)
    else:
        desk.door.ghost(now, instance.user)
        desk.note("stranger_gone", **told)
    desk.registry.touch(instance)
    _bury_instance(desk, instance)
    if dependencies.starts(instance):
        dependencies.judge(desk)


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
            desk.order(instance).sync = True  # or it was the last one: if its queue is gone, these orders come back
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
    book = desk.order(instance)  # it leaves once it is released from all that it has reported: what waits for company goes now
    book.drain = book.drain or order
    desk.retouch(instance)
    desk.note("draining", instance=instance.name, service=instance.service, holds=len(instance.holdings))
