"""What peers say to each other: every message, as frozen data.

Law: types only, no behaviour, no bytes. A message here is one AMQP message body: a msgpack map with ``kind`` (the tag
below) and, if it is not 1, ``v`` (the version; the codec's affair). Batching is the rule: a message carries many tasks,
reports or orders. Values of users (arguments, results, checkpoints) travel as msgpack inside a ``bin``: nobody between
producer and handler opens them.

    producer     -> coordinator   Submit, Control
    coordinator  -> producer      Results, Answer
    agent        -> coordinator   Announce, Beat, Held, Notes, Leave (soft: said again if lost), Reports (durable)
    coordinator  -> agent         Orders (to one incarnation), Echo (to all)

Every optional field has a default and may be left out. Unknown fields are ignored: that is how some may be added later.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct

from orchestrator.vocabulary import ID_PATTERN, NAME_PATTERN, Attempt

VERSION = 1
"""Of every message here. A later version may add optional fields without a new number."""

MOST_TASKS = 4096
"""In one Submit."""
MOST_LISTED = 500
"""Attempts named by one Beat; an agent with more names none."""
MOST_HELD = 20_000
"""Attempts of one agent (it refuses new work long before)."""
MOST_BARE = 65_536
"""Entries of a list or map of bare numbers: three bytes make one, so the size of the body would allow too many."""
MOST_RESOURCES = 32
"""Kinds of resources that a task asks for, or an instance has."""

# --- limits, as types: the codec refuses what does not fit, before any of it reaches a machine ------------------------

Id: TypeAlias = Annotated[str, Meta(pattern=ID_PATTERN)]
Name: TypeAlias = Annotated[str, Meta(pattern=NAME_PATTERN)]
Type: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\.[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")]
Text: TypeAlias = Annotated[str, Meta(max_length=4096)]
Queue: TypeAlias = Annotated[str, Meta(min_length=1, max_length=255)]
Blob: TypeAlias = Annotated[bytes, Meta(max_length=1024 * 1024)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
Span: TypeAlias = Annotated[int, Meta(ge=0, le=366 * 24 * 3600 * 10**9)]
Instant: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Amount: TypeAlias = Annotated[float, Meta(ge=0, le=1e12)]
Priority: TypeAlias = Annotated[int, Meta(ge=-1000, le=1000)]


class Message(Struct, frozen=True, omit_defaults=True, tag_field="kind"):
    """The root of all messages."""


class Part(Struct, frozen=True, omit_defaults=True):
    """The root of what messages are made of."""


# --- producers --------------------------------------------------------------------------------------------------------


class Range(Part, frozen=True):
    """An elastic demand: at least ``min``, usefully up to ``max``."""

    min: Amount
    max: Amount


Need: TypeAlias = Annotated[dict[Name, Amount | Range], Meta(max_length=MOST_RESOURCES)]
"""What a task asks of the instance that runs it, by resource. Nothing said means ``{"slots": 1}``."""


class Edge(Part, frozen=True):
    """A dependency on another task of the same submission, and what its failure means for this one."""

    task: Id
    on_failure: Literal["fail", "skip", "continue"] = "fail"


class Task(Part, frozen=True):
    """One unit of work, as its producer asks for it."""

    id: Id
    type: Type
    args: Blob = b"\x80"
    """msgpack map of keyword arguments."""
    need: Need = {}
    priority: Priority = 0
    """Higher goes first."""
    tenant: Annotated[str, Meta(max_length=64)] = ""
    deadline_ns: Instant | None = None
    """Unix time; a task not started by then ends as ``expired``."""
    start_ns: Instant | None = None
    """Unix time; not assigned before."""
    timeout_ns: Span | None = None
    """Longest run of one attempt; none: the handler's own."""
    retries: Annotated[int, Meta(ge=0, le=1000)] | None = None
    """Further attempts after a failure; none: the handler's own."""
    estimate_ns: Span | None = None
    """The producer's guess of the run time."""
    overlap: Literal["lease", "never"] = "lease"
    """``never``: moved only after the lease of a lost instance is over, whatever the evidence."""
    after: Annotated[list[Edge], Meta(max_length=1000)] = []
    labels: Annotated[dict[Name, Text], Meta(max_length=32)] = {}


class Submit(Message, frozen=True, tag="submit"):
    """Tasks for the backlog. AMQP ``reply_to``: the queue for their results, bound to ``orchestrator.results``."""

    tasks: Annotated[list[Task], Meta(min_length=1, max_length=MOST_TASKS)]


class Control(Message, frozen=True, tag="control"):
    """An operator's question or will; answered by ``Answer`` with the same ``id`` to the AMQP ``reply_to``."""

    id: Id
    op: Annotated[str, Meta(max_length=32)]
    args: dict[str, Any] = {}


Outcome: TypeAlias = Literal["done", "failed", "cancelled", "expired", "refused"]


class Error(Part, frozen=True):
    """Why something did not work, for people: what happened, what it means, what to do."""

    kind: Annotated[str, Meta(max_length=256)]
    """A stable word (``timeout``, ``lost``, ``unknown_handler`` …) or the exception's class name."""
    message: Text
    trace: Annotated[str, Meta(max_length=16384)] = ""


