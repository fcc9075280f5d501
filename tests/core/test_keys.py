"""Keys: one run for the same work, whoever asks, however often, whoever leads (R16)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.core import events as e
from orchestrator.core import invariants
from orchestrator.core.config import Config
from orchestrator.core.coordinator import Coordinator
from orchestrator.core.tasks.keys import digest_of
from orchestrator.vocabulary import NS_PER_S, Attempt
from orchestrator.wire.facts import Accepted, Carried, Claim, Ended, Entry, Hold, Tombstone
from orchestrator.wire.messages import Edge, Result, Submit, Task
from tests.core.dice import TIGHT, story, tell
from tests.core.script import Script
from tests.core.test_replay import NOW, reader


@pytest.mark.parametrize("config", [None, TIGHT], ids=["roomy", "tight"])
def test_keys_in_stories_of_all_kinds(config: Config | None) -> None:
    """Two coordinators, two agents, faults of all kinds: nobody runs under a key that is held, everybody hears the first one's end,
    and whoever begins to read in the middle has the same keys."""
    for seed in range(40):
        tell(story(seed, 80, keyed=True), config)


def begun(**config: int) -> Script:
    """A coordinator, an agent, a producer ``p``."""
    script = Script()
    script.stage.config = replace(Config(), **config)  # type: ignore[arg-type]
    script.line("coordinator c1")
    script.line("agent a thumbs.resize slots=100")
    return script


def run(script: Script, task: str, options: str = "", value: str = "") -> None:
    """Submit a task and have it done."""
    script.line(f"submit {task} thumbs.resize {options}")
    script.line(f"a finishes {task} {value}")


def told(script: Script, task: str) -> Result:
    """What its producer heard."""
    (result,) = [one for one in script.stage.replies["p"] if one.task == task]
    return result


def test_what_is_kept_of_a_key_is_in_its_tombstone() -> None:
    """The story of a key fell off the end of the ledger: who starts from the tombstone answers with the first one's result."""
    script = begun(ledger_bytes_max=14_000, reserve_bytes=4_000)
    run(script, "t1", "key=one", "thumb")
    ledger = script.stage.ledger
    while not any(isinstance(fact, Tombstone) and fact.task == "t1" for _, entry in ledger if entry for fact in entry.facts):
        run(script, f"x{len(ledger)}", "args=" + 400 * "x")
    script.line("crash c1")
    script.line("coordinator c2")
    script.line("submit t2 thumbs.resize key=one")
    result = told(script, "t2")
    assert (result.outcome, result.value, result.first) == ("done", b"thumb", "t1")


def test_results_of_keys_outlive_those_of_other_tasks() -> None:
    """Traffic without keys does not push cached results out; too many of their own kind do, and then the work is done again."""
    script = begun(results_bytes_max=1_000)
    run(script, "old", "args=old cache=600", 200 * "x")
    for n in range(20):
        run(script, f"x{n}", "", 200 * "x")
    script.line("submit again thumbs.resize args=old cache=600")
    assert told(script, "again").first == "old"
    for n in range(20):
        run(script, f"y{n}", f"args=y{n} cache=600", 200 * "x")
    assert script.stage.nodes["c1"].machine.desk.custody.keys.kept_bytes <= 1_000
    script.line("submit anew thumbs.resize args=old cache=600")
    assert "anew" in script.stage.nodes["c1"].machine.desk.custody.live


def test_a_key_is_remembered_longer_than_its_result() -> None:
    """Without ``cache_for`` the work is not done again, though what it returned is not kept: that is said instead."""
    script = begun(results_bytes_max=1_000)
    for n in range(20):
        run(script, f"t{n}", f"key=k{n}", 200 * "x")
    script.line("submit again thumbs.resize key=k0")
    result = told(script, "again")
    assert (result.outcome, result.value, result.first) == ("done", None, "t0")
    assert result.error is not None
    assert result.error.kind == "forgotten"


def test_many_wait_for_one() -> None:
    """A thousand producers want the same at once: it is done once, and each hears it."""
    script = begun()
    script.line(f"submit {','.join(f't{n}' for n in range(1000))} thumbs.resize key=one")
    script.line("a finishes t0 thumb")
    heard = [(one.task, one.value, one.first) for one in script.stage.replies["p"]]
    assert heard == [(f"t{n}", b"thumb", "t0" if n else None) for n in range(1000)]


def test_the_second_is_read_before_the_first() -> None:
    """A reader that starts in the middle meets a follower first. When the first one's record comes by, it gives way."""
    first, second = Task("t1", "thumbs.resize", key="one"), Task("t2", "thumbs.resize", key="one")
    carried = Carried(first, 3, 0, NOW, keep_ns=600 * NS_PER_S)
    desk = reader(Accepted([second], NOW, keep_ns=600 * NS_PER_S), carried).desk
    assert desk.custody.keys.leaders == {"t2": "t1"}
    assert desk.custody.live["t2"].state == "blocked"
    done = Ended("t1", "done", NOW, Attempt(1, 1), b"x", hold=Hold("", "thumbs.resize", "one", digest_of(first), NOW + 1))
    desk = reader(Accepted([second], NOW, keep_ns=600 * NS_PER_S), done).desk
    assert desk.verdicts["t2"].first == "t1"


