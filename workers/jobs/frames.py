"""What an agent and the processes that run its handlers say to each other, over pipes: length, then msgpack."""

from __future__ import annotations

from typing import BinaryIO, TypeAlias

import msgspec

from orchestrator.vocabulary import Attempt, Nanos
from workers.context import About
from workers.core.events import (
    Checkpointed,
    JobDone,
    JobFailed,
    JobLate,
    JobStarted,
    JobStopped,
    Progressed,
)

_LENGTH_BYTES = 4


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The process runs and listens."""


class Run(msgspec.Struct, frozen=True, tag=True):
    """Call the handler at ``address``, unless ``until_ns`` (steady clock, which all processes share) has passed
    by then.
    """

    address: str
    about: About
    args: bytes
    until_ns: Nanos


class AskToStop(msgspec.Struct, frozen=True, tag=True):
    """The handler of ``attempt`` should save a checkpoint and end. Has a pipe of its own, so it may be read before that ``Run``.

    (One that nobody wants any more is not asked: its process is killed.)
    """

    attempt: Attempt


ToChild: TypeAlias = Run | AskToStop
ToAgent: TypeAlias = Ready | JobStarted | JobLate | JobDone | JobFailed | JobStopped | Progressed | Checkpointed

_encoder = msgspec.msgpack.Encoder()
to_child: msgspec.msgpack.Decoder[ToChild] = msgspec.msgpack.Decoder(ToChild)
to_agent: msgspec.msgpack.Decoder[ToAgent] = msgspec.msgpack.Decoder(ToAgent)


def framed(frame: ToChild | ToAgent) -> bytes:
    """One frame as bytes."""
    body = _encoder.encode(frame)
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


def write(pipe: BinaryIO, frame: ToAgent) -> None:
    """One frame, whole.

    Raises ``OSError`` if nobody reads any more; callers see to it that only one writes at a time.
    """
    pipe.write(framed(frame))
    pipe.flush()


def read(pipe: BinaryIO) -> bytes | None:
    """The next frame's body. None: the other side is gone, perhaps in the middle of a frame."""
    head = pipe.read(_LENGTH_BYTES)
    if len(head) < _LENGTH_BYTES:
        return None
    length = int.from_bytes(head, "big")
    body = pipe.read(length)
    return body if len(body) == length else None


class Frames:
    """Bodies of frames out of pieces of a stream, wherever it was cut."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def take(self, piece: bytes) -> list[bytes]:
        """Those that are whole with this piece."""
        self._rest += piece
        bodies, at = [], 0
        while (begins := at + _LENGTH_BYTES) <= len(self._rest):
            ends = begins + int.from_bytes(self._rest[at:begins], "big")
            if ends > len(self._rest):
                break
            bodies.append(bytes(self._rest[begins:ends]))
            at = ends
        del self._rest[:at]
        return bodies
