"""The command line where there are shards: it asks all of them, finds the one that knows, and ``--shard`` narrows."""

from __future__ import annotations

import json
import os

import pytest

from tests.cli.conftest import Start, Type, Typed

pytestmark = pytest.mark.broker

RULE = json.dumps({"letters": {"services": ["letters"]}})


@pytest.fixture
def ask(amqp_url: str, start: Start, typed: Type, monkeypatch: pytest.MonkeyPatch) -> Type:
    """A coordinator of two shards runs; type commands at it."""
    monkeypatch.setitem(os.environ, "ORCHESTRATOR_SHARDS", RULE)
    start("orchestrator", "coordinator", "--name", "one")
    monkeypatch.delitem(os.environ, "ORCHESTRATOR_SHARDS")

    def asked(*words: str) -> Typed:
        return typed(*words, ORCHESTRATOR_BROKER=amqp_url)

    for shard in ("default", "letters"):
        led(asked, shard)
    return asked


@pytest.fixture
def half(amqp_url: str, start: Start, typed: Type, monkeypatch: pytest.MonkeyPatch) -> Type:
    """The same rule, but nobody leads ``letters``; type commands that wait two seconds for an answer."""
    monkeypatch.setitem(os.environ, "ORCHESTRATOR_SHARDS", RULE)
    start("orchestrator", "coordinator", "--shard", "default")
    monkeypatch.delitem(os.environ, "ORCHESTRATOR_SHARDS")

    def asked(*words: str) -> Typed:
        hasty = () if words[0] == "submit" else ("--within", "2s")
        return typed(*words, *hasty, ORCHESTRATOR_BROKER=amqp_url)

    led(lambda *words: typed(*words, ORCHESTRATOR_BROKER=amqp_url), "default")
    return asked


def led(asked: Type, shard: str) -> None:
    """Each try waits until it is; three processes start on a machine that is busy."""
    assert any(asked("status", "--json", "--shard", shard).code == 0 for _ in range(6)), shard


def test_what_is_asked_about_the_whole_is_answered_shard_by_shard(ask: Type) -> None:
    """status, tasks, services, dead: each under its shard; with --shard as if there were no other."""
    for kind, name in (("numbers.double", "n1"), ("letters.upper", "l1")):
        assert ask("submit", kind, "--id", name).code == 0
    while (seen := ask("tasks", "--json").json["shards"]) != {} and not all(seen.values()):
        pass  # accepted by the broker; read by its coordinator in a moment
    assert {shard: [one["task"] for one in told] for shard, told in seen.items()} == {"default": ["n1"], "letters": ["l1"]}
    assert [one["task"] for one in ask("tasks", "--shard", "letters", "--json").json] == ["l1"]
    status = ask("status", "--json").json["shards"]
    assert {shard: (told["coordinator"], told["waiting"]) for shard, told in status.items()} == {
        "default": ("one", 1), "letters": ("one", 1),
    }  # fmt: skip
    shown = ask("status").out
    assert shown.index("shard default") < shown.index("shard letters")
    assert ask("dead", "--json").json == {"shards": {"default": [], "letters": []}}
    assert {shard: [one["service"] for one in told] for shard, told in ask("services", "--json").json["shards"].items()} == {
        "default": ["numbers"], "letters": ["letters"],
    }  # fmt: skip
    assert ask("dead", "--shard", "letters", "--json").json == []
    for command in ("status", "dead"):
        wrong = ask(command, "--shard", "gpu")
        assert (wrong.code, "default, letters" in wrong.err) == (2, True)


def test_what_is_asked_about_one_thing_is_answered_by_the_shard_that_knows_it(ask: Type) -> None:
    """why, task, priority, cancel: nobody has to know where a task is; a task that nobody knows is unknown, once."""
    ask("submit", "letters.upper", "--id", "l1")
    while ask("task", "l1", "--json").code != 0:
        pass  # as above
    assert "service 'letters' is missing" in ask("why", "l1").out
    assert ask("priority", "l1", "7", "--json").json["priority"] == 7
    assert ask("cancel", "l1", "--json").json["cancelled"] is True
    assert [one["outcome"] for one in ask("tasks", "--state", "ended", "--shard", "letters", "--json").json] == ["cancelled"]
    unknown = ask("why", "nobody")
    assert (unknown.code, unknown.err.count("'nobody'")) == (1, 1)
    assert ask("why", "l1", "--shard", "default").code == 1


