"""When a waiting task will start, and a running one end, as far as can be told; and by how much that may be wrong.

Law: looking changes nothing and costs a bounded look. The forecast supposes that nothing more urgent comes and nobody leaves.

It lives through a few possible futures. In each, what runs and what goes before the task takes a time drawn from what is known of
such tasks (a lognormal of the estimate's mean and its nine-of-ten), and all that is of one type is off by one factor more, as the
mean itself may be (error / √samples). Places where such a task fits come free as their holders end, those before it take them in
their order, then it takes the first. The forecast is the mean of these futures, the error their standard deviation. (Means alone
would not do: of ten tasks that run a minute more *on average* the first ends long before.) The draws are a fixed sequence, no dice:
the same question has the same answer.

* A *place* is room for one such task on one instance that could take it: exact for several resources. Who goes before takes as many
  places as its demand is larger; if it is smaller, that share of one.
* Those beyond the first thousand count as a mass: their number times the mean of a sample, over all places.
* A large fleet is thinned: every tenth instance, and every tenth of those before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from heapq import heapify, heappop, heapreplace
from math import exp, log, sqrt
from statistics import NormalDist
from typing import Any, NamedTuple

from orchestrator.core.answers.ahead import Ahead
from orchestrator.core.custody.records import Record
from orchestrator.core.desk import Desk
from orchestrator.core.estimates.estimates import Estimate
from orchestrator.core.estimates.remaining import ran
from orchestrator.core.registry.registry import Instance
from orchestrator.core.scheduler.placing import closed
from orchestrator.resources import Demand, fits
from orchestrator.vocabulary import Nanos, Vector, seconds

BUDGET = 12_000
"""Runs that are drawn for one forecast, all futures together: some ten milliseconds."""
FUTURES_MIN, FUTURES_MAX = 4, 32
MASS_MAX = 200
"""Of those beyond the first thousand so many are looked at."""
LENGTHS = 32
"""Equally likely lengths that stand for a distribution."""
NORMAL_90 = 1.2816
"""Standard deviations from the mean of a normal distribution to its 0.9 quantile."""
SIGMA_MIN, SIGMA_MAX = 0.01, 4.0
MASK = 2**64 - 1
_NORMAL = NormalDist()


class Forecast(NamedTuple):
    """An instant that is expected, and one standard deviation of it."""

    at_ns: Nanos
    error_ns: Nanos

    def plain(self, now: Nanos) -> dict[str, Any]:
        """As data: how long from now, in seconds."""
        return {"in_s": round(seconds(self.at_ns - now), 3), "error_s": round(seconds(self.error_ns), 3), "at_ns": self.at_ns}


class Span(NamedTuple):
    """A run time that is not known for sure: equally likely lengths, and the typical relative error of their mean."""

    lengths: tuple[float, ...]
    bias: float

    @property
    def mean_ns(self) -> float:
        return sum(self.lengths) / len(self.lengths)

    def drawn(self, draws: Draws, shift: float) -> float:
        """One of its lengths, in a future where means are off by ``shift`` deviations."""
        lengths, bias = self.lengths, self.bias
        length = lengths[draws.next() % len(lengths)] if len(lengths) > 1 else lengths[0]
        return length * exp(bias * shift - bias * bias / 2) if bias else length


OVER = Span((0.0,), 0.0)


def whole(estimate: Estimate) -> Span:
    """What an estimate says of a run from its start."""
    sigma = _sigma(estimate)
    if sigma < SIGMA_MIN:
        return Span((float(estimate.mean_ns),), _bias(estimate))
    return Span(tuple(length * estimate.mean_ns for length in _shape(round(sigma, 2))), _bias(estimate))


def rest_of(estimate: Estimate, rest: Estimate, ran_ns: Nanos) -> Span:
    """What two estimates say of the rest of a run: of the whole of it, and of what is left after ``ran_ns``.

    As long as those lengths of the whole that are still possible, scaled to the mean of the rest.
    """
    sigma = _sigma(estimate)
    if sigma < SIGMA_MIN or not ran_ns:
        return whole(rest) if not ran_ns else Span((float(rest.mean_ns),), _bias(rest))
    middle = log(max(1, estimate.middle_ns))
    past = min(0.999, _NORMAL.cdf((log(ran_ns) - middle) / sigma))
    left = [past + (1 - past) * (number + 0.5) / LENGTHS for number in range(LENGTHS)]
    lengths = [max(0.0, exp(middle + sigma * _NORMAL.inv_cdf(share)) - ran_ns) for share in left]
    scale = rest.mean_ns * LENGTHS / max(1.0, sum(lengths))
    return Span(tuple(length * scale for length in lengths), _bias(rest))


def _sigma(estimate: Estimate) -> float:
    """The standard deviation of the logarithm of a run time."""
    spread = estimate.long_ns / max(1, estimate.middle_ns)
    return min(SIGMA_MAX, log(spread) / NORMAL_90) if spread > 1 else 0.0


def _bias(estimate: Estimate) -> float:
    return min(1.0, (estimate.error or 0.0) / sqrt(max(1, estimate.samples)))


@lru_cache(maxsize=512)
def _shape(sigma: float) -> tuple[float, ...]:
    """Equally likely lengths of a lognormal with mean 1."""
    lengths = [exp(sigma * _NORMAL.inv_cdf((number + 0.5) / LENGTHS)) for number in range(LENGTHS)]
    return tuple(length * LENGTHS / sum(lengths) for length in lengths)


class Draws:
    """Numbers that look drawn at random: a linear congruential sequence (Knuth, MMIX), its upper bits."""

    __slots__ = ("_state",)

    def __init__(self, number: int) -> None:
        self._state = number * 0x9E3779B97F4A7C15 & MASK
        self.next()

    def next(self) -> int:
        """From 0 to 4095."""
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) & MASK
        return self._state >> 52


# --- the two questions ----------------------------------------------------------------------------------------------------


def end(desk: Desk, now: Nanos, record: Record) -> Forecast | None:
    """When this running task is expected to end. None: nothing is known of such tasks."""
    estimate = _rest(desk, record, now)
    if not estimate.source:
        return None
    span, mean_ns = _left(desk, record, now), estimate.mean_ns
    squares = sum((length - mean_ns) ** 2 for length in span.lengths) / len(span.lengths)
    return Forecast(now + mean_ns, round(sqrt(squares + (span.bias * mean_ns) ** 2)))


def start(desk: Desk, now: Nanos, record: Record, demand: Demand, before: Ahead) -> Forecast | None:
    """When this waiting task is expected to start.

    None: no instance could take it, or nothing is known of what goes before it.
    """
    could = _could(desk, record, demand)
    if not could:
        return None
    if not before.number and any(one.fits(demand) for one in could):
        return Forecast(now, 0)
    held = sum(len(one.holdings) for one in could)
    thin = max(1, -(-(held + len(before.first)) * FUTURES_MIN // BUDGET))
    could, first = could[::thin], before.first[::thin]
    busy = _busy(desk, now, could)
    usual = {name: sum(one.capacity.get(name, 0) for one in could) / len(could) for name in could[0].capacity}
    queue = _weighed(desk, first, demand, usual)
    mass = _weighed(desk, before.sample[:: len(before.sample) // MASS_MAX + 1], demand, usual)
    if busy is None or queue is None or mass is None:
        return None
    runs = sum(map(len, busy)) + len(queue) + 1
    futures = min(FUTURES_MAX, max(FUTURES_MIN, BUDGET // runs))
    rest = max(0, before.number - len(before.first)) / thin if mass else 0.0
    shifts = [_NORMAL.inv_cdf((number + 0.5) / futures) for number in range(futures)]
    starts = [_future(could, busy, queue, mass, rest, demand, shift, Draws(number)) for number, shift in enumerate(shifts)]
    if None in starts:
        return None
    known = [one for one in starts if one is not None]
    mean = sum(known) / futures
    deviation = sqrt(sum((one - mean) ** 2 for one in known) / (futures - 1))
    return Forecast(now + round(mean), round(deviation))


def _future(
    could: list[Instance],
    busy: list[list[tuple[Span, Vector]]],
    queue: list[tuple[Span, float]],
    mass: list[tuple[Span, float]],
    rest: float,
    demand: Demand,
    shift: float,
    draws: Draws,
) -> float | None:
    """In one possible future: after how many nanoseconds the task starts. None: never, as it seems."""
    places: list[float] = []
    most = len(queue) + 1
    for instance, holdings in zip(could, busy, strict=True):
        free = dict(instance.free)
        taken = _room(demand, free, most)
        places += [0.0] * taken
        ends = sorted(((span.drawn(draws, shift), grant) for span, grant in holdings), key=lambda one: one[0])
        for at, grant in ends:
            for name, amount in grant.items():
                free[name] = free.get(name, 0) + amount
            room = _room(demand, free, most)
            places += [at] * (room - taken)
            taken = max(taken, room)
    if not places:
        return None
    number = len(places)
    heapify(places)
    for span, weight in queue:
        length = span.drawn(draws, shift)
        if weight <= 1.0:
            heapreplace(places, places[0] + length * weight)
        else:
            many = min(number, round(weight))
            at = [heappop(places) for _ in range(many)][-1]
            places += [at + length] * many
            heapify(places)
    if rest:
        each = sum(span.mean_ns * exp(span.bias * shift) * weight for span, weight in mass) / len(mass)
        return places[0] + rest * each / number
    return places[0]


def _could(desk: Desk, record: Record, demand: Demand) -> list[Instance]:
    """Instances that take such tasks now, whether or not they have room: for what else they wait nobody can foretell."""
    pool = desk.registry.pools.get(record.service)
    if pool is None:
        return []
    return [one for one in pool.members.values() if closed(desk, one, record.task.type) is None and fits(demand, one.capacity)]


def _room(demand: Demand, free: Vector, most: int) -> int:
    """For how many such tasks there is room, at most so many."""
    return max(0, min(most, *(free.get(name, 0) // low for name, low, _ in demand.parts if low)))


def _busy(desk: Desk, now: Nanos, could: list[Instance]) -> list[list[tuple[Span, Vector]]] | None:
    """What holds each instance, and for how long still. None: nothing is known of some of it."""
    found = []
    for instance in could:
        mine = []
        for holding in instance.holdings.values():
            if holding.record is None:
                mine.append((OVER, holding.grant))  # its task has ended, it is being recalled
                continue
            estimate = _rest(desk, holding.record, now)
            if not estimate.source:
                return None
            mine.append((_left(desk, holding.record, now), holding.grant))
        found.append(mine)
    return found


def _weighed(desk: Desk, records: list[Record], demand: Demand, usual: Mapping[str, float]) -> list[tuple[Span, float]] | None:
    """How long each of these runs, and how many places of such a task it takes: by their dominant shares of a usual instance.

    None: nothing is known of some of them.
    """
    mine = _share(demand, usual)
    found = []
    for record in records:
        if record.place is not None and record.place.waits is not None:
            continue  # a limit holds it back: others go on
        estimate = desk.estimates.remaining(record)
        if not estimate.source:
            return None
        found.append((whole(estimate), _share(desk.backlog.demand(record), usual) / mine))
    return found


def _share(demand: Demand, usual: Mapping[str, float]) -> float:
    return max((low / usual[name] for name, low, _ in demand.parts if usual.get(name)), default=1.0)


def _rest(desk: Desk, record: Record, now: Nanos) -> Estimate:
    """How long what is on an instance will still take."""
    return desk.estimates.remaining(record, ran(record, now))


def _left(desk: Desk, record: Record, now: Nanos) -> Span:
    return rest_of(desk.estimates.expect(record), _rest(desk, record, now), ran(record, now))
