"""Biding: a task may rather wait for a faster instance that is busy than start at once on a slow one that is not.

Law: only a placement that is *patient* has anybody wait, and says for how long at most: counted from when the task first did so,
over all its waiting for that attempt. When that is over it starts wherever there is room. A class whose head bides stands aside for
the others, with nothing reserved for it; it is asked anew whenever anything of its service happens (a faster instance has room, or
is gone, or more tasks wait), and when its time is over. So nobody starves by it, and nobody behind it is held up.

All of it is soft: a new leader counts from the beginning.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from orchestrator.core.custody.records import Record
from orchestrator.core.desk import Desk
from orchestrator.core.registry.pools import Pool
from orchestrator.core.registry.registry import Instance
from orchestrator.core.scheduler.lanes import DemandClass
from orchestrator.policies.placement import Full, Patient, Placement
from orchestrator.resources import Demand
from orchestrator.vocabulary import Nanos

FULL_SEEN_MAX = 64
"""Of a large fleet so many are looked at, those that came first: there will be fast ones among them, if they matter at all."""
WINDOW = 50
"""Over so many typical run times the load is averaged."""
ENDS_SEEN_MAX = 32
"""Of an instance with many attempts so many, those that began first: with more side by side one of them ends soon anyway."""


class Biding(NamedTuple):
    """A head that would rather wait."""

    group: DemandClass
    record: Record
    here: str
    """The name of the instance on which it could have started."""
    until_ns: Nanos
    """It waits no longer than that."""

    def told(self, now: Nanos) -> str:
        """In words."""
        wait_s = max(0, self.until_ns - now) / 1e9
        better = "a faster instance, though busy, is expected to be done with it sooner"
        return f"it could start on {self.here}, but {better}: it waits for one, {wait_s:.3g} s more at most"


def patient(placement: Placement) -> Patient | None:
    """The placement, if it ever has tasks wait."""
    able: Any = placement
    return able if hasattr(placement, "bides_ns") else None


def of(desk: Desk, record: Record) -> Biding | None:
    """How this task bides, if it does."""
    lane, queue = record.place, desk.backlog.queues.get(record.service)
    found = queue.biding.get((lane.group.type, lane.group.demand)) if queue is not None and lane is not None else None
    return found if found is not None and found.record is record else None


def bides(desk: Desk, now: Nanos, policy: Patient, pool: Pool, group: DemandClass, record: Record, here: Instance) -> Biding | None:
    """Whether the head of this class would rather wait than start ``here``, where it fits."""
    span_ns = policy.bides_ns(Prospect(desk, now, pool, group.demand, record, here))
    since_ns = record.bided_ns or now
    until_ns = since_ns + span_ns
    if until_ns <= now:
        return None
    record.bided_ns = since_ns
    queue = desk.backlog.queue(record.service)
    if not now < queue.bide_ns <= until_ns:
        queue.bide_ns = until_ns
        desk.timers.at(until_ns, "ripe", record.service)
    return Biding(group, record, here.name, until_ns)


@dataclass(frozen=True, slots=True)
class Prospect:
    """The outlook of a task that could start ``here`` (``policies.placement.Outlook``)."""

    desk: Desk
    now: Nanos
    pool: Pool
    demand: Demand
    record: Record
    here: Instance

    @property
    def known(self) -> bool:
        return bool(self.desk.estimates.remaining(self.record).source)

    @property
    def here_ns(self) -> Nanos:
        estimates = self.desk.estimates
        return round(estimates.remaining(self.record).mean_ns / estimates.speeds.speed(self.record.task.type, self.here.name))

    @property
    def waiting(self) -> int:
        return self.desk.backlog.queue(self.record.service).size

    @property
    def busy(self) -> float:
        return self.pool.toil.mean

    def full(self) -> Iterator[Full]:
        estimates, demand, handler = self.desk.estimates, self.demand, self.record.handler
        needs_ns = estimates.remaining(self.record).mean_ns
        for one in islice(self.pool.members.values(), FULL_SEEN_MAX):
            if one.state != "ready" or one.circle or one.full or handler not in one.handlers or one.fits(demand):
                continue
            if one.reserved is not None and one.reserved.record is not self.record:
                continue  # somebody else waits for that room
            if one.shortages(demand, idle=True) or (free_in_ns := self._room_in_ns(one)) is None:
                continue
            yield Full(free_in_ns, round(needs_ns / estimates.speeds.speed(self.record.task.type, one.name)), len(one.holdings))

    def _room_in_ns(self, instance: Instance) -> Nanos | None:
        """How long until there is room for it there, in the mean; none: nobody can tell."""
        lacks = {short.resource: short.wanted - short.free for short in instance.shortages(self.demand)}
        ends: list[tuple[Nanos, int]] = []
        holdings = list(islice(instance.holdings.values(), ENDS_SEEN_MAX))
        for at, holding in enumerate(holdings):
            if (rest_ns := self._rest_ns(instance, holding.record if not holding.stopping else None)) is not None:
                ends.append((rest_ns, at))
        for rest_ns, at in sorted(ends):
            for name, amount in holdings[at].grant.items():
                if name in lacks:
                    lacks[name] -= amount
            if all(amount <= 0 for amount in lacks.values()):
                return rest_ns
        return None

    def _rest_ns(self, instance: Instance, record: Record | None) -> Nanos | None:
        """How much longer an attempt (none: of a task that is over) runs on this instance, as fast as that is."""
        if record is None:
            return 0
        speed = self.desk.estimates.speeds.speed(record.task.type, instance.name)
        ran_ns = max(0, self.now - record.started_ns) if record.started_ns else 0
        found = self.desk.estimates.remaining(record, record.before_ns + round(ran_ns * speed))
        return round(found.mean_ns / speed) if found.source else None
