"""Wills in the books: what operators and producers want, as far as the ledger has it.

Law: a will is a fact like others, and ledger order alone settles which of two counts. What it asks of a task that is not known
yet is remembered until the task comes: a submission may lie in the broker for hours, and who wants it no more says it once.
A day later nobody waits for it, and of more than can be real the oldest are forgotten.
"""

from __future__ import annotations

from orchestrator.core.custody.custody import Custody
from orchestrator.core.custody.records import Record
from orchestrator.vocabulary import NS_PER_S, Nanos
from orchestrator.wire.facts import Asked

REMEMBERED_NS = 24 * 3600 * NS_PER_S
REMEMBERED_MAX = 10_000


def asked(custody: Custody, fact: Asked, offset: int) -> Record | None:
    """A will was read; gives the record of the task it is about, if that lives."""
    if fact.what == "policy":
        for scope, spec in fact.value.items():
            if spec:
                custody.policies[scope] = (fact, offset)
            else:  # as the default: nothing to keep
                custody.policies.pop(scope, None)
        return None
    if fact.what == "limit":
        _limited(custody, fact, offset)
        return None
    record = custody.live.get(fact.task)
    if record is None:
        if fact.what == "cancel" and fact.task not in custody.graves:
            custody.wills[fact.task] = (fact, offset)
        return None
    if fact.what == "cancel":
        record.cancelled = True
        if fact.task in custody.wills:
            custody.wills[fact.task] = (fact, offset)
    elif fact.what == "priority":
        record.priority = fact.value
    elif fact.what == "redirect":
        record.answer_to(fact.value)
    return record


def forget(custody: Custody, now: Nanos) -> None:
    """Those about tasks that never came."""
    waiting = [task for task in custody.wills if task not in custody.live]
    surplus = len(waiting) - REMEMBERED_MAX
    for place, task in enumerate(waiting):
        if place < surplus or now - custody.wills[task][0].at_ns > REMEMBERED_NS:
            del custody.wills[task]


def _limited(custody: Custody, fact: Asked, offset: int) -> None:
    """A limit is set, changed or removed. Of one revision the later word counts: two leaders may have said it at once."""
    name, revision = fact.value["name"], fact.value["revision"]
    known = custody.limits.get(name)
    if known is None or revision >= known[0].value["revision"]:
        custody.limits[name] = (fact, offset)
