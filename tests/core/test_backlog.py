"""The backlog against the simplest thing that could be right: a list, sorted anew for every question."""

from __future__ import annotations

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from orchestrator.core.config import Config
from orchestrator.core.custody import leadership
from orchestrator.core.custody.records import Record
from orchestrator.core.desk import Desk
from orchestrator.core.estimates.estimates import Estimates
from orchestrator.core.registry.registry import Instance
from orchestrator.core.resources.limits import Limits, spec_of
from orchestrator.core.resources.meters import Meter
from orchestrator.core.scheduler.accounts import Bill
from orchestrator.core.scheduler.backlog import Backlog
from orchestrator.core.scheduler.lanes import DemandClass, Lane
from orchestrator.core.scheduler.queues import Queue
from orchestrator.policies import ORDERINGS
from orchestrator.wire.messages import Task

TYPES = ("s.fast", "s.slow")
NEEDS: tuple[dict[str, float], ...] = ({}, {"cpu": 2.0}, {"slots": 0.5})


class BacklogStory(RuleBasedStateMachine):
    """Tasks enter and leave, are set aside and taken back, classes are blocked: the next one is always the first that may go."""

    def __init__(self) -> None:
        super().__init__()
        self.ordering = ORDERINGS["priority"]
        self.backlog = Backlog(lambda service: self.ordering, Estimates())
        self.queue = self.backlog.queue("s")
        self.waiting: dict[str, Record] = {}
        self.aside: set[str] = set()
        self.blocked: set[tuple[str, str]] = set()
        self.count = 0
        self.bills: list[Bill] = []

    @staticmethod
    def name(record: Record) -> tuple[str, str]:
        return record.task.type, repr(record.task.need)

    def first(self, going: list[Record]) -> Record:
        """Of each tenant in each class the first by its key; of these the first by its rank."""
        lanes: dict[tuple[tuple[str, str], str], list[Record]] = {}
        for record in going:
            lanes.setdefault((self.name(record), record.task.tenant if self.ordering.by_tenant else ""), []).append(record)
        firsts = [min(lane, key=lambda one: (self.backlog.key(one), one.standing)) for lane in lanes.values()]

        def rank(one: Record) -> tuple[float, tuple[int, ...]]:
            key = self.backlog.key(one)
            return (self.queue.accounts.of(one.task.tenant).rank(key) if self.ordering.by_tenant else key), one.standing

        return min(firsts, key=rank)

    @rule(
        type_=st.sampled_from(TYPES), need=st.sampled_from(NEEDS), priority=st.integers(0, 2), aside=st.booleans(),
        tenant=st.sampled_from(["", "a", "b"]),
    )  # fmt: skip
    def add(self, type_: str, need: dict[str, float], priority: int, aside: bool, tenant: str) -> None:
        self.count += 1
        task = Task(f"t{self.count}", type_, need=dict(need), tenant=tenant)
        record = Record(task, self.count // 2, self.count % 2, self.count, 0)
        record.priority = priority
        self.backlog.add(record, aside=aside)
        self.waiting[record.id] = record
        if aside:
            self.aside.add(record.id)

    @rule(
        some=st.lists(
            st.tuples(st.sampled_from(TYPES), st.sampled_from(NEEDS), st.integers(0, 1), st.sampled_from(["", "a"])),
            min_size=1, max_size=6,
        )
    )  # fmt: skip
    def add_together(self, some: list[tuple[str, dict[str, float], int, str]]) -> None:
        """Accepted in one fact: what is alike is looked up once, and stands where it would stand by itself."""
        self.count += 2
        accepted = self.count // 2
        records = []
        for index, (type_, need, priority, tenant) in enumerate(some):
            task = Task(f"t{self.count}.{index}", type_, need=dict(need), tenant=tenant)
            records.append(Record(task, accepted, index, self.count, 0, priority=priority))
        self.queue.add_all(records)
        self.waiting |= {record.id: record for record in records}

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        self.gone(self.waiting[data.draw(st.sampled_from(sorted(self.waiting)))])

    def gone(self, record: Record) -> None:
        self.backlog.remove(record)
        del self.waiting[record.id]
        self.aside.discard(record.id)
        if not any(self.name(other) == self.name(record) for other in self.going()):
            self.blocked.discard(self.name(record))  # a class that is empty is forgotten, and with it that it was blocked

    def going(self) -> list[Record]:
        return [record for record in self.waiting.values() if record.id not in self.aside]

    @precondition(lambda self: self.ordering.by_tenant)
    @rule(tenant=st.sampled_from(["", "a", "b"]), share=st.sampled_from([0.1, 0.5]), seconds=st.integers(1, 100))
    def charge(self, tenant: str, share: float, seconds: int) -> None:
        self.bills.append(self.queue.accounts.charge(tenant, share, seconds * 10**9, 0))

    @precondition(lambda self: self.bills)
    @rule(seconds=st.integers(0, 200))
    def settle(self, seconds: int) -> None:
        self.queue.accounts.settle(self.bills.pop(), seconds * 10**9)

    @rule()
    def set_aside(self) -> None:
        self.queue.set_aside()
        self.aside = set(self.waiting)
        self.blocked.clear()

    @rule()
    def take_back(self) -> None:
        self.queue.take_back()
        self.blocked -= {self.name(self.waiting[one]) for one in self.aside}
        self.aside.clear()

    @rule()
    def take_or_block_the_best(self) -> None:
        group = self.queue.best()
        if group is not None:
            head = group.head()
            assert head is not None
            if self.count % 2:
                self.gone(head.record)
            else:
                self.queue.block(group)
                self.blocked.add(self.name(head.record))

    @rule()
    def unblock(self) -> None:
        for group in self.queue.blocked():
            self.queue.unblock(group)
        self.blocked.clear()

    @rule(name=st.sampled_from(sorted(ORDERINGS)))
    def reorder(self, name: str) -> None:
        if self.ordering != ORDERINGS[name]:
            self.ordering = ORDERINGS[name]
            self.blocked.clear()  # everything may try again
        self.backlog.order_anew()

    @invariant()
    def the_next_is_the_first_that_may_go(self) -> None:
        group = self.queue.best()
        going = [record for record in self.going() if self.name(record) not in self.blocked]
        if group is None:
            assert not going
        else:
            head = group.head()
            assert head is not None
            assert head.record is self.first(going)

    @invariant()
    def nobody_is_counted_twice(self) -> None:
        assert self.queue.size == len(self.backlog) == len(self.waiting)
        assert {record.id for record in self.queue.records()} == set(self.waiting)


BacklogStory.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None, derandomize=True)
TestBacklogStory = BacklogStory.TestCase


