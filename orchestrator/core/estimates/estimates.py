"""How long tasks run: learned from what ended, expected of what waits.

Law: soft. What stands here may be wrong and costs at most time, never a task; it is fed from facts as they are read, so whoever
takes over expects what its predecessor did. A task is like those of its type, size, demand and tenant; where none was seen, like
those that share less with it. What its producer or its handler says of it (the hint) is corrected by how such hints turned out,
and weighs against what was seen as their errors do: a hint alone decides before anything was seen, and a good one for ever.

Tasks are *ranked* by the mean of the logarithm (``middle_ns``): on a published GPU trace that halved the mean slowdown of
shortest-first against ranking by the arithmetic mean, which a few long runs govern, at the same mean wait. Sums of work and the
end of what runs use the mean.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from itertools import islice
from math import exp, frexp, log, log2
from typing import Literal, NamedTuple, TypeAlias

from orchestrator.core.custody.records import Record
from orchestrator.core.estimates.histories import FULL, History, Ratio, deviation, factor_off
from orchestrator.core.estimates.speeds import Speeds
from orchestrator.vocabulary import NS_PER_S, Nanos, Service, TaskType, service_of
from orchestrator.wire.messages import Task

SHORTEST_NS = 1_000
"""Run times of less than a microsecond are told by no clock that agents have."""
KEYS_MAX = 10_000
"""Kinds of tasks that are remembered; beyond, those not met for longest are forgotten."""
MOVED = log(1.2)
"""An estimate that has moved by more than a fifth moves those who wait."""
NORMAL_90 = 1.2816
"""So many standard deviations above its mean lies the 0.9 quantile of a normal distribution."""

Mode: TypeAlias = Literal["learn", "trust"]


class Estimate(NamedTuple):
    """What is expected of a task's run time."""

    mean_ns: Nanos
    middle_ns: Nanos
    """The geometric mean: tasks are ranked by it."""
    long_ns: Nanos
    """Nine of ten need no longer."""
    error: float | None
    """By how much expectations of this kind were typically off (0.5: half as long again, or as little); None: not known yet."""
    samples: int
    """How many runs it rests on, older ones in part."""
    source: str
    """What they have in common with this task."""


