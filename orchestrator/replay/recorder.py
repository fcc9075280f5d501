"""From the ledger's facts to a trace: what came when, what it asked, how long it ran.

Law: facts in, tasks of a trace out; what the facts do not tell is counted, never guessed. A task is told when it has ended:

* its arrival is when it was accepted or, if its producer did not want it started before, that moment;
* its run time is that of its last attempt, measured by its agent. How long earlier attempts ran is in no fact: such tasks are
  told, and counted in ``retried``;
* of an elastic demand the least is told, which is what ``msa`` grants. Where a task asks nothing, what its handler asks by
  default is in no fact: it is told as asking nothing, and counted in ``asked_nothing``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from msgspec.structs import replace

from orchestrator.traces import TraceTask
from orchestrator.vocabulary import NS_PER_S, Nanos, TaskId, seconds
from orchestrator.wire.facts import Accepted, Carried, Ended, Entry, Failed, Tombstone
from orchestrator.wire.messages import Need, Range, Task

AGAIN_NS = 60 * NS_PER_S
"""An id that is accepted so long after its task ended is used anew; sooner, it is the echo of a deposed leader."""


class Recorder:
    """Fed with entries in the order of the ledger; gives the tasks that ended in each."""

    def __init__(self, since_ns: Nanos = 0) -> None:
        """``since_ns``: tasks accepted before that are left out (Unix time)."""
        self._since_ns = since_ns
        self._live: dict[TaskId, TraceTask] = {}
        """Under way; their run time is still 0."""
        self._over: dict[TaskId, Nanos] = {}
        """When those ended that were seen: later words about them count for nothing."""
        self._told: dict[TaskId, TaskId] = {}
        """Under which id of the trace a task was told: another one if its id was used before."""
        self._failed: set[TaskId] = set()
        self.begin_ns: Nanos = 0
        """The trace's 0: when the first task was accepted that is not left out."""
        self.last_ns: Nanos = 0
        """The latest moment that a fact told."""
        self.told = self.workflows = self.elastic = self.asked_nothing = self.retried = self.edges_lost = 0
        self.left_out: Counter[str] = Counter()
        """Why tasks that were seen are not told."""

    @property
    def under_way(self) -> int:
        """Tasks that have not ended, as far as was read."""
        return len(self._live)

    def read(self, offset: int, entry: Entry) -> Iterator[TraceTask]:
        """The tasks that ended in this entry, as they are to be told."""
        for place, fact in enumerate(entry.facts):
            match fact:
                case Accepted(tasks=tasks, at_ns=at_ns):
                    self.last_ns = max(self.last_ns, at_ns)
                    graph = f"w{offset}.{place}" if any(task.after for task in tasks) else ""
                    entered = [self._enter(task, at_ns, graph) for task in tasks]
                    self.workflows += bool(graph) and any(entered)
                case Carried(task=task):
                    self._enter(task, fact.at_ns, f"w{fact.accepted}" if task.after else "")
                    if fact.failures:
                        self._failed.add(task.id)
                case Failed():
                    self.last_ns = max(self.last_ns, fact.at_ns)
                    self._failed.add(fact.task)
                case Ended():
                    self.last_ns = max(self.last_ns, fact.at_ns)
                    if (task_told := self._ended(fact)) is not None:
                        yield task_told
                case Tombstone():
                    self._live.pop(fact.task, None)
                    self._over.setdefault(fact.task, fact.at_ns)

    def _enter(self, task: Task, at_ns: Nanos, graph: str) -> bool:
        over_ns = self._over.get(task.id)
        if task.id in self._live or (over_ns is not None and at_ns < over_ns + AGAIN_NS):
            return False  # known: carried forward, or accepted by two believers
        if at_ns < self._since_ns:
            self.left_out["accepted before the time asked for"] += 1
            self._over[task.id] = at_ns
            return False
        self._over.pop(task.id, None)
        self.begin_ns = self.begin_ns or at_ns
        self._live[task.id] = TraceTask(
            task.id,
            seconds(max(at_ns, task.start_ns or 0) - self.begin_ns),
            0.0,
            task.type,
            amounts(task.need),
            task.tenant,
            task.priority,
            None if task.estimate_ns is None else seconds(task.estimate_ns),
            task.size,
            tuple(edge.task for edge in task.after),
            graph,
            None if task.deadline_ns is None else seconds(task.deadline_ns - self.begin_ns),
        )
        self.elastic += any(isinstance(amount, Range) for amount in task.need.values())
        self.asked_nothing += not task.need
        return True

    def _ended(self, fact: Ended) -> TraceTask | None:
        task = self._live.pop(fact.task, None)
        known, self._over[fact.task] = fact.task in self._over, fact.at_ns
        tried = fact.task in self._failed
        self._failed.discard(fact.task)
        if task is None:
            if not known and fact.outcome != "refused":
                self.left_out["its submission is not in the ledger any more"] += 1
            return None
        if fact.outcome not in ("done", "failed") or not fact.started_ns:
            why = fact.outcome if fact.outcome not in ("done", "failed") else f"{fact.outcome}, its run time is not known"
            self.left_out[why] += 1
            return None
        self.told += 1
        self.retried += tried
        after = tuple(self._told[parent] for parent in task.after if parent in self._told)
        self.edges_lost += len(task.after) - len(after)
        name, again = task.id, 1
        while name in self._told:
            again += 1
            name = f"{task.id[:120]}.{again}"
        self._told[task.id] = self._told[name] = name
        return replace(task, id=name, runtime_s=seconds(max(0, fact.at_ns - fact.started_ns)), after=after)


def amounts(need: Need) -> dict[str, float]:
    """A demand as a trace tells it: of a range the least."""
    least = {name: amount.min if isinstance(amount, Range) else amount for name, amount in need.items()}
    return {name: amount for name, amount in least.items() if amount}
