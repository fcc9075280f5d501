"""A question without an answer says so, names the number and what would be right; nothing else ever comes out of bad numbers."""

from __future__ import annotations

import ast
import math
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.planning import (
    availability,
    dispatch,
    elastic,
    general,
    graphs,
    heavy,
    laws,
    predictions,
    priorities,
    queues,
    sharing,
    staffing,
)
from orchestrator.planning.ageing import Ageing, tau_for
from orchestrator.planning.dominant import Users, equal_incomes
from orchestrator.planning.errors import BadNumber, CannotPlan, Overloaded
from orchestrator.planning.sizes import Order, response_s

exponential = laws.exponential


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: queues.mm1(0, 1), "the arrival rate is 0; it must be a finite number above 0"),
        (lambda: queues.mm1(1, -2), "the service rate is -2"),
        (lambda: queues.mm1(math.nan, 1), "the arrival rate is nan"),
        (lambda: queues.mmc(1, math.inf, 1), "the service rate is inf"),
        (lambda: queues.mmc(1, 2, 0), "the number of servers is 0; it must be a whole number from 1"),
        (lambda: queues.mmc(1, 2, 1.5), "the number of servers is 1.5"),  # type: ignore[arg-type]  # as an untyped caller may
        (lambda: queues.mmc(1, 2, 10**9), "to 10000000"),
        (lambda: queues.mmck(1, 2, 4, 3), "3 places hold fewer tasks than 4 servers"),
        (lambda: queues.mmc_wait_quantile(1, 2, 1, 1.0), "the share of tasks is 1; it must lie between 0 and 1"),
        (lambda: queues.mmc_wait_tail(1, 2, 1, -1), "the time is -1"),
        (lambda: queues.erlang_b(3, 0), "the offered load is 0"),
        (lambda: staffing.for_wait(1, 1, 1, 1.0), "the target probability is 1"),
        (lambda: staffing.for_wait_probability(1, 1, 0), "may wait is 0"),
        (lambda: laws.Uniform(3, 2), "the longest time is 2; it must exceed the shortest, 3"),
        (lambda: heavy.BoundedPareto(1, math.inf, 1.5), "the longest time is inf"),
        (lambda: heavy.BoundedPareto(1, 10, 0), "alpha is 0"),
        (lambda: heavy.BoundedPareto(1, 1e300, 1.5), "the longest time is 1e+300"),
        (lambda: laws.Deterministic(1e-200), "from 1e-90 to 1e+90"),
        (lambda: heavy.Weibull(0.01, 1), "the shape is 0.01"),
        (lambda: heavy.Weibull(0.05, 1e80), "leave the range of numbers"),
        (lambda: heavy.Lognormal(0, 50), "sigma 50"),
        (lambda: laws.balanced_h2(1, 1), "give more than 1"),
        (lambda: laws.Hyperexponential(((0.5, 1.0), (0.4, 2.0))), "the shares of the kinds add up to 0.9"),
        (lambda: general.kingman(0.5, 1, -1, 1), "of arrivals is -1"),
        (lambda: priorities.nonpreemptive([]), "there are no classes"),
        (lambda: priorities.ageing([priorities.exponential_class(1, 2)], []), "0 slopes for 1 classes"),
        (lambda: dispatch.response(2, 1.0), "rho is 1"),
        (lambda: availability.k_of_n(1.1, 1, 2), "the availability of a unit is 1.1"),
        (lambda: availability.repaired(1, 1, 3, 2), "3 of 2 units must work"),
        (lambda: availability.single(1000, 0), "the mean time to repair is 0"),
        (lambda: elastic.fixed_grant_s(1, 1, 4, 8, 1), "a grant of 8 units exceeds all 4"),
        (lambda: elastic.equal_split_s(1, 1, 4, 3, 2, 1), "grants from 3 to 2"),
        (lambda: elastic.equal_split_s(1, 1, 4, 1, 2, 1.5), "the exponent of the speed-up is 1.5"),
        (lambda: sharing.fill(1, [1, 1], [2, 2]), "the floors add up to 2, more than the capacity 1"),
        (lambda: sharing.fill(1, [0], [1, 1]), "1 floors, 2 caps"),
        (lambda: sharing.fill(1, [3], [2]), "a cap is below its floor"),
        (lambda: predictions.NoisySizes(exponential(), 0.001), "sigma is 0.001; it must be from 0.02"),
        (lambda: sharing.Range(3, 2), "the most, 2, is below the least, 3"),
        (lambda: sharing.overcommitted({"a": {"cpu": 1}}, [("b", {"cpu": 1})]), "'b', which is no node; the nodes are a"),
        (lambda: Users.of([1, 1], [[1]]), "there are 2 resources"),
        (lambda: Users.of([1], [[0]]), "needs nothing"),
        (lambda: Users.of([1], [[1]], [1, 2]), "2 weights for 1 users"),
        (lambda: equal_incomes(Users.of([1], [[1]])), "there are 1 users; this is worked out for 2"),
        (lambda: Ageing(0, 1), "tau is 0"),
        (lambda: Ageing(1, 1).key(0, 0), "the estimate is 0"),
        (lambda: tau_for(60, size_ratio=0.5, omega=1, most_level=1), "is 0.5; it must be 1 or more"),
        (lambda: graphs.TaskGraph([[1.0], [1.0]], {(0, 1): 1.0, (1, 0): 1.0}), "in a circle: "),
        (lambda: graphs.TaskGraph([[1.0]], {(0, 1): 1.0}), "leaves the tasks 0 to 0"),
        (lambda: graphs.TaskGraph([], {}), "at least one of both"),
    ],
)  # fmt: skip
def test_a_number_that_makes_no_sense_is_named(ask: Callable[[], object], says: str) -> None:
    """And the message says what would be right."""
    with pytest.raises(BadNumber) as caught:
        ask()
    assert says in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("ask", "rho"),
    [
        (lambda: queues.mm1(2, 2), 1.0),
        (lambda: queues.mmc(12, 1, 10), 1.2),
        (lambda: queues.erlang_c(3, 3.3), 1.1),
        (lambda: general.mg1(2, laws.Deterministic(1)), 2.0),
        (lambda: general.gim1(laws.Deterministic(1), 0.5), 2.0),
        (lambda: general.mdc(4, 1, 4), 1.0),
        (lambda: response_s(Order.SRPT, 1.5, exponential()), 1.5),
        (lambda: priorities.preemptive([priorities.exponential_class(1, 2)] * 2), 1.0),
        (lambda: elastic.equal_split_s(5, 1, 4, 1, 2, 1), 1.25),
        (lambda: elastic.fixed_grant_s(3, 1, 4, 4, 0.5), 1.5),
    ],
)
def test_more_work_than_the_servers_can_do_has_no_mean(ask: Callable[[], object], rho: float) -> None:
    """The error carries the load and says how to get below 1."""
    with pytest.raises(Overloaded, match="grows without bound") as caught:
        ask()
    assert caught.value.rho == pytest.approx(rho)


