"""Raising together: those placed on an instance in one step share what is left there, before their orders leave.

Law: a grant is raised only while its assignment lies in our own order book; what has left keeps what it said.
"""

from __future__ import annotations

from msgspec.structs import replace

from orchestrator.core.desk import Desk
from orchestrator.core.registry.registry import Instance
from orchestrator.core.resources.devices import WHOLE, rising
from orchestrator.core.scheduler import billing, reserving
from orchestrator.policies.allocation import Claim
from orchestrator.resources import Demand
from orchestrator.vocabulary import Attempt, plain_vector


class Fresh:
    """Elastic attempts of this step, by instance, in the order in which they were placed."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._placed: dict[str, list[tuple[Attempt, Demand]]] = {}

    def add(self, instance: Instance, attempt: Attempt, demand: Demand) -> None:
        """This attempt was placed at the least that it asks."""
        if instance.devices:
            demand = rising(demand, instance.devices)
        if demand.elastic:
            self._placed.setdefault(instance.incarnation, []).append((attempt, demand))

    def rise(self) -> None:
        """Share out what is left, as the allocation would have it."""
        for incarnation, placed in self._placed.items():
            self._rise_on(self._desk.registry.instances[incarnation], placed)

    def _rise_on(self, instance: Instance, placed: list[tuple[Attempt, Demand]]) -> None:
        orders = instance.orders.assign
        unsent = {item.n: at for at, item in enumerate(orders)}
        placed = [one for one in placed if one[0].n in unsent and one[0] in instance.holdings]
        claims = [Claim(demand, instance.holdings[attempt].grant) for attempt, demand in placed]
        if not claims:
            return
        free = reserving.spare(instance)
        if instance.devices:
            free = free | {name: min(free.get(name, 0), WHOLE * shelf.whole) for name, shelf in instance.devices.items()}
        grants = self._desk.policies.of(instance.service).allocation.raised(claims, free, instance.capacity)
        for (attempt, _), claim, grant in zip(placed, claims, grants, strict=True):
            if grant != claim.grant:
                devices = instance.regrant(attempt, grant).devices
                billing.amend(self._desk, self._desk.now_ns, instance, instance.holdings[attempt])
                at = unsent[attempt.n]
                orders[at] = replace(orders[at], grant=plain_vector(grant), devices=devices)
        self._desk.registry.touch(instance)
