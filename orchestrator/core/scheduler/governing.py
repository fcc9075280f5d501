"""Which policies hold: for each service an ordering, a placement and an allocation; one of its own, or the default.

Law: what holds is a map of *specs* by scope (``ordering``: the default; ``thumbs/ordering``: for the service ``thumbs``), written
in the ledger by whoever switches and read by every coordinator, so all decide alike. A switch is judged whole before anything
changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from orchestrator.policies import DEFAULTS, KINDS, Allocation, BadPolicy, Catalogue, Kind, Ordering, Placement
from orchestrator.policies.guard import Guard
from orchestrator.vocabulary import Service, is_name

Scope: TypeAlias = str
"""``kind`` or ``service/kind``."""


def scope_of(service: Service | None, kind: Kind) -> Scope:
    """The scope of one service, or (none) of all that have nothing of their own."""
    return kind if service is None else f"{service}/{kind}"


def parse_scope(scope: Scope) -> tuple[Service | None, Kind]:
    """The service (none: the default) and the kind. Raises BadPolicy."""
    service, slash, kind = scope.rpartition("/")
    if kind not in KINDS or (slash and not is_name(service)):
        raise BadPolicy(f"{scope!r} is no scope of a policy; there are: {', '.join(KINDS)}, each also as SERVICE/KIND")
    return service if slash else None, kind


@dataclass(frozen=True, slots=True)
class Governing:
    """The policies that hold for one service."""

    ordering: Ordering
    placement: Placement
    allocation: Allocation


class Policies:
    """What holds now."""

    def __init__(self, catalogue: Catalogue, specs: Mapping[Scope, str] | None = None) -> None:
        self.catalogue = catalogue
        self.specs: dict[Scope, str] = {**DEFAULTS}
        self._built: dict[tuple[Kind, str], Any] = {}
        self._of: dict[Service, Governing] = {}
        self._told: set[tuple[Kind, str]] = set()
        self.switch(specs or {})

    def of(self, service: Service) -> Governing:
        """The policies of this service."""
        found = self._of.get(service)
        if found is None:
            ordering, placement, allocation = (self._build(kind, self.spec(service, kind)) for kind in KINDS)
            found = self._of[service] = Governing(ordering, placement, allocation)
        return found

    def spec(self, service: Service | None, kind: Kind) -> str:
        """What holds, as a spec."""
        return self.specs.get(scope_of(service, kind)) or self.specs[kind]

    def judge(self, wanted: Mapping[Scope, str]) -> dict[Scope, str]:
        """The same specs as they are kept; an empty one means that a service follows the default. Raises BadPolicy."""
        normal: dict[Scope, str] = {}
        for scope, spec in wanted.items():
            service, kind = parse_scope(scope)
            if not spec and service is None:
                raise BadPolicy(f"the default {kind} policy cannot be taken away, only replaced")
            normal[scope] = self.catalogue.normal(kind, spec) if spec else ""
        return normal

    def switch(self, wanted: Mapping[Scope, str]) -> None:
        """From now on these hold. Raises BadPolicy before anything is changed."""
        for scope, spec in self.judge(wanted).items():
            if spec:
                self.specs[scope] = spec
            else:
                self.specs.pop(scope, None)
        self._of.clear()
        held = {(parse_scope(scope)[1], spec) for scope, spec in self.specs.items()}
        self._built = {name: policy for name, policy in self._built.items() if name in held}
        self._told &= set(self._built)

    def after(self, wanted: Mapping[Scope, str]) -> Policies:
        """What would hold after that switch. Raises BadPolicy."""
        return Policies(self.catalogue, {**self.specs, **wanted})

    def own(self) -> dict[Service, dict[Kind, str]]:
        """The services that have policies of their own."""
        found: dict[Service, dict[Kind, str]] = {}
        for scope, spec in sorted(self.specs.items()):
            service, kind = parse_scope(scope)
            if service is not None:
                found.setdefault(service, {})[kind] = spec
        return found

    def set_down(self) -> list[tuple[Kind, str, str]]:
        """Policies of others that have failed since this was asked last: kind, name, why. The default of their kind decides
        instead."""
        news: list[tuple[Kind, str, str]] = []
        if not self.catalogue.sources:  # all are built in
            return news
        for (kind, spec), policy in self._built.items():
            if isinstance(policy, Guard) and policy.fault and (kind, spec) not in self._told:
                self._told.add((kind, spec))
                news.append((kind, policy.name, policy.fault))
        return news

    def _build(self, kind: Kind, spec: str) -> Any:
        found = self._built.get((kind, spec))
        if found is None:
            found = self._built[kind, spec] = self.catalogue.build(kind, spec)
        return found
