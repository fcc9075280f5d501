"""What every ordering must keep, run on every one there is; and the bound that each states for itself."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.policies import ORDERINGS, Ordering
from orchestrator.policies.ordering import PriorityWithAgeing, Waiting
from orchestrator.vocabulary import NS_PER_S

NOW = 1_750_000_000 * NS_PER_S
"""Unix time as it is: the numbers must be told apart at their real size."""

waiting = st.builds(
    Waiting,
    arrival_ns=st.integers(NOW, NOW + 10**15),
    priority=st.integers(-1000, 1000),
    tenant=st.sampled_from(["", "a", "b"]),
    deadline_ns=st.none() | st.integers(NOW, NOW + 10**15),
    estimate_ns=st.none() | st.integers(0, 10**12),
)
every = pytest.mark.parametrize("ordering", ORDERINGS.values(), ids=ORDERINGS)


@every
@settings(max_examples=60, derandomize=True)
@given(task=waiting)
def test_a_key_is_a_pure_number(ordering: Ordering, task: Waiting) -> None:
    """The same task has the same key whenever it is asked for: it is static, so a heap serves, and keys are totally ordered."""
    key = ordering.key(task)
    assert math.isfinite(key)
    assert key == ordering.key(replace(task))
    assert ordering.key(task) == key


@every
@settings(max_examples=60, derandomize=True)
@given(task=waiting, later_ns=st.integers(0, 10**15))
def test_arriving_later_is_never_an_advantage(ordering: Ordering, task: Waiting, later_ns: int) -> None:
    """Of two tasks that differ in nothing else the one that came first goes first, or its place in the ledger decides."""
    assert ordering.key(task) <= ordering.key(replace(task, arrival_ns=task.arrival_ns + later_ns))


@settings(max_examples=200, derandomize=True)
@given(first=waiting, second=waiting)
def test_fifo_overtakes_nobody(first: Waiting, second: Waiting) -> None:
    """All keys are alike: the ledger's order decides."""
    fifo = ORDERINGS["fifo"]
    assert fifo.key(first) == fifo.key(second)


@settings(max_examples=300, derandomize=True)
@given(old=waiting, new=waiting)
def test_the_starvation_bound_of_priority(old: Waiting, new: Waiting) -> None:
    """A task of priority p is overtaken only by tasks of a priority q that arrive less than (q - p) minutes after it."""
    ordering = PriorityWithAgeing()
    overtakes = ordering.key(new) < ordering.key(old)
    ahead_ns = new.arrival_ns - old.arrival_ns
    assert overtakes == (ahead_ns < (new.priority - old.priority) * 60 * NS_PER_S)


def test_ageing_tells_nanoseconds_apart() -> None:
    """Keys are exact at the size that Unix time has: a float would take two arrivals within a quarter of a microsecond for one."""
    ordering = ORDERINGS["priority"]
    task = Waiting(NOW, 1, "", None, None)
    assert ordering.key(task) < ordering.key(replace(task, arrival_ns=NOW + 1))
