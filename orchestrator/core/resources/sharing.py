"""What the cluster shares: limits in force, what of them is out, and lanes that wait for them.

Law: a task takes of all its limits or of none, when it is assigned, and gives back when its attempt is not alive; tokens stay
spent, also of an attempt that never ran. All of it is soft but the limits themselves: after a takeover what agents say they hold
is counted, and of a limit that an agent which has still to answer may hold, nothing is given out. Buckets are empty then, for
the last leader may have emptied them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.core.custody.records import Record
from orchestrator.core.resources.limits import Limit, Limits, Share, Shares, called
from orchestrator.core.resources.meters import Meter
from orchestrator.core.scheduler.lanes import Lane
from orchestrator.core.scheduler.queues import Queue
from orchestrator.resources import Demand
from orchestrator.vocabulary import Nanos, Service, Vector

if TYPE_CHECKING:
    from orchestrator.core.desk import Desk

SWEEP_LEAST = 1000
"""Meters that rest are looked for when there are more than this, and twice as many as the last time."""


class Short(NamedTuple):
    """A limit that holds a task back, and how."""

    limit: Limit
    share: Share
    why: str


class Sharing:
    """Limits and their meters."""

    def __init__(self) -> None:
        self.limits = Limits()
        self.meters: dict[tuple[str, str], Meter] = {}
        self.unheard: dict[Service, None] = {}
        """Services of agents that may hold shares and have still to answer this leader."""
        self.loosened: dict[int, Meter] = {}
        """Of these something has come back, and nobody has looked yet."""
        self._numbers: dict[int, Meter] = {}
        self._count = 0
        self._since_ns: Nanos = 0
        self._swept = SWEEP_LEAST

    # --- the reign --------------------------------------------------------------------------------------------------------

    def begin(self, now: Nanos, unheard: list[Service]) -> None:
        """A reign begins: nothing is known to be out, and these have still to say what they hold."""
        self._since_ns = now
        self.unheard = dict.fromkeys(unheard)

    def reset(self, desk: Desk) -> None:
        """Forget what is out and who waits: the next leader asks the agents again."""
        for meter in self.meters.values():
            for lane in meter.lanes():
                lane.queue.release(lane)
        for queue in desk.backlog.queues.values():
            for group in (*queue.classes.values(), *queue.aside.values()):
                for lane in group.lanes.values():
                    lane.delegate = None
        self.meters.clear()
        self._numbers.clear()
        self.loosened.clear()
        self.unheard.clear()

    def heard(self, service: Service) -> None:
        """All agents of this service have said what they hold, or are gone."""
        if self.unheard.pop(service, "absent") is None:
            for meter in self.meters.values():
                meter.loosen()

    def use(self, desk: Desk, now: Nanos, limits: Limits) -> None:
        """Other limits from now on: what runs is counted by them too, though they may be exceeded then."""
        for meter in self.meters.values():
            meter.settle(now)
        if limits.grain != self.limits.grain:
            levels, waits = self.meters, [lane for meter in self.meters.values() for lane in meter.lanes()]
            for lane in waits:
                lane.queue.release(lane)
            self.meters, self._numbers, self.loosened = {}, {}, {}
            self.limits = limits
            desk.backlog.limit_by(limits)
            for meter in levels.values():
                if (limit := limits.get(meter.limit.name)) is not None:
                    meter.forget()
                    meter.limit = limit
                    self.meters[limit.name, meter.key] = self._numbers[meter.number] = meter
            for instance in desk.registry.instances.values():
                for holding in instance.holdings.values():
                    shares = holding.shares
                    if holding.record is not None and holding.grant:  # without a grant it runs no more
                        shares = self.held(desk, holding.record, holding.grant)
                    holding.shares = tuple(share for share in shares if limits.get(share.limit) is not None)
                    self.count(holding.shares)
        else:
            self.limits = limits
            desk.backlog.limit_by(limits)
            for meter in self.meters.values():
                limit = limits.get(meter.limit.name)
                assert limit is not None, "the grain names every limit"
                meter.limit = limit
                meter.loosen()
        desk.stir_all()

    # --- taking and giving ------------------------------------------------------------------------------------------------

    def short(self, shares: Shares, now: Nanos) -> Short | None:
        """The first of its limits that does not allow so much now."""
        for share in shares:
            limit = self.limits.get(share.limit)
            assert limit is not None, f"{share.limit} is no limit, and a task stands in a lane of it"
            why = self._closed(limit) or self._meter(share).lacks(share.amount, share.tokens, now)
            if why is not None:
                return Short(limit, share, why)
        return None

    def reasons(self, shares: Shares, now: Nanos) -> list[str]:
        """Why limits hold such a task back now, each with its name; empty: they do not."""
        found = (self.short((share,), now) for share in shares)
        return [f"{called(short.limit, short.share.key)}: {short.why}" for short in found if short is not None]

    def clipped(self, demand: Demand, shares: Shares) -> Demand:
        """The demand, with no more of a resource of instances than caps leave room for."""
        for share in shares:
            limit = self.limits.get(share.limit)
            room = self._meter(share).room()
            if limit is not None and not limit.own and room is not None:
                parts = ((name, low, min(high, max(low, room)) if name == limit.of else high) for name, low, high in demand.parts)
                demand = Demand(tuple(parts))
        return demand

    def take(self, shares: Shares, grant: Vector, now: Nanos) -> Shares:
        """A task is assigned with this grant; gives what it has of limits from now on."""
        taken = tuple(self._granted(share, grant) for share in shares)
        for share in taken:
            self._meter(share).take(share, now)
        if len(self.meters) > self._swept:
            self._sweep(now)
        return taken

    def caps(self, shares: Shares) -> bool:
        """Whether any of them counts what is granted of a resource of instances."""
        return any(not limit.own for share in shares if (limit := self.limits.get(share.limit)) is not None)

    def held(self, desk: Desk, record: Record, grant: Vector) -> Shares:
        """What an attempt has of limits that holds this grant."""
        return tuple(self._granted(share, grant) for share in desk.backlog.shares(record))

    def count(self, shares: Shares) -> None:
        """An attempt that an agent says it has, or that ran before the limit came, has these."""
        for share in shares:
            self._meter(share).count(share)

    def give(self, shares: Shares) -> None:
        """An attempt is not alive any more: what it had is there again."""
        for share in shares:
            meter = self.meters.get((share.limit, share.key))
            if meter is not None:
                meter.give(share)

    def _granted(self, share: Share, grant: Vector) -> Share:
        limit = self.limits.get(share.limit)
        return share if limit is None or limit.own else share._replace(amount=grant.get(limit.of, 0))

    def _closed(self, limit: Limit) -> str | None:
        waits = [service for service in self.unheard if limit.concerns(service)]
        return f"agents of {', '.join(sorted(waits))} may hold some of it and have still to answer" if waits else None

    # --- waiting ----------------------------------------------------------------------------------------------------------

    def hold(self, desk: Desk, queue: Queue, lane: Lane, short: Short, now: Nanos) -> None:
        """This lane waits until the limit may have room for it."""
        meter = self._meter(short.share)
        if lane.delegate is not None and lane.delegate is not meter:
            lane.delegate.forsaken(lane)
        lane.delegate = None
        queue.hold(lane, meter, meter.hold(lane, now))
        self._look_later(desk, meter, now)

    def wake(self, desk: Desk, now: Nanos) -> None:
        """Where something came back, one lane more may try."""
        for number, meter in list(self.loosened.items()):
            lane = None if self._closed(meter.limit) else meter.next(now)
            if lane is None:
                self.loosened.pop(number, None)
                self._look_later(desk, meter, now)
            else:
                lane.queue.release(lane)
                meter.wake(lane)
                desk.stir(lane.queue.service)

    def tokens_due(self, number: int) -> None:
        """The moment for which a lane waits has come."""
        if (meter := self._numbers.get(number)) is not None:
            meter.due_ns = 0
            meter.loosen()

    def _look_later(self, desk: Desk, meter: Meter, now: Nanos) -> None:
        due_ns = meter.wanted_ns(now)
        if due_ns is not None and not now < meter.due_ns <= due_ns:
            meter.due_ns = due_ns
            desk.timers.at(due_ns, "tokens", meter.limit.name, meter.number)

    def _meter(self, share: Share) -> Meter:
        found = self.meters.get((share.limit, share.key))
        if found is None:
            limit = self.limits.get(share.limit)
            assert limit is not None, f"{share.limit} is no limit"
            self._count += 1
            found = Meter(limit, share.key, self._count, self._since_ns, self._loosen)
            self.meters[share.limit, share.key] = self._numbers[self._count] = found
        return found

    def _loosen(self, meter: Meter) -> None:
        self.loosened[meter.number] = meter

    def _sweep(self, now: Nanos) -> None:
        """Meters that rest are made anew when they are needed."""
        for name, meter in list(self.meters.items()):
            if meter.idle(now):
                del self.meters[name], self._numbers[meter.number]
                self.loosened.pop(meter.number, None)
        self._swept = max(SWEEP_LEAST, 2 * len(self.meters))
