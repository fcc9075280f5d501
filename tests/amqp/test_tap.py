"""The tap: however the socket cuts the bytes, the same messages come out, and the library gets the rest."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any

import pamqp.commands as spec
import pamqp.frame
from hypothesis import given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat
from yarl import URL

from orchestrator.amqp import frames
from orchestrator.amqp.frames import Envelope, Properties
from orchestrator.amqp.tap import Tap, TapFactory


class Ear:
    """Writes down what a channel is told."""

    body_bytes_max = 1_000
    headers_bytes_max = 1_000

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def on_message(self, envelope: Envelope, properties: Properties, body: bytes) -> None:
        self.heard.append(("message", envelope.number, body, properties.flaw))

    def on_confirm(self, tag: int, multiple: bool, ok: bool) -> None:
        self.heard.append(("confirm", tag, multiple, ok))

    def on_empty(self) -> None:
        self.heard.append(("empty",))

    def on_cancelled(self) -> None:
        self.heard.append(("cancelled",))

    def on_closed(self, code: int, text: str) -> None:
        self.heard.append(("closed", code, text))


class Told:
    """A tap outside of any connection, what it told its link, and what it let through."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.monotonic) -> None:
        self.lost: list[str] = []
        self.alarms: list[tuple[bool, str]] = []
        self.bugs: list[Exception] = []
        self.tap = Tap(
            loop,
            on_lost=self.lost.append,
            on_blocked=lambda *alarm: self.alarms.append(alarm),
            on_bug=self.bugs.append,
            clock=clock,
        )

    async def through(self) -> bytes:
        """What the library reads."""
        self.tap.reader.feed_eof()
        return await self.tap.reader.read()


def marshal(frame: Any, channel: int) -> bytes:
    return pamqp.frame.marshal(frame, channel)


