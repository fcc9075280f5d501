"""Which instance: a placement chooses among the instances of a service that have room.

Law: a placement is handed a ``Choice`` - the open instances in an order that does not depend on hashing, what the task asks,
dice, and a cursor - with a test that says whether one fits, and returns one that fits, or none. It looks at as few as it can:
where the first that it looks at fits, none costs more than O(log n) in the number of instances. One that is ``Patient`` may then
say that the task had rather wait, and for how long at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from random import Random
from typing import NamedTuple, Protocol

from orchestrator.policies.settings import Number, setting
from orchestrator.resources import Demand, Left, left_after
from orchestrator.vocabulary import Nanos, Vector

SEEN_MAX = 32
"""``best_fit`` and ``worst_fit`` compare so many: small fleets whole, of larger ones a sample. The best of 32 drawn stands, in the
mean, among the best 3 % (1/33) of all, at a cost that does not grow."""

ALIKE = log(1.1)
"""Run times that differ by less are alike to ``fastest``."""

BUSY_MOST = 0.99
"""A fleet that is busier is as good as overloaded."""


class Candidate(Protocol):
    """What a placement may know of an instance."""

    @property
    def incarnation(self) -> str: ...

    @property
    def capacity(self) -> Vector:
        """What it has, by resource."""
        ...

    @property
    def free(self) -> Vector:
        """What of it is not granted."""
        ...

    @property
    def load(self) -> int:
        """Busiest share over its resources, in millionths."""
        ...


class Choice(Protocol):
    """The question put to a placement."""

    @property
    def dice(self) -> Random: ...

    @property
    def demand(self) -> Demand:
        """What the task asks."""
        ...

    @property
    def affinity(self) -> str:
        """Tasks with the same word would rather run on the same instance; empty: it does not matter."""
        ...

    def expected_ns(self, one: Candidate) -> Nanos:
        """How long the task is expected to run on that instance, from what was seen of such tasks and of it."""
        ...

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

    def draw(self, count: int) -> Sequence[Candidate]:
        """``count`` different ones (all, where there are fewer), each drawn with a chance in proportion to its slots."""
        ...

    def home(self, key: str) -> Candidate | None:
        """Where tasks of this key live: the same instance as long as it is ready for work, whoever else comes or goes."""
        ...


class Full(NamedTuple):
    """An instance that could take the task, but has no room for it now."""

    free_in_ns: Nanos
    """When it is expected to have room, from now."""
    runs_ns: Nanos
    """How long the task is expected to run there, without the benefit of a doubt."""
    at_once: int
    """How many attempts it has: about so many such tasks run there side by side."""


class Outlook(Protocol):
    """What may be known when a task could start, and might do better to wait."""

    @property
    def known(self) -> bool:
        """Whether anything at all is known of how long such tasks run."""
        ...

    @property
    def here_ns(self) -> Nanos:
        """How long it is expected to run where it could start now, without the benefit of a doubt."""
        ...

    @property
    def waiting(self) -> int:
        """How many tasks of the service wait, this one among them."""
        ...

    @property
    def busy(self) -> float:
        """What share of the service's slots was granted of late, 0…1."""
        ...

    def full(self) -> Iterable[Full]:
        """Those that could take it and are too full for it now; of a large fleet some."""
        ...


Fits = Callable[[Candidate], bool]


class Placement(Protocol):
    """A placement policy."""

    def choose(self, choice: Choice, fits: Fits) -> Candidate | None:
        """An instance that fits, or none of them does."""
        ...


class Patient(Placement, Protocol):
    """A placement that would sometimes rather have a task wait than start where there is room."""

    def bides_ns(self, outlook: Outlook) -> Nanos:
        """How long the task should at most wait, counted from when it first did so, rather than start; 0: it starts."""
        ...


def _from(choice: Choice, start: int, fits: Fits) -> Candidate | None:
    """The first that fits, from ``start`` once around."""
    count = len(choice)
    for step in range(count):
        candidate = choice.at((start + step) % count)
        if fits(candidate):
            return candidate
    return None


def _first(candidates: Iterable[Candidate], fits: Fits) -> Candidate | None:
    for candidate in candidates:
        if fits(candidate):
            return candidate
    return None


def _anywhere(choice: Choice, fits: Fits) -> Candidate | None:
    """Those drawn did not fit: whichever does, wherever it stands."""
    return _from(choice, choice.dice.randrange(len(choice)), fits) if len(choice) else None


@dataclass(frozen=True, slots=True)
class AtRandom:
    """By chance, in proportion to slots: drawn evenly, a small instance among large ones would be given more than it can bear."""

    def choose(self, choice: Choice, fits: Fits) -> Candidate | None:
        return _first(choice.draw(1), fits) or _anywhere(choice, fits)


@dataclass(frozen=True, slots=True)
class TwoChoices:
    """Of two drawn in proportion to slots the less loaded: nearly as good as looking at all, at the price of looking at two.

    Mitzenmacher 2001: the longest queue shrinks from log n / log log n to log log n. Drawn evenly it is unstable in a mixed
    fleet, whatever is compared: pairs of two slow ones would be drawn too often.
    """

    def choose(self, choice: Choice, fits: Fits) -> Candidate | None:
        two = sorted(choice.draw(2), key=lambda one: one.load)
        return _first(two, fits) or _anywhere(choice, fits)


