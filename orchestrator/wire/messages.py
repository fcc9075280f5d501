"""What peers say to each other: every message, as frozen data.

Law: types only, no behaviour, no bytes. A message here is one AMQP message body: a msgpack map with ``kind`` (the tag below) and,
if it is not 1, ``v`` (the version; the codec's affair). Batching is the rule: a message carries many tasks, reports or orders.
Values of users (arguments, results, checkpoints) are msgpack inside a ``bin``; nobody opens them between producer and handler.

    producer     -> coordinator   Submit, Control
    coordinator  -> producer      Results, Answer
    agent        -> coordinator   Announce, Beat, Held, Notes, Leave (soft: said again if lost), Reports (durable)
    coordinator  -> agent         Orders (to one incarnation), Echo (to all)
    coordinator  -> all           Shards (kept in a stream, for whoever connects)

Every optional field has a default and may be left out. Unknown fields are ignored: that is how some may be added later.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta

from orchestrator.vocabulary import Attempt
from orchestrator.wire.roots import Message as Message
from orchestrator.wire.roots import Part as Part
from orchestrator.wire.shards import Shard as Shard
from orchestrator.wire.shards import Shards as Shards
from orchestrator.wire.tasks import Edge as Edge
from orchestrator.wire.tasks import Need as Need
from orchestrator.wire.tasks import Range as Range
from orchestrator.wire.tasks import Task as Task
from orchestrator.wire.types import LONGEST_NS as LONGEST_NS
from orchestrator.wire.types import (
    MOST_BARE,
    MOST_DEVICES,
    MOST_HELD,
    MOST_RESOURCES,
    Amount,
    Blob,
    Count,
    Id,
    Instant,
    Labels,
    Name,
    Span,
    Text,
    Tries,
)
from orchestrator.wire.types import MOST_BEFORE as MOST_BEFORE
from orchestrator.wire.types import MOST_LISTED as MOST_LISTED
from orchestrator.wire.types import MOST_TASKS as MOST_TASKS

VERSION = 1
"""Of every message here. A later version may add optional fields without a new number."""


# --- producers --------------------------------------------------------------------------------------------------------

Devices: TypeAlias = Annotated[dict[Name, Annotated[list[Id], Meta(max_length=MOST_DEVICES)]], Meta(max_length=MOST_RESOURCES)]
"""Single devices by resource: ``{"gpu": ["GPU-0", "GPU-1"]}``."""


class Submit(Message, frozen=True, tag="submit"):
    """Tasks for the backlog. AMQP ``reply_to``: the queue for their results, bound to ``orchestrator.results``."""

    tasks: Annotated[list[Task], Meta(min_length=1, max_length=MOST_TASKS)]
    """All of one service when they can be: the routing key is the service."""


class Control(Message, frozen=True, tag="control"):
    """An operator's question or will; answered by ``Answer`` with the same ``id`` to the AMQP ``reply_to``."""

    id: Id
    """Comes back in the answer."""
    op: Annotated[str, Meta(max_length=32)]
    """What is asked."""
    args: dict[str, Any] = {}
    """Of any shape; what they mean depends on ``op``."""


Outcome: TypeAlias = Literal["done", "failed", "cancelled", "expired", "refused", "skipped"]


class Error(Part, frozen=True):
    """Why something did not work, for people: what happened, what it means, what to do."""

    kind: Annotated[str, Meta(max_length=256)]
    """A stable word (``timeout``, ``quarantined``, ``unknown_handler`` …) or the exception's class name."""
    message: Text
    """What happened, what it means for the work, what to do."""
    trace: Annotated[str, Meta(max_length=16384)] = ""
    """Where in the handler, for its author."""


class Result(Part, frozen=True):
    """How a task ended. The first end in the ledger is the outcome; there is never a second one."""

    task: Id
    outcome: Outcome
    value: Blob | None = None
    error: Error | None = None
    """All others: why."""
    attempts: Count = 0
    """How many it took."""
    instance: str = ""
    """Where the last one ran."""
    accepted_ns: Instant = 0
    started_ns: Instant = 0
    ended_ns: Instant = 0
    first: Id | None = None
    """Another task with the same key, which came first: it ended so, and this one never ran."""


class Results(Message, frozen=True, tag="results"):
    """Tasks that have ended, to the queue that their producer named last. May be said twice."""

    items: list[Result]


class Answer(Message, frozen=True, tag="answer"):
    """The answer to a ``Control``."""

    id: Id
    """Of the question."""
    ok: bool
    """Whether it was done, or could be answered."""
    value: Any = None
    """Of any shape, as ``op`` has it."""
    error: Error | None = None
    """Not ok: why."""


# --- agents: soft words, said again when lost -------------------------------------------------------------------------


