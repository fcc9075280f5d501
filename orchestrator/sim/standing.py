"""What the record of a living task must say, and which policies hold, by the text of the ledger: wills have an effect.

Law: computed entry by entry, without the machines. Who has read the whole ledger has these very records, however he came by them:
a task that was carried forward stands there as it stood, with what was asked of it, what it has to wait for and what it has saved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.vocabulary import Nanos
from orchestrator.wire.facts import Accepted, Asked, Carried, Entry

if TYPE_CHECKING:
    from orchestrator.core.custody.records import Record
    from orchestrator.core.desk import Desk
    from orchestrator.sim.accounts import Accounts


@dataclass(slots=True)
class Standing:
    """By task, what was written of it; by scope, the policy that was asked for last."""

    priorities: dict[str, int] = field(default_factory=dict)
    starts: dict[str, Nanos] = field(default_factory=dict)
    """Before which moment it is not tried, besides what its failures say."""
    policies: dict[str, str] = field(default_factory=dict)

    _asked: list[tuple[int, Asked]] = field(default_factory=list)

    def landed(self, offset: int, entry: Entry) -> None:
        """Take in an entry."""
        for fact in entry.facts:
            match fact:
                case Accepted(tasks=tasks):
                    for task in tasks:
                        self.priorities.setdefault(task.id, task.priority)
                        self.starts.setdefault(task.id, task.start_ns or 0)
                case Carried(task=task):
                    self.priorities.setdefault(task.id, fact.priority)
                    self.starts.setdefault(task.id, fact.not_before_ns)
                case Asked(what="priority", task=name):
                    self._asked.append((offset, fact))
                    if name in self.priorities:
                        self.priorities[name] = fact.value
                case Asked(what="policy"):
                    self._asked.append((offset, fact))
                    self.policies |= fact.value

    def asked_before(self, what: str, task: str, value: object, offset: int) -> bool:
        """Whether somebody wanted this, below this offset."""
        return any(
            fact.what == what and fact.task == task and (fact.value.get("ordering") if what == "policy" else fact.value) == value
            for at, fact in self._asked
            if at < offset
        )

    def differs(self, record: Record, accounts: Accounts) -> str | None:
        """What this record of a living task says otherwise; none: nothing."""
        name = record.id
        saved = accounts.newest_saved(name)
        known = accounts.failed.get(name, {})
        due_ns = max((fact.retry_ns for _, fact in known.values()), default=0)
        for what, has, stands in (
            ("priority", record.priority, self.priorities[name]),
            ("cancelled", record.cancelled, name in accounts.cancelled),
            ("failures", [one.attempt for one in record.failures], list(known)),
            ("not before", record.not_before_ns, max(due_ns, self.starts[name])),
            ("checkpoint", record.checkpoint, saved),
        ):
            if has != stands:
                return f"say of {name} that its {what} is {has!r}, and the ledger says {stands!r} (R15)"
        return None

    def other_policies(self, desk: Desk) -> str | None:
        """Which policy this coordinator follows otherwise; none: no one."""
        odd = {scope: spec for scope, spec in self.policies.items() if desk.policies.specs.get(scope, "") != spec}
        return f"follow {_some(desk.policies.specs, odd)}, and what was asked for is {odd}" if odd else None


def _some(specs: Mapping[str, str], scopes: Mapping[str, str]) -> dict[str, str]:
    return {scope: specs.get(scope, "") for scope in scopes}
