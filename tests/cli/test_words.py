"""What people type means what they mean, or is refused with a right example."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.cli.words import Unclear, arguments, duration_s, needs


def test_a_value_that_is_json_is_that_value_and_everything_else_is_text() -> None:
    """Numbers, booleans, lists and objects need no quotes; a path is just a path."""
    typed = ["n=3", "x=2.5", "deep=true", "none=null", 'tags=["a","b"]', "path=a.png", "empty=", "eq=a=b", 's="3"', "nan=NaN"]
    assert arguments(typed, None) == {
        "n": 3, "x": 2.5, "deep": True, "none": None, "tags": ["a", "b"], "path": "a.png", "empty": "", "eq": "a=b", "s": "3",
        "nan": "NaN",
    }  # fmt: skip


def test_arguments_come_from_json_and_from_pairs_together() -> None:
    """--args gives the bulk, k=v adds to it."""
    assert arguments(["width=200"], '{"path": "a.png"}') == {"path": "a.png", "width": 200}


@pytest.mark.parametrize(
    ("pairs", "text", "named"),
    [
        (["width"], None, "'width'"),
        (["=3"], None, "'=3'"),
        (["a=1", "a=2"], None, "twice"),
        (["a=1"], '{"a": 2}', "twice"),
        ([], "[1, 2]", "--args"),
        ([], "{nope", "--args"),
    ],
)
def test_arguments_that_make_no_sense_are_named(pairs: list[str], text: str | None, named: str) -> None:
    """The message says which word is meant."""
    with pytest.raises(Unclear, match=named):
        arguments(pairs, text)


@settings(deadline=None)
@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.text() | st.integers() | st.booleans() | st.none()))
def test_whatever_is_typed_as_json_arrives(values: dict[str, object]) -> None:
    """Writing each value as JSON after its name gives back the values."""
    assert arguments([f"{name}={json.dumps(value)}" for name, value in values.items()], None) == values


def test_a_demand_is_an_amount_or_a_range() -> None:
    """cpu=1 asks for one; gpu=1..4 can do with one and can use four."""
    assert needs(["cpu=1.5", "gpu=1..4"]) == {"cpu": 1.5, "gpu": (1.0, 4.0)}


@pytest.mark.parametrize(
    "word", ["cpu", "cpu=", "=1", "cpu=one", "cpu=1..", "cpu=..4", "cpu=4..1", "cpu=-1", "c.pu=1", "cpu=1..2..3"]
)
def test_a_demand_that_makes_no_sense_is_named(word: str) -> None:
    """The message quotes the word."""
    with pytest.raises(Unclear, match=r"cpu|c\.pu|=1"):
        needs([word])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("250ms", 0.25),
        ("5m", 300),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("90", 90),
        ("0.5", 0.5),
        ("1.5h", 5400),
    ],
)
def test_lengths_of_time(text: str, seconds: float) -> None:
    """Units, units together, or plain seconds."""
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "5 min", "s", "-5s", "5x", "5s!", "1e3"])
def test_what_is_no_length_of_time_is_refused_with_an_example(text: str) -> None:
    """The message shows how to write one."""
    with pytest.raises(Unclear, match="for example 30s"):
        duration_s(text)


def test_more_than_a_year_is_no_time_to_wait() -> None:
    """As everywhere; said of plain seconds too."""
    for text in ("400d", "9" * 40, "9" * 400 + "s"):
        with pytest.raises(Unclear, match=r"longer than 366 days|is not a length of time"):
            duration_s(text)
