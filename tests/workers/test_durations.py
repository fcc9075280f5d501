"""Lengths of time as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestrator.vocabulary import NS_PER_S
from workers.durations import Duration, duration_ns


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("30s", 30), ("500ms", 0.5), ("5m", 300), ("1h30m", 5400), ("1.5 s", 1.5), ("2d", 172800), (2.5, 2.5), (3, 3)],
)
def test_texts_and_numbers(written: Duration, seconds: float) -> None:
    """A number is seconds; units add up; spaces and case do not matter."""
    assert duration_ns(written) == seconds * NS_PER_S
    if isinstance(written, str):
        assert duration_ns(written.upper()) == seconds * NS_PER_S


def test_timedelta() -> None:
    """Python's own is understood."""
    assert duration_ns(timedelta(minutes=2)) == 120 * NS_PER_S


@pytest.mark.parametrize("wrong", ["", "soon", "30", "-5s", "5 parsecs", "s", -1, float("nan"), float("inf"), True, "400d"])
def test_what_is_no_length_of_time_is_named(wrong: Duration) -> None:
    """The message names the setting and what was written."""
    with pytest.raises(ValueError, match=r"timeout of a\.b is"):
        duration_ns(wrong, "timeout of a.b")
