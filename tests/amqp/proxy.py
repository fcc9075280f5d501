"""A network between a session and its broker, that does what networks do."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit


class Proxy:
    """Forwards to the broker at ``url``; its own address is ``.url``. Use as a context manager.

    ``hold()`` keeps back what the broker says until ``release()``; ``blackhole()`` loses everything both ways and tells
    nobody; ``cut()`` resets every connection; ``crumb_bytes`` hands on so many bytes at a time; ``told_bytes_max`` ends a
    connection when the broker has said so much.
    """

    def __init__(
        self, url: str, *, tls: ssl.SSLContext | None = None, crumb_bytes: int = 65_536, told_bytes_max: int = 1 << 62
    ) -> None:
        self._target = urlsplit(url)
        self._tls = tls
        self._crumb_bytes = crumb_bytes
        self._told_bytes_max = told_bytes_max
        self._held: dict[asyncio.StreamWriter, bytearray] | None = None
        self._more = asyncio.Event()
        self._lost = False
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        """Where the session connects."""
        port = self._server.sockets[0].getsockname()[1]
        credentials = self._target.netloc.rpartition("@")[0]
        scheme = "amqps" if self._tls is not None else "amqp"
        return urlunsplit((scheme, f"{credentials}@127.0.0.1:{port}", self._target.path, "", ""))

    def hold(self) -> None:
        self._held = {}

    @property
    def held(self) -> bytes:
        """What the broker has said since ``hold``, over all connections."""
        return b"".join(bytes(data) for data in (self._held or {}).values())

    async def held_back(self, count: int) -> None:
        """Wait until the broker has said so many bytes that are held back."""
        while len(self.held) < count:
            self._more.clear()
            await self._more.wait()

    def release(self) -> None:
        held, self._held = self._held or {}, None
        for writer, data in held.items():
            writer.write(data)

    def blackhole(self) -> None:
        self._lost = True

    def cut(self) -> None:
        for writer in self._writers:
            with suppress(AttributeError):  # Python 3.11.2: of a TLS connection that never came to be
                writer.transport.abort()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        self._writers += (writer, there_writer)
        self._tasks.append(asyncio.ensure_future(self._forward(reader, there_writer, told_by_broker=False)))
        self._tasks.append(asyncio.ensure_future(self._forward(there_reader, writer, told_by_broker=True)))

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, told_by_broker: bool) -> None:
        left = self._told_bytes_max if told_by_broker else 1 << 62
        try:
            while data := await reader.read(min(self._crumb_bytes, left)):
                left -= len(data)
                if told_by_broker and self._held is not None:
                    self._held.setdefault(writer, bytearray()).extend(data)
                    self._more.set()
                elif not self._lost:
                    writer.write(data)
                    await writer.drain()
        except OSError:
            pass  # reset: so is the other side, below
        finally:
            if not self._lost:
                writer.close()
