"""A running task makes room for a waiting one where that pays, loses no work, and is not asked for ever."""

from __future__ import annotations

from random import Random

import pytest

from orchestrator.core import events as e
from orchestrator.core.config import Config
from orchestrator.policies.preemption import Preemption, Squeeze
from orchestrator.vocabulary import NS_PER_MS, NS_PER_S, Nanos
from orchestrator.wire.messages import Beat, Control, Handler, Task
from tests.core.fleet import START_NS, Fleet

HANDLERS = [Handler("long", preemptible=True), Handler("short")]
FREE = "srtf:ageing=off,cost=0s"
"""Plain SRPT."""


def fleet_of(spans: dict[str, float], ordering: str = "srtf", slots: float = 1, instances: int = 1) -> Fleet:
    """Instances with so many slots; tasks run for so many seconds, as they say themselves."""
    truth = {name: round(span * NS_PER_S) for name, span in spans.items()}
    fleet = Fleet(truth.__getitem__, {"ordering": ordering}, Config(estimates="trust"))
    for number in range(instances):
        fleet.instance(f"i{number}", HANDLERS, {"slots": slots})
    return fleet


def task(fleet: Fleet, name: str, handler: str = "long") -> Task:
    """It says how long it runs."""
    return Task(name, f"s.{handler}", estimate_ns=fleet.lasts(name))


def later(fleet: Fleet, after_s: float, *tasks: Task) -> None:
    """They come so many seconds after the beginning."""
    fleet.at(START_NS + round(after_s * NS_PER_S), lambda: fleet.submit(*tasks) or [])  # type: ignore[func-returns-value]


def began_s(fleet: Fleet, name: str) -> list[float]:
    """When its attempts began, in seconds."""
    return [round((run.began_ns - START_NS) / 1e9, 6) for run in fleet.started[name]]


def ran_s(fleet: Fleet, name: str) -> float:
    """How long all its attempts ran together."""
    return sum((run.ended_ns or fleet.now_ns) - run.began_ns for run in fleet.started[name]) / 1e9


def test_a_long_task_makes_room_and_loses_nothing() -> None:
    """It yields at once to the short ones, goes on after them from where it was, and runs no longer in all than alone."""
    spans = {"long": 30.0} | {f"s{n}": 0.1 for n in range(10)}
    fleet = fleet_of(spans)
    fleet.submit(task(fleet, "long"))
    later(fleet, 10, *(task(fleet, f"s{n}", "short") for n in range(10)))
    fleet.run()
    assert began_s(fleet, "s0") == [10.0]
    assert began_s(fleet, "long") == [0.0, 11.0]
    assert ran_s(fleet, "long") == 30.0
    desk = fleet.machine.desk
    assert desk.counts["preempted"] == 1
    assert desk.custody.graves["long"].outcome == "done"


def test_it_goes_on_where_there_is_room() -> None:
    """On another instance, if one comes meanwhile."""
    fleet = fleet_of({"long": 30.0, "short": 5.0})
    fleet.submit(task(fleet, "long"))
    later(fleet, 10, task(fleet, "short", "short"))
    fleet.run(until_ns=START_NS + 11 * NS_PER_S)
    fleet.instance("other", HANDLERS, {"slots": 1})
    fleet.run()
    assert [run.where for run in fleet.started["long"]] == ["i0", "other"]
    assert began_s(fleet, "long") == [0.0, 11.0]
    assert ran_s(fleet, "long") == 30.0


def test_nobody_is_asked_who_did_not_offer_it() -> None:
    """A handler that is not preemptible runs to its end."""
    fleet = fleet_of({"long": 30.0, "short": 0.1})
    fleet.submit(task(fleet, "long", "short"))
    later(fleet, 10, task(fleet, "short", "short"))
    fleet.run()
    assert began_s(fleet, "short") == [30.0]
    assert fleet.machine.desk.counts["preempted"] == 0


