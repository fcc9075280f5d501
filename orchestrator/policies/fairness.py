"""Tenants side by side: ``fair``.

Law: who has had least goes first. What a tenant had is its *dominant share* (of the resource of which it takes the greatest part
of the service) times how long, divided by its weight; it is charged with what is expected when a task starts and set right when
the attempt is over. A tenant that comes back after a while begins where the others are, not where it left: idling saves nothing
up. (Start-time fair queueing, Goyal, Vin and Chen 1996, over the dominant shares of Ghodsi et al. 2011.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.policies.ordering import DAY_NS, Account, Extremes, Ordering, Waiting
from orchestrator.policies.settings import Number, Span, Weights, setting, weight_of
from orchestrator.vocabulary import NS_PER_S, Nanos

TIE_NS = 1_000
"""Accounts that differ by less than a microsecond are alike: sums of shares are not exact, and arrival shall decide."""


@dataclass(frozen=True, slots=True)
class FairShare(Ordering):
    """The tenant that has had least of the service goes first; its own tasks go by priority and arrival, as with ``priority``.

    Starvation bound: a tenant with something waiting gets at least its weighted part. Waiting counts a little too: once a task is
    the first of its tenant, it is overtaken only by tasks that arrive within ``(longest run / weight) / ageing`` (and, of other
    priorities, ``level`` times the difference) after it, however many new tenants come.
    """

    weights: tuple[tuple[str, float], ...] = setting(
        (), Weights(), "Tenants that shall have more (or less) than others: twice with 2."
    )
    level_ns: Nanos = setting(
        60 * NS_PER_S, Span(0, 366 * DAY_NS), "How much waiting one level of priority is worth among the tasks of one tenant."
    )
    ageing: float = setting(
        0.001,
        Number(0.000001, 1),
        "How much consumption waiting is worth. A thousandth: shares differ at most by so much of the service from what is fair, "
        "and new tenants without end cannot starve the others.",
    )

    @property
    def by_tenant(self) -> bool:
        return True

    def key(self, task: Waiting) -> float:
        return task.arrival_ns - task.priority * self.level_ns

    def weight(self, tenant: str) -> float:
        return weight_of(self.weights, tenant)

    def rank(self, key: float, account: Account) -> float:
        return round((account.spent_ns + self.ageing * key) / TIE_NS)

    def horizon_ns(self, task: Waiting, extremes: Extremes) -> Nanos | None:
        ahead_ns = extremes.run_max_ns / self.weight(task.tenant) + TIE_NS
        return round(ahead_ns / self.ageing) + max(0, extremes.priority_max - task.priority) * self.level_ns


BY_TENANT: Mapping[str, Ordering] = {"fair": FairShare()}
