"""Who is there: instances, what they offer, what they have free, how long we believe in them.

Law: all of this is soft. It is learned from announcements, beats and answers, lost with the leader and asked again. An
instance is believed until ``over_ns``: the moment its own window has surely run out, because the window is counted from
when a beat was *sent* and the lease from when it was *heard* (R9).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import islice
from random import Random

from orchestrator.core.devices import Shelf, shelves
from orchestrator.core.draws import Lots, Ring
from orchestrator.core.lifecycle import InstanceState, InstanceStep, instance_after
from orchestrator.core.limits import Shares
from orchestrator.core.records import Record
from orchestrator.policies.allocation import Allocation
from orchestrator.policies.placement import Candidate
from orchestrator.resources import Demand, Left, Shortage, fits, give_back, shortages
from orchestrator.vocabulary import Attempt, Incarnation, Nanos, Service, Vector, vector
from orchestrator.wire.messages import Announce, Assignment, Handler, Orders, Stop

QUEUE_PREFIX = "orchestrator.agent."
NOTICE_MAX = 1000
"""Characters of a notice: what messages may carry, and more than anybody reads in a log line."""
EQUALS_COMPARED_MAX = 8
"""Of equally loaded instances the allocation ranks so many: a decision must not walk a thousand idle ones."""


@dataclass(slots=True, eq=False)
class Holding:
    """An attempt that an instance has, as far as we know."""

    task: str
    record: Record | None
    """None: the task is over, only its grant is still out."""
    grant: Vector
    sent: int
    """Orders.seq that carried it."""
    running: bool = False
    stopping: str = ""
    """Why it is recalled, once it is."""
    shares: Shares = ()
    """What it has of limits."""
    devices: dict[str, list[str]] = field(default_factory=dict)
    """Of which devices its grant is, by resource."""
    backstop_ns: Nanos = 0
    """When its agent should long have ended it by its timeout; 0: it has none, or has not started."""


@dataclass(slots=True, eq=False)
class Orderbook:
    """What goes to one instance at the end of this step."""

    assign: list[Assignment] = field(default_factory=list)
    stop: list[Stop] = field(default_factory=list)
    release: list[Attempt] = field(default_factory=list)
    sync: bool = False
    drain: bool = False
    notice: str = ""
    """Why it gets no work, for its log."""
    size: int = 0
    """Bytes of arguments in ``assign``."""

    def __bool__(self) -> bool:
        return bool(self.assign or self.stop or self.release or self.sync or self.drain or self.notice)


@dataclass(slots=True, eq=False)
class Instance:
    """One incarnation of one running copy of a service."""

    incarnation: Incarnation
    name: str
    service: Service
    state: InstanceState = "joining"
    joined: bool = False
    """Its ``Joined`` is committed."""
    asked_epoch: int = 0
    """The epoch in which we proposed its ``Joined``."""
    unwanted: bool = False
    """An operator wants it to leave, whatever state it is in."""
    full: bool = False
    """It refused work because too much of it is unreleased: nothing more before its next beat."""
    started: bool = False
    """Everything it needed to start has been there."""
    circle: tuple[Service, ...] = ()
    """The circle of needs at start that it would close, itself first and last: it is not made ready."""
    announced: Announce | None = None
    handlers: dict[str, Handler] = field(default_factory=dict)
    capacity: Vector = field(default_factory=dict)
    free: Vector = field(default_factory=dict)
    devices: dict[str, Shelf] = field(default_factory=dict)
    """Of resources that come in single devices: what of each is free."""
    answered: int = 0
    """The epoch whose sync it has answered."""
    heard: int = 0
    """Last beat seq heard of it."""
    echoed: int = 0
    heard_ns: Nanos = 0
    over_ns: Nanos = 0
    """When its lease is over, should we hear nothing more."""
    sent: int = 0
    """Last Orders.seq sent to it in this epoch."""
    sent_ns: Nanos = 0
    drained: int = 0
    drained_ns: Nanos = 0
    """When it was last known to have drained all we had sent, or made progress with it."""
    synced_ns: Nanos = 0
    """When sync was last asked."""
    asked_ns: Nanos = 0
    """Since when it owes us the answer to a sync; 0: it does not."""
    holdings: dict[Attempt, Holding] = field(default_factory=dict)
    expected: set[Attempt] = field(default_factory=set)
    """Finished attempts of tasks we do not know alive: their reports are still to come."""
    early: set[Attempt] = field(default_factory=set)
    """Released in this reign before it had answered: nothing of these is to come."""
    orders: Orderbook = field(default_factory=Orderbook)
    place: int = -1
    """Its index among the open instances of its service; -1: not open."""
    ticket: int = 0

    @property
    def queue(self) -> str:
        return QUEUE_PREFIX + self.incarnation

    @property
    def load(self) -> int:
        """Busiest share over its resources, in millionths."""
        free = self.free
        return max((1_000_000 - 1_000_000 * free.get(name, 0) // had for name, had in self.capacity.items() if had), default=0)

    @property
    def has_room(self) -> bool:
        """Whether it may take anything at all: every task takes a slot or a part of one."""
        return self.state == "ready" and not self.circle and not self.full and self.free.get("slots", 0) > 0

    def follow(self, step: InstanceStep) -> None:
        """Go to the state that the table names for ``step``."""
        self.state = instance_after(self.state, step)

    def describe(self, announce: Announce) -> None:
        """Take in what it says of itself; a changed capacity changes what is free by as much."""
        named = {name: float(len(set(devices))) for name, devices in announce.devices.items()}
        capacity = vector({"slots": 1.0, **named, **announce.capacity})
        self.announced, self.capacity, self.free = announce, capacity, dict(capacity)
        self.devices = shelves(announce.devices)
        for holding in self.holdings.values():
            self._take(holding)
        self.handlers = {handler.name: handler for handler in announce.handlers}

    # --- what is free -----------------------------------------------------------------------------------------------------

    def fits(self, demand: Demand) -> bool:
        """Whether the least of ``demand`` is free, on single devices where the resource comes in such."""
        if not fits(demand, self.free):
            return False
        return not self.devices or not self._short_devices(demand)

    def shortages(self, demand: Demand, *, idle: bool = False) -> list[Shortage]:
        """What is missing for the least of ``demand`` (``idle``: were nothing granted); empty: it fits."""
        short = shortages(demand, self.capacity if idle else self.free)
        if self.devices:
            single = self._short_devices(demand, idle=idle)
            named = {one.resource for one in single}
            short = [one for one in short if one.resource not in named] + single
        return short

    def _short_devices(self, demand: Demand, *, idle: bool = False) -> list[Shortage]:
        asked = [(self.devices[name], low) for name, low, _ in demand.parts if name in self.devices]
        return [short for shelf, low in asked if (short := shelf.short(low, idle=idle)) is not None]

    def offer(self, demand: Demand) -> Vector:
        """What of it an allocation may grant: all that is free, of devices no more than makes whole ones or a part of one."""
        if not self.devices:
            return self.free
        free = dict(self.free)
        for name, low, high in demand.parts:
            if (shelf := self.devices.get(name)) is not None:
                free[name] = shelf.offer(low, min(high, free.get(name, 0)))
        return free

    def pick(self, grant: Vector) -> dict[str, list[str]]:
        """Of which devices this grant would be."""
        return {name: self.devices[name].pick(amount) for name, amount in grant.items() if name in self.devices}

    # --- what it has ------------------------------------------------------------------------------------------------------

    def hold(self, attempt: Attempt, holding: Holding) -> None:
        """It has this attempt from now on, and its grant is out. Raises AssertionError if it is not there, unless it was granted by
        an earlier leader: then it is what the agent says, whatever we think is free.
        """
        self.holdings[attempt] = holding
        self._take(holding)
        if holding.sent:
            short = [name for name in holding.grant if self.free[name] < 0]
            short += [one for name, some in holding.devices.items() for one in some if self.devices[name].free[one] < 0]
            assert not short, f"granted more than was free on {self.name}: {short}"

    def relieve(self, holding: Holding) -> None:
        """This attempt needs nothing any more, though it may not be over in the ledger yet: all that it was granted is free."""
        self._give(holding)
        holding.grant, holding.devices = {}, {}

    def regrant(self, attempt: Attempt, grant: Vector) -> Holding:
        """This attempt has been granted so much instead."""
        holding = self.holdings[attempt]
        self._give(holding)
        holding.grant, holding.devices = grant, self.pick(grant)
        self.hold(attempt, holding)
        return holding

    def drop(self, attempt: Attempt) -> Holding | None:
        """It does not have this attempt any more; its grant is back."""
        holding = self.holdings.pop(attempt, None)
        if holding is not None:
            self.relieve(holding)
        return holding

    def _take(self, holding: Holding) -> None:
        for name, amount in holding.grant.items():
            self.free[name] = self.free.get(name, 0) - amount
        for name, devices in holding.devices.items():
            if name in self.devices:
                self.devices[name].take(devices, holding.grant.get(name, 0))

    def _give(self, holding: Holding) -> None:
        give_back(self.free, holding.grant)
        for name, devices in holding.devices.items():
            if name in self.devices:
                self.devices[name].give(devices, holding.grant.get(name, 0))

    def take_orders(self, epoch: int, lease_ns: Nanos) -> Orders:
        """Everything in the order book as one message; the book is empty after."""
        book, self.orders = self.orders, Orderbook()
        self.sent += 1
        self.echoed = self.heard
        return Orders(
            self.incarnation, epoch, self.sent, heard=self.heard, sync=book.sync, lease_ns=lease_ns if book.sync else 0,
            assign=book.assign, stop=book.stop, release=book.release, drain=book.drain, notice=book.notice[:NOTICE_MAX],
        )  # fmt: skip


class Pool:
    """The instances of one service that have room, in an order that does not depend on hashing."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.members: dict[Incarnation, Instance] = {}
        self.unanswered: dict[Incarnation, None] = {}
        """Joined before our claim, not answered, not known to be gone (R2, R3)."""
        self.fenced: dict[Incarnation, None] = {}
        """Gone on evidence before they could answer, their lease not over: what must never overlap waits for them too."""
        self.turns = 0
        self._tickets = 0
        self._open: list[Instance] = []
        self._lots: Lots | None = None
        """Chances of the open ones, in their order; kept from the first draw on."""
        self._ring: Ring | None = None
        """Where keys live; drawn anew when members come and go."""
        self._named: dict[str, list[Instance]] = {}
        self._by_load: list[tuple[int, str, int, Instance]] = []

    def enter(self, instance: Instance) -> None:
        """It belongs to the service from now on."""
        self.members[instance.incarnation] = instance
        self._ring = None

    def leave(self, instance: Instance) -> None:
        """It does not any more."""
        if self.members.pop(instance.incarnation, None) is not None:
            self._ring = None
        self.touch(instance)

    def touch(self, instance: Instance) -> None:
        """Something about this instance changed: keep the index true. O(log n)."""
        room = instance.has_room and instance.incarnation in self.members
        self._tickets += 1  # unique in the pool: an incarnation that is forgotten and comes again must not tie with itself
        instance.ticket = self._tickets
        if room:
            if instance.place < 0:
                instance.place = len(self._open)
                self._open.append(instance)
            if self._lots is not None:
                self._lots.put(instance.place, instance.capacity.get("slots", 0))
            heappush(self._by_load, (instance.load, instance.incarnation, instance.ticket, instance))
            if len(self._by_load) > 4 * len(self._open) + 64:
                self._by_load = [entry for entry in self._by_load if _current(entry)]
                heapify(self._by_load)
        elif instance.place >= 0:
            last = self._open.pop()
            if self._lots is not None:
                self._lots.put(len(self._open), 0)
            if last is not instance:
                self._open[instance.place] = last
                last.place = instance.place
                if self._lots is not None:
                    self._lots.put(last.place, last.capacity.get("slots", 0))
            instance.place = -1

    @property
    def open(self) -> int:
        """How many have room."""
        return len(self._open)

    def question(self, demand: Demand, affinity: str, allocation: Allocation, dice: Random) -> PoolChoice:
        """The pool as a placement policy sees it."""
        return PoolChoice(self, demand, affinity, allocation, dice)

    def draw(self, count: int, dice: Random) -> list[Instance]:
        """``count`` different open instances, each with a chance in proportion to its slots. O(count · log n)."""
        lots = self._lots
        if lots is None:
            lots = self._lots = Lots()
            for one in self._open:
                lots.put(one.place, one.capacity.get("slots", 0))
        return [self._open[position] for position in lots.draw(count, dice)]

    def home(self, key: str) -> Instance | None:
        """The ready instance on which this key lives. O(log n), but for the first time after members have come or gone."""
        if self._ring is None:
            self._named = {}
            for one in self.members.values():
                self._named.setdefault(one.name, []).append(one)
            self._ring = Ring(self._named)
        return next((one for name in self._ring.around(key) for one in self._named[name] if one.state == "ready"), None)

    def opened(self, index: int) -> Instance:
        return self._open[index]

    def from_least_loaded(self) -> Iterator[tuple[int, Instance]]:
        """Open instances by load, with it; what was looked at goes back into the index when the caller is done."""
        seen: list[tuple[int, str, int, Instance]] = []
        heap = self._by_load
        try:
            while heap:
                entry = heappop(heap)
                if _current(entry):
                    seen.append(entry)
                    yield entry[0], entry[3]
        finally:
            for entry in seen:
                if _current(entry):
                    heappush(heap, entry)