class Result(Part, frozen=True):
    """How a task ended. The first end in the ledger is the outcome; there is never a second one."""

    task: Id
    outcome: Outcome
    value: Blob | None = None
    """msgpack of what the handler returned, for ``done``."""
    error: Error | None = None
    attempts: Count = 0
    instance: str = ""
    accepted_ns: Instant = 0
    started_ns: Instant = 0
    ended_ns: Instant = 0


class Results(Message, frozen=True, tag="results"):
    items: list[Result]


class Answer(Message, frozen=True, tag="answer"):
    id: Id
    ok: bool
    value: Any = None
    error: Error | None = None


# --- agents: soft words, said again when lost -------------------------------------------------------------------------


class Handler(Part, frozen=True):
    """A handler that a service offers, with what holds for its tasks unless a task says otherwise."""

    name: Name
    timeout_ns: Span | None = None
    retries: Annotated[int, Meta(ge=0, le=1000)] = 2
    backoff_ns: Span = 1_000_000_000
    """Wait before the first retry; doubles with each, with jitter, up to ``backoff_max_ns``."""
    backoff_max_ns: Span = 300_000_000_000
    need: Need = {}
    estimate_ns: Span | None = None
    doc: Text = ""


class Dependency(Part, frozen=True):
    """A service that this one needs: before it is ready (``start``), or at each assignment (``dispatch``)."""

    service: Name
    at: Literal["start", "dispatch"] = "start"


class Announce(Message, frozen=True, tag="announce"):
    """I am here. Said again with every beat until a ``sync`` order answers it."""

    instance: Id
    incarnation: Id
    """New at every connection, never used again. The queue is ``orchestrator.agent.<incarnation>``."""
    service: Name
    handlers: Annotated[list[Handler], Meta(max_length=1000)]
    capacity: Annotated[dict[Name, Amount], Meta(max_length=MOST_RESOURCES)]
    version: Annotated[str, Meta(max_length=64)] = ""
    depends_on: Annotated[list[Dependency], Meta(max_length=100)] = []
    labels: Annotated[dict[Name, Text], Meta(max_length=32)] = {}


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


class Holding(Part, frozen=True):
    """An attempt that an agent has, and with what it was granted."""

    task: Id
    attempt: Attempt
    state: Literal["waiting", "running", "finished"]
    """``finished``: its report is not released yet; the report itself is sent again."""
    grant: Annotated[dict[Name, Amount], Meta(max_length=MOST_RESOURCES)] = {}


class Held(Message, frozen=True, tag="held"):
    """The answer to ``sync``: everything this incarnation has, so that a new leader knows what may be running."""

    incarnation: Id
    seq: Count
    epoch: Count
    drained: Count
    attempts: Annotated[list[Holding], Meta(max_length=MOST_HELD)] = []


class Note(Part, frozen=True):
    """A soft word about an attempt; losing it costs nothing but knowledge."""

    task: Id
    attempt: Attempt
    what: Literal["started", "progress", "stopped", "refused"]
    at_ns: Instant = 0
    """When, on the agent's clock (cargo: shown, never compared)."""
    fraction: Annotated[float, Meta(ge=0, le=1)] | None = None
    text: Text = ""
    """Progress: what the handler says. Refused: why."""
    epoch: Count = 0
    """Refused: the epoch this agent obeys."""


class Notes(Message, frozen=True, tag="notes"):
    """``stopped`` answers a ``stop`` order: the attempt does not run here (any more) and will never report."""

    incarnation: Id
    items: list[Note]
    drained: Count = 0


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
    retry: bool = True
    """Failed: whether another attempt may help (a wrong argument will not get better)."""
    started_ns: Instant = 0
    ended_ns: Instant = 0
    """On the agent's clock (cargo)."""


class Checkpoint(Part, frozen=True):
    """Work worth keeping: handed to the next attempt of the task."""

    task: Id
    attempt: Attempt
    state: Blob


class Reports(Message, frozen=True, tag="reports"):
    incarnation: Id
    items: list[Report] = []
    checkpoints: list[Checkpoint] = []


# --- coordinator to agents --------------------------------------------------------------------------------------------


class Assignment(Part, frozen=True):
    """Run this. The agent checks its window immediately before the start."""

    task: Id
    n: Count
    """The attempt is (epoch of the orders, n)."""
    handler: Name
    args: Blob
    grant: dict[str, Amount]
    number: Count = 1
    """Which try of the task this is, counted from 1."""
    timeout_ns: Span | None = None
    deadline_ns: Instant | None = None
    checkpoint: Blob | None = None
    tenant: str = ""


class Stop(Part, frozen=True):
    """Recall: not started yet -> drop it; running -> cancel it. Always answered: by ``stopped`` or its report."""

    task: Id
    attempt: Attempt
    reason: Annotated[str, Meta(max_length=256)] = ""
    preempt: bool = False


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


class Echo(Message, frozen=True, tag="echo"):
    """To all agents: the leader of this epoch has heard these beats. Said only while its own ticks are read back."""

    epoch: Count
    heard: Annotated[dict[str, Count], Meta(max_length=MOST_BARE)]
    """Incarnation -> last seq heard."""


AnyMessage: TypeAlias = (
    Submit | Control | Results | Answer | Announce | Beat | Held | Notes | Leave | Reports | Orders | Echo
)
