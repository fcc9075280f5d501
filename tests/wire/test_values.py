"""Values of users: what is packed can be unpacked by everybody; what cannot be packed is found for the user."""

from __future__ import annotations

import datetime
import enum
import tracemalloc
import uuid
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.vocabulary import Attempt
from orchestrator.wire.codec import (
    MAX_LETTER_BYTES,
    MAX_VALUE_BYTES,
    CannotPack,
    CannotUnpack,
    clip,
    decode,
    encode,
    error,
    pack,
    unpack,
)
from orchestrator.wire.messages import Report, Reports
from orchestrator.wire.values import line
from tests.stopwatch import cost

moments = st.datetimes(datetime.datetime(1970, 1, 1), datetime.datetime(9999, 1, 1), timezones=st.just(datetime.UTC))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary() | moments,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.binary(), inner),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(values)
def test_values_come_back(value: Any) -> None:
    """What a handler returns is what its producer gets."""
    assert unpack(pack(value)) == value


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(blob: bytes) -> None:
    """Bytes that are no value raise one error, whatever they are."""
    try:
        value = unpack(blob)
    except CannotUnpack:
        return
    assert unpack(pack(value)) == value or value != value


def test_tuples_arrive_as_lists() -> None:
    """No language but Python has both."""
    assert unpack(pack((1, (2, 3)))) == [1, [2, 3]]


def test_times_arrive_in_utc() -> None:
    """A time is a moment, wherever it was noon; microseconds survive."""
    east = datetime.timezone(datetime.timedelta(hours=9))
    moment = datetime.datetime(2026, 1, 1, 21, 0, 0, 123456, tzinfo=east)
    assert unpack(pack(moment)) == moment
    assert unpack(pack(moment)).tzinfo == datetime.UTC
    assert unpack(pack(datetime.datetime(1912, 6, 23, tzinfo=datetime.UTC))).year == 1912


class Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({"items": [1, 2, {"when": {3}}]}, "args.items[2].when is of type set, which not every language knows"),
        ({"a": {1: 2}}, "args.a has the key 1 of type int: keys are text; use str(1)"),
        ({"a b": [2**64]}, "args['a b'][0] is an integer of more than 64 bits: pass it as text"),
        ([("x", uuid.UUID(int=1))], "args[0][1] is of type uuid.UUID, which"),
        ([Colour.RED], "args[0] is of type tests.wire.test_values.Colour, which"),
        ("caf\udce9", "args is text with lone surrogates, which has no UTF-8"),
        ({"day": datetime.datetime(2026, 1, 1)}, "args.day is a datetime without a time zone"),
        ({"day": datetime.date(2026, 1, 1)}, "args.day is of type datetime.date, which"),
        (bytes(MAX_VALUE_BYTES), "args takes 1,048,581 bytes when packed; 1,048,576 are the limit: put what is large into a store"),
        ([[]] * 70_000, "args cannot be packed: more than 65,536 lists and maps in one value"),
    ],
    ids=["set", "key", "wide", "uuid", "enum", "surrogate", "naive", "date", "large", "swollen"],
)  # fmt: skip
def test_what_cannot_be_packed_is_named(value: Any, complaint: str) -> None:
    """The user hears which part of a large value is at fault, and what to do about it."""
    with pytest.raises(CannotPack) as caught:
        pack(value, "args")
    assert str(caught.value).startswith(complaint)


def test_a_value_within_itself() -> None:
    """An endless value is refused in finite time."""
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(CannotPack):
        pack(ring)


def test_letters_may_be_longer_than_values() -> None:
    """What travels as a body of its own has the limit that its caller states."""
    letter = {"task": "t", "args": bytes(MAX_VALUE_BYTES)}
    with pytest.raises(CannotPack):
        pack(letter)
    assert unpack(pack(letter, max_bytes=MAX_LETTER_BYTES), max_bytes=MAX_LETTER_BYTES) == letter


@pytest.mark.parametrize(
    ("blob", "complaint"),
    [
        (b"", "incomplete"),
        (b"\xdd\xff\xff\xff\xff", "max_array_len"),
        (b"\x91" * 100_000, "nested too deep"),
        (b"\xdd\x00\x07\xf0\x00" + b"\x91\xc0" * 0x7F000, "lists and maps"),
        (b"\x82\xa1a\x01\xa1a\x02", "twice"),
        (b"\x81\x01\x02", "map key"),
        (b"\xd4\x05x", "extension type 5"),
        (b"\xc7\x0c\xff" + bytes(4) + b"\x7f" * 8, "too large"),
        (b"\xa2\xff\xfe", "utf-8"),
        (b"\x01\x01", "extra"),
        (bytes(MAX_VALUE_BYTES + 1), "limit"),
    ],
    ids=["nothing", "claim", "depth", "swollen", "twice", "key", "extension", "time", "text", "trailing", "large"],
)
def test_hostile_blobs(blob: bytes, complaint: str) -> None:
    """A handler's arguments come from a stranger: the agent gets one error to report, cheaply."""
    tracemalloc.start()
    with pytest.raises(CannotUnpack, match=complaint):
        unpack(blob)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    with cost() as took, pytest.raises(CannotUnpack):
        unpack(blob)
    assert peak < 32e6
    assert took.ms < 250


def test_other_encoders_are_understood() -> None:
    """Timestamps of all three forms, and floats of 32 bits, as other libraries write them."""
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    for timestamp in (msgpack.Timestamp(1767225600, 0), msgpack.Timestamp(1767225600, 5000)):
        assert abs(unpack(msgpack.packb(timestamp)) - moment) < datetime.timedelta(milliseconds=1)
    assert unpack(b"\xca\x3f\x00\x00\x00") == 0.5


# --- text ---------------------------------------------------------------------------------------------------------------


@given(st.text(st.characters()), st.integers(0, 40))
def test_clipped_text_fits(text: str, length: int) -> None:
    """Text of any origin, lone surrogates too, becomes text that every peer accepts."""
    clipped = clip(text, length)
    assert len(clipped) <= length
    clipped.encode()  # does not raise
    if len(text) <= length and text.isascii():
        assert clipped == text


def test_both_ends_of_long_text_are_kept() -> None:
    """A trace of an exception says most in its last line."""
    assert clip("beginning " + "x" * 100 + " end", 24) == "beginning xxxx … xxx end"


def test_an_error_of_any_size_is_accepted() -> None:
    """A handler that fails with pages of text, and names of files that are no text, is heard all the same."""
    fault = error("E" * 1000, "cannot open \udcff" * 1000, "trace\n" * 10_000)
    said = Reports("a", [Report("t", Attempt(1, 1), "failed", error=fault)])
    assert decode(encode(said)) == said


def test_lines_for_logs_are_lines() -> None:
    """What quotes a peer stays on one line, and cannot paint the terminal."""
    assert line("a\nb\x1b[31m") == r"a\u000ab\u001b[31m"
    assert line(ValueError()) == "ValueError"
