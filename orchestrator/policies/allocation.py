"""How much: an allocation grants a demand out of what is free, and says which of several instances it would rather take from.

Law: all or nothing. ``grant`` is asked only where the least of the demand is free, and returns an amount for every resource
named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from orchestrator.resources import Demand
from orchestrator.vocabulary import Milli, Vector


class Allocation(Protocol):
    """An allocation policy."""

    def grant(self, demand: Demand, free: Mapping[str, Milli]) -> Vector:
        """What the task gets, out of ``free`` where the least of ``demand`` fits."""
        ...

    def preference(self, demand: Demand, free: Mapping[str, Milli]) -> Milli:
        """Which source to take from, among those placement holds equal: the smallest number wins."""
        ...


@dataclass(frozen=True, slots=True)
class MinimumSufficient:
    """``msa``: exactly the least, from the source that has the least left over (best fit): packs, keeps large holes open."""

    def grant(self, demand: Demand, free: Mapping[str, Milli]) -> Vector:
        return {name: low for name, low, _ in demand.parts if low}

    def preference(self, demand: Demand, free: Mapping[str, Milli]) -> Milli:
        return sum(free.get(name, 0) - low for name, low, _ in demand.parts)


@dataclass(frozen=True, slots=True)
class MaximumReasonable:
    """``mra``: as much of an elastic range as is free, from the source that has most (worst fit): fast at low load."""

    def grant(self, demand: Demand, free: Mapping[str, Milli]) -> Vector:
        grant = {name: min(high, free.get(name, 0)) for name, _, high in demand.parts}
        return {name: amount for name, amount in grant.items() if amount}

    def preference(self, demand: Demand, free: Mapping[str, Milli]) -> Milli:
        return -sum(free.get(name, 0) for name, _, _ in demand.parts)


ALLOCATIONS: Mapping[str, Allocation] = {"msa": MinimumSufficient(), "mra": MaximumReasonable()}
