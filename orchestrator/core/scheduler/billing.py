"""Who had what: attempts are charged to their tenant's account where the ordering of their service looks at tenants.

Law: a holding has at most one bill, and whoever ends the holding settles it.
"""

from __future__ import annotations

from orchestrator.core.custody.records import Record
from orchestrator.core.desk import Desk
from orchestrator.core.registry.registry import Holding, Instance
from orchestrator.core.scheduler.accounts import dominant
from orchestrator.vocabulary import Nanos


def charge(desk: Desk, now: Nanos, instance: Instance, record: Record, holding: Holding) -> None:
    """This attempt begins: its tenant has so much of the service, and is expected to have it for so long."""
    queue = desk.backlog.queue(instance.service)
    if queue.by_tenant:
        share = dominant(holding.grant, desk.registry.pool(instance.service).total)
        expected_ns = desk.estimates.remaining(record).mean_ns
        holding.bill = queue.accounts.charge(record.task.tenant, share, expected_ns, now)


def settle(now: Nanos, holding: Holding) -> None:
    """This attempt is over."""
    if holding.bill is not None:
        bill, holding.bill = holding.bill, None
        bill.account.book.settle(bill, now)


def amend(desk: Desk, now: Nanos, instance: Instance, holding: Holding) -> None:
    """This attempt was granted another amount, before it began."""
    if holding.bill is not None and holding.record is not None:
        settle(now, holding)
        charge(desk, now, instance, holding.record, holding)
