"""What policies there are, by kind and name: the built-in ones, and those of other distributions that the shell found.

Law: a catalogue is data, made once at start and handed to the core; names are what operators type. ``build`` makes a policy from
its spec; whoever asks for what is not there is told what is.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from orchestrator.policies.allocation import ALLOCATIONS
from orchestrator.policies.by_size import BY_SIZE
from orchestrator.policies.fairness import BY_TENANT
from orchestrator.policies.guard import guarded
from orchestrator.policies.ordering import BY_TIME, Ordering
from orchestrator.policies.placement import PLACEMENTS
from orchestrator.policies.settings import BadPolicy, parse_spec, settings_of, spec_of, with_settings

Kind: TypeAlias = Literal["ordering", "placement", "allocation"]

KINDS: tuple[Kind, ...] = ("ordering", "placement", "allocation")
"""The three questions: who goes next, on which instance, with how much."""

DEFAULTS: Mapping[str, str] = {"ordering": "priority", "placement": "least_loaded", "allocation": "msa"}


@dataclass(frozen=True, slots=True)
class Broken:
    """A policy of another distribution that cannot be used."""

    kind: str
    name: str
    distribution: str
    why: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Policies by kind and name, each with its default settings."""

    policies: Mapping[Kind, Mapping[str, object]]
    sources: Mapping[tuple[Kind, str], str] = field(default_factory=dict)
    """The distributions of those that are not built in."""
    broken: tuple[Broken, ...] = ()

    def build(self, kind: Kind, spec: str) -> Any:
        """The policy that ``spec`` means. Raises BadPolicy."""
        name, texts = parse_spec(spec)
        known = self.policies[kind]
        if name not in known:
            raise BadPolicy(f"there is no {kind} policy {name!r}; there are: {', '.join(sorted(known))}{self._why_not(kind, name)}")
        policy = with_settings(name, known[name], texts)
        return guarded(kind, name, policy) if (kind, name) in self.sources else policy

    def normal(self, kind: Kind, spec: str) -> str:
        """``spec`` as it is kept and shown. Raises BadPolicy."""
        return self.changed(kind, spec, {})

    def changed(self, kind: Kind, spec: str, texts: Mapping[str, str]) -> str:
        """``spec`` with some settings otherwise. Raises BadPolicy."""
        self.build(kind, spec)
        name, said = parse_spec(spec)
        return spec_of(name, with_settings(name, self.policies[kind][name], {**said, **texts}))

    def names(self) -> dict[str, list[str]]:
        """What there is."""
        return {kind: sorted(known) for kind, known in self.policies.items()}

    def has(self, kind: Kind, spec: str, word: str) -> bool:
        """Whether the policy of this spec has a setting of that name."""
        self.build(kind, spec)
        return any(one.name == word for one in settings_of(self.policies[kind][parse_spec(spec)[0]]))

    def settings(self, kind: Kind, spec: str) -> str:
        """The names of what can be set of the policy of this spec."""
        return ", ".join(one.name for one in settings_of(self.policies[kind][parse_spec(spec)[0]])) or "none"

    def about(self) -> dict[str, dict[str, Any]]:
        """Every policy, for people: what it does, its settings, whose it is."""
        return {
            kind: {
                name: {
                    "doc": inspect.getdoc(type(policy)) or "",
                    "from": self.sources.get((kind, name), ""),
                    "settings": {
                        one.name: {"default": one.default, "is": one.form.says, "why": one.why} for one in settings_of(policy)
                    },
                }
                for name, policy in sorted(known.items())
            }
            for kind, known in self.policies.items()
        }

    def _why_not(self, kind: str, name: str) -> str:
        found = next((one for one in self.broken if (one.kind, one.name) == (kind, name)), None)
        return "" if found is None else f" (the one of {found.distribution} cannot be used: {found.why})"


ORDERINGS: Mapping[str, Ordering] = {**BY_TIME, **BY_SIZE, **BY_TENANT}

BUILT_IN = Catalogue({"ordering": ORDERINGS, "placement": PLACEMENTS, "allocation": ALLOCATIONS})