def test_a_will_about_the_whole_is_every_shards(ask: Type) -> None:
    """policy and limit: in all, or with --shard in one; and the doctor looks at each."""
    told = ask("policy", "fifo", "--json").json["shards"]
    assert {shard: one["now"]["ordering"] for shard, one in told.items()} == {"default": "fifo", "letters": "fifo"}
    ask("policy", "sjf", "--shard", "letters")
    told = ask("policy", "--json").json["shards"]
    assert {shard: one["now"]["ordering"] for shard, one in told.items()} == {"default": "fifo", "letters": "sjf"}
    assert ask("limit", "api", "--on", "letters.*", "--at-once", "5").code == 0
    assert ask("limit", "api", "--at-once", "3", "--shard", "letters").code == 0
    limits = ask("limit", "--json").json["shards"]
    assert {shard: one[0]["at_once"] for shard, one in limits.items()} == {"default": 5, "letters": 3}
    assert ask("limit", "api", "--remove", "--shard", "default").code == 0
    assert ask("limit", "api", "--remove").code == 0
    assert ask("limit", "api", "--remove").code == 1
    assert ask("limit", "--json").json == {"shards": {"default": [], "letters": []}}
    doctor = ask("doctor", "--json")
    assert doctor.code == 0, doctor.out
    states = {one["check"]: one["state"] for one in doctor.json["checks"]}
    assert {"shards", "queues of default", "queues of letters", "coordinator of default", "coordinator of letters"} <= {
        name for name, state in states.items() if state == "ok"
    }


def test_a_shard_that_nobody_leads_hides_no_other_and_a_will_about_the_whole_fails(half: Type) -> None:
    """What the others have is shown, with a word on the silent one, and a script hears of it; what needs all changes nothing."""
    for command in ("status", "tasks", "services", "limit", "policy"):
        looked = half(command, "--json")
        assert looked.code == 1, looked.err
        assert (looked.json["shards"]["default"] is None, looked.json["shards"]["letters"]) == (False, None)
        assert "shard letters: what it has is not shown" in looked.err
    assert "nobody leads it at present" in half("tasks").out
    assert half("services", "--graph").code == 1
    assert half("status", "--shard", "default").code == 0
    free = half("key", "pay.charge", "k", "--json")
    assert (free.code, free.json["task"]) == (1, None), "who is silent may know who holds it"
    assert half("doctor", "--shard", "default").code == 0
    ill = half("doctor", "--json")
    bad = {one["check"] for one in ill.json["checks"] if one["state"] == "fail"}
    assert (ill.code, "coordinator of letters" in bad, "coordinator of default" in bad) == (1, True, False)
    assert half("doctor", "--shard", "gpu").code == 2
    for words in (("limit", "api", "--at-once", "5"), ("limit", "api", "--remove")):
        told = half(*words)
        assert (told.code, told.out, "Nothing was changed" in told.err) == (1, "", True)
    assert half("limit", "--json").json["shards"]["default"] == []
    told = half("policy", "--ordering", "fifo")
    assert (told.code, "In shard letters" in told.err, "It holds in: default" in told.err) == (1, True, True)
    assert half("limit", "api", "--at-once", "5", "--shard", "default").code == 0


def test_a_task_may_be_in_the_shard_that_nobody_leads(half: Type) -> None:
    """So that the others do not know it is no answer, and cancelling it there would stop nothing; whoever has it is heard."""
    assert half("submit", "numbers.double", "--id", "n1").code == 0
    while half("task", "n1", "--json").code != 0:
        pass  # accepted by the broker; read by its coordinator in a moment
    for words in (("why", "l1"), ("cancel", "l1"), ("cancel", "--workflow", "l1")):
        told = half(*words)
        assert (told.code, told.out, "No coordinator answered" in told.err) == (1, "", True), told
    assert half("cancel", "n1", "--json").json["cancelled"] is True


def test_a_limit_that_one_shard_refuses_holds_in_the_other_and_that_is_told(ask: Type) -> None:
    """What is not said stays: here it makes sense in one of them alone."""
    assert ask("limit", "api", "--on", "*", "--at-once", "5", "--shard", "default").code == 0
    assert ask("limit", "api", "--on", "*", "--rate", "5", "--shard", "letters").code == 0
    told = ask("limit", "api", "--burst", "9")
    assert (told.code, "In shard default" in told.err, "It holds in: letters" in told.err) == (1, True, True), told
    limits = ask("limit", "--json").json["shards"]
    assert (limits["default"][0].get("burst"), limits["letters"][0]["burst"]) == (None, 9.0)