def message(channel: int, tag: int, body: bytes, pieces: int = 1) -> bytes:
    out = marshal(spec.Basic.Deliver("c", tag, False, "x", "k"), channel)
    out += marshal(ContentHeader(0, len(body), spec.Basic.Properties()), channel)
    step = max(1, -(-len(body) // pieces))
    for at in range(0, len(body), step):
        out += marshal(ContentBody(body[at : at + step]), channel)
    return out


TURNS = 10
"""Of the loop: more than all frames of an example take, if every turn is over as soon as it may be."""


@given(cuts=st.lists(st.integers(0, 2_000), max_size=12), busy=st.booleans(), data=st.data())
def test_messages_are_whole_and_in_order_however_the_socket_tears_them(cuts: list[int], busy: bool, data: st.DataObject) -> None:
    """Messages of two channels, heartbeats and answers to requests in between: each reaches whom it is for, in order.

    On a busy machine a turn is over whenever one looks at the clock, and what was read meanwhile waits for the next."""
    stream, rest = b"", b""
    expected: dict[int, list[tuple[Any, ...]]] = {1: [], 2: []}
    for tag in range(1, data.draw(st.integers(1, 9)) + 1):
        channel = data.draw(st.sampled_from([1, 2]))
        body = data.draw(st.binary(max_size=90))
        stream += message(channel, tag, body, data.draw(st.integers(1, 3)))
        expected[channel].append(("message", tag, body, None))
        for answer in (marshal(spec.Queue.BindOk(), 3), marshal(spec.Basic.QosOk(), channel)):
            if data.draw(st.booleans()):
                stream += answer
                rest += answer
        if data.draw(st.booleans()):
            stream += marshal(Heartbeat(), 0)
    loop = asyncio.new_event_loop()
    try:
        told = Told(loop, clock=itertools.count().__next__ if busy else lambda: 0.0)
        ears = {1: Ear(), 2: Ear()}
        told.tap.channels.update(ears)
        at = 0
        for cut in [*sorted(cuts), len(stream)]:
            cut = min(cut, len(stream))
            if cut > at:
                told.tap.data_received(stream[at:cut])
                at = cut
                if data.draw(st.booleans()):
                    loop.run_until_complete(asyncio.sleep(0))
        for _ in range(TURNS):
            loop.run_until_complete(asyncio.sleep(0))
        assert {number: ear.heard for number, ear in ears.items()} == expected
        assert loop.run_until_complete(told.through()).replace(frames.HEARTBEAT_FRAME, b"") == rest
        assert not told.bugs
    finally:
        loop.close()


async def test_what_is_not_ours_is_left_to_the_library_untouched() -> None:
    """Content of a channel that never registered passes through byte by byte."""
    told = Told(asyncio.get_running_loop())
    stream = message(5, 1, b"body") + marshal(spec.Basic.Ack(1), 5)
    told.tap.data_received(stream)
    assert await told.through() == stream


async def test_confirms_cancels_and_closes_are_told_to_the_channel() -> None:
    """The library hears of cancels and closes as well: it has to answer them. Confirms are ours alone."""
    told = Told(asyncio.get_running_loop())
    ear = Ear()
    told.tap.channels[1] = ear
    cancel = marshal(spec.Basic.Cancel("c"), 1)
    close = marshal(spec.Channel.Close(404, "NOT_FOUND - no queue", 0, 0), 1)
    acks = marshal(spec.Basic.Ack(7, True), 1) + marshal(spec.Basic.Nack(8, False), 1)
    told.tap.data_received(acks + marshal(spec.Basic.GetEmpty(), 1) + cancel + close)
    assert ear.heard == [
        ("confirm", 7, True, True),
        ("confirm", 8, False, False),
        ("empty",),
        ("cancelled",),
        ("closed", 404, "NOT_FOUND - no queue"),
    ]
    assert (await told.through()).replace(frames.HEARTBEAT_FRAME, b"") == cancel + close


async def test_alarms_and_the_brokers_last_words_are_overheard() -> None:
    """The reason for an alarm and the code and text of a close are what an operator wants to read."""
    told = Told(asyncio.get_running_loop())
    told.tap.data_received(marshal(spec.Connection.Blocked("low on memory"), 0))
    told.tap.data_received(marshal(spec.Connection.Unblocked(), 0))
    told.tap.data_received(marshal(spec.Connection.Close(320, "CONNECTION_FORCED - going down", 0, 0), 0))
    assert told.alarms == [(True, "low on memory"), (False, "")]
    assert told.lost == ["the broker closed it: 320 CONNECTION_FORCED - going down"]


async def test_a_body_longer_than_allowed_is_not_kept() -> None:
    """It arrives empty and flawed; the next message is unharmed."""
    told = Told(asyncio.get_running_loop())
    ear = Ear()
    told.tap.channels[1] = ear
    told.tap.data_received(message(1, 1, b"x" * 1_001, 3) + message(1, 2, b"fine"))
    (_, tag, body, flaw), second = ear.heard
    assert (tag, body) == (1, b"")
    assert "1001 bytes" in flaw
    assert second == ("message", 2, b"fine", None)


async def test_the_library_is_told_that_the_broker_lives_while_messages_flow() -> None:
    """The broker sends no heartbeats while it sends messages; without one in exchange the library would hang up."""
    told = Told(asyncio.get_running_loop())
    told.tap.channels[1] = Ear()
    told.tap.data_received(message(1, 1, b"x"))
    assert await told.through() == frames.HEARTBEAT_FRAME


async def test_a_sink_that_fails_ends_everything_at_once() -> None:
    """Its exception is kept for whoever owns the session; nothing more reaches any sink."""

    class Broken(Ear):
        def on_message(self, envelope: Envelope, properties: Properties, body: bytes) -> None:
            raise KeyError("our bug")

    told = Told(asyncio.get_running_loop())
    other = Ear()
    told.tap.channels.update({1: Broken(), 2: other})
    told.tap.data_received(message(1, 1, b"x") + message(2, 2, b"y"))
    told.tap.data_received(message(2, 3, b"z"))
    assert [type(bug) for bug in told.bugs] == [KeyError]
    assert other.heard == []


class Wire(asyncio.Transport):
    """A transport that remembers its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[bytes] = []

    def write(self, data: Any) -> None:
        self.calls.append(bytes(data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever buffered."""


async def test_what_is_written_in_one_turn_leaves_in_one_call_and_what_is_long_at_once() -> None:
    """A call of the system costs as much as a message; who has megabytes to send need not wait for its own turn to end."""
    told, wire = Told(asyncio.get_running_loop()), Wire()
    told.tap.connection_made(wire)
    told.tap.write(b"a")
    told.tap.write(b"b")
    assert wire.calls == []
    await asyncio.sleep(0)
    assert wire.calls == [b"ab"]
    told.tap.write(b"c")
    told.tap.write(b"d" * 100_000)
    assert wire.calls[1:] == [b"c" + b"d" * 100_000]
    told.tap.write(b"last words")
    told.tap.mute()
    assert wire.calls[2:] == [b"last words"]
    told.tap.write(b"too late")
    await asyncio.sleep(0)
    assert wire.calls[3:] == []


async def test_the_librarys_writes_fall_between_ours_in_the_order_of_the_calls() -> None:
    """What was settled before a channel is closed is settled: the settle must not arrive behind the close."""
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set_result(await reader.readexactly(15))
        writer.close()

    async with await asyncio.start_server(hear, "127.0.0.1", 0) as server:
        told = Told(asyncio.get_running_loop())
        port = server.sockets[0].getsockname()[1]
        _, writer = await TapFactory(told.tap).create(URL(f"amqp://127.0.0.1:{port}"))
        told.tap.write(b"ours1")
        writer.write(b"libr1")
        told.tap.write(b"ours2")
        assert await heard == b"ours1libr1ours2"
        writer.close()


async def test_a_broker_that_hangs_up_is_lost_at_once() -> None:
    """Not when the last of what we had written for it is given up: it reads no more."""
    told = Told(asyncio.get_running_loop())
    told.tap.eof_received()
    assert told.lost == ["its socket was closed without a word"]