@pytest.mark.parametrize(("left", "waits"), [(0.1, True), (0.4, False)])
def test_not_where_a_place_frees_itself_soon_enough(left: float, waits: bool) -> None:
    """The shortest rest of all counts: preempting somebody else would only move work about."""
    fleet = fleet_of({"one": 30.0, "two": 10.0 + left, "short": 0.1}, instances=2)
    fleet.submit(task(fleet, "one"), task(fleet, "two", "short"))
    later(fleet, 10, task(fleet, "short", "short"))
    fleet.run()
    assert began_s(fleet, "short") == ([10.1] if waits else [10.0])


def test_not_again_and_again() -> None:
    """After three times it is left alone, and each attempt runs for a while before it may be asked."""
    spans = {"long": 30.0} | {f"s{n}": 0.1 for n in range(8)}
    fleet = fleet_of(spans)
    fleet.submit(task(fleet, "long"))
    for number in range(8):
        later(fleet, 1 + 2 * number, task(fleet, f"s{number}", "short"))
    fleet.run()
    assert len(fleet.started["long"]) == 4
    assert fleet.machine.desk.counts["preempted"] == 3
    early = fleet_of({"long": 30.0, "short": 0.1})
    early.submit(task(early, "long"))
    later(early, 0.05, task(early, "short", "short"))
    early.run()
    assert began_s(early, "short") == [0.25], "five times the cost of 50 ms"


def test_who_does_not_heed_it_is_left_alone() -> None:
    """It runs on, nobody kills it, and that is counted; the waiting one starts when it ends."""
    fleet = fleet_of({"long": 30.0, "short": 0.1})
    fleet.deaf = True
    fleet.submit(task(fleet, "long"))
    later(fleet, 10, task(fleet, "short", "short"))
    fleet.run()
    desk = fleet.machine.desk
    assert began_s(fleet, "short") == [30.0]
    assert began_s(fleet, "long") == [0.0]
    assert (desk.counts["unyielding"], desk.counts["preempted"]) == (1, 0)


def limited(fleet: Fleet, at_once: int) -> None:
    fleet.step(e.Arrived(Control("q", "limit", {"name": "few", "set": {"on": "s.short", "at_once": at_once}}), "control"))


def test_nobody_yields_to_one_that_a_limit_holds_back() -> None:
    """It could not start; the next one behind it could, and that is asked for."""
    fleet = fleet_of({"long": 100.0, "held": 1.0, "next": 5.0})
    limited(fleet, 0)
    fleet.submit(task(fleet, "long"))
    later(fleet, 10, task(fleet, "held", "short"))
    later(fleet, 20, task(fleet, "next"))
    fleet.at(START_NS + 60 * NS_PER_S, lambda: limited(fleet, 1) or [])  # type: ignore[func-returns-value]
    fleet.run(until_ns=START_NS + 15 * NS_PER_S)
    assert fleet.machine.desk.counts["preempted"] == 0
    fleet.run()
    assert began_s(fleet, "next") == [20.0]
    assert began_s(fleet, "held") == [60.0]
    assert fleet.machine.desk.counts["preempted"] == 2


def test_one_that_nobody_would_take_does_not_hide_the_next() -> None:
    """The first in order came before any instance did, and is too large for those that came."""
    fleet = Fleet({"long": 100 * NS_PER_S, "next": 5 * NS_PER_S}.__getitem__, {"ordering": "srtf"}, Config(estimates="trust"))
    fleet.submit(Task("large", "s.short", need={"slots": 2}, estimate_ns=NS_PER_S))
    fleet.instance("i0", HANDLERS, {"slots": 1})
    fleet.submit(task(fleet, "long"))
    later(fleet, 10, task(fleet, "next", "short"))
    fleet.run(until_ns=START_NS + 50 * NS_PER_S)
    assert began_s(fleet, "next") == [10.0]


