"""The observer's own account of the ledger: what its text says of each task, computed without the machines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from orchestrator.sim.losses import Gone, Reader, Writing, epoch_after, lose, spoken_of
from orchestrator.sim.sameness import Sameness, as_the_first
from orchestrator.sim.standing import Standing
from orchestrator.vocabulary import Attempt, Nanos
from orchestrator.wire.facts import (
    Accepted,
    Asked,
    Carried,
    Checkpointed,
    Claim,
    Ended,
    Entry,
    Failed,
    Joined,
    Parted,
    Preempted,
    Restored,
    Tombstone,
)
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
    joined: dict[str, int] = field(default_factory=dict)
    """Incarnations that may hold work, with the offset at which it says so."""
    epoch: int = 0
    number: int = 0
    """How often the ledger was lost before."""
    history: list[tuple[int, Entry]] = field(default_factory=list)
    tasks: dict[str, Task] = field(default_factory=dict)
    """All there ever were, in ledgers that are lost too."""
    ends: dict[str, Ended] = field(default_factory=dict)
    """The last first ends of all that ever ended."""
    otherwise: dict[str, list[Ended]] = field(default_factory=dict)
    """How they ended before, in ledgers that are lost."""
    born: dict[str, int] = field(default_factory=dict)
    """In which ledger a task was accepted first, by its number."""
    died: dict[str, int] = field(default_factory=dict)
    """In which it ended first."""
    bare: set[str] = field(default_factory=set)
    """Tasks that ended by an agent's word alone: this ledger knew nothing of them, nor who needs what they returned."""
    standing: Standing = field(default_factory=Standing)
    gone: Gone = field(default_factory=Gone)
    writing: Writing = field(default_factory=Writing)

    def lose(self, end: int, readers: list[Reader]) -> Accounts:
        """The account of the ledger that is left when all from this offset on is lost."""
        kept = {"tasks": self.tasks, "ends": self.ends, "born": self.born, "died": self.died, "otherwise": self.otherwise}
        left = Accounts(number=self.number + 1, keys=Sameness(self.keys.blind), **kept)  # type: ignore[arg-type]
        left.keys.lose(self.tasks[task] for offset, entry in self.history if offset >= end for task in spoken_of(entry, self.tasks))
        for offset, entry in self.history:
            if offset < end:
                left.landed(offset, entry)
        lost = [told for told in self.history if told[0] >= end]
        left.writing = Writing()
        left.gone = lose(self.gone, self.number, lost, left.epoch, readers, left._says)
        left.gone.cancelled |= self.cancelled.keys()
        return left

    def lately_born(self, end: int) -> list[str]:
        """Tasks that were accepted for the first time from this offset on."""
        return [task for task, (at, _) in self.accepted.items() if at >= end and self.born.get(task) == self.number]

    def lately_done(self, end: int) -> list[str]:
        """Tasks of which it was said first from this offset on that an attempt of theirs has done them."""
        late = ((task, end_.fact) for task, end_ in self.ended.items() if end_.offset >= end and self.died[task] == self.number)
        return [task for task, fact in late if fact.outcome == "done" and fact.first is None]

    def _says(self, task: str, ended: bool) -> bool:
        return task in self.ended or (not ended and task in self.accepted)

    def landed(self, offset: int, entry: Entry) -> str | None:
        """Take in an entry; gives what is wrong with it, if anything."""
        self.history.append((offset, entry))
        self.epoch = epoch_after(self.epoch, offset, entry)
        self.standing.landed(offset, entry)
        if (fault := self.keys.landed(entry)) is not None:
            return fault
        for fact in entry.facts:
            match fact:
                case Accepted(tasks=tasks):
                    for task in tasks:
                        if task.id in self.gone.tasks or task.id in self.gone.ends:
                            self.gone.again.add(task.id)
                        self.tasks.setdefault(task.id, task)
                        self.born.setdefault(task.id, self.number)
                        self._lives(offset, task)
                    if (fault := _torn(self, tasks)) is not None:
                        return fault
                case Carried(task=task):
                    if (fault := self._carried(offset, entry, fact)) is not None:
                        return fault
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
                    if name not in self.ended and (fault := self._ends(offset, fact)) is not None:
                        return fault
                case Tombstone(task=name):
                    if name not in self.ended and (fault := self._buried(offset, fact)) is not None:
                        return fault
                case _:
                    if (fault := self._reigns(offset, entry, fact)) is not None:
                        return fault
        return None

    def _reigns(self, offset: int, entry: Entry, fact: Any) -> str | None:
        match fact:
            case Joined(incarnation=incarnation):
                if self.writing.carried and entry.by == self.writing.nonce and incarnation not in self.joined:
                    return f"that {incarnation} may hold work is written again after what lives (R2)"
                self.joined.setdefault(incarnation, offset)
            case Parted(incarnation=incarnation):
                self.joined.pop(incarnation, None)
            case Claim():
                self.writing.claimed(fact, self.epoch)
            case Restored():
                return self.writing.restored(fact, self.gone)
        return None

    def _lives(self, offset: int, task: Task) -> None:
        """From here it lives. What stands before its first record was meant for a ledger that is lost, and counts for nobody."""
        if task.id not in self.accepted:
            self.accepted[task.id] = offset, task
            for book in (self.failed, self.saved):
                book.pop(task.id, None)
        self.gone.written(task.id, ended=False, accepted=True)

    def _carried(self, offset: int, entry: Entry, fact: Carried) -> str | None:
        """A living task is written again; where the ledger was lost this may be all that it says of it."""
        name = fact.task.id
        if name in self.accepted:
            return None
        if name not in self.tasks:
            return f"{name} is carried forward and was never accepted"
        self._lives(offset, fact.task)
        self.writing.carried |= entry.by == self.writing.nonce
        for one in fact.failures:
            again = Failed(name, one.attempt, one.cause, one.error, one.at_ns, one.instance, fact.retries)  # type: ignore[arg-type]
            self.failed.setdefault(name, {}).setdefault(one.attempt, (offset, again))
        if fact.checkpoint is not None and fact.checkpoint_of is not None:
            saved = Checkpointed(name, fact.checkpoint_of, fact.checkpoint, fact.checkpoint_nth, fact.ran_ns)
            self.saved.setdefault(name, []).append((offset, saved))
        if fact.cancelled:
            self.cancelled.setdefault(name, offset)
        return None

    def _ends(self, offset: int, fact: Ended) -> str | None:
        """The first end of a task in this ledger. Where one was lost it is that one again, or, if that was not known, another."""
        name, before = fact.task, self.ends.get(fact.task)
        self._over(fact)
        self.died.setdefault(name, self.number)
        if before is not None and (before.outcome, before.value) == (fact.outcome, fact.value):
            self.ended[name] = End(offset, before)
            return None
        if before is not None:
            self.gone.again.add(name)
            self.otherwise.setdefault(name, []).append(before)
        self.ends[name] = fact
        self.ended[name] = End(offset, fact)
        return self._odd_end(fact)

    def _buried(self, offset: int, fact: Tombstone) -> str | None:
        name, known = fact.task, [self.ends[fact.task], *self.otherwise.get(fact.task, ())] if fact.task in self.ends else []
        such = [one for one in known if one.outcome == fact.outcome and not (fact.whole and fact.value != one.value)]
        if not such:
            return f"a tombstone for {name}, which never ended so (R11)"
        self._over(fact)
        self.ended[name] = End(offset, such[0])
        if such[0] is not known[0]:
            self.gone.again.add(name)  # how it ended last is lost, and who remembers says how it had ended before
            self.otherwise[name], self.ends[name] = [one for one in known if one is not such[0]], such[0]
        return None

    def _over(self, fact: Ended | Tombstone) -> None:
        """The ledger says for the first time that this task has ended."""
        self.gone.written(fact.task, ended=True, accepted=fact.task in self.accepted)
        if fact.task not in self.accepted and not fact.print:
            self.bare.add(fact.task)

    def _against_parents(self, fact: Ended) -> str | None:
        """A child ends because of its parents only as one of its edges has it, and is not done against any (R13)."""
        edges = self.accepted[fact.task][1].after if fact.task in self.accepted else ()
        missed = {edge.on_failure for edge in edges if edge.task in self.ended and self.ended[edge.task].fact.outcome != "done"}
        asked = missed | _asked_by_lost(self, fact.task)
        if fact.outcome == "skipped" and "skip" not in asked:
            return f"{fact.task} is skipped, and no parent of it asks for that"
        if fact.outcome == "failed" and _of_parents(fact) and "fail" not in asked:
            return f"{fact.task} failed with its parents, and none asks for that"
        if fact.outcome == "done" and not missed <= {"continue"}:
            return f"{fact.task} is done, though a parent of it is not"
        if fact.outcome == "done" and not all(edge.task in self.ends for edge in edges):
            return f"{fact.task} is done before its parents have ended"
        return None

    def _odd_end(self, fact: Ended) -> str | None:
        name = fact.task
        if fact.first is not None:
            first = self.ends.get(fact.first)
            if first is None or not as_the_first(fact, first):
                return f"{name} ended as {fact.outcome} {fact.value!r} because {fact.first} did, which is {first}"
            return None
        if (fault := self._against_parents(fact)) is not None:
            return fault
        if fact.outcome == "done" and fact.value != f"{name}|{fact.attempt}".encode():
            return f"{name} ended as done with {fact.value!r}, which is not what attempt {fact.attempt} returned"
        if fact.outcome == "cancelled" and name not in self.cancelled and name not in self.gone.cancelled:
            return f"{name} ended as cancelled, and nobody asked for that"
        if fact.outcome == "expired":
            deadline_ns = self.tasks[name].deadline_ns
            if deadline_ns is None or fact.at_ns < deadline_ns:
                return f"{name} ended as expired before its deadline"
        if fact.error is not None and fact.error.kind == "parent_forgotten":
            lost = _parent_lost(self, name)
            return None if lost else f"{name} ended because what a parent returned was forgotten, while it lived (R13)"
        late = name not in self.accepted and self.gone.concerns(name)  # an end of the ledger that is lost
        if fact.outcome == "failed" and not late and not _of_parents(fact) and self._tried(name, 1 << 60, 3) is None:
            return f"{name} ended as failed, and had tries left (R8)"
        return None

    def has_saved(self, task: str, attempt: Attempt, nth: int, offset: int) -> bool:
        """Whether that checkpoint, or one that replaces it, stands below this offset."""
        return any(at < offset and (fact.attempt, fact.nth) >= (attempt, nth) for at, fact in self.saved.get(task, []))

    def thrown_away(self, item: Assignment, offset: int) -> str | None:
        """Which work this assignment forgets: it must go on from the newest checkpoint of the latest attempt below this offset."""
        newest = self.newest_saved(item.task, offset)
        return None if item.checkpoint == newest else f"it goes on from {item.checkpoint!r}, and the ledger has {newest!r}"

    def newest_saved(self, task: str, offset: int = 1 << 60) -> bytes | None:
        """The newest checkpoint of its latest attempt below this offset."""
        known = [fact for at, fact in self.saved.get(task, []) if at < offset]
        newest = max(known, key=lambda fact: (fact.attempt, fact.nth), default=None)
        return newest.state if newest is not None else None

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

    def not_now(self, task: str, offset: int, now_ns: Nanos) -> str | None:
        """Why it may not start now, by what stands below this offset: it is to wait, or nobody wants it any more."""
        if self.cancelled.get(task, offset) < offset:
            return "it was asked to cancel it"
        due_ns = max((fact.retry_ns for at, fact in self.failed.get(task, {}).values() if at < offset), default=0)
        due_ns = max(due_ns, self.tasks[task].start_ns or 0)
        return f"it is to wait for {(due_ns - now_ns) / 1e9:.3f} s still" if now_ns < due_ns else None

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
        return task in self.tasks and self.tasks[task].overlap == "never"

    def living(self) -> set[str]:
        """Accepted and not ended."""
        return self.accepted.keys() - self.ended.keys()


