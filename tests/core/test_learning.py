"""What ends teaches: read from the ledger by leader and standby alike, and those who wait are ordered anew."""

from __future__ import annotations

from itertools import count
from random import Random

import pytest

from orchestrator.core import coordinator as module
from orchestrator.core.answers.ahead import ahead
from orchestrator.core.coordinator import Coordinator
from orchestrator.core.events import Event, Read, SessionOpened, TimePassed
from orchestrator.vocabulary import NS_PER_S, Attempt
from orchestrator.wire.facts import Accepted, AnyFact, Ended, Entry, Failed
from orchestrator.wire.messages import Error, Task
from tests.core.floor import Floor


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
    """Each says something of its own: a step does a bounded part; in the end the order is that of the keys."""
    monkeypatch.setattr(module, "RENEWED_MAX", 5)
    reader = Reader(ordering=ordering)
    types = ["s.slow", "s.fast"]
    tasks = [Task(f"t{n}", types[n % 2], need={"cpu": 1.0 + n % 3}, estimate_ns=10**9 * (1 + n % 7)) for n in range(400)]
    reader.read(Accepted(tasks, 1))
    for n in range(5):
        reader.ran(Task(f"a{n}", "s.slow"), 60)
        reader.ran(Task(f"b{n}", "s.fast"), 0.5)
    assert reader.rest() >= 3
    backlog = reader.machine.desk.backlog
    records = list(backlog.queues["s"].records())
    assert sorted(one.id for one in records) == sorted(task.id for task in tasks)
    assert reader.order() == [one.id for one in sorted(records, key=lambda one: (backlog.key(one), one.standing))]


@pytest.mark.parametrize("ordering", ["sjf", "srtf", "dps", "dps:share=0"])
def test_what_all_of_a_kind_share_moves_them_at_once(ordering: str) -> None:
    """Kinds without words of their own, known and not yet known: no task is touched, and the order is that of the keys at once."""
    reader = Reader(ordering=ordering)
    types = ["s.slow", "s.fast"]
    tasks = [
        Task(f"t{n}", types[n % 2], need={"cpu": 1.0 + n % 3}, size=float(1 + n % 7), tenant=f"u{n % 5}", priority=n % 4)
        for n in range(400)
    ]
    reader.read(Accepted(tasks, 1))
    backlog = reader.machine.desk.backlog
    for n in range(40):
        reader.ran(Task(f"a{n}", "s.slow", size=2.0 + n % 2, need={"cpu": 1.0 + n % 3}, tenant="u1"), 1.0 + n % 3)
        reader.ran(Task(f"b{n}", "s.fast"), 0.6)
        reader.rest()
    keys = {one.id: backlog.key(one) for one in backlog.queues["s"].records()}
    order = reader.order()
    assert sorted(order) == sorted(task.id for task in tasks)
    most, ageing_ns = float("-inf"), 100 * reader.machine.desk.estimates.typical_ns("s")
    for name in order:
        assert keys[name] >= most - 0.4 * ageing_ns, "it stands behind others by more than estimates may be off before they move"
        most = max(most, keys[name])


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
    quick, slow = ([each.speeds.speed("s.h", name) for each in (one, other)] for name in ("quick", "slow"))
    assert quick[0] == quick[1] > 1.5 > 0.7 > slow[0] == slow[1]


def test_fastest_learns_which_instances_are_fast() -> None:
    """Four of eight run at a quarter of the speed, and nobody says so: at half load the fast ones get nearly all in the end."""
    speeds = {f"i{n}": 1.0 if n % 2 else 0.25 for n in range(8)}
    dice = Random(1)
    floor = Floor(lambda task, where: dice.expovariate(1.0) / speeds[where], placement="fastest")
    for name in speeds:
        floor.instance(name, slots=2.0)
    for n in range(2_000):
        floor.submit(Task(f"t{n}", "s.h"))
        floor.run(n / 4)
    late = [where for _, where, _ in floor.started[1_000:]]
    assert sum(speeds[where] == 1.0 for where in late) > 0.9 * len(late)
    learned = {name: floor.machine.desk.estimates.speeds.speed("s.h", name) for name in speeds}
    assert min(learned[f"i{n}"] for n in (1, 3, 5, 7)) > max(learned[f"i{n}"] for n in (0, 2, 4, 6))


@pytest.mark.parametrize("ordering", ["fifo", "sjf", "srtf", "dps", "edf", "fair"])
def test_how_many_go_before_is_told_by_what_is_expected_now(ordering: str) -> None:
    """For every task as many as stand before it in the order, after what was learned has moved it."""
    reader = Reader(ordering=ordering)
    reader.read(Accepted([Task(f"t{n}", ["s.slow", "s.fast"][n % 2], need={"cpu": 1.0 + n % 2}) for n in range(60)], 1))
    for n in range(5):
        reader.ran(Task(f"a{n}", "s.slow"), 60)
        reader.ran(Task(f"b{n}", "s.fast"), 0.5)
    reader.rest()
    desk = reader.machine.desk
    told = {}
    for record in desk.backlog.queues["s"].records():
        found = ahead(desk, record)
        assert found is not None
        told[record.id] = found.number
    assert [told[name] for name in reader.order()] == list(range(60))
