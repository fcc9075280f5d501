"""Placing: who goes next, on which instance, with how much - and, where nothing can be placed, why not.

Law: *filter, score, choose*. The filter (``refusal``) is one function, used for the decision and for ``why`` alike, so a
reason shown is the reason that counted. A step looks at the heads of demand classes until nothing more can be placed.
"""

from __future__ import annotations

from orchestrator.core import biding, billing, dependencies, preempting, reserving, workflows
from orchestrator.core.backlog import Queue
from orchestrator.core.desk import Desk
from orchestrator.core.filling import Fresh
from orchestrator.core.heads import Entry
from orchestrator.core.lanes import DemandClass
from orchestrator.core.limits import Shares
from orchestrator.core.pools import Pool
from orchestrator.core.records import Record
from orchestrator.core.registry import Holding, Instance
from orchestrator.core.settling import EXPIRED
from orchestrator.policies.placement import Candidate
from orchestrator.resources import Demand
from orchestrator.vocabulary import Attempt, Incarnation, Nanos, Service, TaskType, handler_of, plain_vector
from orchestrator.wire.facts import Ended
from orchestrator.wire.messages import LONGEST_NS, Assignment

STATES = {
    "syncing": "has not answered this coordinator yet",
    "deaf": "beats but does not read its queue",
    "missing": "its queue is gone with its broker; it may be back in a moment",
}
"""What the state of an instance means, where its name does not say it."""

NOTHING = Demand(())
"""What fits anywhere: refused for other reasons than room alone."""


def offers(instance: Instance, type_: TaskType) -> bool:
    """Whether the instance has the handler of this task type."""
    return handler_of(type_) in instance.handlers


def refusal(desk: Desk, instance: Instance, type_: TaskType, demand: Demand) -> str | None:
    """Why this instance cannot take such a task now; none: it can."""
    if instance.state != "ready":
        return STATES.get(instance.state, f"is {instance.state}")
    if not offers(instance, type_):
        return f"has no handler {handler_of(type_)!r}"
    if instance.full:
        return "has too many unreleased reports to take more"
    if (why := dependencies.obstacle(desk, instance)) is not None:
        return why
    if short := instance.shortages(demand):
        return ", ".join(map(str, short))
    return None


def place(desk: Desk, now: Nanos, service: Service, better: dict[Incarnation, Instance] | None) -> None:
    """Place tasks of one service until nothing more can be placed.

    Classes that fitted nowhere are looked at again if they fit on one of those instances that have got ``better`` since (none:
    whatever has changed): a decision must not cost a look at every class on every instance.
    """
    pool = desk.registry.pools.get(service)
    queue = desk.backlog.queues.get(service)
    if pool is None or queue is None:
        return
    reserving.tidy(queue, pool)
    if queue.biding:
        queue.look_again()
    patient = biding.patient(desk.policies.of(service).placement)
    if patient is not None:
        pool.toil.average(now, biding.WINDOW * desk.estimates.typical_ns(service))
    if better is not None:
        better |= queue.freed
    blocked = queue.blocked()
    again = [group for group in blocked if better is None or suited(desk, now, group, better)]
    for one in again:
        queue.unblock(one)
    if better is not None and any(one.reserved is not None for one in better.values()):
        keep_out(desk, queue, better)
    stuck = len(blocked) > len(again)
    only_better = set(again) if better is not None else set()
    fresh = Fresh(desk) if desk.policies.of(service).allocation.raises else None
    while pool.open and (group := queue.best()) is not None:
        if queue.freed and better is not None:
            better |= queue.freed
            only_better |= queue.released
        queue.forget_freed()
        head = group.head()
        assert head is not None
        record = head.record
        if record.id in desk.ending:
            desk.backlog.remove(record)  # its end is under way; should that be lost, so is this leader, and it waits anew
            record.follow("doubt")
            desk.doubtful[record.id] = record
            continue
        if record.task.deadline_ns is not None and record.task.deadline_ns <= now:
            desk.propose_end(record, Ended(record.id, "expired", now, error=EXPIRED))
            continue
        lane = record.place
        assert lane is not None
        if lane.shares and (short := desk.sharing.short(lane.shares, now)) is not None:
            desk.sharing.hold(desk, queue, lane, short, now)
            continue
        if better is not None and group in only_better and patient is None:  # only these may take it, and they get fuller meanwhile
            few = suited(desk, now, group, better)
            instance = choose(desk, now, pool, group, record) if len(few) > 1 else next(iter(few), None)
        else:
            instance = choose(desk, now, pool, group, record)
        if instance is not None and stuck:
            reserving.guard(desk, now, queue, pool, head)
            if not reserving.lets_in(desk, now, instance, head, group.demand):
                instance = choose(desk, now, pool, group, record)
        if instance is None:
            queue.block(group, kept_out=fits_where_reserved(desk, queue, group))
            stuck = True
            continue
        if patient is not None and (bides := biding.bides(desk, now, patient, pool, group, record, instance)) is not None:
            queue.bide(bides)
            continue
        attempt = assign(desk, now, head, instance, group.demand, lane.shares)
        if fresh is not None and not desk.sharing.caps(lane.shares):
            fresh.add(instance, attempt, group.demand)
        if lane.shares:
            if lane.delegate is not None:
                lane.delegate.forsaken(lane)
            desk.sharing.wake(desk, now)
    if fresh is not None:
        fresh.rise()
    pool.toil.busy = pool.busy
    preempting.consider(desk, now, queue, pool, lambda one, group: refusal(desk, one, group.type, NOTHING) is not None)


