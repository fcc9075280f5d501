"""Reading the ledger for a trace: from where it begins (or from a moment on) to where it ends now, or for ever.

Law: read as every standby reads it, and never written. The ledger is bounded: what it does not have any more is told, not
passed over. ``Read.gaps`` are offsets that were cut off while we read; ``Read.first`` above 0 means that an older part is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from orchestrator.amqp import Delivery, Link
from orchestrator.amqp.errors import LinkLost
from orchestrator.amqp.ledger import Gap, LedgerTail, Place
from orchestrator.replay.recorder import Recorder
from orchestrator.traces import TraceTask
from orchestrator.vocabulary import NS_PER_S, Nanos
from orchestrator.wire.codec import decode_entry
from orchestrator.wire.facts import Entry

MARGIN_NS = 60 * NS_PER_S
"""Asked for the facts of a moment, we begin so much before: the broker stamps its chunks with its own clock, to the second."""
NOTHING_AFTER_S = 10.0
"""When the broker sends nothing for so long after being asked for what is there, there is nothing."""


@dataclass(slots=True)
class Read:
    """How far the reading has come."""

    first: int = -1
    """The first offset that was read; -1: none yet."""
    last: int = -1
    end: int = -1
    """The last offset that was there when we began; -1: the ledger was empty."""
    unreadable: int = 0
    """Entries that are no entries: only coordinators may write there, so somebody else did."""
    gaps: list[Gap] = field(default_factory=list)

    @property
    def share(self) -> float:
        """How much of what was there is read, 0 to 1."""
        return 1.0 if self.end <= self.first else max(0, self.last - self.first) / (self.end - self.first)


async def read_ledger(
    link: Link,
    recorder: Recorder,
    tell: Callable[[TraceTask], None],
    *,
    since_ns: Nanos = 0,
    follow: asyncio.Event | None = None,
    progress: Callable[[Read], None] = lambda read: None,
) -> Read:
    """Feed the recorder, and ``tell`` every task that has ended, until everything is read that was there at the beginning.

    With ``follow``: beyond that, until it is set. ``since_ns``: nothing is wanted that was accepted before (0: everything).
    Raises LinkError; a ledger that does not exist is ``Missing``.
    """
    tail, read = LedgerTail(link), Read()
    chunk = await tail.last_chunk(patience_s=NOTHING_AFTER_S)
    if chunk:
        read.end = chunk[-1].offset or 0
    elif follow is None:
        return read
    there, begun = asyncio.Event(), asyncio.Event()
    faults: list[Exception] = []

    def take(delivery: Delivery) -> None:
        offset = delivery.offset or 0
        begun.set()
        read.first = offset if read.first < 0 else read.first
        read.last = offset
        if faults or (follow is None and offset > read.end):
            return
        entry = decode_entry(delivery.body)
        try:
            if isinstance(entry, Entry):
                for task in recorder.read(offset, entry):
                    tell(task)
            else:
                read.unreadable += 1
            progress(read)
        except Exception as fault:  # raised where somebody waits for us: a callback has no caller
            faults.append(fault)
            there.set()
        if offset >= read.end and follow is None:
            there.set()

    start: Place = datetime.fromtimestamp(max(0, since_ns - MARGIN_NS) // NS_PER_S, UTC) if since_ns else "first"
    consumer = await tail.follow(start, take, on_gap=read.gaps.append)
    try:
        if follow is None:
            await _first(link, there, begun, NOTHING_AFTER_S)
        if follow is not None or begun.is_set():
            await _first(link, follow or there, there if follow is not None else None, None)
    finally:
        if not link.is_broken:
            await consumer.cancel()
    if faults:
        raise faults[0]
    return read


async def _first(link: Link, one: asyncio.Event, other: asyncio.Event | None, patience_s: float | None) -> None:
    """Until one of these is set, or so much time has passed. Raises LinkLost."""
    waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(event.wait()) for event in (one, other) if event is not None]
    try:
        await asyncio.wait([*waits, link.broken], timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    if link.is_broken:
        raise LinkLost(link.broken.result(), "Reading the ledger")
