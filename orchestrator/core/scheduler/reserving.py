"""Reserving: what becomes of a task that fits nowhere now, while smaller ones behind it still do.

Law: nobody is passed for ever. As soon as something *behind* a blocked head is about to start, an instance is kept for that head:
the one on which it is expected to fit first. From then on a task behind it starts there only if that cannot delay it:

* it fits *beside*: with it there, the head still fits once those have ended that it waits for anyway; or
* it is expected to be over (nine times in ten) before the reserved moment; the head then waits for that one as well.

The reserved moment is not moved. Once it has passed nothing is let in by its expected end, so the ones that the head waits
for are a set that only shrinks.

**Bound.** A head that has a reservation waits no longer than until the last of these has ended: attempts that ran on its instance
when it was reserved, and those that were let in before the reserved moment because they were expected to end before it. With true
estimates this is the reserved moment; with wrong ones it is their real ends; estimates that nobody has let nobody in. It holds
until the instance goes, or tasks that go *before* it in the order take its place: those the ordering answers for. Where it would
hold back one of these in its own lane, it ends.

A reservation costs nothing as long as no class is blocked, or nothing behind one could start. (EASY backfilling, Lifka 1995, with
resource vectors, one instance per reservation, and looking at heads of demand classes instead of every waiting task.)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain, islice

from orchestrator.core.custody.records import Record
from orchestrator.core.desk import Desk
from orchestrator.core.estimates.remaining import long_rest, rest
from orchestrator.core.registry import dependencies
from orchestrator.core.registry.pools import Pool
from orchestrator.core.registry.registry import Holding, Instance
from orchestrator.core.resources.devices import WHOLE
from orchestrator.core.scheduler.heads import Entry
from orchestrator.core.scheduler.lanes import DemandClass
from orchestrator.core.scheduler.queues import Queue
from orchestrator.resources import Demand, fits
from orchestrator.vocabulary import Attempt, Nanos, Vector

EXAMINED_MAX = 8
"""Instances looked at for a reservation, others the next time: its bound holds on any, and a decision must not walk a thousand."""

NEVER = 1 << 63
"""Later than any moment: nobody knows when."""


@dataclass(slots=True, eq=False)
class Reservation:
    """An instance that is kept for the head of a class."""

    entry: Entry
    """Its place in the order: those before it are not held back."""
    demand: Demand
    instance: Instance
    made_ns: Nanos
    at_ns: Nanos | None
    """When it is expected to fit there (nine times in ten); none: nobody knows."""
    error_ns: Nanos = 0
    """How much earlier that is expected in the mean."""
    awaited: dict[Attempt, None] = field(default_factory=dict)
    """Those whose end it waits for."""
    victim: Attempt | None = None
    """The one of them that was asked to make room, if it was made for that."""

    @property
    def record(self) -> Record:
        return self.entry.record

    def goes_before(self, entry: Entry) -> bool:
        """Whether its task goes before that one, as the order is now: where tenants are ranked it moves."""
        lane = self.record.place
        head = lane.head() if lane is not None else None
        return (head if head is not None and head.record is self.record else self.entry) < entry

    def room(self) -> Vector:
        """What others may take there without delaying it: what is free, less what it lacks when all have ended that it waits for.

        Negative: somebody who goes before it has taken its place.
        """
        holdings = self.instance.holdings
        lacks = self.demand.least
        for attempt in self.awaited:
            if (holding := holdings.get(attempt)) is not None:
                for name, amount in holding.grant.items():
                    if name in lacks:
                        lacks[name] -= amount
        room = dict(self.instance.free)
        for name, amount in lacks.items():
            if amount > 0:
                room[name] = room.get(name, 0) - amount
        for name in lacks:
            if name in self.instance.devices:  # single things cannot be added up: leave them all to it
                room[name] = min(room.get(name, 0), 0)
        return room

    def stands(self, pool: Pool) -> bool:
        """Whether its task still waits for it, the instance is there, the task will fit, and it bars nobody it waits behind."""
        there = self.instance.state == "ready" and self.instance.incarnation in pool.members
        waits = self.entry.ticket == self.record.ticket and not self._bars_its_own()
        return there and waits and min(self.room().values(), default=0) >= 0

    def _bars_its_own(self) -> bool:
        """Whether it holds back one behind whom its task stands: in a lane each stands by what was expected of it when it came, and
        this reservation by what was expected when it was made. Neither would ever start.
        """
        lane = self.record.place
        head = lane.head() if lane is not None else None
        return head is not None and head.record is not self.record and self.entry < head


def tidy(queue: Queue, pool: Pool) -> None:
    """End what does not stand any more."""
    for reservation in list(queue.reservations.values()):
        if not reservation.stands(pool):
            queue.unreserve(reservation)


def guard(desk: Desk, now: Nanos, queue: Queue, pool: Pool, behind: Entry) -> None:
    """Something is about to start: who is blocked and goes before it has a reservation from now on, up to as many as are wanted."""
    first = queue.first_blocked(desk.config.reservations, pool.edition, lambda group: has_taker(desk, pool, group))
    for group in first:
        head = group.head()
        assert head is not None
        if behind < head:
            return
        if head.record.reserved is None:
            _make_room_for(queue, first)
            if (reservation := plan(desk, now, pool, group, head)) is not None:
                queue.reserve(reservation)
                desk.note("reserved", task=head.record.id, instance=reservation.instance.name, wait_s=_wait_s(reservation, now))


def has_taker(desk: Desk, pool: Pool, group: DemandClass) -> bool:
    """Whether anybody would take tasks of this class if nothing were granted there. Else no end of what runs helps them: nothing is
    kept for them, and they keep nothing from those behind. What was found is remembered, so only who is new is looked at."""
    if group.barred == pool.edition:
        return False
    known = pool.members.get(group.taker) if group.taker else None
    if known is not None and _would_take(desk, known, group):
        return True
    since = max(0, group.barred)
    found = next((one for one in pool.offering(since) if _would_take(desk, one, group)), None)
    group.taker, group.barred = ("", pool.edition) if found is None else (found.incarnation, -1)
    return found is not None


def _would_take(desk: Desk, one: Instance, group: DemandClass) -> bool:
    if one.state != "ready" or one.circle or group.handler not in one.handlers or one.shortages(group.demand, idle=True):
        return False
    return dependencies.obstacle(desk, one) is None


def keep_for(desk: Desk, now: Nanos, queue: Queue, group: DemandClass, instance: Instance, victim: Attempt) -> None:
    """Somebody was asked to make room there for the head of this class: it shall find it."""
    head = group.head()
    assert head is not None
    for other in [one for one in queue.reservations.values() if one.instance is instance or one.record is head.record]:
        queue.unreserve(other)
    _make_room_for(queue, [group])
    queue.reserve(Reservation(head, group.demand, instance, now, now, awaited={victim: None}, victim=victim))


def _make_room_for(queue: Queue, first: list[DemandClass]) -> None:
    """Who is not among the first any more has nothing reserved: somebody more urgent is blocked."""
    wanted = {head.record.id for group in first if (head := group.head()) is not None}
    for other in [one for name, one in queue.reservations.items() if name not in wanted]:
        queue.unreserve(other)


def _wait_s(reservation: Reservation, now: Nanos) -> float | None:
    return None if reservation.at_ns is None else round((reservation.at_ns - now) / 1e9, 3)


def lets_in(desk: Desk, now: Nanos, instance: Instance, entry: Entry, demand: Demand) -> bool:
    """Whether the task may start on this instance, where it fits, as far as somebody has it reserved."""
    reservation = instance.reserved
    if reservation is None or not reservation.goes_before(entry) or fits(demand, reservation.room()):
        return True
    return _over_before(desk, now, reservation, entry.record)


def _over_before(desk: Desk, now: Nanos, reservation: Reservation, record: Record) -> bool:
    if reservation.at_ns is None:
        return False
    long_ns = long_rest(desk, record, now)
    return long_ns is not None and now + long_ns <= reservation.at_ns


def share_for(instance: Instance, entry: Entry, demand: Demand) -> Vector:
    """Of what is free there, what this task may be granted from: an elastic one must not take what the reservation needs."""
    reservation, free = instance.reserved, instance.offer(demand) if instance.devices else instance.free
    if reservation is None or not reservation.goes_before(entry):
        return free
    room = spare(instance)
    return {name: min(amount, room.get(name, 0)) for name, amount in free.items()} if fits(demand, room) else free


def spare(instance: Instance) -> Vector:
    """What is free there and not needed by whoever has it reserved."""
    if instance.reserved is None:
        return instance.free
    return {name: max(0, amount) for name, amount in instance.reserved.room().items()}


def started(instance: Instance, entry: Entry, attempt: Attempt, demand: Demand) -> None:
    """It is about to start there; if it was let in because it will be over in time, the reservation waits for it too."""
    reservation = instance.reserved
    if reservation is not None and reservation.goes_before(entry) and not fits(demand, reservation.room()):
        reservation.awaited[attempt] = None


def taken(queue: Queue, instance: Instance) -> None:
    """Something has started there. If that was one that goes before, and took what was kept, there is no reservation any more."""
    reservation = instance.reserved
    if reservation is not None and min(reservation.room().values(), default=0) < 0:
        queue.unreserve(reservation)


def plan(desk: Desk, now: Nanos, pool: Pool, group: DemandClass, head: Entry) -> Reservation | None:
    """Where it is expected to fit first: grants come back in the order in which attempts are expected to end."""
    best: tuple[tuple[bool, Nanos, int, str], Instance, list[Attempt]] | None = None
    members = pool.members.values()
    start = pool.planned % len(members)
    pool.planned += EXAMINED_MAX
    suited = (
        one
        for one in chain(islice(members, start, None), islice(members, start))
        if one.reserved is None and _would_take(desk, one, group)
    )
    for instance in islice(suited, EXAMINED_MAX):
        at_ns, awaited = _expected(desk, now, instance, group.demand)
        rank = (at_ns is None, at_ns or 0, len(awaited), instance.incarnation)
        if best is None or rank < best[0]:
            best = rank, instance, awaited
    if best is None:
        return None
    (unknown, at, _, _), instance, awaited = best
    found = Reservation(head, group.demand, instance, now, None if unknown else at, awaited=dict.fromkeys(awaited))
    if found.at_ns is not None and awaited:
        last = instance.holdings[awaited[-1]].record
        mean_ns = rest(desk, last, now) if last is not None else None
        found.error_ns = max(0, found.at_ns - now - (mean_ns or 0))
    return found


def _expected(desk: Desk, now: Nanos, instance: Instance, demand: Demand) -> tuple[Nanos | None, list[Attempt]]:
    """When it would fit on this instance (none: nobody knows), and whom it waits for there: nobody whose end does not help."""
    lacks = {short.resource: short.wanted - short.free for short in instance.shortages(demand)}
    for name in [name for name in lacks if name in instance.devices]:
        out = [holding.grant.get(name, 0) for holding in instance.holdings.values()]
        if any(amount % WHOLE for amount in out):  # parts of devices: which of them make a whole nobody reckons, so all of them
            lacks[name] = sum(out)
    at_ns: Nanos | None = now
    awaited: list[Attempt] = []
    if not lacks:
        return at_ns, awaited
    for end_ns, attempt in sorted((_end(desk, now, holding), attempt) for attempt, holding in instance.holdings.items()):
        grant = instance.holdings[attempt].grant
        helps = [name for name in lacks if name in grant]
        if not helps:
            continue
        awaited.append(attempt)
        at_ns = end_ns
        for name in helps:
            lacks[name] -= grant[name]
            if lacks[name] <= 0:
                del lacks[name]
        if not lacks:
            break
    return None if at_ns == NEVER else at_ns, awaited


def _end(desk: Desk, now: Nanos, holding: Holding) -> Nanos:
    """When an attempt will be over, nine times in ten."""
    if holding.record is None or holding.stopping:
        return now  # it is being stopped
    if holding.over_by_ns <= now:  # not reckoned yet, or it has outlived that
        long_ns = long_rest(desk, holding.record, now)
        if long_ns is None:
            return NEVER
        holding.over_by_ns = now + long_ns
    return holding.over_by_ns


# --- in words -----------------------------------------------------------------------------------------------------------


def held_back(desk: Desk, now: Nanos, instance: Instance, entry: Entry, demand: Demand) -> str | None:
    """Why this task may not start there though it fits; none: it may."""
    if lets_in(desk, now, instance, entry, demand):
        return None
    assert instance.reserved is not None
    return f"held back: it would delay {instance.reserved.record.id}, which is reserved there"


def told(reservation: Reservation, now: Nanos) -> str:
    """A reservation, for people."""
    where, at_ns = reservation.instance.name, reservation.at_ns
    if reservation.victim is not None:
        return f"reserved on {where}, where a running task was asked to make room"
    if at_ns is None:
        return f"reserved on {where} for when enough of what runs there has ended; how long that takes nobody knows"
    if at_ns < now:
        late = "what runs there takes longer than expected, and nothing that could delay it starts there"
        return f"reserved on {where} since {_clock(at_ns)}: {late}"
    error = f" ± {reservation.error_ns / 1e9:.3g} s" if reservation.error_ns else ""
    return f"reserved on {where} from {_clock(at_ns)} (in {(at_ns - now) / 1e9:.3g} s{error})"


def _clock(at_ns: Nanos) -> str:
    """The time of day, UTC."""
    minutes, second = divmod(at_ns // 10**9, 60)
    return f"{minutes // 60 % 24:02}:{minutes % 60:02}:{second:02} UTC"
