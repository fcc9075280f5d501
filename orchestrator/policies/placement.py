"""Which instance: a placement chooses among the instances of a service that have room.

Law: a placement is handed a ``Choice`` - the open instances in an order that does not depend on hashing, a test that says
whether one fits (and remembers why not), dice, and a cursor - and returns one that fits, or none. It looks at as few as it
can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Protocol


class Candidate(Protocol):
    """What a placement may know of an instance."""

    @property
    def incarnation(self) -> str: ...

    @property
    def load(self) -> int:
        """Busiest share over its resources, in millionths."""
        ...


class Choice(Protocol):
    """The question put to a placement."""

    @property
    def dice(self) -> Random: ...

    def __len__(self) -> int:
        """How many instances have any room."""
        ...

    def at(self, index: int) -> Candidate:
        """The ``index``-th of them."""
        ...

    def by_load(self) -> Iterator[Candidate]:
        """From the least loaded up; instances of one load come as the allocation prefers."""
        ...

    def turn(self) -> int:
        """A counter that rises by one with each call, for taking turns."""
        ...


Fits = Callable[[Candidate], bool]


class Placement(Protocol):
    """A placement policy."""

    def choose(self, choice: Choice, fits: Fits) -> Candidate | None:
        """An instance that fits, or none of them does."""
        ...


def _from(choice: Choice, start: int, fits: Fits) -> Candidate | None:
    """The first that fits, from ``start`` once around."""
    count = len(choice)
    for step in range(count):
        candidate = choice.at((start + step) % count)
        if fits(candidate):
            return candidate
    return None


@dataclass(frozen=True, slots=True)
class AtRandom:
    """Uniformly among those with room; one that does not fit passes the task to its neighbour."""

    def choose(self, choice: Choice, fits: Fits) -> Candidate | None:
        return _from(choice, choice.dice.randrange(len(choice)), fits) if len(choice) else None


@dataclass(frozen=True, slots=True)
class RoundRobin:
    """In turns."""

    def choose(self, choice: Choice, fits: Fits) -> Candidate | None:
        return _from(choice, choice.turn() % len(choice), fits) if len(choice) else None


@dataclass(frozen=True, slots=True)
class LeastLoaded:
    """The one whose busiest resource is least busy."""

    def choose(self, choice: Choice, fits: Fits) -> Candidate | None:
        return next((candidate for candidate in choice.by_load() if fits(candidate)), None)


PLACEMENTS: Mapping[str, Placement] = {"random": AtRandom(), "round_robin": RoundRobin(), "least_loaded": LeastLoaded()}
