"""The observer's own account of the ledger: what its text says of each task, computed without the machines."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.sim.sameness import Sameness, as_the_first
from orchestrator.vocabulary import Attempt
from orchestrator.wire.facts import Accepted, Asked, Carried, Checkpointed, Ended, Entry, Failed, Preempted, Tombstone
from orchestrator.wire.messages import Assignment, Task


@dataclass(frozen=True, slots=True)
class End:
    """The first ``Ended`` of a task."""

    offset: int
    fact: Ended


@dataclass(slots=True)
class Accounts:
    """By task, what was written first and in which order."""

    accepted: dict[str, tuple[int, Task]] = field(default_factory=dict)
    ended: dict[str, End] = field(default_factory=dict)
    failed: dict[str, dict[Attempt, tuple[int, Failed]]] = field(default_factory=dict)
    cancelled: dict[str, int] = field(default_factory=dict)
    saved: dict[str, list[tuple[int, Checkpointed]]] = field(default_factory=dict)
    preempted: int = 0
    keys: Sameness = field(default_factory=Sameness)

    def landed(self, offset: int, entry: Entry) -> str | None:
        """Take in an entry; gives what is wrong with it, if anything."""
        if (fault := self.keys.landed(entry)) is not None:
            return fault
        for fact in entry.facts:
            match fact:
                case Accepted(tasks=tasks):
                    for task in tasks:
                        self.accepted.setdefault(task.id, (offset, task))
                    if (fault := self._torn(tasks)) is not None:
                        return fault
                case Carried(task=task):
                    if task.id not in self.accepted:
                        return f"{task.id} is carried forward and was never accepted"
                case Failed(task=name, attempt=attempt):
                    if name not in self.ended:
                        self.failed.setdefault(name, {}).setdefault(attempt, (offset, fact))
                case Checkpointed(task=name):
                    self.saved.setdefault(name, []).append((offset, fact))
                case Preempted():
                    self.preempted += 1
                case Asked(what="cancel", task=name):
                    self.cancelled.setdefault(name, offset)
                case Ended(task=name):
                    if name not in self.ended:
                        self.ended[name] = End(offset, fact)
                        if (fault := self._odd_end(fact)) is not None:
                            return fault
                case Tombstone(task=name):
                    if name not in self.ended:
                        return f"a tombstone for {name}, which never ended (R11)"
                case _:
                    pass
        return None

    def _torn(self, tasks: list[Task]) -> str | None:
        """A graph is accepted whole: with every child its parents."""
        for task in tasks:
            for edge in task.after:
                if edge.task not in self.accepted and edge.task not in self.ended:
                    return f"{task.id} is accepted without its parent {edge.task}"
        return None

    def _against_parents(self, fact: Ended) -> str | None:
        """A child ends because of its parents only as one of its edges has it, and is not done against any (R13)."""
        edges = self.accepted[fact.task][1].after if fact.task in self.accepted else ()
        missed = {edge.on_failure for edge in edges if edge.task in self.ended and self.ended[edge.task].fact.outcome != "done"}
        if fact.outcome == "skipped" and "skip" not in missed:
            return f"{fact.task} is skipped, and no parent of it asks for that"
        if fact.outcome == "failed" and _of_parents(fact) and "fail" not in missed:
            return f"{fact.task} failed with its parents, and none asks for that"
        if fact.outcome == "done" and not missed <= {"continue"}:
            return f"{fact.task} is done, though a parent of it is not"
        if fact.outcome == "done" and not all(edge.task in self.ended for edge in edges):
            return f"{fact.task} is done before its parents have ended"
        return None

    def _odd_end(self, fact: Ended) -> str | None:
        name = fact.task
        if fact.first is not None:
            first = self.ended.get(fact.first)
            if first is None or not as_the_first(fact, first.fact):
                return f"{name} ended as {fact.outcome} {fact.value!r} because {fact.first} did, which is {first}"
            return None
        if (fault := self._against_parents(fact)) is not None:
            return fault
        if fact.outcome == "done" and fact.value != f"{name}|{fact.attempt}".encode():
            return f"{name} ended as done with {fact.value!r}, which is not what attempt {fact.attempt} returned"
        if fact.outcome == "cancelled" and name not in self.cancelled:
            return f"{name} ended as cancelled, and nobody asked for that"
        if fact.outcome == "expired":
            deadline_ns = self.accepted[name][1].deadline_ns
            if deadline_ns is None or fact.at_ns < deadline_ns:
                return f"{name} ended as expired before its deadline"
        if fact.error is not None and fact.error.kind == "parent_forgotten":
            return f"{name} ended because what a parent returned was forgotten, while it lived (R13)"
        if fact.outcome == "failed" and not _of_parents(fact) and self._tried(name, 1 << 60, 3) is None:
            return f"{name} ended as failed, and had tries left (R8)"
        return None

    def has_saved(self, task: str, attempt: Attempt, nth: int, offset: int) -> bool:
        """Whether that checkpoint, or one that replaces it, stands below this offset."""
        return any(at < offset and (fact.attempt, fact.nth) >= (attempt, nth) for at, fact in self.saved.get(task, []))

    def thrown_away(self, item: Assignment, offset: int) -> str | None:
        """Which work this assignment forgets: it must go on from the newest checkpoint of the latest attempt below this offset."""
        known = [fact for at, fact in self.saved.get(item.task, []) if at < offset]
        newest = max(known, key=lambda fact: (fact.attempt, fact.nth), default=None)
        if item.checkpoint == (newest.state if newest is not None else None):
            return None
        return f"it goes on from {item.checkpoint!r}, and the ledger has {newest}"

    def handed_wrong(self, item: Assignment, offset: int) -> str | None:
        """What is wrong with a child's assignment by the ends below this offset: too early, or not what the first ends say."""
        edges = self.accepted[item.task][1].after
        given = {parent.task: parent for parent in item.parents}
        if given.keys() != {edge.task for edge in edges}:
            return f"it is told of {list(given)}, which are not its parents"
        for edge in edges:
            if not self.ended_before(edge.task, offset):
                return f"its parent {edge.task} has not ended"
            first, parent = self.ended[edge.task].fact, given[edge.task]
            if (parent.outcome, parent.value) != (first.outcome, first.value if first.outcome == "done" else None):
                return (
                    f"it is told {parent.outcome} {parent.value!r} of {edge.task}, which ended as {first.outcome} {first.value!r}"
                )
            if edge.into and edge.into not in parent.into:
                return f"it is not given {edge.into}"
        return None

    def accepted_before(self, task: str, offset: int) -> bool:
        """Whether it was accepted below this offset."""
        return task in self.accepted and self.accepted[task][0] < offset

    def ended_before(self, task: str, offset: int) -> bool:
        """Whether it ended below this offset."""
        return task in self.ended and self.ended[task].offset < offset

    def known_before(self, task: str, offset: int) -> bool:
        """Whether the ledger spoke of it below this offset."""
        return self.accepted_before(task, offset) or self.ended_before(task, offset)

    def had_enough(self, task: str, offset: int, losses_max: int) -> str | None:
        """Why no further try may be made, by the failures below this offset; none: one may."""
        return self._tried(task, offset, losses_max)

    def _tried(self, task: str, offset: int, losses_max: int) -> str | None:
        """Why no further try may be made: decided with each failure, so what comes after the last one changes nothing."""
        losses = unseen = 0
        for number, (at, fact) in enumerate(self.failed.get(task, {}).values(), 1):
            if at >= offset:
                return None
            losses += fact.cause == "lost"
            unseen += fact.cause == "unseen"
            if losses + unseen // 4 >= losses_max:
                return f"{losses} instances died under it, {unseen} before it was seen to start"
            if fact.cause == "fatal":
                return "its last failure is final"
            if (tries := number - losses - unseen) > fact.retries:
                return f"it failed {tries} times and has {fact.retries} retries"
        return None

    def never(self, task: str) -> bool:
        """Whether it must never overlap."""
        return task in self.accepted and self.accepted[task][1].overlap == "never"

    def living(self) -> set[str]:
        """Accepted and not ended."""
        return self.accepted.keys() - self.ended.keys()


def _of_parents(fact: Ended) -> bool:
    return fact.error is not None and fact.error.kind == "parent_failed"