def test_the_second_is_over_before_the_first_is_read() -> None:
    """The same, and the second is cancelled by then: the third does not end so, for it follows the first, which lives. Who comes
    under the key when it is free is followed by nobody who was there before."""
    first, second, third = (Task(name, "thumbs.resize", key="one") for name in ("t1", "t2", "t3"))
    cancelled = Accepted([second, third], NOW), Ended("t2", "cancelled", NOW)
    desk = reader(*cancelled).desk
    assert desk.verdicts["t3"].first == "t2"
    desk = reader(*cancelled, Carried(first, 3, 0, NOW)).desk
    assert desk.custody.keys.leaders == {"t3": "t1"}
    assert not desk.verdicts
    assert desk.custody.live["t3"].state == "blocked"
    desk = reader(*cancelled, Accepted([Task("t4", "thumbs.resize", key="one")], NOW)).desk
    assert desk.custody.keys.leaders == {"t3": "t2"}
    assert desk.verdicts["t3"].first == "t2"


def test_whom_nobody_knows_is_followed_by_nobody() -> None:
    """The ledger was emptied and the record of the first one is gone for ever: a leader has its follower run."""
    second = Task("t2", "thumbs.resize", key="one")
    machine = reader(Carried(second, 3, 0, NOW, first="t1"))
    assert machine.desk.custody.live["t2"].state == "blocked"
    known = e.Read(100, 100, Entry("somebody", 100, facts=[Carried(second, 3, 0, NOW, first="t1")]))
    machine.step(NOW, [e.SessionOpened("me"), known, e.TokenHeld()])
    machine.step(NOW, [e.Read(101, 100, Entry("me", 1, facts=[Claim("c1", "me")]))])
    invariants.check(machine.desk)
    assert machine.desk.custody.live["t2"].state == "waiting"


def test_keys_are_forgotten() -> None:
    """When its time is over nothing is left of a key, nor of the id that was remembered for its sake."""
    script = begun(dedup_ns=10 * NS_PER_S)
    run(script, "t1", "cache=100", "thumb")
    script.stage.wait(50 * NS_PER_S)
    custody = script.stage.nodes["c1"].machine.desk.custody
    assert "t1" in custody.graves, "its id is remembered for as long as its result may be asked for"
    script.stage.wait(200 * NS_PER_S)
    assert not custody.graves
    assert not custody.keys.by_task
    assert (custody.keys.kept_bytes, custody.keys.result_bytes) == (0, 0)


def test_what_parents_give_is_no_argument_to_cache_by() -> None:
    """Two children with the same own arguments may be given different ones by their parents: without a key they are not cached."""
    script = begun()
    child = Task("c", "thumbs.resize", after=(Edge("a", into="x"),), cache_ns=NS_PER_S)
    script.stage.durable("intake", Submit([Task("a", "thumbs.resize"), child]), "p")
    script.stage.pump()
    kinds = {one.task: one.error.kind for one in script.stage.replies["p"] if one.error is not None}
    assert kinds == {"c": "bad_key", "a": "workflow_refused"}


def test_a_child_may_have_a_key() -> None:
    """What a child of one workflow did is not done again for that of another; its own children are given it."""
    script = begun()
    run(script, "t1", "key=one", "thumb")
    graph = [Task("g1", "thumbs.resize"), Task("g2", "thumbs.resize", after=(Edge("g1"),), key="one")]
    graph.append(Task("g3", "thumbs.resize", after=(Edge("g2", into="x"),)))
    script.stage.durable("intake", Submit(graph), "p")
    script.stage.pump()
    assert told(script, "g2").first == "t1"
    script.line("a finishes g1")
    script.line("a finishes g3 both")
    assert told(script, "g3").value == b"both"


def test_what_an_heir_needs_outlives_the_followers_that_are_met_first() -> None:
    """Who begins to read in the middle meets who followed a task, which is soon over, and only later the child that needs what it
    returned: with that it starts (swarm seed 300906)."""
    followed, child = Task("t2", "thumbs.resize", key="k"), Task("t3", "thumbs.resize", after=(Edge("t1"),))
    holds = [Hold("", "thumbs.resize", key, digest_of(followed), NOW + NS_PER_S) for key in "kabcdefghi"]
    facts = [
        Carried(followed, 3, 1, NOW, first="t1"),
        Ended("t1", "done", NOW, Attempt(1, 1), b"precious", heirs=True, hold=holds[0]),
        Ended("t2", "done", NOW, None, b"precious", first="t1"),
        *(Ended(f"x{n}", "done", NOW, Attempt(1, 2 + n), 200 * b"x", hold=hold) for n, hold in enumerate(holds[1:])),
        Carried(child, 4, 2, NOW),
    ]
    machine = Coordinator("c1", replace(Config(), results_bytes_max=500))
    for offset, fact in enumerate(facts, 100):
        machine.step(NOW, [e.Read(offset, 100, Entry("somebody", offset, replay_from=90, facts=[fact]))])
        invariants.check(machine.desk)
    grave = machine.desk.custody.graves["t1"]
    assert grave.result is not None
    assert grave.result.value == b"precious"


def test_who_has_read_all_that_live_keeps_nothing_for_heirs() -> None:
    """A standby that an entry tells it could have begun later knows every child there is: what was kept for others goes."""
    ends = [Ended(f"x{n}", "done", NOW, Attempt(1, 1 + n), 200 * b"x", heirs=True) for n in range(10)]
    machine = Coordinator("c1", replace(Config(), results_bytes_max=500))
    for offset, fact in enumerate(ends, 100):
        machine.step(NOW, [e.Read(offset, 100, Entry("somebody", offset, replay_from=90, facts=[fact]))])
    graves = machine.desk.custody.graves
    assert all(graves[fact.task].result is not None for fact in ends)
    machine.step(NOW, [e.Read(110, 100, Entry("somebody", 110, replay_from=100))])
    assert sum(graves[fact.task].result is not None for fact in ends) == 1
