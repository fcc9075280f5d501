"""Bytes to messages and back: the one place where what a stranger sent becomes something to reason about.

Law: **decoding is total**. Whatever the bytes, ``decode`` and ``decode_entry`` return a message or ``Malformed``; they
never raise. The peer's mistakes are data. Encoding is ours, so *its* mistakes raise.

How a body becomes a message, cheapest refusal first:

1. its size, before a single byte is looked at;
2. its *head* (``kind`` and ``v``), read by skipping the rest without building it: an unknown version or kind is named;
3. its size again, by kind: what a leader may say is longer than what a producer may;
4. the *typed* decode. Almost all kinds are **closed**: every field has a type, nothing is built that no type asks for,
   and a limit on a length is judged by the length claimed. Two kinds are **open** (``control`` and ``answer`` hold
   values of any shape, for people): these few are built by msgpack under limits on everything, then meet the types.

Closed kinds are read by msgspec alone, since that was measured to be better in both respects (messages of 100 tasks,
a 2-core machine): 1.4 µs a task against 1.9 for ``msgpack.unpackb`` and ``msgspec.convert`` (0.09 against 0.47 to
encode); 1 MiB of one-element arrays costs 13 ms and no memory against 125 ms and 40 MB. What no type wants is skipped.

Not judged here, because one bad task must not condemn the message that it shares with others: a ``Range`` with
min > max, ids said twice, edges to oneself or to nobody, cycles. The core answers these with ``refused``, task by task.
Nor is an ``Attempt`` held to numbers that exist: what is said of one that nobody knows changes nothing.

A key said twice: in closed kinds the last one counts (one decoder reads them everywhere, so no two readers can differ);
in open kinds and in values of users it is refused. So is another ``kind`` than the last: what the head says of a body, a
decoder of that kind alone holds it to, before anything of another kind is built.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Container
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import msgspec

from orchestrator.wire.facts import Entry, Fact
from orchestrator.wire.messages import VERSION, Answer, AnyMessage, Error, Message, Reports
from orchestrator.wire.types import Id
from orchestrator.wire.values import (
    MAX_CONTAINERS,
    MAX_VALUE_BYTES,
    CannotPack,
    CannotUnpack,
    build,
    clip,
    line,
    pack,
    refuse_ext,
    unpack,
)

__all__ = [
    "KINDS",
    "MAX_BODY_BYTES",
    "MAX_ENTRY_BYTES",
    "MAX_LETTER_BYTES",
    "MAX_LONG_BODY_BYTES",
    "MAX_VALUE_BYTES",
    "CannotPack",
    "CannotUnpack",
    "Malformed",
    "Reason",
    "clip",
    "decode",
    "decode_entry",
    "encode",
    "encode_answer",
    "encode_entry",
    "error",
    "is_newer",
    "max_bytes_of",
    "pack",
    "unpack",
]

# --- limits -----------------------------------------------------------------------------------------------------------

MAX_BODY_BYTES: Final = MAX_VALUE_BYTES + 64 * 1024
"""A message, unless its kind says otherwise: the largest value, and 64 KiB for what is around it."""

MAX_LONG_BODY_BYTES: Final = 8 * MAX_VALUE_BYTES
"""Kinds that may be longer: an assignment brings arguments, a checkpoint *and* the values of its parents (4 MiB of those at
most); ``held`` and ``answer`` are long lists."""

MAX_QUESTION_BYTES: Final = 16_384
"""A ``control``: a question with its arguments. Its open value is built before it can be judged."""

MAX_ENTRY_BYTES: Final = 15 * 1024 * 1024
"""A ledger entry. RabbitMQ 4 refuses messages over 16 MiB by default; 1 MiB of that is left as a margin."""

MAX_LETTER_BYTES: Final = MAX_ENTRY_BYTES
"""A dead letter: a task with its arguments and the story of its attempts, packed as one value (``pack``, ``max_bytes``)."""

MAX_OPEN_DEPTH: Final = 32
"""Lists in lists within an open value."""

MAX_OPEN_NODES: Final = 200_000
"""Values on one level of an open value: the rows of the longest list that people ask for, and their fields."""

SAMPLE_BYTES: Final = 1024
SHOWN_KIND: Final = 64
"""Characters of a kind that nobody knows, in the words about it."""

LONG_KINDS: Final = frozenset({"orders", "held", "results", "answer"})
FACTS: Final = frozenset(str(kind.__struct_config__.tag) for kind in Fact.__subclasses__())
OPEN_KINDS: Final = frozenset({"control", "answer"})
KINDS: Final = frozenset(str(kind.__struct_config__.tag) for kind in Message.__subclasses__())
"""All kinds of message, by tag."""


# --- what cannot be read ----------------------------------------------------------------------------------------------

Reason: TypeAlias = Literal["size", "bytes", "version", "kind", "misplaced", "shape"]


@dataclass(frozen=True, slots=True)
class Malformed:
    """A body that is no message: what is wrong with it, and enough of it to find its sender's mistake.

    ``reason``: ``size`` (too long), ``bytes`` (not msgpack, cut short, too deep, trailing bytes), ``version`` (one that
    we do not speak), ``kind`` (none, or unknown), ``misplaced`` (one that is not heard there), ``shape`` (a field is missing, of
    the wrong type or over a limit).
    """

    reason: Reason
    detail: str
    """For people: which field, what was expected. One printable line."""
    digest: str
    """SHA-256 of the whole body, hex."""
    sample: bytes
    """Its first KiB. It may hold secrets of users: to be quarantined, never logged."""
    size: int
    """Length of the whole body in bytes."""
    tasks: tuple[str, ...] = ()
    """Ids of its tasks, if it is a ``submit`` and they can be read all the same: its producer can be told."""

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"  # without the sample, for logs


# --- messages ---------------------------------------------------------------------------------------------------------


class _Head(msgspec.Struct):
    kind: str = ""
    v: int = 1


class _FactHead(msgspec.Struct):
    fact: str


class _EntryHead(msgspec.Struct):
    by: str
    number: int
    v: int = VERSION


class _Facts(msgspec.Struct):
    facts: list[_FactHead]


class _TaskId(msgspec.Struct):
    id: Id


class _TaskIds(msgspec.Struct):
    tasks: list[_TaskId]


_encoder = msgspec.msgpack.Encoder()
_head: msgspec.msgpack.Decoder[_Head] = msgspec.msgpack.Decoder(_Head)
_closed: dict[str, msgspec.msgpack.Decoder[AnyMessage]] = {
    str(kind.__struct_config__.tag): msgspec.msgpack.Decoder(kind, ext_hook=refuse_ext)
    for kind in Message.__subclasses__()
    if kind.__struct_config__.tag not in OPEN_KINDS
}
"""One for each: a decoder of them all would take the first ``kind`` of a body that says two, and the head has the last."""
_entry: msgspec.msgpack.Decoder[Entry] = msgspec.msgpack.Decoder(Entry, ext_hook=refuse_ext)
_entry_head: msgspec.msgpack.Decoder[_EntryHead] = msgspec.msgpack.Decoder(_EntryHead)
_facts: msgspec.msgpack.Decoder[_Facts] = msgspec.msgpack.Decoder(_Facts)
_task_ids: msgspec.msgpack.Decoder[_TaskIds] = msgspec.msgpack.Decoder(_TaskIds)


def encode(message: AnyMessage) -> bytes:
    """The body of ``message``. Fields at their defaults are left out, and ``v`` with them: missing means 1.

    Limits are not judged here: who builds a message keeps them (``clip`` and ``error`` for words, ``pack`` for values).
    Raises what msgspec raises for what has no bytes: text with lone surrogates, integers over 64 bits.
    """
    return _encoder.encode(message)


def encode_answer(answer: Answer) -> bytes:
    """The body of ``answer``; of one that whoever asked could not read, being too long, that of a no (kind ``too_long``).

    Beyond that limit is one of the broker: it ends the channel of who publishes more than 16 MiB, and so every leader in turn.
    """
    body = _encoder.encode(answer)
    try:
        if len(body) > MAX_LONG_BODY_BYTES:
            raise ValueError(f"{len(body):,} bytes, and {MAX_LONG_BODY_BYTES:,} are the limit")
        if len(body) > MAX_CONTAINERS:  # a list takes a byte at least, so of short ones nothing need be counted
            _judge({"value": answer.value})
    except ValueError as trouble:
        says = f"the answer would be too long to be read: {trouble}. Ask for less: {_LESS}"
        return _encoder.encode(Answer(answer.id, False, error=error("too_long", says)))
    return body


_LESS = "a lower limit (--limit), one service or workflow alone (--service, --workflow), or a single task"


def decode(
    body: bytes, *, max_bytes: int | None = None, brief: bool = False, hears: Container[str] | None = None
) -> AnyMessage | Malformed:
    """The message in ``body``, or why there is none. ``max_bytes`` replaces the limit that goes with the kind.

    ``brief``: of what is ``Malformed`` only its reason, size and tasks are told, for whoever has to look through thousands.
    ``hears``: the kinds that are heard there; of others nothing is built: an answer may hold five megabytes of lists.
    """
    most = MAX_LONG_BODY_BYTES if max_bytes is None else max_bytes
    if len(body) > most:
        return _too_long(body, most, brief=brief)
    kind = ""
    try:
        head = _head.decode(body)
        kind = head.kind
        if head.v != VERSION:
            says = f"version {head.v} of the protocol; this peer speaks version {VERSION}"
            return _malformed("version", body, says, brief=brief)
        if kind not in KINDS:
            says = f"kind {clip(kind, SHOWN_KIND)!r} is unknown" if kind else "kind is missing"
            return _malformed("kind", body, says, brief=brief)
        if hears is not None and kind not in hears:
            return _malformed("misplaced", body, f"{kind} is not for this queue", brief=brief)
        if max_bytes is None and len(body) > max_bytes_of(kind):
            return _too_long(body, max_bytes_of(kind), kind, brief=brief)
        if kind in OPEN_KINDS:
            return _open(body)
        message = _closed[kind].decode(body)
        if isinstance(message, Reports):
            _judge_reports(message)
        return message
    except Exception as trouble:  # whatever a decoder raises at a peer's bytes is the peer's mistake: see the law
        return _unreadable(body, trouble, kind, brief=brief)


def _judge_reports(message: Reports) -> None:
    """Raises ``ValueError`` at what the types cannot say of a report."""
    for index, report in enumerate(message.items):
        if report.outcome == "failed" and report.error is None:
            raise ValueError(f"A failed report must have an error - at `$.items[{index}]`")


def max_bytes_of(kind: str) -> int:
    """The longest body of that kind that ``decode`` reads when it is not told otherwise."""
    if kind == "control":
        return MAX_QUESTION_BYTES
    return MAX_LONG_BODY_BYTES if kind in LONG_KINDS else MAX_BODY_BYTES


def encode_entry(entry: Entry) -> bytes:
    """The body of a ledger entry. Raises ``ValueError`` if it is longer than coordinators read."""
    body = _encoder.encode(entry)
    if len(body) > MAX_ENTRY_BYTES:
        raise ValueError(
            f"ledger entry {entry.number} of {entry.by} takes {len(body):,} bytes; {MAX_ENTRY_BYTES:,} are the limit. "
            f"Nothing of it is written; its {len(entry.facts)} facts must go into several entries"
        )
    return body


def decode_entry(body: bytes, *, max_bytes: int = MAX_ENTRY_BYTES) -> Entry | Malformed:
    """The ledger entry in ``body``, or why there is none.

    An entry of another version, or with a fact that this version does not know, is ``Malformed`` as a whole: whoever
    meets one lacks a fact, so must not lead.
    """
    if len(body) > max_bytes:
        return _too_long(body, max_bytes, "entry")
    try:
        head = _head.decode(body)
        if head.v != VERSION:
            return _malformed("version", body, f"version {head.v} of the ledger; this coordinator reads {VERSION}")
        return _entry.decode(body)
    except Exception as trouble:  # as in decode
        return _unreadable(body, trouble)


def is_newer(body: bytes) -> bool:
    """Whether an entry that ``decode_entry`` cannot read is a newer coordinator's: of a later version, or with a fact new to us.
    What a stranger writes there is not, unless he means it to be."""
    try:
        return _entry_head.decode(body).v > VERSION or any(one.fact not in FACTS for one in _facts.decode(body).facts)
    except Exception:  # as in decode
        return False


def error(kind: str, message: str, trace: str = "") -> Error:
    """An ``Error`` from words of any length and origin (such as a handler's exception), cut to what peers accept."""
    return Error(kind=clip(kind, 256), message=clip(message, 4096), trace=clip(trace, 16384))


# --- open kinds -------------------------------------------------------------------------------------------------------


def _open(body: bytes) -> AnyMessage:
    plain = build(body)
    _judge(plain)
    message: AnyMessage = msgspec.convert(plain, AnyMessage, builtin_types=(bytes,))
    return message


def _judge(plain: Any) -> None:
    """Raises ``ValueError`` at what has no place in a value for people: NaN, infinities, towers and deserts."""
    level = [plain]
    containers = 0
    for _ in range(MAX_OPEN_DEPTH):
        below: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                containers += 1
                below.extend(node.values())
            elif isinstance(node, list | tuple):
                containers += 1
                below.extend(node)
            elif isinstance(node, float) and not math.isfinite(node):
                raise ValueError(f"{node} is not a number that everybody can read")
        if containers > MAX_CONTAINERS:
            raise ValueError(f"more than {MAX_CONTAINERS:,} lists and maps")
        if not below:
            return
        if len(below) > MAX_OPEN_NODES:
            raise ValueError(f"more than {MAX_OPEN_NODES:,} values on one level")
        level = below
    raise ValueError(f"nested deeper than {MAX_OPEN_DEPTH} levels")


# --- Malformed, made --------------------------------------------------------------------------------------------------


def _unreadable(body: bytes, trouble: Exception, kind: str = "", *, brief: bool = False) -> Malformed:
    """``trouble`` of a decoder with a body of this kind, as far as that could be read, told as a reason."""
    no_shape = isinstance(trouble, msgspec.DecodeError | RecursionError | UnicodeDecodeError)
    reason: Reason = "bytes" if no_shape and not isinstance(trouble, msgspec.ValidationError) else "shape"
    tasks = _ids_of(body) if kind == "submit" and reason == "shape" else ()
    return _malformed(reason, body, "" if brief else line(trouble), tasks, brief=brief)


def _ids_of(body: bytes) -> tuple[str, ...]:
    """The ids of the tasks of a ``submit`` that is malformed elsewhere; none if there are none to be read."""
    try:
        return tuple(task.id for task in _task_ids.decode(body).tasks)
    except Exception:  # a courtesy to the producer: ids that cannot be read either are not named
        return ()


def _too_long(body: bytes, limit: int, what: str = "body", *, brief: bool = False) -> Malformed:
    return _malformed("size", body, f"{what} of {len(body):,} bytes; {limit:,} are the limit", brief=brief)


def _malformed(reason: Reason, body: bytes, detail: str, tasks: tuple[str, ...] = (), *, brief: bool = False) -> Malformed:
    if brief:
        return Malformed(reason, "", "", b"", len(body), tasks)
    digest = hashlib.sha256(body).hexdigest()
    return Malformed(reason, line(detail), digest, bytes(body[:SAMPLE_BYTES]), len(body), tasks)
