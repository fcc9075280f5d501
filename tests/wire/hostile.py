"""Bodies that somebody might send who wishes us ill, or has a bug. Each with what becomes of it."""

from __future__ import annotations

from typing import NamedTuple

import msgpack  # type: ignore[import-untyped]  # it ships no types

from orchestrator.wire.codec import Reason


class Hostile(NamedTuple):
    """A body, and the reason for which it is refused (none: it is harmless, and read)."""

    name: str
    body: bytes
    reason: Reason | None


def _map(kind: str, *more: bytes) -> bytes:
    """A map of ``kind`` and what is given, as raw pairs of key and value."""
    return bytes([0x80 + 1 + len(more)]) + _s("kind") + _s(kind) + b"".join(more)


def _s(text: str) -> bytes:
    packed: bytes = msgpack.packb(text)
    return packed


def _of(**fields: object) -> bytes:
    packed: bytes = msgpack.packb(fields)
    return packed


_A = _s("incarnation") + _s("a")
_FAILED = {"task": "t", "attempt": [1, 1], "outcome": "failed"}
_ORDERS = {"kind": "orders", "incarnation": "a", "epoch": 1, "seq": 1}
_BEAT = {"kind": "beat", "incarnation": "a", "seq": 1}
_ANSWER = (_s("id") + _s("a"), _s("ok") + b"\xc3")


def _task(**fields: object) -> bytes:
    """A submission of one task that is right but for what is given."""
    return _of(kind="submit", tasks=[{"id": "a", "type": "a.b"} | fields])


def _value(raw: bytes) -> bytes:
    """An answer with this as its value."""
    return _map("answer", *_ANSWER, _s("value") + raw)


_ONES = b"\xdd\x00\x07\xf0\x00" + b"\x91\xc0" * 0x7F000
"""1 MiB of lists of one element."""
_NONE = b"\xdd\x00\x0f\x42\x40" + b"\x90" * 1_000_000
"""A million empty lists."""
_ATTEMPTS = b"\xdd\x00\x04\x93\xe0" + b"\x92\x01\x01" * 300_000

