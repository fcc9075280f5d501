"""Invented traces: arrivals by a process, run times by a law, both named as on the command line.

Law: everything follows from the dice handed in. Both are made with mean 1 and then scaled: run times to the mean that is asked for,
arrivals to the load.

    arrivals   poisson | deterministic | h2:SCV | mmpp:RATIO,SHARE,LENGTH
    run times  exp | det | erlang:STAGES | uniform:LOW,HIGH | h2:SCV | lognormal:SCV | weibull:SHAPE | pareto:ALPHA |
               bpareto:LOW,HIGH,ALPHA

``mmpp`` (Markov-modulated Poisson): most of the time quiet, a ``SHARE`` of it a burst, in which tasks come ``RATIO`` times as fast;
quiet time and burst together last on average as long as ``LENGTH`` tasks take to come (10, 0.1, 200).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import NamedTuple, TypeAlias

from orchestrator.traces.errors import BadTrace
from orchestrator.traces.task import Trace, TraceTask, trace_of

Draws: TypeAlias = Iterator[float]
"""Times, one after the other."""


class Law(NamedTuple):
    """A law that may be named: its parameters, for people; what they are if none are given; and the times it draws."""

    takes: str
    usual: tuple[float, ...]
    draw: Callable[..., Draws]


def synthetic(name: str, count: int, arrivals: str, service: str, mean_s: float | None, dice: Random) -> Trace:
    """``count`` tasks whose arrivals are one second apart on average. Raises BadTrace for a law that is not known, or no tasks.

    ``mean_s``: the mean run time; None: as the law has it (1, if it has none of its own).
    """
    if count < 1:
        raise BadTrace(f"a trace of {count} tasks is none")
    between = drawn(ARRIVALS, "arrival process", arrivals, Random(dice.random()))
    runs = drawn(SERVICES, "law of run times", service, Random(dice.random()))
    at_s, tasks = 0.0, []
    times = [next(runs) for _ in range(count)]
    scale = 1.0 if mean_s is None else mean_s / mean_of(service)
    for number, time_s in enumerate(times, 1):
        tasks.append(TraceTask(f"t{number}", at_s, time_s * scale))
        at_s += next(between)
    return trace_of(name, tasks)


def drawn(laws: Mapping[str, Law], what: str, text: str, dice: Random) -> Draws:
    """The times that ``text`` names. Raises BadTrace."""
    law, numbers = _parsed(laws, what, text)
    return law.draw(dice, *numbers)


def mean_of(service: str) -> float:
    """The mean of a law of run times: 1, but for those that say their own range. Raises BadTrace."""
    _, numbers = _parsed(SERVICES, "law of run times", service)
    match service.partition(":")[0]:
        case "uniform":
            return sum(numbers) / 2
        case "bpareto":
            return _bounded_mean(*numbers)
    return 1.0


def _parsed(laws: Mapping[str, Law], what: str, text: str) -> tuple[Law, tuple[float, ...]]:
    name, _, rest = text.partition(":")
    law = laws.get(name)
    if law is None:
        there = ", ".join(f"{one}:{law.takes}" if law.takes else one for one, law in laws.items())
        raise BadTrace(f"{name!r} is no {what}; take one of {there}")
    try:
        numbers = tuple(float(word) for word in rest.split(",")) if rest else law.usual
    except ValueError:
        numbers = ()
    wanted = len(law.takes.split(",")) if law.takes else 0
    if len(numbers) != wanted or not all(0 < number < math.inf for number in numbers):
        raise BadTrace(f"{text!r} is no {what}; write {name}{f':{law.takes}' if law.takes else ''}, with numbers above 0")
    problem = _PROBLEMS[name](*numbers) if name in _PROBLEMS else ""
    if problem:
        raise BadTrace(f"{text!r} is no {what}: {problem}")
    return law, numbers


_PROBLEMS: Mapping[str, Callable[..., str]] = {
    "mmpp": lambda ratio, share, length: "" if ratio >= 1 and share < 1 else "RATIO is at least 1, SHARE below 1",
    "h2": lambda scv: "" if scv >= 1 else "its SCV is at least 1",
    "erlang": lambda stages: "" if stages.is_integer() else "STAGES is a whole number",
    "uniform": lambda low, high: "" if low <= high else "LOW exceeds HIGH",
    "pareto": lambda alpha: "" if alpha > 1 else "with ALPHA at most 1 it has no mean",
    "bpareto": lambda low, high, alpha: "" if low < high else "LOW is below HIGH",
}


# --- laws, with mean 1 ------------------------------------------------------------------------------------------------


def _exponential(dice: Random) -> Draws:
    while True:
        yield dice.expovariate(1.0)


def _constant(dice: Random) -> Draws:
    while True:
        yield 1.0


def _erlang(dice: Random, stages: float) -> Draws:
    while True:
        yield dice.gammavariate(stages, 1.0 / stages)


def _uniform(dice: Random, low: float, high: float) -> Draws:
    while True:
        yield dice.uniform(low, high)


def _hyperexponential(dice: Random, scv: float) -> Draws:
    """Two exponential branches with balanced means."""
    short = (1 + math.sqrt((scv - 1) / (scv + 1))) / 2
    while True:
        yield dice.expovariate(2 * short) if dice.random() < short else dice.expovariate(2 * (1 - short))


def _lognormal(dice: Random, scv: float) -> Draws:
    variance = math.log(1 + scv)
    while True:
        yield dice.lognormvariate(-variance / 2, math.sqrt(variance))


def _weibull(dice: Random, shape: float) -> Draws:
    scale = 1 / math.gamma(1 + 1 / shape)
    while True:
        yield dice.weibullvariate(scale, shape)


def _pareto(dice: Random, alpha: float) -> Draws:
    least = (alpha - 1) / alpha
    while True:
        yield least * dice.paretovariate(alpha)


def _bounded_pareto(dice: Random, low: float, high: float, alpha: float) -> Draws:
    cut = 1 - (low / high) ** alpha
    while True:
        yield low * (1 - dice.random() * cut) ** (-1 / alpha)


def _bounded_mean(low: float, high: float, alpha: float) -> float:
    kept = 1 - math.pow(low / high, alpha)
    if alpha == 1:
        return low * math.log(high / low) / kept
    return alpha * low / ((alpha - 1) * kept) * (1 - math.pow(low / high, alpha - 1))


def _bursts(dice: Random, ratio: float, share: float, length: float) -> Draws:
    """Rates so that one comes in a unit of time on average; periods are exponential, so the next event decides."""
    quiet = 1 / (1 - share + share * ratio)
    rates = (quiet, quiet * ratio)
    ends = (1 / (length * (1 - share)), 1 / (length * share))
    state, waited = 0, 0.0
    while True:
        step = dice.expovariate(rates[state] + ends[state])
        waited += step
        if dice.random() * (rates[state] + ends[state]) < rates[state]:
            yield waited
            waited = 0.0
        else:
            state = 1 - state


ARRIVALS: Mapping[str, Law] = {
    "poisson": Law("", (), _exponential),
    "deterministic": Law("", (), _constant),
    "h2": Law("SCV", (), _hyperexponential),
    "mmpp": Law("RATIO,SHARE,LENGTH", (10.0, 0.1, 200.0), _bursts),
}

SERVICES: Mapping[str, Law] = {
    "exp": Law("", (), _exponential),
    "det": Law("", (), _constant),
    "erlang": Law("STAGES", (), _erlang),
    "uniform": Law("LOW,HIGH", (), _uniform),
    "h2": Law("SCV", (), _hyperexponential),
    "lognormal": Law("SCV", (), _lognormal),
    "weibull": Law("SHAPE", (), _weibull),
    "pareto": Law("ALPHA", (), _pareto),
    "bpareto": Law("LOW,HIGH,ALPHA", (), _bounded_pareto),
}
