"""Things that cannot be added up: a task that asks for half a GPU cannot use a quarter of each of two.

Law: a whole number takes whole devices, a part of one fits on a single device; 1.5 is neither. What is granted is named by device,
so nobody meets anybody else there unasked. The tightest device that suffices takes a part: whole ones stay for who needs a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.resources import Demand, Shortage
from orchestrator.vocabulary import Milli, plain

WHOLE: Milli = 1000


@dataclass(frozen=True, slots=True)
class DeviceShortage(Shortage):
    """How a demand falls short of single devices."""

    @property
    def odd(self) -> bool:
        """Whether no number of devices is this much."""
        return self.wanted > WHOLE and self.wanted % WHOLE > 0

    def __str__(self) -> str:
        if self.odd:
            return f"{self.resource} comes in whole devices or in a part of one: {plain(self.wanted)} is neither"
        if self.wanted < WHOLE:
            return f"no single {self.resource} has {plain(self.wanted)} free (the freest has {plain(self.free)})"
        short = plain(self.wanted - self.free)
        return f"{self.resource} short by {short} (wants {plain(self.wanted)} whole, free {plain(self.free)})"


class Shelf:
    """The devices of one resource of one instance, and what of each is free."""

    def __init__(self, resource: str, devices: Iterable[str]) -> None:
        self.resource = resource
        self.free: dict[str, Milli] = dict.fromkeys(devices, WHOLE)

    @property
    def whole(self) -> int:
        """How many are wholly free."""
        return sum(free == WHOLE for free in self.free.values())

    def short(self, least: Milli, *, idle: bool = False) -> DeviceShortage | None:
        """What is missing for so much (``idle``: were nothing granted); none: it is there."""
        if idle:
            has = len(self.free) * WHOLE
        elif least < WHOLE:
            has = max(self.free.values(), default=0)
        else:
            has = self.whole * WHOLE
        if has >= least and (least < WHOLE or least % WHOLE == 0):
            return None
        return DeviceShortage(self.resource, least, max(0, has))

    def offer(self, least: Milli, most: Milli) -> Milli:
        """The most within the range that can be had: whole devices where that is more than one part."""
        whole = min(most // WHOLE, self.whole) * WHOLE
        if least >= WHOLE or whole:
            return whole
        return min(most, max(self.free.values(), default=0))

    def pick(self, amount: Milli) -> list[str]:
        """The devices that so much is taken from."""
        if amount >= WHOLE:
            return [name for name, free in self.free.items() if free == WHOLE][: amount // WHOLE]
        suffices = [(free, at, name) for at, (name, free) in enumerate(self.free.items()) if free >= amount]
        return [min(suffices)[2]]

    def take(self, names: list[str], amount: Milli) -> None:
        """So much of these, together, is out. Of a device that is not here nothing."""
        for name in names:
            if name in self.free:
                self.free[name] -= amount // len(names)

    def give(self, names: list[str], amount: Milli) -> None:
        """So much of these, together, is back."""
        self.take(names, -amount)


def shelves(devices: Mapping[str, Iterable[str]]) -> dict[str, Shelf]:
    """A shelf for each resource that comes in devices."""
    return {resource: Shelf(resource, names) for resource, names in devices.items()}


def rising(demand: Demand, on: Mapping[str, Shelf]) -> Demand:
    """The demand as far as it may be raised after it was placed: whole devices by whole ones, a part of one not at all."""
    parts = []
    for name, low, high in demand.parts:
        if name in on:
            high = high // WHOLE * WHOLE if low >= WHOLE else low
        parts.append((name, low, high))
    return Demand(tuple(parts))
