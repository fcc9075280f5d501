"""What every placement must keep: it chooses one that fits if there is one, and only such; nothing but dice and turns moves it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.policies import PLACEMENTS, Placement
from orchestrator.policies.placement import Candidate, Fits


@dataclass(frozen=True)
class One:
    """An instance with some room."""

    incarnation: str
    load: int
    fits: bool


@dataclass
class Some:
    """The question, over a plain list."""

    ones: list[One]
    dice: Random = field(default_factory=lambda: Random(7))
    turns: int = 0

    def __len__(self) -> int:
        return len(self.ones)

    def at(self, index: int) -> Candidate:
        return self.ones[index]

    def by_load(self) -> Iterator[Candidate]:
        return iter(sorted(self.ones, key=lambda one: (one.load, one.incarnation)))

    def turn(self) -> int:
        self.turns += 1
        return self.turns - 1


def fit(candidate: Candidate) -> bool:
    assert isinstance(candidate, One)
    return candidate.fits


pools = st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=8).map(
    lambda rows: [One(f"i{n}", load, fits) for n, (load, fits) in enumerate(rows)]
)
every = pytest.mark.parametrize("placement", PLACEMENTS.values(), ids=PLACEMENTS)


@every
@settings(max_examples=100, derandomize=True)
@given(ones=pools, seed=st.integers(0, 5))
def test_it_chooses_one_that_fits_if_any_does(placement: Placement, ones: list[One], seed: int) -> None:
    """Never one that does not fit, never none where one fits."""
    chosen = placement.choose(Some(ones, Random(seed)), fit)
    if any(one.fits for one in ones):
        assert chosen in [one for one in ones if one.fits]
    else:
        assert chosen is None


@every
@settings(max_examples=50, derandomize=True)
@given(ones=pools, seed=st.integers(0, 5))
def test_the_same_question_has_the_same_answer(placement: Placement, ones: list[One], seed: int) -> None:
    """It keeps no books: the order of instances, the dice and the turn decide."""
    first, second = (placement.choose(Some(list(ones), Random(seed)), fit) for _ in range(2))
    assert first == second


@every
def test_it_looks_at_no_more_than_it_must(placement: Placement) -> None:
    """Of a thousand that all fit one is looked at."""
    asked: list[str] = []

    def looking(candidate: Candidate) -> bool:
        asked.append(candidate.incarnation)
        return True

    some = Some([One(f"i{n}", 0, True) for n in range(1000)])
    assert placement.choose(some, looking) is not None
    assert len(asked) == 1


def shares(name: str, ones: list[One], fits: Fits, times: int) -> Counter[str]:
    """How often each is chosen."""
    some = Some(ones)
    chosen = [PLACEMENTS[name].choose(some, fits) for _ in range(times)]
    return Counter(one.incarnation for one in chosen if one is not None)


def test_random_is_uniform() -> None:
    """Each of four instances gets a quarter, roughly."""
    got = shares("random", [One(f"i{n}", n, True) for n in range(4)], fit, 4000)
    assert all(900 < got[f"i{n}"] < 1100 for n in range(4))


def test_round_robin_takes_turns() -> None:
    """Exactly in turns; one that does not fit passes its turn to the next."""
    assert shares("round_robin", [One(f"i{n}", 0, True) for n in range(4)], fit, 400) == {f"i{n}": 100 for n in range(4)}
    got = shares("round_robin", [One("i0", 0, True), One("i1", 0, False), One("i2", 0, True)], fit, 300)
    assert got == {"i0": 100, "i2": 200}


def test_least_loaded_is_the_least_loaded_that_fits() -> None:
    """Whatever the order in which they stand."""
    ones = [One("i0", 5, True), One("i1", 1, False), One("i2", 3, True), One("i3", 4, True)]
    chosen = PLACEMENTS["least_loaded"].choose(Some(ones), fit)
    assert chosen is not None
    assert chosen.incarnation == "i2"
