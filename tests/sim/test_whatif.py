"""What-if worlds: small enough to know what must come of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from orchestrator.policies import BUILT_IN
from orchestrator.policies.by_size import ShortestFirst
from orchestrator.sim.whatif import asking, laws
from orchestrator.sim.whatif.asking import ask, ask_all
from orchestrator.sim.whatif.fleet import BadFleet, Fleet
from orchestrator.sim.whatif.question import Question
from orchestrator.sim.whatif.suggesting import capacity_for, instances_for
from orchestrator.traces import TraceTask, capped, load_of
from orchestrator.traces.synthetic import synthetic
from orchestrator.vocabulary import NS_PER_MS, NS_PER_S
from tests.sim.asked import ONE, ran, times, trace

ROOT = Path(__file__).parents[2]


def test_two_slots_serve_three_tasks() -> None:
    """The third waits for the first that ends."""
    books = ran(trace((0, 5), (1, 2), (1, 4)), Fleet(1, {"slots": 2.0}))
    assert times(books) == {"t0": (0, 5), "t1": (1, 3), "t2": (3, 7)}
    assert books.outcomes == {"done": 3}


def test_a_task_that_takes_no_time_is_served_all_the_same() -> None:
    """It starts and ends in one moment, in its turn."""
    assert times(ran(trace((0, 2), (1, 0), (1, 1)))) == {"t0": (0, 2), "t1": (2, 2), "t2": (2, 3)}


def test_everything_of_one_moment_is_known_before_anything_is_decided_in_it() -> None:
    """A slot gets free in the very moment in which a shorter task comes: that one goes first."""
    assert times(ran(trace((0, 3), (1, 2), (3, 1)), ordering="sjf:ageing=off"))["t2"] == (3, 4)


def test_a_slow_machine_takes_longer() -> None:
    """At a quarter of the speed, four times as long; work is conserved all the same."""
    books = ran(trace((0, 2), (0, 2)), Fleet(2, {"slots": 1.0}, speeds=(1.0, 0.25)), policies={"placement": "round_robin"})
    assert sorted(times(books).values()) == [(0, 2), (0, 8)]
    laws.check(books, 0)


def test_demands_are_met_by_machines_that_have_room() -> None:
    """Two of three cpus each: one at a time on a machine with three, whatever its slots; a small one fits beside."""
    need = {"cpu": 2.0}
    asked = trace(TraceTask("a", 0, 4, need=need), TraceTask("b", 0, 4, need=need), TraceTask("c", 1, 2, need={"cpu": 1.0}))
    assert times(ran(asked, Fleet(1, {"cpu": 3.0}))) == {"a": (0, 4), "b": (4, 8), "c": (1, 3)}


def test_each_service_has_its_own_machines() -> None:
    """A trace of several services: as many instances of each."""
    books = ran(trace(TraceTask("a", 0, 4, type="thumbs.resize"), TraceTask("b", 0, 4, type="mail.send")))
    assert times(books) == {"a": (0, 4), "b": (0, 4)}


def test_every_word_takes_the_delay() -> None:
    """Submission and order: two ways before the start; report and next order: two more between a task and the next."""
    books = ran(trace((0, 1), (0, 1)), delay_ns=10 * NS_PER_MS)
    (first, done), (second, _) = times(books).values()
    assert first == pytest.approx(0.020)
    assert second - done == pytest.approx(0.020)
    assert laws.check(books, 10 * NS_PER_MS)["little_error"] < 0.05


def test_submissions_under_way_together_all_arrive() -> None:
    """One is taken in while another is still on its way: that one is not forgotten."""
    starts = [start for start, _ in times(ran(trace((0, 1), (0.005, 1), (0.012, 1)), delay_ns=10 * NS_PER_MS)).values()]
    assert len(starts) == 3
    assert starts[0] == pytest.approx(0.020)


def test_a_machine_that_fails_loses_what_it_does_and_comes_back_as_another() -> None:
    """The task is tried again; three losses end it. Books stay true: what was lost is told as waste."""
    asked = synthetic("s", 300, "poisson", "exp", 1.0, Random(11))
    books = ran(asked, Fleet(4, {"slots": 1.0}, mttf_s=30.0, mttr_s=5.0), seed=3)
    assert books.failures > 10
    assert books.losses > 5
    assert books.outcomes["done"] + books.outcomes.get("failed", 0) == 300
    assert laws.check(books, 0)["wasted_s"] > 0


def test_littles_law_and_the_conservation_of_work_hold_to_the_nanosecond() -> None:
    """On every run they are checked; here, that they are exact."""
    asked = synthetic("s", 500, "mmpp", "lognormal:3", 1.0, Random(11))
    told = laws.check(ran(asked, Fleet(2, {"slots": 1.0}), "sjf"), 0)
    assert told == {"little_error": 0.0, "wasted_s": 0.0, "idle_while_waiting_s": 0.0}


def test_books_that_do_not_add_up_are_noticed() -> None:
    """A run that was written down wrongly is refused."""
    books = ran(trace((0, 2), (0, 2)))
    books.present_ns += 5
    with pytest.raises(laws.LawBroken, match="Little"):
        laws.check(books, 0)
    books.present_ns -= 5
    books.work_ns += 1
    with pytest.raises(laws.LawBroken, match="work is not conserved"):
        laws.check(books, 0)


def test_a_small_backlog_at_the_end_is_no_overload_and_a_large_one_is_told() -> None:
    """Means of a fleet that is too small depend on how long one looks."""
    asked = synthetic("s", 1000, "poisson", "exp", 1.0, Random(11))
    assert not ask(asked, Fleet(2, {"slots": 1.0}), Question({"ordering": "fifo"})).figures["growing"]
    small = ask(asked, Fleet(1, {"slots": 1.0}, speeds=(0.5,)), Question({"ordering": "sjf"})).figures
    assert small["growing"]
    assert small["backlog_end"] > 300


def test_passing_beyond_the_bound_counts_as_starving(monkeypatch: pytest.MonkeyPatch) -> None:
    """With ageing a long task is overtaken for so long and no longer. A run that overtakes for longer is seen."""
    asked = trace((0, 1), (0, 20), *((0.5 + at, 1.0) for at in range(100)))
    assert ran(asked, ordering="sjf:ageing=5s").starved == 0
    promise = BUILT_IN.build("ordering", "sjf:ageing=5s").horizon_ns
    monkeypatch.setattr(ShortestFirst, "horizon_ns", lambda _, task, extremes: promise(task, extremes))
    assert ran(asked, ordering="sjf:ageing=5s").starved == 0
    assert ran(asked, ordering="sjf:ageing=off").starved == 1


def test_estimates_may_be_wrong() -> None:
    """Shortest first by what it is told: with a large error it is nearer to chance, and the seed says how wrong."""
    asked = synthetic("s", 2000, "poisson", "bpareto:1,100,1.5", None, Random(11))
    fleet, told = Fleet(3, {"slots": 1.0}), {}
    for error in (0.0, 3.0):
        question = Question({"ordering": "sjf:ageing=off"}, estimate_error=error)
        told[error] = ask(asked, fleet, question).figures["response_s_mean"]
    assert told[3.0] > told[0.0] * 1.05


def test_the_same_seed_gives_the_same_bytes_under_two_hash_seeds() -> None:
    """Failures, ties, dice, several types and tenants: nothing is born from hashing."""
    program = """
