"""What instances have against a task, told together: who lacks what, and who comes nearest.

Law: the reasons are those that decide (``placing.refusal``); here they are only counted. Costs a look at each instance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from orchestrator.core.registry.registry import Instance
from orchestrator.resources import Demand, Shortage
from orchestrator.vocabulary import Milli, plain

Refusal = Callable[[Instance], str | None]
REASONS_TOLD_MAX = 4
"""Kinds of reasons in one sentence; the others are in the list."""


@dataclass(slots=True)
class Lack:
    """One resource that some instances have too little of."""

    resource: str
    best: Shortage
    """Where least is missing."""
    nearest: str
    """Which instance that is."""
    instances: int = 0

    @property
    def least(self) -> Milli:
        """How much is missing there."""
        return self.best.wanted - self.best.free

    def told(self, of: int) -> str:
        """In words; ``of``: how many instances there are."""
        if of == 1:
            return f"{self.nearest} has {self.best}" if type(self.best) is Shortage else f"on {self.nearest} {self.best}"
        whole = "both" if of == 2 else f"all {of}"
        where = f"on {whole} instances" if self.instances == of else f"on {self.instances} of {of} instances"
        if type(self.best) is not Shortage:  # single devices have their own words
            return f"{where} too little {self.resource}; on {self.nearest}, the nearest, {self.best}"
        wants = f"wants {plain(self.best.wanted)}, the nearest is {self.nearest} with {plain(self.best.free)} free"
        return f"{self.resource} short by {plain(self.least)} or more {where} ({wants})"


@dataclass(slots=True)
class Misses:
    """All refusals of a task's service."""

    instances: int = 0
    refused: int = 0
    lacks: dict[str, Lack] = field(default_factory=dict)
    others: dict[str, list[str]] = field(default_factory=dict)
    """Reasons that are no shortage, and the first few instances that have them."""
    counts: dict[str, int] = field(default_factory=dict)
    """How many have each of these."""
    nearest: str = ""
    """The instance that lacks the smallest share of what is wanted."""
    nearest_lacks: dict[str, Milli] = field(default_factory=dict)
    _share: float = float("inf")

    def told(self) -> str:
        """One sentence's worth: shortages first."""
        lacks = sorted(self.lacks.values(), key=lambda one: (-one.instances, one.resource))
        parts = [one.told(self.instances) for one in lacks]
        for reason, names in sorted(self.others.items(), key=lambda item: (-self.counts[item[0]], item[0])):
            number = self.counts[reason]
            who = names[0] if number == 1 else f"each of the {number}" if number == self.instances else f"{number} of them"
            parts.append(f"{who} {reason}")
        more = f"; and {len(parts) - REASONS_TOLD_MAX} reasons more" if len(parts) > REASONS_TOLD_MAX else ""
        return "; ".join(parts[:REASONS_TOLD_MAX]) + more

    def plain(self) -> dict[str, Any]:
        """As data."""
        return {
            "instances": self.instances,
            "refused": self.refused,
            "short": [
                {
                    "resource": one.resource, "instances": one.instances, "wanted": plain(one.best.wanted),
                    "short_by": plain(one.least), "nearest": one.nearest,
                }
                for one in self.lacks.values()
            ],
            "others": [{"reason": reason, "instances": self.counts[reason]} for reason in self.others],
            "nearest": {"instance": self.nearest, "short": {name: plain(amount) for name, amount in self.nearest_lacks.items()}}
            if self.nearest
            else None,
        }  # fmt: skip


def misses(members: Iterable[Instance], demand: Demand, refusal: Refusal) -> Misses:
    """What these instances have against such a task."""
    found = Misses()
    for instance in members:
        found.instances += 1
        reason = refusal(instance)
        if reason is None:
            continue
        found.refused += 1
        short = instance.shortages(demand)
        if short and reason == ", ".join(map(str, short)):
            share = 0.0
            for one in short:
                by = one.wanted - one.free
                share += by / max(1, one.wanted)  # even nothing is too much where more is out than there is
                lack = found.lacks.setdefault(one.resource, Lack(one.resource, one, instance.name))
                lack.instances += 1
                if by < lack.least:
                    lack.best, lack.nearest = one, instance.name
            if share < found._share:
                found._share, found.nearest = share, instance.name
                found.nearest_lacks = {one.resource: one.wanted - one.free for one in short}
        else:
            found.counts[reason] = found.counts.get(reason, 0) + 1
            names = found.others.setdefault(reason, [])
            if len(names) < REASONS_TOLD_MAX:
                names.append(instance.name)
    return found
