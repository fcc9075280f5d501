"""How fast instances are is learned as quickly as the noise allows, and not for ever."""

from __future__ import annotations

from math import log
from random import Random

import pytest

from orchestrator.core.estimates import speeds as module
from orchestrator.core.estimates.speeds import Speeds


def taught(runs: int, noise: float, slow: float, of_slow: int, type_: str = "s.h") -> Speeds:
    """``runs`` on usual instances, among them ``of_slow`` on one that takes ``slow`` times as long."""
    speeds, dice = Speeds(), Random(3)
    for n in range(runs):
        speeds.learn(type_, f"usual{n % 3}", dice.gauss(0, noise))
        if n < of_slow:
            speeds.learn(type_, "slow", dice.gauss(-log(slow), noise))
    return speeds


def test_where_runs_are_alike_one_of_them_tells_nearly_all() -> None:
    """And where they are not it tells little: its instance is tried again."""
    clear, dim = (taught(100, noise, 10.0, 1) for noise in (0.05, 1.5))
    assert clear.speed("s.h", "slow") < 0.35
    assert clear.hopeful("s.h", "slow") < 0.6
    assert dim.speed("s.h", "slow") > 0.5
    assert dim.hopeful("s.h", "slow") > 1.0


def test_many_runs_tell_it_whatever_the_noise() -> None:
    """In the end, to a quarter."""
    speeds = taught(2000, 1.0, 4.0, 2000)
    assert speeds.speed("s.h", "slow") / speeds.speed("s.h", "usual1") == pytest.approx(0.25, rel=0.25)


def test_what_is_said_by_a_type_that_tells_nothing_is_overruled() -> None:
    """Forty runs too short to differ say that all are alike; three of those that do take long show who is slow."""
    speeds, dice = Speeds(), Random(4)
    for n in range(40):
        speeds.learn("s.short", "slow" if n % 4 == 0 else f"usual{n % 4}", dice.gauss(0, 0.6))
    for n in range(30):
        speeds.learn("s.long", f"usual{1 + n % 3}", dice.gauss(0, 0.05))
        if n < 3:
            speeds.learn("s.long", "slow", -log(10) + dice.gauss(0, 0.05))
    assert speeds.hopeful("s.long", "slow") < 0.35 < 0.8 < speeds.speed("s.long", "usual1")
    assert 0.4 < speeds.overall("s", "slow") < 1.0


def test_an_instance_that_is_good_at_one_type_alone() -> None:
    """What is known of it with one type is not believed of another once that was seen too."""
    speeds = Speeds()
    for n in range(50):
        speeds.learn("s.train", "gpu" if n % 2 else "cpu", log(8) * (n % 2) + 0.01 * (n % 5))
        speeds.learn("s.parse", "gpu" if n % 2 else "cpu", 0.01 * (n % 7))
    assert speeds.speed("s.train", "gpu") / speeds.speed("s.train", "cpu") == pytest.approx(8, rel=0.2)
    assert speeds.speed("s.parse", "gpu") / speeds.speed("s.parse", "cpu") == pytest.approx(1, rel=0.1)


def test_who_was_slow_once_is_tried_again_some_time() -> None:
    """What is known of one that is not used fades, while others run."""
    speeds = taught(50, 0.05, 10.0, 1)
    before = speeds.hopeful("s.h", "slow")
    for n in range(5 * module.FADES_IN):
        speeds.learn("s.h", f"usual{n % 3}", 0.0)
    assert before < 0.6 < 1.0 < speeds.hopeful("s.h", "slow")


def test_instances_without_end_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those not met for longest are forgotten."""
    monkeypatch.setattr(module, "KNOWN_MAX", 100)
    speeds = Speeds()
    for n in range(1000):
        speeds.learn(f"s.h{n}", f"i{n}", 1.0)
    assert len(speeds._known) <= 100
    assert len(speeds._kinds) <= 100
    assert speeds.speed("s.h999", "i999") > 1.0 == speeds.speed("s.h1", "i1")
