"""A head that fits nowhere is not passed for ever: what its reservation promises holds in every story, under every ordering."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from orchestrator.core import events as e
from orchestrator.core.answers import reasons
from orchestrator.core.config import Config
from orchestrator.core.scheduler.reserving import Reservation
from orchestrator.policies import ORDERINGS
from orchestrator.vocabulary import NS_PER_S, Attempt, Nanos
from orchestrator.wire.messages import Announce, Dependency, Handler, Held, Task
from tests.core.fleet import START_NS, Fleet

HANDLERS = [Handler("work"), Handler("other")]


class Watch:
    """Keeps every reservation that there ever was, and holds each to its bound."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.kept: dict[str, Reservation] = {}
        self.checked = 0
        fleet.looked = self.look

    def look(self) -> None:
        queue = self.fleet.machine.desk.backlog.queues.get("s")
        now_ns = self.fleet.now_ns
        present = {} if queue is None else dict(queue.reservations)
        for task, before in list(self.kept.items()):
            if present.get(task) is before:
                assert now_ns <= self.latest(before), f"{task} waits beyond the end of all that it was to wait for"
            else:
                del self.kept[task]
                self.checked += 1
        self.kept |= present

    def latest(self, reservation: Reservation) -> Nanos:
        """When the last that it waits for has ended, in truth."""
        ends = [self.end(attempt) for attempt in reservation.awaited]
        return max([reservation.made_ns, *ends])

    def end(self, attempt: Attempt) -> Nanos:
        run = self.fleet.runs[attempt]
        return run.ended_ns if run.ended_ns is not None else run.began_ns + self.fleet.lasts(run.task) - run.before_ns


def story(seed: int, ordering: str) -> tuple[Fleet, Watch, int]:
    """Tasks of all sizes come for a minute; run times are guessed well, badly, or not at all."""
    dice = Random(f"{seed} {ordering}")
    truth: dict[str, Nanos] = {}
    fleet = Fleet(truth.__getitem__, {"ordering": ordering}, Config(estimates="trust", reservations=dice.choice([1, 1, 2])))
    watch = Watch(fleet)
    for number in range(dice.choice([1, 2, 3])):
        fleet.instance(f"i{number}", HANDLERS, {"slots": dice.choice([2, 4]), "cpu": 8, "mem": dice.choice([4, 8])})
    tasks = dice.choice([30, 80])
    wrong = dice.choice([0.0, 0.5, 2.0])
    for number in range(tasks):
        name = f"t{number}"
        truth[name] = round(NS_PER_S * dice.lognormvariate(0.5, 1.0))
        need = dice.choice([{}, {}, {"cpu": 1}, {"cpu": 4, "mem": 2}, {"slots": 2}, {"cpu": 8}, {"mem": 4, "slots": 2}])
        guess = None if dice.random() < 0.2 else round(truth[name] * dice.lognormvariate(0, wrong))
        task = Task(
            name, f"s.{dice.choice(['work', 'other'])}", need=need, estimate_ns=guess, priority=dice.choice([0, 0, 1]),
            tenant=dice.choice(["", "x"]), deadline_ns=None,
        )  # fmt: skip
        fleet.at(START_NS + round(60 * NS_PER_S * dice.random()), lambda task=task: fleet.submit(task) or [])  # type: ignore[misc]
    fleet.run()
    return fleet, watch, tasks


@pytest.mark.parametrize("ordering", sorted(ORDERINGS))
def test_its_bound_holds(ordering: str) -> None:
    """Under every ordering, with several resources and estimates that are wrong: a head waits no longer than for those that it
    was to wait for, and everybody comes to an end."""
    checked = 0
    for seed in range(12):
        fleet, watch, tasks = story(seed, ordering)
        assert len(fleet.done) == tasks
        assert not fleet.machine.desk.backlog.queues["s"].reservations
        checked += watch.checked
    assert checked > 20, "there were hardly any reservations: the stories are too easy"


def endless(reservations: int, guess_s: float | None, *first: Task, prepare: Callable[[Fleet], None] | None = None) -> float | None:
    """Two slots, a stream of small tasks that never ends, of which at least one runs at any time, and a task that wants both slots.

    ``first`` come before all. Gives when that one starts, in seconds after it came; None: never.
    """
    truth = {"big": NS_PER_S} | {one.id: NS_PER_S for one in first}
    fleet = Fleet(truth.__getitem__, {"ordering": "fifo"}, Config(estimates="trust", reservations=reservations))
    if first:
        fleet.submit(*first)
    fleet.instance("a", HANDLERS, {"slots": 2})
    if prepare is not None:
        prepare(fleet)
    for number in range(400):
        name = f"s{number}"
        truth[name] = 2 * NS_PER_S
        task = Task(name, "s.work", estimate_ns=None if guess_s is None else round(guess_s * NS_PER_S))
        fleet.at(START_NS + number * NS_PER_S, lambda task=task: fleet.submit(task) or [])  # type: ignore[misc]
    came_ns = START_NS + 10 * NS_PER_S + 1
    fleet.at(came_ns, lambda: fleet.submit(Task("big", "s.other", need={"slots": 2}, estimate_ns=NS_PER_S)) or [])
    fleet.run(until_ns=START_NS + 300 * NS_PER_S)
    return (fleet.started["big"][0].began_ns - came_ns) / 1e9 if "big" in fleet.started else None


