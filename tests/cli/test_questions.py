"""What is made of the answers of several shards, some of which nobody leads. Imagined coordinators, no broker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator import client
from orchestrator.cli.faults import FAILED, explain
from orchestrator.client.errors import not_answered, not_possible
from orchestrator.client.events import Cause, Problem
from orchestrator.shards import UnreadableRule
from orchestrator.wire import codec
from tests.cli.conftest import Type, Typed

Answerer = Callable[[str, str, dict[str, Any]], Any]
"""Of a shard, an operation, its arguments; may raise what a client raises."""


class Imagined:
    """In place of ``Client``: two shards, and what they were asked."""

    answer: Answerer
    asked: list[tuple[str, str, dict[str, Any]]]

    def __init__(self, url: str) -> None:
        """Of no use."""

    async def __aenter__(self) -> Imagined:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def shards(self, _within_s: float) -> tuple[str, ...]:
        return ("default", "gpu")

    async def ask(self, op: str, /, *, timeout_s: float, shard: str, **args: Any) -> Any:
        Imagined.asked.append((shard, op, args))
        return Imagined.answer(shard, op, args)


def silent(op: str) -> Exception:
    return not_answered(op, 10, Problem(Cause.UNROUTED, "", may_run=False))


def refused(op: str, kind: str = "unknown_task") -> Exception:
    return not_possible(op, codec.error(kind, "it makes no sense here"))


@pytest.fixture
def ask(typed: Type, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Typed]:
    """Type a command; the first argument answers for the shards."""
    monkeypatch.setattr(client, "Client", Imagined)

    def asked(answer: Answerer, *words: str) -> Typed:
        monkeypatch.setattr(Imagined, "answer", staticmethod(answer), raising=False)
        Imagined.asked = []
        return typed(*words, ORCHESTRATOR_BROKER="amqp://nowhere/")

    return asked


def test_a_key_is_held_if_a_single_shard_says_so(ask: Callable[..., Typed]) -> None:
    """That another one knows of nobody is no answer."""
    held = {"task": "t1", "state": "running", "until_ns": None}
    done = ask(lambda shard, *_: held if shard == "gpu" else {"task": None}, "key", "pay.charge", "k", "--json")
    assert (done.code, done.json["task"]) == (0, "t1")
    assert ask(lambda *_: {"task": None}, "key", "pay.charge", "k", "--json").json == {"task": None}


def test_a_cancel_that_its_shard_did_not_hear_is_no_success(ask: Callable[..., Typed]) -> None:
    """Nobody knows it, and one who could not be asked may: nothing is cancelled elsewhere, and who was silent is told."""

    def half(shard: str, op: str, _: Any) -> Any:
        raise silent(op) if shard == "gpu" else refused(op)

    done = ask(half, "cancel", "t1")
    assert (done.code, "none is running" in done.err, done.out) == (1, True, "")
    assert {op for _, op, _ in Imagined.asked} == {"task"}


def test_a_cancel_goes_to_who_knows_the_task_and_to_all_if_nobody_does(ask: Callable[..., Typed]) -> None:
    """Who does not know it remembers that it shall not run."""

    def unknown(_shard: str, op: str, _: Any) -> Any:
        if op == "task":
            raise refused(op)
        return {"task": "t1", "state": "unknown", "cancelled": True}

    assert ask(unknown, "cancel", "t1").code == 0
    assert [shard for shard, op, _ in Imagined.asked if op == "cancel"] == ["default", "gpu"]

    def known(shard: str, op: str, args: Any) -> Any:
        return {"task": "t1"} if (shard, op) == ("gpu", "task") else unknown(shard, op, args)

    assert ask(known, "cancel", "t1").code == 0
    assert [shard for shard, op, _ in Imagined.asked if op == "cancel"] == ["gpu"]


def test_a_limit_that_one_shard_refused_holds_in_the_other_and_that_is_told(ask: Callable[..., Typed]) -> None:
    """All are told, whoever refuses; and twice is harmless."""

    def half(shard: str, _: str, args: dict[str, Any]) -> Any:
        if "set" not in args:
            return {"limits": []}
        if shard == "default":
            raise refused("limit", "bad_limit")
        return {"name": "api", "spec": args["set"]}

    done = ask(half, "limit", "api", "--at-once", "5")
    assert (done.code, "In shard default" in done.err, "It holds in: gpu" in done.err) == (1, True, True)


def limits(shard: str, op: str, _: Any) -> Any:
    """``gpu`` is not led."""
    if shard == "gpu":
        raise silent(op)
    return {"limits": [{"limit": "api", "at_once": 5, "out": 0, "waiting": 0, "by": "o", "top": []}]}


def test_looking_at_limits_shows_what_there_is_and_changing_them_needs_all(ask: Callable[..., Typed]) -> None:
    """A shard that nobody leads hides no other; but what a limit says there must be known before it is changed."""
    done = ask(limits, "limit", "--json")
    assert done.code == 0, done.err
    assert (len(done.json["shards"]["default"]), done.json["shards"]["gpu"]) == (1, None)
    assert "shard gpu" in done.err
    assert "none is running" in done.err
    for words in (("--at-once", "5"), ("--remove",)):
        done = ask(limits, "limit", "api", *words)
        assert (done.code, "Nothing was changed" in done.err) == (1, True)
        assert all(not args for _, _, args in Imagined.asked)


@pytest.mark.parametrize(("words", "code"), [((), 0), (("--service", "s"), 0), (("--reset", "--service", "s"), 1), (("sjf",), 1)])
def test_looking_at_policies_shows_what_there_is_and_switching_them_needs_all(
    ask: Callable[..., Typed], words: tuple[str, ...], code: int
) -> None:
    """As with limits."""

    def half(shard: str, op: str, _: Any) -> Any:
        if shard == "gpu":
            raise silent(op)
        return {"now": {"ordering": "fifo"}, "known": {"ordering": ["fifo", "sjf"]}}

    assert ask(half, "policy", *words, "--json").code == code


def test_a_rule_that_cannot_be_read_is_no_mistake_of_ours() -> None:
    """It says itself what to do."""
    text, code = explain(UnreadableRule("it cannot be read; restart a coordinator"))
    assert (text, code) == ("it cannot be read; restart a coordinator", FAILED)
