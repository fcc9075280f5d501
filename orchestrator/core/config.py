"""The numbers the core decides by. Each has a unit, a default and a reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orchestrator.vocabulary import NS_PER_MS, NS_PER_S, Nanos


@dataclass(frozen=True, slots=True)
class Config:
    """Numbers of the coordinator. Times in ns, sizes in bytes."""

    lease_ns: Nanos = 5 * NS_PER_S
    """How long we believe in an instance without hearing it: five missed beats."""
    return_ns: Nanos = 6 * NS_PER_S
    """An agent whose queue went with the broker, or a node of it, has so long to come back and say what it had finished; agents
    try at least every 3 s. Never longer than its lease."""
    quiet_ns: Nanos = 3 * NS_PER_S
    """When nothing was read from the ledger for so long (a leader ticks every 2 s), ends of connections prove nothing: agents whose
    windows nobody renews close theirs, soonest after a lease less a beat."""
    beat_ns: Nanos = NS_PER_S
    """How often agents beat; silence of *all* for longer than two of these is our trouble, not theirs."""
    echo_ns: Nanos = 500 * NS_PER_MS
    """How soon a beat is echoed at the latest: with the beat well below half a lease."""
    tick_ns: Nanos = 2 * NS_PER_S
    """A leader with nothing to say says so this often."""
    fresh_ns: Nanos = 6 * NS_PER_S
    """R10: assign, settle and echo only while something of our own was read back so recently: three ticks."""
    close_ns: Nanos = 10 * NS_PER_S
    """A leader that reads nothing of its own for so long gives up its session."""
    silent_ns: Nanos = 15 * NS_PER_S
    """A follower that reads nothing of anybody for so long claims without a hint: leaders tick, and a token can be lost."""
    wait_ns: Nanos = 3 * NS_PER_S
    """A deposed leader waits so long before it claims again."""
    remind_ns: Nanos = 3 * NS_PER_S
    """Where the ledger was lost, whoever did not lead waits so long for whoever did (a tenth of it): that one remembers most."""
    deaf_ns: Nanos = 4 * NS_PER_S
    """An instance that beats but does not drain its queue for so long is deaf."""
    resync_ns: Nanos = NS_PER_S
    """A sync is asked again at most this often."""
    dedup_ns: Nanos = 600 * NS_PER_S
    """R11: how long the id of an ended task is remembered; exceeds any deposed session's life (10 s) by far."""
    checkpoint_ns: Nanos = 10 * NS_PER_S
    """So long a task waits for the last checkpoint of an attempt that has stopped: it is in a durable queue that we read."""
    margin_ns: Nanos = 5 * NS_PER_S
    """The agent enforces an attempt's timeout; so much later the coordinator recalls it."""
    reservations: int = 1
    """So many heads of a service that fit nowhere have an instance kept for them (0: smaller tasks may pass them for ever)."""
    settle_after_ns: Nanos = 0
    """Submissions and reports are settled so long after what they brought was read back (``core.custody.ripening``)."""
    losses_max: int = 3
    """A task whose instances died under it so often is suspected of killing them, and ends as failed. Four that died before it was
    seen to start count as one. With one death less than that it meets no other such task on an instance (R8)."""
    services_max: int = 500
    """Services with an intake queue of their own: each takes a channel of ours. Submissions for others come by the common one."""
    backlog_max: int = 500_000
    """Tasks held in memory; beyond, the rest waits in the broker."""
    ledger_bytes_max: int = 2 * 1024**3
    """The cap of the stream."""
    reserve_bytes: int = 256 * 1024**2
    """R12: kept free for carrying forward: at least two appends and one stream segment."""
    estimates: Literal["learn", "trust"] = "learn"
    """``trust``: what a task says of its run time is taken as it is; ``learn``: it is corrected by what was seen."""
    remembered_max: int = 2_000_000
    """R11, in memory: of more ended tasks than this the ids are remembered a minute only (300 bytes each, 600 with a result)."""
    results_bytes_max: int = 64 * 1024**2
    """Results of ended tasks kept at hand for producers that ask again."""
    append_bytes_max: int = 4 * 1024**2
    """Facts of one append: RabbitMQ 4 refuses messages over 16 MiB."""
    inputs_bytes_max: int = 4 * 1024**2
    """Values of all parents of one task together: with its arguments and a checkpoint they must fit one message (8 MiB)."""
    orders_bytes_max: int = 512 * 1024
    """Arguments and values of parents in one message to an agent, unless a single task brings more."""
    results_message_bytes_max: int = 512 * 1024
    """Results in one message to a producer."""