def test_a_place_given_up_for_a_more_urgent_one_is_free_at_once() -> None:
    """One place is kept for a pair; then somebody is asked, elsewhere, to make room for a more urgent one: that is kept instead.
    Who was kept out of the first place starts there then, whatever becomes of the request."""
    spans = {"runs": 100.0, "long": 100.0, "pair": 2.0, "out": 500.0, "urgent": 1.0}
    fleet = Fleet(
        {name: round(s * NS_PER_S) for name, s in spans.items()}.__getitem__, {"ordering": "srtf"}, Config(estimates="trust")
    )
    fleet.instance("i", HANDLERS, {"slots": 2, "cpu": 1})
    fleet.instance("j", HANDLERS, {"slots": 1, "gpu": 1})
    fleet.deaf = True

    def one(name: str, handler: str, **need: float) -> Task:
        return Task(name, f"s.{handler}", need=dict(need), estimate_ns=fleet.lasts(name))

    fleet.submit(one("long", "long", gpu=1), one("runs", "short", cpu=1))
    fleet.submit(one("pair", "short", slots=2), one("out", "short"))
    queue = fleet.machine.desk.backlog.queues["s"]
    assert list(queue.reservations) == ["pair"]
    assert "out" not in fleet.started
    later(fleet, 10, one("urgent", "short", gpu=1))
    fleet.run(until_ns=START_NS + 10 * NS_PER_S)
    assert list(queue.reservations) == ["urgent"]
    assert began_s(fleet, "out") == [10.0]


def test_a_place_kept_for_one_that_a_limit_holds_back_is_free_at_once() -> None:
    """The first fits nowhere, and a place is kept for it; then who starts behind it takes the last of their limit. Who was kept out
    of that place has it in the same step, not when the agent has said that the other runs: the laws see to that."""
    spans = {"runs": 100.0, "pair": 1.0, "single": 2.0, "out": 500.0}
    fleet = Fleet(
        {name: round(s * NS_PER_S) for name, s in spans.items()}.__getitem__, {"ordering": "srtf"}, Config(estimates="trust")
    )
    fleet.instance("i", HANDLERS, {"slots": 2})
    fleet.submit(task(fleet, "runs"))
    fleet.instance("j", HANDLERS, {"slots": 1, "gpu": 1})
    limited(fleet, 1)
    needs = {"pair": {"slots": 2.0}, "single": {"gpu": 1.0}}
    limit = [Task(name, "s.short", need=dict(need), estimate_ns=fleet.lasts(name)) for name, need in needs.items()]
    fleet.submit(*limit, task(fleet, "out"))
    assert not fleet.machine.desk.backlog.queues["s"].reservations
    assert [(run.where, run.began_ns) for name in ("single", "out") for run in fleet.started[name]] == [
        ("j", START_NS),
        ("i", START_NS),
    ]
    assert "pair" not in fleet.started


def test_who_was_kept_out_of_a_place_and_then_held_back_by_a_limit_may_start_anywhere() -> None:
    """As before, but the limit holds back who was kept out too. When it lets him go on, the place that was kept is not all that he
    may have: it has left, and another came while nobody looked for him."""
    spans = {"runs": 100.0, "pair": 1.0, "out": 500.0, "single": 600.0}
    fleet = Fleet(
        {name: round(s * NS_PER_S) for name, s in spans.items()}.__getitem__, {"ordering": "srtf"}, Config(estimates="trust")
    )
    fleet.instance("i", HANDLERS, {"slots": 2, "cpu": 1})
    fleet.submit(task(fleet, "runs"))
    fleet.instance("j", HANDLERS, {"slots": 1, "gpu": 1})
    limited(fleet, 1)
    needs = {"pair": {"slots": 2.0}, "out": {"cpu": 1.0}, "single": {"gpu": 1.0}}
    fleet.submit(*(Task(name, "s.short", need=dict(need), estimate_ns=fleet.lasts(name)) for name, need in needs.items()))
    assert "single" in fleet.started
    assert "out" not in fleet.started
    fleet.step(e.Arrived(Control("q", "cancel", {"task": "pair"}), "control"))
    fleet.instance("k", HANDLERS, {"slots": 1, "cpu": 1})
    fleet.step(e.Arrived(Beat("i", 2, fleet.machine.desk.epoch, draining=True)))
    fleet.run(until_ns=START_NS + 600 * NS_PER_S)
    assert [(run.where, began) for run, began in zip(fleet.started["out"], began_s(fleet, "out"), strict=True)] == [("k", 600.0)]
    assert "pair" not in fleet.started


