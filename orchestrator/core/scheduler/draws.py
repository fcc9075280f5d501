"""Two ways to draw one of many in O(log n): by lot, with chances in proportion to a weight, and by key, always the same one.

Law: dice are handed in; keys are hashed by a digest that is the same in every process and release, never by one that is salted.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from random import Random

POINTS = 8
"""Points of each name on the ring: one digest makes so many. With eight the fullest share is seldom twice the mean."""


class Lots:
    """Weights by position, in a tree of partial sums (Fenwick 1994)."""

    def __init__(self) -> None:
        self._weights: list[int] = []
        self._sums: list[int] = [0]

    def put(self, position: int, weight: int) -> None:
        """The weight at this position, which may be the first beyond the end."""
        if position == len(self._weights):
            self._weights.append(0)
            at = position + 1
            self._sums.append(sum(self._weights[at - (at & -at) :]))
        self._add(position, weight - self._weights[position])
        self._weights[position] = weight

    def draw(self, count: int, dice: Random) -> list[int]:
        """``count`` different positions by lot; fewer, if fewer have any weight."""
        drawn: list[int] = []
        total = sum(self._tops())
        while len(drawn) < count and total > 0:
            position = self._find(dice.randrange(total))
            drawn.append(position)
            self._add(position, -self._weights[position])
            total -= self._weights[position]
        for position in drawn:
            self._add(position, self._weights[position])
        return drawn

    def _add(self, position: int, more: int) -> None:
        at, sums = position + 1, self._sums
        while at < len(sums):
            sums[at] += more
            at += at & -at

    def _tops(self) -> Iterator[int]:
        at = len(self._weights)
        while at:
            yield self._sums[at]
            at -= at & -at

    def _find(self, ticket: int) -> int:
        """The position whose span of tickets this one lies in."""
        at, step = 0, 1 << len(self._weights).bit_length()
        while step := step >> 1:
            if at + step < len(self._sums) and self._sums[at + step] <= ticket:
                at += step
                ticket -= self._sums[at]
        return at


class Ring:
    """Names on a circle (consistent hashing, Karger et al., STOC 1997): one that comes or goes moves only keys that are its own."""

    def __init__(self, names: Iterable[str]) -> None:
        points = [(point, name) for name in names for point in _points(name)]
        points.sort()
        self._points = [point for point, _ in points]
        self._names = [name for _, name in points]

    def around(self, key: str) -> Iterator[str]:
        """From the name to which this key belongs on, each name once: who follows takes over if it cannot serve."""
        count = len(self._names)
        first = bisect_right(self._points, _points(key)[0])
        seen: set[str] = set()
        for step in range(count):
            name = self._names[(first + step) % count]
            if name not in seen:
                seen.add(name)
                yield name


def _points(name: str) -> list[int]:
    digest = blake2b(name.encode(), digest_size=8 * POINTS).digest()
    return [int.from_bytes(digest[at : at + 8]) for at in range(0, 8 * POINTS, 8)]
