"""The only honest sign that a broker serves: it lets us in.

The first steps of AMQP 0-9-1, by hand, as far as the server's `tune`, which it sends once user and password are good.
A whole client would be too much here: the embedded broker is started before anything else of ours and knows no client.
"""

from __future__ import annotations

import asyncio
import struct
from enum import Enum

__all__ = ["Answer", "knock"]

_HEADER = b"AMQP\x00\x00\x09\x01"
_FRAME_METHOD, _FRAME_END = 1, 0xCE
_START, _TUNE, _CLOSE = (10, 10), (10, 30), (10, 50)


class Answer(Enum):
    """What came back."""

    WELCOME = "it serves, with this user and password"
    NOBODY = "nobody listens, or not yet with an ear for us"
    REFUSED = "it serves, but refuses this user or password"


async def knock(port: int, user: str, password: str, *, timeout_s: float = 10.0) -> Answer:
    """Try to enter the broker on this loopback port."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                return await _enter(reader, writer, user, password)
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return Answer.NOBODY


async def _enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, user: str, password: str) -> Answer:
    writer.write(_HEADER)
    if await _method(reader) != _START:
        return Answer.NOBODY
    secret = f"\0{user}\0{password}".encode()
    no_properties = 0
    start_ok = struct.pack(">HHI6sI", 10, 11, no_properties, b"\x05PLAIN", len(secret)) + secret + b"\x05en_US"
    writer.write(struct.pack(">BHI", _FRAME_METHOD, 0, len(start_ok)) + start_ok + bytes([_FRAME_END]))
    try:
        method = await _method(reader)
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return Answer.REFUSED  # a server may also say so by hanging up
    return Answer.WELCOME if method == _TUNE else Answer.REFUSED


async def _method(reader: asyncio.StreamReader) -> tuple[int, int]:
    """Class and method of the next frame; (0, 0) if it is something else."""
    kind, _channel, size = struct.unpack(">BHI", await reader.readexactly(7))
    payload = await reader.readexactly(size + 1)
    if kind != _FRAME_METHOD or size < 4:
        return 0, 0
    class_id, method_id = struct.unpack_from(">HH", payload)
    return class_id, method_id
