"""A witness of the stage: knows nothing of the machine's insides, keeps its own account of what was written, sent and run, and
fails a test at the step at which a promise is broken, with the story so far."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from orchestrator.core import commands as c
from orchestrator.vocabulary import Attempt
from orchestrator.wire.facts import Accepted, Carried, Ended, Entry, Tombstone
from orchestrator.wire.messages import Assignment, Orders, Report, Reports, Result, Submit, Task

if TYPE_CHECKING:
    from tests.core.stage import Node, Stage

STORY_LINES = 150
LINE_CHARS = 600


class Witness:
    """Its books are the ledger's text and what passed over the stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.story: deque[tuple[object, ...]] = deque(maxlen=STORY_LINES)
        """What happened last; made into words only when somebody asks."""
        self.accepted: dict[str, int] = {}
        """Offset at which a task was first taken in."""
        self.ended: dict[str, tuple[int, Ended]] = {}
        """Offset and content of a task's first end."""
        self.over: dict[str, Ended] = {}
        """Ends that stood in a ledger that was lost."""
        self.taken: dict[str, Task] = {}
        """Under each id what came first; something else under it is refused."""
        self.never: set[str] = set()
        self.assigned: dict[Attempt, str] = {}
        self.done: dict[Attempt, Report] = {}
        self.answered: set[str] = set()
        """Tasks that were answered without a fact: their key is another's."""
        self.told: dict[str, Result] = {}
        """What was said of each task to anybody, first."""

    # --- the ledger -------------------------------------------------------------------------------------------------------

    def landed(self, offset: int, entry: Entry) -> None:
        """An entry reached the ledger."""
        self.story.append(("    ledger", offset, entry))
        for fact in entry.facts:
            match fact:
                case Accepted(tasks=tasks):
                    for task in tasks:
                        self.accepted.setdefault(task.id, offset)
                        self.taken.setdefault(task.id, task)
                        if task.overlap == "never":
                            self.never.add(task.id)
                case Carried(task=task):
                    self.accepted.setdefault(task.id, offset)
                case Ended(task=task):
                    if task not in self.ended:
                        self._as_edges_say(fact)
                    self.ended.setdefault(task, (offset, fact))
                case Tombstone(task=task):
                    if task in self.over:
                        self.ended.setdefault(task, (offset, self.over[task]))
                    assert task in self.ended, self.tell(f"a tombstone for {task}, which never ended")
                case _:
                    pass

    def lost(self, end: int) -> None:
        """All entries from this offset on are lost: what they said counts when it is written again."""
        self.story.append(("    ledger", "lost from", end))
        self.over |= {task: fact for task, (_, fact) in self.ended.items()}
        self.accepted = {task: offset for task, offset in self.accepted.items() if offset < end}
        self.ended = {task: told for task, told in self.ended.items() if told[0] < end}

    def _as_edges_say(self, fact: Ended) -> None:
        """A child ends because of its parents only as one of its edges has it, and is not done against any."""
        child = self.taken.get(fact.task)
        edges = child.after if child is not None else []
        missed = {edge.on_failure for edge in edges if edge.task in self.ended and self.ended[edge.task][1].outcome != "done"}
        if fact.outcome == "skipped":
            assert "skip" in missed, self.tell(f"{fact.task} is skipped, and no parent of it says so")
        if fact.outcome == "failed" and fact.error is not None and fact.error.kind == "parent_failed":
            assert "fail" in missed, self.tell(f"{fact.task} failed with its parents, and none says so")
        if fact.outcome == "done" and fact.first is None:
            over = all(edge.task in self.ended for edge in edges)
            assert over, self.tell(f"{fact.task} is done before its parents have ended")
            assert missed <= {"continue"}, self.tell(f"{fact.task} is done, against its parents")

    # --- what leaves ------------------------------------------------------------------------------------------------------

    def command(self, node: Node, command: c.Command) -> None:
        """A coordinator wants this done."""
        self.story.append(("   ", node.name, command))
        match command:
            case c.Settle(handles=handles):
                for handle in handles:
                    assert handle in node.unsettled, self.tell(f"settled {handle}, which it does not have")
                    self._settled(node, node.unsettled[handle].message)
            case c.Send(orders=orders):
                self._ordered(node, orders)
            case c.SendResults(results=results):
                for result in results:
                    self._told(node, result)
            case _:
                pass

    def _read(self, node: Node, offset: int) -> bool:
        return offset < node.cursor

    def _settled(self, node: Node, message: object) -> None:
        if isinstance(message, Submit):
            for task in message.tasks:
                if task.id in self.answered:
                    continue
                known = min(self.accepted.get(task.id, 1 << 60), self.ended.get(task.id, (1 << 60,))[0])
                assert self._read(node, known), self.tell(f"settled the submission of {task.id} before it had read it back")
        elif isinstance(message, Reports):
            for report in message.items:
                if report.outcome == "done":
                    self._must_be_over(node, report.task, "settled the report of")

    def _must_be_over(self, node: Node, task: str, what: str) -> None:
        over = self.ended.get(task, (1 << 60,))[0]
        assert self._read(node, over), self.tell(f"{what} {task} before its end was committed")

    def _ordered(self, node: Node, orders: Orders) -> None:
        for item in orders.assign:
            attempt = Attempt(orders.epoch, item.n)
            assert attempt not in self.assigned, self.tell(f"{attempt} assigned twice")
            self.assigned[attempt] = item.task
            ours = self._read(node, self.accepted.get(item.task, 1 << 60))
            assert ours, self.tell(f"assigned {item.task} before it was committed")
            over = self.ended.get(item.task)
            assert over is None or not self._read(node, over[0]), self.tell(f"assigned {item.task}, known to be over")
            self._inherited(node, item)
            if _key(self.taken[item.task]) is not None:
                self._runs_under_its_key(node, self.taken[item.task])
        for attempt in orders.release:
            if attempt in self.done:
                self._must_be_over(node, self.done[attempt].task, "released the report of")

    def _inherited(self, node: Node, item: Assignment) -> None:
        """R13: the ends of all parents are committed, and the child is given what the first of each says."""
        edges = self.taken[item.task].after
        given = {parent.task: parent for parent in item.parents}
        assert given.keys() == {edge.task for edge in edges}, self.tell(f"{item.task} is given {list(given)}")
        for edge in edges:
            self._must_be_over(node, edge.task, f"assigned {item.task}, whose parent is")
            first, parent = self.ended[edge.task][1], given[edge.task]
            right = first.outcome, first.value if first.outcome == "done" else None
            told = parent.outcome, parent.value
            assert told == right, self.tell(f"{item.task} is told {told} of {edge.task}, which ended as {right}")
            assert not edge.into or edge.into in parent.into, self.tell(f"{item.task} is not given {edge.into}")

    def _told(self, node: Node, result: Result) -> None:
        if result.first is not None:
            self.answered.add(result.task)
        if result.error is not None and result.error.kind in ("id_taken", "forgotten"):
            return
        if result.first is not None:
            self._as_the_first(node, result.task, result.first, result.outcome, result.value)
            if result.task not in self.ended:
                return
        self._must_be_over(node, result.task, "told the result of")
        fact = self.ended[result.task][1]
        same = (result.outcome, result.value) == (fact.outcome, fact.value)
        assert same, self.tell(f"told {result.outcome} of {result.task}, which ended as {fact.outcome}")

    def _as_the_first(self, node: Node, task: str, name: str, outcome: str, value: bytes | None) -> None:
        """R16: who is told of another task's end hears what that one's was, and that is committed."""
        self._must_be_over(node, name, f"told {task} the result of")
        first = self.ended[name][1]
        same = first.outcome == outcome and value in (None, first.value)
        assert same, self.tell(f"told {outcome} of {task}, whose first {name} ended as {first.outcome}")

    def _runs_under_its_key(self, node: Node, task: Task) -> None:
        """R16: nobody runs under a key that another task holds, as the ledger has it so far."""
        for name, other in self.taken.items():
            if _key(task) != _key(other) or not self.accepted.get(name, 1 << 60) < self.accepted[task.id]:
                continue
            over = self.ended.get(name)
            lives = over is None or not self._read(node, over[0])
            holds = over is not None and over[1].outcome == "done" and over[1].first is None and task.cache_ns is None
            keep_ns = self.stage.config.dedup_ns if other.cache_ns is None else other.cache_ns
            soon = over is not None and self.stage.now_ns < over[1].at_ns + keep_ns // 2
            held = lives or (holds and soon)
            assert not held, self.tell(f"{task.id} runs though {name} holds its key")

    def reported(self, report: Report) -> None:
        """An agent said how an attempt ended."""
        if report.outcome == "done":
            self.done[report.attempt] = report

    # --- what runs --------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """P2: no second attempt of a task runs while the first agent is connected; of some, none at all."""
        where: dict[str, list[tuple[Attempt, bool]]] = {}
        for actor in self.stage.actors:
            for attempt, task in actor.running().items():
                where.setdefault(task, []).append((attempt, bool(actor.incarnation)))
        for task, attempts in where.items():
            connected = [attempt for attempt, here in attempts if here]
            assert len(connected) <= 1, self.tell(f"{task} runs as {connected} on connected agents")
            assert len(attempts) <= 1 or task not in self.never, self.tell(f"{task} must never overlap and runs as {attempts}")

    def tell(self, what: str) -> str:
        """The sentence of a failed assertion, with the story."""
        return "\n".join([what, *(" ".join(map(str, line))[:LINE_CHARS] for line in self.story)])


def _key(task: Task) -> tuple[str, str, str | bytes] | None:
    """What makes it the same work as another task; none: nothing does."""
    return (task.tenant, task.type, task.key or task.args) if task.key or task.cache_ns is not None else None
