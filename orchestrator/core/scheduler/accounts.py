"""What each tenant has of a service, and has had: the books by which ``fair`` and ``dps`` tell tenants apart.

Law: soft, and only kept where an ordering asks for it. A task is charged when it is assigned, with what it is expected to take,
and its bill is set right when the attempt is over: dominant share times run time, divided by the tenant's weight. Who comes back
after an idle time begins at the clock, which is where the last one that was served stood: idling saves nothing up. After a
takeover all begin alike. What changes an account moves the lanes of that tenant alone, O(log n) each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.policies.ordering import Ordering
from orchestrator.resources import APART
from orchestrator.vocabulary import NS_PER_S, Milli, Nanos

if TYPE_CHECKING:
    from orchestrator.core.scheduler.lanes import Lane

ACCOUNTS_MAX = 10_000
"""Tenants of one service that are remembered while nothing of theirs waits or runs."""


class Account:
    """One tenant of one service (``policies.ordering.Account``)."""

    __slots__ = ("book", "held", "lanes", "spent_ns", "tenant")

    def __init__(self, tenant: str, book: Accounts) -> None:
        self.tenant = tenant
        self.book = book
        self.spent_ns = book.clock_ns
        self.held = 0.0
        self.lanes: dict[Lane, None] = {}
        """Where tasks of it wait."""

    @property
    def typical_ns(self) -> Nanos:
        return self.book.typical_ns

    def rank(self, key: float) -> float:
        """Where its first task stands among the first of all tenants."""
        return self.book.ordering.rank(key, self)

    def moved(self) -> None:
        """Its lanes stand elsewhere now."""
        for lane in self.lanes:
            lane.rank_anew()


class Bill(NamedTuple):
    """What an attempt was charged."""

    account: Account
    share: float
    expected_ns: Nanos
    since_ns: Nanos
    weight: float
    """What its tenant weighed then: it is settled by that, whatever holds by then."""


class Accounts:
    """The tenants of one service."""

    def __init__(self, ordering: Ordering) -> None:
        self.ordering = ordering
        self.clock_ns = 0.0
        """Where the tenant stood that was served last."""
        self.typical_ns: Nanos = NS_PER_S
        self._table: dict[str, Account] = {}
        self._full = ACCOUNTS_MAX
        """With so many it is looked for those that may be forgotten: twice what was left the last time."""

    def of(self, tenant: str) -> Account:
        """The account of a tenant of which something waits from now on."""
        found = self._table.get(tenant)
        if found is None:
            if len(self._table) >= self._full:
                self._table = {name: one for name, one in self._table.items() if one.lanes or one.held > 0}
                self._full = max(ACCOUNTS_MAX, 2 * len(self._table))
            found = self._table[tenant] = Account(tenant, self)
        elif not found.lanes:
            found.spent_ns = max(found.spent_ns, self.clock_ns)
        return found

    def charge(self, tenant: str, share: float, expected_ns: Nanos, now: Nanos) -> Bill:
        """An attempt of this tenant begins, on such a share of the service."""
        account = self._table.get(tenant) or self.of(tenant)
        self.clock_ns = max(self.clock_ns, account.spent_ns)
        weight = self.ordering.weight(tenant)
        account.spent_ns += share * expected_ns / weight
        account.held += share
        account.moved()
        return Bill(account, share, expected_ns, now, weight)

    def settle(self, bill: Bill, now: Nanos) -> None:
        """That attempt is over: what it took in truth counts."""
        account = bill.account
        account.spent_ns += bill.share * (now - bill.since_ns - bill.expected_ns) / bill.weight
        account.held -= bill.share
        if account.held < 1e-9:  # shares are no exact numbers
            account.held = 0.0
        account.moved()


def dominant(grant: Mapping[str, Milli], total: Mapping[str, Milli]) -> float:
    """The largest share of any resource, 0…1."""
    shares = (min(1.0, amount / total[name]) for name, amount in grant.items() if total.get(name) and name != APART)
    return max(shares, default=0.0)
