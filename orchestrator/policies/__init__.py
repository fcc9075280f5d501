"""Policies: who goes next (``ordering``), on which instance (``placement``), with how much (``allocation``).

Law: a policy is pure and small. It is handed what it needs and returns a choice; it keeps no books, reads no clock and
never sees the ledger. Its fields are its settings. A ``Catalogue`` finds one by the spec that operators type.
"""

from __future__ import annotations

from orchestrator.policies.allocation import ALLOCATIONS, Allocation
from orchestrator.policies.catalogue import BUILT_IN, DEFAULTS, KINDS, ORDERINGS, Broken, Catalogue, Kind
from orchestrator.policies.ordering import Ordering
from orchestrator.policies.placement import PLACEMENTS, Placement
from orchestrator.policies.settings import BadPolicy

__all__ = [
    "ALLOCATIONS",
    "BUILT_IN",
    "DEFAULTS",
    "KINDS",
    "ORDERINGS",
    "PLACEMENTS",
    "Allocation",
    "BadPolicy",
    "Broken",
    "Catalogue",
    "Kind",
    "Ordering",
    "Placement",
]
