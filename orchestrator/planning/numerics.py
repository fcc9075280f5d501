"""Integrals, special functions and roots, as far as the formulas need them.

Law: every result is good to 1e-10 or the function raises; nothing is returned that did not converge.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

NODES = (
    0.991455371120812639206854697526329, 0.949107912342758524526189684047851, 0.864864423359769072789712788640926,
    0.741531185599394439863864773280788, 0.586087235467691130294144691693829, 0.405845151377397166906606412076961,
    0.207784955007898467600689403773245, 0.0,
)  # fmt: skip
"""Kronrod's 15 points on [-1, 1], the right half; every second one is also Gauss's of 7 (Kronrod 1965; QUADPACK 1983)."""

KRONROD = (
    0.022935322010529224963732008058970, 0.063092092629978553290700663189204, 0.104790010322250183839876322541518,
    0.140653259715525918745189590510238, 0.169004726639267902826583426598550, 0.190350578064785409913256402421014,
    0.204432940075298892414161999234649, 0.209482141084727828012999174891714,
)  # fmt: skip
GAUSS = (
    0.129484966168869693270611432679082, 0.279705391489276667901467771423780,
    0.381830050505118944950369775488975, 0.417959183673469387755102040816327,
)  # fmt: skip

RELATIVE = 1e-11
"""How exact an integral is to be, of its own size."""

MOST_PIECES = 1000
"""Where an integral is given up: no function of this room needs half of it."""


class NoConvergence(ArithmeticError):
    """An integral or a series did not settle. The integrand is not smooth enough: a mistake of this room, not of the question."""


def points(low: float, high: float) -> Iterator[tuple[float, float]]:
    """Kronrod's 15 points on [low, high] and their weights: exact for polynomials up to degree 22."""
    middle, half = (low + high) / 2, (high - low) / 2
    for node, weight in zip(NODES, KRONROD, strict=True):
        yield middle + half * node, half * weight
        if node:
            yield middle - half * node, half * weight


def _piece(f: Callable[[float], float], low: float, high: float) -> tuple[float, float]:
    """The integral over one piece, and how much Gauss and Kronrod differ on it."""
    middle, half = (low + high) / 2, (high - low) / 2
    kronrod = gauss = 0.0
    for index, (node, weight) in enumerate(zip(NODES, KRONROD, strict=True)):
        value = f(middle + half * node) + f(middle - half * node) if node else f(middle)
        kronrod += weight * value
        if index % 2:
            gauss += GAUSS[index // 2] * value
    return half * kronrod, abs(half * (kronrod - gauss))


def integrate(f: Callable[[float], float], at: Sequence[float], relative: float = RELATIVE) -> float:
    """The integral of ``f`` from the first to the last of the ascending breakpoints ``at``.

    Adaptive Gauss-Kronrod: the piece with the largest doubt is halved until the doubts add up to ``relative`` of the whole. Raises
    NoConvergence.
    """
    pieces = []
    for low, high in pairwise(at):
        value, doubt = _piece(f, low, high)
        pieces.append((-doubt, low, high, value))
    heapq.heapify(pieces)
    whole, doubt = math.fsum(one[3] for one in pieces), math.fsum(-one[0] for one in pieces)
    while not doubt <= relative * abs(whole) < math.inf:
        if len(pieces) > MOST_PIECES or not math.isfinite(doubt):
            raise NoConvergence(f"an integral from {at[0]:g} to {at[-1]:g} is known to {doubt:g} of {whole:g} only")
        worst, low, high, value = heapq.heappop(pieces)
        middle = (low + high) / 2
        for one in ((low, middle), (middle, high)):
            part, part_doubt = _piece(f, *one)
            heapq.heappush(pieces, (-part_doubt, *one, part))
            whole += part
            doubt += part_doubt
        whole -= value
        doubt += worst
        if len(pieces) % 64 == 0:  # what adding and taking away left behind
            whole, doubt = math.fsum(one[3] for one in pieces), math.fsum(-one[0] for one in pieces)
    return math.fsum(one[3] for one in pieces)


def even(low: float, high: float, pieces: int) -> list[float]:
    """``pieces`` + 1 breakpoints at equal distances."""
    return [low + (high - low) * k / pieces for k in range(pieces)] + [high]


def root(f: Callable[[float], float], low: float, high: float) -> float:
    """Where ``f`` changes its sign between ``low`` and ``high``, by bisection down to neighbouring numbers.

    Raises NoConvergence if both ends have the same sign.
    """
    rising = f(high) > 0
    if (f(low) > 0) == rising:
        raise NoConvergence(f"no change of sign between {low:g} and {high:g}")
    while True:
        middle = (low + high) / 2
        if not low < middle < high:
            return middle
        if (f(middle) > 0) == rising:
            high = middle
        else:
            low = middle


def lower_gamma(a: float, x: float) -> float:
    """The regularised lower incomplete gamma function P(a, x): the share of a gamma law of shape ``a`` below ``x``.

    Series below a + 1, continued fraction (Lentz) above. Source: Abramowitz & Stegun 6.5.29, 6.5.31.
    """
    if x <= 0:
        return 0.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        n = a
        while term > total * 1e-17:
            n += 1
            term *= x / n
            total += term
        return front * total
    return 1 - front * _upper_fraction(a, x)


def _upper_fraction(a: float, x: float) -> float:
    b = x + 1 - a
    c, d = math.inf, 1 / b
    total = d
    for k in range(1, 10_000):
        over = k * (a - k)
        b += 2
        d = 1 / (over * d + b)
        c = b + over / c
        total *= c * d
        if abs(c * d - 1) < 4e-16:
            return total
    raise NoConvergence(f"the incomplete gamma function at a={a:g}, x={x:g}")


def normal_cdf(x: float) -> float:
    """The share of a standard normal law below ``x``; exact to the last digits in both tails."""
    return math.erfc(-x / math.sqrt(2)) / 2


def normal_density(x: float) -> float:
    """The density of the standard normal law."""
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def bessel_k(x: float) -> tuple[float, float, float, float]:
    """The modified Bessel functions K₀ … K₃ at x > 0.

    K_n(x) = ∫₀^∞ exp(-x·cosh t)·cosh(n·t) dt by the trapezoidal rule, which for this integrand converges faster than any power of
    its step. Source: Abramowitz & Stegun 9.6.24.
    """
    step = 1 / 16
    sums = [math.exp(-x) / 2] * 4
    for k in range(1, 10_000):
        t = k * step
        weight = math.exp(-x * math.cosh(t))
        for n in range(4):
            sums[n] += weight * math.cosh(n * t)
        if weight * math.cosh(3 * t) <= 1e-18 * sums[3] and weight <= 1e-18 * sums[0]:
            return sums[0] * step, sums[1] * step, sums[2] * step, sums[3] * step
    raise NoConvergence(f"the Bessel functions at x={x:g}")
