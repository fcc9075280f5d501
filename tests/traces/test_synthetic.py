"""Invented traces have the means and the variation of the laws that they are named after, and follow from their dice."""

from __future__ import annotations

from itertools import islice
from random import Random
from statistics import fmean

import pytest

from orchestrator.planning import heavy, laws
from orchestrator.traces import BadTrace
from orchestrator.traces.synthetic import ARRIVALS, SERVICES, drawn, mean_of, synthetic

DRAWS = 200_000

SERVICE_LAWS = {
    "exp": laws.exponential(),
    "det": laws.Deterministic(1.0),
    "erlang:4": laws.Erlang(4),
    "uniform:1,3": laws.Uniform(1.0, 3.0),
    "h2:4": laws.balanced_h2(1.0, 4.0),
    "lognormal:2": heavy.lognormal(1.0, 2.0),
    "weibull:0.7": heavy.weibull(0.7),
    "bpareto:1,50,1.5": heavy.BoundedPareto(1.0, 50.0, 1.5),
}


@pytest.mark.parametrize("text", SERVICE_LAWS)
def test_run_times_have_the_moments_of_their_law(text: str) -> None:
    """Mean, and squared coefficient of variation, as the planner's formulas have them."""
    law = SERVICE_LAWS[text]
    times = list(islice(drawn(SERVICES, "law", text, Random(7)), DRAWS))
    assert fmean(times) == pytest.approx(law.mean, rel=0.015)
    assert fmean(time * time for time in times) == pytest.approx(law.second, rel=0.06)
    assert mean_of(text) == pytest.approx(law.mean)


def test_pareto_has_mean_one_and_its_tail() -> None:
    """P(S > 10 x least) = 10^-alpha."""
    times = list(islice(drawn(SERVICES, "law", "pareto:2.5", Random(7)), DRAWS))
    assert fmean(times) == pytest.approx(1.0, rel=0.02)
    assert sum(time > 6.0 for time in times) / DRAWS == pytest.approx(10**-2.5, rel=0.1)


@pytest.mark.parametrize("text", ["poisson", "deterministic", "h2:5", "mmpp", "mmpp:20,0.05,50"])
def test_arrivals_come_at_the_rate_that_is_asked_for(text: str) -> None:
    """One in a unit of time, in the long run."""
    assert fmean(islice(drawn(ARRIVALS, "process", text, Random(3)), DRAWS)) == pytest.approx(1.0, rel=0.04)


def test_bursts_are_bursts() -> None:
    """In a hundred units of time the number of arrivals varies several times as much as it does for a Poisson process."""

    def dispersion(text: str) -> float:
        counts, at, end, count = [], 0.0, 100.0, 0
        for gap in islice(drawn(ARRIVALS, "process", text, Random(5)), DRAWS):
            at += gap
            while at > end:
                counts.append(count)
                count, end = 0, end + 100.0
            count += 1
        mean = fmean(counts)
        return fmean((one - mean) ** 2 for one in counts) / mean

    assert dispersion("poisson") < 1.5
    assert dispersion("mmpp") > 5


def test_a_trace_follows_from_its_dice() -> None:
    """The same dice, the same trace; the mean run time is what was asked for, whatever the law's own is."""
    one = synthetic("s", 5000, "poisson", "bpareto:1,100,1.5", 30.0, Random(1))
    assert one == synthetic("s", 5000, "poisson", "bpareto:1,100,1.5", 30.0, Random(1))
    assert one != synthetic("s", 5000, "poisson", "bpareto:1,100,1.5", 30.0, Random(2))
    assert fmean(task.runtime_s for task in one.tasks) == pytest.approx(30.0, rel=0.1)


@pytest.mark.parametrize(
    ("arrivals", "service", "words"),
    [
        ("poison", "exp", "'poison' is no arrival process; take one of poisson, deterministic, h2:SCV, mmpp:RATIO,SHARE,LENGTH"),
        ("poisson", "normal", "'normal' is no law of run times"),
        ("poisson", "erlang", "write erlang:STAGES"),
        ("poisson", "erlang:1.5", "STAGES is a whole number"),
        ("poisson", "bpareto:1,2", "write bpareto:LOW,HIGH,ALPHA"),
        ("poisson", "bpareto:3,2,1", "LOW is below HIGH"),
        ("poisson", "pareto:1", "no mean"),
        ("poisson", "lognormal:-1", "numbers above 0"),
        ("mmpp:0.5,0.1,10", "exp", "RATIO is at least 1"),
    ],
)
def test_what_is_no_law_is_refused_with_what_there_is(arrivals: str, service: str, words: str) -> None:
    """By name and by what it takes."""
    with pytest.raises(BadTrace) as caught:
        synthetic("s", 10, arrivals, service, None, Random(1))
    assert words in str(caught.value)
