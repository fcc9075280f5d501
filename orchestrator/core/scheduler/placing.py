"""Placing: who goes next, on which instance, with how much - and, where nothing can be placed, why not.

Law: *filter, score, choose*. The filter (``refusal``) is one function, used for the decision and for ``why`` alike, so a
reason shown is the reason that counted. A step looks at the heads of demand classes until nothing more can be placed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from orchestrator.core.custody.records import Record
from orchestrator.core.desk import Desk
from orchestrator.core.registry import dependencies
from orchestrator.core.registry.pools import Pool
from orchestrator.core.registry.registry import Holding, Instance, Orderbook
from orchestrator.core.resources.filling import Fresh
from orchestrator.core.scheduler import biding, billing, preempting, reserving
from orchestrator.core.scheduler.biding import Biding
from orchestrator.core.scheduler.choices import PoolChoice
from orchestrator.core.scheduler.heads import Entry
from orchestrator.core.scheduler.lanes import DemandClass, Lane
from orchestrator.core.scheduler.queues import Queue
from orchestrator.core.tasks import workflows
from orchestrator.core.tasks.settling import EXPIRED
from orchestrator.policies.placement import Candidate, Patient
from orchestrator.resources import Demand
from orchestrator.vocabulary import Attempt, Incarnation, Nanos, Service, TaskType, handler_of, plain_vector
from orchestrator.wire.facts import Ended
from orchestrator.wire.messages import LONGEST_NS, Assignment, Handler, Parent

Amounts: TypeAlias = dict[str, int | float]

STATES = {
    "syncing": "has not answered this coordinator yet",
    "deaf": "beats but does not read its queue",
    "missing": "its queue is gone with its broker; it may be back in a moment",
}
"""What the state of an instance means, where its name does not say it."""


def offers(instance: Instance, type_: TaskType) -> bool:
    """Whether the instance has the handler of this task type."""
    return handler_of(type_) in instance.handlers


def closed(desk: Desk, instance: Instance, type_: TaskType) -> str | None:
    """Why this instance would not take a task of that type whatever it had free; none: it would."""
    if instance.state != "ready":
        return STATES.get(instance.state, f"is {instance.state}")
    if (handler := handler_of(type_)) not in instance.handlers:
        return f"has no handler {handler!r}"
    if instance.full:
        return "has too many unreleased reports to take more"
    return dependencies.obstacle(desk, instance)


def refusal(desk: Desk, instance: Instance, type_: TaskType, demand: Demand) -> str | None:
    """Why this instance cannot take such a task now; none: it can."""
    why = closed(desk, instance, type_)
    if why is None and (short := instance.shortages(demand)):
        return ", ".join(map(str, short))
    return why


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
    if queue.classes:
        Look(desk, now, pool, queue, better, patient).take()
    queue.forget_freed()  # also where limits hold all back who were kept out: when these come again, others have got better
    if patient is not None:
        pool.toil.busy = pool.busy
    preempting.consider(desk, now, queue, pool, lambda one, group: closed(desk, one, group.type) is not None)


class Look:
    """A look at those of one service that wait, in order, until nobody else can start."""

    def __init__(
        self, desk: Desk, now: Nanos, pool: Pool, queue: Queue, better: dict[Incarnation, Instance] | None, patient: Patient | None
    ) -> None:
        self.desk, self.now, self.pool, self.queue = desk, now, pool, queue
        self.better = better
        """Where those that fitted nowhere may fit now; none: anywhere."""
        self.confined: set[DemandClass] = set()
        """Classes that can fit on these alone. (Asked for membership only.)"""
        self.takers: dict[TaskType, list[Instance]] = {}
        """Of ``better``, those that would take a task of that type if they had room."""
        self.stuck = False
        """Whether somebody fits nowhere: who starts behind must not delay the first of these."""
        self.patient = patient
        """The placement, if it ever has tasks wait for a faster instance."""
        self.governing = desk.policies.of(queue.service)
        self.asked: DemandClass | None = None
        """For whose tasks the placement was asked last; and what it was asked."""
        self.question: PoolChoice
        self.suits: Callable[[Candidate], bool]
        self.fresh = Fresh(desk) if self.governing.allocation.raises else None

    def take(self) -> None:
        """Start whoever can."""
        desk, pool, queue = self.desk, self.pool, self.queue
        self._try_again()
        while pool.open and (group := queue.best()) is not None:
            if queue.freed:
                self._heed_freed()
            assert group.queued is not None
            head = group.queued[0]
            lane = head.record.place
            assert lane is not None
            if not self._is_to_start(head) or (lane.shares and self._is_limited(lane)):
                continue
            instance = self._place_for(group, head)
            if instance is None:
                queue.block(group, kept_out=fits_where_reserved(desk, queue, group))
                self.stuck = True
            elif self.patient is not None and (bides := self._bides(self.patient, group, head, instance)) is not None:
                queue.bide(bides)
            else:
                self._start(group, head, lane, instance)
        if self.fresh is not None:
            self.fresh.rise()

    def _try_again(self) -> None:
        """Of those that fitted nowhere, who may fit where something got better, and who would now if that did not delay another."""
        queue = self.queue
        blocked = queue.blocked()
        if self.better is None:
            for group in blocked:
                queue.unblock(group)
            return
        self.better |= queue.freed
        if not blocked:
            return
        again = [group for group in blocked if self._suited(group)]
        for group in again:
            queue.unblock(group)
        self.confined.update(again)
        if any(one.reserved is not None for one in self.better.values()):
            keep_out(self.desk, queue, self.better)
        self.stuck = len(blocked) > len(again)

    def _heed_freed(self) -> None:
        """A reservation has ended: who was kept out of that instance may have it."""
        if self.better is not None:
            self.better |= self.queue.freed
            self.confined |= self.queue.released
            self.takers.clear()
        self.queue.forget_freed()

    def _is_to_start(self, head: Entry) -> bool:
        """Whether this task still wants to: its end may be under way, or its deadline over."""
        desk, record = self.desk, head.record
        if record.id in desk.ending:
            desk.backlog.remove(record)  # its end is under way; should that be lost, so is this leader, and it waits anew
            record.follow("doubt")
            desk.doubtful[record.id] = record
            return False
        if record.task.deadline_ns is not None and record.task.deadline_ns <= self.now:
            desk.propose_end(record, Ended(record.id, "expired", self.now, error=EXPIRED))
            return False
        return True

    def _is_limited(self, lane: Lane) -> bool:
        """Whether a limit has no room for it: then the lane waits there."""
        short = self.desk.sharing.short(lane.shares, self.now)
        if short is not None:
            self.desk.sharing.hold(self.desk, self.queue, lane, short, self.now)
        return short is not None

    def _place_for(self, group: DemandClass, head: Entry) -> Instance | None:
        """Where this task starts now; none: nowhere."""
        if group in self.confined and self.patient is None:  # only these may take it, and they get fuller meanwhile
            few = self._suited(group)
            instance = self._choose(group, head) if len(few) > 1 else few[0] if few else None
        else:
            instance = self._choose(group, head)
        if instance is not None and self.stuck:
            reserving.guard(self.desk, self.now, self.queue, self.pool, head)
            if not reserving.lets_in(self.desk, self.now, instance, head, group.demand):
                return self._choose(group, head)
        return instance

    def _bides(self, patient: Patient, group: DemandClass, head: Entry, here: Instance) -> Biding | None:
        """Whether it would rather wait than start there."""
        return biding.bides(self.desk, self.now, patient, self.pool, group, head.record, here)

    def _choose(self, group: DemandClass, head: Entry) -> Instance | None:
        """An instance for it, as the placement policy would have it."""
        if self.asked is not group:
            self._ask_for(group, head.record)
        self.question.record = head.record
        chosen = self.governing.placement.choose(self.question, self.suits)
        return None if chosen is None else self.pool.members[chosen.incarnation]

    def _ask_for(self, group: DemandClass, record: Record) -> None:
        """From now on tasks of this class. What closes an instance to them does not change while we look."""
        desk, now, instances, demand = self.desk, self.now, self.pool.members, group.demand
        takes: dict[Incarnation, bool] = {}

        def suits(candidate: Candidate) -> bool:
            one = instances[candidate.incarnation]
            if (open_ := takes.get(one.incarnation)) is None:
                open_ = takes[one.incarnation] = closed(desk, one, group.type) is None
            return open_ and one.fits(demand) and (one.reserved is None or let_in(desk, now, one, group))

        self.asked, self.suits = group, suits
        self.question = PoolChoice(self.pool, record, demand, self.governing.allocation, desk.estimates, desk.dice)

    def _suited(self, group: DemandClass) -> list[Instance]:
        """Those of ``better`` that can take its head now."""
        takers = self.takers.get(group.type)
        if takers is None:
            assert self.better is not None
            takers = [one for one in self.better.values() if closed(self.desk, one, group.type) is None]
            self.takers[group.type] = takers
        return [
            one for one in takers if one.fits(group.demand) and (one.reserved is None or let_in(self.desk, self.now, one, group))
        ]

    def _start(self, group: DemandClass, head: Entry, lane: Lane, instance: Instance) -> None:
        """Bind the task to the instance: at once in our books, on the wire at the end of the step."""
        desk, now, queue, record = self.desk, self.now, self.queue, head.record
        parents = workflows.inputs(desk, record) if record.task.after else []
        book = self._book(instance, record, parents)
        desk.attempts += 1
        attempt = Attempt(desk.epoch, desk.attempts)
        demand, shares, grant = group.demand, lane.shares, group.granted
        if group.elastic:
            if shares:
                demand = desk.sharing.clipped(demand, shares)
            grant = self.governing.allocation.grant(demand, reserving.share_for(instance, head, demand))
            if grant != group.granted:
                group.granted, group.told = grant, plain_vector(grant)
        holding = Holding(record.id, record, grant, instance.sent + 1)
        if instance.devices:
            holding.devices = instance.pick(grant)
        if shares:
            holding.shares = desk.sharing.take(shares, grant, now)
        if instance.reserved is not None:
            reserving.started(instance, head, attempt, demand)
        queue.remove(record)
        instance.hold(attempt, holding)
        if instance.reserved is not None:
            reserving.taken(queue, instance)
        if queue.by_tenant:
            billing.charge(desk, now, instance, record, holding)
        record.assigned(attempt, instance.incarnation, now)
        handler = instance.handlers[group.handler]
        deadline_ns = None if instance.hasty else record.task.deadline_ns
        book.assign.append(assignment(record, attempt, handler, group.told, parents, holding.devices, deadline_ns))
        self.pool.touch(instance)
        desk.counts["assigned"] += 1
        if "assigned" not in desk.unheard:
            waited_s = (now - record.at_ns) / 1e9
            desk.note("assigned", task=record.id, attempt=str(attempt), instance=instance.name, waited_s=waited_s)
        if self.fresh is not None and not desk.sharing.caps(shares):
            self.fresh.add(instance, attempt, group.demand)
        if shares:
            if lane.delegate is not None:
                lane.delegate.forsaken(lane)
            desk.sharing.wake(desk, now)

    def _book(self, instance: Instance, record: Record, parents: list[Parent]) -> Orderbook:
        """The order book of that instance, with room for this task: a full one leaves first."""
        size = 100 + len(record.task.args)
        if record.checkpoint is not None or parents:
            size += len(record.checkpoint or b"") + sum(map(workflows.parent_bytes, parents))
        book = instance.orders
        self.desk.touched[instance.incarnation] = instance
        if book.assign and book.size + size > self.desk.config.orders_bytes_max:
            self.desk.send_orders(instance, self.now)
            book = instance.orders
        book.size += size
        return book


def assignment(
    record: Record,
    attempt: Attempt,
    handler: Handler,
    grant: Amounts,
    parents: list[Parent],
    devices: dict[str, list[str]],
    deadline_ns: Nanos | None,
) -> Assignment:
    """What its agent is told."""
    task = record.task
    return Assignment(
        task.id, attempt.n, handler.name, task.args, grant, record.number,
        handler.timeout_ns if task.timeout_ns is None else task.timeout_ns, deadline_ns, record.checkpoint, task.tenant,
        parents, devices, min(record.ran_ns, LONGEST_NS),
    )  # fmt: skip


def keep_out(desk: Desk, queue: Queue, better: dict[Incarnation, Instance]) -> None:
    """Those for whom there is room now, but where it would delay another, try again when that is over."""
    reserved = [one for one in better.values() if one.reserved is not None]
    for group in queue.blocked():
        if group.kept_out is None and any(able(desk, one, group.type, group.demand) for one in reserved):
            group.kept_out = group.head()


def fits_where_reserved(desk: Desk, queue: Queue, group: DemandClass) -> bool:
    """Whether there is room for it after all, on an instance that is reserved for another."""
    return any(able(desk, one.instance, group.type, group.demand) for one in queue.reservations.values())


def let_in(desk: Desk, now: Nanos, instance: Instance, group: DemandClass) -> bool:
    """Whether its head may start on an instance that is reserved for another."""
    head = group.head()
    return head is not None and reserving.lets_in(desk, now, instance, head, group.demand)


def able(desk: Desk, instance: Instance, type_: TaskType, demand: Demand) -> bool:
    """Whether the instance can take such a task now; the quick look first."""
    return instance.fits(demand) and closed(desk, instance, type_) is None