def _of_parents(fact: Ended) -> bool:
    return fact.error is not None and fact.error.kind == "parent_failed"


def _torn(books: Accounts, tasks: list[Task]) -> str | None:
    """A graph is accepted whole: with every child its parents."""
    for task in tasks:
        for edge in task.after:
            if edge.task not in books.tasks and edge.task not in books.ends:
                return f"{task.id} is accepted without its parent {edge.task}"
    return None


def _asked_by_lost(books: Accounts, name: str) -> set[str]:
    """What parents ask for whose ends are lost: who had read them, and does not know that, may say what follows."""
    edges = books.tasks[name].after if name in books.tasks else ()
    lost = [edge for edge in edges if edge.task in books.ends and (edge.task in books.gone.ends or edge.task in books.gone.again)]
    return {edge.on_failure for edge in lost if books.ends[edge.task].outcome != "done"}


def _parent_lost(books: Accounts, name: str) -> bool:
    """Whether what the ledger said of a parent of this task is lost; or of itself: until it came again, by a submission or by
    who remembered it, nobody knew that it needs what its parent returned."""
    gone, came = books.gone, books.accepted[name][0] if name in books.accepted else 1 << 60
    bare = {task for task in books.bare if books.ended_before(task, came)}
    family = [edge.task for edge in books.tasks[name].after] if name in books.tasks else []
    return name in gone.again or any(gone.concerns(task) or task in bare for task in family)
