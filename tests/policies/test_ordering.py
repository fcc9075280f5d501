"""What every ordering must keep, run on every one there is; and the bound that each states for itself."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.policies import BUILT_IN, ORDERINGS, Ordering
from orchestrator.policies.ordering import ESTIMATE_MIN_NS, Extremes, PriorityWithAgeing, Waiting
from orchestrator.vocabulary import NS_PER_S, ns

DATA = Path(__file__).parents[1] / "data" / "theory"
NOW = 1_750_000_000 * NS_PER_S
"""Unix time as it is: the numbers must be told apart at their real size."""

spans = st.integers(0, 10**12) | st.integers(0, 10**6) | st.integers(0, 366 * 86_400 * 10**9)


@st.composite
def some_task(draw: st.DrawFn, *, deadlines: bool = True) -> Waiting:
    arrival_ns = draw(st.integers(NOW, NOW + 10**15))
    due_ns = draw(st.none() | st.integers(0, 10**15)) if deadlines else None
    return Waiting(
        arrival_ns, draw(st.integers(-1000, 1000)), draw(st.sampled_from(["", "a", "b"])),
        None if due_ns is None else arrival_ns + due_ns, draw(spans), draw(spans), draw(spans), NS_PER_S,
    )  # fmt: skip


SPECS = [
    *ORDERINGS, "priority:level=0s", "sjf:ageing=10m", "sjf:ageing=off", "srtf:ageing=1ms", "sjf:ageing=366d",
    "dps:share=0,priority=0", "dps:ageing=1d,size=3,guard=1h,weights=a=5", "edf:patience=1h", "fair:weights=a=3;b=0.5,ageing=1",
]  # fmt: skip
every = pytest.mark.parametrize("ordering", [pytest.param(BUILT_IN.build("ordering", spec), id=spec) for spec in SPECS])


@dataclass(frozen=True)
class Books:
    """A tenant's account."""

    tenant: str = ""
    spent_ns: float = 0.0
    held: float = 0.0
    typical_ns: int = NS_PER_S


@every
@settings(max_examples=60, derandomize=True)
@given(task=some_task())
def test_a_key_is_a_pure_number(ordering: Ordering, task: Waiting) -> None:
    """The same task has the same key whenever it is asked for: it is static, so a heap serves, and keys are totally ordered."""
    key = ordering.key(task)
    assert math.isfinite(key)
    assert key == ordering.key(Waiting(*task)) == ordering.key(task)


@every
@settings(max_examples=60, derandomize=True)
@given(task=some_task(), later_ns=st.integers(0, 10**15))
def test_arriving_later_is_never_an_advantage(ordering: Ordering, task: Waiting, later_ns: int) -> None:
    """Of two tasks that differ in nothing else the one that came first goes first, or its place in the ledger decides."""
    assert ordering.key(task) <= ordering.key(task._replace(arrival_ns=task.arrival_ns + later_ns))


@every
@settings(max_examples=60, derandomize=True)
@given(first=some_task(), second=some_task(), held=st.floats(0, 1), spent_ns=st.floats(0, 1e15))
def test_within_a_tenant_the_account_changes_nothing(
    ordering: Ordering, first: Waiting, second: Waiting, held: float, spent_ns: float
) -> None:
    """A tenant's tasks wait in the order of their keys: its account moves all of them alike."""
    books = Books("a", spent_ns, held)
    ranks = [ordering.rank(ordering.key(one), books) for one in (first, second)]
    assert all(map(math.isfinite, ranks))
    if ordering.key(first) <= ordering.key(second):
        assert ranks[0] <= ranks[1]


@every
@settings(max_examples=300, derandomize=True)
@given(old=some_task(), new=some_task(deadlines=False), after_ns=st.integers(1, 10**16), early_ns=st.integers(0, 10**10))
def test_the_starvation_bound(ordering: Ordering, old: Waiting, new: Waiting, after_ns: int, early_ns: int) -> None:
    """No task that arrives later than the stated horizon has a smaller key, be it as short and as important as tasks can be, though
    the tenant of the old one holds everything and that of the new one nothing."""
    horizon_ns = ordering.horizon_ns(old, Extremes(new.estimate_ns, new.priority, run_max_ns=10**12))
    if horizon_ns is None:
        assert "off" in str(getattr(ordering, "ageing_ns", "")), "only an ordering that is told to may have no bound"
        return
    for late in (new, new._replace(estimate_ns=0, remaining_ns=0, priority=1000)):
        extremes = Extremes(min(late.estimate_ns, late.remaining_ns), late.priority, run_max_ns=10**12)
        horizon_ns = ordering.horizon_ns(old, extremes)
        assert horizon_ns is not None
        late = late._replace(arrival_ns=old.arrival_ns + horizon_ns + after_ns)
        ahead_ns = 10**12 / ordering.weight(old.tenant)
        mine = ordering.rank(ordering.key(old), Books(old.tenant, ahead_ns, 1.0))
        assert mine <= ordering.rank(ordering.key(late), Books("z", 0.0, 0.0))


@settings(max_examples=300, derandomize=True)
@given(old=some_task(), shift_ns=st.integers(-(10**13), 10**13), name=st.sampled_from(["sjf", "srtf", "priority", "edf"]))
def test_the_bound_is_not_wider_than_it_must_be(old: Waiting, shift_ns: int, name: str) -> None:
    """Just within the horizon the shortest task of the highest priority, due at once, does overtake: the bound says the truth."""
    ordering = ORDERINGS[name]
    horizon_ns = ordering.horizon_ns(old, Extremes())
    assert horizon_ns is not None
    if horizon_ns > 10:
        at_ns = old.arrival_ns + horizon_ns - 10
        assert ordering.key(Waiting(at_ns, 1000, "", at_ns, 0, 0, 0, NS_PER_S)) < ordering.key(old)


