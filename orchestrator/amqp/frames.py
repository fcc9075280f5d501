"""AMQP 0-9-1 frames that carry messages: read and written here, byte by byte, so that no peer can break a session.

Law: every function is total over what a *peer* can put into a message, and touches nothing but its arguments.

Why not leave this to the client library? A publisher chooses the routing key, the properties and the header table of
its message, and the broker passes them on as they are: it does not ask whether a key is UTF-8, whether a timestamp lies
in the year 600,000 or whether a table is nested 20,000 deep. The library's decoder raises on each of these inside its
connection reader. The connection dies, the message returns to the head of its queue, and the next session dies of it
too: one message of one producer stops a coordinator for ever. Here what cannot be read becomes ``None`` and a sentence
(``flaw``), the body stays what it was, and the session lives.

Layout, for the reader with no specification at hand. A frame is ``type(1) channel(2) size(4) payload(size) 0xCE``. A
message is a method frame (``basic.deliver``, ``basic.return``, ``basic.get-ok``), a header frame (body size, a word of
flags, the properties whose flags are set, in the order of the flags) and body frames until the size is reached.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final, NamedTuple

METHOD: Final = 1
HEADER: Final = 2
BODY: Final = 3
HEARTBEAT: Final = 8
FRAME_END: Final = 0xCE
OVERHEAD: Final = 8
"""Bytes of a frame that are not payload."""

HEARTBEAT_FRAME: Final = b"\x08\x00\x00\x00\x00\x00\x00\xce"

# class id << 16 | method id, as the first four bytes of a method payload
CONNECTION_CLOSE: Final = 10 << 16 | 50
CONNECTION_BLOCKED: Final = 10 << 16 | 60
CONNECTION_UNBLOCKED: Final = 10 << 16 | 61
CHANNEL_CLOSE: Final = 20 << 16 | 40
BASIC_CANCEL: Final = 60 << 16 | 30
BASIC_PUBLISH: Final = 60 << 16 | 40
BASIC_RETURN: Final = 60 << 16 | 50
BASIC_DELIVER: Final = 60 << 16 | 60
BASIC_GET: Final = 60 << 16 | 70
BASIC_GET_OK: Final = 60 << 16 | 71
BASIC_GET_EMPTY: Final = 60 << 16 | 72
BASIC_ACK: Final = 60 << 16 | 80
BASIC_NACK: Final = 60 << 16 | 120

HEADERS_BYTES_MAX: Final = 4096
"""A longer header table is passed over unread, as if there were none: peers' headers mean nothing here, and 100 kB of the
smallest values would take 50 ms. What a broker adds (what its events tell) is far shorter."""
STREAM_HEADERS_BYTES_MAX: Final = 1 << 20
"""The same of a stream's messages: there the broker puts the offset among the headers of the publisher, and a message whose place
is not known would be lost to its reader. Few may write to our streams."""
TABLE_DEPTH_MAX: Final = 16
"""Tables within tables. The broker's own nest three deep (``x-death``); a peer's may nest as deep as a frame is
long."""

FRAME: Final = struct.Struct(">BHI")
_WORD: Final = struct.Struct(">I")
_TAG: Final = struct.Struct(">Q")
_SETTLE: Final = struct.Struct(">BHIIQBB")
_HEADER_START: Final = struct.Struct(">HHQH")
_PERSISTENT: Final = b"\x02"
_TRANSIENT: Final = b"\x01"


class Envelope(NamedTuple):
    """What surrounds a body: the method's arguments. ``number`` is a delivery tag, or a return's reply code."""

    method: int
    number: int
    redelivered: bool
    exchange: str
    routing_key: str
    flaw: str | None


class Properties(NamedTuple):
    """The properties we know of a message. ``offset`` is a stream's ``x-stream-offset``."""

    body_bytes: int
    headers: dict[str, object] | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    message_id: str | None = None
    user_id: str | None = None
    offset: int | None = None
    flaw: str | None = None


# ---------------------------------------------------------------------------------------------------------- reading


def read_envelope(method: int, payload: bytes) -> Envelope:
    """The arguments of ``basic.deliver``, ``basic.return`` or ``basic.get-ok``.

    The broker wrote the layout, so it is trusted; the strings in it are a publisher's, so they are not. A string that
    is not UTF-8 is shown with replacement marks and named in ``flaw``.
    """
    if method == BASIC_DELIVER:
        at = 5 + payload[4]  # the consumer's tag is ours; one channel has one consumer
        number = _TAG.unpack_from(payload, at)[0]
        redelivered = payload[at + 8] & 1 == 1
        at += 9
    elif method == BASIC_GET_OK:
        number = _TAG.unpack_from(payload, 4)[0]
        redelivered = payload[12] & 1 == 1
        at = 13
    else:
        number = payload[4] << 8 | payload[5]
        redelivered = False
        at = 7 + payload[6]
    middle = at + 1 + payload[at]
    exchange, bad_exchange = _text(payload[at + 1 : middle])
    routing_key, bad_key = _text(payload[middle + 1 : middle + 1 + payload[middle]])
    flaw = "its routing key is not UTF-8" if bad_key else "its exchange's name is not UTF-8" if bad_exchange else None
    return Envelope(method, number, redelivered, exchange, routing_key, flaw)


