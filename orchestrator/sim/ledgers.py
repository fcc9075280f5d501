"""The ledgers of a run: the one that is, those that were lost, and which of them a coordinator is reading.

Law: a coordinator is judged by the ledger that it has read, until it can know that this one is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from orchestrator.sim.accounts import Accounts
from orchestrator.sim.losses import TURN_NS, Reader
from orchestrator.vocabulary import Attempt, Nanos
from orchestrator.wire.messages import Report, Reports, Submit

if TYPE_CHECKING:
    from orchestrator.sim.broker import Broker
    from orchestrator.sim.coordinators import CoordinatorProcess
    from orchestrator.sim.timeline import Timeline


class Ledgers:
    """What the observer knows of all of them."""

    def __init__(self, timeline: Timeline, counts: Counter[str]) -> None:
        self.now = Accounts()
        """The account of the ledger that is."""
        self.cuts: list[int] = []
        """Where the ledger ended after each loss."""
        self.asks_again: Callable[[list[str]], None] = lambda tasks: None
        """Told which tasks are lost though their submissions are settled: whoever wants them must say so again."""
        self.settled: set[str] = set()
        """Tasks whose submissions were settled."""
        self._timeline = timeline
        self._counts = counts
        self._lives: dict[str, CoordinatorProcess] = {}
        self._read_in: dict[str, Accounts] = {}
        """By coordinator: the account of the ledger that it reads, which may be lost since."""
        self._attached_ns: dict[str, Nanos] = {}
        self._healed_ns: Nanos | None = None
        self._began: dict[str, int] = {}
        """Where its reading began."""
        self._assigned: dict[tuple[int, Attempt], str] = {}
        """By how often the ledger had been lost before: of reigns that nobody remembers later ones may have the number."""
        self._joined_as_read: dict[Attempt, frozenset[str]] = {}
        """Of attempts that were assigned after a loss: who may hold work, as far as their leader could know."""

    # --- who reads which --------------------------------------------------------------------------------------------------

    def read_by(self, node: CoordinatorProcess) -> Accounts:
        """The account of the ledger that this coordinator is reading."""
        return self._read_in[node.name]

    def attached(self, node: CoordinatorProcess) -> None:
        """A coordinator reads the ledger as it is now, on from where it was, or anew."""
        self._lives[node.name] = node
        self._attached_ns[node.name] = self._timeline.now_ns
        mine = self._read_in.get(node.name)
        if mine is None or node.read_to <= 1 or min(self.cuts[mine.number :], default=node.read_to) >= node.read_to:
            self._read_in[node.name] = self.now

    def begins(self, node: CoordinatorProcess, offset: int) -> None:
        """This is the first entry that it reads."""
        self._began[node.name] = offset

    def died(self, node: CoordinatorProcess) -> None:
        """A coordinator's process is dead, with all it knew."""
        self._read_in.pop(node.name, None)
        self._lives.pop(node.name, None)
        self.now.gone.forget((node.name, node.lives))
        self.tell_lost()

    # --- losses -----------------------------------------------------------------------------------------------------------

    def lost(self, end: int) -> Accounts:
        """All from this offset on is gone; gives the account of what was."""
        self.tell_lost()
        old, readers = self.now, []
        for name, node in self._lives.items():
            if self._read_in.get(name) is old and node.machine.next_offset:
                machine = node.machine
                readers.append(Reader((name, node.lives), self._began[name], machine.next_offset, machine.desk.past.read_ns))
        self.now = old.lose(end, readers)
        self.cuts.append(end)
        self._counts["the ledger was lost"] += 1
        self.tell_lost()
        return old

    def tell_lost(self) -> None:
        """Nobody knows these any more."""
        self.now.gone.give_up(self.now.writing.restored_to, self._free_ns)
        lost = self.now.gone.take_lost()
        self._counts["lost with the ledger"] += len(lost)
        self.asks_again([task for task in lost if task in self.settled])

    def remembered(self) -> list[str]:
        """Tasks of which somebody living knows what the ledger does not say, and is to say it."""
        self.tell_lost()
        return self.now.gone.remembered()

    def healed(self) -> None:
        """The storm is over: from here on nothing keeps anybody from saying what he remembers when it is his turn."""
        self._healed_ns = self._timeline.now_ns

    def _free_ns(self, name: str) -> Nanos:
        """When it was this coordinator's turn to say what it remembers, at the latest. In the storm: now."""
        if self._healed_ns is None:
            return self._timeline.now_ns
        return min(self._timeline.now_ns, max(self._attached_ns[name], self._healed_ns) + TURN_NS)

    def settled_too_soon(self, old: Accounts, broker: Broker) -> str | None:
        """What was written first in the part that is lost, and does not come again from a queue: where submissions and reports are
        settled late nothing may (``settle_after_s``)."""
        bodies = [message.body for queue in broker.queues.values() for message in queue.ready]
        tasks = {task.id for body in bodies if isinstance(body, Submit) for task in body.tasks}
        reports = {one.task for body in bodies if isinstance(body, Reports) for one in body.items}
        for task in old.lately_born(self.cuts[-1]):
            if task not in tasks:
                return f"{task} was settled before the ledger was on disk, and is lost (settle_after_s)"
        for task in old.lately_done(self.cuts[-1]):
            if task not in reports and not broker.reports_upset:
                return f"the report of {task} was settled before the ledger was on disk (settle_after_s)"
        return None

    # --- who could know what ----------------------------------------------------------------------------------------------

    def assigned(self, node: CoordinatorProcess, attempt: Attempt, task: str) -> str | None:
        """It has this attempt run; gives which task the attempt was of before, if it was of any."""
        books = self.read_by(node)
        if self.cuts:
            self._joined_as_read[attempt] = frozenset(name for name, at in books.joined.items() if at < node.read_to)
        before = self._assigned.get((books.number, attempt))
        self._assigned[books.number, attempt] = task
        return before

    def was_assigned(self, node: CoordinatorProcess, attempt: Attempt, task: str) -> bool:
        """Whether this attempt of the task was assigned while the ledger that this coordinator reads was there."""
        return self._assigned.get((self.read_by(node).number, attempt)) == task

    def strange(self, node: CoordinatorProcess, report: Report) -> bool:
        """Whether the ledger says nothing of what a report speaks of, for it was lost: then it counts for nothing."""
        return self.now.gone.concerns(report.task) and not self.was_assigned(node, report.attempt, report.task)

    def could_know(self, task: str, younger: Attempt, holder: str) -> bool:
        """Whether the leader that assigned the younger attempt could know that this incarnation may hold the task: if what the
        ledger said of either was lost, and nobody has written it again, it could not."""
        joined, gone = self._joined_as_read.get(younger), self.now.gone
        return joined is None or (holder in joined and task not in gone.again and task not in gone.tasks)
