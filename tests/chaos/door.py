"""A wire between one process and its broker, that does what wires do; and where there are several nodes, the door that finds one.

Law: a door never ends a connection on its own account. It passes on what either side does, late or not at all if it was told so.
"""

from __future__ import annotations

import asyncio
import re
from types import TracebackType
from typing import Self

CHUNK = 65_536
ROLE = re.compile(rb"\((consume|publish|beats|ledger)\)")


class Wire:
    """One connection through a door."""

    def __init__(self) -> None:
        self.role = ""
        """Which of a session's connections it is, as its client says when it introduces itself."""
        self.writers: list[asyncio.StreamWriter] = []
        self.port = 0
        """Where it leads; 0: nowhere yet."""


class Door:
    """Leads to the first of ``ports`` (on loopback) that answers. Use as a context manager."""

    def __init__(self, ports: list[int]) -> None:
        self.ports = ports
        self.delay_s = 0.0
        """Each way."""
        self.bytes_per_s = 0.0
        """Of each connection, each way; 0: as many as come."""
        self.crumb_bytes = 0
        """So many at a time, each in a packet of its own; 0: as they come."""
        self._shut: set[str] = set()
        self._hears = False
        self._changed = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._wires: set[Wire] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """Where the process knocks."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def leads_to(self, port: int) -> bool:
        """Whether a connection goes there just now."""
        return any(wire.port == port for wire in self._wires)

    def cut(self) -> None:
        """Reset every connection; new ones are let in."""
        for wire in list(self._wires):
            for writer in wire.writers:
                writer.transport.abort()

    async def shut(self, role: str = "", *, hears: bool = False) -> None:
        """Nothing passes any more, and nobody is told: a pulled cable. What is sent meanwhile waits, as TCP would have it.

        ``role``: only on this of a session's connections (``consume``, ``publish``, ``beats``). ``hears``: only what the process
        says does not pass; it hears all.
        """
        async with self._changed:
            self._shut.add(role)
            self._hears = hears

    async def unshut(self) -> None:
        """The cable is back."""
        async with self._changed:
            self._shut.clear()
            self._changed.notify_all()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._knocked, "127.0.0.1", 0)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _passable(self, wire: Wire, *, heard: bool = False) -> None:
        """Until what is said on this wire passes (``heard``: what its process hears)."""
        if not self._shut or (heard and self._hears):
            return
        async with self._changed:
            await self._changed.wait_for(lambda: not self._shut & {"", wire.role})

    def _knocked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._enter(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire()
        wire.writers.append(writer)
        self._wires.add(wire)
        try:
            await self._passable(wire)
            found = await self._reach(wire)
            if found is None:
                writer.transport.abort()
                return
            there_reader, there_writer = found
            wire.writers.append(there_writer)
            await asyncio.gather(
                self._forward(wire, reader, there_writer, introduces=True), self._forward(wire, there_reader, writer)
            )
        finally:
            for one in wire.writers:
                one.close()
            self._wires.discard(wire)

    async def _reach(self, wire: Wire) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for port in self.ports:
            try:
                found = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                continue
            wire.port = port
            return found
        return None

    async def _forward(
        self, wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, introduces: bool = False
    ) -> None:
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        carrier = asyncio.ensure_future(self._carry(wire, late, writer, heard=not introduces))
        loop = asyncio.get_running_loop()
        try:
            while data := await reader.read(CHUNK):
                if introduces and not wire.role and (found := ROLE.search(data)):
                    wire.role = found.group(1).decode()
                late.put_nowait((loop.time() + self.delay_s, data))
            await late.join()
        except OSError:
            pass  # reset: so is the other side, below
        finally:
            carrier.cancel()
            await self._passable(
                wire, heard=not introduces
            )  # who is behind a shut door does not hear that somebody has gone either
            writer.close()

    async def _carry(
        self, wire: Wire, late: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, *, heard: bool
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await late.get()
            if (wait_s := due - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            await self._passable(wire, heard=heard)
            step = self.crumb_bytes or len(data)
            for at in range(0, len(data), step):
                if writer.is_closing():
                    break
                writer.write(data[at : at + step])
                if self.crumb_bytes:
                    await asyncio.sleep(0)  # whoever reads has a turn
            if self.bytes_per_s and not writer.is_closing():
                await asyncio.sleep(len(data) / self.bytes_per_s)
            late.task_done()
