"""The ledger as the broker keeps it: a stream with a cap, cut off at its old end by whole segments. A power cut may take its new
end, an operator all of it.

Law: an entry that has landed is read by every tailer, in order, once per attachment. At the beginning of each segment but the first
the stream writes a note of its own, which takes an offset and is read by nobody (measured on the real one).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from itertools import islice

from orchestrator.core.custody.keeping import LATEST, place_to_begin
from orchestrator.vocabulary import Nanos
from orchestrator.wire.facts import Accepted, AnyFact, Carried, Checkpointed, Ended, Entry

SEGMENT_BYTES = 4096


@dataclass(slots=True)
class Segment:
    """A file of the stream."""

    first: int
    bytes: int = 0


class Stream:
    """All entries that the broker still has."""

    def __init__(self, cap_bytes: int) -> None:
        self.cap_bytes = cap_bytes
        self.first = 0
        """The oldest offset that can be read."""
        self.entries: list[tuple[int, Entry] | None] = []
        """None: a note of the stream's own, or cut off."""
        self._segments = deque([Segment(0)])
        self._bytes = 0
        self.written = 0
        """Bytes that were ever written."""
        self.deleted = False
        """It is not there; whoever comes next declares it anew."""
        self._landed_ns: list[Nanos] = []

    def __len__(self) -> int:
        return len(self.entries)

    def land(self, entry: Entry, now_ns: Nanos = 0) -> tuple[int, int]:
        """Write an entry at the end; gives its offset and its size in bytes."""
        size = size_of(entry)
        if self._segments[-1].bytes >= SEGMENT_BYTES:
            self._segments.append(Segment(len(self.entries)))
            self.entries.append(None)
            self._landed_ns.append(now_ns)
        self.entries.append((size, entry))
        self._landed_ns.append(now_ns)
        self._segments[-1].bytes += size
        self._bytes += size
        self.written += size
        while self._bytes > self.cap_bytes and len(self._segments) > 1:
            self._drop_segment()
        return len(self.entries) - 1, size

    def _drop_segment(self) -> None:
        dropped = self._segments.popleft()
        self._bytes -= dropped.bytes
        self.first = self._segments[0].first
        self.entries[dropped.first : self.first] = [None] * (self.first - dropped.first)

    def at(self, offset: int) -> tuple[int, Entry] | None:
        """The entry at this offset, if there is one still."""
        return self.entries[offset] if offset < len(self.entries) else None

    def replay_from(self) -> int:
        """From where a reader who knows nothing must read."""
        kept = ((offset, self.entries[offset]) for offset in range(len(self.entries) - 1, self.first - 1, -1))
        latest = islice(((offset, found[1]) for offset, found in kept if found is not None), LATEST)
        return max(self.first, place_to_begin(latest))

    def end_before(self, when_ns: Nanos) -> int:
        """The end that it had at that moment, of what is still there."""
        return max(self.first, bisect_left(self._landed_ns, when_ns))

    def cut(self, end: int) -> None:
        """All from this offset on is gone."""
        while len(self._segments) > 1 and self._segments[-1].first >= end:
            self._bytes -= self._segments.pop().bytes
        lost = sum(found[0] for found in self.entries[max(end, self._segments[-1].first) :] if found is not None)
        self._segments[-1].bytes -= lost
        self._bytes -= lost
        del self.entries[end:], self._landed_ns[end:]


def size_of(entry: Entry) -> int:
    """Bytes of an entry, about."""
    return 60 + sum(_size_of(fact) for fact in entry.facts)


def _size_of(fact: AnyFact) -> int:
    match fact:
        case Accepted(tasks=tasks):
            return 40 + sum(80 + len(task.args) for task in tasks)
        case Carried(task=task, failures=failures):
            return 140 + len(task.args) + 100 * len(failures)
        case Ended(value=value):
            return 80 + len(value or b"")
        case Checkpointed(state=state):
            return 50 + len(state)
        case _:
            return 60