def _current(entry: tuple[int, str, int, Instance]) -> bool:
    return entry[2] == entry[3].ticket and entry[3].place >= 0


@dataclass(frozen=True, slots=True)
class PoolChoice:
    """One question to a placement policy."""

    pool: Pool
    demand: Demand
    affinity: str
    allocation: Allocation
    dice: Random

    def __len__(self) -> int:
        return self.pool.open

    def at(self, index: int) -> Candidate:
        return self.pool.opened(index)

    def by_load(self) -> Iterator[Candidate]:
        """From the least loaded; of equals a few are ranked as the allocation prefers."""
        instances = self.pool.from_least_loaded()
        try:
            first = next(instances, None)
            while first is not None:
                load, equals, after = first[0], [first[1]], None
                for other in islice(instances, EQUALS_COMPARED_MAX - 1):
                    if other[0] != load:
                        after = other
                        break
                    equals.append(other[1])
                if len(equals) > 1:
                    equals.sort(key=lambda one: (self._preference(one), one.incarnation))
                yield from equals
                first = after if after is not None else next(instances, None)
        finally:
            instances.close()  # type: ignore[attr-defined]

    def turn(self) -> int:
        self.pool.turns += 1
        return self.pool.turns - 1

    def draw(self, count: int) -> list[Instance]:
        return self.pool.draw(count, self.dice)

    def home(self, key: str) -> Candidate | None:
        return self.pool.home(key)

    def _preference(self, instance: Instance) -> Left:
        return self.allocation.preference(self.demand, instance.free, instance.capacity)


class Registry:
    """All instances, by incarnation and by service."""

    def __init__(self) -> None:
        self.instances: dict[Incarnation, Instance] = {}
        self.pools: dict[Service, Pool] = {}

    def pool(self, service: Service) -> Pool:
        """The pool of a service, made at first sight."""
        found = self.pools.get(service)
        if found is None:
            found = self.pools[service] = Pool(service)
        return found

    def add(self, instance: Instance) -> Instance:
        self.instances[instance.incarnation] = instance
        self.pool(instance.service).enter(instance)
        return instance

    def remove(self, instance: Instance) -> None:
        self.instances.pop(instance.incarnation, None)
        self.pool(instance.service).leave(instance)

    def touch(self, instance: Instance) -> None:
        self.pool(instance.service).touch(instance)

    def ready(self, service: Service) -> bool:
        """Whether any instance of the service is ready for work."""
        pool = self.pools.get(service)
        return pool is not None and any(one.state == "ready" and not one.circle for one in pool.members.values())
