"""What must never be untrue, seen from above: an observer who knows nothing of the machines' insides but sees all they do.

Law: it keeps its own account of what lies in the ledger, what was assigned, what runs and what producers were told, and breaks
the run at the very step at which a promise is broken. Each check says the promise in its message.

* no accepted task is lost; nothing is settled, released or told before it is committed (P1, R1)
* what agents report of their attempts is believed, whatever else was said in their names; whether a failure is final, how many
  retries are left and how long the next one waits is written as handlers said it (R8, ``truth``)
* reports, checkpoints and wills are in the ledger when they are settled, released or answered (R1, ``words``)
* refused is what nobody can run, for what is wrong with it, and never what was accepted; whoever knows that it cannot run refuses
  it; what failed for good is among the dead letters with its story (P5)
* nothing starts before its time or its back-off, or after it was asked to cancel it; who has read the whole ledger has of each task
  the priority, the failures, the wait and the checkpoint that stand there, and follows the policies asked for (``standing``)
* a task has one outcome, the first in the ledger; producers are told that one and no other (P2)
* while an agent lives, is connected and its window is open, no second attempt of its tasks runs; of tasks that must never
  overlap none runs while the window of another is open (P2)
* work that a checkpoint saved is not done again: whoever goes on with a task goes on from the last one in the ledger
* no assignment leaves a leader that has read the end of the task, or too many failures of it (R14, R8); of tasks that must never
  overlap nothing runs when they end as cancelled or expired (R14)
* a child starts after the first ends of all its parents, is given what these say, and ends as its edges say (R13)
* of tasks with the same key one runs, and all of them end as it does (R16, ``sameness``)
* epochs never go back at an agent (R2); a leader is silent that has read nothing of its own which was written lately (R10)
* no limit is exceeded, no device given twice, whoever leads (``shares``)
* who has read the whole ledger knows exactly what lives (R15, R11, R12)
* where the ledger is lost: what somebody living had read comes back (R15, ``losses``); what a coordinator could not know, since
  nobody has written it again yet, it is not blamed for; submissions that are settled late are there again (``settle_after_s``)
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from orchestrator.core import commands as c
from orchestrator.core import events as e
from orchestrator.sim.accounts import Accounts
from orchestrator.sim.ledgers import Ledgers
from orchestrator.sim.sameness import as_the_first
from orchestrator.sim.shares import Run, Shares
from orchestrator.sim.truth import Truth
from orchestrator.sim.words import Words
from orchestrator.sim.workload import Workload
from orchestrator.vocabulary import Attempt, Nanos
from orchestrator.wire.facts import Ended, Entry, Restored
from orchestrator.wire.messages import Control, Held, Notes, Orders, Reports, Result, Submit
from workers.core import commands as wc

if TYPE_CHECKING:
    from orchestrator.sim.agents import AgentProcess
    from orchestrator.sim.broker import Broker
    from orchestrator.sim.coordinators import CoordinatorProcess
    from orchestrator.sim.timeline import Timeline


class LawBroken(AssertionError):
    """A promise was not kept."""


class Laws:
    """The observer of one run."""

    def __init__(self, timeline: Timeline, work: Workload) -> None:
        self.timeline = timeline
        self.broker: Broker
        self.counts: Counter[str] = Counter()
        self.ledgers = Ledgers(timeline, self.counts)
        self.truth = Truth(work)
        self.words = Words(timeline, self.ledgers)
        self._deliveries: dict[Any, object] = {}
        self._written: dict[tuple[str, int], Nanos] = {}
        """When entries were written, by the session and their number."""
        self._own_ns: dict[str, Nanos] = {}
        """When what a coordinator last read of its own was written."""
        self._agents: dict[str, AgentProcess] = {}
        self._epochs: dict[str, int] = {}
        self._windows: dict[str, Nanos] = {}
        """Until when an incarnation may start work, as it last knew."""
        self._running: dict[str, dict[Attempt, tuple[str, str]]] = {}
        """By task: attempts whose handler runs, with agent and incarnation."""
        self._told: dict[str, Result] = {}
        self._shared: dict[str, Result] = {}
        """Tasks that were answered with another one's result, without a fact of their own."""
        self._forgotten: set[tuple[str, str]] = set()
        """By coordinator: tasks of which it said that they are over and forgotten, which leaves no trace either."""
        self.shares = Shares(work.limits, self._counts, lambda task: task in self.accounts.ended, self.counts)

    @property
    def accounts(self) -> Accounts:
        """Of the ledger as it is now."""
        return self.ledgers.now

    def broken(self, what: str) -> None:
        """A promise is broken: the run ends here."""
        raise LawBroken(what)

    # --- the ledger -------------------------------------------------------------------------------------------------------

    def at_rest(self) -> None:
        """All is quiet: what is left to be done is done."""
        if (fault := self.words.unburied(self.broker.dead)) is not None:
            self.broken(fault)

    def landed(self, offset: int, entry: Entry) -> None:
        """An entry is in the ledger."""
        restores = any(type(fact) is Restored for fact in entry.facts)
        if restores:
            self.ledgers.tell_lost()
        if (fault := self.accounts.landed(offset, entry) or self.truth.landed(entry, self.accounts)) is not None:
            self.broken(fault)
        self.shares.landed(offset, entry)
        if restores:
            self.ledgers.tell_lost()
        for fact in entry.facts:
            if isinstance(fact, Ended) and fact.outcome in ("cancelled", "expired") and self.accounts.never(fact.task):
                self._ended_idle(fact.task, offset, entry.epoch)

    def lost(self, end: int, power: bool) -> None:
        """All from this offset on is gone."""
        old = self.ledgers.lost(end)
        self.shares.lost(end)
        if power and self.broker.settles_late and (fault := self.ledgers.settled_too_soon(old, self.broker)) is not None:
            self.broken(fault)

    def _ended_idle(self, task: str, offset: int, epoch: int) -> None:
        """Who hears that a task which must never overlap was cancelled, or has expired, may rely on that nothing of it runs. (Not
        of what a deposed leader knows nothing of, nor where an end that was lost is written again: others did not know it.)"""
        if self.accounts.ended[task].offset != offset or self.accounts.died[task] < self.accounts.number:
            return
        for attempt, (agent, incarnation) in self._running.get(task, {}).items():
            known = incarnation in self.accounts.joined and task not in self.accounts.gone.again
            if attempt.epoch <= epoch and self._serves(agent, incarnation) and (known or not self.ledgers.cuts):
                self.broken(f"{task} ended, and {attempt} of it runs on {incarnation}, whose window is open (R14)")

    # --- coordinators -----------------------------------------------------------------------------------------------------

    def reading(self, node: CoordinatorProcess, events: list[Any]) -> None:
        """A coordinator is about to take these in."""
        for event in events:
            match event:
                case e.Read(offset=offset, entry=entry):
                    if not node.read_to:
                        self.ledgers.begins(node, offset)
                    news, node.read_to = offset >= node.read_to, max(node.read_to, offset + 1)
                    if entry.by == node.machine.desk.nonce and news:
                        self._own_ns[node.name] = self._written.pop((entry.by, entry.number), 0)
                case e.Arrived(message=Notes() as said):
                    self.words.stopped(node, said)
                case e.Arrived(handle=handle, message=message) if handle is not None:
                    self._deliveries[node.name, handle] = message
                    if isinstance(message, Submit):
                        self.truth.asked(node, message.tasks)
                    elif isinstance(message, Reports):
                        self.words.reports(node, message)
                    elif isinstance(message, Control):
                        self.words.will(node, message)

    def commanded(self, node: CoordinatorProcess, command: c.Command) -> None:
        """A coordinator has this done."""
        match command:
            case c.Append(entry=entry):
                self._written[entry.by, entry.number] = self.timeline.now_ns
                self._holds(node, self.truth.takes(node, entry))
            case c.Settle(handles=handles):
                for handle in handles:
                    self._settled(node, self._deliveries.pop((node.name, handle), None))
            case c.Send(orders=orders):
                self._ordered(node, orders)
            case c.Bury(letter={"error": {"kind": "forged", "message": why}}) if not self.ledgers.cuts:
                self.broken(f"{node.name} takes a true word for forged: {why}")
            case c.Broadcast():
                self._fresh(node, "echoes")
            case c.Noted(what="reserved" | "preempting" | "preempted" | "unyielding" as what):
                self.counts[what] += 1
            case c.SendResults(results=results):
                for result in results:
                    self._answers(node, result)
            case c.Reply(answer=answer):
                self._holds(node, self.words.answered(node, answer))

    def _holds(self, node: CoordinatorProcess, fault: str | None) -> None:
        if fault is not None:
            self.broken(f"{node.name} {fault}")

    def _fresh(self, node: CoordinatorProcess, what: str) -> None:
        since_ns = self.timeline.now_ns - self._own_ns.get(node.name, 0)
        if since_ns >= node.config.fresh_ns:
            self.broken(f"{node.name} {what}, and what it last read of its own is {since_ns / 1e9:.1f} s old (R10)")

    def _settled(self, node: CoordinatorProcess, message: object) -> None:
        books = self.ledgers.read_by(node)
        if isinstance(message, Submit):
            self.ledgers.settled |= {task.id for task in message.tasks}
            for task in message.tasks:
                told = task.id in self._shared or (node.name, task.id) in self._forgotten
                if not told and not books.known_before(task.id, node.read_to):
                    self.broken(f"{node.name} settled the submission of {task.id} before it had read it back (R1)")
        elif isinstance(message, Reports):
            self._holds(node, self.words.settled(node, message))

    def _ordered(self, node: CoordinatorProcess, orders: Orders) -> None:
        books = self.ledgers.read_by(node)
        for item in orders.assign:
            attempt = Attempt(orders.epoch, item.n)
            self._fresh(node, f"assigns {item.task}")
            if (before := self.ledgers.assigned(node, attempt, item.task)) is not None:
                self.broken(f"attempt {attempt} is assigned twice: {before}, {item.task}")
            if not books.accepted_before(item.task, node.read_to):
                self.broken(f"{node.name} assigned {item.task} before it was committed (R3)")
            if books.ended_before(item.task, node.read_to):
                self.broken(f"{node.name} assigned {item.task}, which it has read the end of (R14)")
            if (why := books.not_now(item.task, node.read_to, self.timeline.now_ns)) is not None:
                self.broken(f"{node.name} assigned {item.task}: {why}")
            if (why := books.handed_wrong(item, node.read_to)) is not None:
                self.broken(f"{node.name} assigned {item.task}: {why} (R13)")
            if (why := books.keys.why_not(item.task)) is not None:
                self.broken(f"{node.name} assigned {item.task}: {why}")
            if (why := books.had_enough(item.task, node.read_to, node.config.losses_max)) is not None:
                self.broken(f"{node.name} assigned {item.task} again: {why} (R8)")
            if (why := self.words.loses_work(node, item)) is not None:
                self.broken(f"{node.name} assigned {item.task} and lost work: {why}")
            task = books.tasks[item.task]
            if (why := self.shares.assigned(task, orders.epoch, item, node.read_to, self.timeline.now_ns)) is not None:
                self.broken(f"{node.name} assigned {item.task}: {why}")
        for attempt in orders.release:
            self._holds(node, self.words.released(node, attempt))

    def _answers(self, node: CoordinatorProcess, result: Result) -> None:
        books = self.ledgers.read_by(node)
        if result.first is not None:
            again = self._shared.get(result.task) == result
            self._shares(node, result, result.first)
            if result.task not in books.ended or (again and self._recomputed(result)):  # the broker had not answered the first time
                return
        if result.error is not None and result.error.kind == "id_taken":
            self.broken(f"{node.name} takes {result.task} for another task, and nobody here gives one id to two")
        if result.error is not None and result.error.kind == "forgotten":
            self._holds(node, self.words.forgotten(node, result))
            self._forgotten.add((node.name, result.task))
            return
        if not books.ended_before(result.task, node.read_to):
            self.broken(f"{node.name} told the result of {result.task} before its end was committed (R1)")
        ended = books.ended[result.task].fact
        if (result.outcome, result.value) != (ended.outcome, ended.value):
            self.broken(f"{node.name} told {result.outcome} of {result.task}, which ended as {ended.outcome} (R1)")

    def _shares(self, node: CoordinatorProcess, result: Result, first: str) -> None:
        """A task is answered with the result of another one that came first with the same key."""
        self._shared[result.task] = result
        self.counts["shared"] += 1
        if first in self.accounts.gone.again or first in self.accounts.gone.ends:
            return  # its end is lost, or it ended once more: who had followed it was told what was said then
        books = self.ledgers.read_by(node)
        if not books.ended_before(first, node.read_to):
            self.broken(f"{node.name} told {result.task} the result of {first} before its end was committed (R1)")
        if not as_the_first(result, books.ended[first].fact):
            self.broken(f"{node.name} told {result.outcome} of {result.task}, unlike its first {first} (R16)")

    def books(self, node: CoordinatorProcess) -> None:
        """Who has read the whole ledger knows exactly what lives (R15)."""
        if node.read_to != len(self.broker.stream) or not node.read_to or self.ledgers.read_by(node) is not self.accounts:
            return
        self.counts["books compared"] += 1
        live, expected = set(node.machine.desk.custody.live), self.accounts.living()
        if live != expected:
            odd = f"misses {sorted(expected - live)[:5]}, has {sorted(live - expected)[:5]} besides"
            self.broken(f"the books of {node.name} {odd} (R15)")
        standing, desk = self.accounts.standing, node.machine.desk
        faults = (standing.differs(record, self.accounts) for record in desk.custody.live.values())
        if (fault := next((one for one in faults if one is not None), None) or standing.other_policies(desk)) is not None:
            self.broken(f"the books of {node.name} {fault}")

    # --- agents -----------------------------------------------------------------------------------------------------------

    def agent_starts(self, agent: AgentProcess) -> None:
        """A process that knows no epoch yet."""
        self._agents[agent.name] = agent
        self._epochs[agent.name] = 0

    def agent_died(self, name: str) -> None:
        """Nothing of it runs any more."""
        self.shares.died(name)
        for task, attempts in list(self._running.items()):
            for attempt in [one for one, (agent, _) in attempts.items() if agent == name]:
                del attempts[attempt]
            if not attempts:
                del self._running[task]

    def agent_stepped(self, agent: AgentProcess, commands: list[wc.Command]) -> None:
        """Its window, and whom it obeys."""
        incarnation, until_ns = agent.permit()
        if incarnation:
            self._windows[incarnation] = until_ns
        for command in commands:
            if isinstance(command, wc.Publish) and isinstance(command.message, Held):
                if command.message.epoch < self._epochs[agent.name]:
                    self.broken(f"{agent.name} obeys epoch {command.message.epoch} after {self._epochs[agent.name]} (R2)")
                self._epochs[agent.name] = command.message.epoch

    def job_called(self, agent: str, task: str, attempt: Attempt, incarnation: str) -> None:
        """A handler begins to run: no other attempt of its task may be alive and well."""
        self.counts["tries"] += 1
        others = self._running.setdefault(task, {})
        others[attempt] = agent, incarnation
        for other, (_, where) in others.items():
            if other == attempt:
                continue
            self.counts["overlaps of the cut off"] += 1
            older = min(attempt, other)
            holder, lives_as = others[older]
            if not self.ledgers.could_know(task, max(attempt, other), lives_as):
                self.counts["overlaps of the lost"] += 1
                continue
            story = f"{task} runs as {attempt} on {incarnation} and as {other} on {where}"
            if self._serves(holder, lives_as):
                self.broken(f"{story}, while the older one lives, is connected and has an open window (P2)")
            if self.accounts.never(task) and self._windows.get(lives_as, 0) > self.timeline.now_ns:
                self.broken(f"{story}; it must never overlap, and the window of the older one is open (P2)")

        if (why := self.shares.called(Run(self.accounts.tasks[task], attempt, agent, incarnation))) is not None:
            self.broken(why)

    def _counts(self, run: Run, beside: Run) -> bool:
        """Whether this run counts against limits when the other one begins."""
        return self._serves(run.agent, run.incarnation) and self.ledgers.could_know(run.task.id, beside.attempt, run.incarnation)

    def _serves(self, agent: str, incarnation: str) -> bool:
        held = self._agents[agent].agent.incarnation
        open_ = self._windows.get(incarnation, 0) > self.timeline.now_ns
        return open_ and held is not None and held.name == incarnation and incarnation in self.broker.boxes

    def job_over(self, agent: str, task: str, attempt: Attempt) -> None:
        """A handler is over (or was never called)."""
        self.shares.ended(attempt)
        attempts = self._running.get(task, {})
        attempts.pop(attempt, None)
        if not attempts:
            self._running.pop(task, None)

    # --- producers --------------------------------------------------------------------------------------------------------

    def answered(self, producer: str, result: Result) -> None:
        """A producer hears how its task ended: always the same."""
        if result.error is not None and result.error.kind == "forgotten":
            return
        told = self._told.get(result.task, result)
        unwatched = told.first is not None and self.accounts.keys.lost(self.accounts.tasks.get(result.task))
        if unwatched or self.accounts.gone.again & {result.task, result.first, told.first}:
            self._told[result.task] = result  # what was said of it before is lost
        first = self._told.setdefault(result.task, result)
        if first.first is not None and result.first != first.first and self._recomputed(result):
            return
        if (first.outcome, first.value) != (result.outcome, result.value):
            self.broken(f"{producer} was told {first.outcome} of {result.task}, and now {result.outcome} (P2)")

    def _recomputed(self, result: Result) -> bool:
        """Whether a task that was answered from the cache, and so not accepted, may be told otherwise: a late copy of it
        came when the cache had lost that. It runs itself, or is given what another that runs under the key has returned."""
        run = self.accounts.tasks.get(result.first or result.task)
        return result.task in self._shared and run is not None and run.cache_ns is not None
