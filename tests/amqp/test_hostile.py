"""Peers that may publish, and put into the envelope what they like. Each of these kills a session of the client library:
the message returns to the head of its queue, and the next session dies of it too."""

from __future__ import annotations

import asyncio
import struct

import pytest

from orchestrator.amqp import Link, frames
from orchestrator.amqp.connection import Connection
from orchestrator.amqp.topology import TASKS, intake, intake_queue
from tests.amqp.conftest import BASE, Basket

BODY = b"good work all the same"


def short(raw: bytes) -> bytes:
    return bytes([len(raw)]) + raw


def table(raw: bytes) -> bytes:
    return struct.pack(">I", len(raw)) + raw


def nested(letter: bytes, levels: int) -> bytes:
    name = short(b"a")
    inner = b""
    for _ in range(levels):
        inner = (name if letter == b"F" else b"") + letter + table(inner)
    return inner if letter == b"F" else name + inner


NOT_TEXT = b"\xff\xfe\xc3"
AGES = struct.pack(">Q", 2**64 - 1)

HOSTILE = {
    "a key that is not text": (NOT_TEXT, 0, b"", "routing key"),
    "a message id that is not text": (b"gpu", 0x0080, short(NOT_TEXT), "message id"),
    "a reply address that is not text": (b"gpu", 0x0200, short(NOT_TEXT), "reply address"),
    "a correlation id that is not text": (b"gpu", 0x0400, short(NOT_TEXT), "correlation id"),
    "a content type that is not text": (b"gpu", 0x8000, short(NOT_TEXT), None),
    "a timestamp in the year 600,000": (b"gpu", 0x0040, AGES, None),
    "a header's name that is not text": (b"gpu", 0x2000, table(short(NOT_TEXT) + b"V"), "headers"),
    "a header's timestamp out of all ages": (b"gpu", 0x2000, table(short(b"a") + b"T" + AGES), None),
    "tables within tables, 18,000 deep": (b"gpu", 0x2000, table(nested(b"F", 18_000)), None),
    "lists within lists, 20,000 deep": (b"gpu", 0x2000, table(nested(b"A", 20_000)), None),
    "tables within tables, 300 deep": (b"gpu", 0x2000, table(nested(b"F", 300)), "nested deeper"),
    "lists within lists, 300 deep": (b"gpu", 0x2000, table(nested(b"A", 300)), "nested deeper"),
    "flags for properties that do not exist": (b"gpu", 0x0001, b"", "properties beyond"),
    "an offset, as if the queue were a stream": (
        b"gpu",
        0x2000,
        table(short(b"x-stream-offset") + b"l" + struct.pack(">q", 7)),
        None,
    ),
}

MENDED = "flags for properties that do not exist"
"""RabbitMQ 4 leaves these out of what it hands on; 3.10 does not."""


async def publish_raw(url: str, key: bytes, flags: int, properties: bytes) -> None:
    """What a peer with a socket can do. Returns once the broker has taken it."""
    connection = await Connection.open(
        url, name="hostile", heartbeat_s=5, ssl_context=None,
        on_lost=lambda _: None, on_blocked=lambda *_: None, on_bug=lambda _: None,
    )  # fmt: skip
    try:
        channel = await connection.channel()
        method = b"\x00\x3c\x00\x28\x00\x00" + short(TASKS.encode()) + short(key) + b"\x00"
        header = struct.pack(">HHQH", 60, 0, len(BODY), flags) + properties
        kinds = ((frames.METHOD, method), (frames.HEADER, header), (frames.BODY, BODY))
        raw = (frames.FRAME.pack(kind, channel.number, len(payload)) + payload + b"\xce" for kind, payload in kinds)
        connection.tap.write(b"".join(raw))
        await channel.queue_declare(TASKS, passive=True)  # answered behind it
    finally:
        await connection.close()


@pytest.mark.parametrize("case", HOSTILE)
async def test_no_envelope_ends_the_session_that_receives_it(amqp_url: str, link: Link, case: str) -> None:
    """The message arrives with its body; what could not be read is named in its flaw; the session lives on, and can look
    at the message, settle it, and receive the next."""
    key, flags, properties, flaw = HOSTILE[case]
    await link.declare(intake("gpu"))
    queue = intake_queue("gpu") if key == b"gpu" else TASKS
    await publish_raw(amqp_url, key, flags, properties)
    assert [delivery.body for delivery in await link.peek(queue, 5)] == [BODY]
    basket = Basket()
    await link.consume(queue, basket, prefetch=10)
    (delivery,) = await basket.until(1)
    assert (delivery.body, delivery.offset) == (BODY, None)
    if flaw is None or (case == MENDED and not link.server_version.startswith("3.")):
        assert delivery.flaw is None
    else:
        assert flaw in (delivery.flaw or "")
    link.settle([delivery])
    await publish_raw(amqp_url, key, 0, b"")
    await basket.until(2)
    assert not link.is_broken


async def test_a_body_beyond_the_consumers_limit_costs_no_memory_and_no_session(link: Link) -> None:
    """A peer that sends 8 MB where 1 MB is the most: it arrives empty, with its flaw, and can be settled."""
    await link.declare(intake("gpu"))
    basket = Basket()
    consumer = await link.consume(intake_queue("gpu"), basket, prefetch=10, body_bytes_max=1 << 20)
    await link.publish(TASKS, "gpu", b"x" * (8 << 20))
    await link.publish(TASKS, "gpu", b"small")
    big, small = await basket.until(2)
    assert (big.body, small.body) == (b"", b"small")
    assert "8388608 bytes" in (big.flaw or "")
    link.settle([big, small])
    assert consumer.unsettled == 0


async def test_a_slow_reader_is_not_mistaken_for_a_dead_broker(amqp_url: str) -> None:
    """While messages stream in, the broker sends no heartbeats; the session stays up through several periods of them."""
    async with await Link.open(amqp_url, name="stream of messages", heartbeat_s=1) as link:
        await link.declare(BASE + intake("gpu"))
        basket = Basket()
        await link.consume(intake_queue("gpu"), basket, prefetch=0, no_ack=True)
        ends = asyncio.get_running_loop().time() + 7.5  # longer than twice three heartbeats, after which the library hangs up
        while asyncio.get_running_loop().time() < ends:
            await link.publish(TASKS, "gpu", b"x", persistent=False)
        assert not link.is_broken
        assert len(basket.deliveries) > 1_000
