"""When it pays that a running task makes room for a waiting one.

Law: preemption is cooperative and must earn its cost. A preempted task saves a checkpoint, waits again and is resumed; that costs
``cost_ns`` of somebody's place each time. So it is asked for only where the waiting task gains more than all others lose, and
the rule switches itself off as the load rises: shortest-remaining-time-first without such a rule is unstable as soon as preempting
costs anything.

The rule (an exchange argument, validated by simulation; there is no proof): task n waits, of those that run and whose end would
make room for it the shortest has ``least`` left. Waiting for that one costs n at most ``least``; preempting costs ``cost``, which
delays everyone who waits (waiting / places of them behind each place) and, at load rho, is paid again by all who come within the
same busy period (at most 1 / (places * (1 - rho)) as often)::

    least  >  (1 + margin) * rest of n  +  cost * (1 + waiting / places) * max(1, 1 / (places * (1 - rho)))

The *shortest* rest counts, not that of the victim: where a place frees itself sooner than n would be done, preempting only
moves work about. With ``cost`` 0 all this collapses into plain SRPT: whoever has most left yields to whoever has strictly less.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.vocabulary import NS_PER_MS, NS_PER_S, Nanos

IDLE_MIN = 1e-3
"""At full load the cost of preempting is infinite; a thousandth idle is as near as it is told apart."""


FREE_MAX = 50
"""Without cost a task may be asked this often. What is left of a task that has outlived its estimate is expected to *grow* while it
runs, and stands still while it waits. So of two such tasks the one that runs falls behind at once, and they would take turns for
ever. In the mean that is right, but each turn costs messages."""


@dataclass(frozen=True, slots=True)
class Squeeze:
    """A waiting task that cannot start, and its surroundings."""

    rest_ns: Nanos
    """What it is expected to run."""
    least_ns: Nanos
    """What is left of the one that would make room first, by ending."""
    most_ns: Nanos
    """What is left of the one that would yield."""
    waiting: int
    """How many wait for the same service."""
    places: float
    """How many of them run at once."""
    load: float
    """Busy share of the places of late, 0…1."""
    typical_ns: Nanos
    """How long a task of this service runs, roughly."""


@dataclass(frozen=True, slots=True)
class Preemption:
    """The terms on which an ordering preempts."""

    cost_ns: Nanos = 50 * NS_PER_MS
    """What a preemption costs: the way to the next checkpoint, saving it, starting again. 0: nothing (plain SRPT)."""
    margin: float = 0.1
    """How much longer than the waiting task the others must have left, in parts of it: estimates are never exact."""
    preemptions_max: float = 3
    """Nobody is preempted more often; so a task loses at most this many times the cost. With ``cost_ns`` 0: ``FREE_MAX``."""
    quantum: float = 5.0
    """An attempt runs at least so many times the cost before it may be asked: what was paid must have bought something."""
    share_max: float = 0.5
    """No preemption where the cost exceeds this share of what tasks run in the mean."""
    grace_ns: Nanos = 5 * NS_PER_S
    """Who has not yielded by then is left alone: it may be near its end, or not know how."""
    window_ns: Nanos = 60 * NS_PER_S
    """Over which the load is averaged. It begins at 0: of a service that has just come nothing is known."""

    def ripe_ns(self) -> Nanos:
        """How long an attempt must have run before it may be asked to yield."""
        return round(self.quantum * self.cost_ns)

    def may_yield(self, preemptions: int) -> bool:
        """Whether a task that was preempted so often may be again."""
        return preemptions < (self.preemptions_max if self.cost_ns else FREE_MAX)

    def enough_ns(self, squeeze: Squeeze) -> Nanos:
        """How much all that could make room by ending must have left, each of them."""
        if not self.cost_ns:
            return 0
        again = max(1.0, 1.0 / (squeeze.places * max(1.0 - squeeze.load, IDLE_MIN)))
        cost = self.cost_ns * (1.0 + squeeze.waiting / squeeze.places) * again
        return round((1.0 + self.margin) * squeeze.rest_ns + cost)

    def pays(self, squeeze: Squeeze) -> bool:
        """Whether the one that has most left should be asked to make room."""
        if not self.cost_ns:
            return squeeze.most_ns > squeeze.rest_ns
        dear = self.cost_ns > self.share_max * squeeze.typical_ns
        return not dear and squeeze.least_ns > self.enough_ns(squeeze)
