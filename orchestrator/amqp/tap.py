"""The tap: between the socket and the client library, it takes out what carries messages and lets the rest through.

Law: messages are handed on synchronously, in the order of the socket, and never reach the library.

The library (aiormq) is good at what happens rarely: greeting, authentication, TLS, heartbeats, opening channels,
declaring, consuming. What happens 20,000 times a second it does with three queues and one task per message: sinks then
run in an order that nobody promises once they await, and a malformed property kills the connection (``frames.py``). So
the tap reads the frames as they come from the socket, assembles those of the channels that registered here, and gives
the library only what is left. It also sees first what ends a session: a close with its code and words, a lost socket.

What we rely on in aiormq 7.2, all of it public or visible on the wire (``tests/amqp/test_tap.py`` fails if it changes):

* ``connect(transport_factory=...)``: whose ``create`` returns the stream pair the connection will use;
* it writes whole frames with one ``write`` each, through the stream pair, so our own writes fall between frames, in the
  order of the calls;
* it leaves alone what happens on a channel that it opened and was not asked to use;
* a heartbeat frame resets its watch over the peer. The broker sends none while it has messages to send, so while the
  tap takes everything out it hands the library one heartbeat a second in exchange.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from aiormq.connection import TransportFactory
from yarl import URL

from orchestrator.amqp import frames
from orchestrator.amqp.frames import Envelope, Properties

_MESSAGE_METHODS: Final = frozenset({frames.BASIC_DELIVER, frames.BASIC_RETURN, frames.BASIC_GET_OK})
_FRAME_KINDS: Final = frozenset({frames.METHOD, frames.HEADER, frames.BODY, frames.HEARTBEAT})
_HEARTBEAT_EVERY_S: Final = 1.0
_TURN_S: Final = 0.005
"""So long a connection may go on handing on what it has read before everybody else on the loop has a turn. One socket alone brings
eight megabytes a turn (uvloop reads 32 buffers): under a flood that was half a second in which nothing was decided."""
_LOOK_EVERY: Final = 16
"""Frames between two looks at the clock."""
_GATHERED_BYTES: Final = 64 << 10
"""What is written in one turn of the loop leaves together, in one call of the system and, if it is short, in one packet; so much
does not wait for the end of the turn."""
_HUNG_UP: Final = "its socket was closed without a word"
_CONGESTED_BYTES: Final = 4 << 20
"""So much may wait in the socket's buffer before ``congested``: some tens of milliseconds of a local network."""


class Channel(Protocol):
    """Who takes the messages of a channel out. All calls are synchronous and in the socket's order."""

    body_bytes_max: int
    """A longer body is not kept: it arrives empty, with a flaw."""
    headers_bytes_max: int
    """A longer table of headers is not read: it is as if there were none."""

    def on_message(self, envelope: Envelope, properties: Properties, body: bytes) -> None:
        """A whole message, delivered, returned or got."""

    def on_confirm(self, tag: int, multiple: bool, ok: bool) -> None:
        """The broker answers for published messages."""

    def on_empty(self) -> None:
        """``basic.get`` found nothing."""

    def on_cancelled(self) -> None:
        """The broker ended the consumer."""

    def on_closed(self, code: int, text: str) -> None:
        """The broker closed the channel."""


class _Deaf:
    """Takes out what still arrives for a channel that nobody listens to any more, and forgets it."""

    body_bytes_max = 0
    headers_bytes_max = 0

    def on_message(self, envelope: Envelope, properties: Properties, body: bytes) -> None: ...

    def on_confirm(self, tag: int, multiple: bool, ok: bool) -> None: ...

    def on_empty(self) -> None: ...

    def on_cancelled(self) -> None: ...

    def on_closed(self, code: int, text: str) -> None: ...


DEAF: Final[Channel] = _Deaf()


