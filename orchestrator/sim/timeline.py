"""Time that is made of moments: a heap of things to be done, in order, and nothing between them.

Law: of two things at the same moment the one that was asked for first is done first.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import TypeAlias

from orchestrator.vocabulary import Nanos

Act: TypeAlias = Callable[[], None]


def dice(*names: object) -> Random:
    """Dice of their own for each purpose: what one thing draws must not change what another one draws."""
    return Random("/".join(map(str, names)))


class Alarm:
    """Something to be done at a moment, unless it is put off."""

    __slots__ = ("act",)

    def __init__(self, act: Act) -> None:
        self.act: Act | None = act

    def put_off(self) -> None:
        """It will not be done."""
        self.act = None


class Timeline:
    """The moments to come."""

    def __init__(self, start_ns: Nanos) -> None:
        self.now_ns = start_ns
        self.count = 0
        """Things done so far."""
        self._heap: list[tuple[Nanos, int, Alarm]] = []
        self._asked = 0

    def at(self, when_ns: Nanos, act: Act) -> Alarm:
        """Do this at ``when_ns`` (now, if that has passed)."""
        alarm = Alarm(act)
        self._asked += 1
        heappush(self._heap, (max(when_ns, self.now_ns), self._asked, alarm))
        return alarm

    def after(self, span_ns: Nanos, act: Act) -> Alarm:
        """Do this in ``span_ns``."""
        return self.at(self.now_ns + span_ns, act)

    def next_ns(self) -> Nanos | None:
        """When the next thing is to be done, if there is any."""
        while self._heap and self._heap[0][2].act is None:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def go_on(self) -> bool:
        """Do the next thing. False: there is none, time stands still."""
        while self._heap:
            when_ns, _, alarm = heappop(self._heap)
            if alarm.act is not None:
                self.now_ns = when_ns
                self.count += 1
                alarm.act()
                return True
        return False
