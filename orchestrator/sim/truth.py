"""What is true of the work, whatever is written about it: what was asked for, and what handlers said of their tries.

Law: known from the workload and from the handlers alone. So the ledger is not held against itself: that a failure is final, how
many tries are left and when the next may begin is written by one party and read by all others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.sim.workload import Place, Workload
from orchestrator.vocabulary import NS_PER_S, Attempt, Nanos, service_of
from orchestrator.wire.facts import Accepted, Ended, Entry, Failed
from orchestrator.wire.messages import Handler, Range, Task

if TYPE_CHECKING:
    from orchestrator.sim.accounts import Accounts
    from orchestrator.sim.coordinators import CoordinatorProcess

UNKNOWN = Handler("", retries=2, backoff_ns=NS_PER_S, backoff_max_ns=300 * NS_PER_S)
"""What holds for a handler that its leader has never heard of: its instance may be gone before its report is read."""


class Truth:
    """Of one workload."""

    def __init__(self, work: Workload) -> None:
        self.tasks: dict[str, Task] = {task.id: task for errand in work.errands for task in errand.tasks}
        self._handlers = {f"{place.service}.{one.name}": one for place in work.places for one in place.handlers}
        self._final: set[tuple[str, Attempt]] = set()
        """Attempts whose handlers said that no other try can help."""
        self.unfit = {name: why for name, task in self.tasks.items() if (why := _unfit(work, task))}
        """Tasks that nobody here can ever run, and what is to be said of them."""
        self._arguments: dict[tuple[str, str, str], set[bytes]] = {}
        for task in self.tasks.values():
            self._arguments.setdefault((task.tenant, task.type, task.key), set()).add(task.args)
        self._workflows = {task.workflow for task in self.tasks.values() if task.id in self.unfit or self._contended(task)} - {None}
        """Those of which a task may be refused, and so all."""
        self._could_know: dict[tuple[str, str], frozenset[str]] = {}
        """By coordinator and unfit task: instances that it knew, and that cannot run it, when it was asked to."""

    def never_works(self, task: str, attempt: Attempt) -> None:
        """A handler says that no other try can help."""
        self._final.add((task, attempt))

    def landed(self, entry: Entry, accounts: Accounts) -> str | None:
        """An entry is in the ledger, and in its account; gives what it says that is not so, if anything."""
        for fact in entry.facts:
            if type(fact) is Failed and fact.cause not in ("lost", "unseen") and (fault := self._failed(fact)) is not None:
                return fault
            if type(fact) is Ended and fact.outcome == "refused" and (fault := self._refused(fact, accounts)) is not None:
                return fault
        return None

    def asked(self, node: CoordinatorProcess, tasks: list[Task]) -> None:
        """A coordinator is asked for these; of one that it is asked for again it judged when it came first."""
        for task in tasks:
            if task.id in self.unfit:
                known, name = _known(node, task), (node.name, task.id)
                self._could_know[name] = known & self._could_know.get(name, known)

    def takes(self, node: CoordinatorProcess, entry: Entry) -> str | None:
        """It writes this; gives which task it takes though it knows who cannot run it, and nobody who can (P5)."""
        for task in (task for fact in entry.facts if type(fact) is Accepted for task in fact.tasks if task.id in self.unfit):
            if self._could_know.get((node.name, task.id), frozenset()) & _known(node, task):
                return f"takes {task.id}, of which is to be said {self.unfit[task.id]} (P5)"
        return None

    def _refused(self, fact: Ended, accounts: Accounts) -> str | None:
        """Refused is what can never run, for what is wrong with it; and what was taken only for a key that another one holds. (Who
        had heard of nobody takes what is unfit, and who is deposed may refuse it later.) Where a ledger was lost nobody may know
        the rest of a workflow of which what is unanswered is said again."""
        name, task = fact.task, self.tasks.get(fact.task)
        if task is None or fact.first is not None or fact.error is None:
            return None
        kind, taken, whole = fact.error.kind, self._contended(task), task.workflow in self._workflows
        if kind in ("unknown_parent", "workflow_refused") and accounts.number:
            return None
        if kind != self.unfit.get(name) and not (kind == "workflow_refused" and whole) and not (kind == "key_taken" and taken):
            return f"{name} is refused as {kind}, and nothing is wrong with it: {fact.error.message} (P5)"
        if kind != "key_taken" and accounts.accepted_before(name, 1 << 60) and not (name in self.unfit or whole):
            return f"{name} is refused as {kind}, and was accepted (P1)"
        return None

    def _contended(self, task: Task) -> bool:
        """Whether somebody asks for other work under its key."""
        return bool(task.key) and len(self._arguments[task.tenant, task.type, task.key]) > 1

    def _failed(self, fact: Failed) -> str | None:
        task = self.tasks.get(fact.task)
        known = self._handlers.get(task.type) if task is not None else None
        if task is None or known is None:
            return None
        final = (fact.task, fact.attempt) in self._final
        if (fact.cause == "fatal") != final and fact.cause != "timeout":
            return f"{fact.attempt} of {fact.task} is written down as {fact.cause}, and its handler says {final=} (R8)"
        may = {task.retries} if task.retries is not None else {known.retries, UNKNOWN.retries}
        if fact.retries not in may:
            return f"{fact.task} is said to have {fact.retries} retries, and it has {may} (R8)"
        waits = fact.retry_ns - fact.at_ns
        if not _least(known, UNKNOWN) <= waits <= _most(known, UNKNOWN):
            return f"{fact.task} is said to be tried again {waits / 1e9:.2f} s after it failed, which is not its back-off"
        return None


def _least(*handlers: Handler) -> Nanos:
    return min(one.backoff_ns for one in handlers) * 8 // 10 - 1


def _most(*handlers: Handler) -> Nanos:
    return max(one.backoff_max_ns for one in handlers) * 12 // 10 + 1


def _unfit(work: Workload, task: Task) -> str:
    """What is to be said of a task that nobody can run; nothing: somebody can."""
    able = [one for one in work.places if any(f"{one.service}.{handler.name}" == task.type for handler in one.handlers)]
    if not able:
        return "unknown_handler"
    return "" if any(_has_room(one, task, work) for one in able) else "never_fits"


def _has_room(place: Place, task: Task, work: Workload) -> bool:
    needs = ((name, need.min if isinstance(need, Range) else need) for name, need in task.need.items() if name not in work.limits)
    return all(least <= place.capacity.get(name, len(place.devices.get(name, ()))) for name, least in needs)


def _known(node: CoordinatorProcess, task: Task) -> frozenset[str]:
    """The instances of its service that this coordinator leads and knows, and that have answered."""
    desk = node.machine.desk
    pool = desk.registry.pools.get(service_of(task.type)) if desk.leading else None
    return (
        frozenset(name for name, one in pool.members.items() if one.announced is not None and one.proven) if pool else frozenset()
    )
