"""Run times: learned, expected, corrected."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.custody.records import Record
from orchestrator.core.estimates import estimates as module
from orchestrator.core.estimates.estimates import Estimates
from orchestrator.core.estimates.histories import FULL, History
from orchestrator.vocabulary import NS_PER_MS, NS_PER_S
from orchestrator.wire.messages import Task

DAY_NS = 86_400 * NS_PER_S


def record(task: Task | None = None) -> Record:
    return Record(task or Task("t", "s.h"), 0, 0, 0, 0)


def history(spans: list[float]) -> History:
    found = History()
    for span in spans:
        found.add(span)
    return found


def lognormal(dice: Random, median_ns: float, sigma: float) -> int:
    return round(median_ns * math.exp(dice.gauss(0, sigma)))


@settings(max_examples=100, derandomize=True)
@given(st.lists(st.integers(100_000, 366 * DAY_NS), min_size=1, max_size=400), st.floats(0.05, 0.99))
def test_quantiles_are_right_to_within_a_bucket(spans: list[int], share: float) -> None:
    """From a tenth of a millisecond to a year, whatever the tail, from a hundred numbers at most."""
    found = history([float(span) for span in spans])
    least, most = (sorted(spans)[max(0, math.ceil(share * len(spans) + off) - 1)] for off in (-1e-6, 1e-6))
    assert least / 1.21 <= found.quantile_ns(share) <= most * 1.21
    assert found.mean_ns == pytest.approx(sum(spans) / len(spans))
    assert found.middle == pytest.approx(sum(map(math.log, spans)) / len(spans))
    assert len(found.counts) < 160


@settings(max_examples=50, derandomize=True)
@given(st.lists(st.integers(10**6, 10**12), min_size=1, max_size=100), st.integers(1, 10**12))
def test_what_is_left_after_so_long(spans: list[int], ran_ns: int) -> None:
    """The mean residual life: of those that ran longer; beyond all of them, as long again."""
    left = [span - ran_ns for span in spans if span > 1.25 * ran_ns]
    found = history([float(span) for span in spans]).rest_after(ran_ns)
    assert found > 0
    if not any(span > ran_ns / 1.25 for span in spans):
        assert found == ran_ns
    elif left and len(left) == len(spans):
        assert found == pytest.approx(sum(left) / len(left), rel=0.6)


def test_old_times_fade() -> None:
    """A handler that was rewritten: after a thousand runs the old speed is all but forgotten; memory does not grow."""
    estimates = Estimates()
    for n in range(20_000):
        estimates.learn(Task(f"a{n}", "s.h"), NS_PER_S)
    for n in range(16_000):
        estimates.learn(Task(f"b{n}", "s.h"), NS_PER_S // 10)
    found = estimates.expect(record())
    assert found.middle_ns == pytest.approx(NS_PER_S / 10, rel=0.2)
    assert found.samples <= 1_000


def test_a_heavy_tail_does_not_carry_the_middle_away() -> None:
    """One run in a hundred takes a thousand times as long: the mean says so, tasks are ranked by what is usual."""
    estimates, dice = Estimates(), Random(1)
    for n in range(2_000):
        estimates.learn(Task(f"t{n}", "s.h"), lognormal(dice, NS_PER_S, 0.3) * (1000 if dice.random() < 0.01 else 1))
    found = estimates.expect(record())
    assert 0.8 * NS_PER_S < found.middle_ns < 1.5 * NS_PER_S
    assert found.mean_ns > 4 * NS_PER_S
    assert found.long_ns < 3 * NS_PER_S
    assert found.error is not None
    assert 0.1 < found.error < 3


def test_what_is_alike_is_expected_alike() -> None:
    """Demand, size and tenant tell; what was never seen is expected as the nearest that was."""
    estimates = Estimates()
    for n in range(30):
        estimates.learn(Task(f"a{n}", "s.h", need={"gpu": 1}), 100 * NS_PER_S)
        estimates.learn(Task(f"b{n}", "s.h", size=4.0, tenant="gold"), 10 * NS_PER_S)
        estimates.learn(Task(f"c{n}", "s.h", size=4.0, tenant="lead"), 40 * NS_PER_S)
        estimates.learn(Task(f"d{n}", "s.other"), 1 * NS_PER_S)
    seen = [
        (Task("x", "s.h", need={"gpu": 1}), 100, "type, demand"),
        (Task("x", "s.h", size=4.1, tenant="gold"), 10, "type, size, tenant"),
        (Task("x", "s.h", size=4.0, tenant="zinc"), 20, "type, size"),
        (Task("x", "s.h", size=900.0), 34.2, "type"),
        (Task("x", "s.other"), 1, "type"),
        (Task("x", "s.new"), 14.1, "service"),
    ]
    for task, middle_s, source in seen:
        found = estimates.expect(record(task))
        assert found.source == source
        assert found.middle_ns / NS_PER_S == pytest.approx(middle_s, rel=0.02)
    assert estimates.expect(record(Task("x", "never.seen"))).source == ""


def test_before_anything_is_seen_the_hint_decides_and_then_it_is_corrected() -> None:
    """A tenant that says a tenth of the truth is believed at first, and soon ten times its word."""
    estimates, dice = Estimates(), Random(2)
    sly = Task("x", "s.h", tenant="sly", estimate_ns=NS_PER_S)
    assert estimates.expect(record(sly)).middle_ns == NS_PER_S
    for n in range(200):
        true_ns = lognormal(dice, 100 * NS_PER_S, 1.5)
        estimates.learn(Task(f"t{n}", "s.h", tenant="sly", estimate_ns=true_ns // 10), true_ns)
    for said_ns in (NS_PER_S, 10 * NS_PER_S, 100 * NS_PER_S):
        found = estimates.expect(record(Task("x", "s.h", tenant="sly", estimate_ns=said_ns)))
        assert found.middle_ns == pytest.approx(10 * said_ns, rel=0.3), "such hints are good to rank by, so they go on counting"
    honest = estimates.expect(record(Task("x", "s.h", tenant="honest", estimate_ns=NS_PER_S)))
    assert NS_PER_S < honest.middle_ns < 100 * NS_PER_S


@settings(max_examples=300, derandomize=True)
@given(
    told=st.lists(st.tuples(st.integers(1, 366 * DAY_NS), st.integers(0, NS_PER_S)), max_size=12),
    says_ns=st.integers(0, 5 * 10**16).map(lambda n: 1 + n % (10 ** (n % 17))) | st.just(1),
    boasts=st.booleans(),
)
def test_whatever_was_said_there_is_a_run_time_to_reckon_with(told: list[tuple[int, int]], says_ns: int, boasts: bool) -> None:
    """Hints from a nanosecond to a year before runs that were short: what is expected of the next one is never nothing, so there
    is a logarithm of it, and its end can be learned from, whoever has the ledger."""
    estimates = Estimates()
    for n, (hint_ns, ran_ns) in enumerate([(366 * DAY_NS, NS_PER_MS)] * (4 * boasts) + told):
        estimates.learn(Task(f"t{n}", f"s.h{n % 2}", estimate_ns=hint_ns), ran_ns)
    for type_ in ("s.h0", "s.h1", "s.new"):
        found = estimates.expect(record(Task("x", type_, estimate_ns=says_ns)))
        assert min(found.mean_ns, found.middle_ns, found.long_ns) >= 1
        estimates.learn(Task("x", type_, estimate_ns=says_ns), NS_PER_MS)


def test_hints_that_tell_nothing_lose_their_say() -> None:
    """Random words about tasks that always run a second."""
    estimates, dice = Estimates(), Random(3)
    for n in range(300):
        estimates.learn(Task(f"t{n}", "s.h", estimate_ns=lognormal(dice, NS_PER_S, 2)), NS_PER_S)
    found = estimates.expect(record(Task("x", "s.h", estimate_ns=3600 * NS_PER_S)))
    assert found.middle_ns < 2 * NS_PER_S


def test_trust_takes_tasks_at_their_word() -> None:
    """Whatever was seen; of those that say nothing it expects what it learned."""
    estimates = Estimates("trust")
    for n in range(100):
        estimates.learn(Task(f"t{n}", "s.h", estimate_ns=NS_PER_S), 50 * NS_PER_S)
    word = estimates.expect(record(Task("x", "s.h", estimate_ns=7 * NS_PER_S)))
    assert (word.mean_ns, word.middle_ns, word.long_ns) == (7 * NS_PER_S,) * 3
    assert estimates.expect(record(Task("x", "s.h"))).middle_ns == pytest.approx(50 * NS_PER_S)


def test_an_attempt_that_was_cut_short_is_no_short_run() -> None:
    """Half of the attempts are killed after a second; those that finish take ten: expected are ten or more, never five."""
    estimates = Estimates()
    for n in range(100):
        estimates.learn(Task(f"a{n}", "s.h"), 10 * NS_PER_S)
        estimates.learn_cut(Task(f"b{n}", "s.h"), NS_PER_S)
    assert estimates.expect(record()).mean_ns >= 9.9 * NS_PER_S
    for n in range(100):
        estimates.learn_cut(Task(f"c{n}", "s.h"), 60 * NS_PER_S)  # timeouts
    assert estimates.expect(record()).mean_ns > 30 * NS_PER_S
    fresh = Estimates()
    fresh.learn_cut(Task("t", "s.h"), 60 * NS_PER_S)
    assert fresh.expect(record()).mean_ns >= 60 * NS_PER_S


def test_one_that_has_outlived_its_kind_goes_on() -> None:
    """After 20 s of a task that takes 10: as long again. After 5 s of it: the rest."""
    estimates = Estimates()
    for n in range(50):
        estimates.learn(Task(f"t{n}", "s.h"), 10 * NS_PER_S)
    assert estimates.remaining(record(), 20 * NS_PER_S).mean_ns == pytest.approx(20 * NS_PER_S)
    assert estimates.remaining(record(), 5 * NS_PER_S).mean_ns == pytest.approx(5 * NS_PER_S, rel=0.2)
    assert estimates.remaining(record()) == estimates.expect(record())
    trusting = Estimates("trust")
    one = record(Task("t", "s.h", estimate_ns=10 * NS_PER_S))
    assert [trusting.remaining(one, ran * NS_PER_S).mean_ns // NS_PER_S for ran in (0, 4, 10, 16)] == [10, 6, 0, 6]


def test_fast_and_slow_instances_are_told_apart() -> None:
    """By how long the same tasks take there, whatever the noise; one that nobody knows is as fast as the mean."""
    estimates, dice = Estimates(), Random(4)
    factors = {"fast": 4.0, "usual": 1.0, "slow": 0.25}
    for n in range(6_000):
        name = dice.choice(sorted(factors))
        estimates.learn(Task(f"t{n}", "s.h"), round(lognormal(dice, NS_PER_S, 0.8) / factors[name]), name)
    assert estimates.speeds.speed("s.h", "never seen") == 1.0
    assert estimates.speeds.speed("s.h", "fast") / estimates.speeds.speed("s.h", "usual") == pytest.approx(4, rel=0.5)
    assert estimates.speeds.speed("s.h", "usual") / estimates.speeds.speed("s.h", "slow") == pytest.approx(4, rel=0.5)


def test_kinds_without_end_do_not_fill_the_memory() -> None:
    """Those not met for longest are forgotten; the type as a whole is still known."""
    estimates = Estimates()
    for n in range(3 * module.KEYS_MAX):
        estimates.learn(Task(f"t{n}", "s.h", tenant=f"u{n}"), NS_PER_S)
    assert len(estimates._histories) <= module.KEYS_MAX
    assert len(estimates._hints) <= module.KEYS_MAX
    assert estimates.expect(record()).middle_ns == pytest.approx(NS_PER_S)


def test_the_typical_run_time_changes_rarely() -> None:
    """A power of two near the mean, that follows it only when it is off by more than a factor of two."""
    estimates, dice = Estimates(), Random(5)
    changes = 0
    for n in range(5_000):
        estimates.learn(Task(f"t{n}", "s.h"), lognormal(dice, 3 * NS_PER_MS, 1))
        changes += len(estimates.rescaled)
        estimates.rescaled.clear()
    assert changes <= 6
    typical_ns = estimates.typical_ns("s")
    assert math.log2(typical_ns / NS_PER_S) == pytest.approx(round(math.log2(typical_ns / NS_PER_S)), abs=1e-3)
    assert 1.5 * NS_PER_MS < typical_ns < 15 * NS_PER_MS
    for n in range(200):
        estimates.learn(Task(f"u{n}", "days.h"), DAY_NS)
    assert DAY_NS / 2 <= estimates.typical_ns("days") <= 2 * DAY_NS
    estimates.expect(record(Task("x", "hinted.h", estimate_ns=3600 * NS_PER_S)))
    assert estimates.typical_ns("hinted") > 1000 * NS_PER_S


def test_most_of_many_are_not_even_looked_at_but_no_rhythm_hides_an_instance() -> None:
    """Eight instances that take turns: each is still heard of."""
    seen: dict[int, int] = {}
    found = History()
    for n in range(8_000):
        if found.wanted():
            seen[n % 8] = seen.get(n % 8, 0) + 1
    assert sum(seen.values()) < FULL + 1_500
    assert set(seen) == set(range(8))
    assert min(seen.values()) > 50


def test_a_type_that_was_never_seen_is_expected_like_others_of_its_tenant() -> None:
    """Where every job has a name of its own, the same user or the same demand says more than all of the service."""
    estimates = Estimates()
    for n in range(30):
        estimates.learn(Task(f"a{n}", f"s.a{n}", tenant="quick"), NS_PER_S)
        estimates.learn(Task(f"b{n}", f"s.b{n}", tenant="slow"), 100 * NS_PER_S)
        estimates.learn(Task(f"c{n}", f"s.c{n}", need={"gpu": 1}), 1000 * NS_PER_S)
    for task, middle_s, source in (
        (Task("x", "s.new", tenant="quick"), 1, "service, tenant"),
        (Task("x", "s.new", tenant="slow", need={"gpu": 1}), 100, "service, tenant"),
        (Task("x", "s.new", tenant="third", need={"gpu": 1}), 1000, "service, demand"),
    ):
        found = estimates.expect(record(task))
        assert found.source == source
        assert found.middle_ns / NS_PER_S == pytest.approx(middle_s, rel=0.02)
