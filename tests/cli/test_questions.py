"""What is made of the answers of several shards, some of which nobody leads. No broker: ``test_shards`` asks real ones."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.cli.faults import FAILED, Fault, explain
from orchestrator.cli.limit import in_force, wills
from orchestrator.cli.look import holder
from orchestrator.cli.questions import Answers, Left, each_view, meant, of_all, of_one, to_be_told
from orchestrator.cli.words import Unclear
from orchestrator.client import AskRefused, NoCoordinator
from orchestrator.client.errors import not_answered, not_possible
from orchestrator.client.events import Cause, Problem
from orchestrator.shards import UnreadableRule
from orchestrator.wire import codec
from orchestrator.wire.messages import Answer

SILENT: Any = not_answered("task", 10, Problem(Cause.UNROUTED, "", may_run=False))
REFUSED: Any = not_possible("task", codec.error("unknown_task", "it makes no sense here"))


@pytest.mark.parametrize(
    ("found", "answer"),
    [
        ({"default": 1}, 1),
        ({"default": REFUSED, "gpu": 2}, 2),
        ({"default": SILENT, "gpu": 2}, 2),
        ({"default": REFUSED, "gpu": REFUSED}, AskRefused),
        ({"default": REFUSED, "gpu": SILENT}, NoCoordinator),
        ({"default": SILENT, "gpu": REFUSED}, NoCoordinator),
    ],
)
def test_of_one_thing_who_knows_it_is_heard_and_silence_is_worse_than_a_no(found: Answers, answer: Any) -> None:
    """Who could not be asked may know; that all others do not is no answer then."""
    if isinstance(answer, type):
        with pytest.raises(answer):
            of_one(found)
    else:
        assert of_one(found) == answer


def test_of_the_whole_what_there_is_is_shown_and_who_is_silent_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A shard that nobody leads hides no other; but if none answers, that is an error, once."""
    assert of_all({"default": [1], "gpu": SILENT}, will=False) == {"default": [1], "gpu": None}
    told = capsys.readouterr().err
    assert "shard gpu: what it has is not shown" in told
    assert "none is running" in told
    assert each_view({"default": [1], "gpu": None}, lambda found: [str(found)])[1] == "[1]"
    assert of_all({"default": 1, "gpu": 2}, will=True) == {"default": 1, "gpu": 2}
    for found in ({"default": SILENT}, {"default": REFUSED, "gpu": SILENT}):
        with pytest.raises((NoCoordinator, AskRefused)):
            of_all(found, will=False)
    assert capsys.readouterr().err == ""


def test_who_asks_for_too_much_is_told_what_to_ask_for() -> None:
    """It is no mistake of the words that were typed, so no bad usage; and no riddle."""
    answer = codec.decode(codec.encode_answer(Answer("q", True, ["x" * 4_000] * 5_000)))
    assert isinstance(answer, Answer)
    assert answer.error is not None
    told, code = explain(not_possible("tasks", answer.error))
    assert code == FAILED
    assert "the answer would be too long to be read: 20,015,0" in told
    assert "Ask for less: a lower limit (--limit)" in told


def test_a_will_that_one_shard_did_not_take_fails_and_says_where_it_holds() -> None:
    """Said in one shard alone it reads as if there were no shards."""
    with pytest.raises(Fault, match=r"In shard default: .*no sense here.* It holds in: gpu, acme\. .*twice is harmless"):
        of_all({"default": REFUSED, "gpu": 1, "acme": 2}, will=True)
    with pytest.raises(AskRefused):
        of_all({"default": REFUSED}, will=True)


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ({"default": REFUSED, "gpu": {"task": "t1"}}, ("gpu",)),
        ({"default": SILENT, "gpu": {"task": "t1"}}, ("gpu",)),
        ({"default": REFUSED, "gpu": REFUSED}, ("default", "gpu")),
        ({"default": REFUSED, "gpu": SILENT}, ()),
    ],
)
def test_a_cancel_goes_to_who_knows_the_task_and_to_all_if_nobody_does(known: Answers, told: tuple[str, ...]) -> None:
    """Who does not know it remembers that it shall not run. Where one was silent nothing is cancelled elsewhere: that may be its
    shard, and a success would be a lie.
    """
    assert to_be_told(known) == told