def test_an_entry_that_moved_between_classes_does_not_tie_with_itself() -> None:
    """Two tasks are set aside, a third of their class comes, they come back: it has stood under both classes then."""
    backlog = Backlog(lambda service: ORDERINGS["fifo"], Estimates())
    queue = backlog.queue("s")
    records = [Record(Task(f"t{n}", "s.fast"), n, 0, n, 0) for n in range(4)]
    for record in records[:2]:
        backlog.add(record)
    queue.set_aside()
    backlog.add(records[2])
    queue.take_back()
    for record in records[:2]:
        backlog.remove(record)
    group = queue.best()
    assert group is not None
    assert [entry.record for entry in (group.head(),) if entry] == records[2:3]


def test_one_fence_of_several_that_is_over_moves_nobody() -> None:
    """Who must never overlap waits for all of them, and keeps its place meanwhile."""
    desk = Desk("c", Config(), Random(0))
    desk.phase, desk.claim = "leading", 5
    pool, queue = desk.registry.pool("s"), desk.backlog.queue("s")
    pool.fenced |= {"a": None, "b": None}
    record = Record(Task("t", "s.h", overlap="never"), 0, 0, 0, 0)
    queue.add(record, aside=True)
    ticket = record.ticket
    leadership.answered(desk, Instance("a", "a", "s"))
    assert (record.ticket, list(queue.aside.values()), queue.size) == (ticket, [record.place and record.place.group], 1)
    leadership.answered(desk, Instance("b", "b", "s"))
    assert (list(queue.classes.values()), len(queue.aside)) == ([record.place and record.place.group], 0)


def all_held_back() -> tuple[Queue, DemandClass, Lane]:
    """A queue, and a class of it that fitted nowhere, until a limit held back all of it."""
    backlog = Backlog(lambda service: ORDERINGS["fifo"], Estimates())
    backlog.limit_by(Limits({"few": spec_of("few", {"on": "s.fast", "at_once": 1, "key": "tenant"})}))
    queue = backlog.queue("s")
    record = Record(Task("t", "s.fast"), 0, 0, 0, 0)
    backlog.add(record)
    group, lane = queue.best(), record.place
    assert group is not None
    assert lane is not None
    queue.block(group)
    meter = Meter(next(iter(backlog.limits)), "", 1, 0, lambda one: None)
    queue.hold(lane, meter, meter.hold(lane, 0))
    assert queue.best() is None
    return queue, group, lane


def test_a_lane_that_a_limit_lets_go_on_wakes_its_class() -> None:
    """All of a class was held back by a limit while the place that it was blocked for was kept for another, and came free: nobody
    could be told. When the limit lets the lane go on, the class tries again."""
    queue, group, lane = all_held_back()
    queue.release(lane)
    assert queue.best() is group


def test_a_class_without_a_head_is_not_left_out() -> None:
    """Nobody of it could be kept out of a place, so nobody would be told when that is free: whoever comes with a limit of his own
    tries, and so it is when all that was not held back has left."""
    queue, group, _ = all_held_back()
    assert queue.blocked() == []
    other = Record(Task("o", "s.fast", tenant="other"), 1, 0, 1, 0)
    queue.add(other)
    assert queue.best() is group
    queue.block(group)
    queue.remove(other)
    assert queue.blocked() == []
    queue.add(other)
    assert queue.best() is group


def test_whose_place_in_the_order_moves_is_told() -> None:
    """Something else is expected of a kind that waits: its service is to be looked at, for its first may go before others now."""
    estimates = Estimates()
    backlog = Backlog(lambda service: ORDERINGS["sjf"], estimates)
    backlog.add(Record(Task("t", "s.fast"), 0, 0, 0, 0))
    for n in range(8):
        estimates.learn(Task(f"a{n}", "s.fast"), 1_000_000)
    told: list[str] = []
    backlog.note_moves(told.append)
    assert "s" in told