def test_every_bound_is_finite_unless_ageing_is_off() -> None:
    """The longest task of the lowest priority against the shortest of the highest: years, but an end."""
    year_ns = 366 * 86_400 * NS_PER_S
    worst = Waiting(NOW, -1000, "", None, year_ns, year_ns, year_ns, NS_PER_S)
    for name, ordering in ORDERINGS.items():
        assert ordering.horizon_ns(worst, Extremes()) is not None, name
    assert BUILT_IN.build("ordering", "sjf:ageing=off").horizon_ns(worst, Extremes()) is None


@settings(max_examples=200, derandomize=True)
@given(first=some_task(), second=some_task())
def test_fifo_overtakes_nobody(first: Waiting, second: Waiting) -> None:
    """All keys are alike: the ledger's order decides."""
    fifo = ORDERINGS["fifo"]
    assert fifo.key(first) == fifo.key(second)


@settings(max_examples=300, derandomize=True)
@given(old=some_task(), new=some_task())
def test_priority_overtakes_exactly_as_it_says(old: Waiting, new: Waiting) -> None:
    """A task of priority p is overtaken only by tasks of a priority q that arrive less than (q - p) minutes after it."""
    ordering = PriorityWithAgeing()
    overtakes = ordering.key(new) < ordering.key(old)
    ahead_ns = new.arrival_ns - old.arrival_ns
    assert overtakes == (ahead_ns < (new.priority - old.priority) * 60 * NS_PER_S)


@pytest.mark.parametrize("name", ["priority", "edf", "sjf", "srtf", "dps"])
def test_ageing_tells_nanoseconds_apart(name: str) -> None:
    """Keys are exact at the size that Unix time has: a float would take two arrivals within a quarter of a microsecond for one."""
    task = Waiting(NOW, 1)
    assert ORDERINGS[name].key(task) < ORDERINGS[name].key(task._replace(arrival_ns=NOW + 1))


def test_ageing_fits_milliseconds_and_days_untuned() -> None:
    """``auto``: what runs 20 times as long as the typical task is overtaken for 300 typical run times, whatever these are."""
    for typical_ns in (10**6, 10**9, 86_400 * 10**9):
        for name in ("sjf", "srtf", "dps"):
            long = Waiting(NOW, 0, "", None, 20 * typical_ns, 20 * typical_ns, 20 * typical_ns, typical_ns)
            early, late = (
                Waiting(NOW + round(x * typical_ns), 0, "", None, typical_ns, typical_ns, typical_ns, typical_ns)
                for x in (299, 300)
            )
            assert ORDERINGS[name].key(early) < ORDERINGS[name].key(long) < ORDERINGS[name].key(late)


def test_dps_keys_are_those_of_its_definition() -> None:
    """Published definition, computed independently: keys, the order at any time, and the horizon of each task."""
    told: dict[str, Any] = json.loads((DATA / "dps_static_key.json").read_text())
    ageing_ns = ns(told["tau"])
    dps = BUILT_IN.build(
        "ordering", f"dps:ageing={told['tau']:g},priority={told['omega']!r},guard={told['deadline_guard']:g},share=0"
    )
    tasks = {
        job["id"]: Waiting(
            ns(job["arrival"]), job["prio"], "", None if job["deadline"] is None else ns(job["deadline"]),
            ns(job["est"]), ns(job["est"]), ns(job["p90"] or 0), NS_PER_S,
        )
        for job in told["jobs"]
    }  # fmt: skip
    for job in told["jobs"]:
        task = tasks[job["id"]]
        assert dps.key(task) / ageing_ns == pytest.approx(job["key"], abs=1e-9)
        horizon_ns = dps.horizon_ns(task, Extremes(NS_PER_S, 2))
        assert horizon_ns is not None
        assert horizon_ns / NS_PER_S == pytest.approx(max(0, job["overtaking_horizon_s"]), abs=1e-6)
    order = sorted(tasks, key=lambda id: (dps.key(tasks[id]), id))
    assert order == told["order_smallest_key_first"]
    assert all(order == at for at in told["order_from_time_dependent_priority_at_t"].values())


def test_each_term_of_dps_counts_as_it_is_weighted() -> None:
    """Of two tasks that differ in one thing alone, that thing decides; with its weight 0 it does not."""
    plain = Waiting(NOW, 0, "", None, NS_PER_S, NS_PER_S, NS_PER_S, NS_PER_S)
    better = {
        "size": plain._replace(estimate_ns=NS_PER_S // 2),
        "priority": plain._replace(priority=1),
        "deadline": plain._replace(deadline_ns=NOW + 1),
    }
    for word, task in better.items():
        on, off = (BUILT_IN.build("ordering", f"dps:{word}={weight}") for weight in (1, 0))
        assert on.key(task) < on.key(plain)
        assert off.key(task) == off.key(plain)
    dps = BUILT_IN.build("ordering", "dps:weights=gold=4")
    keys = [dps.rank(0, Books(tenant, held=0.5)) for tenant in ("gold", "other")]
    assert 0 < keys[0] < keys[1]
    assert BUILT_IN.build("ordering", "dps:share=0").by_tenant is False


def test_estimates_too_short_to_tell_are_alike() -> None:
    """Below a tenth of a millisecond arrival decides."""
    sjf = ORDERINGS["sjf"]
    assert sjf.key(Waiting(NOW, estimate_ns=0)) == sjf.key(Waiting(NOW, estimate_ns=ESTIMATE_MIN_NS))
