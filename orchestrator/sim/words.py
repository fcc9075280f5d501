"""Words that must not be lost: reports, checkpoints and wills, from when a coordinator hears them until it says that they are
safe (R1); and the last words on a task, which are told or buried (P1, P5).

Law: who is told that a report is settled or released, or that a will is done, tells nobody again. So it must be in the ledger, and
read, by then. What a leader may let fall is what it cannot believe: a report of an attempt that was not alive for it when it came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.policies import DEFAULTS
from orchestrator.sim.accounts import Accounts
from orchestrator.vocabulary import Attempt, Nanos
from orchestrator.wire.messages import Answer, Assignment, Control, Notes, Report, Reports, Result

if TYPE_CHECKING:
    from orchestrator.sim.coordinators import CoordinatorProcess
    from orchestrator.sim.ledgers import Ledgers
    from orchestrator.sim.timeline import Timeline


class Words:
    """What coordinators have heard, and not said to be safe yet."""

    def __init__(self, timeline: Timeline, ledgers: Ledgers) -> None:
        self._timeline = timeline
        self._ledgers = ledgers
        self._last_saved: dict[tuple[str, str], tuple[int, Attempt, int, Nanos]] = {}
        """By coordinator and task: in which reign it heard that which attempt had stopped, after which checkpoint, and when."""
        self._reported: dict[Attempt, Report] = {}
        """Attempts that agents reported as done."""
        self._believed: dict[tuple[str, int, int, Attempt], str] = {}
        """Reports of failures of attempts that were alive for that coordinator (and life, and reign), and their tasks."""
        self._wills: dict[tuple[str, str], Control] = {}

    def reports(self, node: CoordinatorProcess, message: Reports) -> None:
        """A coordinator is given these."""
        live = node.machine.desk.custody.live
        for one in message.items:
            if one.outcome == "done":
                self._reported[one.attempt] = one
            elif (record := live.get(one.task)) is not None and one.attempt in record.live:
                self._believed[node.name, node.lives, node.machine.desk.epoch, one.attempt] = one.task

    def will(self, node: CoordinatorProcess, control: Control) -> None:
        """A coordinator is asked for something."""
        self._wills[node.name, control.id] = control

    def stopped(self, node: CoordinatorProcess, said: Notes) -> None:
        """Attempts that it believes in have stopped, and say which checkpoint was their last."""
        desk = node.machine.desk
        instance = desk.registry.instances.get(said.incarnation)
        for note in said.items:
            holding = instance.holdings.get(note.attempt) if instance is not None and desk.leading else None
            if note.what == "stopped" and note.saved and holding is not None and holding.record is not None:
                heard = desk.epoch, note.attempt, note.saved, self._timeline.now_ns
                known = self._last_saved.get((node.name, note.task), heard)
                if known[0] != desk.epoch or known[:3] < heard[:3]:  # of two attempts in one reign the newer work counts
                    known = heard
                self._last_saved[node.name, note.task] = known

    def loses_work(self, node: CoordinatorProcess, item: Assignment) -> str | None:
        """Which work this assignment throws away: it must go on from the last checkpoint in the ledger, and from none that is older
        than the one which the attempt that made room said it had saved."""
        epoch, attempt, nth, heard_ns = self._last_saved.pop((node.name, item.task), (0, Attempt(0, 0), 0, 0))
        waited = self._timeline.now_ns - heard_ns >= node.config.checkpoint_ns
        books = self._ledgers.read_by(node)
        if epoch == node.machine.desk.epoch and not waited and not books.has_saved(item.task, attempt, nth, node.read_to):
            return f"{attempt} stopped after its checkpoint {nth}, which it has not read yet"
        return books.thrown_away(item, node.read_to)

    def settled(self, node: CoordinatorProcess, message: Reports) -> str | None:
        """It settles these; gives what would be lost with it."""
        books = self._ledgers.read_by(node)
        for one in message.items:
            if one.outcome == "failed":
                if self._loses(node, books, one.attempt):
                    return f"settled the report that {one.attempt} of {one.task} failed before that was committed (R1)"
            elif not (books.ended_before(one.task, node.read_to) or self._ledgers.strange(node, one)):
                return f"settled the report of {one.task} before its end was committed (R1)"
        for saved in message.checkpoints:
            known = books.accepted_before(saved.task, node.read_to) and not books.ended_before(saved.task, node.read_to)
            given = self._ledgers.was_assigned(node, saved.attempt, saved.task)
            if known and given and not books.has_saved(saved.task, saved.attempt, saved.nth, node.read_to):
                return f"settled checkpoint {saved.nth} of {saved.attempt} of {saved.task} before it was committed (R1)"
        return None

    def released(self, node: CoordinatorProcess, attempt: Attempt) -> str | None:
        """It has an agent forget what it reported of this attempt."""
        books = self._ledgers.read_by(node)
        if self._loses(node, books, attempt):
            return f"released the report that {attempt} failed before that was committed (R1)"
        one = self._reported.get(attempt)
        if one is None or not self._ledgers.was_assigned(node, attempt, one.task) or books.ended_before(one.task, node.read_to):
            return None
        return f"released the report of {one.task} before its end was committed (R1)"

    def _loses(self, node: CoordinatorProcess, books: Accounts, attempt: Attempt) -> bool:
        """Whether nothing that it has read says that this attempt, which it believed in, is over."""
        task = self._believed.get((node.name, node.lives, node.machine.desk.epoch, attempt))
        if task is None or books.ended_before(task, node.read_to) or not books.accepted_before(task, node.read_to):
            return False
        known = books.failed.get(task, {}).get(attempt)
        return known is None or known[0] >= node.read_to

    def answered(self, node: CoordinatorProcess, answer: Answer) -> str | None:
        """It says that a will is done; gives which one is not in what it has read."""
        control = self._wills.get((node.name, answer.id))
        if control is None or not answer.ok:
            return None
        books, task = self._ledgers.read_by(node), str(control.args.get("task", ""))
        if control.op == "cancel":
            done = books.ended_before(task, node.read_to) or books.cancelled.get(task, node.read_to) < node.read_to
        elif control.op == "priority":
            done = books.standing.asked_before("priority", task, control.args["priority"], node.read_to)
        elif control.op == "policy":
            ordering = control.args["ordering"]
            done = {**DEFAULTS, **node.policies}["ordering"] == ordering or books.standing.asked_before(
                "policy", "", ordering, node.read_to
            )
        else:
            return None
        return None if done else f"answers {control.op} {control.args} before it was committed (R1)"

    def forgotten(self, node: CoordinatorProcess, result: Result) -> str | None:
        """It says of a task that it is over, and that no more is known; gives what is untrue of that."""
        books, gone, name = self._ledgers.read_by(node), self._ledgers.now.gone, result.task
        if books.ended_before(name, node.read_to):
            outcome = books.ended[name].fact.outcome
            return None if result.outcome == outcome else f"told {result.outcome} of {name}, which ended as {outcome} (R1)"
        if books.accepted_before(name, node.read_to):
            return f"told that {name} is over and forgotten, and it lives (P1)"
        known = gone.concerns(name) or name in books.ends
        return None if known else f"told that {name} is over and forgotten, and it never ended (P1)"

    def unburied(self, letters: list[dict[str, Any]]) -> str | None:
        """What has failed for good, and is not among the dead letters, or not with its story (P5)."""
        books = self._ledgers.now
        told: dict[str, list[list[Attempt]]] = {letter["task"]: [] for letter in letters if "outcome" in letter}
        for letter in letters:
            if "outcome" in letter:
                told[letter["task"]].append([Attempt(*line["attempt"]) for line in letter["story"]])
        for name, end in books.ended.items():
            if end.fact.outcome != "failed" or end.fact.first is not None:
                continue
            if name not in told:
                return f"{name} has failed for good, and is not among the dead letters (P5)"
            failed = list(books.failed.get(name, {}))
            if failed not in told[name] and not self._ledgers.cuts:
                return f"the dead letters of {name} tell of {told[name]}, and {failed} have failed (P5)"
        return None