def srpt(arrivals: list[tuple[Nanos, Nanos]], places: int) -> list[Nanos]:
    """Ends of jobs (arrival, size) when at every moment those with least left run: the simplest thing that could be right."""
    left = [size for _, size in arrivals]
    ends = [0] * len(arrivals)
    now = 0
    while any(left):
        here = sorted((rest, at, job) for job, ((at, _), rest) in enumerate(zip(arrivals, left, strict=True)) if rest and at <= now)
        coming = [at for at, _ in arrivals if at > now]
        step = min([rest for rest, _, _ in here[:places]] + [at - now for at in coming])
        for _, _, job in here[:places]:
            left[job] -= step
            if not left[job]:
                ends[job] = now + step
        now += step
    return ends


@pytest.mark.parametrize("places", [1, 3])
def test_without_cost_it_is_srpt(places: int) -> None:
    """Every end is that of a reckoning that knows nothing of the core, to the nanosecond."""
    for seed in range(10):
        dice = Random(seed)
        now, jobs = 0, []
        for _ in range(40):
            now += round(NS_PER_S * dice.expovariate(0.8 * places))
            jobs.append((now, round(NS_PER_S * dice.expovariate(1.0)) + 1))
        fleet = Fleet(lambda name, jobs=jobs: jobs[int(name[1:])][1], {"ordering": FREE}, Config(estimates="trust"))  # type: ignore[misc]
        for number in range(places):
            fleet.instance(f"i{number}", HANDLERS, {"slots": 1})
        for number, (at, _) in enumerate(jobs):
            later(fleet, at / 1e9, task(fleet, f"t{number}"))
        fleet.run()
        ends = [fleet.done[f"t{number}"] - START_NS for number in range(len(jobs))]
        assert ends == srpt(jobs, places)


# --- the rule ---------------------------------------------------------------------------------------------------------------


def squeeze(**what: float) -> Squeeze:
    """A place for one, a task of a second that waits, ten seconds left of what runs, an idle past."""
    given = {"rest_ns": 1.0, "least_ns": 10.0, "most_ns": 10.0, "waiting": 1, "places": 1.0, "load": 0.0, "typical_ns": 1.0} | what
    return Squeeze(**{name: round(value * NS_PER_S) if name.endswith("_ns") else value for name, value in given.items()})  # type: ignore[arg-type]


def test_the_rule_switches_itself_off_as_the_load_rises() -> None:
    """What pays when it is quiet does not when everything is busy, or many wait behind it, or it costs half a task."""
    terms = Preemption(cost_ns=200 * NS_PER_MS, margin=0.0)
    assert terms.pays(squeeze())
    assert not terms.pays(squeeze(load=0.97))
    assert terms.pays(squeeze(load=0.97, places=100.0))
    assert not terms.pays(squeeze(waiting=60))
    assert not terms.pays(squeeze(typical_ns=0.3))
    assert not terms.pays(squeeze(least_ns=1.3))
    assert terms.pays(squeeze(least_ns=1.5))


def test_without_cost_only_the_rests_count() -> None:
    """Strictly: of equals the one that runs goes on."""
    terms = Preemption(cost_ns=0)
    assert terms.pays(squeeze(most_ns=1.001, least_ns=0.1, load=1.0, waiting=1000, typical_ns=0.001))
    assert not terms.pays(squeeze(most_ns=1.0))
