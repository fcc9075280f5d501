"""Graphs drawn by Hypothesis, run by the core, against a model of twenty lines; and what is too large to be handed on."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core import commands as c
from orchestrator.core import events as e
from orchestrator.core import invariants
from orchestrator.core.config import Config
from orchestrator.core.coordinator import Coordinator
from orchestrator.vocabulary import NS_PER_MS, NS_PER_S, Attempt
from orchestrator.wire.codec import MAX_LONG_BODY_BYTES, encode
from orchestrator.wire.facts import Asked, Entry
from orchestrator.wire.messages import (
    Announce,
    Assignment,
    Control,
    Edge,
    Error,
    Handler,
    Held,
    Note,
    Notes,
    Orders,
    Report,
    Reports,
    Result,
    Submit,
    Task,
)

Fate = str
"""What becomes of a task if it runs, or before: ``done``, ``failed``, ``cancelled``."""


class Run:
    """One instance, one ledger that reads everything back at once; what runs is up to the test."""

    def __init__(self, slots: int, config: Config | None = None) -> None:
        self.machine = Coordinator("c1", config)
        self.now_ns = 1_000 * NS_PER_S
        self.offset = 0
        self.started: list[Assignment] = []
        self.running: dict[str, Attempt] = {}
        self.results: dict[str, Result] = {}
        self.orders: list[Orders] = []
        self.step(e.SessionOpened("n1"))
        self.step(e.TokenHeld())
        self.step(e.Arrived(Announce("i", "i", "any", [Handler("work", retries=0)], {"slots": slots})))
        self.step(e.Arrived(Held("i", 1, self.machine.desk.epoch, 1)))

    def step(self, *events: e.Event) -> None:
        todo = list(events)
        while todo:
            commands = self.machine.step(self.now_ns, todo)
            invariants.check(self.machine.desk)
            self.now_ns += NS_PER_MS
            todo = [event for command in commands for event in self._answer(command)]

    def _answer(self, command: c.Command) -> list[e.Event]:
        match command:
            case c.Append(entry=entry):
                self.offset += 1
                return [e.Read(self.offset, 100 + 200 * len(entry.facts), entry)]
            case c.SendResults(token=token, results=results):
                self.results |= {result.task: result for result in results}
                return [e.Sent(token)]
            case c.Bury(token=token):
                return [e.Sent(token)]
            case c.Lead(mark=mark):
                return [e.Arrived(Reports(mark), "mark")]
            case c.Send(orders=orders):
                self.orders.append(orders)
                for item in orders.assign:
                    self.started.append(item)
                    self.running[item.task] = Attempt(orders.epoch, item.n)
        return []

    def submit(self, tasks: list[Task]) -> None:
        self.step(e.Arrived(Submit(tasks), "delivery", "p"))

    def end(self, task: str, fate: Fate, value: bytes = b"\x01") -> None:
        """What runs comes to its end, after as long as was expected; cancelled is said of anything."""
        attempt = self.running.pop(task, None)
        if fate == "cancelled":
            self.step(e.Arrived(Control("q", "cancel", {"task": task}), "question"))
            if attempt is not None:
                self.step(e.Arrived(Notes("i", [Note(task, attempt, "stopped")])))
            return
        assert attempt is not None, f"{task} does not run"
        record = self.machine.desk.custody.live[task]
        times = {"started_ns": 1, "ended_ns": 1 + (record.task.estimate_ns or 0)}
        if fate == "done":
            report = Report(task, attempt, "done", value, **times)
        else:
            report = Report(task, attempt, "failed", error=Error("Boom", "it went boom"), retry=False, **times)
        self.step(e.Arrived(Reports("i", [report]), ("report", task)))


class Model:
    """What should become of a graph: the end of one task after the other, each telling its children."""

    def __init__(self, tasks: list[Task]) -> None:
        self.tasks = {task.id: task for task in tasks}
        self.ended: dict[str, str] = {}

    def end(self, name: str, outcome: str) -> None:
        ends = {name: outcome} if name not in self.ended else {}
        while ends:  # a level at a time: what ends a grandchild is the end of the child
            self.ended |= ends
            told = [
                (child.id, {edge.on_failure for edge in child.after if edge.task == parent})
                for parent, how in ends.items() if how != "done"
                for child in self.tasks.values()
            ]  # fmt: skip
            ends = {}
            for child, said in told:
                if child not in self.ended and said - {"continue"}:
                    ends.setdefault(child, "failed" if "fail" in said else "skipped")

    def ready(self) -> set[str]:
        return {
            name
            for name, task in self.tasks.items()
            if name not in self.ended and all(edge.task in self.ended for edge in task.after)
        }

    def ranks(self) -> dict[str, int]:
        """The longest way down from each, itself included."""
        found: dict[str, int] = {}
        for task in reversed(self.tasks.values()):  # drawn with parents first
            below = [found[one.id] for one in self.tasks.values() if any(edge.task == task.id for edge in one.after)]
            found[task.id] = (task.estimate_ns or 0) + max(below, default=0)
        return found


@st.composite
def graphs(draw: st.DrawFn) -> list[Task]:
    """Up to twelve tasks; each waits for some of those before it."""
    tasks: list[Task] = []
    for number in range(draw(st.integers(1, 12))):
        parents = draw(st.lists(st.integers(0, number - 1), max_size=3)) if number else []
        after = tuple(
            Edge(f"t{parent}", draw(st.sampled_from(["fail", "skip", "continue"])), f"x{place}")
            for place, parent in enumerate(parents)
        )
        tasks.append(Task(f"t{number}", "any.work", estimate_ns=draw(st.integers(1, 5)) * NS_PER_S, after=after))
    return tasks


@settings(max_examples=300, deadline=None)
@given(graphs(), st.integers(1, 4), st.data())
def test_a_graph_goes_as_the_model_says(tasks: list[Task], slots: int, data: st.DataObject) -> None:
    """Whatever fails or is cancelled when: who runs, in which order, how each ends, and what each child is given."""
    tasks = data.draw(st.permutations(tasks))
    run, model = Run(slots), Model(tasks)
    run.submit(tasks)
    while len(model.ended) < len(tasks):
        ready = model.ready()
        assert run.running.keys() <= ready
        assert len(run.running) == min(slots, len(ready)), "a slot is free, and something could go"
        name = data.draw(st.sampled_from(sorted(model.tasks.keys() - model.ended.keys())))
        fate = data.draw(st.sampled_from(["done", "done", "failed", "cancelled"])) if name in run.running else "cancelled"
        run.end(name, fate, name.encode())
        model.end(name, fate)
        assert {one: result.outcome for one, result in run.results.items()} == model.ended
    assert not run.machine.desk.custody.live
    for item in run.started:
        _as_the_ends_say(item, model.tasks[item.task], model.ended)


def _as_the_ends_say(item: Assignment, task: Task, ended: Mapping[str, str]) -> None:
    given = {name: parent for parent in item.parents for name in parent.into}
    for edge in task.after:
        parent = given[edge.into]
        assert parent.outcome == ended[edge.task]
        assert parent.value == (edge.task.encode() if parent.outcome == "done" else None)
    assert len({parent.task for parent in item.parents}) == len(item.parents)


@settings(max_examples=100, deadline=None)
@given(graphs())
def test_with_one_slot_the_longest_way_is_always_begun_first(tasks: list[Task]) -> None:
    """Of what is ready, the task with the longest path of expected run times below it. (One task waits for all, so that they hang
    together.)
    """
    last = Task("last", "any.work", estimate_ns=NS_PER_S, after=tuple(Edge(task.id) for task in tasks))
    tasks = [*tasks, last]
    run, model = Run(1, Config(estimates="trust")), Model(tasks)
    ranks = model.ranks()
    run.submit(tasks)
    while run.running:
        (name,) = run.running
        assert ranks[name] == max(ranks[one] for one in model.ready())
        run.end(name, "done")
        model.end(name, "done")
    assert len(model.ended) == len(tasks)


MIB = 1024 * 1024


def test_values_that_are_too_large_together_fail_the_child_and_not_the_message() -> None:
    """Four parents of a megabyte are handed on; five are not, and the child ends with a reason. No message is longer than agents
    read, however many children of large parents go to one agent in one step."""
    run = Run(20)
    big = bytes(MIB)
    four = [Task(f"a{n}", "any.work") for n in range(4)]
    children = [
        Task(f"b{n}", "any.work", big, after=tuple(Edge(task.id, into=f"x{i}") for i, task in enumerate(four))) for n in range(3)
    ]
    run.submit(
        [*four, *children, Task("e", "any.work"), Task("c", "any.work", after=(*(Edge(f"a{n}") for n in range(4)), Edge("e")))]
    )
    for task in (*four, Task("e", "any.work")):
        run.end(task.id, "done", big)
    assert sorted(run.running) == ["b0", "b1", "b2"]
    assert [[parent.value == big for parent in item.parents] for item in run.started[-3:]] == [[True] * 4] * 3
    assert max(len(encode(orders)) for orders in run.orders) <= MAX_LONG_BODY_BYTES
    refused = run.results["c"]
    assert (refused.outcome, refused.error and refused.error.kind) == ("failed", "parents_too_large")
    assert refused.error is not None
    assert "5,242,880 bytes together, 4,194,304 can be handed" in refused.error.message


def test_a_thousand_results_that_are_not_kept_still_reach_the_children() -> None:
    """What children need does not count among the results that are kept for producers who ask again."""
    run = Run(2, Config(results_bytes_max=1_000))
    run.submit([Task("a", "any.work"), Task("s", "any.work"), Task("b", "any.work", after=(Edge("a", into="x"), Edge("s")))])
    run.end("a", "done", b"precious")
    for number in range(50):
        run.submit([Task(f"t{number}", "any.work")])
        run.end(f"t{number}", "done", bytes(100))
    run.end("s", "done")
    assert run.started[-1].task == "b"
    assert run.started[-1].parents[0].value == b"precious"


def test_a_parent_that_is_needed_no_more_keeps_no_older_id_from_being_forgotten() -> None:
    """Its result was beyond the bound while a child lived, and is judged again when that is over: its id waits for its own time,
    and nobody behind it for that one's."""
    run = Run(2, Config(results_bytes_max=1_000, dedup_ns=60 * NS_PER_S, lease_ns=3_600 * NS_PER_S))

    def wait(seconds: int) -> None:
        for _ in range(seconds):
            run.now_ns += NS_PER_S
            run.step(e.TimePassed())

    run.submit([Task("older", "any.work")])
    run.end("older", "done")
    wait(50)
    run.submit([Task("a", "any.work"), Task("s", "any.work"), Task("b", "any.work", after=(Edge("a", into="x"), Edge("s")))])
    run.end("a", "done", b"precious")
    for number in range(50):
        run.submit([Task(f"t{number}", "any.work")])
        run.end(f"t{number}", "done", bytes(100))
    run.end("b", "cancelled")
    wait(15)
    yard = run.machine.desk.custody.graveyard
    assert "older" not in yard.graves
    assert {"a", "b", "t0", "t49"} <= yard.graves.keys()
    wait(60)
    assert not any((yard.graves, yard._burials, yard._kept, yard._spared, yard._unkept))


def test_what_was_over_when_it_was_read_written_again_is_not_under_way() -> None:
    """A task ends while its record is carried forward, a cancel is written again of which the task has come: both are read, and not
    waited for until the reign is over."""
    run = Run(2)
    run.submit([Task("t", "any.work")])
    record = run.machine.desk.custody.live["t"]
    carried, will = record.carried(), Asked("cancel", run.now_ns, "t")
    run.end("t", "done")
    keeping = run.machine.desk.keeping
    keeping._carrying |= {("task", "t"), ("will", "t")}
    run.offset += 1
    run.step(e.Read(run.offset, 500, Entry("somebody", 1, facts=[carried, will])))
    assert not keeping._carrying
