"""Who holds which key: of the tasks that one tenant submits under the same key to the same type, one runs (R16).

Law: from the ledger alone (R15). The first task in ledger order holds the key, while it lives and, once it is done, until the
moment that follows from its own facts; every other end frees the key at once. Whoever comes meanwhile *follows*: it lives, is
never assigned, and ends as the first one did. A task that must be cached and names no key has its arguments for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from heapq import heappop, heappush
from typing import NamedTuple

from orchestrator.core import rules
from orchestrator.vocabulary import NS_PER_S, Nanos, TaskId
from orchestrator.wire.facts import Hold
from orchestrator.wire.messages import Task

LATE_NS = 60 * NS_PER_S
"""Keys that hold no more are remembered for so long still: whether a task came in time is judged by facts, not by our clock."""


class Name(NamedTuple):
    """What makes two keys the same."""

    tenant: str
    type: str
    key: str


@dataclass(slots=True, eq=False)
class Held:
    """A key that a task holds."""

    name: Name
    task: TaskId
    digest: bytes
    """Of its arguments: others under the same key are refused."""
    keep_ns: Nanos
    """For how long it holds the key once it is done."""
    done_ns: Nanos = 0
    until_ns: Nanos | None = None
    """Until when; none: it lives."""
    bytes: int = 0
    """What of its result a tombstone of the task says again."""


def named(task: Task) -> bool:
    """Whether keys concern this task at all: most it does not, so this must cost nothing."""
    return task.key != "" or task.cache_ns is not None


def digest_of(task: Task) -> bytes:
    """What tells its arguments from others."""
    return blake2b(task.args, digest_size=16).digest()


def name_of(task: Task) -> Name:
    """Its key."""
    return Name(task.tenant, task.type, task.key or f"args:{digest_of(task).hex()}")


class Keys:
    """All keys that are held, and who follows whom."""

    def __init__(self, bytes_max: int) -> None:
        self.held: dict[Name, Held] = {}
        self.by_task: dict[TaskId, Held] = {}
        self.leaders: dict[TaskId, TaskId] = {}
        """Of live tasks that follow another one: which."""
        self.followers: dict[TaskId, dict[TaskId, None]] = {}
        self.bereft: dict[Name, TaskId] = {}
        """Of keys that nobody holds any more though others followed who did, and live still: whom."""
        self.kept: dict[TaskId, int] = {}
        """Whose results stay at hand though those of other tasks of their age are not kept any more, with their bytes."""
        self.kept_bytes = 0
        self.result_bytes = 0
        """Of all results of tasks that hold a key."""
        self.dropped: list[TaskId] = []
        """Results that were kept for their keys, and need not be any more."""
        self.freed: list[TaskId] = []
        """Tasks that hold their key no more."""
        self._names: dict[TaskId, Name] = {}
        """The keys in ``bereft``, by whom others followed."""
        self._ends: list[tuple[Nanos, TaskId]] = []
        """A heap of when keys hold no more."""
        self._bytes_max = bytes_max

    def holder(self, task: Task, at_ns: Nanos, kept: bool = True) -> Held | None:
        """Who holds the key of ``task`` against it, if it was accepted at ``at_ns``; ``kept``: whether that one's result is."""
        hold = self.held.get(name_of(task))
        if hold is None or hold.task == task.id or not rules.r16_follows(hold, task, at_ns, kept):
            return None
        return hold

    def enter(self, task: Task, at_ns: Nanos, keep_ns: Nanos, kept: bool) -> Held | None:
        """A task lives from now on: it holds its key, or gives who does."""
        hold = self.holder(task, at_ns, kept)
        if hold is None:
            self.hold(task, keep_ns)
        else:
            self.follow(task.id, hold.task)
        return hold

    def hold(self, task: Task, keep_ns: Nanos) -> None:
        """This task holds its key from now on, whoever did before: nobody, or a result that is too old or not at hand."""
        self._hold(Held(name_of(task), task.id, digest_of(task), keep_ns if task.cache_ns is None else task.cache_ns))

    def follow(self, task: TaskId, first: TaskId) -> list[TaskId]:
        """This task ends as that one does, and so do all that have followed it: gives these and itself."""
        hold = self.by_task.get(task)
        if hold is not None:
            self.free(hold)
        all_of_them = [task, *self.followers.pop(task, ())]
        self._forget_bereft(task)
        for one in all_of_them:
            self.leaders[one] = first
            self.followers.setdefault(first, {})[one] = None
        return all_of_them

    def leave(self, task: TaskId) -> TaskId | None:
        """A task is over; gives whom it followed, if nobody else does any more."""
        first = self.leaders.pop(task, None)
        if first is None:
            return None
        others = self.followers[first]
        del others[task]
        if others:
            return None
        del self.followers[first]
        self._forget_bereft(first)
        return first

    def over(self, task: TaskId, done_ns: Nanos | None) -> None:
        """The end of a task was read; ``done_ns``: when it was done, none if it ended otherwise."""
        hold = self.by_task.get(task)
        if hold is None:
            return
        if done_ns is None:
            self.free(hold)
        else:
            hold.done_ns, hold.until_ns = done_ns, done_ns + hold.keep_ns
            heappush(self._ends, (hold.until_ns, task))

    def restore(self, task: TaskId, done_ns: Nanos, said: Hold) -> None:
        """A tombstone says what its task holds."""
        name = Name(said.tenant, said.type, said.key)
        self._hold(Held(name, task, said.digest, said.until_ns - done_ns, done_ns, said.until_ns))
        heappush(self._ends, (said.until_ns, task))

    def said(self, task: TaskId, done_ns: Nanos | None = None) -> Hold | None:
        """What is to be written of the key that this task holds: once it is done, or if it is at ``done_ns``."""
        hold = self.by_task.get(task)
        if hold is None:
            return None
        until_ns = hold.until_ns if done_ns is None else done_ns + hold.keep_ns
        return None if until_ns is None else Hold(*hold.name, hold.digest, until_ns)

    def expire(self, now: Nanos) -> None:
        """Let go the keys that hold no more."""
        while self._ends and self._ends[0][0] + LATE_NS <= now:
            until_ns, task = heappop(self._ends)
            hold = self.by_task.get(task)
            if hold is not None and hold.until_ns == until_ns:
                self.free(hold)

    def free(self, hold: Held) -> None:
        """It holds its key no more."""
        if self.by_task.pop(hold.task, None) is not None:
            self.result_bytes -= hold.bytes
            self.freed.append(hold.task)
        if self.held.get(hold.name) is hold:
            del self.held[hold.name]
        if hold.task in self.followers:
            self._forget_bereft(self.bereft.get(hold.name, hold.task))
            self.bereft[hold.name], self._names[hold.task] = hold.task, hold.name
        if hold.task in self.kept:
            self.kept_bytes -= self.kept.pop(hold.task)
            self.dropped.append(hold.task)

    def weigh(self, task: TaskId, size: int) -> None:
        """What the result of this task takes, if it holds a key."""
        if (hold := self.by_task.get(task)) is not None:
            self.result_bytes += size - hold.bytes
            hold.bytes = size

    def keep(self, task: TaskId, size: int) -> None:
        """The result of a task that holds a key would be dropped as others of its age are: it stays, within a bound of its own."""
        self.kept[task] = size
        self.kept_bytes += size
        while self.kept_bytes > self._bytes_max:
            oldest = next(iter(self.kept))
            self.kept_bytes -= self.kept.pop(oldest)
            self.dropped.append(oldest)

    def _forget_bereft(self, task: TaskId) -> None:
        if (name := self._names.pop(task, None)) is not None:
            del self.bereft[name]

    def _hold(self, hold: Held) -> None:
        if (before := self.held.get(hold.name)) is not None:
            self.free(before)
        self.held[hold.name] = self.by_task[hold.task] = hold
