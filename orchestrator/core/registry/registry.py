"""Who is there: instances, what they offer, what they have free, how long we believe in them.

Law: all of this is soft. It is learned from announcements, beats and answers, lost with the leader and asked again. An
instance is believed until ``over_ns``: the moment its own window has surely run out, because the window is counted from
when a beat was *sent* and the lease from when it was *heard* (R9).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.core.custody.records import Record
from orchestrator.core.lifecycle import InstanceState, InstanceStep, instance_after
from orchestrator.core.registry.pools import Pool
from orchestrator.core.resources.devices import Shelf, shelves
from orchestrator.core.resources.limits import Shares
from orchestrator.core.scheduler.accounts import Bill
from orchestrator.resources import APART, Demand, Shortage, fits, shortages, take
from orchestrator.vocabulary import Attempt, Incarnation, Milli, Nanos, Service, Vector, vector
from orchestrator.wire.messages import Announce, Assignment, Handler, Orders, Stop

if TYPE_CHECKING:
    from orchestrator.core.scheduler.reserving import Reservation

QUEUE_PREFIX = "orchestrator.agent."
NOTICE_MAX = 1000
"""Characters of a notice: what messages may carry, and more than anybody reads in a log line."""


class Holding(Struct, eq=False):
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
    recalled_ns: Nanos = 0
    """When its agent was told so last."""
    bill: Bill | None = None
    """What its tenant was charged for it."""
    shares: Shares = ()
    """What it has of limits."""
    devices: dict[str, list[str]] = {}
    """Of which devices its grant is, by resource."""
    over_by_ns: Nanos = 0
    """When it will be over, nine times in ten, as was reckoned when a reservation last asked; 0: none has."""
    asked_ns: Nanos = 0
    """When it was asked to make room for a more urgent task; 0: it was not."""
    unyielding: bool = False
    """It has not heeded that within the grace: it is left alone."""
    backstop_ns: Nanos = 0
    """When its agent should long have ended it by its timeout; 0: it has none, or has not started."""


class Orderbook(Struct, eq=False):
    """What goes to one instance at the end of this step."""

    assign: list[Assignment] = []
    stop: list[Stop] = []
    release: list[Attempt] = []
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
    user: str = ""
    """Who announced it, as the broker says: nobody else speaks in its name. Empty: the broker was not told."""
    state: InstanceState = "joining"
    proven: bool = False
    """It has answered a sync: so there is a queue, and somebody who reads it. Until then what it says counts for nobody else."""
    joined: bool = False
    """Its ``Joined`` is committed."""
    asked_epoch: int = 0
    """The epoch in which we proposed its ``Joined``."""
    unwanted: bool = False
    """An operator wants it to leave, whatever state it is in."""
    full: bool = False
    """It refused work because too much of it is unreleased: nothing more before its next beat."""
    hasty: bool = False
    """Its clock is ahead of ours, so it is told no deadlines: we keep them."""
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
    return_ns: Nanos = 0
    """Missing: it is given up then, should nobody come back as its heir."""
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
    reserved: Reservation | None = None
    """The waiting task that it is kept for, if any."""
    orders: Orderbook = field(default_factory=Orderbook)
    totalled: Vector = field(default_factory=dict)
    """What it has, as its pool has counted it."""
    offers: Announce | None = None
    """What it offered when its pool looked last; none: nothing, for it is not ready."""
    counted: tuple[Milli, Milli] = (0, 0)
    """Its slots, and those granted, as its pool has counted them."""
    place: int = -1
    """Its index among the open instances of its service; -1: not open."""
    ticket: int = 0

    @property
    def queue(self) -> str:
        return QUEUE_PREFIX + self.incarnation

    @property
    def load(self) -> int:
        """Busiest share over its resources, in millionths."""
        free, busiest = self.free, 0
        for name, had in self.capacity.items():
            left = free.get(name, 0)
            if left != had and had and (busy := 1_000_000 - 1_000_000 * left // had) > busiest:
                busiest = busy
        return busiest

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
        capacity = vector({"slots": 1.0, **named, **announce.capacity, APART: 1.0})
        self.announced, self.capacity, self.free = announce, capacity, dict(capacity)
        self.devices = shelves(announce.devices)
        for holding in self.holdings.values():
            self._take(holding)
        self.handlers = {handler.name: handler for handler in announce.handlers}

    # --- what is free -----------------------------------------------------------------------------------------------------

    def fits(self, demand: Demand) -> bool:
        """Whether the least of ``demand`` is free, on single devices where the resource comes in such."""
        return fits(demand, self.free) and not (self.devices and self._short_devices(demand))

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

    def fits_without(self, demand: Demand, holding: Holding) -> bool:
        """Whether the least of ``demand`` would be free, were this attempt over."""
        free, grant = self.free, holding.grant
        if not all(free.get(name, 0) + grant.get(name, 0) >= low for name, low, _ in demand.parts):
            return False
        if not self.devices:
            return True
        self._give(holding)
        found = not self._short_devices(demand)
        self._take(holding)
        return found

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
        if not holding.sent:
            self._take(holding)
            return
        take(self.free, holding.grant)
        for name, devices in holding.devices.items():
            shelf = self.devices[name]
            shelf.take(devices, holding.grant[name])
            assert all(shelf.free[one] >= 0 for one in devices), f"granted more of {devices} than was free on {self.name}"

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
        for name, amount in holding.grant.items():
            self.free[name] = self.free.get(name, 0) + amount
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


class Registry:
    """All instances, by incarnation and by service."""

    def __init__(self) -> None:
        self.instances: dict[Incarnation, Instance] = {}
        self.pools: dict[Service, Pool] = {}
        self._editions = 0
        self.dependents: dict[Service, dict[Incarnation, Instance]] = {}
        self._named: dict[tuple[Service, str], dict[Incarnation, Instance]] = {}
        """Who says that it needs the service."""

    def describe(self, instance: Instance, said: Announce) -> None:
        """Take in what it says of itself, and whom it needs."""
        self._depend_no_more(instance)
        instance.describe(said)
        for need in said.depends_on:
            self.dependents.setdefault(need.service, {})[instance.incarnation] = instance

    def _depend_no_more(self, instance: Instance) -> None:
        for need in instance.announced.depends_on if instance.announced is not None else ():
            if (dependents := self.dependents.get(need.service)) is not None:
                dependents.pop(instance.incarnation, None)
                if not dependents:
                    del self.dependents[need.service]

    def pool(self, service: Service) -> Pool:
        """The pool of a service, made at first sight."""
        found = self.pools.get(service)
        if found is None:
            found = self.pools[service] = Pool(service, self._editions)
        return found

    def add(self, instance: Instance) -> Instance:
        self.instances[instance.incarnation] = instance
        self._named.setdefault((instance.service, instance.name), {})[instance.incarnation] = instance
        self.pool(instance.service).enter(instance)
        return instance

    def remove(self, instance: Instance) -> None:
        self.instances.pop(instance.incarnation, None)
        if (named := self._named.get((instance.service, instance.name))) is not None:
            named.pop(instance.incarnation, None)
            if not named:
                del self._named[instance.service, instance.name]
        self._depend_no_more(instance)
        pool = self.pool(instance.service)
        pool.leave(instance)
        if not instance.proven and pool.deserted:
            self._editions = max(self._editions, pool.editions)
            del self.pools[instance.service]  # a service that only strangers spoke of

    def namesakes(self, instance: Instance) -> Iterable[Instance]:
        """It, and others of its service that go by its name: its agent under other names of incarnations."""
        return self._named.get((instance.service, instance.name), {}).values()

    def touch(self, instance: Instance) -> None:
        self.pool(instance.service).touch(instance)

    def ready(self, service: Service) -> bool:
        """Whether any instance of the service is ready for work."""
        pool = self.pools.get(service)
        return pool is not None and any(one.state == "ready" and not one.circle for one in pool.members.values())