class Handler(Part, frozen=True):
    """A handler that a service offers, with what holds for its tasks unless a task says otherwise."""

    name: Name
    """The second word of the types of its tasks."""
    timeout_ns: Span | None = None
    """Longest run of one attempt; none: no limit."""
    retries: Tries = 2
    """Further attempts after a failure."""
    backoff_ns: Span = 1_000_000_000
    """Wait before the first retry; doubles with each, with jitter, up to ``backoff_max_ns``."""
    backoff_max_ns: Span = 300_000_000_000
    need: Need = {}
    """What its tasks ask for if they say nothing."""
    estimate_ns: Span | None = None
    doc: Text = ""
    preemptible: bool = False
    """A running attempt may be asked to make room for a more urgent task: it saves a checkpoint and stops, and goes on later."""


class Dependency(Part, frozen=True):
    """A service that this one needs."""

    service: Name
    at: Literal["start", "dispatch"] = "start"
    """``start``: not ready before that one is; ``dispatch``: no task is sent while that one is not there."""


class Announce(Message, frozen=True, tag="announce"):
    """I am here. Said again with every beat until a ``sync`` order answers it."""

    instance: Id
    """A name for people, the same after a restart (``gpu-a``)."""
    incarnation: Id
    """New at every connection, never used again. The queue is ``orchestrator.agent.<incarnation>``."""
    service: Name
    handlers: Annotated[list[Handler], Meta(max_length=1000)]
    capacity: Annotated[dict[Name, Amount], Meta(max_length=MOST_RESOURCES)]
    """What it has, by resource; ``slots`` is how many tasks that ask for nothing else it runs at once."""
    version: Annotated[str, Meta(max_length=64)] = ""
    depends_on: Annotated[list[Dependency], Meta(max_length=100)] = []
    labels: Labels = {}
    devices: Devices = {}
    """Resources that come in single devices: whole numbers are granted as whole devices, less than one as a part of a single one.
    If ``capacity`` does not say otherwise there are as many as are named."""


class Beat(Message, frozen=True, tag="beat"):
    """I am alive, I have drained my queue up to here, I hold these attempts."""

    incarnation: Id
    seq: Count
    """Rises by one with each Beat or Held of this incarnation; what the leader echoes."""
    epoch: Count = 0
    """The epoch whose sync was answered last; 0: none yet."""
    drained: Count = 0
    """The last ``Orders.seq`` of that epoch that was handled."""
    held: Annotated[list[Attempt], Meta(max_length=MOST_LISTED)] | None = None
    """Every attempt not released yet (waiting, running or finished); none: too many to list (over 500)."""
    load: Amount = 0
    """Busy share of the slots, 0…1."""
    draining: bool = False
    """It takes no new work and will leave."""


class Holding(Part, frozen=True):
    """An attempt that an agent has, and with what it was granted."""

    task: Id
    attempt: Attempt
    state: Literal["waiting", "running", "finished"]
    """``finished``: its report is not released yet; the report itself is sent again."""
    grant: Annotated[dict[Name, Amount], Meta(max_length=MOST_RESOURCES)] = {}
    """As it came with the assignment."""
    devices: Devices = {}
    """As they came with the assignment."""


class Held(Message, frozen=True, tag="held"):
    """The answer to ``sync``: everything this incarnation has, so that a new leader knows what may be running."""

    incarnation: Id
    seq: Count
    """Counts with the beats."""
    epoch: Count
    """The one that asked, obeyed from now on."""
    drained: Count
    """At least the ``seq`` of the orders that asked."""
    attempts: Annotated[list[Holding], Meta(max_length=MOST_HELD)] = []
    before: Annotated[list[Id], Meta(max_length=MOST_BEFORE)] = []
    """Incarnations that this agent was before, oldest first: nothing of them runs any more, what they had finished is in
    ``attempts``."""


class Note(Part, frozen=True):
    """A soft word about an attempt; losing it costs nothing but knowledge."""

    task: Id
    attempt: Attempt
    what: Literal["started", "progress", "stopped", "refused"]
    at_ns: Instant = 0
    """When, on the agent's clock (cargo: shown, never compared)."""
    fraction: Annotated[float, Meta(ge=0, le=1)] | None = None
    """Progress: the share that is done."""
    text: Text = ""
    """Progress: what the handler says. Refused: why (``epoch``, ``stale``, ``full``, ``draining``, ``expired``)."""
    epoch: Count = 0
    """Refused: the epoch this agent obeys."""
    saved: Count = 0
    """Stopped: the number (``nth``) of the attempt's last checkpoint; 0: none. The task goes on from that one."""


class Notes(Message, frozen=True, tag="notes"):
    """``stopped`` answers a ``stop`` order: the attempt does not run here (any more) and will never report."""

    incarnation: Id
    items: list[Note]
    drained: Count = 0
    """As in a beat."""


