"""The queues and exchanges of the orchestrator, as data.

Law: every name is written here and nowhere else. Durable things are declared by coordinators alone;
everybody else checks (``Link.check``) and never makes them anew: a durable queue that is re-created silently is a loss
that nobody hears of.

    producers   -> orchestrator.tasks    (key: service)     -> orchestrator.tasks.<service>
                       no such key -> orchestrator.unknown -> orchestrator.tasks
    agents      -> orchestrator.agents   (key: reports)     -> orchestrator.reports
                                         (key: registry)    -> orchestrator.registry.<nonce>, one per coordinator
    operators   -> orchestrator.control  (key: control)     -> orchestrator.control
    coordinator -> orchestrator.orders   (key: queue)       -> orchestrator.agent.<incarnation>
                -> orchestrator.echo     (to every agent)   -> orchestrator.agent.<incarnation>
                -> orchestrator.results  (key: queue)       -> orchestrator.results.<nonce>
                -> orchestrator.internal (key: ledger)      -> orchestrator.ledger, a stream
                                         (key: leader)      -> orchestrator.leader
                                         (key: dead)        -> orchestrator.dead, also for what intake dead-letters
                         (key: quarantine)  -> orchestrator.quarantine, samples of what peers must not send

Three kinds of queue:

* durable and shared. Classic on a single node, quorum when ``replicated``. Each states its type, so that a virtual
  host's default type does not decide. What one coordinator at a time should read is single-active-consumer: a hint, no
  lock.
* the ledger, a stream: read again at will, cut off by size at its old end.
* exclusive to a connection, named once and never again: gone with their owner, which is evidence that it is gone.

All names here are those of the shard ``default``. Another shard has the same under ``orchestrator.@NAME.`` (``within``),
so what is said of ``orchestrator.*`` in a broker's rights and policies holds for all. No name of ``default`` begins so,
and a shard's name has neither ``@`` nor a dot, so no shard can reach another's queues by its name. Keys (``reply_to``
too) are the same in each. Shared by all is where the rule stands by which tasks find their shard:

    coordinator -> orchestrator.internal (key: shards)      -> orchestrator.shards, a stream of which the last message counts

Quorum queues get a delivery limit of a million: without one, brokers from 4.0 on drop a message after 20 returns, and a
coordinator that crashes returns all it held; with -1, brokers before 4.0 drop everything at the first return.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from orchestrator.vocabulary import DEFAULT_SHARD

Arguments = Mapping[str, str | int | bool]

# exchanges
TASKS: Final = "orchestrator.tasks"
UNKNOWN: Final = "orchestrator.unknown"
AGENTS: Final = "orchestrator.agents"
ORDERS: Final = "orchestrator.orders"
ECHO: Final = "orchestrator.echo"
RESULTS: Final = "orchestrator.results"
CONTROL: Final = "orchestrator.control"
INTERNAL: Final = "orchestrator.internal"

# durable queues (TASKS and CONTROL name a queue as well as the exchange before it)
REPORTS: Final = "orchestrator.reports"
LEADER: Final = "orchestrator.leader"
DEAD: Final = "orchestrator.dead"
QUARANTINE: Final = "orchestrator.quarantine"
LEDGER: Final = "orchestrator.ledger"
SHARDS: Final = "orchestrator.shards"

# keys
KEY_REPORTS: Final = "reports"
KEY_REGISTRY: Final = "registry"
KEY_CONTROL: Final = "control"
KEY_LEDGER: Final = "ledger"
KEY_LEADER: Final = "leader"
KEY_DEAD: Final = "dead"
KEY_SHARDS: Final = "shards"
KEY_QUARANTINE: Final = "quarantine"

AGENT_PREFIX: Final = "orchestrator.agent."

CONTROL_TTL_MS: Final = 60_000
"""A wish of an operator that nobody took for a minute is an old wish."""
DELIVERY_LIMIT: Final = 1_000_000
DEAD_BYTES_MAX: Final = 1 << 30
"""Dead letters kept on the broker; beyond, the oldest go. (A letter has a task's arguments and the story of its attempts.)"""
QUARANTINE_MAX: Final = 10_000
QUARANTINE_BYTES_MAX: Final = 32 << 20
"""Samples kept of what peers must not send, a kibibyte or two each; beyond, the oldest go. A queue of its own, so that no flood of
rubbish drives out the stories of tasks that failed."""


OURS: Final = "orchestrator."
SHARDS_BYTES_MAX: Final = 2 * 1024**2
"""Of the stream that holds the rule: a few hundred bytes each time it changes."""


@lru_cache(maxsize=1024)
def within(shard: str, name: str) -> str:
    """What an exchange or queue of ours is called in a shard. What is not ours, or says its shard already, keeps its name."""
    if shard == DEFAULT_SHARD or name == SHARDS or not name.startswith(OURS) or name.startswith(f"{OURS}@"):
        return name
    return f"{OURS}@{shard}.{name.removeprefix(OURS)}"


def is_ledger(name: str) -> bool:
    """Whether a queue of this name holds a ledger, of whichever shard."""
    shard = name.removeprefix(f"{OURS}@").partition(".")[0]
    return name == LEDGER or name == within(shard, LEDGER)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange. ``kind`` is ``direct`` or ``fanout``."""

    name: str
    kind: str
    arguments: Arguments = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue: durable, or exclusive to the connection that declares it and gone with it."""

    name: str
    exclusive: bool = False
    arguments: Arguments = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Binding:
    """From an exchange to a queue, by key."""

    exchange: str
    queue: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Topology:
    """What to declare, in this order: exchanges, queues, bindings."""

    exchanges: tuple[Exchange, ...] = ()
    queues: tuple[Queue, ...] = ()
    bindings: tuple[Binding, ...] = ()

    def __add__(self, other: Topology) -> Topology:
        return Topology(self.exchanges + other.exchanges, self.queues + other.queues, self.bindings + other.bindings)

    def within(self, shard: str) -> Topology:
        """The same in a shard: names, and the exchanges that arguments name."""
        if shard == DEFAULT_SHARD:
            return self
        return Topology(
            tuple(replace(one, name=within(shard, one.name), arguments=_within(shard, one.arguments)) for one in self.exchanges),
            tuple(replace(one, name=within(shard, one.name), arguments=_within(shard, one.arguments)) for one in self.queues),
            tuple(replace(one, exchange=within(shard, one.exchange), queue=within(shard, one.queue)) for one in self.bindings),
        )


def _within(shard: str, arguments: Arguments) -> Arguments:
    naming = ("alternate-exchange", "x-dead-letter-exchange")
    return {key: within(shard, value) if key in naming and isinstance(value, str) else value for key, value in arguments.items()}


def base(
    *,
    ledger_max_bytes: int,
    ledger_segment_bytes: int,
    replicated: bool = False,
    intake_max_bytes: int | None = None,
) -> Topology:
    """Everything durable but the queues of single services.

    ``ledger_max_bytes`` caps the ledger, which is cut off by whole segments of ``ledger_segment_bytes`` at its old
    end. ``replicated`` makes quorum queues (three nodes or more); a ledger is replicated as far as there are nodes.
    ``intake_max_bytes`` caps what may wait in one intake queue; beyond it submissions are refused (None: the disk is
    the cap). All four hold for as long as the queues are there: whoever declares them otherwise gets TopologyMismatch.
    """
    exchanges = (
        Exchange(UNKNOWN, "fanout"),
        Exchange(TASKS, "direct", {"alternate-exchange": UNKNOWN}),
        Exchange(AGENTS, "direct"),
        Exchange(ORDERS, "direct"),
        Exchange(ECHO, "fanout"),
        Exchange(RESULTS, "direct"),
        Exchange(CONTROL, "direct"),
        Exchange(INTERNAL, "direct"),
    )
    single = {"x-single-active-consumer": True}
    queues = (
        Queue(  # before all others: so if these are there, and it is not, it was deleted
            LEDGER,
            arguments={
                "x-queue-type": "stream",
                "x-max-length-bytes": ledger_max_bytes,
                "x-stream-max-segment-size-bytes": ledger_segment_bytes,
            },
        ),
        _intake_queue(TASKS, replicated, intake_max_bytes),
        Queue(REPORTS, arguments={**_durable(replicated), **single}),
        Queue(CONTROL, arguments={**_durable(replicated), **single, "x-message-ttl": CONTROL_TTL_MS}),
        Queue(LEADER, arguments={**_durable(replicated), **single, "x-max-length": 1}),
        Queue(DEAD, arguments={**_durable(replicated), "x-max-length-bytes": DEAD_BYTES_MAX, "x-overflow": "drop-head"}),
        Queue(
            QUARANTINE,
            arguments={
                **_durable(replicated),
                "x-max-length": QUARANTINE_MAX,
                "x-max-length-bytes": QUARANTINE_BYTES_MAX,
                "x-overflow": "drop-head",
            },
        ),
    )
    bindings = (
        Binding(UNKNOWN, TASKS),
        Binding(AGENTS, REPORTS, KEY_REPORTS),
        Binding(CONTROL, CONTROL, KEY_CONTROL),
        Binding(INTERNAL, LEDGER, KEY_LEDGER),
        Binding(INTERNAL, LEADER, KEY_LEADER),
        Binding(INTERNAL, DEAD, KEY_DEAD),
        Binding(INTERNAL, QUARANTINE, KEY_QUARANTINE),
    )
    return Topology(exchanges, queues, bindings)


def rule() -> Topology:
    """Where the rule of the shards stands. Only where there are shards, or were. Needs ``base`` of the shard ``default``."""
    stream: dict[str, str | int | bool] = {
        "x-queue-type": "stream",
        "x-max-length-bytes": SHARDS_BYTES_MAX,
        "x-stream-max-segment-size-bytes": SHARDS_BYTES_MAX // 2,
    }
    return Topology(queues=(Queue(SHARDS, arguments=stream),), bindings=(Binding(INTERNAL, SHARDS, KEY_SHARDS),))


def intake_queue(service: str) -> str:
    """Where submissions for a service wait."""
    return f"{TASKS}.{service}"


def intake(service: str, *, replicated: bool = False, intake_max_bytes: int | None = None) -> Topology:
    """The intake of one service; declared when the service is first heard of. Needs ``base``."""
    queue = _intake_queue(intake_queue(service), replicated, intake_max_bytes)
    return Topology(queues=(queue,), bindings=(Binding(TASKS, queue.name, service),))


def agent_queue(incarnation: str) -> str:
    """Where an agent's orders arrive. Its deletion is evidence that the incarnation is gone."""
    return f"{AGENT_PREFIX}{incarnation}"


def agent_inbox(incarnation: str) -> Topology:
    """An agent's own queue, bound to orders for it and to the leader's echo."""
    name = agent_queue(incarnation)
    return Topology(queues=(_exclusive(name),), bindings=(Binding(ORDERS, name, name), Binding(ECHO, name)))


def results_queue(nonce: str) -> str:
    """Where a producer's results arrive; its ``reply_to``."""
    return f"{RESULTS}.{nonce}"


def results_inbox(nonce: str, shards: Sequence[str] = (DEFAULT_SHARD,)) -> Topology:
    """A producer's own queue, bound to results for it in each of these shards."""
    name = results_queue(nonce)
    return Topology(queues=(_exclusive(name),), bindings=tuple(Binding(within(shard, RESULTS), name, name) for shard in shards))


def registry_queue(nonce: str) -> str:
    """Where one coordinator hears the agents."""
    return f"orchestrator.registry.{nonce}"


def registry_inbox(nonce: str, *, max_messages: int = 20_000, ttl_ms: int = 10_000) -> Topology:
    """A coordinator's own queue for announcements and beats. Old beats are worthless, so it is short and forgetful:
    a coordinator that stalls must not come back to an hour of heartbeats (nor fill the broker's memory with them)."""
    name = registry_queue(nonce)
    queue = _exclusive(name, {"x-max-length": max_messages, "x-overflow": "drop-head", "x-message-ttl": ttl_ms})
    return Topology(queues=(queue,), bindings=(Binding(AGENTS, name, KEY_REGISTRY),))


def _exclusive(name: str, arguments: Arguments | None = None) -> Queue:
    return Queue(name, exclusive=True, arguments={"x-queue-type": "classic", **(arguments or {})})


def _durable(replicated: bool) -> dict[str, str | int | bool]:
    if replicated:
        return {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT}
    return {"x-queue-type": "classic"}


def _intake_queue(name: str, replicated: bool, max_bytes: int | None) -> Queue:
    arguments = {
        **_durable(replicated),
        "x-single-active-consumer": True,
        "x-overflow": "reject-publish",
        "x-dead-letter-exchange": INTERNAL,
        "x-dead-letter-routing-key": KEY_DEAD,
    }
    if replicated:
        arguments["x-dead-letter-strategy"] = "at-least-once"
    if max_bytes is not None:
        arguments["x-max-length-bytes"] = max_bytes
    return Queue(name, arguments=arguments)
