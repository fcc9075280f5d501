"""R15: a reader that starts at ``replay_from`` comes to the same books as one that has read everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.core import events as e
from orchestrator.core import invariants, rules
from orchestrator.core.coordinator import Coordinator
from orchestrator.core.custody.custody import Custody

if TYPE_CHECKING:
    from tests.core.stage import Node, Stage

LEDGER_HALF = (
    "task", "accepted", "index", "at_ns", "reply_to", "by", "priority", "failures", "retries", "not_before_ns", "cancelled",
    "checkpoint", "checkpoint_of", "former",
)  # fmt: skip


def replayed(stage: Stage, start: int) -> Coordinator:
    """A standby that has read the ledger from ``start``."""
    fresh = Coordinator("fresh", stage.config)
    for offset in range(start, len(stage.ledger)):
        size, entry = stage.ledger[offset]
        if entry is not None:
            fresh.step(stage.now_ns, [e.Read(offset, size, entry)])
        invariants.check(fresh.desk)
    return fresh


def differences(stage: Stage, node: Node) -> list[str]:
    """What a reader from ``replay_from`` has otherwise than this node, which has read to the end."""
    mine = node.machine.desk.custody
    start = node.machine.desk.keeping.replay_from(mine)
    found = [] if start >= stage.first else [f"replay from {start}, but the ledger begins at {stage.first}"]
    other = replayed(stage, start).desk
    other.custody.answered(mine.answered_to())  # it stands in the next entry that this node writes
    for name, owed in mine.owed.items():
        more = other.custody.owed.get(name)
        if more is not None and not owed.queues.keys() <= more.queues.keys():  # more may be told twice, none may be forgotten
            found.append(f"{name} is owed to {list(owed.queues)} here, to {list(more.queues)} in the replay")
    theirs = books(other.custody)
    for name, grave in other.custody.graves.items():
        if name not in mine.graves and rules.r11_forgettable(grave, stage.now_ns, stage.config.dedup_ns):
            del theirs["graves"][name]  # its time is over: forgotten here, and there within a second
    return found + _compare(books(mine), theirs)


def books(custody: Custody) -> dict[str, dict[Any, Any]]:
    """Everything that the ledger says, as plain data; what a tombstone cannot say is left out."""
    return {
        "live": {name: {field: getattr(record, field) for field in LEDGER_HALF} for name, record in custody.live.items()},
        "missing": {name: set(one.node.missing) for name, one in custody.live.items() if one.node is not None and one.node.missing},
        "graves": {name: grave.outcome for name, grave in custody.graves.items()},
        "pinned": {name: (given(custody, name), size) for name, size in custody.graveyard.pinned.items()},
        "keys": {
            name: (hold.task, hold.digest, hold.keep_ns, hold.done_ns, hold.until_ns) for name, hold in custody.keys.held.items()
        },
        "leaders": dict(custody.keys.leaders),
        "owed": {name: owed.result.outcome for name, owed in custody.owed.items()},
        "joined": {name: fact for name, (fact, _) in custody.joined.items()},
        "served": dict.fromkeys(custody.served),
        "wills": {name: fact for name, (fact, _) in custody.wills.items() if unknown(custody, name)},
        "limits": {name: fact.value for name, (fact, _) in custody.limits.items()},
        "policies": {kind: fact.value[kind] for kind, (fact, _) in custody.policies.items()},
    }


def given(custody: Custody, parent: str) -> Any:
    """What children are given of a parent that is over."""
    result = custody.graves[parent].result
    return None if result is None else (result.outcome, result.value, result.error)


def unknown(custody: Custody, name: str) -> bool:
    """Neither alive nor over."""
    return name not in custody.graves and name not in custody.live


def _compare(mine: dict[str, dict[Any, Any]], other: dict[str, dict[Any, Any]]) -> list[str]:
    lines = []
    for table, rows in mine.items():
        for name in sorted(rows.keys() | other[table].keys()):
            here, there = rows.get(name, "nothing"), other[table].get(name, "nothing")
            if here != there:
                lines.append(f"{table} {name}: {here} here, {there} in the replay")
    return lines
