"""What comes out of a queue, and what becomes of what is put in."""

from __future__ import annotations

from enum import Enum, unique
from typing import TypedDict

import msgspec


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """One message, as a queue delivered it to one session.

    ``session``, ``channel`` and ``tag`` are its handle: settle it only through the link that delivered it, and only
    while that lives. A link ignores (and counts) handles of another session, so a handle cannot settle somebody else's
    message.
    """

    body: bytes
    session: int
    """The link's process-unique number."""
    channel: int
    """The link's own number of the channel; unlike AMQP's it is never used twice."""
    tag: int
    redelivered: bool
    exchange: str
    routing_key: str
    reply_to: str | None = None
    user_id: str | None = None
    """The publisher's user, verified by the broker; None if the publisher did not say."""
    message_id: str | None = None
    correlation_id: str | None = None
    offset: int | None = None
    """Place in the stream; None for what comes from a queue."""
    headers: dict[str, object] | None = None
    """The header table without ``x-stream-offset``; values are plain Python, text that is not UTF-8 stays bytes."""
    flaw: str | None = None
    """What of the envelope could not be read, as a sentence; None if all could. The fields it names are None."""

    @property
    def receipt(self) -> Receipt:
        """All that it takes to settle it."""
        return Receipt(self.session, self.channel, self.tag)


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """The handle of a delivery, as is kept of it until it is settled: hundreds of bodies of a megabyte would be too much."""

    session: int
    channel: int
    tag: int


@unique
class Published(Enum):
    """What became of a message we published."""

    CONFIRMED = "confirmed"
    """The broker has it, in every queue it was routed to (non-mandatory: also if there was none)."""
    RETURNED = "returned"
    """Mandatory, and no queue is bound to that key: nobody has it."""
    NACKED = "nacked"
    """A queue refused it: it is full (``reject-publish``), or its leader failed."""
    LOST = "lost"
    """The session broke before the broker answered. It may have landed, or may yet."""


class How(TypedDict, total=False):
    """How to publish; what is left out is as said here."""

    mandatory: bool
    """Tell (RETURNED) when no queue is bound to the key. Default: yes."""
    persistent: bool
    """Write to disk where the queue is durable. Default: yes."""
    reply_to: str | None
    correlation_id: str | None
    user_id: str | None
    """Whom we authenticated as (``Link.user``), for the broker to verify; anything else closes the channel."""
    expiration_ms: int | None
    """Drop it when it has waited so long."""