def test_small_ones_do_not_pass_a_large_one_for_ever() -> None:
    """It starts when those that ran when it came have ended, whatever is known of run times; without reservations it never does."""
    for guess_s in (2.0, 0.5, None):
        waited = endless(1, guess_s)
        assert waited is not None
        assert waited <= 4.0
    assert endless(0, 2.0) is None


def lacks(fleet: Fleet) -> None:
    """The only one with a gpu needs a service that is not there."""
    needs = [Dependency("gone", at="dispatch")]
    fleet.step(e.Arrived(Announce("g", "g", "s", HANDLERS, {"slots": 2, "gpu": 1}, depends_on=needs)))
    fleet.step(e.Arrived(Held("g", 1, fleet.machine.desk.epoch, 1)))


@pytest.mark.parametrize(
    ("first", "prepare"),
    [
        ([Task("a", "s.work", need={"gpu": 1})], None),
        ([Task(f"a{n}", "s.work", need={"slots": 3 + n}) for n in range(20)], None),
        ([Task("a", "s.nowhere")], None),
        ([Task("a", "s.work", need={"gpu": 1})], lacks),
    ],
)
def test_who_can_run_nowhere_keeps_nothing_from_those_behind(first: list[Task], prepare: Callable[[Fleet], None] | None) -> None:
    """Before the large one tasks wait that nobody would take, whatever ends: it gets its place all the same."""
    waited = endless(1, 2.0, *first, prepare=prepare)
    assert waited is not None
    assert waited <= 4.0


def test_who_could_run_nowhere_is_first_again_when_somebody_comes() -> None:
    """An instance grows, or one comes that is large enough, or what it needs is there at last: the place is kept for the first."""

    def grows(fleet: Fleet) -> None:
        fleet.step(e.Arrived(Announce("a", "a", "s", HANDLERS, {"slots": 3})))

    def comes(fleet: Fleet) -> None:
        fleet.submit(Task("fill", "s.other", priority=9))
        fleet.instance("b", HANDLERS, {"slots": 3})

    def is_there(fleet: Fleet) -> None:
        fleet.step(e.Arrived(Announce("n", "n", "gone", HANDLERS, {"slots": 1})))
        fleet.step(e.Arrived(Held("n", 1, fleet.machine.desk.epoch, 1)))

    for change in (grows, comes, is_there):
        fleet = Fleet(lambda name: 1000 * NS_PER_S, {"ordering": "priority"}, Config(estimates="trust"))
        fleet.submit(Task("huge", "s.work", need={"slots": 3}), Task("pair", "s.work", need={"slots": 2}))
        fleet.instance("a", HANDLERS, {"slots": 2})
        if change is is_there:
            needs = [Dependency("gone", at="dispatch")]
            fleet.step(e.Arrived(Announce("b", "b", "s", HANDLERS, {"slots": 3}, depends_on=needs)))
            fleet.step(e.Arrived(Held("b", 1, fleet.machine.desk.epoch, 1)))
        assert "pair" in fleet.started
        fleet.submit(Task("next", "s.work", need={"slots": 2}), Task("small", "s.work", need={"slots": 0.5}))
        queue = fleet.machine.desk.backlog.queues["s"]
        assert not fleet.started.get("huge")
        change(fleet)
        fleet.submit(Task("late", "s.work", need={"slots": 0.25}))
        assert "huge" in fleet.started or list(queue.reservations) == ["huge"]


def test_two_gangs_that_each_want_everything_both_finish() -> None:
    """All or nothing: neither holds half and waits for the other; small ones that come meanwhile finish too."""
    truth = {"one": 5 * NS_PER_S, "two": 5 * NS_PER_S} | {f"s{n}": NS_PER_S for n in range(20)}
    fleet = Fleet(truth.__getitem__, {"ordering": "priority"})
    fleet.instance("a", HANDLERS, {"slots": 8})
    fleet.submit(*(Task(f"s{n}", "s.work") for n in range(10)))
    fleet.submit(Task("one", "s.other", need={"slots": 8}), Task("two", "s.work", need={"slots": 8}))
    fleet.submit(*(Task(f"s{n}", "s.work") for n in range(10, 20)))
    fleet.run()
    assert set(fleet.done) == set(truth)
    first, second = sorted(fleet.started[name][0].began_ns for name in ("one", "two"))
    assert second - first >= 5 * NS_PER_S
    assert second - START_NS <= 20 * NS_PER_S


