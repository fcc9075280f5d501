"""Preempting: the first that cannot start may have a running task asked to make room.

Law: cooperative and profitable only. Whether it pays is said by the terms of the ordering in force (``policies.preemption``); here
it is found out who could yield. Asked are only attempts of handlers that declared themselves ``preemptible``. The agent passes
the request on; the handler saves a checkpoint and stops, or goes on to its end: nobody is killed. Who has not yielded within the
grace is left alone for the rest of this attempt.

A preempted task has not failed: it waits again under its old arrival time, with what remains of it as its size, and its next
attempt, wherever that is, gets the checkpoint. The place is kept for the task it was made for (``reserving``). One request at a
time is under way for a service's first head: a place about to be free is one that nobody needs to be asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from heapq import heappop, heappush
from typing import NamedTuple, TypeAlias

from orchestrator.core.custody.records import Record
from orchestrator.core.desk import Desk
from orchestrator.core.estimates.remaining import rest
from orchestrator.core.registry.pools import Pool
from orchestrator.core.registry.registry import Holding, Instance
from orchestrator.core.scheduler import biding, reserving
from orchestrator.core.scheduler.heads import Entry
from orchestrator.core.scheduler.lanes import DemandClass
from orchestrator.core.scheduler.queues import Queue, heads_of
from orchestrator.policies.preemption import Preemption, Squeeze
from orchestrator.vocabulary import Attempt, Nanos, Service
from orchestrator.wire.facts import Preempted
from orchestrator.wire.messages import Stop

REASON = "a more urgent task needs its place"
Closed: TypeAlias = Callable[[Instance, DemandClass], bool]


class Runner(NamedTuple):
    """An attempt whose end would make room."""

    rest_ns: Nanos
    instance: Instance
    attempt: Attempt
    holding: Holding


def terms_of(desk: Desk, service: Service) -> Preemption | None:
    """The terms on which the ordering in force preempts; none: it does not."""
    return desk.policies.of(service).ordering.preemption


def consider(desk: Desk, now: Nanos, queue: Queue, pool: Pool, closed: Closed) -> None:
    """Everything that can be placed is. Should the first that is left have somebody asked to make room?

    ``closed``: whether an instance would not take such a task whatever it had free.
    """
    terms = terms_of(desk, queue.service)
    if terms is None:
        return
    load = pool.load.average(now, terms.window_ns)
    pool.load.busy = pool.busy
    found = _first(desk, now, queue, pool)
    if found is None:
        return
    group, head = found
    if head.record.id in desk.ending or biding.of(desk, head.record) is not None:
        return
    reservation = head.record.reserved
    if reservation is not None and reservation.victim is not None:
        return  # somebody was asked already
    rest_ns = rest(desk, head.record, now)
    if rest_ns is None:
        return
    squeeze = Squeeze(rest_ns, 0, 0, queue.size, max(1.0, pool.places), load, desk.estimates.typical_ns(queue.service))
    victim = _victim(desk, now, queue, pool, group, terms, squeeze, closed)
    if victim is not None:
        _ask(desk, now, queue, group, head.record, victim, terms)


def _first(desk: Desk, now: Nanos, queue: Queue, pool: Pool) -> tuple[DemandClass, Entry] | None:
    """The first that could start if there were room: one that nobody would take, or that a limit holds back, could not."""
    heads = heads_of(queue.classes.values())
    while heads:
        head, number, group = heappop(heads)
        lane = head.record.place
        assert lane is not None
        if not reserving.has_taker(desk, pool, group):
            continue
        short = desk.sharing.short(lane.shares, now) if lane.shares else None
        if short is None:
            return group, head
        desk.sharing.hold(desk, queue, lane, short, now)
        if (after := group.head()) is not None:
            heappush(heads, (after, number, group))
    return None


def _victim(
    desk: Desk, now: Nanos, queue: Queue, pool: Pool, group: DemandClass, terms: Preemption, squeeze: Squeeze, closed: Closed
) -> Runner | None:
    """Whom it pays to ask: of those that may yield and would make room, who has most left."""
    enough_ns = terms.enough_ns(squeeze)
    least_ns: Nanos | None = None
    most: Runner | None = None
    for instance in pool.members.values():
        if instance.shortages(group.demand, idle=True) or closed(instance, group):
            continue
        for attempt, holding in instance.holdings.items():
            if not instance.fits_without(group.demand, holding):
                continue
            left_ns = _left_ns(desk, holding, now)
            if left_ns is None:
                continue  # nobody knows: it is no reason to wait, nor one to stop it
            if left_ns < enough_ns:
                return None  # it makes room soon enough by itself
            least_ns = left_ns if least_ns is None else min(least_ns, left_ns)
            if (most is None or left_ns > most.rest_ns) and _may_yield(instance, holding, terms):
                ripe_ns = holding.record.started_ns + terms.ripe_ns() if holding.record is not None else 0
                if ripe_ns <= now:
                    most = Runner(left_ns, instance, attempt, holding)
                elif not now < queue.look_ns <= ripe_ns:
                    queue.look_ns = ripe_ns
                    desk.timers.at(ripe_ns, "ripe", queue.service)
    if most is None or least_ns is None or not terms.pays(replace(squeeze, least_ns=least_ns, most_ns=most.rest_ns)):
        return None
    return most


def _left_ns(desk: Desk, holding: Holding, now: Nanos) -> Nanos | None:
    """How long until it ends; those that are being stopped, or were asked to make room, are as good as over."""
    if holding.record is None or holding.stopping or (holding.asked_ns and not holding.unyielding):
        return 0
    return rest(desk, holding.record, now)


def _may_yield(instance: Instance, holding: Holding, terms: Preemption) -> bool:
    record = holding.record
    if record is None or not holding.running or holding.stopping or holding.asked_ns or not record.started_ns:
        return False
    handler = instance.handlers.get(record.handler)
    return handler is not None and handler.preemptible and terms.may_yield(record.preemptions)


def _ask(desk: Desk, now: Nanos, queue: Queue, group: DemandClass, head: Record, runner: Runner, terms: Preemption) -> None:
    instance, attempt, holding = runner.instance, runner.attempt, runner.holding
    holding.asked_ns = now
    desk.order(instance).stop.append(Stop(holding.task, attempt, REASON, preempt=True))
    desk.timers.at(now + terms.grace_ns, "yield", instance.incarnation, attempt.n)
    reserving.keep_for(desk, now, queue, group, instance, attempt)
    desk.note(
        "preempting", task=holding.task, attempt=str(attempt), instance=instance.name, urgent=head.id, left_s=runner.rest_ns / 1e9
    )


def started(desk: Desk, instance: Instance) -> None:
    """An attempt runs there, so it may be asked to make room."""
    if terms_of(desk, instance.service) is not None and desk.backlog.queue(instance.service).size:
        desk.stir(instance.service)


def grace_over(desk: Desk, now: Nanos, incarnation: str, n: int) -> None:
    """It was asked to make room and runs on: leave it alone. Somebody else may be asked."""
    instance = desk.registry.instances.get(incarnation)
    if instance is None or not desk.leading:
        return
    for attempt, holding in instance.holdings.items():
        if attempt.n != n or not holding.asked_ns or holding.unyielding:
            continue
        holding.unyielding = True
        desk.counts["unyielding"] += 1
        desk.note("unyielding", task=holding.task, attempt=str(attempt), instance=instance.name)
        if instance.reserved is not None and instance.reserved.victim == attempt:
            desk.backlog.queue(instance.service).unreserve(instance.reserved)
        desk.stir(instance.service)


def yielded(desk: Desk, now: Nanos, instance: Instance, attempt: Attempt, holding: Holding) -> None:
    """It has made room. That is counted, once it is in the ledger: how often bounds it."""
    if holding.asked_ns and holding.record is not None:
        desk.propose(Preempted(holding.task, attempt, now, instance.name))
        desk.note(
            "preempted", task=holding.task, attempt=str(attempt), instance=instance.name, took_s=(now - holding.asked_ns) / 1e9
        )
