"""What ends teaches: read from the ledger by leader and standby alike, and those who wait are ordered anew."""

from __future__ import annotations

from itertools import count

import pytest

from orchestrator.core import coordinator as module
from orchestrator.core.coordinator import Coordinator
from orchestrator.core.events import Event, Read, SessionOpened, TimePassed
from orchestrator.vocabulary import NS_PER_S, Attempt
from orchestrator.wire.facts import Accepted, AnyFact, Ended, Entry, Failed
from orchestrator.wire.messages import Error, Task


class Reader:
    """A coordinator that reads what another one writes."""

    def __init__(self, **policies: str) -> None:
        self.machine = Coordinator("c", policies=policies)
        self.offsets = count()
        self.now_ns = 1_000 * NS_PER_S
        self.attempts = count(1)
        self.step(SessionOpened("n"))

    def step(self, event: Event) -> None:
        self.machine.step(self.now_ns, [event])

    def read(self, *facts: AnyFact) -> None:
        self.step(Read(next(self.offsets), 1000, Entry("another", 1, facts=list(facts))))

    def ran(self, task: Task, run_s: float, instance: str = "i") -> None:
        """The task is accepted and done after so long."""
        started_ns = self.now_ns
        attempt = Attempt(1, next(self.attempts))
        ended_ns = started_ns + round(run_s * NS_PER_S)
        ended = Ended(task.id, "done", ended_ns, attempt, instance=instance, started_ns=started_ns)
        self.read(Accepted([task], self.now_ns), ended)

    def order(self, service: str = "s") -> list[str]:
        """Those who wait, in their order."""
        queue = self.machine.desk.backlog.queues[service]
        found = []
        while (group := queue.best()) is not None:
            head = group.head()
            assert head is not None
            found.append(head.record)
            self.machine.desk.backlog.remove(head.record)
        for record in found:
            self.machine.desk.backlog.add(record)
        return [record.id for record in found]

    def rest(self) -> int:
        """Step until nothing is left to be done at once; gives how many steps it took."""
        steps = 0
        while self.machine.desk.renewing:
            self.step(TimePassed())
            steps += 1
        return steps


def test_those_who_wait_are_ordered_by_what_has_been_learned_since() -> None:
    """Two types wait in the order in which they came; then some of each end, and the quicker one goes first."""
    reader = Reader(ordering="sjf")
    reader.read(Accepted([Task(f"slow{n}", "s.slow") for n in range(3)] + [Task(f"fast{n}", "s.fast") for n in range(3)], 1))
    assert reader.order()[:3] == ["slow0", "slow1", "slow2"]
    for n in range(5):
        reader.ran(Task(f"a{n}", "s.slow"), 60)
        reader.ran(Task(f"b{n}", "s.fast"), 0.5)
    reader.rest()
    assert reader.order() == ["fast0", "fast1", "fast2", "slow0", "slow1", "slow2"]


@pytest.mark.parametrize("ordering", ["sjf", "srtf", "dps", "dps:share=0"])
def test_many_are_placed_anew_a_few_each_step_and_none_is_lost(ordering: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many wait, a step does a bounded part; in the end the order is that of the keys."""
    monkeypatch.setattr(module, "RENEWED_MAX", 50)
    reader = Reader(ordering=ordering)
    tasks = [Task(f"t{n}", ["s.slow", "s.fast"][n % 2], need={"cpu": 1.0 + n % 3}, size=float(1 + n % 7)) for n in range(400)]
    reader.read(Accepted(tasks, 1))
    for n in range(5):
        reader.ran(Task(f"a{n}", "s.slow"), 60)
        reader.ran(Task(f"b{n}", "s.fast"), 0.5)
    assert reader.rest() >= 3
    backlog = reader.machine.desk.backlog
    records = list(backlog.queues["s"].records())
    assert sorted(one.id for one in records) == sorted(task.id for task in tasks)
    assert reader.order() == [one.id for one in sorted(records, key=lambda one: (backlog.key(one), one.standing))]


def test_orderings_that_do_not_look_at_run_times_are_left_alone() -> None:
    """Under priority nobody is moved by what is learned."""
    reader = Reader()
    reader.read(Accepted([Task("t", "s.slow")], 1))
    for n in range(5):
        reader.ran(Task(f"a{n}", "s.slow"), 60)
        assert not reader.machine.desk.renewing


def test_a_standby_expects_what_its_leader_expects() -> None:
    """Everything comes from facts: of done attempts how long they ran and where, of failed ones that they ran at least so long."""
    readers = [Reader(), Reader(ordering="sjf")]
    for reader in readers:
        for n in range(20):
            reader.ran(Task(f"a{n}", "s.h"), 4, "quick")
            reader.ran(Task(f"b{n}", "s.h"), 16, "slow")
        for n in range(40):
            cut = Failed(f"c{n}", Attempt(2, n), "timeout", Error("timeout", ""), 2, "slow", 5, ran_ns=100 * NS_PER_S)
            reader.read(Accepted([Task(f"c{n}", "s.h")], 1), cut)
    one, other = (reader.machine.desk.estimates for reader in readers)
    assert one.of_type("s.h") == other.of_type("s.h")
    found = one.of_type("s.h")
    assert found is not None
    assert found.mean_ns > 30 * NS_PER_S, "what timed out after 100 s would have run longer than that"
    assert one.speed("quick") == other.speed("quick") > 1.5 > 0.7 > one.speed("slow") == other.speed("slow")