def test_what_fits_beside_or_is_over_in_time_goes_on() -> None:
    """A reservation idles as little as it can: the short one is let in, the long one is not, nor one of unknown length before
    something like it was seen; one that takes nothing that is needed starts at any time."""
    spans = {"runs": 10, "big": 1, "short": 3, "long": 30, "odd": 1, "cpu": 60}
    truth = {name: span * NS_PER_S for name, span in spans.items()}
    fleet = Fleet(truth.__getitem__, {"ordering": "fifo"})
    fleet.instance("a", HANDLERS, {"slots": 4, "gpu": 2, "cpu": 16})

    def task(name: str, **need: float) -> Task:
        return Task(name, "s.work", need=dict(need), estimate_ns=None if name == "odd" else truth[name])

    fleet.submit(task("runs", gpu=1))
    fleet.submit(task("big", gpu=2))
    fleet.submit(task("long", gpu=1), task("odd", gpu=1, cpu=1))
    reason = reasons.why(fleet.machine.desk, fleet.now_ns, "big")
    assert reason is not None
    assert reason["reason"].endswith("reserved on a from 00:16:50 UTC (in 10 s)")
    for held_back in ("long", "odd"):
        reason = reasons.why(fleet.machine.desk, fleet.now_ns, held_back)
        assert reason is not None
        assert reason["refusals"] == [{"instance": "a", "reason": "held back: it would delay big, which is reserved there"}]
    fleet.submit(task("short", gpu=1, cpu=2), task("cpu", cpu=8))
    assert set(fleet.started) == {"runs", "short", "cpu"}
    fleet.run()
    began = {name: (runs[0].began_ns - START_NS) // NS_PER_S for name, runs in fleet.started.items()}
    assert began == {"runs": 0, "short": 0, "cpu": 0, "odd": 3, "big": 10, "long": 11}


def test_a_more_urgent_one_takes_the_reservation_over() -> None:
    """Who goes before is not held back, and if it fits nowhere either the instance is kept for it."""
    spans = {"runs": 10, "big": 1, "urgent": 1, "more": 1, "small": 20, "late": 1}
    truth = {name: span * NS_PER_S for name, span in spans.items()}
    fleet = Fleet(truth.__getitem__, {"ordering": "priority"})
    fleet.instance("a", HANDLERS, {"slots": 4})

    def task(name: str, slots: float, priority: int = 0) -> Task:
        return Task(name, "s.work", need={"slots": slots}, estimate_ns=truth[name], priority=priority)

    fleet.submit(task("runs", 2))
    fleet.submit(task("big", 3))
    fleet.submit(task("small", 1))
    queue = fleet.machine.desk.backlog.queues["s"]
    assert list(queue.reservations) == ["big"]
    assert "small" in fleet.started, "there is room beside"
    fleet.submit(task("urgent", 1, priority=9))
    assert "urgent" in fleet.started
    fleet.submit(task("more", 4, priority=9))
    fleet.submit(Task("late", "s.other", estimate_ns=60 * NS_PER_S))
    fleet.run(until_ns=START_NS + 2 * NS_PER_S)
    assert list(queue.reservations) == ["more"]
    assert "late" not in fleet.started
    fleet.run()
    began = {name: (runs[0].began_ns - START_NS) // NS_PER_S for name, runs in fleet.started.items()}
    assert began == {"runs": 0, "small": 0, "urgent": 0, "big": 10, "more": 20, "late": 21}, "big is over in time"


def test_nobody_waits_for_a_place_that_waits_for_them() -> None:
    """Who says how long it runs stands in its lane by what was expected when it came. When the place is kept for the first, less is
    expected of it than then; so the second, which comes later, stands before it, though behind what is kept for it.
    """
    spans = {f"w{n}": (1.0, 9.0)[n % 2] for n in range(10)} | {"small": 20.0, "behind": 1.0}
    spans |= dict.fromkeys(("x0", "x1", "x2", "first", "second"), 3.0)
    fleet = Fleet({name: round(span * NS_PER_S) for name, span in spans.items()}.__getitem__, {"ordering": "srtf"}, Config())
    fleet.instance("a", HANDLERS, {"slots": 2})

    def later(after_s: float, *tasks: Task) -> None:
        fleet.at(START_NS + round(after_s * NS_PER_S), lambda: fleet.submit(*tasks) or [])  # type: ignore[func-returns-value]

    def large(name: str, tenant: str, says_s: int | None) -> Task:
        return Task(name, "s.work", need={"slots": 2}, tenant=tenant, estimate_ns=None if says_s is None else says_s * NS_PER_S)

    fleet.submit(*(large(f"w{n}", "boasts", None) for n in range(10)))
    later(60, *(large(name, "boasts", 30_000) for name in ("x0", "x1", "x2", "first")))
    later(67, Task("small", "s.other", estimate_ns=20 * NS_PER_S))
    later(70, Task("behind", "s.other", tenant="late", estimate_ns=90_000 * NS_PER_S))
    later(71, large("second", "other", 18_000))
    fleet.run(until_ns=START_NS + 72 * NS_PER_S)
    assert list(fleet.machine.desk.backlog.queues["s"].reservations) == ["second"]
    fleet.run()
    began = {name: (fleet.started[name][0].began_ns - START_NS) / 1e9 for name in fleet.done}
    assert [began[name] for name in ("small", "second", "first", "behind")] == [69.0, 89.0, 92.0, 95.0]