class Leave(Message, frozen=True, tag="leave"):
    """Goodbye: this incarnation holds nothing and will start nothing."""

    incarnation: Id
    reason: Text = ""


# --- agents: durable words --------------------------------------------------------------------------------------------


class Report(Part, frozen=True):
    """How an attempt ended, kept by the agent until released."""

    task: Id
    attempt: Attempt
    outcome: Literal["done", "failed"]
    value: Blob | None = None
    error: Error | None = None
    """Failed: why. Must be there then."""
    retry: bool = True
    """Failed: whether another attempt may help (a wrong argument will not get better)."""
    started_ns: Instant = 0
    """On the agent's clock (only the difference counts); 0: never started."""
    ended_ns: Instant = 0


class Checkpoint(Part, frozen=True):
    """Work worth keeping: handed to the next attempt of the task."""

    task: Id
    attempt: Attempt
    state: Blob
    """What the handler wants to find again."""
    nth: Count = 0
    """Which checkpoint of this attempt it is, counted from 1: the highest counts."""
    ran_ns: Span = 0
    """How long the task had run when it was saved: in this attempt, and before it as the assignment said (``ran_ns``)."""


class Reports(Message, frozen=True, tag="reports"):
    """What must not be lost: persistent, confirmed, and said again until released."""

    incarnation: Id
    """The present one, also for attempts of a former one."""
    items: list[Report] = []
    checkpoints: list[Checkpoint] = []


# --- coordinator to agents --------------------------------------------------------------------------------------------


class Parent(Part, frozen=True):
    """How a parent of an assigned task ended."""

    task: Id
    outcome: Outcome
    value: Blob | None = None
    """What it returned; only of one that is ``done``."""
    error: Error | None = None
    """All others: why."""
    into: list[str] = []
    """The arguments that take the value, as its edges name them: to be added to ``args``, nil if the parent is not ``done``."""


class Assignment(Part, frozen=True):
    """Run this. The agent checks its window immediately before the start."""

    task: Id
    n: Count
    """The attempt is (epoch of the orders, n)."""
    handler: Name
    args: Blob
    """As the producer packed them."""
    grant: dict[str, Amount]
    """What of the instance's resources is this attempt's until it is over."""
    number: Count = 1
    """Which try of the task this is, counted from 1."""
    timeout_ns: Span | None = None
    """Longest run; the agent stops it then and reports it as failed. None: the handler's own."""
    deadline_ns: Instant | None = None
    """Not to be started after this."""
    checkpoint: Blob | None = None
    """What the last attempt left."""
    tenant: str = ""
    parents: list[Parent] = []
    """Of a task with ``after``: each parent once, in the order of its edges."""
    devices: dict[str, list[str]] = {}
    """Which devices its grant is of, by resource, where the instance named any."""
    ran_ns: Span = 0
    """How much run time lies behind that checkpoint."""


class Stop(Part, frozen=True):
    """Recall: not started yet -> drop it; running -> cancel it. Always answered: by ``stopped`` or its report."""

    task: Id
    attempt: Attempt
    reason: Annotated[str, Meta(max_length=256)] = ""
    preempt: bool = False
    """A request: the handler may save a checkpoint and stop, or go on to its end. It is not killed."""


class Orders(Message, frozen=True, tag="orders"):
    """Everything the leader has for one incarnation at this moment."""

    incarnation: Id
    epoch: Count
    seq: Count
    """Rises by one with each Orders of this epoch to this incarnation, from 1."""
    heard: Count = 0
    """The last Beat/Held seq heard from this incarnation: renews its window like an echo."""
    sync: bool = False
    """Answer with ``Announce``, then ``Held``, and send unreleased reports again; from then on obey this epoch."""
    lease_ns: Span = 0
    """With ``sync``: how long a window lasts, from the sending of the beat that was echoed."""
    assign: list[Assignment] = []
    stop: list[Stop] = []
    release: Annotated[list[Attempt], Meta(max_length=MOST_BARE)] = []
    """Reports that are in the ledger: forget them. Also said of any attempt that is over."""
    drain: bool = False
    """Take no new work; finish; leave."""
    notice: Text = ""
    """Why you get no work at present: for your log, so that your people need not look elsewhere."""


class Echo(Message, frozen=True, tag="echo"):
    """To all agents: the leader of this epoch has heard these beats. Said only while its own ticks are read back."""

    epoch: Count
    heard: Annotated[dict[str, Count], Meta(max_length=MOST_BARE)]
    """Incarnation -> last seq heard."""


AnyMessage: TypeAlias = (
    Submit | Control | Results | Answer | Announce | Beat | Held | Notes | Leave | Reports | Orders | Echo | Shards
)
