"""Policies of a house that uses the orchestrator: what somebody else writes and installs, nothing of the orchestrator's own.

``lifo`` and ``by_name`` are good ones; the rest are mistakes that people make.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.policies.ordering import Ordering, Waiting
from orchestrator.policies.placement import Candidate, Choice, Fits
from orchestrator.policies.settings import Span, setting
from orchestrator.resources import Demand
from orchestrator.vocabulary import NS_PER_S


@dataclass(frozen=True, slots=True)
class NewestFirst(Ordering):
    """The newest goes first; what has waited for ``patience`` goes before all that came later than it by less."""

    patience_ns: int = setting(
        60 * NS_PER_S, Span(0, 86_400 * NS_PER_S), "How long nobody minds to wait. A minute: our users reload then."
    )

    def key(self, task: Waiting) -> float:
        return -(task.arrival_ns // max(1, self.patience_ns))


@dataclass(frozen=True)
class ByName:
    """The instance whose name comes first. (It does not know the orchestrator's base classes, and need not.)"""

    def choose(self, choice: Choice, fits: Fits) -> Candidate | None:
        ones = sorted((choice.at(n) for n in range(len(choice))), key=lambda one: one.incarnation)
        return next((one for one in ones if fits(one)), None)


@dataclass(frozen=True)
class Moody:
    """Gives keys until it does not."""

    def key(self, task: Waiting) -> float:
        return 1 / task.priority


@dataclass(frozen=True)
class Nowhere:
    """Chooses an instance without asking whether the task fits."""

    def choose(self, choice: Choice, fits: Fits) -> Candidate | None:
        return choice.at(0)


@dataclass(frozen=True)
class Generous:
    """Grants twice what is there."""

    def grant(self, demand: Demand, free: Mapping[str, int]) -> dict[str, int]:
        return {name: 2 * amount for name, amount in free.items()}

    def preference(self, demand: Demand, free: Mapping[str, int], capacity: Mapping[str, int]) -> tuple[int, int]:
        return 0, 0


class Loose:
    """No dataclass."""

    def key(self, task: Waiting) -> float:
        return 0


@dataclass(frozen=True)
class Picky:
    """Cannot be made without arguments."""

    size: int

    def key(self, task: Waiting) -> float:
        return self.size
