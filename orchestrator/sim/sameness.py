"""What the observer knows of keys: which tasks are the same work by the text of the ledger, and so which may run (R16).

Law: computed from the ledger alone, entry by entry, without the machines. Of one key's tasks one is *first* at any time; while it
lives, and once it is done for as long as was said, no other one runs: so there is one effect.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.vocabulary import Nanos
from orchestrator.wire.facts import Accepted, Ended, Entry
from orchestrator.wire.messages import Result, Task


@dataclass(slots=True)
class First:
    """The task whose effect counts for a key."""

    task: Task
    keep_ns: Nanos
    done: Ended | None = None
    instead: First | None = None
    """One that was done before it, which it may follow in truth: whether that one's result was still at hand when it came, and so
    could be taken from the cache, the text does not say. Its own end does."""

    def names(self) -> set[str]:
        """Whose result those that come after it may be given."""
        return {self.task.id} | (self.instead.names() if self.instead is not None else set())


class Sameness:
    """Firsts by key, and who comes after them."""

    def __init__(self, blind: frozenset[object] = frozenset()) -> None:
        self.firsts: dict[object, First] = {}
        self.after: dict[str, First] = {}
        """Tasks that must not run, and the one that does in their place."""
        self.late: dict[str, Ended] = {}
        """Ends that were written before their tasks were accepted: these hold no key that anybody could follow."""
        self._accepted: set[str] = set()
        self.blind = blind
        """Keys of which the ledger has lost something: who holds them is not watched any more."""

    def lose(self, tasks: Iterable[Task]) -> None:
        """The ledger has lost something of these."""
        self.blind |= {key for task in tasks if (key := _key(task)) is not None}

    def lost(self, task: Task | None) -> bool:
        """Whether the ledger has lost something of this task's key."""
        return task is not None and _key(task) in self.blind

    def landed(self, entry: Entry) -> str | None:
        """Take in an entry; gives what is wrong with it, if anything."""
        for fact in entry.facts:
            if isinstance(fact, Accepted):
                for task in fact.tasks:
                    self._takes(task, fact)
            elif isinstance(fact, Ended) and (fault := self._ends(fact)) is not None:
                return fault
        return None

    def _takes(self, task: Task, fact: Accepted) -> None:
        if task.id in self._accepted:
            return
        self._accepted.add(task.id)
        key = _key(task)
        if key is None or key in self.blind:
            return
        keep_ns = fact.keep_ns if task.cache_ns is None else task.cache_ns
        known = self.firsts.get(key)
        if known is not None and (known.done is None or (task.cache_ns is None and fact.at_ns < known.done.at_ns + known.keep_ns)):
            if task.id not in self.late:
                self.after[task.id] = known
            return
        early = self.late.get(task.id)
        if early is None or early.outcome == "done":
            cached = known is not None and known.done is not None and fact.at_ns < known.done.at_ns + min(known.keep_ns, keep_ns)
            self.firsts[key] = First(task, keep_ns, early, known if cached else None)

    def _ends(self, fact: Ended) -> str | None:
        if fact.task not in self._accepted:
            self.late.setdefault(fact.task, fact)
        first = self.after.pop(fact.task, None)
        if first is not None and fact.outcome == "done" and fact.first is None:
            return f"{fact.task} is done by itself, though {first.task.id} has the same key (R16)"
        if fact.first is not None and first is not None and fact.first not in first.names():
            return f"{fact.task} ended as {fact.first}, and {first.task.id} is the first with its key (R16)"
        for key, known in list(self.firsts.items()):
            if known.task.id == fact.task and known.done is None:
                if fact.outcome == "done" and fact.first is None:
                    known.done = fact
                elif known.instead is not None and fact.first in known.instead.names():
                    self.firsts[key] = known.instead
                else:
                    del self.firsts[key]
        return None

    def why_not(self, task: str) -> str | None:
        """Why this task must not be given to anybody, as the ledger stands now."""
        first = self.after.get(task)
        return None if first is None else f"{first.task.id} came first with the same key (R16)"


def as_the_first(result: Result | Ended, first: Ended) -> bool:
    """Whether this says what the first one's end does; its value may not be kept any more."""
    return result.outcome == first.outcome and result.value in (None, first.value)


def _key(task: Task) -> object:
    return (task.tenant, task.type, task.key or task.args) if task.key or task.cache_ns is not None else None