def read_properties(payload: bytes, headers_bytes_max: int = HEADERS_BYTES_MAX) -> Properties:
    """The properties in a header frame's payload. Each is read on its own, so one that is broken hides no other."""
    _, _, body_bytes, flags = _HEADER_START.unpack_from(payload)
    if not flags:
        return Properties(body_bytes)
    flaws: list[str] = []
    headers: dict[str, object] | None = None
    offset: int | None = None
    strings: dict[int, str | None] = {}
    at = 14
    try:
        for flag, kind in _present(flags):
            if kind == "string":
                end = at + 1 + payload[at]
                if flag in _WANTED:
                    text, bad = _text(payload[at + 1 : end])
                    strings[flag] = None if bad else text
                    if bad:
                        flaws.append(f"its {_WANTED[flag]} is not UTF-8")
                at = end
            elif kind == "table":
                end = at + 4 + _WORD.unpack_from(payload, at)[0]
                if end - at <= headers_bytes_max:
                    try:
                        headers = read_table(payload, at + 4, end, 1)
                    except (ValueError, IndexError, struct.error) as error:
                        flaws.append(f"its headers cannot be read ({error})")
                at = end
            else:
                at += 8 if kind == "time" else 1
    except (IndexError, struct.error):
        flaws.append("its properties end too early")
    if flags & 1:
        flaws.append("it has properties beyond the ones that exist")
    if headers is not None:
        found = headers.pop("x-stream-offset", None)
        offset = found if type(found) is int else None
    return Properties(
        body_bytes,
        headers or None,
        strings.get(_CORRELATION_ID),
        strings.get(_REPLY_TO),
        strings.get(_MESSAGE_ID),
        strings.get(_USER_ID),
        offset,
        "; ".join(flaws) or None,
    )


_CORRELATION_ID: Final = 0x0400
_REPLY_TO: Final = 0x0200
_MESSAGE_ID: Final = 0x0080
_USER_ID: Final = 0x0010
_WANTED: Final = {
    _CORRELATION_ID: "correlation id",
    _REPLY_TO: "reply address",
    _MESSAGE_ID: "message id",
    _USER_ID: "user id",
}
_PROPERTIES: Final = (
    (0x8000, "string"),  # content type
    (0x4000, "string"),  # content encoding
    (0x2000, "table"),  # headers
    (0x1000, "octet"),  # delivery mode
    (0x0800, "octet"),  # priority
    (_CORRELATION_ID, "string"),
    (_REPLY_TO, "string"),
    (0x0100, "string"),  # expiration
    (_MESSAGE_ID, "string"),
    (0x0040, "time"),
    (0x0020, "string"),  # type
    (_USER_ID, "string"),
    (0x0008, "string"),  # application id
    (0x0004, "string"),  # cluster id
)


@lru_cache(maxsize=256)
def _present(flags: int) -> tuple[tuple[int, str], ...]:
    """The properties that a word of flags announces, in their order. Peers set few combinations."""
    return tuple((flag, kind) for flag, kind in _PROPERTIES if flags & flag)


def read_table(data: bytes, at: int, end: int, depth: int) -> dict[str, object]:
    """A field table between ``at`` and ``end``. Raises ValueError (or IndexError, struct.error) on anything
    unreadable."""
    if depth > TABLE_DEPTH_MAX:
        raise ValueError(f"tables nested deeper than {TABLE_DEPTH_MAX}")
    if end > len(data):
        raise ValueError("a table longer than its frame")
    table: dict[str, object] = {}
    while at < end:
        after = at + 1 + data[at]
        name = data[at + 1 : after].decode("utf-8")
        table[name], at = _value(data, after, depth)
    if at != end:
        raise ValueError("a table whose fields do not fill it")
    return table


_FIXED: Final = {
    ord("b"): struct.Struct(">b"),
    ord("B"): struct.Struct(">B"),
    ord("s"): struct.Struct(">h"),
    ord("u"): struct.Struct(">H"),
    ord("I"): struct.Struct(">i"),
    ord("i"): struct.Struct(">I"),
    ord("l"): struct.Struct(">q"),
    ord("L"): struct.Struct(">q"),
    ord("f"): struct.Struct(">f"),
    ord("d"): struct.Struct(">d"),
    ord("T"): struct.Struct(">Q"),  # a timestamp: seconds, whatever their number
}


