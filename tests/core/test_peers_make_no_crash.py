"""P6: whatever a peer says in well-formed messages, the coordinator counts it, explains it, and goes on."""

from __future__ import annotations

import pytest

from orchestrator.core import events as e
from orchestrator.core.answers import operators
from orchestrator.core.commands import Noted, Reply, Settle
from orchestrator.core.config import Config
from orchestrator.vocabulary import NS_PER_S, Attempt
from orchestrator.wire.facts import Asked, Entry
from orchestrator.wire.messages import Announce, Control, Handler, Held, Note, Notes, Range, Submit, Task
from tests.core.fleet import Fleet
from tests.core.stage import Node, Stage


def leading() -> tuple[Stage, Node]:
    """A coordinator that leads."""
    stage = Stage()
    node = stage.coordinator("c1")
    stage.pump()
    return stage, node


def test_a_handler_whose_need_makes_no_sense() -> None:
    """A task waits when an instance announces that such tasks need at least four and at most one: it asks for one slot then."""
    stage, node = leading()
    stage.durable("intake", Submit([Task("t1", "thumbs.resize")]))
    stage.pump()
    handler = Handler("resize", need={"cpu": Range(4, 1)})
    stage.held.add(("c1", "confirm"))  # or the order to sync would come back before it is answered
    stage.step(node, e.Arrived(Announce("a", "a.1", "thumbs", [handler], {"slots": 1})))
    stage.pump()
    commands = stage.step(node, e.Arrived(Held("a.1", 1, node.machine.desk.epoch, 1)))
    assert [one.fields["why"] for one in commands if isinstance(one, Noted) and one.what == "bad_need"]
    stage.pump()
    stage.durable("control", Control("q", "why", {"task": "t1"}), "o")
    stage.pump()
    assert stage.answers[-1].value["need"] == "slots=1"


def test_a_policy_of_another_version_in_the_ledger() -> None:
    """A newer coordinator wrote down a policy that this one does not have: it keeps its own and goes on."""
    stage, node = leading()
    stage.land(Entry("another", 1, facts=[Asked("policy", 1, value={"ordering": "newest", "placement": "random"})]))
    stage.pump()
    specs = {"ordering": "priority", "placement": "random", "allocation": "msa"}
    assert node.machine.desk.policies.specs == specs
    assert [key for row in node.machine.desk.keeping.lasting.rows if row.kind == "policy" for key in row.keys] == [
        "ordering",
        "placement",
    ]


def test_an_agent_that_lies_about_the_epoch() -> None:
    """It claims to know an epoch so high that no message could carry the next: nobody believes it. A lower lie costs one claim."""
    stage, node = leading()
    announce = e.Arrived(Announce("a", "a.1", "thumbs", [Handler("resize")], {"slots": 1}))
    for said, epoch in ((2**53, 1), (2**52 + 1, 1), (9, 10)):
        lie = Note("t1", Attempt(1, 0), "refused", text="epoch", epoch=said)
        stage.step(node, announce, e.Arrived(Notes("a.1", [lie])))
        stage.pump()
        assert node.machine.desk.epoch == epoch


def test_a_hint_of_a_nanosecond_after_hints_of_a_year() -> None:
    """Whose hints were too large by as much as can be said says of the next task as little as can be said."""
    fleet = Fleet(lambda name: 1_000_000, {}, Config())
    fleet.instance("a", [Handler("work")], {"slots": 4})
    for n in range(4):
        fleet.submit(Task(f"a{n}", "s.work", estimate_ns=366 * 86_400 * NS_PER_S))
        fleet.run(until_ns=fleet.now_ns + NS_PER_S)
    fleet.submit(Task("b", "s.work", estimate_ns=1))
    fleet.run(until_ns=fleet.now_ns + NS_PER_S)
    assert "b" in fleet.done


@pytest.mark.parametrize("allocation", ["msa", "mra", "fill"])
def test_an_instance_that_names_a_resource_and_none_of_its_devices(allocation: str) -> None:
    """`devices={"gpu": []}`: it has none of them, and may be granted of what it has, up to the most."""
    fleet = Fleet(lambda name: NS_PER_S, {"allocation": allocation}, Config())
    announce = Announce("a", "a", "s", [Handler("work")], {"slots": 2, "cpu": 4}, devices={"gpu": []})
    fleet.step(e.Arrived(announce))
    fleet.step(e.Arrived(Held("a", 1, fleet.machine.desk.epoch, 1)))
    fleet.submit(Task("t", "s.work", need={"cpu": Range(1, 4), "gpu": Range(0, 2)}))
    (holding,) = fleet.machine.desk.registry.instances["a"].holdings.values()
    assert holding.grant == {"slots": 1000, "cpu": 1000 if allocation == "msa" else 4000}


def test_a_task_that_asks_for_nothing_where_less_than_nothing_is_free() -> None:
    """An instance shrinks under what it has granted; who asks there for nothing or a little more is told why it waits."""
    fleet = Fleet(lambda name: 100 * NS_PER_S, {}, Config())
    fleet.instance("a", [Handler("work")], {"slots": 4, "cpu": 4})
    fleet.submit(Task("r", "s.work", need={"cpu": 4}))
    fleet.step(e.Arrived(Announce("a", "a", "s", [Handler("work")], {"slots": 4, "cpu": 2})))
    fleet.submit(Task("w", "s.work", need={"cpu": Range(0, 2)}))
    commands = fleet.machine.step(fleet.now_ns, [e.Arrived(Control("q", "why", {"task": "w"}), "control", reply_to="x")])
    (reply,) = (one for one in commands if isinstance(one, Reply))
    assert reply.answer.value["reason"] == "the only instance of 's' cannot take it now: a has cpu short by 2 (wants 0, free -2)"


def test_a_mistake_of_ours_in_an_answer_ends_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation that breaks off: who asks is told so, the log says where, the question does not come again, and the next one
    is answered. Of a deed, which may be half done, nobody says that all else goes on."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setitem(operators.OPERATIONS, "odd", broken)
    monkeypatch.setitem(operators.OPERATIONS, "hand_over", broken)
    _, node = leading()
    now = node.machine.desk.now_ns
    commands = node.machine.step(now, [e.Arrived(Control("q", "odd", {"task": "t"}), "handle", reply_to="x")])
    (reply,) = (one for one in commands if isinstance(one, Reply))
    assert reply.answer.error is not None
    assert reply.answer.error.kind == "mistake"
    (noted,) = (one for one in commands if isinstance(one, Noted) and one.what == "mistake")
    assert noted.fields["where"].startswith("broken, line ")
    assert [one.handles for one in commands if isinstance(one, Settle)] == [("handle",)]
    commands = node.machine.step(now, [e.Arrived(Control("q", "status", {}), "other", reply_to="x")])
    assert [one.answer.ok for one in commands if isinstance(one, Reply)] == [True]
    with pytest.raises(ZeroDivisionError):
        node.machine.step(now, [e.Arrived(Control("q", "hand_over", {"epoch": 1}), "third", reply_to="x")])