class Estimates:
    """What was learned of run times. ``trust``: what a task says of itself is taken as it is."""

    def __init__(self, mode: Mode = "learn") -> None:
        self.mode = mode
        self.moved: dict[Hashable, TaskType] = {}
        """Kinds of tasks (``kind_of``), with their type, of which something else is expected than those who wait were ordered
        by."""
        self.rescaled: dict[Service, None] = {}
        """Services whose typical run time has changed."""
        self._histories: OrderedDict[Hashable, History] = OrderedDict()
        self._hints: OrderedDict[Hashable, Ratio] = OrderedDict()
        self.speeds = Speeds()
        self._said: dict[TaskType, Nanos] = {}
        """What handlers say of their tasks."""
        self._scales: dict[Service, Nanos] = {}

    # --- learning ---------------------------------------------------------------------------------------------------------

    def hint(self, type_: TaskType, estimate_ns: Nanos | None) -> None:
        """What a handler says of its tasks."""
        if self._said.get(type_) != (estimate_ns or None):
            if estimate_ns:
                self._said[type_] = estimate_ns
            else:
                del self._said[type_]
            self.moved |= dict.fromkeys([kind for kind in self._histories if _is_of(kind, type_)], type_)
            self.moved[type_,] = type_

    def learn(self, task: Task, ran_ns: Nanos, instance: str = "") -> bool:
        """Such a task was done after so long, on that instance (by name). Gives whether anything was made of it."""
        kind = kind_of(task)
        known = self._histories.get(kind)
        wanted = known is None or known.wanted()
        if not wanted and not (instance and self.speeds.wants(task.type, instance)):
            return False  # the quick look first: most ends teach nothing new
        leaf = self._history(kind)
        if known is None:
            leaf.wanted()
        ran_ns = max(ran_ns, SHORTEST_NS)
        size = log(ran_ns)
        expected = self._expect(task)
        if expected.source:
            by = size - log(max(1, expected.middle_ns))
            leaf.missed(by)
            if instance:
                self.speeds.learn(task.type, instance, -by)
        if not wanted:
            return True
        hint_ns = task.estimate_ns or self._said.get(task.type)
        if hint_ns:
            self._ratio(self._hints, (task.tenant, task.type), 0.01).add(size - log(hint_ns))
        leaf.add(ran_ns)
        self._publish(task.type, kind, leaf)
        for kind, _ in islice(_kinds(task), 1, None):
            history = self._history(kind)
            if history.wanted():
                history.add(ran_ns)
                if kind == (task.type,):
                    self._publish(task.type, kind, history)
        self._rescale(service_of(task.type))
        return True

    def learn_cut(self, task: Task, ran_ns: Nanos) -> bool:
        """Such a task was cut short after so long: it failed, was stopped, or its instance was lost. Gives as ``learn`` does."""
        if ran_ns <= 0:
            return False
        for kind, _ in _kinds(task):
            self._history(kind).add_cut(ran_ns)
        kind = kind_of(task)
        self._publish(task.type, kind, self._history(kind))
        return True

    def tidy(self) -> None:
        """What handlers have said, and how long services' tasks run, is remembered of as many as all else; the oldest go first."""
        for table in (self._said, self._scales):
            if len(table) > KEYS_MAX:
                for name in list(table)[:-KEYS_MAX]:
                    del table[name]

    # --- expecting --------------------------------------------------------------------------------------------------------

    def expect(self, record: Record) -> Estimate:
        """The run time of this task, from its very start."""
        return self._expect(record.task)

    def remaining(self, record: Record, ran_ns: Nanos | None = None) -> Estimate:
        """The run time still before this task, of which so much lies behind it (none: what its checkpoint has saved).

        One that has outlived what was expected goes on as long as those did that ran so long; if none did, as long again.
        """
        whole = self._expect(record.task)
        if ran_ns is None:
            ran_ns = record.ran_ns
        if not ran_ns:
            return whole
        history = self._known(record.task)[0]
        if history is None or whole.source == "its own word":
            rest_ns = whole.mean_ns - ran_ns if whole.mean_ns > ran_ns else ran_ns - whole.mean_ns
            return whole._replace(mean_ns=rest_ns, middle_ns=rest_ns, long_ns=max(rest_ns, whole.long_ns - ran_ns))
        rest = history.rest_after(ran_ns)
        if ran_ns < whole.mean_ns:  # what is expected of this very task may be more, or less, than of its kind
            rest = rest * (whole.mean_ns - ran_ns) / max(1.0, history.mean_ns - ran_ns) if history.mean_ns > ran_ns else rest
        long = max(rest, whole.long_ns - ran_ns)
        return whole._replace(mean_ns=round(rest), middle_ns=round(rest), long_ns=round(long))

    def knows(self, kind: Hashable) -> bool:
        """Whether anything of exactly this kind was seen; else it is expected to be like others."""
        return kind in self._histories

    def of_type(self, type_: TaskType) -> Estimate | None:
        """What is known of a type as a whole; None: nothing."""
        history = self._histories.get((type_,))
        return _seen(history, "type") if history is not None and history.samples else None

    def typical_ns(self, service: Service) -> Nanos:
        """How long tasks of this service run, roughly: a power of two near the mean, in seconds."""
        return self._scales.get(service, NS_PER_S)

    # --- within -----------------------------------------------------------------------------------------------------------

    def _expect(self, task: Task) -> Estimate:
        if self.mode == "trust" and task.estimate_ns:
            exact_ns = task.estimate_ns
            self._scales.setdefault(service_of(task.type), _power_of_two(exact_ns))
            return Estimate(exact_ns, exact_ns, exact_ns, 0.0, 0, "its own word")
        history, source = self._known(task)
        hint_ns = task.estimate_ns or self._said.get(task.type)
        if history is None:
            return self._hinted(task, hint_ns) if hint_ns else self._guess(task)
        seen = _seen(history, source)
        if not hint_ns:
            return seen
        ratio = self._hints.get((task.tenant, task.type))
        bias, unsure = (ratio.bias, ratio.uncertainty) if ratio is not None else (0.0, 1.0)
        said, known = 1 / unsure, 1 / history.variance
        middle = ((log(hint_ns) + bias) * said + history.middle * known) / (said + known)
        scale = exp(middle) / seen.middle_ns
        mean_ns, middle_ns, long_ns = _whole(seen.mean_ns * scale), _whole(exp(middle)), _whole(seen.long_ns * scale)
        return Estimate(mean_ns, middle_ns, long_ns, seen.error, seen.samples, f"{source}, hint")

    def _hinted(self, task: Task, hint_ns: Nanos) -> Estimate:
        """Nothing like it was seen: what was said, as such words turned out."""
        ratio = self._hints.get((task.tenant, task.type))
        bias, unsure = (ratio.bias, ratio.uncertainty) if ratio is not None else (0.0, 1.0)
        middle = hint_ns * exp(bias)
        self._scales.setdefault(service_of(task.type), _power_of_two(middle))
        long_ns = _whole(middle * exp(NORMAL_90 * deviation(unsure)))
        return Estimate(_whole(middle), _whole(middle), long_ns, None, 0, "hint")

    def _guess(self, task: Task) -> Estimate:
        typical_ns = self.typical_ns(service_of(task.type))
        return Estimate(typical_ns, typical_ns, typical_ns, None, 0, "")

    def _known(self, task: Task) -> tuple[History | None, str]:
        if task.size is None and not task.need and not task.tenant:  # the quick look at what most tasks are like
            history = self._histories.get((task.type,))
            if history is not None and history.samples:
                return history, "type"
        for kind, source in _kinds(task):
            history = self._histories.get(kind)
            if history is not None and history.samples:
                return history, source
        return None, ""

    def _history(self, kind: Hashable) -> History:
        found = self._histories.get(kind)
        if found is None:
            found = self._histories[kind] = History()
            if len(self._histories) > KEYS_MAX:
                self._histories.popitem(last=False)
        else:
            self._histories.move_to_end(kind)
        return found

    def _ratio(self, table: OrderedDict[Hashable, Ratio], key: Hashable, weight: float) -> Ratio:
        found = table.get(key)
        if found is None:
            found = table[key] = Ratio(weight)
            if len(table) > KEYS_MAX:
                table.popitem(last=False)
        else:
            table.move_to_end(key)
        return found

    def _publish(self, type_: TaskType, kind: Hashable, history: History) -> None:
        """Those who wait are ordered anew if this has moved far enough, and not with every run of the first few."""
        soon = 2 * history.published_at if history.published_at < FULL else history.published_at + FULL
        if history.seen >= soon and abs(history.middle - history.published) > MOVED:
            history.published, history.published_at = history.middle, history.seen
            self.moved[kind] = type_

    def _rescale(self, service: Service) -> None:
        """The typical run time follows the mean once it is off by more than a factor of two."""
        mean_ns = max(SHORTEST_NS, self._histories[service,].mean_ns)
        scale_ns = self._scales.get(service)
        if scale_ns is None or not scale_ns / 2 <= mean_ns <= scale_ns * 2:
            self._scales[service] = _power_of_two(mean_ns)
            self.rescaled[service] = None


