"""Policies: who goes next (``ordering``), on which instance (``placement``), with how much (``allocation``).

Law: a policy is pure and small. It is handed what it needs and returns a choice; it keeps no books, reads no clock and
never sees the ledger. ``pick`` finds one by name; names are what operators type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from orchestrator.policies.allocation import ALLOCATIONS, Allocation
from orchestrator.policies.ordering import ORDERINGS, Ordering
from orchestrator.policies.placement import PLACEMENTS, Placement

__all__ = ["ALLOCATIONS", "KINDS", "ORDERINGS", "PLACEMENTS", "Allocation", "Ordering", "Placement", "pick"]

P = TypeVar("P")

KINDS: Mapping[str, Mapping[str, object]] = {
    "ordering": ORDERINGS,
    "placement": PLACEMENTS,
    "allocation": ALLOCATIONS,
}


def pick(policies: Mapping[str, P], name: str) -> P:
    """The policy of that name. Raises ValueError, with the names there are."""
    try:
        return policies[name]
    except KeyError:
        raise ValueError(f"there is no policy {name!r}; there are: {', '.join(sorted(policies))}") from None
