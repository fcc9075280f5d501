"""Policies of other distributions: found by entry point, once at start, and handed to the core as data.

A distribution offers one by naming its class in the group ``orchestrator.ordering``, ``orchestrator.placement`` or
``orchestrator.allocation``; the class is made without arguments, and its settings (``orchestrator.policies.settings.setting``) are
its fields. What cannot be loaded, or is no policy, is reported with its distribution and what to do; it never keeps a coordinator
from starting.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from orchestrator.policies import BUILT_IN, KINDS, Broken, Catalogue, Kind
from orchestrator.policies.guard import check

GROUP = "orchestrator."


@cache
def catalogue() -> Catalogue:
    """The built-in policies and those of the distributions that are installed here; read once."""
    return find_policies([(kind, one) for kind in KINDS for one in entry_points(group=GROUP + kind)])


def find_policies(points: list[tuple[Kind, EntryPoint]]) -> Catalogue:
    """The built-in policies, and those at these entry points. Never raises: what is wrong is in ``broken``."""
    policies = {kind: dict(known) for kind, known in BUILT_IN.policies.items()}
    sources: dict[tuple[Kind, str], str] = {}
    broken: list[Broken] = []
    for kind, point in sorted(points, key=lambda one: (one[0], one[1].name, one[1].value)):
        distribution = f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unknown distribution"
        try:
            if point.name in policies[kind]:
                owner = sources.get((kind, point.name), "the orchestrator itself")
                raise ValueError(f"the name is taken by {owner}; rename the entry point")
            policy = point.load()()
            check(kind, policy)
            policies[kind][point.name] = policy
            sources[kind, point.name] = distribution
        except (Exception, SystemExit) as fault:  # whatever somebody else's module does at import
            why = f"{type(fault).__name__}: {fault}. Repair or remove {distribution}, then start the coordinator again"
            broken.append(Broken(kind, point.name, distribution, why))
    return Catalogue(policies, sources, tuple(broken))