@dataclass(frozen=True, slots=True)
class RoundRobin:
    """In turns."""

    def choose(self, choice: Choice, fits: Fits) -> Candidate | None:
        return _from(choice, choice.turn() % len(choice), fits) if len(choice) else None


@dataclass(frozen=True, slots=True)
class LeastLoaded:
    """The one whose busiest resource is least busy."""

    def choose(self, choice: Choice, fits: Fits) -> Candidate | None:
        return _first(choice.by_load(), fits)


@dataclass(frozen=True, slots=True)
class Affinity:
    """Tasks with the same ``affinity`` run on the same instance, for the sake of what it keeps in memory; while it has no room, and
    for tasks that name none, the least loaded. An instance that comes or goes moves only the keys that are or were its own.
    """

    def choose(self, choice: Choice, fits: Fits) -> Candidate | None:
        home = choice.home(choice.affinity) if choice.affinity else None
        return home if home is not None and fits(home) else _first(choice.by_load(), fits)


@dataclass(frozen=True, slots=True)
class BestFit:
    """Where least is left: packs, keeps large holes open and instances idle that may then leave.

    Compared is what is left of the tightest of the resources asked for, as a share of what there is of it (so that cpu and bytes
    may be compared), then what is left in all. Of up to 32 instances all are seen, of more a sample of 32.
    """

    def choose(self, choice: Choice, fits: Fits) -> Candidate | None:
        found = sorted(_seen(choice, fits), key=lambda one: one.incarnation)
        return min(found, key=lambda one: _left(choice, one), default=None) or _anywhere(choice, fits)


@dataclass(frozen=True, slots=True)
class WorstFit:
    """Where most is left: spreads, leaves headroom everywhere, and little is lost with one instance. Compared as above."""

    def choose(self, choice: Choice, fits: Fits) -> Candidate | None:
        found = sorted(_seen(choice, fits), key=lambda one: one.incarnation)
        return max(found, key=lambda one: _left(choice, one), default=None) or _anywhere(choice, fits)


@dataclass(frozen=True, slots=True)
class Fastest:
    """Where it is expected to be done first: learned speeds count; of those as fast as one another the least loaded.

    Those of which little was seen get the benefit of the doubt. Compared are up to 32, as above; run times within a tenth of one
    another are alike, for speeds are known no better.

    A slow instance is left idle while a faster one, though busy, is expected to be done sooner with the task, and the faster ones
    with all that wait, and with those that come meanwhile: a line of n fades in n / rate (1 - load). Then nobody gains by the slow
    one; as the line grows, or the load, it is used (the threshold of the slow server, Lin and Kumar 1984). Estimates may be wrong,
    so a task bides no longer than the time that a faster instance would save it: whatever becomes of the others, it is done
    within twice what the slow one alone would have taken, as who hires skis until he has paid for a pair. Where nothing is known,
    and where instances are alike, nobody waits.
    """

    patience: float = setting(
        1.0,
        Number(0, 100),
        "Of the time that it would save a task waits at most so much for a faster instance that is busy; 0: not at all. With 1 it "
        "loses no more than it stood to gain, should none become free after all.",
    )

    def choose(self, choice: Choice, fits: Fits) -> Candidate | None:
        def order(one: Candidate) -> tuple[int, int, str]:
            return round(log(max(1, choice.expected_ns(one))) / ALIKE), one.load, one.incarnation

        return min(_seen(choice, fits), key=order, default=None) or _anywhere(choice, fits)

    def bides_ns(self, outlook: Outlook) -> Nanos:
        if not self.patience or not outlook.known:
            return 0
        here_ns = outlook.here_ns
        faster = [one for one in outlook.full() if 0 < one.runs_ns < here_ns]
        if not faster:
            return 0
        first = min(faster, key=lambda one: one.free_in_ns + one.runs_ns)
        rate = sum(one.at_once / one.runs_ns for one in faster) * (1 - min(outlook.busy, BUSY_MOST))
        line_ns = (outlook.waiting - 1) / rate
        if (first.free_in_ns + first.runs_ns + line_ns) * exp(ALIKE) >= here_ns:
            return 0
        return round(self.patience * (here_ns - first.runs_ns))


def _seen(choice: Choice, fits: Fits) -> list[Candidate]:
    """Those to compare: all that fit of few, of many those that fit of a sample."""
    count = len(choice)
    some = range(count) if count <= SEEN_MAX else choice.dice.sample(range(count), SEEN_MAX)
    return [one for one in map(choice.at, some) if fits(one)]


def _left(choice: Choice, one: Candidate) -> Left:
    return left_after(choice.demand, one.free, one.capacity)


PLACEMENTS: Mapping[str, Placement] = {
    "random": AtRandom(),
    "round_robin": RoundRobin(),
    "least_loaded": LeastLoaded(),
    "two_choices": TwoChoices(),
    "affinity": Affinity(),
    "best_fit": BestFit(),
    "worst_fit": WorstFit(),
    "fastest": Fastest(),
}
