"""One limit of one key at work: what is out, what has come back, and who waits for it.

Law: integers throughout. Tasks and amounts that are out come back exactly; tokens come back with time, at the rate, up to the
burst, counted in millionths of a millionth so that no nanosecond is lost. Waiting lanes are woken one at a time, the first in
order that what is free suffices for: a lane that was woken stands for all others of its class that ask as much (*delegate*),
until it has gone, or has lost its chance. So a unit that comes back costs one look, however many wait for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from orchestrator.core.resources.limits import Bound, Limit, Share, called
from orchestrator.core.scheduler.heads import Heads
from orchestrator.core.scheduler.lanes import DemandClass, Lane
from orchestrator.vocabulary import Milli, Nanos, plain, seconds

PARTS = 10**9
"""Of a thousandth of a token."""

Spot: TypeAlias = tuple[DemandClass, Milli, Milli]
"""Lanes of a class that ask the same of a limit: amount and tokens."""


class Meter:
    """A limit for one key. ``since_ns``: since when tokens have been coming in, from none."""

    def __init__(self, limit: Limit, key: str, number: int, since_ns: Nanos, loosened: Callable[[Meter], None]) -> None:
        self.limit = limit
        self.key = key
        self.number = number
        self.tasks = 0
        self.amount: Milli = 0
        self.due_ns: Nanos = 0
        """When to look for tokens again; 0: nobody waits for them."""
        self._waiting: dict[Spot, Heads[Lane]] = {}
        self._delegates: dict[Spot, Lane] = {}
        self._level = 0
        self._level_ns = since_ns
        self._loosened = loosened

    @property
    def bound(self) -> Bound:
        return self.limit.bound(self.key)

    # --- what is out ------------------------------------------------------------------------------------------------------

    def take(self, share: Share, now: Nanos) -> None:
        """So much is out. Raises AssertionError if it was not there: a bug of ours."""
        lack = self.lacks(share.amount, share.tokens, now)
        assert lack is None, f"{called(self.limit, self.key)} was exceeded: {lack}"
        self.count(share)
        if self.bound.rate is not None:
            self._level -= share.tokens * PARTS

    def count(self, share: Share) -> None:
        """So much is out, whatever we think there is: it was given by an earlier leader, or under another limit."""
        self.tasks += 1
        self.amount += share.amount

    def give(self, share: Share) -> None:
        """So much has come back."""
        self.tasks -= 1
        self.amount -= share.amount
        self.loosen()

    def forget(self) -> None:
        """Nothing is out, nobody waits, as far as we know."""
        self.tasks = self.amount = self.due_ns = 0
        self._waiting.clear()
        self._delegates.clear()

    def settle(self, now: Nanos) -> None:
        """Take in what has come back by now, at the rate that has held so far."""
        bound = self.bound
        if bound.rate is not None:
            self._level = min(bound.burst * PARTS, self._level + (now - self._level_ns) * bound.rate)
        self._level_ns = now

    @property
    def settled_ns(self) -> Nanos:
        """When it was last looked at."""
        return self._level_ns

    def idle(self, now: Nanos) -> bool:
        """Whether one made anew would be the same."""
        if self.tasks or self._waiting or self._delegates:
            return False
        self.settle(now)
        return self.bound.rate is None or self._level >= self.bound.burst * PARTS

    # --- whether there is enough -------------------------------------------------------------------------------------------

    def lacks(self, amount: Milli, tokens: Milli, now: Nanos) -> str | None:
        """What is missing for so much, in words; none: it is there."""
        bound = self.bound
        if bound.at_once is not None and self.tasks >= bound.at_once:
            return f"{self.tasks} of {bound.at_once} at once are out"
        if bound.capacity is not None and amount and self.amount + amount > bound.capacity:
            of = "" if self.limit.own else f" {self.limit.of}"
            return f"{plain(self.amount)} of {plain(bound.capacity)}{of} are out, the task asks {plain(amount)}"
        if bound.rate is not None:
            self.settle(now)
            if self._level < tokens * PARTS:
                if tokens > bound.burst:
                    return f"the task asks {plain(tokens)} at a time, the bucket holds {plain(bound.burst)}"
                return f"next token in {seconds(self._wait_ns(tokens, bound.rate)):.3g} s"
        return None

    def room(self) -> Milli | None:
        """How much of its capacity is not out; none: it has no bound."""
        capacity = self.bound.capacity
        return None if capacity is None else capacity - self.amount

    def _wait_ns(self, tokens: Milli, rate: Milli) -> Nanos:
        return max(1, -(-(tokens * PARTS - self._level) // rate))

    # --- who waits --------------------------------------------------------------------------------------------------------

    def hold(self, lane: Lane, now: Nanos) -> Heads[Lane]:
        """Where this lane waits."""
        spot = self._spot(lane)
        if self._delegates.get(spot) is lane:
            del self._delegates[spot]
        return self._waiting.setdefault(spot, Heads())

    def next(self, now: Nanos) -> Lane | None:
        """The first in order that what is free suffices for, and for whose like nobody has been woken yet."""
        best: Lane | None = None
        for spot, heads in list(self._waiting.items()):
            lane = heads.best()
            if lane is None:
                del self._waiting[spot]
            elif (
                spot not in self._delegates and self.lacks(spot[1], spot[2], now) is None and (best is None or _before(lane, best))
            ):
                best = lane
        return best

    def wake(self, lane: Lane) -> None:
        """It stands for its like from now on."""
        self._delegates[self._spot(lane)] = lane
        lane.delegate = self

    def forsaken(self, lane: Lane) -> None:
        """The lane does not stand for its like any more: it has taken what it was woken for, cannot, or is gone."""
        lane.delegate = None
        spot = self._spot(lane)
        if self._delegates.get(spot) is lane:
            del self._delegates[spot]
            self.loosen()

    def improved(self, lane: Lane) -> None:
        """A waiting lane has a better head now: if it goes before that of the one that was woken for its like, it is woken too."""
        spot = self._spot(lane)
        other = self._delegates.get(spot)
        if other is not None:
            mine, theirs = lane.head(), other.head()
            if mine is not None and theirs is not None and mine < theirs:
                other.delegate = None
                del self._delegates[spot]
                self.loosen()

    def loosen(self) -> None:
        """There may be enough for somebody."""
        if self._waiting:
            self._loosened(self)

    def wanted_ns(self, now: Nanos) -> Nanos | None:
        """When tokens may suffice for one that waits; none: time alone will not help."""
        bound = self.bound
        if bound.rate is None or (bound.at_once is not None and self.tasks >= bound.at_once):
            return None
        self.settle(now)
        asked = [tokens for (_, _, tokens), heads in self._waiting.items() if heads.best() is not None]
        waits = [self._wait_ns(tokens, bound.rate) for tokens in asked if self._level < tokens * PARTS and tokens <= bound.burst]
        return now + min(waits) if waits else None

    def lanes(self) -> list[Lane]:
        """All that wait here."""
        return [lane for heads in self._waiting.values() for lane in heads.members()]

    def spoken_for(self, lane: Lane) -> bool:
        """Whether another lane was woken for its like."""
        return self._spot(lane) in self._delegates

    def _spot(self, lane: Lane) -> Spot:
        share = next(share for share in lane.shares if share.limit == self.limit.name)
        return lane.group, share.amount, share.tokens


def _before(one: Lane, other: Lane) -> bool:
    """By key where one ordering holds for both; keys of different orderings mean nothing to each other: then by arrival."""
    assert one.queued is not None
    assert other.queued is not None
    mine, theirs = one.queued[0], other.queued[0]
    if one.queue.ordering == other.queue.ordering:
        return mine < theirs
    return mine.standing < theirs.standing
