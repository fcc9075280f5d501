"""Bytes of version 1, frozen: what was sent once is understood for ever, by peers that nobody recompiles.

Each file in ``golden/v1`` holds a body in hex and what it says. They are never rewritten; a change that makes one of them fail
is a change of the protocol, and needs a version of its own. ``python -m tests.wire.test_golden`` freezes examples that are
new.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types
import msgspec
import pytest

from orchestrator.wire.codec import KINDS, Malformed, decode, encode
from orchestrator.wire.examples import EXAMPLES
from orchestrator.wire.messages import AnyMessage

GOLDEN = Path(__file__).parent / "golden" / "v1"
FILES = sorted(GOLDEN.glob("*.json"))


def said_by(message: AnyMessage) -> Any:
    """A message as JSON data: every field that is not at its default, bins as hex."""
    return json.loads(json.dumps(msgspec.to_builtins(message, builtin_types=(bytes,)), default=lambda blob: {"bin": blob.hex()}))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_was_sent_once_is_understood(path: Path) -> None:
    """A frozen body says what it said when it was frozen."""
    frozen = json.loads(path.read_text("utf-8"))
    message = decode(bytes.fromhex(frozen["hex"]))
    assert not isinstance(message, Malformed), message
    assert said_by(message) == frozen["says"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_other_encoders_may_say_it_otherwise(path: Path) -> None:
    """Keys the other way round, the version said, an unknown field, integers as wide as can be: it means the same."""
    frozen = json.loads(path.read_text("utf-8"))
    body = bytes.fromhex(frozen["hex"])
    otherwise = _wide({"v": 1, "since_version_9": [None], **dict(reversed(msgpack.unpackb(body).items()))})
    assert otherwise != body
    assert decode(otherwise) == decode(body)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_we_still_say_it_so(example: Any) -> None:
    """The worked examples of the document say what the frozen bytes say, key by key and in that order.

    Not the very bytes: how wide the header of a map is, is up to its writer (ours takes the wide one where there *could* be many
    keys), and every reader takes either.
    """
    frozen = json.loads((GOLDEN / f"{example.name}.json").read_text("utf-8"))
    assert repr(msgpack.unpackb(encode(example.message))) == repr(msgpack.unpackb(bytes.fromhex(frozen["hex"])))


def test_every_kind_is_frozen() -> None:
    """No kind of message is missing among the files."""
    assert {json.loads(path.read_text("utf-8"))["says"]["kind"] for path in FILES} == KINDS


def _wide(value: Any) -> bytes:
    """msgpack as a very simple encoder writes it: no short forms."""
    match value:
        case None | bool():
            packed: bytes = msgpack.packb(value)
            return packed
        case int():
            return b"\xd3" + value.to_bytes(8, "big", signed=True) if value < 0 else b"\xcf" + value.to_bytes(8, "big")
        case float():
            return bytes(msgpack.packb(value))
        case str():
            return b"\xdb" + len(value.encode()).to_bytes(4, "big") + value.encode()
        case bytes():
            return b"\xc6" + len(value).to_bytes(4, "big") + value
        case list():
            return b"\xdd" + len(value).to_bytes(4, "big") + b"".join(map(_wide, value))
        case dict():
            pairs = b"".join(_wide(key) + _wide(item) for key, item in value.items())
            return b"\xdf" + len(value).to_bytes(4, "big") + pairs
    raise AssertionError(value)


def freeze() -> None:
    """Write a file for each example that has none."""
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for example in EXAMPLES:
        path = GOLDEN / f"{example.name}.json"
        if not path.exists():
            frozen = {"hex": encode(example.message).hex(), "says": said_by(example.message)}
            path.write_text(json.dumps(frozen, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    freeze()
