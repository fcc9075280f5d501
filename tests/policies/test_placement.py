"""What every placement must keep: it chooses one that fits if there is one, and only such; nothing but dice and turns moves it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.scheduler.draws import Lots, Ring
from orchestrator.policies import PLACEMENTS, Placement
from orchestrator.policies.guard import GuardedPatience
from orchestrator.policies.placement import SEEN_MAX, Candidate, Choice, Fastest, Fits, Full, Outlook
from orchestrator.resources import Demand, demand_of
from orchestrator.vocabulary import Vector


@dataclass(frozen=True)
class One:
    """An instance with some room."""

    incarnation: str
    load: int
    fits: bool
    slots: int = 1
    run_s: float = 1.0
    """How long the task would take there."""

    @property
    def capacity(self) -> Vector:
        return {"slots": 1000 * self.slots}

    @property
    def free(self) -> Vector:
        return {"slots": 1000 * self.slots - self.load}


@dataclass
class Some:
    """The question, over a plain list."""

    ones: list[One]
    dice: Random = field(default_factory=lambda: Random(7))
    turns: int = 0
    affinity: str = ""
    demand: Demand = field(default_factory=lambda: demand_of({}))

    def expected_ns(self, one: Candidate) -> int:
        assert isinstance(one, One)
        return round(one.run_s * 1e9)

    def __len__(self) -> int:
        return len(self.ones)

    def at(self, index: int) -> Candidate:
        return self.ones[index]

    def by_load(self) -> Iterator[Candidate]:
        return iter(sorted(self.ones, key=lambda one: (one.load, one.incarnation)))

    def turn(self) -> int:
        self.turns += 1
        return self.turns - 1

    def draw(self, count: int) -> list[One]:
        lots = Lots()
        for n, one in enumerate(self.ones):
            lots.put(n, one.slots)
        return [self.ones[n] for n in lots.draw(count, self.dice)]

    def home(self, key: str) -> One | None:
        named = {one.incarnation: one for one in self.ones}
        return next((named[name] for name in Ring(named).around(key)), None)


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
    """Of a thousand that all fit one is looked at; by those that compare, a sample of fixed size."""
    asked: list[str] = []

    def looking(candidate: Candidate) -> bool:
        asked.append(candidate.incarnation)
        return True

    some = Some([One(f"i{n}", 0, True) for n in range(1000)], affinity="k")
    assert placement.choose(some, looking) is not None
    compares = placement in (PLACEMENTS["best_fit"], PLACEMENTS["worst_fit"], PLACEMENTS["fastest"])
    assert len(asked) == (SEEN_MAX if compares else 1)


def shares(name: str, ones: list[One], fits: Fits, times: int) -> Counter[str]:
    """How often each is chosen."""
    some = Some(ones)
    chosen = [PLACEMENTS[name].choose(some, fits) for _ in range(times)]
    return Counter(one.incarnation for one in chosen if one is not None)


def test_random_is_uniform_among_equals() -> None:
    """Each of four instances of one size gets a quarter, roughly."""
    got = shares("random", [One(f"i{n}", n, True) for n in range(4)], fit, 4000)
    assert all(900 < got[f"i{n}"] < 1100 for n in range(4))


def test_random_gives_large_ones_more() -> None:
    """An instance with three times the slots gets three times as much; evenly drawn, the small ones would be given too much."""
    got = shares("random", [One("small", 0, True, 1), One("large", 0, True, 3)], fit, 4000)
    assert 2850 < got["large"] < 3150


def test_two_choices_takes_the_less_loaded_of_two() -> None:
    """The most loaded of all is never taken, the others as often as they are drawn and the less loaded one of the pair."""
    got = shares("two_choices", [One(f"i{n}", 100 * n, True) for n in range(4)], fit, 6000)
    assert got["i3"] == 0
    assert [round(got[f"i{n}"] / 1000) for n in range(3)] == [3, 2, 1]  # of 6 pairs: 3 have i0, 2 more i1, 1 only i2 and i3


def test_two_choices_draws_in_proportion_to_slots() -> None:
    """Two slow small ones together are seldom the pair: of a fleet half small (1 slot) and half large (9) almost never."""
    ones = [One(f"small{n}", 0, True, 1) for n in range(5)] + [One(f"large{n}", 1, True, 9) for n in range(5)]
    pairs = Counter[int]()
    some = Some(ones)
    for _ in range(3000):
        pairs[sum(one.slots == 1 for one in some.draw(2))] += 1
    assert pairs[2] / 3000 < 0.02  # evenly drawn it would be 2/9
    assert all(len({one.incarnation for one in some.draw(2)}) == 2 for _ in range(100))


def test_the_same_key_finds_the_same_instance() -> None:
    """As long as it is there, whoever else comes or goes; where it does not fit, the least loaded takes the task."""
    placement, ones = PLACEMENTS["affinity"], [One(f"i{n}", n, True) for n in range(8)]
    homes = {key: placement.choose(Some(ones, affinity=key), fit) for key in (f"k{n}" for n in range(200))}
    assert len({one.incarnation for one in homes.values() if one is not None}) == 8, "every one is somebody's home"
    fewer = ones[:3] + ones[4:]
    for key, home in homes.items():
        now = placement.choose(Some(fewer, affinity=key), fit)
        assert now == home if home != ones[3] else now in fewer, "only the keys of the one that left have moved"
    full = [One(one.incarnation, one.load, one.incarnation != "i5") for one in ones]
    astray = [key for key, home in homes.items() if home == ones[5]]
    assert all(placement.choose(Some(full, affinity=key), fit) == full[0] for key in astray)
    assert placement.choose(Some(ones), fit) == ones[0], "no key, no preference"


def test_best_fit_packs_and_worst_fit_spreads() -> None:
    """One takes the fullest that suffices, the other the emptiest; both by share, and only where it fits."""
    ones = [One("full", 1000, False), One("tight", 800, True, 2), One("half", 900, True, 3), One("empty", 0, True, 2)]
    best, worst = (PLACEMENTS[name].choose(Some(ones), fit) for name in ("best_fit", "worst_fit"))
    assert best is not None
    assert worst is not None
    assert (best.incarnation, worst.incarnation) == ("tight", "empty")


def test_a_sample_of_a_large_fleet_is_seen() -> None:
    """Of a thousand the best of a sample: near the best of all, most of the time, and without looking at all."""
    ones = [One(f"i{n}", n, True) for n in range(1000)]
    loads = [one.load for seed in range(50) if (one := PLACEMENTS["best_fit"].choose(Some(ones, Random(seed)), fit)) is not None]
    assert sum(loads) / 50 > 950
    only = [One(one.incarnation, one.load, one.load == 17) for one in ones]
    assert all(PLACEMENTS[name].choose(Some(only), fit) == only[17] for name in PLACEMENTS), "one that fits is found wherever it is"


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


def test_fastest_goes_where_it_is_done_first() -> None:
    """The fastest that fits; among those as fast, within what can be told, the least loaded; a slow one rather than none."""
    ones = [
        One("a", 0, True, run_s=8),
        One("b", 500, True, run_s=2.0),
        One("c", 100, True, run_s=2.02),
        One("d", 0, False, run_s=1),
    ]
    fastest = PLACEMENTS["fastest"]
    for left, wanted in ((ones, "c"), (ones[:2], "b"), (ones[:1], "a")):
        chosen = fastest.choose(Some(left), fit)
        assert chosen is not None
        assert chosen.incarnation == wanted


@dataclass
class View:
    """The outlook, as plain data."""

    here_ns: int
    faster: list[Full]
    waiting: int = 1
    busy: float = 0.0
    known: bool = True

    def full(self) -> list[Full]:
        return self.faster


def test_fastest_waits_for_a_faster_one_that_is_done_sooner() -> None:
    """Only if it is, with what it still has to do, and only for as long as that may save."""
    fastest = Fastest()
    assert fastest.bides_ns(View(1000, [Full(400, 100, 1)])) == 900, "who has paid as much as it costs gives up"
    assert fastest.bides_ns(View(1000, [Full(850, 100, 1)])) == 0, "not sooner by a tenth"
    assert fastest.bides_ns(View(1000, [Full(0, 1000, 1)])) == 0, "as slow"
    assert fastest.bides_ns(View(1000, [])) == 0, "there is none"
    assert fastest.bides_ns(View(1000, [Full(400, 100, 1)], known=False)) == 0, "nothing is known"
    assert Fastest(patience=0).bides_ns(View(1000, [Full(0, 1, 1)])) == 0
    assert Fastest(patience=0.5).bides_ns(View(1000, [Full(400, 100, 1)])) == 450


def test_fastest_uses_slow_ones_as_the_line_grows() -> None:
    """The threshold of the slow server: once the last of those who wait would not be done sooner by the fast ones alone."""
    line = [waiting for waiting in range(1, 100) if Fastest().bides_ns(View(1000, [Full(50, 100, 1)] * 3, waiting))]
    assert line == list(range(1, 24)), "(1000 / 1.1 - 150) * 3 / 100 others can go first"
    busy = [waiting for waiting in range(1, 100) if Fastest().bides_ns(View(1000, [Full(50, 100, 1)] * 3, waiting, busy=0.9))]
    assert busy == [1, 2, 3], "others come, so a line fades ten times as slowly"


def test_a_patient_policy_of_somebody_else_is_watched() -> None:
    """What makes no sense costs its use: the default places from then on, and nobody waits."""

    @dataclass(frozen=True)
    class Patient:
        answer: object

        def choose(self, choice: Choice, fits: Fits) -> Candidate | None:
            return None

        def bides_ns(self, outlook: Outlook) -> object:
            return self.answer if self.answer is not None else 1 // 0

    for answer, fault in ((7, ""), (-1, "-1"), (0.5, "0.5"), (None, "ZeroDivisionError")):
        guarded = GuardedPatience("theirs", Patient(answer))  # type: ignore[arg-type]
        assert guarded.bides_ns(View(1000, [])) == (7 if answer == 7 else 0)
        assert fault in guarded.fault
        assert bool(guarded.fault) == bool(fault)
