"""What can go wrong with a broker, in few words; and the one place where the library's exceptions become ours.

Every message has four parts: what happened, to whom; what it means for the work; what to do.

Three things are told apart, because the caller must act differently: a session that did not begin (``CannotConnect``),
a session that ended (``Broken``, data; ``LinkLost`` where somebody awaited an answer), and a broker that says no to
one request while the session lives on (``BrokerRefused`` and its kinds).
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, unique
from typing import Any

from aiormq.exceptions import (
    AMQPError,
    ChannelAccessRefused,
    ChannelLockedResource,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
)

from orchestrator.amqp.topology import is_ledger

INTERNAL = "541 INTERNAL_ERROR"
RESTART = (
    "if that repeats, the broker has lost a queue or stream that is there (seen when its nodes had not heard each other): restart "
    "its nodes, one by one; what they keep on disk stays"
)


@unique
class BrokenBy(Enum):
    """What ended a session."""

    CONNECTION = "connection"
    CHANNEL = "channel"
    CONSUMER = "consumer"
    BUG = "bug"
    """A sink of ours raised; ``Broken.error`` is the exception. Not to be retried."""
    REFUSED = "refused"
    """The broker did not answer a request, or lacks what the session needs."""
    CLOSED = "closed"
    """We closed it."""


@dataclass(frozen=True, slots=True)
class Broken:
    """Why a session is over. All its handles are void."""

    by: BrokenBy
    where: str
    """Which connection or consumer, in words."""
    reason: str
    error: BaseException | None = None
    wait_s: float = 0.0
    """The next session is not to begin before so many seconds have passed."""

    def __str__(self) -> str:
        if self.by is BrokenBy.CONSUMER:
            return (
                f"The broker ended the consumer of {self.where}: {self.reason}. Nothing arrives from there any more, so "
                "the whole session is over and begins anew. If the queue was deleted on purpose, stop whoever needs it; "
                "if not, it is made again only by whoever provisions it, and what was in it is gone."
            )
        if self.by is BrokenBy.BUG:
            return (
                f"Our own code failed while it took a message from {self.where}: {self.reason}. The session is over; "
                "what it held unsettled is delivered again. This is a bug: report it with the traceback."
            )
        if self.by is BrokenBy.REFUSED:
            return self.reason
        if self.by is BrokenBy.CLOSED:
            return f"The session was closed by us ({self.where}: {self.reason})."
        look = RESTART if INTERNAL in self.reason else "look at the broker if that repeats"
        return (
            f"The session with the broker is over: {self.where}: {self.reason}. Its deliveries come again, and "
            f"publishes without an answer may or may not have landed. It begins anew by itself; {look}."
        )


def made_again(kind: type[Exception], words: tuple[Any, ...]) -> Exception:
    """An exception as it was, from another process; its fields are set behind. ``__init__`` is not asked again: it took what the
    message was worded from, and Python would hand it the message."""
    error = kind.__new__(kind)
    error.args = words
    return error


class LinkError(Exception):
    """Something between us and the broker. The message is for a person."""

    def __reduce__(self) -> tuple[Any, ...]:
        return made_again, (type(self), self.args), self.__dict__


@unique
class Fault(Enum):
    """Why a session did not begin."""

    URL = "the address is not usable"
    REFUSED = "nobody listens there"
    UNREACHABLE = "the host cannot be reached"
    TIMEOUT = "no answer in time"
    TLS = "TLS was refused"
    AUTH = "the broker refused the user or password"
    VHOST = "the broker refused the virtual host"
    PROTOCOL = "the greeting was cut short"


OPERATOR_MUST_ACT = frozenset({Fault.URL, Fault.AUTH, Fault.VHOST, Fault.TLS})
"""Faults that no amount of waiting cures: somebody must change a setting, here or there."""

_ADVICE = {
    Fault.URL: "Write it as amqp://user:password@host:5672/vhost (amqps:// for TLS).",
    Fault.REFUSED: "Start the broker, or correct host and port.",
    Fault.UNREACHABLE: "Check the host's name, the network and its firewalls.",
    Fault.TIMEOUT: "See whether the broker is overloaded, starting, or behind a firewall that drops packets.",
    Fault.TLS: "Check the certificates, the authority's file, the host name they were made for, and that the port speaks TLS.",
    Fault.AUTH: "Correct the user or password; `rabbitmqctl authenticate_user` tells which is wrong. "
    "(The user guest may connect from the broker's own host only.)",
    Fault.VHOST: "Create it (`rabbitmqctl add_vhost`), give the user permissions in it, or correct the address's path.",
    Fault.PROTOCOL: "See the broker's log; it may be starting or stopping, or the port may belong to something else.",
}


class CannotConnect(LinkError):
    """No session could be opened. ``fault`` tells why, ``address`` is the URL without its password."""

    def __init__(self, fault: Fault, address: str, detail: str) -> None:
        self.fault = fault
        self.address = address
        self.detail = detail
        self.what = f"Cannot open a session with the broker at {address}: {fault.value} ({detail})."
        self.do = _ADVICE[fault]
        super().__init__(f"{self.what} Nothing is sent or received until one opens. {self.do}")


class LinkLost(LinkError):
    """The session ended while an answer was awaited: what was asked may or may not have happened."""

    def __init__(self, broken: Broken, what: str) -> None:
        self.broken = broken
        super().__init__(f"{what} got no answer, so it may or may not have happened. {broken}")


class NoAnswer(LinkError):
    """The broker did not answer a request in time. It may still do what was asked."""


class PublishTimeout(NoAnswer):
    """The broker did not confirm in time. The message may still land: after an alarm it does."""


class BrokerRefused(LinkError):
    """The broker said no to one request. The session lives on."""


class Missing(BrokerRefused):
    """A queue or exchange that should be there is not. ``name`` is which."""

    def __init__(self, name: str, message: str) -> None:
        self.name = name
        super().__init__(message)


class NotYet(BrokerRefused):
    """A queue or stream is there, and cannot be had on the node that was asked: nodes are gone or start (3.10 says so when two of
    three were killed), the broker does not find it, or it is being made this moment (4.0 says so to the second of two who declare
    it at once). It is not lost: who took it for that would write it again. Asking again later is the cure."""


class QueueLocked(BrokerRefused):
    """The queue is exclusive to a connection that lives."""


class AccessRefused(BrokerRefused):
    """The user lacks a permission."""


class TopologyMismatch(BrokerRefused):
    """A queue or exchange of that name exists with other properties. ``name`` is which."""

    def __init__(self, name: str, message: str) -> None:
        self.name = name
        super().__init__(message)


class LedgerRewound(LinkError):
    """The ledger ends before the offset asked for: the stream was made anew, or its tail was lost."""

    def __init__(self, queue: str, asked: int, end: int) -> None:
        self.asked = asked
        self.end = end
        super().__init__(
            f"{queue} was to be read from offset {asked}, but it ends before {end}. The stream was deleted and made "
            "again, or a power cut took its tail: its offsets have begun again. What is known in memory no longer "
            "matches it. Read it from its first offset."
        )


# ---------------------------------------------------------------------------------------- the library's errors to ours


def cannot_connect(address: str, error: BaseException, close_code: int, close_text: str) -> CannotConnect:
    """Why a connection did not open: what the broker said if it said anything, else what the socket did."""
    if close_code == 403:
        return CannotConnect(Fault.AUTH, address, close_text)
    if close_code == 530:
        return CannotConnect(Fault.VHOST, address, close_text)
    if close_code:
        return CannotConnect(Fault.PROTOCOL, address, f"{close_code} {close_text}")
    detail = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, StopAsyncIteration):  # what the library's reader ends with
        return CannotConnect(Fault.PROTOCOL, address, "the connection was closed before the broker had let us in")
    if isinstance(error, TimeoutError):
        return CannotConnect(Fault.TIMEOUT, address, detail)
    if isinstance(error, ssl.SSLError):
        return CannotConnect(Fault.TLS, address, detail)
    if isinstance(error, ConnectionRefusedError):
        return CannotConnect(Fault.REFUSED, address, detail)
    if isinstance(error, socket.gaierror) or (isinstance(error, OSError) and not isinstance(error, ConnectionError)):
        return CannotConnect(Fault.UNREACHABLE, address, detail)
    return CannotConnect(Fault.PROTOCOL, address, detail)


_INEQUIVALENT = re.compile(
    r"inequivalent arg '([^']*)' for \w+ '([^']*)' in vhost '[^']*': "
    r"received (.*?) but current is (.*)$"
)


_LEDGER_SETTINGS = {
    "x-max-length-bytes": "ledger_bytes_max",
    "x-stream-max-segment-size-bytes": "ledger_segment_bytes",
}
"""What a coordinator calls them."""

ASTRAY = "is down or inaccessible"
"""What a broker says of a queue that it knows, and does not find."""
_NO_REPLICA = re.compile("does not have a (running )?replica on the local node")


_CODES: Mapping[type[AMQPError], int] = {
    ChannelAccessRefused: 403,
    ChannelNotFoundEntity: 404,
    ChannelLockedResource: 405,
    ChannelPreconditionFailed: 406,
}


def refused_by_library(error: AMQPError, what: str, name: str) -> BrokerRefused:
    """``broker_refused`` for the exception with which the library tells of a closed channel."""
    text = str(error.args[-1]) if error.args else type(error).__name__
    return broker_refused(_CODES.get(type(error), 0), text, what, name)


def broker_refused(code: int, text: str, what: str, name: str) -> BrokerRefused:
    """What the broker's closing of a request's channel means. ``what`` is the request, ``name`` what it was about."""
    if code == 406 and (found := _INEQUIVALENT.search(text)) is not None:
        argument, there, ours, theirs = found.groups()
        if is_ledger(there):
            setting = _LEDGER_SETTINGS.get(argument, argument)
            do = (
                f"Set {setting} here as it has it there. Do not delete it: it holds every task that was accepted. To have another "
                "one begin in a new virtual host, let producers and workers go there, and let what is here come to its end."
            )
        else:
            do = (
                f"Set the same {argument} here as it has there; or, once it is empty and nobody needs it, delete it so that it is "
                "made anew."
            )
        return TopologyMismatch(
            there,
            f"{what} was refused: {there} exists with another {argument} (the broker has {theirs}; we want {ours}). "
            f"It was left as it is, and we do not start on a queue that is not what we need. {do}",
        )
    if code == 406 and _NO_REPLICA.search(text):
        return NotYet(
            f"{what} was refused for now: no replica of it runs on that node of the broker yet ({text}). Nothing was changed. "
            "It is tried again; should that repeat, see `rabbitmqctl list_queues name leader online` and the broker's log."
        )
    if code == 404 and ASTRAY in text:
        return NotYet(
            f"{what} failed: the broker knows it, and the node where it lives is down, or has not found it again since it started "
            f"({text}). Nothing was sent, made or deleted. Start that node. If it runs and this does not end, it has "
            "to be told to read its streams in again: see A ledger that its broker does not find, in the README.",
        )
    if code == 404:
        return Missing(
            name,
            f"{what} failed: it does not exist on the broker ({text}). Nothing was sent or made. Start a coordinator "
            "(it declares what all share); check that this is the right virtual host.",
        )
    if code == 405:
        return QueueLocked(
            f"{what} was refused: the queue is exclusive to another connection, which lives ({text}). Queue names of "
            "incarnations are never used twice, so somebody copied one. Only its owner can use it."
        )
    if code == 403:
        return AccessRefused(
            f"{what} was refused: the user may not ({text}). Nothing was changed. Give it the permission or use the right user."
        )
    return BrokerRefused(f"{what} was refused: {text}. Nothing was changed. See what the broker's log says of it.")
