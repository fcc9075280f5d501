"""Many servers with a queue each: a task looks at ``choices`` of them at random and joins the shortest queue.

These are limits for ever more servers: a *lower* target. 100 servers are 1 % above it up to rho .8, 4 % at .95, 15 % at .99; ten
servers 5 % to 50 %. One central queue is better than any of it.
"""

from __future__ import annotations

import math

from orchestrator.planning.errors import between, whole


def busy_share(choices: int, rho: float, tasks: int) -> float:
    """The share of servers with at least ``tasks`` tasks: rho^((d^k - 1)/(d - 1)), k tasks, d choices; exponential service.

    Raises BadNumber. Source: Vvedenskaya, Dobrushin & Karpelevich 1996; Mitzenmacher 1996, 2001.
    """
    d, k = whole("the number of choices", choices), whole("the number of tasks", tasks, 0)
    return _power(between("rho", rho), k if d == 1 else _sum_of_powers(d, k))


def response(choices: int, rho: float) -> float:
    """Mean response time in mean service times, Σ_{i≥1} rho^((d^i - d)/(d - 1)), to the last digits; exponential service, Poisson
    arrivals. One choice is random assignment, 1/(1 - rho). Raises BadNumber. Source: Mitzenmacher 2001.
    """
    d = whole("the number of choices", choices)
    between("rho", rho)
    if d == 1:
        return 1 / (1 - rho)
    terms, exponent = [1.0], d  # exponents d + d² + … + d^(i-1)
    power = d
    while (term := _power(rho, exponent)) > 1e-18:
        terms.append(term)
        power *= d
        exponent += power
    return math.fsum(terms)


def _sum_of_powers(d: int, k: int) -> int:
    """1 + d + … + d^(k-1), but no further than where every power of a number below 1 has vanished."""
    total = 0
    for i in range(min(k, 1100)):
        total += d**i
        if total > 1 << 80:
            break
    return total


def _power(rho: float, exponent: int) -> float:
    """rho^exponent, 0 where that is smaller than any number."""
    return math.pow(rho, min(exponent, 1 << 80))
