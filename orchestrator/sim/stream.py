"""The ledger as the broker keeps it: a stream with a cap, cut off at its old end by whole segments.

Law: an entry that has landed is read by every tailer, in order, once per attachment.
"""

from __future__ import annotations

from orchestrator.wire.facts import Accepted, AnyFact, Carried, Checkpointed, Ended, Entry

SEGMENT_BYTES = 4096


class Stream:
    """All entries that the broker still has."""

    def __init__(self, cap_bytes: int) -> None:
        self.cap_bytes = cap_bytes
        self.first = 0
        """The oldest offset that can be read."""
        self.entries: list[tuple[int, Entry] | None] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.entries)

    def land(self, entry: Entry) -> tuple[int, int]:
        """Write an entry at the end; gives its offset and its size in bytes."""
        size = size_of(entry)
        self.entries.append((size, entry))
        self._bytes += size
        while self._bytes > self.cap_bytes + SEGMENT_BYTES:
            self._drop_segment()
        return len(self.entries) - 1, size

    def _drop_segment(self) -> None:
        dropped = 0
        while dropped < SEGMENT_BYTES:
            oldest = self.entries[self.first]
            assert oldest is not None
            dropped += oldest[0]
            self.entries[self.first] = None
            self.first += 1
        self._bytes -= dropped

    def at(self, offset: int) -> tuple[int, Entry]:
        """An entry that is still there."""
        found = self.entries[offset]
        assert found is not None, f"offset {offset} has been cut off"
        return found

    def replay_from(self) -> int:
        """From where a reader who knows nothing must read: what the last entry says, if that is still there."""
        last = self.entries[-1] if self.entries else None
        return max(last[1].replay_from, self.first) if last else 0


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
