"""Which policies hold: for all, for one service, after a switch, after a failover."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.scheduler.governing import Policies
from orchestrator.policies import BUILT_IN, BadPolicy
from orchestrator.vocabulary import NS_PER_S
from orchestrator.wire.messages import Control, Submit, Task
from tests.core.stage import Node, Stage


def leading() -> tuple[Stage, Node]:
    """A coordinator that leads."""
    stage = Stage()
    node = stage.coordinator("c1")
    stage.pump()
    return stage, node


def ask(stage: Stage, **args: Any) -> Any:
    """What the operation ``policy`` answers: a value, or an error."""
    stage.durable("control", Control("q", "policy", args), "o")
    stage.pump()
    answer = stage.answers[-1]
    return answer.value if answer.ok else answer.error


def order_of(node: Node, service: str) -> list[str]:
    """The tasks of a service in the order in which they would go, read by taking them all."""
    queue = node.machine.desk.backlog.queues[service]
    taken = []
    while (group := queue.best()) is not None:
        head = group.head()
        assert head is not None
        taken.append(head.record)
        queue.remove(head.record)
    for record in taken:
        node.machine.desk.backlog.add(record)
    return [record.id for record in taken]


def test_a_service_has_its_own_or_follows_the_default() -> None:
    """Also when the default changes; and it can be told to follow it again."""
    stage, node = leading()
    of = node.machine.desk.policies.of
    assert ask(stage, ordering="sjf:ageing=10m", service="thumbs")["now"]["ordering"] == "sjf:ageing=10m"
    assert (of("thumbs").ordering, of("mail").ordering) == (
        BUILT_IN.build("ordering", "sjf:ageing=10m"), BUILT_IN.build("ordering", "priority"),
    )  # fmt: skip
    ask(stage, ordering="fifo", placement="random")
    assert of("thumbs").ordering == BUILT_IN.build("ordering", "sjf:ageing=10m")
    assert of("thumbs").placement == of("mail").placement == BUILT_IN.build("placement", "random")
    told = ask(stage)
    assert told["now"] == {"ordering": "fifo", "placement": "random", "allocation": "msa"}
    assert told["services"] == {"thumbs": {"ordering": "sjf:ageing=10m"}}
    assert ask(stage, reset=True, service="thumbs")["services"] == {}
    assert of("thumbs").ordering == BUILT_IN.build("ordering", "fifo")


def test_a_setting_alone_changes_the_policy_in_force() -> None:
    """What else was set of it stays; with a new policy named, the setting is of that one."""
    stage, _ = leading()
    ask(stage, ordering="dps:size=2")
    assert ask(stage, set={"guard": "9s"})["now"]["ordering"] == "dps:size=2,guard=9s"
    assert ask(stage, ordering="sjf", set={"ageing": "1h"})["now"]["ordering"] == "sjf:ageing=1h"
    assert ask(stage, set={"ageing": "2h"}, service="thumbs")["services"] == {"thumbs": {"ordering": "sjf:ageing=2h"}}
    assert ask(stage, service="thumbs")["now"]["ordering"] == "sjf:ageing=2h"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"ordering": "lifo"}, "there is no ordering policy 'lifo'; there are: dps, edf, fair, fifo"),
        ({"ordering": "sjf", "set": {"aging": "1m"}}, "none of these policies has a setting 'aging': ordering sjf"),
        ({"ordering": "sjf", "set": {"ageing": "soon"}}, "a length of time"),
        ({"ordering": "sjf", "placement": "nowhere"}, "no placement policy 'nowhere'"),
        ({"ordering": 7}, "a policy is a text"),
        ({"set": ["ageing"]}, "a policy is a text"),
        ({"service": "a b", "ordering": "sjf"}, "name of a service"),
        ({"reset": True}, "reset is for one service"),
    ],
)
def test_what_cannot_be_meant_changes_nothing(args: dict[str, Any], says: str) -> None:
    """Not even the part of it that could."""
    stage, node = leading()
    assert says in ask(stage, **args).message
    assert node.machine.desk.policies.specs == {"ordering": "priority", "placement": "least_loaded", "allocation": "msa"}


def test_a_successor_has_the_same_policies() -> None:
    """They are facts: of the default, and of each service; what a service gave up is not carried on."""
    stage, node = leading()
    ask(stage, ordering="dps:guard=3s")
    ask(stage, ordering="sjf:ageing=10m", service="thumbs")
    ask(stage, placement="random", service="mail")
    ask(stage, reset=True, service="mail")
    before = dict(node.machine.desk.policies.specs)
    stage.crash(node)
    successor = stage.coordinator("c2")
    stage.pump()
    assert successor.machine.desk.policies.specs == before
    assert set(successor.machine.desk.custody.policies) == {"ordering", "thumbs/ordering"}


SPECS = [
    "fifo",
    "priority",
    "priority:level=1s",
    "sjf:ageing=10m",
    "sjf:ageing=off",
    "srtf",
    "dps:share=0",
    "edf",
    "edf:patience=10s",
]


@settings(max_examples=30, derandomize=True, deadline=None)
@given(
    tasks=st.lists(
        st.tuples(st.sampled_from(["resize", "crop"]), st.integers(-3, 3), st.integers(1, 4), st.none() | st.integers(1, 99)),
        min_size=1, max_size=40,
    ),
    specs=st.lists(st.sampled_from(SPECS), min_size=1, max_size=4),
)  # fmt: skip
def test_switching_live_loses_nothing_and_orders_anew(tasks: list[tuple[str, int, int, int | None]], specs: list[str]) -> None:
    """Whatever waits and however often it is switched: the same tasks wait, in the order of the keys that hold now."""
    stage, node = leading()
    for n, (handler, priority, size, due) in enumerate(tasks):
        deadline_ns = None if due is None else stage.now_ns + due * 60 * NS_PER_S
        one = Task(f"t{n}", f"thumbs.{handler}", priority=priority, estimate_ns=size * NS_PER_S, deadline_ns=deadline_ns)
        stage.durable("intake", Submit([one]))
        stage.pump()
    backlog = node.machine.desk.backlog
    for spec in specs:
        ask(stage, ordering=spec)
        records = sorted(backlog.queues["thumbs"].records(), key=lambda one: (backlog.key(one), one.accepted, one.index))
        assert sorted(one.id for one in records) == sorted(f"t{n}" for n in range(len(tasks)))
        assert order_of(node, "thumbs") == [one.id for one in records]


def test_scopes_that_make_no_sense() -> None:
    """Of another version, or written by hand: refused as a whole."""
    policies = Policies(BUILT_IN)
    for scope in ("color", "thumbs/color", "a b/ordering", "/ordering"):
        with pytest.raises(BadPolicy):
            policies.switch({"placement": "random", scope: "fifo"})
    with pytest.raises(BadPolicy, match="cannot be taken away"):
        policies.switch({"ordering": ""})
    assert policies.specs["placement"] == "least_loaded"