def test_an_overload_says_how_many_servers_would_do() -> None:
    """One sentence each: what, what it means, what to do."""
    with pytest.raises(Overloaded, match=r"keeps 12 servers busy and there are 10\. .* Take at least 13 servers"):
        queues.mmc(12, 1, 10)


def test_a_load_too_near_to_1_is_refused() -> None:
    """Instead of digits that mean nothing."""
    with pytest.raises(CannotPlan, match="so near to 1"):
        response_s(Order.SRPT, 1 - 1e-12, exponential())


def test_a_fleet_too_large_to_count_is_refused() -> None:
    """Instead of a computation that never ends."""
    with pytest.raises(CannotPlan, match="Split the question"):
        staffing.for_wait(1e12, 1, 1, 0.9)


ANY = st.one_of(st.floats(), st.floats(1e-6, 1e6))
FEW = st.integers(-1, 40)


@settings(deadline=None, max_examples=150)
@given(a=ANY, b=ANY, c=ANY, d=ANY, n=FEW, k=FEW)
def test_whatever_the_numbers_the_answer_is_a_number_or_a_reason(a: float, b: float, c: float, d: float, n: int, k: int) -> None:
    """No division by zero, no overflow, no NaN, out of any floats."""
    asked: list[Callable[[], tuple[float, ...]]] = [
        lambda: _all(queues.mmc(a, b, n)),
        lambda: _all(queues.mmck(a, b, n, k)),
        lambda: _all(queues.mm1(a, b)),
        lambda: _all(staffing.for_wait(min(a, 1e4), max(b, 0.1), c, d)),
        lambda: _all(availability.single(a, b)),
        lambda: _all(availability.repaired(a, b, k, n))[1:],  # without the time to an outage, which may be beyond all numbers
        lambda: _all(general.mg1(a, heavy.BoundedPareto(b, c, d))),
        lambda: _all(general.mg1(a, laws.Uniform(b, c))),
        lambda: _all(general.mdc(a, b, n)),
        lambda: (general.allen_cunneen(a, b, n, c, d), general.sakasegawa(a, b, n, c, d)),
    ]
    for ask in asked:
        with suppress(CannotPlan):
            found = ask()
            assert all(math.isfinite(one) and one >= 0 for one in found), found


def _all(answer: object) -> tuple[float, ...]:
    names = [name for one in type(answer).__mro__ for name in getattr(one, "__slots__", ())]
    return tuple(getattr(answer, name) for name in names)


def test_the_room_is_pure() -> None:
    """Planning imports itself and the standard library's arithmetic: no clock, no dice, no broker, no numerical library."""
    allowed = {"__future__", "bisect", "cmath", "collections", "dataclasses", "enum", "fractions", "functools", "graphlib", "heapq",
               "itertools", "math", "typing"}  # fmt: skip
    assert allowed <= sys.stdlib_module_names
    for path in (Path(__file__).parents[2] / "orchestrator" / "planning").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.module, path
                assert node.module.startswith("orchestrator.planning") or node.module.partition(".")[0] in allowed, (
                    path,
                    node.module,
                )
            elif isinstance(node, ast.Import):
                assert {alias.name for alias in node.names} <= allowed, path
