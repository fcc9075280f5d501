"""What happened to each task, and what each resource did: written down by the world, not by the cores.

Law: moments are whole nanoseconds from the trace's beginning, so sums are exact. A task *waits* whenever it is in the system and
does not run; it has *ended* when its last run ended on its machine.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.traces import Trace
from orchestrator.vocabulary import Milli, Nanos, ns

NEVER = -1


class Books:
    """One line per task, as columns: hundreds of thousands of lines must fit."""

    def __init__(self, trace: Trace) -> None:
        tasks = trace.tasks
        self.trace = trace
        self.place = {task.id: index for index, task in enumerate(tasks)}
        """Where in the columns a task stands."""
        self.submit_ns = [ns(task.submit_s) for task in tasks]
        self.length_ns = [ns(task.runtime_s) for task in tasks]
        """At normal speed, undisturbed."""
        self.start_ns = [NEVER] * len(tasks)
        """When it first ran."""
        self.finish_ns = [NEVER] * len(tasks)
        self.gone_ns = [NEVER] * len(tasks)
        """When the ledger said that it is over, whatever its outcome."""
        self.busy_ns = [0] * len(tasks)
        """How long it was on machines, all its attempts together."""
        self.done = bytearray(len(tasks))
        """1: it ended well."""
        self.outcomes: dict[str, int] = {}
        """Tasks that have ended, by how."""
        self.preemptions = 0
        """Attempts that were stopped with a checkpoint."""
        self.losses = 0
        """Attempts that died with their machine."""
        self.failures = 0
        """Machines that failed."""
        self.used: dict[str, int] = {}
        """Nanoseconds times thousandths of each resource that were granted to what ran."""
        self.starved = 0
        """Tasks passed over for longer than their ordering promises."""
        self.work_ns = 0
        """Work that machines did, at normal speed."""
        self.vain_ns = 0
        """Of that: what had to be done again, or was spent on going on from a checkpoint."""
        self.kept_ns: dict[int, Nanos] = {}
        """Work that stands in the checkpoint of a task that has not ended well (yet)."""
        self.unfinished = len(tasks)
        self.present_ns = 0
        """Task-nanoseconds in the system, as the coordinator counts who is there (for Little's law)."""
        self.idle_ns = 0
        """How long a machine had room for a task that waited (for the conservation of work)."""
        self.backlog_end = 0
        """How many waited just after the last task had come."""
        self.end_ns: Nanos = 0

    def ready_ns(self) -> list[Nanos]:
        """From when each could run: its arrival, or the end of the last of those it comes after."""
        if not any(task.after for task in self.trace.tasks):
            return self.submit_ns
        ends = [max((self.finish_ns[self.place[parent]] for parent in task.after), default=0) for task in self.trace.tasks]
        return [max(came, end) for came, end in zip(self.submit_ns, ends, strict=True)]

    def started(self, place: int, now_ns: Nanos) -> None:
        """A run of it begins."""
        if self.start_ns[place] == NEVER:
            self.start_ns[place] = now_ns

    def left(self, place: int, span_ns: Nanos, work_ns: Nanos, vain_ns: Nanos, grant: Mapping[str, Milli]) -> None:
        """A run of it is over, whatever came of it, after ``span_ns`` with this grant."""
        self.busy_ns[place] += span_ns
        self.work_ns += work_ns
        self.vain_ns += vain_ns
        used = self.used
        for name, amount in grant.items():
            used[name] = used.get(name, 0) + span_ns * amount

    def finished(self, place: int, now_ns: Nanos) -> None:
        """Its last run has ended well."""
        self.finish_ns[place] = now_ns
        self.kept_ns.pop(place, None)

    def ended(self, task: str, outcome: str, now_ns: Nanos) -> None:
        """The ledger says that a task is over."""
        place = self.place[task]
        self.gone_ns[place] = now_ns
        self.done[place] = outcome == "done"
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        self.unfinished -= 1