class Tap(asyncio.StreamReaderProtocol):
    """The protocol of one connection's socket. ``on_lost`` is called with the reason in words; the first is the
    cause."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        on_lost: Callable[[str], None],
        on_blocked: Callable[[bool, str], None],
        on_bug: Callable[[Exception], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.reader = asyncio.StreamReader(loop=loop)
        super().__init__(self.reader, loop=loop)
        self.channels: dict[int, Channel] = {}
        self.close_code = 0
        self.close_text = ""
        self._loop = loop
        self._clock = clock
        self._on_lost = on_lost
        self._on_blocked = on_blocked
        self._on_bug = on_bug
        self._rest = b""
        self._open: dict[int, _Assembly] = {}
        self._heartbeat_at = 0.0
        self._heard_at = self._clock()
        self._turn_ends = 0.0
        """When this turn has lasted long enough; 0: none has begun."""
        self._stopped = False
        """It has, and more is to be read."""
        self._hung_up = False
        self._wire: asyncio.Transport | None = None
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._room = asyncio.Event()
        self._room.set()
        self._over = False

    # ------------------------------------------------------------------------------------------------- our own writes

    def write(self, data: bytes) -> None:
        """Write whole frames. They leave when this turn of the loop is over, or once the socket takes them; on a lost socket they
        vanish."""
        if self._wire is None or self._over:
            return
        if not self._gathered:
            self._loop.call_soon(self.flush)
        self._gathered.append(data)
        self._gathered_bytes += len(data)
        if self._gathered_bytes >= _GATHERED_BYTES:
            self.flush()

    def call_later(self, delay_s: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        """Have this called after a while, on our loop."""
        return self._loop.call_later(delay_s, call)

    def flush(self) -> None:
        """What was written leaves now: something else is to come behind it."""
        if self._gathered and self._wire is not None and not self._over:
            gathered, self._gathered, self._gathered_bytes = self._gathered, [], 0
            self._wire.write(gathered[0] if len(gathered) == 1 else b"".join(gathered))

    @property
    def congested(self) -> bool:
        """More waits in the socket's buffer than is sensible."""
        return not self._room.is_set()

    async def room(self) -> None:
        """Wait until the socket's buffer has drained (or the socket is lost)."""
        await self._room.wait()

    def abort(self) -> None:
        """Drop the socket, with whatever waits in its buffer."""
        self._gathered.clear()
        if self._wire is not None:
            self._wire.abort()

    def mute(self) -> None:
        """Hand on nothing any more: the session is over, its handles are void. The library still gets its own
        frames."""
        self.flush()
        for number in self.channels:
            self.channels[number] = DEAF
        self._over = True
        self._room.set()

    # ------------------------------------------------------------------------------------------------ asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast(asyncio.Transport, transport)  # uvloop's is one without being a subclass
        super().connection_made(transport)
        self._wire.set_write_buffer_limits(high=_CONGESTED_BYTES)

    def pause_writing(self) -> None:
        super().pause_writing()
        if not self._over:
            self._room.clear()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._room.set()

    def eof_received(self) -> bool:
        self._hung_up = True
        super().eof_received()
        self._on_lost(_HUNG_UP)  # now: what we have written and nobody reads would hold up the end of the socket
        return False  # AMQP has no half-closed state: close

    def connection_lost(self, exc: Exception | None) -> None:
        self._over = True
        self._room.set()
        super().connection_lost(exc)
        silent_s = self._clock() - self._heard_at
        if exc is not None:
            self._on_lost(f"its socket failed: {exc}")
        elif self._hung_up:
            self._on_lost(_HUNG_UP)
        else:  # the library's watch over heartbeats, or ourselves
            self._on_lost(f"nothing was heard from the broker for {silent_s:.1f} s, so it was given up")

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._clock()
        if not self._turn_ends:
            self._turn_ends = self._heard_at + _TURN_S
            self._loop.call_soon(self._next_turn)
        buffer = self._rest + data if self._rest else bytes(data)
        if self._stopped:
            self._rest = buffer
        else:
            self._go_on(buffer)

    def _go_on(self, buffer: bytes) -> None:
        try:
            self._take(buffer)
        except Exception as error:  # a sink of ours failed: ours are crashes, reported where the session is owned
            self._rest = b""
            self.mute()
            self._on_bug(error)
        if self._clock() >= self._turn_ends and not self._stopped:
            self._stopped = True
            if self._wire is not None and not self._wire.is_closing():
                self._wire.pause_reading()

    def _next_turn(self) -> None:
        """The others have had theirs."""
        self._turn_ends = 0.0
        if not self._stopped:
            return
        self._stopped = False
        self._turn_ends = self._clock() + _TURN_S
        self._loop.call_soon(self._next_turn)
        self._go_on(self._rest)
        if not self._stopped and self._wire is not None and not self._wire.is_closing():
            self._wire.resume_reading()

    # ------------------------------------------------------------------------------------------------------ the frames

    def _take(self, buffer: bytes) -> None:
        """Walk the whole frames in the buffer; keep the torn last one for the next call."""
        channels = self.channels
        unpack = frames.FRAME.unpack_from
        at, passed, length = 0, 0, len(buffer)
        through: list[bytes] = []
        taken = False
        frames_read = 0
        while length - at >= frames.OVERHEAD:
            frames_read += 1
            if frames_read % _LOOK_EVERY == 0 and self._clock() >= self._turn_ends:
                break
            kind, number, size = unpack(buffer, at)
            end = at + size + frames.OVERHEAD
            if kind not in _FRAME_KINDS or (end <= length and buffer[end - 1] != frames.FRAME_END):
                self._no_amqp(buffer[at : at + 24])
                return
            if end > length:
                break
            if number and number in channels and kind != frames.HEARTBEAT:
                if self._frame(kind, number, buffer[at + 7 : end - 1]):
                    if passed < at:
                        through.append(buffer[passed:at])
                    passed = end
                    taken = True
            elif not number and kind == frames.METHOD:
                self._connection_method(buffer[at + 7 : end - 1])
            at = end
        self._rest = buffer[at:]
        if passed < at:
            through.append(buffer[passed:at])
        if taken and self._heard_at - self._heartbeat_at >= _HEARTBEAT_EVERY_S:
            self._heartbeat_at = self._heard_at
            through.append(frames.HEARTBEAT_FRAME)
        if through:
            super().data_received(b"".join(through))

    def _no_amqp(self, heard: bytes) -> None:
        """The peer is no broker, or one that has lost the thread."""
        self.close_code, self.close_text = 501, f"what answers there does not speak AMQP 0-9-1: {heard!r}"
        self._on_lost(self.close_text)
        self.abort()

    def _frame(self, kind: int, number: int, payload: bytes) -> bool:
        """One frame of a channel that registered; whether it is ours."""
        if kind != frames.METHOD:
            assembly = self._open.get(number)
            if assembly is None:
                return False
            if assembly.add(kind, payload):
                del self._open[number]
                channel = self.channels[number]
                channel.on_message(assembly.envelope, assembly.properties, assembly.body())
            return True
        method = int.from_bytes(payload[:4], "big")
        channel = self.channels[number]
        if method in _MESSAGE_METHODS:
            self._open[number] = _Assembly(frames.read_envelope(method, payload), channel)
        elif method == frames.BASIC_ACK or method == frames.BASIC_NACK:
            tag, multiple = frames.read_confirm(payload)
            channel.on_confirm(tag, multiple, method == frames.BASIC_ACK)
        elif method == frames.BASIC_GET_EMPTY:
            channel.on_empty()
        else:
            if method == frames.BASIC_CANCEL:
                channel.on_cancelled()
            elif method == frames.CHANNEL_CLOSE:
                channel.on_closed(*frames.read_close(payload))
            return False  # the library wants to know these too
        return True

    def _connection_method(self, payload: bytes) -> None:
        """Overhear what concerns the whole connection."""
        method = int.from_bytes(payload[:4], "big")
        if method == frames.CONNECTION_CLOSE:
            self.close_code, self.close_text = frames.read_close(payload)
            self._on_lost(f"the broker closed it: {self.close_code} {self.close_text}")
        elif method == frames.CONNECTION_BLOCKED:
            self._on_blocked(True, frames.read_short(payload))
        elif method == frames.CONNECTION_UNBLOCKED:
            self._on_blocked(False, "")