def choose(desk: Desk, now: Nanos, pool: Pool, group: DemandClass, record: Record) -> Instance | None:
    """An instance for such a task, as the placement policy would have it."""
    instances = pool.members

    def suits(candidate: Candidate) -> bool:
        one = instances[candidate.incarnation]
        return able(desk, one, group.type, group.demand) and (one.reserved is None or let_in(desk, now, one, group))

    policies = desk.policies.of(pool.service)
    question = pool.question(record, group.demand, policies.allocation, desk.estimates, desk.dice)
    chosen = policies.placement.choose(question, suits)
    return None if chosen is None else instances[chosen.incarnation]


def keep_out(desk: Desk, queue: Queue, better: dict[Incarnation, Instance]) -> None:
    """Those for whom there is room now, but where it would delay another, try again when that is over."""
    reserved = [one for one in better.values() if one.reserved is not None]
    for group in queue.blocked():
        if group.kept_out is None and any(able(desk, one, group.type, group.demand) for one in reserved):
            group.kept_out = group.head()


def fits_where_reserved(desk: Desk, queue: Queue, group: DemandClass) -> bool:
    """Whether there is room for it after all, on an instance that is reserved for another."""
    return any(able(desk, one.instance, group.type, group.demand) for one in queue.reservations.values())


def suited(desk: Desk, now: Nanos, group: DemandClass, some: dict[Incarnation, Instance]) -> list[Instance]:
    """Those of ``some`` that can take its head now."""
    return [
        one
        for one in some.values()
        if able(desk, one, group.type, group.demand) and (one.reserved is None or let_in(desk, now, one, group))
    ]


def let_in(desk: Desk, now: Nanos, instance: Instance, group: DemandClass) -> bool:
    """Whether its head may start on an instance that is reserved for another."""
    head = group.head()
    return head is not None and reserving.lets_in(desk, now, instance, head, group.demand)


def able(desk: Desk, instance: Instance, type_: TaskType, demand: Demand) -> bool:
    """Whether the instance can take such a task now; the quick look first."""
    return instance.fits(demand) and refusal(desk, instance, type_, demand) is None


def assign(desk: Desk, now: Nanos, entry: Entry, instance: Instance, demand: Demand, shares: Shares) -> Attempt:
    """Bind the task to the instance: at once in our books, on the wire at the end of the step."""
    record = entry.record
    task, handler = record.task, instance.handlers[record.handler]
    parents = workflows.inputs(desk, record) if task.after else []
    size = 100 + len(task.args) + len(record.checkpoint or b"") + sum(map(workflows.parent_bytes, parents))
    if desk.order(instance).orders.size + size > desk.config.orders_bytes_max and instance.orders.assign:
        desk.send_orders(instance, now)
    desk.attempts += 1
    attempt = Attempt(desk.epoch, desk.attempts)
    allocation = desk.policies.of(instance.service).allocation
    if shares:
        demand = desk.sharing.clipped(demand, shares)
    grant = allocation.grant(demand, reserving.share_for(instance, entry, demand))
    holding = Holding(record.id, record, grant, instance.sent + 1)
    if instance.devices:
        holding.devices = instance.pick(grant)
    if shares:
        holding.shares = desk.sharing.take(shares, grant, now)
    reserving.started(instance, entry, attempt, demand)
    desk.backlog.remove(record)
    instance.hold(attempt, holding)
    if instance.reserved is not None:
        reserving.taken(desk.backlog.queue(instance.service), instance)
    billing.charge(desk, now, instance, record, holding)
    record.live[attempt] = instance.incarnation
    record.follow("assign")
    record.assigned_ns = now
    record.started_ns = record.bided_ns = 0
    record.before_ns = record.ran_ns
    record.progress = None
    timeout_ns = task.timeout_ns if task.timeout_ns is not None else handler.timeout_ns
    book = instance.orders
    book.assign.append(
        Assignment(
            task.id,
            attempt.n,
            handler.name,
            task.args,
            plain_vector(grant),
            record.number,
            timeout_ns,
            task.deadline_ns,
            record.checkpoint,
            task.tenant,
            parents=parents,
            devices=holding.devices,
            ran_ns=min(record.ran_ns, LONGEST_NS),
        )
    )
    book.size += size
    desk.registry.touch(instance)
    desk.counts["assigned"] += 1
    if "assigned" not in desk.unheard:
        waited_s = (now - record.at_ns) / 1e9
        desk.note("assigned", task=task.id, attempt=str(attempt), instance=instance.name, waited_s=waited_s)
    return attempt
