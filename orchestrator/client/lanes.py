"""Parcels on their way out: what is held for a caller, and the lanes in which it waits for its message.

Law: bookkeeping only; who may leave when is decided in ``core``. A lane always knows how much waits in it. What is
over (answered, given up) while it stands in a line stays there until its turn, uncounted, unless too much of the line
is such: then the line is swept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum

from msgspec import Struct

from orchestrator.client.events import Cause, Parcel
from orchestrator.shards import Rule
from orchestrator.vocabulary import DEFAULT_SHARD, NS_PER_MS, NS_PER_S, Nanos, TaskId, service_of
from orchestrator.wire.messages import Task

LaneKey = tuple[str, str, bool]
"""The shard, the routing key, and whether results are wanted."""


class Limits(Struct, frozen=True):
    """How much may travel together."""

    tasks: int = 1024
    """Of one message. More gains nothing (the cost of a message is gone at a hundred) and makes the coordinator's
    steps long.
    """
    bytes: int = 256 * 1024
    """Of one message, unless a single parcel is larger."""
    depth: int = 8
    """Messages of one lane under way at a time, provided they are full. To a broker nearby that gains nothing that could be
    measured; at a round trip of 20 ms it makes 2,200 tasks/s of 20 kB out of 450.
    """
    window_bytes: int = 4 * 1024 * 1024
    """Of all messages under way together: what a slow broker makes us hold twice."""
    pause_first_ns: Nanos = 50 * NS_PER_MS
    pause_most_ns: Nanos = 2 * NS_PER_S
    """After a refusal a lane pauses: first this long, then twice as long each time, at most that long (with
    jitter).
    """


def weight(tasks: Sequence[Task]) -> int:
    """At least the number of bytes that these tasks take in a message."""
    size = 0
    for task in tasks:
        size += 224 + len(task.args) + len(task.id) + len(task.type) + 4 * (len(task.tenant) + len(task.affinity) + len(task.key))
        if task.need or task.after or task.labels or task.workflow is not None:
            size += 16 + len(task.workflow or "")
            size += sum(48 + len(name) for name in task.need)
            size += sum(64 + len(edge.task) + 4 * len(edge.into) for edge in task.after)
            size += sum(16 + len(name) + 4 * len(text) for name, text in task.labels.items())
    return size


def lane_key(parcel: Parcel, rule: Rule) -> LaneKey:
    """Where a parcel goes: the shard and the service of all its tasks (empty if they are of several), and whether results
    are wanted. Raises Divided.
    """
    service = service_of(parcel.tasks[0].type)
    if len(parcel.tasks) > 1 and any(service_of(task.type) != service for task in parcel.tasks):
        service = ""
    if rule.alone:
        return DEFAULT_SHARD, service, parcel.reply
    shards = dict.fromkeys(rule.of(service_of(task.type), task.tenant) for task in parcel.tasks)
    if len(shards) > 1:
        raise Divided(list(shards))
    return next(iter(shards)), service, parcel.reply


class Divided(Exception):
    """Tasks that must travel together belong to several shards."""

    def __init__(self, shards: list[str]) -> None:
        super().__init__(", ".join(shards))


class Place(Enum):
    """Where a parcel is at this moment."""

    NOWHERE = "nowhere"
    """Confirmed, or there is no session."""
    QUEUED = "queued"
    FLYING = "flying"


class Held(Struct, eq=False, gc=False):
    """A parcel that somebody still waits for; ``over`` once nobody does. Nothing in it points back, so Python need not look for
    cycles (``gc=False``): with ten thousand open, that takes a producer a good part of its time."""

    parcel: Parcel
    by: Nanos
    weight: int
    left: int
    """Results that have not come."""
    key: LaneKey | None = None
    """Once it was queued: it stays there, for its shard alone knows its tasks."""
    accepted: bool = False
    doubt: bool = False
    """A message with it was lost: it may have arrived."""
    place: Place = Place.NOWHERE
    over: bool = False
    rounds: int = 0
    """How often was looked for its answer, and none was there."""

    def ids(self) -> list[TaskId]:
        return [task.id for task in self.parcel.tasks]


class Lane:
    """Parcels with one key, in the order they will be sent."""

    __slots__ = ("_line", "bytes", "flights", "key", "parcels", "pause", "refusal", "tasks", "until")

    def __init__(self, key: LaneKey) -> None:
        self.key = key
        self.flights = 0
        """Messages under way."""
        self.until: Nanos = 0
        """Pausing until then; 0: not."""
        self.pause: Nanos = 0
        """How long the last pause was."""
        self.refusal: Cause | None = None
        """Why the broker did not take the last message; none if it did."""
        self.parcels = self.tasks = self.bytes = 0
        """What waits in the line."""
        self._line: deque[Held] = deque()

    def may_leave(self, now: Nanos, limits: Limits) -> bool:
        """Whether a message of it may leave: the first at once, others when they are full."""
        if self.until > now or not self.parcels:
            return False
        self.until = 0
        if self.flights == 0:
            return True
        if self.refusal is not None:  # one message tries whether the way is free again
            return False
        full = self.tasks >= limits.tasks or self.bytes >= limits.bytes
        return full and self.flights < limits.depth

    def push(self, held: Held) -> None:
        """To the end of the line."""
        self._line.append(held)
        self._enter(held)

    def push_back(self, cargo: Sequence[Held]) -> None:
        """To the head of the line, in this order: they have been there before."""
        for held in reversed(cargo):
            if not held.over:
                self._line.appendleft(held)
                self._enter(held)

    def discard(self, held: Held) -> None:
        """This one, which stands in the line, is over."""
        held.place = Place.NOWHERE
        self.parcels -= 1
        self.tasks -= len(held.parcel.tasks)
        self.bytes -= held.weight
        if len(self._line) > 64 and len(self._line) > 2 * self.parcels:
            self._line = deque(each for each in self._line if not each.over)

    def take(self, limits: Limits) -> list[Held]:
        """As many as fit into a message, at least one if any waits. They are flying now."""
        cargo: list[Held] = []
        line, tasks, size = self._line, 0, 0
        while line:
            held = line[0]
            if not held.over:
                more, heavier = tasks + len(held.parcel.tasks), size + held.weight
                if cargo and (more > limits.tasks or heavier > limits.bytes):
                    break
                tasks, size = more, heavier
                held.place = Place.FLYING
                cargo.append(held)
            line.popleft()
        self.parcels -= len(cargo)
        self.tasks -= tasks
        self.bytes -= size
        return cargo

    def relieve(self) -> None:
        """The broker took a message: no reason to pause."""
        self.until = self.pause = 0
        self.refusal = None

    def _enter(self, held: Held) -> None:
        held.place = Place.QUEUED
        self.parcels += 1
        self.tasks += len(held.parcel.tasks)
        self.bytes += held.weight
