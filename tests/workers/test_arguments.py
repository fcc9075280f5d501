"""Arguments are checked before the handler runs, and errors say which, what came, and what was expected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypedDict

import pydantic
import pytest

from orchestrator.wire.codec import pack
from workers import Context, ServiceError
from workers.arguments import Signature
from workers.errors import BadArguments


@dataclass
class Box:
    """A box."""

    width: int
    height: int = 1


class Options(TypedDict, total=False):
    """How."""

    mode: Literal["fast", "good"]


class Model(pydantic.BaseModel):
    """Checks itself."""

    name: str
    size: int


def handler(
    url: str, box: Box, ctx: Context, sizes: list[int] | None = None, how: Options | None = None, when: datetime | None = None
) -> None:
    """Takes all kinds."""


def bind(function: Callable[..., Any], **given: Any) -> dict[str, Any]:
    """As a task brings them."""
    return Signature(function, "thumbs.resize").bind(pack(given))


def test_values_become_what_the_handler_declares() -> None:
    """Dataclasses, TypedDicts, lists, dates; what has a default may be left out; the context is no argument."""
    bound = bind(handler, url="a", box={"width": 3}, sizes=[1], how={"mode": "good"}, when="2026-01-02T03:04:05Z")
    assert bound["box"] == Box(3)
    assert bound["when"].year == 2026
    assert bind(handler, url="a", box={"width": 3}) == {"url": "a", "box": Box(3)}
    assert Signature(handler, "x.y").context == "ctx"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"box": {"width": 1}}, "'url' is missing. It takes: url, box, sizes, how, when"),
        ({"url": 5, "box": {"width": 1}}, "argument 'url' does not fit: expected str, got int"),
        ({"url": "a", "box": {"width": "5"}}, r"argument 'box' does not fit: expected int, got str \(at width\)"),
        ({"url": "a", "box": {"width": 1}, "sizes": [1, "2"]}, r"'sizes' does not fit: expected int, got str \(at \[1\]\)"),
        ({"url": "a", "box": {"width": 1}, "how": {"mode": "bad"}}, "argument 'how' does not fit: invalid enum value 'bad'"),
        ({"url": "a", "box": {"width": 1}, "colour": "red", "shape": 1}, "'colour', 'shape' are unknown"),
        ({"url": "a", "box": {"width": 1}, "ctx": 1}, "'ctx' is unknown"),
    ],
)
def test_what_does_not_fit_is_named(given: dict[str, Any], words: str) -> None:
    """Strict: a text is no number. The message names the task type and the argument."""
    with pytest.raises(BadArguments, match=words) as caught:
        bind(handler, **given)
    assert str(caught.value).startswith("thumbs.resize: ")


def test_values_are_not_repeated_in_messages() -> None:
    """They may be secrets, and messages end up in logs and dead letters."""
    with pytest.raises(BadArguments) as caught:
        bind(handler, url="a", box="hunter2")
    assert "hunter2" not in str(caught.value)


def test_arguments_that_are_no_map_or_no_msgpack_are_refused() -> None:
    """Whatever a peer sends."""
    signature = Signature(handler, "thumbs.resize")
    with pytest.raises(BadArguments, match="must be a map of names to values, not a list"):
        signature.bind(pack([1]))
    with pytest.raises(BadArguments, match="cannot be read"):
        signature.bind(b"\xc1")


def test_a_handler_without_annotations_takes_anything() -> None:
    """And with **others also names that it does not declare."""

    def loose(first, **others):  # type: ignore[no-untyped-def]
        """Anything."""

    def some(value: object) -> None:
        """Anything."""

    assert bind(some, value=[1]) == {"value": [1]}
    assert bind(loose, first=[1, {"a": None}], second="b") == {"first": [1, {"a": None}], "second": "b"}


def test_pydantic_models_check_themselves() -> None:
    """A courtesy to those who have them already; the library itself does not need pydantic."""

    def takes(model: Model) -> None:
        """One."""

    assert bind(takes, model={"name": "a", "size": 1})["model"] == Model(name="a", size=1)
    with pytest.raises(BadArguments, match="argument 'model' does not fit"):
        bind(takes, model={"name": "a"})


class Connection:
    """Something that no message carries."""


def test_signatures_that_no_task_could_meet_are_refused_at_the_start() -> None:
    """Not when the first task comes."""

    def needs_object(link: Connection) -> None:
        """Wrong."""

    def positional(a: int, /) -> None:
        """Wrong."""

    def many(*values: int) -> None:
        """Wrong."""

    for function, words in (
        (needs_object, "'link' as Connection, which no message can carry"),
        (positional, "'a', which cannot be given by name"),
        (many, "'values', which cannot be given by name"),
    ):
        with pytest.raises(ServiceError, match=words):
            Signature(function, "x.y")
    unknown = lambda: None  # noqa: E731
    unknown.__annotations__ = {"x": "Nowhere"}
    with pytest.raises(ServiceError, match=r"An annotation of x\.y cannot be read"):
        Signature(unknown, "x.y")


class Odd:
    """No message carries it."""


def test_what_stands_deep_within_a_type_is_judged_too() -> None:
    """``object`` takes anything there as well; a class that nothing can become is a fault of the arguments, not of the agent."""

    def takes(values: dict[str, object], odd: list[Odd] | None = None) -> None: ...

    assert bind(takes, values={"a": 1, "b": None})["values"] == {"a": 1, "b": None}
    with pytest.raises(BadArguments, match="no message can carry a Odd"):
        bind(takes, values={}, odd=[1])
