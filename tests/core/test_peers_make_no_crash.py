"""P6: whatever a peer says in well-formed messages, the coordinator counts it, explains it, and goes on."""

from __future__ import annotations

from orchestrator.core import events as e
from orchestrator.core.commands import Noted
from orchestrator.vocabulary import Attempt
from orchestrator.wire.facts import Asked, Entry
from orchestrator.wire.messages import Announce, Control, Handler, Held, Note, Notes, Range, Submit, Task
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