class _Assembly:
    """A message whose frames are still arriving."""

    __slots__ = ("_headers_max", "_left", "_max", "_pieces", "envelope", "properties")

    def __init__(self, envelope: Envelope, channel: Channel) -> None:
        self.envelope = envelope
        self.properties = Properties(0)
        self._max = channel.body_bytes_max
        self._headers_max = channel.headers_bytes_max
        self._left = -1
        self._pieces: list[bytes] = []

    def add(self, kind: int, payload: bytes) -> bool:
        """Take the next frame; whether the message is whole."""
        if kind == frames.HEADER:
            self.properties = frames.read_properties(payload, self._headers_max)
            self._left = self.properties.body_bytes
            if self._left > self._max:
                flaw = f"its body of {self._left} bytes is longer than the {self._max} we take"
                if self.properties.flaw is not None:
                    flaw = f"{flaw}; {self.properties.flaw}"
                self.properties = self.properties._replace(flaw=flaw)
        else:
            self._left -= len(payload)
            if self.properties.body_bytes <= self._max:
                self._pieces.append(payload)
        return self._left <= 0

    def body(self) -> bytes:
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)


class TapFactory(TransportFactory):
    """Opens the socket of one connection with a tap on it (aiormq's ``transport_factory``)."""

    def __init__(self, tap: Tap) -> None:
        self._tap = tap

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        context: ssl.SSLContext | None = None
        if url.scheme == "amqps":
            context = await kwargs["ssl_context_provider"].get_context()
        host = url.host or ""
        transport, _ = await loop.create_connection(
            lambda: self._tap, host, url.port or 5672, ssl=context, server_hostname=host if context else None
        )
        return self._tap.reader, _Behind(transport, self._tap, self._tap.reader, loop)


class _Behind(asyncio.StreamWriter):
    """The library's half of the pair: what it writes comes behind what we wrote before (a goodbye behind the last settles)."""

    def __init__(self, transport: asyncio.WriteTransport, tap: Tap, reader: asyncio.StreamReader, loop: asyncio.AbstractEventLoop):
        super().__init__(transport, tap, reader, loop)
        self._tap = tap

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._tap.flush()
        super().write(data)