import json
from random import Random
from orchestrator.sim.whatif.asking import ask
from orchestrator.sim.whatif.fleet import Fleet
from orchestrator.sim.whatif.question import Question
from orchestrator.traces import TraceTask, trace_of
dice = Random(5)
tasks = [TraceTask(f"t{n}", n / 3, dice.expovariate(1.0), f"trace.h{n % 7}", {"cpu": 1.0 + n % 3}, f"u{n % 5}") for n in range(400)]
for ordering in ("dps", "priority", "sjf"):
    question = Question({"ordering": ordering, "placement": "random"}, estimate_error=0.5, seed=9)
    answer = ask(trace_of("t", tasks), Fleet(3, {"cpu": 3.0}, (1.0, 0.5), mttf_s=60.0, mttr_s=3.0), question)
    print(json.dumps(answer.figures), answer.finish_ns)
"""
    answers = set()
    for hash_seed in ("1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
        answers.add(done.stdout)
    assert len(answers) == 1
    assert len(answers.pop().splitlines()) == 3


def test_policies_side_by_side_answer_as_each_alone() -> None:
    """In processes of their own or one after the other: the same figures."""
    asked = synthetic("s", 300, "poisson", "exp", 1.0, Random(11))
    questions = {name: Question({"ordering": name}) for name in ("fifo", "sjf")}
    alone = {name: dict(answer.figures) for name, answer in ask_all(asked, ONE, questions, jobs=1)}
    beside = {name: dict(answer.figures) for name, answer in ask_all(asked, ONE, questions, jobs=2)}
    assert alone == beside
    assert json.dumps(alone["fifo"]) != json.dumps(alone["sjf"])


def test_a_fleet_is_suggested_that_keeps_up() -> None:
    """Machines as large as all but a hundredth of the demands, as many as leave a tenth to spare."""
    need = {"cpu": 2.0, "gpu": 0.5}
    tasks = [TraceTask(f"t{n}", n, 30.0, need=need if n else {"cpu": 64.0}) for n in range(200)]
    asked = trace(*tasks)
    capacity = capacity_for(asked)
    assert capacity == {"cpu": 2.0, "gpu": 1.0}
    many = instances_for(asked, capacity)
    assert load_of(capped(asked, capacity), capacity, many) <= 0.9 < load_of(capped(asked, capacity), capacity, many - 1)
    assert capacity_for(trace((0, 1), (1, 1))) == {"slots": 1.0}


@pytest.mark.parametrize(
    "wrong",
    [{"instances": 0}, {"capacity": {}}, {"capacity": {"cpu": 0.0}}, {"speeds": (1.0, 0.0)}, {"mttf_s": 0.0}, {"mttr_s": -1.0}],
)
def test_a_fleet_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    """With what would be right."""
    with pytest.raises(BadFleet):
        replace(ONE, **wrong)  # type: ignore[arg-type]


def test_a_run_of_days_costs_no_steps_for_days() -> None:
    """Liveness is stretched: a month between two tasks is one jump."""
    steps: list[int] = []
    books = asking.run(trace((0, 1), (30 * 86400, 1)), ONE, Question({"ordering": "fifo"}), steps.append)
    assert books.end_ns == (30 * 86400 + 1) * NS_PER_S
    assert not steps  # fewer moments than one report of progress
