"""Values of users (arguments, results, checkpoints) as bytes and back, and text as every peer accepts it.

Law: what ``pack`` lets through, every peer can unpack, in any language; what it does not, it refuses by naming the
place. ``unpack`` raises ``CannotUnpack`` and nothing else, whatever the bytes, and of what
is sent to swell it builds little.

Between producer and handler nobody opens these bytes. So the one who packs is the last who can tell the user what is
wrong with a value, and pays for it: each blob is read back once (0.7 µs for a small one).
"""

from __future__ import annotations

import datetime
from typing import Any, Final, NoReturn

import msgpack  # type: ignore[import-untyped]  # it ships no types

MAX_VALUE_BYTES: Final = 1024 * 1024
"""A packed value (the type ``Blob``). Bigger things belong in a store; their address is the value."""

MAX_CONTAINERS: Final = 65_536
"""Lists and maps within one value. A list takes one byte of a peer and seventy of ours: 1 MiB of them would take 125 ms
and 43 MB; so it takes 30 ms and 5 MB."""

NIL: Final = b"\xc0"
"""``None``, packed."""
NO_ARGUMENTS: Final = b"\x80 ".rstrip()
"""An empty map, packed: what many handlers are called with. Written so that it is the one object that all strings of this one byte
are, those of the decoder too: what is a field's default itself is left out, and a constant of a compiled file is another object."""

_SUGGESTION = "pass None, bool, int, float, str, bytes, datetime, or lists and dicts of these"


class CannotPack(ValueError):
    """A value that a peer could not read. The message names the place within it, and the remedy."""


class CannotUnpack(ValueError):
    """Bytes that are not a packed value."""


def pack(value: Any, what: str = "value", *, max_bytes: int = MAX_VALUE_BYTES) -> bytes:
    """A user's value as bytes that every peer can unpack.

    Values: None, bool, int (64 bits), float, str, bytes, lists, dicts with str (or bytes) keys, aware datetimes (to the
    microsecond; they arrive in UTC). Tuples arrive as lists. ``what`` names the value in messages (``args``).
    ``max_bytes`` is for what travels as a body of its own, not within a message.

    Raises ``CannotPack``.
    """
    if value is None:  # what most handlers return
        return NIL
    try:
        blob: bytes = msgpack.packb(value, datetime=True)
        if len(blob) <= max_bytes:
            build(blob)
    except (TypeError, ValueError, OverflowError, RecursionError) as trouble:
        raise CannotPack(_place(value, what) or f"{what} cannot be packed: {trouble}") from None
    if len(blob) > max_bytes:
        raise CannotPack(
            f"{what} takes {len(blob):,} bytes when packed; {max_bytes:,} are the limit: "
            "put what is large into a store and pass its address"
        )
    return blob


def unpack(blob: bytes, *, max_bytes: int = MAX_VALUE_BYTES) -> Any:
    """The value in ``blob``. Raises ``CannotUnpack``, and nothing else, whatever the bytes."""
    if blob == NIL:
        return None
    if blob == NO_ARGUMENTS:
        return {}
    if len(blob) > max_bytes:
        raise CannotUnpack(f"{len(blob):,} bytes; {max_bytes:,} are the limit")
    try:
        return build(blob)
    except msgpack.StackError:
        raise CannotUnpack("lists and maps are nested too deep") from None
    except Exception as trouble:  # whatever a decoder raises at a peer's bytes is the peer's mistake: see the law
        raise CannotUnpack(line(trouble)) from None


def build(blob: bytes) -> Any:
    """The value in ``blob``, built under limits. Raises whatever its decoder does; callers make one thing of it."""
    # a container takes a byte at least, so short blobs need no counting
    budget = _Budget(MAX_CONTAINERS) if len(blob) > MAX_CONTAINERS else None
    return msgpack.unpackb(
        blob,
        raw=False,
        strict_map_key=True,
        timestamp=3,  # as datetimes in UTC
        list_hook=budget and budget.of_list,
        object_pairs_hook=budget.of_map if budget else _map,
        ext_hook=refuse_ext,
        max_str_len=MAX_VALUE_BYTES,
        max_bin_len=MAX_VALUE_BYTES,
        max_array_len=MAX_VALUE_BYTES,
        max_map_len=MAX_CONTAINERS,
        max_ext_len=12,  # a timestamp
    )


def refuse_ext(code: int, data: object) -> NoReturn:
    """The hook for extension types: only timestamps are spoken here, and these need no hook."""
    raise ValueError(f"extension type {code} is not used here")


class _Budget:
    """Counts the lists and maps of one value while they are built, so that a value made of little else ends early."""

    __slots__ = ("left",)

    def __init__(self, containers: int) -> None:
        self.left = containers

    def of_list(self, items: list[Any]) -> list[Any]:
        self._spend()
        return items

    def of_map(self, pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        self._spend()
        return _map(pairs)

    def _spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise ValueError(f"more than {MAX_CONTAINERS:,} lists and maps in one value")


def _map(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    built = dict(pairs)
    if len(built) != len(pairs):
        raise ValueError("a map has the same key twice")
    return built


# --- where a value is at fault ----------------------------------------------------------------------------------------


def _place(value: Any, what: str) -> str:
    """What within ``value`` cannot be packed, and where; empty if no single place is to blame."""
    stack: list[tuple[Any, str]] = [(value, what)]
    for _ in range(MAX_CONTAINERS):
        if not stack:
            break
        node, path = stack.pop()
        if complaint := _complaint(node):
            return f"{path} {complaint}"
        if isinstance(node, dict):
            for key, item in node.items():
                name = clip(repr(key), 60)
                if not isinstance(key, str | bytes):
                    return f"{path} has the key {name} of type {type(key).__name__}: keys are text; use str({name})"
                plain = isinstance(key, str) and key.isidentifier()
                stack.append((item, f"{path}.{key!s}" if plain else f"{path}[{name}]"))
        elif isinstance(node, list | tuple):
            stack.extend((item, f"{path}[{index}]") for index, item in enumerate(node))
    return ""


def _complaint(node: Any) -> str:
    """Why this very node (not what is in it) cannot be packed; empty if it can."""
    match node:
        case None | bool() | float() | bytes() | bytearray() | memoryview() | dict() | list() | tuple():
            return ""
        case int():
            fits = -(2**63) <= node < 2**64
            return "" if fits else "is an integer of more than 64 bits: pass it as text"
        case str():
            return "" if _has_bytes(node) else "is text with lone surrogates, which has no UTF-8: pass os.fsencode(…)"
        case datetime.datetime():
            return "" if node.tzinfo else "is a datetime without a time zone: give it one, such as tzinfo=datetime.UTC"
    kind = type(node)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"is of type {name}, which not every language knows: {_SUGGESTION}"


# --- text that every peer accepts -------------------------------------------------------------------------------------


def clip(text: str, length: int) -> str:
    """``text`` with at most ``length`` characters (the middle is left out) and without lone surrogates."""
    if len(text) > length:
        tail = (length - 3) // 3
        text = f"{text[: length - 3 - tail]} … {text[len(text) - tail :]}" if length >= 12 else text[:length]
    return text if _has_bytes(text) else text.encode(errors="replace").decode()


def line(trouble: Exception | str) -> str:
    """``trouble`` as one short printable line: it may quote a peer, and it ends up in logs."""
    text = clip(str(trouble) or type(trouble).__name__, 300)
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def _has_bytes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
