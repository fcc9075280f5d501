"""Frames that carry messages: what we write is what AMQP says, what we read survives every peer."""

from __future__ import annotations

import struct
from typing import cast

import pamqp.commands as spec
import pamqp.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.common import FieldTable
from pamqp.header import ContentHeader

from orchestrator.amqp import frames
from tests.stopwatch import cost

shorts = st.text(max_size=60)
names = st.text("abcXYZ0189-_.:", max_size=60)
maybe = st.none() | st.text(min_size=1, max_size=60)
scalars = st.none() | st.booleans() | st.integers(-(2**31), 2**31 - 1) | st.text(max_size=20)
tables = st.dictionaries(
    st.text(min_size=1, max_size=20),
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=9), inner, max_size=3),
        max_leaves=8,
    ),
    max_size=5,
)


def split(data: bytes) -> list[tuple[int, int, bytes]]:
    """Frames as (type, channel, payload)."""
    found = []
    while data:
        kind, channel, size = frames.FRAME.unpack_from(data)
        assert data[7 + size] == frames.FRAME_END
        found.append((kind, channel, data[7 : 7 + size]))
        data = data[8 + size :]
    return found


@given(
    exchange=shorts, key=shorts, body=st.binary(max_size=300), mandatory=st.booleans(), persistent=st.booleans(),
    correlation_id=maybe, reply_to=maybe, user_id=maybe, expiration_ms=st.none() | st.integers(0, 10**9),
)  # fmt: skip
def test_another_implementation_reads_our_publish_as_we_meant_it(
    exchange: str,
    key: str,
    body: bytes,
    mandatory: bool,
    persistent: bool,
    correlation_id: str | None,
    reply_to: str | None,
    user_id: str | None,
    expiration_ms: int | None,
) -> None:
    """Every argument and property of a publish arrives in its field, and the body in pieces no longer than the frame limit."""
    data = frames.publish(
        7, exchange, key, body, frame_max=108, message_id="m-1", mandatory=mandatory, persistent=persistent,
        correlation_id=correlation_id, reply_to=reply_to, user_id=user_id, expiration_ms=expiration_ms,
    )  # fmt: skip
    read = []
    for kind, channel, payload in split(data):
        assert channel == 7
        assert kind != frames.BODY or len(payload) <= 100
        raw = frames.FRAME.pack(kind, channel, len(payload)) + payload + b"\xce"
        read.append(pamqp.frame.unmarshal(raw)[2])
    method, header, *pieces = read
    assert isinstance(method, spec.Basic.Publish)
    assert (method.exchange, method.routing_key, method.mandatory) == (exchange, key, mandatory)
    assert isinstance(header, ContentHeader)
    assert header.body_size == len(body)
    found = header.properties
    assert found.delivery_mode == (2 if persistent else 1)
    assert (found.correlation_id, found.reply_to, found.user_id) == (correlation_id, reply_to, user_id)
    assert (found.message_id, found.expiration) == ("m-1", None if expiration_ms is None else str(expiration_ms))
    assert b"".join(piece.value for piece in pieces if isinstance(piece, ContentBody)) == body


@given(consumer_tag=shorts, tag=st.integers(1, 2**63 - 1), redelivered=st.booleans(), exchange=names, key=shorts)
def test_we_read_deliveries_as_another_implementation_writes_them(
    consumer_tag: str, tag: int, redelivered: bool, exchange: str, key: str
) -> None:
    """Deliver, get-ok and return are read field by field."""
    methods = [
        (frames.BASIC_DELIVER, spec.Basic.Deliver(consumer_tag, tag, redelivered, exchange, key)),
        (frames.BASIC_GET_OK, spec.Basic.GetOk(tag, redelivered, exchange, key, 3)),
    ]
    for method, written in methods:
        payload = split(pamqp.frame.marshal(written, 1))[0][2]
        assert frames.read_envelope(method, payload) == (method, tag, redelivered, exchange, key, None)
    written = spec.Basic.Return(312, "NO_ROUTE", exchange, key)
    payload = split(pamqp.frame.marshal(written, 1))[0][2]
    assert frames.read_envelope(frames.BASIC_RETURN, payload) == (frames.BASIC_RETURN, 312, False, exchange, key, None)


