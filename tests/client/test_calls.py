"""How a producer words a task: options, spans of time, what is refused and in which words."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from orchestrator.client.calls import form, instant_ns, options_known, span_ns
from orchestrator.vocabulary import NS_PER_MS, NS_PER_S
from orchestrator.wire import codec
from orchestrator.wire.messages import Edge, Submit


@pytest.mark.parametrize(
    ("span", "expected_ns"),
    [
        (30, 30 * NS_PER_S),
        (0.5, NS_PER_S // 2),
        ("500ms", 500 * NS_PER_MS),
        ("1.5s", 1500 * NS_PER_MS),
        ("5m", 300 * NS_PER_S),
        ("2 h", 7200 * NS_PER_S),
        ("1d", 86400 * NS_PER_S),
        ("1h30m", 5400 * NS_PER_S),
        (datetime.timedelta(minutes=1), 60 * NS_PER_S),
    ],
)
def test_spans(span: Any, expected_ns: int) -> None:
    """Seconds, a text with a unit, or a timedelta."""
    assert span_ns(span, "delay") == expected_ns


@pytest.mark.parametrize("span", ["30", "5 minutes", "", -1, "-5s", float("nan"), float("inf"), "400d", "9" * 400 + "s", 1e30])
def test_spans_that_cannot_be(span: Any) -> None:
    """The message names the option and what was said."""
    with pytest.raises(ValueError, match=r"^delay: "):
        span_ns(span, "delay")


@pytest.mark.parametrize("span", [True, None, [], b"5s"])
def test_what_is_no_span_at_all(span: Any) -> None:
    """A mistake of type, not of value."""
    with pytest.raises(TypeError, match=r"^delay: "):
        span_ns(span, "delay")


@pytest.mark.parametrize(
    ("task_type", "options", "words"),
    [
        ("thumbs", {}, r"thumbs: .*type"),
        ("a.b.c", {}, r"type"),
        ("a.b", {"priority": 1001}, r"<= 1000.*priority"),
        ("a.b", {"priority": "high"}, r"int.*priority"),
        ("a.b", {"retries": -1}, r"retries"),
        ("a.b", {"need": {"c p u": 1}}, r"need"),
        ("a.b", {"need": {"cpu": -1}}, r"need"),
        ("a.b", {"need": {"cpu": (4, 1)}}, r"cpu at least 4 and at most 1"),
        ("a.b", {"need": {"cpu": "1"}}, r"need"),
        ("a.b", {"id": "no spaces"}, r"id"),
        ("thumbs", {}, r"^thumbs: this is no task type; write SERVICE\.HANDLER"),
        ("a.b", {"id": "x y"}, r"^a\.b: id: at most 128 letters"),
        ("a.b", {"need": {"c p u": 1}}, r"^a\.b: need: at most 64 letters"),
        ("a.b", {"tenant": "x" * 65}, r"tenant"),
        ("a.b", {"labels": {"a": 1}}, r"labels"),
        ("a.b", {"overlap": "always"}, r"overlap"),
        ("a.b", {"deadline": datetime.datetime(2030, 1, 1)}, r"deadline.*time zone"),
        ("a.b", {"after": [("p", "explode")]}, r"after"),
        ("a.b", {"key": "\ud800"}, r"^a\.b: key: .* no text that has bytes"),
        ("a.b", {"tenant": "a\udcff"}, r"tenant: .*surrogate"),
        ("a.b", {"affinity": "\ud800"}, r"affinity: .*surrogate"),
        ("a.b", {"labels": {"file": "\udcff.png"}}, r"labels: file: .*as its bytes in hex"),
        ("a.b", {"after": [Edge("p", into="\ud800")]}, r"after: into: .*surrogate"),
        (
            "a.b",
            {"deadline": datetime.datetime.max.replace(tzinfo=datetime.UTC)},
            r"^a\.b: deadline: .*1970 and 2262; leave it out",
        ),
        ("a.b", {"deadline": datetime.datetime(2300, 1, 1, tzinfo=datetime.UTC)}, r"deadline: .*2262"),
        ("a.b", {"deadline": datetime.datetime(1969, 1, 1, tzinfo=datetime.UTC)}, r"deadline: .*1970"),
    ],
)
def test_options_that_cannot_be_are_refused_when_they_are_said(task_type: str, options: dict[str, Any], words: str) -> None:
    """Not when the coordinator reads them; the message names the option."""
    with pytest.raises(ValueError, match=words):
        form(task_type, **options)


def test_an_option_that_there_is_not_is_named_with_the_one_that_is_meant() -> None:
    """And who has taken an option's place for that of an argument is told where arguments go."""
    options_known({"retries": 1, "need": {}})
    with pytest.raises(TypeError, match="no option 'retires'; is 'retries' meant"):
        options_known({"retires": 1})
    with pytest.raises(TypeError, match=r"no option 'path'; there are: priority, .*Arguments of its handler are said in run"):
        options_known({"path": "a.png"})


def test_deadlines_count_from_the_call_or_stand_for_themselves() -> None:
    """A span counts from each call; an instant is the same for each, whatever its zone, to the microsecond."""
    zone = datetime.timezone(datetime.timedelta(hours=2))
    at = datetime.datetime(2030, 1, 1, 2, 0, 0, 123456, tzinfo=zone)
    assert instant_ns(at, 5) == 1_893_456_000 * NS_PER_S + 123_456_000
    relative = form("a.b", deadline="30s", delay=1)
    assert [relative.fill({}, "t", now).task.deadline_ns for now in (0, 7)] == [30 * NS_PER_S, 30 * NS_PER_S + 7]
    assert relative.fill({}, "t", 7).task.start_ns == NS_PER_S + 7
    assert form("a.b", deadline=at).fill({}, "t", 7).task.deadline_ns == instant_ns(at, 0)


def test_a_deadline_is_taken_as_far_as_every_peer_reads_it() -> None:
    """From the first second of 1970, long over, to the last of what 63 bits of nanoseconds hold."""
    for at in (datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC), datetime.datetime(2262, 4, 11, tzinfo=datetime.UTC)):
        task = form("a.b", deadline=at).fill({}, "t", 0).task
        assert codec.decode(codec.encode(Submit([task]))) == Submit([task])


def test_parents_may_be_calls_ids_or_edges() -> None:
    """With what their failure means, or without."""
    parent = form("a.b").fill({}, "p", 0)
    assert form("a.b", after=[parent, "q", ("r", "skip"), (parent, "continue"), Edge("s")]).shape.after == (
        Edge("p"),
        Edge("q"),
        Edge("r", "skip"),
        Edge("p", "continue"),
        Edge("s"),
    )


def test_equal_arguments_are_equal_bytes() -> None:
    """Under a key they are compared as bytes: in whatever order they were written down."""
    keyed = form("a.b", key="k")
    one = keyed.fill({"x": 1, "y": {"deep": [{"b": 2, "a": (1, 2)}], "also": None}}, "t", 0).task
    other = keyed.fill({"y": {"also": None, "deep": [{"a": [1, 2], "b": 2}]}, "x": 1}, "t", 0).task
    assert one == other
    cached = form("a.b", cache_for="5m").fill({"b": 1, "a": 2}, "t", 0).task
    assert (cached.cache_ns, cached.key, cached.args) == (
        300 * NS_PER_S,
        "",
        form("a.b", key="k").fill({"a": 2, "b": 1}, "t", 0).task.args,
    )