def test_a_key_is_held_if_a_single_shard_says_so() -> None:
    """That another one knows of nobody is no answer; nor is silence."""
    held = {"task": "t1", "state": "running", "until_ns": None}
    nobody = {"task": None}
    assert holder({"default": nobody, "gpu": held, "acme": None}) is held
    assert holder({"default": held, "gpu": nobody}) is held
    assert holder({"default": None, "gpu": nobody}) is nobody


LIMITS: dict[str, Any] = {
    "default": {"limits": [{"limit": "api", "at_once": 5, "rate": 9.0, "out": 2, "waiting": 0, "by": "o", "top": []}]},
    "gpu": {"limits": [{"limit": "other", "at_once": 1}]},
}


def test_what_is_not_said_of_a_limit_stays_as_it_is_in_each_shard() -> None:
    """What has become of it, like the tasks that are out, is not told back."""
    found = in_force(LIMITS, will=True)
    assert wills(found, "api", {"at_once": 3}) == {
        "default": {"set": {"at_once": 3, "rate": 9.0}},
        "gpu": {"set": {"at_once": 3}},
    }
    assert wills(found, "api", None) == {"default": {"remove": True}}
    assert wills(found, "nowhere", None) == {"default": {"remove": True}}, "one shard says that there is none"


def test_what_a_limit_says_can_be_taken_out_again() -> None:
    """With the rate goes its burst; a shard without that limit gets none; what nobody says cannot be taken out."""
    found: dict[str, Any] = {
        "default": [{"limit": "api", "at_once": 5, "rate": 9.0, "burst": 3.0, "on": "*", "out": 2}],
        "gpu": [{"limit": "api", "at_once": 7, "on": "*"}],
        "acme": [],
    }
    assert wills(found, "api", {}, ["rate"]) == {
        "default": {"set": {"at_once": 5, "on": "*"}},
        "gpu": {"set": {"at_once": 7, "on": "*"}},
    }
    assert wills(found, "api", {"capacity": 3.0}, ["at_once", "rate"])["default"] == {"set": {"capacity": 3.0, "on": "*"}}
    with pytest.raises(Unclear, match="says nothing of tenant"):
        wills(found, "api", {}, ["tenant"])


def test_looking_at_limits_shows_what_there_is_and_changing_them_needs_all() -> None:
    """What a limit says in a shard that did not answer must be known before it is changed there, so nothing is."""
    half = {**LIMITS, "gpu": None}
    assert in_force(half, will=False) == {"default": LIMITS["default"]["limits"], "gpu": None}
    with pytest.raises(Fault, match=r"in shard gpu is not known\. Nothing was changed"):
        in_force(half, will=True)


def test_the_shards_that_are_meant_are_all_or_the_one_that_is_named() -> None:
    """A name that no shard has is bad usage; those that there are, are told."""
    assert meant(None, ("default", "gpu")) == ("default", "gpu")
    assert meant("gpu", ("default", "gpu")) == ("gpu",)
    with pytest.raises(Fault, match="default, gpu") as caught:
        meant("cpu", ("default", "gpu"))
    assert caught.value.code == 2


def test_of_the_time_that_all_may_take_each_question_has_what_is_left() -> None:
    """Two rounds of five seconds are no answer within five; and what is left is never nothing, or less."""
    left = Left(5.0)
    first = left.s
    while left.s == first:
        pass
    assert 4 < left.s < first <= 5
    assert Left(-1.0).s == 0.01


def test_a_rule_that_cannot_be_read_is_no_mistake_of_ours() -> None:
    """It says itself what to do."""
    text, code = explain(UnreadableRule("it cannot be read; restart a coordinator"))
    assert (text, code) == ("it cannot be read; restart a coordinator", FAILED)
