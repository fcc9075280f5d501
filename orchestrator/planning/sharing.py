"""Dividing one resource: sums and their limits, max-min fairness, elastic ranges.

Amounts are whole numbers, fractions or floats; results are ``Fraction``: thirds stay thirds. The sum of all grants, R = Σ r_i, is
only book-keeping: what must hold is that no node's grants exceed that *node*. A sum that fits the cluster may fit no node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from orchestrator.planning.errors import BadNumber, not_negative, positive

Amount = int | float | Fraction


def total_allocation(grants: Iterable[Mapping[str, Amount]]) -> dict[str, Fraction]:
    """R = Σ r_i for each resource, in the order in which they appear. Raises BadNumber."""
    total: dict[str, Fraction] = {}
    for grant in grants:
        for resource, amount in grant.items():
            total[resource] = total.get(resource, Fraction(0)) + exact(resource, amount)
    return total


def overcommitted(
    capacities: Mapping[str, Mapping[str, Amount]], grants: Iterable[tuple[str, Mapping[str, Amount]]]
) -> dict[tuple[str, str], Fraction]:
    """By how much the grants, each on a node, exceed which resource of which node; empty if everything fits. Raises BadNumber."""
    by_node: dict[str, list[Mapping[str, Amount]]] = {}
    for node, grant in grants:
        if node not in capacities:
            raise BadNumber(f"a grant is on {node!r}, which is no node; the nodes are {', '.join(capacities) or '(none)'}.")
        by_node.setdefault(node, []).append(grant)
    found: dict[tuple[str, str], Fraction] = {}
    for node, given in by_node.items():
        for resource, total in total_allocation(given).items():
            excess = total - exact(resource, capacities[node].get(resource, 0))
            if excess > 0:
                found[node, resource] = excess
    return found


def max_min(capacity: Amount, demands: Sequence[Amount], weights: Sequence[Amount] | None = None) -> list[Fraction]:
    """Weighted max-min fairness: no share can grow without taking from one that is smaller by weight; nobody gets above its demand.

    Raises BadNumber. Source: Bertsekas & Gallager, Data Networks, §6.5; Keshav 1997.
    """
    return fill(capacity, [0] * len(demands), demands, weights)


def fill(
    capacity: Amount, floors: Sequence[Amount], caps: Sequence[Amount], weights: Sequence[Amount] | None = None
) -> list[Fraction]:
    """Progressive filling: everybody has its floor; a level rises, all below it rise with it by weight up to their caps, until the
    capacity is used or all caps are reached. Raises BadNumber, also if the floors alone exceed the capacity.
    """
    room = exact("the capacity", capacity)
    low = [exact("a floor", one) for one in floors]
    high = [exact("a cap", one) for one in caps]
    weight = [Fraction(positive("a weight", one)) for one in (weights if weights is not None else [1] * len(low))]
    if not len(low) == len(high) == len(weight):
        raise BadNumber(f"{len(low)} floors, {len(high)} caps, {len(weight)} weights; give one of each to everybody.")
    if any(most < least for least, most in zip(low, high, strict=True)):
        raise BadNumber("a cap is below its floor; give ranges from the least to the most.")
    if sum(low) > room:
        raise BadNumber(f"the floors add up to {sum(low)}, more than the capacity {room}; admit fewer.")
    if sum(high) <= room:
        return high

    def at(level: Fraction) -> list[Fraction]:
        return [min(max(least, level * w), most) for least, most, w in zip(low, high, weight, strict=True)]

    # What is used grows with the level in straight pieces; the pieces end where somebody's floor or cap is met.
    below = Fraction(0)
    for above in sorted({bound / w for bounds in (low, high) for bound, w in zip(bounds, weight, strict=True)}):
        used, then = sum(at(below)), sum(at(above))
        if then >= room:
            return at(below + (above - below) * (room - used) / (then - used)) if then > used else at(above)
        below = above
    return high


@dataclass(frozen=True, slots=True)
class Range:
    """What a task asks: the least that will do and the most that helps. Raises BadNumber."""

    least: Amount
    most: Amount

    def __post_init__(self) -> None:
        if exact("the most", self.most) < exact("the least", self.least):
            raise BadNumber(f"the most, {self.most}, is below the least, {self.least}; give least ≤ most.")


def msa(capacity: Amount, requests: Iterable[Range]) -> list[Fraction]:
    """In order, each gets exactly its least; who does not fit gets nothing, the next is tried. Raises BadNumber."""
    free = exact("the capacity", capacity)
    found = []
    for one in requests:
        grant = Fraction(one.least) if one.least <= free else Fraction(0)
        free -= grant
        found.append(grant)
    return found


def mra(capacity: Amount, requests: Iterable[Range]) -> list[Fraction]:
    """In order, each gets as much of its range as is free; who does not fit gets nothing, the next is tried. Raises BadNumber."""
    free = exact("the capacity", capacity)
    found = []
    for one in requests:
        grant = min(Fraction(one.most), free) if one.least <= free else Fraction(0)
        free -= grant
        found.append(grant)
    return found


def progressive(capacity: Amount, requests: Sequence[Range]) -> list[Fraction]:
    """Who is admitted as by ``msa``; then what is left raises the smallest grants together, up to their most. Raises BadNumber."""
    floors = msa(capacity, requests)
    caps = [Fraction(one.most) if floor >= one.least else Fraction(0) for one, floor in zip(requests, floors, strict=True)]
    return fill(capacity, floors, caps)


def exact(what: str, amount: Amount) -> Fraction:
    """The amount as a fraction. Raises BadNumber if it is negative or not finite."""
    return amount if isinstance(amount, Fraction) and amount >= 0 else Fraction(not_negative(what, amount))