def kind_of(task: Task) -> Hashable:
    """What a task has in common with those that are most like it: of all of them the same is expected, unless they say
    otherwise."""
    if task.size is None and not task.need and not task.tenant:
        return (task.type,)
    return next(_kinds(task))[0]


def _is_of(kind: Hashable, type_: TaskType) -> bool:
    return isinstance(kind, tuple) and kind[0] == type_


def _kinds(task: Task) -> Iterator[tuple[Hashable, str]]:
    """What a task has in common with others, from much to little, and how that is called.

    Of a published trace in which every job has a name of its own (NREL Eagle) the tenant halved what `sjf` leaves of the mean
    slowdown.
    """
    type_, need, tenant = task.type, task.need, task.tenant
    size = None if task.size is None else round(2 * log2(task.size)) if task.size > 0 else -10_000
    special = repr(need) if need else ""
    if size is not None or special or tenant:
        named = "type" + (", size" if size is not None else "") + (", demand" if special else "")
        if tenant:
            yield (type_, size, special, tenant), f"{named}, tenant"
        if size is not None or special:
            yield (type_, size, special, ""), named
        if size is not None and special:
            yield (type_, size, "", ""), "type, size"
    yield (type_,), "type"
    service = service_of(type_)
    if tenant:
        yield (service, None, "", tenant), "service, tenant"
    if special:
        yield (service, None, special, ""), "service, demand"
    yield (service,), "service"


def _seen(history: History, source: str) -> Estimate:
    miss = factor_off(history.miss) if history.seen > 1 else None
    mean_ns, middle_ns, long_ns, samples = history.summary
    return Estimate(mean_ns, middle_ns, long_ns, miss, samples, source)


def _whole(span_ns: float) -> Nanos:
    """In whole nanoseconds, and some: a small hint of one whose hints were far too large would come to none, of which there is no
    logarithm."""
    return max(1, round(span_ns))


def _power_of_two(span_ns: float) -> Nanos:
    """The power of two of a second that is nearest in ratio, not below a millionth."""
    mantissa, exponent = frexp(max(span_ns, SHORTEST_NS) / NS_PER_S * 2**0.5)
    assert 0.5 <= mantissa < 1
    return max(1, round(NS_PER_S * 2.0 ** (exponent - 1)))
