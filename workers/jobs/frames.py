"""What an agent and the processes that run its handlers say to each other, over two pipes: length, then msgpack."""

from __future__ import annotations

from typing import BinaryIO, TypeAlias

import msgspec

from orchestrator.vocabulary import Nanos
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
    """The handler should save a checkpoint and end.

    (One that nobody wants any more is not asked: its process is killed.)
    """


ToChild: TypeAlias = Run | AskToStop
ToAgent: TypeAlias = Ready | JobStarted | JobLate | JobDone | JobFailed | JobStopped | Progressed | Checkpointed

_encoder = msgspec.msgpack.Encoder()
to_child: msgspec.msgpack.Decoder[ToChild] = msgspec.msgpack.Decoder(ToChild)
to_agent: msgspec.msgpack.Decoder[ToAgent] = msgspec.msgpack.Decoder(ToAgent)


def write(pipe: BinaryIO, frame: ToChild | ToAgent) -> None:
    """One frame, whole.

    Raises ``OSError`` if nobody reads any more; callers see to it that only one writes at a time.
    """
    body = _encoder.encode(frame)
    pipe.write(len(body).to_bytes(_LENGTH_BYTES, "big") + body)
    pipe.flush()


def read(pipe: BinaryIO) -> bytes | None:
    """The next frame's body. None: the other side is gone, perhaps in the middle of a frame."""
    head = pipe.read(_LENGTH_BYTES)
    if len(head) < _LENGTH_BYTES:
        return None
    length = int.from_bytes(head, "big")
    body = pipe.read(length)
    return body if len(body) == length else None
