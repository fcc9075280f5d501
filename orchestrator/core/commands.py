"""Everything the coordinator may ask of the world.

Law: a command is a promise that the shell carries out in the order given, and what becomes of it comes back as an event.
The gates of custody are already passed when a command leaves the core: no shell can settle too early by reordering.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from msgspec import Struct

from orchestrator.core.events import Handle
from orchestrator.wire.facts import Entry
from orchestrator.wire.messages import Answer, Echo, Orders, Result

Grounds: TypeAlias = Literal["dead", "quarantine"]


class Append(Struct, frozen=True):
    """Write this entry to the ledger. One is under way at a time; it counts when it is read back (``Read``)."""

    entry: Entry


class Settle(Struct, frozen=True):
    """These deliveries are safe in the ledger (or need not be): acknowledge them."""

    handles: tuple[Handle, ...]


class Send(Struct, frozen=True):
    """Orders for one incarnation, mandatory: unroutable comes back as ``Returned``."""

    queue: str
    orders: Orders


class Broadcast(Struct, frozen=True):
    """The echo, to every agent."""

    echo: Echo


class SendResults(Struct, frozen=True):
    """Results for one reply queue, mandatory and confirmed; comes back as ``Sent``."""

    token: int
    reply_to: str
    results: tuple[Result, ...]
    awaited: bool = False
    """A delivery is settled when they have arrived. Else ``Sent`` may come with whatever comes next."""


class Bury(Struct, frozen=True):
    """A letter about a task that failed for good (``dead``), or about what a peer must not send (``quarantine``); comes back as
    ``Sent``."""

    token: int
    letter: dict[str, Any]
    where: Grounds = "dead"


class Reply(Struct, frozen=True):
    """The answer to an operator's question."""

    reply_to: str
    answer: Answer


class OpenIntake(Struct, frozen=True):
    """Declare the intake queue of this service and consume it."""

    service: str


class Flow(Struct, frozen=True):
    """Consume the intake queues, or stop doing so because the backlog is full: the rest waits in the broker."""

    intake: bool


class Lead(Struct, frozen=True):
    """This session leads from here: consume intake, reports and control.

    Then lay a mark behind what is in the reports queue: an empty ``Reports`` of the incarnation ``mark``. When it is read, so are
    all reports that earlier leaders left. Said again, only the mark is laid anew.
    """

    epoch: int
    mark: str = ""


class LookAtLedger(Struct, frozen=True):
    """See at which offset the ledger begins, and say so (``LedgerBegins``)."""


class Resign(Struct, frozen=True):
    """Close this session; every handle of it is void. ``wait_ns``: not to come back before, so that two do not chase each other."""

    why: str
    wait_ns: int = 0


class Noted(Struct, frozen=True):
    """A decision worth a line in the log (``what`` is a word of the catalogue in ``live.telemetry``)."""

    what: str
    fields: dict[str, Any]


Command: TypeAlias = (
    Append | Settle | Send | Broadcast | SendResults | Bury | Reply | OpenIntake | Flow | Lead | LookAtLedger | Resign | Noted
)
