"""What was seen of one kind of task: a log-bucketed histogram of run times that forgets slowly.

Law: O(1) to add to, about a hundred numbers at most, whatever the tail: buckets are a fifth wide, so every quantile is known to
within that, from a tenth of a millisecond to a year. Old observations fade (half of their weight is gone after ``HALF_LIFE`` newer
ones). An attempt that was cut short says only "at least so long": it is never taken for a completed run.
"""

from __future__ import annotations

from math import exp, log, sqrt
from typing import NamedTuple

from orchestrator.vocabulary import Nanos

LOG_RATIO = log(1.2)
"""Width of a bucket."""
HALF_LIFE = 500
FULL = 100
"""After so many observations every eighth is enough, or learning would cost more than it tells."""
MISS_WEIGHT = 0.05
"""Of the newest observation in the error shown: about the last twenty count."""
SPREAD, SPREAD_SAMPLES = 1.0, 3
"""Before much is seen: run times of one kind differ by a factor e, as sure as from three observations."""


class Summary(NamedTuple):
    """A kind of task in a few numbers."""

    mean_ns: Nanos
    middle_ns: Nanos
    """The geometric mean."""
    long_ns: Nanos
    """Nine of ten take no longer."""
    samples: int
    """How many it rests on, older ones in part."""


class History:
    """Run times of one kind of task, in ns."""

    __slots__ = ("_summary", "counts", "logs", "miss", "published", "published_at", "samples", "seen", "squares", "total")

    def __init__(self) -> None:
        self.counts: dict[int, float] = {}
        """Weight by bucket: bucket b holds run times from ``1.2 ** b`` ns."""
        self.samples = 0.0
        """How many there are, faded."""
        self.total = self.logs = self.squares = 0.0
        """Sums of run times, of their logarithms and of these squared; faded."""
        self.seen = 0
        self.miss = 0.0
        """By how much expectations were wrong, as ``|ln(actual / expected)|``; the last twenty or so."""
        self.published = 0.0
        """The logarithm by which waiting tasks were last ordered; 0: by something else."""
        self.published_at = 0
        """How many had been seen by then."""
        self._summary: Summary | None = None
        """Kept until the next observation: it is asked for much more often."""

    def wanted(self) -> bool:
        """Whether to learn from the next observation. The choice follows no rhythm that instances could fall in step with."""
        self.seen += 1
        return self.seen <= FULL or (self.seen * 0x9E3779B1) & 0xFFFFFFFF < 0x20000000

    def add(self, span_ns: float, weight: float = 1.0) -> None:
        """A run that took so long."""
        self._summary = None
        size = log(max(span_ns, 1.0))
        bucket = int(size / LOG_RATIO)
        self.counts[bucket] = self.counts.get(bucket, 0.0) + weight
        self.samples += weight
        self.total += weight * span_ns
        self.logs += weight * size
        self.squares += weight * size * size
        if self.samples >= 2 * HALF_LIFE:
            self._fade()

    def add_cut(self, span_ns: Nanos) -> None:
        """A run that was cut short then: it would have gone on for as long as such runs do. It counts by how many are over by then,
        so that an attempt that fails at once says nothing.
        """
        if not self.samples:
            self.add(span_ns)
            return
        over = sum(weight for bucket, weight in self.counts.items() if _middle(bucket) <= span_ns) / self.samples
        if over > 0.01:
            self.add(span_ns + self.rest_after(span_ns), over)

    def missed(self, by: float) -> None:
        """An expectation was wrong by so much, in logs."""
        share = MISS_WEIGHT if self.seen > 1 / MISS_WEIGHT else 1 / (self.seen or 1)
        self.miss += share * (abs(by) - self.miss)

    @property
    def summary(self) -> Summary:
        """What was seen, in a few whole numbers."""
        found = self._summary
        if found is None:
            mean_ns, middle_ns, long_ns = round(self.mean_ns), round(exp(self.middle)), round(self.quantile_ns(0.9))
            found = self._summary = Summary(max(1, mean_ns), max(1, middle_ns), max(1, long_ns), max(1, round(self.samples)))
        return found

    @property
    def mean_ns(self) -> float:
        return self.total / self.samples

    @property
    def middle(self) -> float:
        """Mean of the logarithms."""
        return self.logs / self.samples

    @property
    def variance(self) -> float:
        """Of the logarithm of the next one, as far as can be told: few observations say little."""
        spread = max(0.0, self.squares - self.logs * self.middle) + SPREAD * SPREAD_SAMPLES
        return spread / (self.samples + SPREAD_SAMPLES) * (1 + 1 / self.samples)

    def quantile_ns(self, share: float) -> float:
        """Such a share of the runs takes no longer (to within the width of a bucket)."""
        above = (1 - share) * self.samples
        for bucket in sorted(self.counts, reverse=True):
            weight = self.counts[bucket]
            if weight > above + 1e-9:
                return exp((bucket + 1 - above / weight) * LOG_RATIO)
            above -= weight
        return self.mean_ns

    def rest_after(self, ran_ns: float) -> float:
        """How much longer a run takes that has taken so long: the mean residual life. Beyond all that was seen: as long again."""
        weight = total = 0.0
        for bucket, count in self.counts.items():
            middle_ns = _middle(bucket)
            if middle_ns > ran_ns:
                weight += count
                total += count * (middle_ns - ran_ns)
        return total / weight if weight > 0 else max(ran_ns, 1.0)

    def _fade(self) -> None:
        self.counts = {bucket: weight / 2 for bucket, weight in self.counts.items() if weight > 0.02}
        self.samples = sum(self.counts.values())
        self.total, self.logs, self.squares = self.total / 2, self.logs / 2, self.squares / 2


def _middle(bucket: int) -> float:
    return exp((bucket + 0.5) * LOG_RATIO)


class Ratio:
    """How runs turned out against what was said of them: a tenant's hints, an instance's speed. In logarithms, fading."""

    __slots__ = ("_weight", "mean", "samples", "variance")

    def __init__(self, least_weight: float) -> None:
        self._weight = least_weight
        self.samples = 0
        self.mean = self.variance = 0.0

    def add(self, log_ratio: float) -> None:
        self.samples += 1
        share = 1 / self.samples
        if share < self._weight:
            share = self._weight
        off = log_ratio - self.mean
        self.mean += share * off
        self.variance = (1 - share) * (self.variance + share * off * off)

    @property
    def bias(self) -> float:
        """What to add to the logarithm of the next one: little, while little was seen."""
        return self.mean * self.samples / (self.samples + SPREAD_SAMPLES)

    @property
    def uncertainty(self) -> float:
        """Variance of the next one, as far as can be told."""
        few = min(self.samples, 1 / self._weight)
        return (few * self.variance + SPREAD * SPREAD_SAMPLES) / (few + SPREAD_SAMPLES)


def factor_off(miss: float) -> float:
    """An error in logs as people read it: 0.5 means half as long again, or as little."""
    return exp(miss) - 1


def deviation(variance: float) -> float:
    """The standard deviation."""
    return sqrt(variance)
