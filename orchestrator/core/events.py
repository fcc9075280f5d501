"""Everything that may change the coordinator's mind.

Law: there is no other way in. A beat, an operator's will, a fact read from the ledger and the passing of time all come
through ``Coordinator.step(now, events)``; a list of events reproduces any state and so any bug. Events are frozen; what the
broker needs to settle a delivery later travels as an opaque ``handle``.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from msgspec import Struct, field

from orchestrator.vocabulary import Ending
from orchestrator.wire.facts import Entry
from orchestrator.wire.messages import AnyMessage

Handle: TypeAlias = Any
"""A delivery as the shell knows it. The core only gives it back, in ``Settle``."""


class Arrived(Struct, frozen=True):
    """A peer's message. ``handle`` is none for soft words, which need no settling."""

    message: AnyMessage
    handle: Handle = None
    reply_to: str = ""
    user: str = ""


class Garbled(Struct, frozen=True):
    """Bytes that are no message, or one that is not for this queue: counted and quarantined with the reason, never raised."""

    where: str
    """The queue that it came through."""
    reason: str
    sample: bytes
    handle: Handle = None
    reply_to: str = ""
    tasks: tuple[str, ...] = ()
    """Ids of tasks in it that can be read all the same: their producer is told."""
    user: str = ""
    digest: str = ""
    """SHA-256 of the whole, hex."""
    what: Literal["malformed", "misplaced"] = "malformed"
    more: list[Handle] = field(default_factory=list)
    """Others of the same sort, from the same queue and user, that came in the same turn: their handles stand for them."""


class Read(Struct, frozen=True):
    """An entry of the ledger, in order, whoever wrote it. ``size`` is its length in bytes on the stream."""

    offset: int
    size: int
    entry: Entry


class SessionOpened(Struct, frozen=True):
    """Connections stand and the ledger is being tailed. ``nonce`` names this session in the ledger."""

    nonce: str


class SessionLost(Struct, frozen=True):
    """Connections are gone: every handle, every command under way is void."""

    why: str


class TokenHeld(Struct, frozen=True):
    """The broker hints that no other leader is connected: time to claim."""


class Returned(Struct, frozen=True):
    """Orders for this incarnation found no queue: they reached nobody, and it is gone."""

    incarnation: str
    epoch: int
    seq: int
    """Which orders: ``Orders.epoch`` and ``Orders.seq``."""


class QueueDeleted(Struct, frozen=True):
    """The broker says the exclusive queue of this incarnation is deleted, and how its connection ended."""

    incarnation: str
    how: Ending = "broken"


class Sent(Struct, frozen=True):
    """A ``SendResults`` or ``Bury`` with this token is confirmed by the broker (or nobody is there to read it)."""

    token: int
    unroutable: bool = False


class LedgerLost(Struct, frozen=True):
    """The ledger ends (at ``end``, its first free offset) before what was read of it: it was made anew, or has lost its end."""

    end: int


class LedgerBegins(Struct, frozen=True):
    """The oldest entry that the broker still has of the ledger is at this offset; None: it did not say."""

    offset: int | None


class BrokerBlocked(Struct, frozen=True):
    """An alarm at the broker stops publishers (or no longer does)."""

    blocked: bool


class TimePassed(Struct, frozen=True):
    """Nothing happened but time."""


Event: TypeAlias = (
    Arrived
    | Garbled
    | Read
    | LedgerLost
    | LedgerBegins
    | SessionOpened
    | SessionLost
    | TokenHeld
    | Returned
    | QueueDeleted
    | Sent
    | BrokerBlocked
    | TimePassed
)
