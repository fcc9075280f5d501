"""The tools below the formulas, against values known exactly."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.planning.numerics import NoConvergence, bessel_k, integrate, lower_gamma, normal_cdf, points, root

calm = settings(deadline=None, max_examples=40)
"""Without a limit of time: machines that are busy compute the same."""


@pytest.mark.parametrize("power", range(0, 23, 2))
def test_fifteen_points_are_exact_for_polynomials(power: int) -> None:
    """Up to degree 22: no digit of nodes and weights is wrong."""
    assert math.fsum(weight * x**power for x, weight in points(-1, 1)) == pytest.approx(2 / (power + 1), rel=4e-15)


def test_integrals_of_difficult_functions() -> None:
    """A peak, a kink, a singularity at the end."""
    assert integrate(lambda x: 1 / (1e-6 + x * x), [-1, 0.3, 1]) == pytest.approx(2e3 * math.atan(1e3), rel=1e-11)
    assert integrate(lambda x: abs(x - 1 / 3), [0, 1]) == pytest.approx(5 / 18, rel=1e-11)
    assert integrate(math.sqrt, [0, 1]) == pytest.approx(2 / 3, rel=1e-11)


def test_an_integral_that_does_not_exist_is_not_made_up() -> None:
    """1/x² from 0 on has none."""
    with pytest.raises(NoConvergence, match="an integral from 0 to 1"):
        integrate(lambda x: 1 / x**2, [0, 1])


@calm
@given(a=st.integers(1, 40), x=st.floats(0, 200))
def test_the_gamma_law_of_whole_shape(a: int, x: float) -> None:
    """Is one minus a Poisson sum."""
    below = math.fsum(math.exp(k * math.log(x) - x - math.lgamma(k + 1)) for k in range(a)) if x > 1e-300 else 1.0
    assert abs(lower_gamma(a, x) - (1 - below)) < 2e-13


@calm
@given(x=st.floats(1e-4, 30))
def test_the_gamma_law_of_shape_one_half(x: float) -> None:
    """Is the error function."""
    assert lower_gamma(0.5, x) == pytest.approx(math.erf(math.sqrt(x)), rel=1e-13)


def test_bessel_functions() -> None:
    """Abramowitz & Stegun, table 9.8, and the recurrence K₃ = K₁ + 4/x·K₂."""
    assert bessel_k(1.0)[:3] == pytest.approx((0.42102443824070833, 0.60190723019723457, 1.62483889863517748), rel=1e-14)
    assert bessel_k(0.1)[:2] == pytest.approx((2.42706902470283700, 9.85384478087060700), rel=1e-13)
    for x in (1e-3, 0.1, 1.0, 7.0, 40.0):
        k = bessel_k(x)
        assert k[2] == pytest.approx(k[0] + 2 / x * k[1], rel=1e-13)
        assert k[3] == pytest.approx(k[1] + 4 / x * k[2], rel=1e-13)


def test_the_normal_law_in_its_tails() -> None:
    """Where 1 - Φ would have no digits left."""
    assert normal_cdf(-10) == pytest.approx(7.61985302416052607e-24, rel=1e-12)
    assert normal_cdf(0) == 0.5


def test_a_root_needs_a_change_of_sign() -> None:
    """Else there may be none."""
    assert root(lambda x: x * x - 2, 0, 2) == pytest.approx(math.sqrt(2), rel=1e-15)
    with pytest.raises(NoConvergence, match="no change of sign"):
        root(lambda x: x * x + 1, 0, 2)
