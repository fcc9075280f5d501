"""A workflow as its producer writes it down: what becomes an edge, what stays an argument, what cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.client import AskRefused, Client, Node, Workflow
from orchestrator.client.errors import not_possible
from orchestrator.vocabulary import DEFAULT_SHARD
from orchestrator.wire import codec
from orchestrator.wire.codec import unpack
from orchestrator.wire.messages import Edge
from orchestrator.wire.types import MOST_TASKS


@pytest.fixture
def flow() -> Workflow:
    """A workflow of a client that is not even open: writing it down needs nobody."""
    return Client("amqp://nowhere").workflow("nightly")


def args(node: Node) -> Any:
    """The arguments that travel with the task."""
    return unpack(node.call.task.args)


def test_a_node_as_an_argument_is_an_edge(flow: Workflow) -> None:
    """The child takes the parent's value there; its other arguments travel as they are."""
    rows = flow.add("etl.extract", day="monday")
    load = flow.add("etl.load", rows=rows, table="t")
    assert load.call.task.after == (Edge(rows.id, "fail", "rows"),)
    assert args(load) == {"table": "t"}
    assert args(rows) == {"day": "monday"}


def test_a_list_of_nodes_takes_a_list_of_values(flow: Workflow) -> None:
    """In its order; each may fail in its own way."""
    parts = [flow.add("etl.part", n=n) for n in range(3)]
    whole = flow.add("etl.join", parts=[parts[2], parts[0].on_failure("continue"), parts[1]])
    assert whole.call.task.after == (
        Edge(parts[2].id, "fail", "parts[]"), Edge(parts[0].id, "continue", "parts[]"), Edge(parts[1].id, "fail", "parts[]"),
    )  # fmt: skip


def test_options_have_their_own_place(flow: Workflow) -> None:
    """Arguments may have any name; ``after`` takes nodes, with or without what their failure means."""
    first, second = flow.add("a.b", after=1, retries=2), flow.add("a.b")
    last = flow.task("a.c", after=[first, second.on_failure("skip")], retries=7, id="last").add(priority="high", x=first)
    assert last.call.task.retries == 7
    assert last.call.task.after == (Edge(first.id), Edge(second.id, "skip"), Edge(first.id, "fail", "x"))
    assert args(last) == {"priority": "high"}
    assert args(first) == {"after": 1, "retries": 2}


def test_every_task_says_its_workflow(flow: Workflow) -> None:
    """And its id begins with that, so that two runs of one program never meet."""
    one, two = flow.add("a.b"), flow.task("a.b", id="two").add()
    assert [node.call.task.workflow for node in flow] == [flow.id, flow.id]
    assert (one.id, two.id) == (f"{flow.id}.1", f"{flow.id}.two")
    assert flow.id.startswith("nightly-")
    assert Client("amqp://nowhere").workflow("nightly").id != flow.id


def test_what_cannot_be_is_refused_where_it_is_written(flow: Workflow) -> None:
    """Each message names what is wrong."""
    node, other = flow.add("a.b"), Client("amqp://nowhere").workflow().add("a.b")
    for wrong, words in [
        (lambda: flow.add("a.b", x=other), "is no node of workflow"),
        (lambda: flow.task("a.b", after=["t1"]), "'t1' is no node of workflow"),
        (lambda: flow.add("a.b", x=[node, 1]), "a list of nodes, or a list of values; not both"),
        (lambda: flow.add("a.b", x=[node, node]), "the same node twice"),
        (lambda: node.on_failure("ignore"), "is none of"),  # type: ignore[arg-type]
        (lambda: flow.task("a.b", reply=False), "reply: a workflow is one submission"),
        (lambda: flow.task("a.b", id="1").add(), "taken"),
        (lambda: flow.add("a.b", **{"x" * 70: node}), "too long for an argument"),
        (lambda: flow.add("a b"), "type"),
        (lambda: Client("amqp://nowhere").workflow("no spaces"), "cannot name a workflow"),
    ]:
        with pytest.raises(ValueError, match=words):
            wrong()  # type: ignore[no-untyped-call]
    assert len(flow.nodes) == 1


async def test_cancelling_an_empty_workflow_is_refused_by_who_is_asked(flow: Workflow, monkeypatch: pytest.MonkeyPatch) -> None:
    """The coordinator says so, as of any that it does not know."""

    async def refuse(op: str, args: dict[str, Any], timeout_s: float, shard: str) -> Any:
        assert (op, args, shard) == ("cancel", {"workflow": flow.id}, DEFAULT_SHARD)
        raise not_possible(op, codec.error("unknown_workflow", "no such workflow is known"))

    monkeypatch.setattr(flow._shell, "ask", refuse)
    with pytest.raises(AskRefused, match="no such workflow"):
        await flow.cancel()


async def test_a_workflow_fits_one_message(flow: Workflow) -> None:
    """One that does not is refused before anything is sent, with what to do."""
    with pytest.raises(ValueError, match="is empty"):
        await flow.submit()
    for _ in range(MOST_TASKS + 1):
        flow.add("a.b")
    with pytest.raises(ValueError, match=r"4,097 tasks; 4,096 are the limit .* Split it"):
        await flow.submit()