def _value(data: bytes, at: int, depth: int) -> tuple[object, int]:
    """One typed value that starts at ``at``, and where the next begins."""
    kind = data[at]
    at += 1
    fixed = _FIXED.get(kind)
    if fixed is not None:
        return fixed.unpack_from(data, at)[0], at + fixed.size
    if kind == ord("t"):
        return data[at] != 0, at + 1
    if kind == ord("V"):
        return None, at
    if kind == ord("D"):
        return (data[at], _WORD.unpack_from(data, at + 1)[0]), at + 5  # (scale, digits): nobody computes with it
    size = _WORD.unpack_from(data, at)[0]
    at += 4
    end = at + size
    if end > len(data):
        raise ValueError("a value longer than its frame")
    if kind == ord("S"):
        raw = data[at:end]
        text, bad = _text(raw)
        return (raw if bad else text), end
    if kind == ord("x"):
        return data[at:end], end
    if kind == ord("F"):
        return read_table(data, at, end, depth + 1), end
    if kind == ord("A"):
        return _array(data, at, end, depth + 1), end
    raise ValueError(f"a value of unknown type {kind:#04x}")


def _array(data: bytes, at: int, end: int, depth: int) -> list[object]:
    if depth > TABLE_DEPTH_MAX:
        raise ValueError(f"tables nested deeper than {TABLE_DEPTH_MAX}")
    values: list[object] = []
    while at < end:
        value, at = _value(data, at, depth)
        values.append(value)
    return values


def _text(raw: bytes) -> tuple[str, bool]:
    """The text, and whether it was no UTF-8 (then it has replacement marks)."""
    try:
        return raw.decode("utf-8"), False
    except UnicodeDecodeError:
        return raw.decode("utf-8", "replace"), True


def read_close(payload: bytes) -> tuple[int, str]:
    """Reply code and text of ``connection.close`` or ``channel.close``."""
    return payload[4] << 8 | payload[5], _text(payload[7 : 7 + payload[6]])[0]


def read_short(payload: bytes) -> str:
    """The first argument of a method, where that is a short string (a consumer's tag, why we are blocked)."""
    return _text(payload[5 : 5 + payload[4]])[0]


def read_confirm(payload: bytes) -> tuple[int, bool]:
    """Tag and ``multiple`` of ``basic.ack`` or ``basic.nack``."""
    return _TAG.unpack_from(payload, 4)[0], payload[12] & 1 == 1


# ---------------------------------------------------------------------------------------------------------- writing


def short(text: str) -> bytes:
    """A short string. Raises ValueError beyond 255 bytes: that is our misuse, no peer can cause it."""
    raw = text.encode("utf-8")
    if len(raw) > 255:
        raise ValueError(f"{text[:40]!r}… is {len(raw)} bytes long; AMQP names and keys have at most 255")
    return _LENGTHS[len(raw)] + raw


_LENGTHS: Final = [bytes((length,)) for length in range(256)]


@lru_cache(maxsize=4096)
def _publish_method(channel: int, exchange: str, key: str, mandatory: bool) -> bytes:
    """The method frame: the same for every message that goes the same way. Few ways are gone often."""
    method = b"".join((b"\x00\x3c\x00\x28\x00\x00", short(exchange), short(key), b"\x01" if mandatory else b"\x00"))
    return FRAME.pack(METHOD, channel, len(method)) + method + b"\xce"


def publish(
    channel: int,
    exchange: str,
    key: str,
    body: bytes,
    *,
    frame_max: int,
    message_id: str,
    mandatory: bool = True,
    persistent: bool = True,
    correlation_id: str | None = None,
    reply_to: str | None = None,
    user_id: str | None = None,
    expiration_ms: int | None = None,
) -> bytes:
    """All frames of one ``basic.publish``, to be written in one go (frames of one message must not be torn apart)."""
    flags = 0x1080
    properties = [_PERSISTENT if persistent else _TRANSIENT]
    if correlation_id is not None:
        flags |= _CORRELATION_ID
        properties.append(short(correlation_id))
    if reply_to is not None:
        flags |= _REPLY_TO
        properties.append(short(reply_to))
    if expiration_ms is not None:
        flags |= 0x0100
        properties.append(short(str(expiration_ms)))
    properties.append(short(message_id))
    if user_id is not None:
        flags |= _USER_ID
        properties.append(short(user_id))
    method = _publish_method(channel, exchange, key, mandatory)
    header = _HEADER_START.pack(60, 0, len(body), flags) + b"".join(properties)
    end = b"\xce"
    frames = [method, FRAME.pack(HEADER, channel, len(header)), header, end]
    room = frame_max - OVERHEAD
    for start in range(0, len(body), room):
        piece = body[start : start + room] if len(body) > room else body
        frames += (FRAME.pack(BODY, channel, len(piece)), piece, end)
    return b"".join(frames)


def ack(channel: int, tag: int, *, multiple: bool) -> bytes:
    """``basic.ack``."""
    return _SETTLE.pack(METHOD, channel, 13, BASIC_ACK, tag, multiple, FRAME_END)


def nack(channel: int, tag: int, *, requeue: bool, multiple: bool = False) -> bytes:
    """``basic.nack``."""
    return _SETTLE.pack(METHOD, channel, 13, BASIC_NACK, tag, multiple | requeue << 1, FRAME_END)


def get(channel: int, queue: str) -> bytes:
    """``basic.get`` of a message that is to be settled."""
    payload = b"".join((_WORD.pack(BASIC_GET), b"\x00\x00", short(queue), b"\x00"))
    return FRAME.pack(METHOD, channel, len(payload)) + payload + b"\xce"
