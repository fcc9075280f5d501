"""What a coordinator keeps of ledgers that are gone. How it is written again is said in ``memory``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from orchestrator.core.custody.custody import Custody, Reign
from orchestrator.vocabulary import Incarnation, Nanos, TaskId
from orchestrator.wire.facts import AnyFact


@dataclass(frozen=True, slots=True)
class Memory:
    """Books of a ledger that is gone."""

    books: Custody
    led: bool
    """The last claim in them is our own."""
    read_ns: Nanos
    """When the last entry was read."""

    @property
    def extent(self) -> tuple[int, int]:
        """How much it knows: the highest epoch, the first offset that was not read."""
        return self.books.epoch, self.books.next_offset


@dataclass(slots=True)
class Reminding:
    """What we remember is being written again; our reign begins when the last of it is read."""

    reign: Reign
    todo: Iterator[AnyFact]
    live: int = 0
    ended: int = 0
    said: dict[TaskId, None] = field(default_factory=dict)
    """Tasks of which something was written."""


@dataclass(slots=True)
class Past:
    """All of that, and what of it is lost."""

    memories: list[Memory] = field(default_factory=list)
    """What we knew, and nobody has written again yet."""
    reminding: Reminding | None = None
    """It is being written."""
    opened_ns: Nanos = 0
    """When this session began."""
    read_ns: Nanos = 0
    """When an entry of the ledger was last read."""
    token_held: bool = False
    """We were given the hint that nobody leads, and did not claim: somebody else may remember more of a ledger that is gone."""
    met: bool = False
    """In this session the ledger was known again, or is read from where we know nothing."""
    anew: bool = False
    """The ledger began with the word of somebody who found that it was deleted, and nobody has led since."""
    unsure: bool = False
    """A living task came up that stood before our claim, and that agents were not asked about: ask again before anything moves."""
    since_ns: Nanos = 0
    """When the first of our reigns that nobody else's has interrupted began; 0: who led last is another."""
    unknown: dict[TaskId, Incarnation] = field(default_factory=dict)
    """Tasks of which nobody knows anything but that an agent had an attempt of them, and which: they are lost."""
    unknown_count: int = 0