CORPUS = (
    # claims
    Hostile("an array of 4 G elements", b"\xdd\xff\xff\xff\xff", "shape"),
    Hostile("a map of 4 G entries", b"\xdf\xff\xff\xff\xff", "bytes"),
    Hostile("a text of 4 G bytes", b"\xdb\xff\xff\xff\xff", "bytes"),
    Hostile("4 G attempts in a beat", _map("beat", _A, _s("seq") + b"\x01", _s("held") + b"\xdd\xff\xff\xff\xff"), "bytes"),
    Hostile("4 G elements in an open value", _value(b"\xdd\xff\xff\xff\xff"), "bytes"),
    Hostile("more tasks than a submission holds", _of(kind="submit", tasks=[{"id": "a", "type": "a.b"}] * 4097), "shape"),
    Hostile("no tasks at all", _of(kind="submit", tasks=[]), "shape"),
    Hostile("more attempts than a beat lists", _of(**_BEAT, held=[[1, 1]] * 501), "shape"),
    Hostile("a text that is too long", _of(kind="leave", incarnation="a", reason="x" * 4097), "shape"),
    Hostile("a blob that is too long", _task(args=bytes(1024 * 1024 + 1)), "shape"),
    # depth
    Hostile("a million arrays in each other", b"\x91" * 1_000_000 + b"\xc0", "shape"),
    Hostile("the same in a field that nobody knows", _map("echo", _s("zzz") + b"\x91" * 1_000_000), "bytes"),
    Hostile("the same in an open value", _value(b"\x91" * 1_000_000), "bytes"),
    Hostile("maps in each other", _map("control", _s("args") + b"\x81\xa1a" * 5_000), "bytes"),
    Hostile("an open value of 40 levels", _value(b"\x91" * 40 + b"\xc0"), "shape"),
    # amplification
    Hostile("1 MiB of small lists in an open value", _value(_ONES), "shape"),
    Hostile("1 MiB of small lists in a field that nobody knows", _map("leave", _A, _s("zzz") + _ONES), None),
    Hostile("1 MiB of small lists where maps belong", _map("results", _s("items") + _ONES), "shape"),
    Hostile("1 MiB of ones in an open value", _value(b"\xdd\x00\x0f\xf0\x00" + b"\x01" * 0xFF000), "shape"),
    Hostile("1 MiB of attempts to release", _of(**_ORDERS, release=[[1, 1]] * 340_000), "shape"),
    # numbers
    Hostile("not a number", _of(**_BEAT, load=float("nan")), "shape"),
    Hostile("infinity", _of(**_BEAT, load=float("inf")), "shape"),
    Hostile("less than nothing", _of(**_BEAT, load=-0.5), "shape"),
    Hostile("not a number in an open value", _of(kind="answer", id="a", ok=True, value=[float("nan")]), "shape"),
    Hostile("an integer that is too large", _of(kind="beat", incarnation="a", seq=2**64 - 1), "shape"),
    Hostile("a negative count", _of(kind="beat", incarnation="a", seq=-1), "shape"),
    Hostile("a boolean for an integer", _of(kind="beat", incarnation="a", seq=True), "shape"),
    Hostile("a float for an integer", _of(kind="beat", incarnation="a", seq=1.0), "shape"),
    Hostile("an integer for a boolean", _of(**_BEAT, draining=1), "shape"),
    # text and bytes
    Hostile("text that is not UTF-8", _map("leave", _s("incarnation") + b"\xa2\xff\xfe"), "bytes"),
    Hostile("a surrogate in UTF-8", _map("leave", _A, _s("reason") + b"\xa3\xed\xa0\x80"), "bytes"),
    Hostile("bin for text", _of(kind="leave", incarnation=b"a"), "shape"),
    Hostile("text for bin", _task(args="x"), "shape"),
    Hostile("an id with a line feed", _of(kind="leave", incarnation="a\n"), "shape"),
    Hostile("an id of a path", _of(kind="leave", incarnation="../a"), "shape"),
    Hostile("an empty id", _of(kind="leave", incarnation=""), "shape"),
    Hostile("a type of one word", _task(type="a"), "shape"),
    # extension types
    Hostile("an extension type in an open value", _value(b"\xd4\x05x"), "shape"),
    Hostile("an extension type for an integer", _map("beat", _A, _s("seq") + b"\xd4\x05x"), "shape"),
    Hostile("a timestamp beyond all years", _value(b"\xc7\x0c\xff" + bytes(4) + b"\x7f" * 8), "shape"),
    Hostile("a timestamp of a wrong length", _value(b"\xd5\xff12"), "shape"),
    # structure
    Hostile("nothing", b"", "bytes"),
    Hostile("a number", b"\x01", "shape"),
    Hostile("an empty map", b"\x80", "kind"),
    Hostile("trailing bytes", _of(kind="leave", incarnation="a") + b"\x00", "bytes"),
    Hostile("cut short", _of(kind="leave", incarnation="abc")[:-1], "bytes"),
    Hostile("a byte that means nothing", b"\xc1", "bytes"),
    Hostile("a key that is a number", b"\x81\x01\x02", "shape"),
    Hostile("a kind that is a number", _of(kind=5), "shape"),
    Hostile("two kinds", _map("leave", _A, _s("kind") + _s("beat")), "shape"),
    Hostile("two kinds, one of them open", _map("leave", _A, _s("kind") + _s("answer")), "shape"),
    Hostile("two kinds, the first of them open", _map("answer", *_ANSWER, _s("value") + _NONE, _s("kind") + _s("held")), "shape"),
    Hostile("two kinds, the first of them longer", _map("orders", _A, _s("release") + _ATTEMPTS, _s("kind") + _s("beat")), "shape"),
    Hostile("a key twice", _map("leave", _A, _s("incarnation") + _s("b")), None),
    Hostile("a key twice in an open kind", _map("answer", *_ANSWER, _s("id") + _s("b")), "shape"),
    Hostile("a field that is missing", _of(kind="beat", incarnation="a"), "shape"),
    Hostile("a fault that is not told", _of(kind="reports", incarnation="a", items=[_FAILED]), "shape"),
    Hostile("an attempt of three numbers", _of(**_BEAT, held=[[1, 2, 3]]), "shape"),
    Hostile("an unknown kind", _of(kind="beet"), "kind"),
    Hostile("a later version", _of(v=2, kind="beat", incarnation="a", seq=1), "version"),
    Hostile("a version that is a text", _of(v="1", kind="beat", incarnation="a", seq=1), "shape"),
    Hostile("a field that nobody knows", _of(**_BEAT, colour="blue"), None),
)  # fmt: skip
