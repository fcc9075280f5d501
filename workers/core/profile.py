"""What an agent is (said once, at its birth) and the limits it keeps. Every number has a unit and a reason."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from orchestrator.vocabulary import NS_PER_MS, NS_PER_S, Nanos
from orchestrator.wire.messages import MOST_LISTED, Announce, Dependency, Handler


class Lane(Struct, frozen=True):
    """A way of running handlers, and how many it can run at once."""

    name: str
    places: int | None = None
    """None: as many as the coordinator assigns. A lane without a free place keeps its attempts *waiting*, unstarted."""


class Profile(Struct, frozen=True):
    """Who this agent is, as it announces itself."""

    instance: str
    service: str
    capacity: Mapping[str, float]
    handlers: tuple[Handler, ...] = ()
    version: str = ""
    depends_on: tuple[Dependency, ...] = ()
    labels: Mapping[str, str] = {}
    devices: Mapping[str, tuple[str, ...]] = {}
    """Resources that come in single devices, with their names."""
    lanes: tuple[Lane, ...] = (Lane("async"),)
    """The first one is the lane of every handler that ``lane_of`` does not name."""
    lane_of: Mapping[str, str] = {}
    """Handler -> name of its lane."""

    def announcement(self, incarnation: str) -> Announce:
        """What a new incarnation says of itself."""
        return Announce(
            instance=self.instance,
            incarnation=incarnation,
            service=self.service,
            handlers=list(self.handlers),
            capacity=dict(self.capacity),
            version=self.version,
            depends_on=list(self.depends_on),
            labels=dict(self.labels),
            devices={resource: list(names) for resource, names in self.devices.items()},
        )


class Limits(Struct, frozen=True):
    """Numbers that hold for one agent. Spans in nanoseconds, sizes in bytes."""

    beat_ns: Nanos = NS_PER_S
    beat_jitter: float = 0.1
    """Each beat comes this share earlier or later, so that a thousand agents started together do not beat together."""
    reconnect_ns: Nanos = 100 * NS_PER_MS
    """Wait before the first reconnect; doubles up to ``reconnect_max_ns``, each drawn between half and whole."""
    reconnect_max_ns: Nanos = 3 * NS_PER_S
    """Well below the 6 s for which a coordinator waits for one whose queue went with the broker."""
    answer_ns: Nanos = 5 * NS_PER_S
    """One that announces itself and is not answered for so long comes back anew, should its queue be lost and nobody have told it;
    doubles up to ``answer_max_ns``, should nobody coordinate. With the wait before it still below those 6 s. Whose connections took
    longer to open waits as long as they did."""
    answer_max_ns: Nanos = 60 * NS_PER_S
    body_bytes_max: int = (1024 + 64) * 1024
    """Of one message, as the coordinator's codec allows it: the largest value, and room for what is around it."""
    items_max: int = 1000
    """Reports or notes in one message: the receiver's step stays short, whatever was waiting here."""
    reports_max: int = 10_000
    """Unreleased reports beyond which new work is refused.

    A coordinator that does not release must not fill our memory.
    """
    report_bytes_max: int = 256 * 1024 * 1024
    """The same in bytes of values and errors."""
    held_bytes_max: int = 768 * 1024
    """Ids of everything held, in bytes: beyond it new work is refused, because ``Held`` is one message and must fit."""
    listed_max: int = MOST_LISTED
    """Attempts that a beat lists; with more it says "too many"."""
    started_ns: Nanos = 200 * NS_PER_MS
    """The start of a task's first try is said so late: for eyes that is soon enough, and most tasks are over before."""
    progress_ns: Nanos = 200 * NS_PER_MS
    """Progress leaves at most this often: it is for eyes, which are slower than handlers."""
    soft_share: float = 0.8
    """When this share of a grace period is over, what still runs is asked for a checkpoint."""
    stop_wait_ns: Nanos = 2 * NS_PER_S
    """How long a shutdown waits for handlers that were told to stop and have not."""
    heed_ns: Nanos = 5 * NS_PER_S
    """A handler that was told to stop and has not after so long is pointed out: nobody else can see why its place stays taken."""
    release_wait_ns: Nanos = 3 * NS_PER_S
    """How long a shutdown waits until its reports are released."""
    resend_ns: Nanos = 30 * NS_PER_S
    """A report that a leader who lives has not released for so long is sent again."""
    grace_ns: Nanos = 10 * NS_PER_S
    """Grace period of a drain that the coordinator orders."""

    @property
    def value_bytes_max(self) -> int:
        """The largest result or checkpoint that fits a message with everything around it (an error's trace
        included).
        """
        return min(self.body_bytes_max - 4096, 1024 * 1024)