@given(headers=tables, correlation_id=maybe, reply_to=maybe, message_id=maybe, user_id=maybe, others=st.booleans())
def test_we_read_properties_as_another_implementation_writes_them(
    headers: dict[str, object],
    correlation_id: str | None,
    reply_to: str | None,
    message_id: str | None,
    user_id: str | None,
    others: bool,
) -> None:
    """The properties we want are found among all that there are, tables and lists included."""
    properties = spec.Basic.Properties(
        headers=cast(FieldTable, headers) or None, correlation_id=correlation_id, reply_to=reply_to, message_id=message_id,
        user_id=user_id,
    )  # fmt: skip
    if others:
        properties.content_type = "application/msgpack"
        properties.content_encoding = "x"
        properties.delivery_mode = 2
        properties.priority = 3
        properties.expiration = "60000"
        properties.message_type = "t"
        properties.app_id = "a"
    payload = split(pamqp.frame.marshal(ContentHeader(0, 12, properties), 1))[0][2]
    read = frames.read_properties(payload)
    assert read.flaw is None
    assert read.body_bytes == 12
    assert (read.correlation_id, read.reply_to) == (correlation_id, reply_to)
    assert (read.message_id, read.user_id) == (message_id, user_id)
    assert (read.headers or {}) == headers


def test_a_stream_offset_is_taken_out_of_the_headers() -> None:
    """What the stream adds is no header of the publisher's."""
    properties = spec.Basic.Properties(headers={"x-stream-offset": 2**40, "mine": "x"})
    payload = split(pamqp.frame.marshal(ContentHeader(0, 0, properties), 1))[0][2]
    read = frames.read_properties(payload)
    assert (read.offset, read.headers) == (2**40, {"mine": "x"})


def header(flags: int, properties: bytes) -> bytes:
    return struct.pack(">HHQH", 60, 0, 5, flags) + properties


@given(flags=st.integers(0, 0xFFFF), properties=st.binary(max_size=200))
def test_no_bytes_of_a_peer_make_the_reading_of_properties_raise(flags: int, properties: bytes) -> None:
    """Any flags over any bytes give properties; the size of the body, which the broker checked, is always right."""
    assert frames.read_properties(header(flags, properties)).body_bytes == 5


@given(raw=st.binary(max_size=200))
def test_no_bytes_of_a_peer_make_the_reading_of_headers_raise(raw: bytes) -> None:
    """A header table of any bytes hides neither itself silently nor the properties behind it."""
    table = struct.pack(">I", len(raw)) + raw
    read = frames.read_properties(header(0x2010, table + b"\x05guest"))
    assert read.user_id == "guest"


@given(exchange=st.binary(max_size=255), key=st.binary(max_size=255))
def test_no_routing_key_of_a_peer_makes_the_reading_raise(exchange: bytes, key: bytes) -> None:
    """A key that is not text is shown with marks and said to be flawed; one that is text is exact."""
    payload = struct.pack(">IBQB", frames.BASIC_DELIVER, 0, 9, 0)
    payload += bytes([len(exchange)]) + exchange + bytes([len(key)]) + key
    read = frames.read_envelope(frames.BASIC_DELIVER, payload)
    assert read.number == 9
    if read.flaw is None:
        assert (read.exchange.encode(), read.routing_key.encode()) == (exchange, key)


@pytest.mark.parametrize("letter", [b"F", b"A"])
def test_a_table_nested_without_end_is_refused_before_it_exhausts_us(letter: bytes) -> None:
    """20,000 levels fit into a frame; a decoder that follows them all dies of it. (300 fit into what is read.)"""
    inner = b""
    for _ in range(300):
        inner = (b"\x01a" if letter == b"F" else b"") + letter + struct.pack(">I", len(inner)) + inner
    raw = inner if letter == b"F" else b"\x01a" + inner
    read = frames.read_properties(header(0x2000, struct.pack(">I", len(raw)) + raw))
    assert read.headers is None
    assert "nested deeper" in (read.flaw or "")


def test_a_long_table_is_passed_over() -> None:
    """A hundred thousand empty values cost their sender a frame; they must not cost us a twentieth of a second each time."""
    raw = b"\x01aA" + struct.pack(">I", 100_000) + b"V" * 100_000
    payload = header(0x2010, struct.pack(">I", len(raw)) + raw + b"\x05guest")
    with cost() as took:
        for _ in range(100):
            read = frames.read_properties(payload)
    assert took.ms < 500
    assert (read.headers, read.user_id, read.flaw) == (None, "guest", None)


def test_a_name_too_long_for_amqp_is_our_misuse() -> None:
    """It raises before anything is written."""
    with pytest.raises(ValueError, match="255"):
        frames.short("k" * 256)
