"""The coordinator's desk: its books, its pending letters, and the few moves that every chapter makes.

Law: the chapters (``leadership``, ``reading``, ``intake``, ``agents``, ``placing``, ``operators``) are functions over this
desk. They never keep anything themselves and never talk to the world: what is to happen goes into ``out``, into an
instance's order book, into the facts to be proposed, or into the results to be sent, and leaves at the end of the step.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, TypeAlias

from msgspec.structs import replace

from orchestrator.core import rules
from orchestrator.core.commands import Append, Bury, Command, Grounds, Noted, Reply, Send, SendResults
from orchestrator.core.config import Config
from orchestrator.core.custody.custody import Custody
from orchestrator.core.custody.keeping import Keeping
from orchestrator.core.custody.past import Past
from orchestrator.core.custody.records import Owed, Record
from orchestrator.core.custody.ripening import Late, Ripening
from orchestrator.core.custody.sizes import fact_bytes
from orchestrator.core.estimates.estimates import Estimates
from orchestrator.core.events import Arrived, Garbled, Handle
from orchestrator.core.registry.offences import Allowances, Offences
from orchestrator.core.registry.registry import Instance, Orderbook, Registry
from orchestrator.core.resources.limits import Spec
from orchestrator.core.resources.sharing import Sharing
from orchestrator.core.scheduler.backlog import Backlog
from orchestrator.core.scheduler.governing import Policies, Scope
from orchestrator.core.tasks.door import Door
from orchestrator.core.timers import Timers
from orchestrator.policies import BUILT_IN
from orchestrator.vocabulary import NS_PER_MS, Attempt, Incarnation, Nanos, Service, TaskId
from orchestrator.wire.facts import AnyFact, Ended, Entry
from orchestrator.wire.messages import Task

Phase: TypeAlias = Literal["away", "following", "claiming", "leading"]


@dataclass(slots=True)
class Flight:
    """What the facts of one append will free once they are read back (R1)."""

    number: int = 0
    gates: list[Handle] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    """Answers to operators whose wills it carries."""
    releases: defaultdict[Incarnation, list[Attempt]] = field(default_factory=lambda: defaultdict(list))
    arriving_bytes: int = 0
    """What the tasks take that are accepted by it."""


@dataclass(slots=True)
class Posted:
    """Results or a letter on their way, since when, and what their confirmation frees."""

    said: SendResults | Bury
    at_ns: Nanos
    owed: list[Owed] = field(default_factory=list)
    gates: list[Handle] = field(default_factory=list)

    @property
    def queue(self) -> str:
        """Where the results go; a letter has none."""
        return self.said.reply_to if isinstance(self.said, SendResults) else ""


@dataclass(slots=True, eq=False)
class Gate:
    """A delivery that waits for several things."""

    handle: Handle
    left: int


REFUSALS_AT_ONCE = 200
REFUSALS_EVERY_NS = 500 * NS_PER_MS
"""So many refused tasks of one user are written down at once, then two a second. Beyond that they are answered, and leave no
trace: each would be remembered for the dedup window."""
RELEASES_MAX = 32
"""So many releases of one agent wait at most for orders to travel with."""
LAPSED_MAX = 100_000
"""Attempts remembered that were given up; of more it is believed that they were whose anybody says."""


class Desk:
    """State of one coordinator."""

    __slots__ = (
        "answers", "appended_ns", "arriving", "arriving_bytes", "attempts", "backlog", "blocked", "boarding", "calm_ns",
        "claim", "claimed_ns", "config", "counts", "custody", "deaths", "dice", "door", "doubtful", "early", "echo_ns",
        "ending", "epoch", "estimates", "flight", "floor", "forget_ns", "heard_ns", "intake_open", "keeping", "lapsed",
        "lapsed_floor", "limits_read", "lingering", "lobby", "looked_ns", "looking", "mark", "marked_ns", "missed", "name",
        "nonce", "now_ns", "number", "offences", "orphans", "out", "past", "phase", "policies", "posted", "postponed",
        "proposals", "proposed", "proposed_bytes", "proven_ns", "queued", "read_ns", "reclaim", "refusals", "registry",
        "renewing", "results", "ripening", "saving", "settled", "sharing", "stirred", "stirred_ns", "strangers", "timers", "token",
        "touched", "unheard", "verdicts", "wanted_limits",
    )  # fmt: skip

    def __init__(self, name: str, config: Config, dice: Random, policies: Policies | None = None) -> None:
        self.name = name
        self.config = config
        self.dice = dice
        # the books
        self.custody = Custody(config.results_bytes_max)
        self.keeping = Keeping(config.ledger_bytes_max, config.reserve_bytes)
        self.registry = Registry()
        self.policies = policies = policies or Policies(BUILT_IN)
        self.estimates = Estimates(config.estimates)
        self.backlog = Backlog(lambda service: policies.of(service).ordering, self.estimates, config.losses_max)
        self.sharing = Sharing()
        self.wanted_limits: dict[str, Spec] = {}
        """What the settings say of limits."""
        self.limits_read = False
        """The ledger has a new word on limits, which is not heeded yet."""
        self.renewing = False
        """Some that wait are still to be placed anew, since estimates have moved."""
        self.timers = Timers()
        self.verdicts: dict[TaskId, Ended] = {}
        """Ends that ledger content demands and nobody has written yet; a new leader writes them."""
        self.ending: dict[TaskId, Record] = {}
        """Their ``Ended`` is proposed or under way."""
        self.doubtful: dict[TaskId, Record] = {}
        """Their instance is gone, and what that means is under way."""
        self.saving: dict[TaskId, Record] = {}
        """They have stopped, and the checkpoint from which they go on is under way: doubtful for that alone."""
        self.missed: dict[TaskId, None] = {}
        """Deadlines that passed while we did not lead, or while agents that may run the task had still to answer."""
        self.ripening = Ripening(config.settle_after_ns)
        self.past = Past()
        """What we know of ledgers that are gone."""
        self.reclaim = False
        """Agents know a higher epoch than ours: claim again above it."""
        # the reign
        self.now_ns: Nanos = 0
        """The moment of this step."""
        self.phase: Phase = "away"
        self.nonce = ""
        self.epoch = 0
        self.claim = -1
        """Offset of our claim."""
        self.claimed_ns: Nanos = 0
        self.mark = ""
        """The incarnation of the empty report behind what earlier leaders left in the reports queue."""
        self.marked_ns: Nanos = 0
        """When it was laid there last; 0: it has been read."""
        self.floor = 0
        """The highest epoch agents said they know."""
        self.attempts = 0
        self.postponed: list[Arrived | Garbled] = []
        """Deliveries that came while we claimed again."""
        self.early: deque[tuple[Nanos, Arrived]] = deque()
        """Deliveries that only a later leader may take, with when they came."""
        self.lapsed: dict[int, TaskId] = {}
        """Attempts of this reign (their numbers) given up before their agents said how they ended, and whose they were."""
        self.lapsed_floor = 0
        """Of those up to here it is not remembered any more."""
        self.orphans = 0
        """Ends of tasks that nobody knows, written down in this reign."""
        # the ledger's mouth
        self.number = self.token = 0
        self.proposed: list[AnyFact] = []
        self.proposed_bytes = 0
        self.proposals = 0
        """How many facts were ever proposed: whoever proposed none waits for none."""
        self.boarding = Flight()
        self.queued: deque[tuple[list[AnyFact], Flight]] = deque()
        """Full appends before that; while there are any, something is proposed."""
        self.flight: Flight | None = None
        self.appended_ns: Nanos = 0
        self.read_ns: Nanos = 0
        """When something of our own was last read back."""
        self.proven_ns: Nanos = 0
        """When that was written: nobody had claimed by then (R10)."""
        self.stirred_ns: Nanos = 0
        """When anything of anybody was last read."""
        self.arriving: dict[TaskId, Task] = {}
        """Tasks proposed and not read yet, with their prints."""
        self.arriving_bytes = 0
        """What they take in the ledger."""
        self.lobby: deque[Arrived] = deque()
        """Submissions that had been given to us when the ledger became full: judged when there is room, nobody else has them."""
        # liveness
        self.heard_ns: Nanos = 0
        """When any instance was last heard."""
        self.calm_ns: Nanos = 0
        """Nobody is declared dead by silence before this."""
        self.deaths: dict[Incarnation, None] = {}
        """Of the incarnations in the ledger, those whose connection we were told has ended: nothing of them comes back."""
        self.strangers: dict[Incarnation, Nanos] = {}
        """When incarnations that we do not know were last asked who they are."""
        self.blocked = False
        self.echo_ns: Nanos = 0
        self.forget_ns: Nanos = 0
        self.looking = False
        """We have asked where the ledger begins, and do not know yet."""
        self.looked_ns: Nanos = 0
        """When we asked."""
        self.unheard: frozenset[str] = frozenset()
        """Words that nobody would hear: what is said of every task is not even put together then."""
        # the out-tray of this step
        self.out: list[Command] = []
        self.settled: list[Handle] = []
        self.stirred: dict[Service, dict[Incarnation, Instance] | None] = {}
        """Services for which something may be placed now, with the instances that have got better; none: all may have."""
        self.touched: dict[Incarnation, Instance] = {}
        self.lingering: dict[Incarnation, Instance] = {}
        """Those whose releases wait for orders to travel with, or for the next echo, unless they leave or have many."""
        self.results: defaultdict[str, list[Owed]] = defaultdict(list)
        """What is sent, by the queue where it is awaited."""
        self.answers: dict[str, list[Gate]] = {}
        """Deliveries that wait for what is sent there to arrive."""
        self.posted: dict[int, Posted] = {}
        self.intake_open = True
        self.counts: Counter[str] = Counter()
        self.offences = Offences()
        self.door = Door()
        self.refusals = Allowances(REFUSALS_AT_ONCE, REFUSALS_EVERY_NS)
        """Refusals of each user's tasks that are written down."""

    @property
    def leading(self) -> bool:
        return self.phase == "leading"

    # --- moves ------------------------------------------------------------------------------------------------------------

    def note(self, what: str, **fields: Any) -> None:
        """A decision worth a line in the log."""
        self.out.append(Noted(what, fields))

    def propose(self, fact: AnyFact) -> int:
        """Write this fact with the next append that has room for it. It counts when it is read (R1). Gives its size, about."""
        size = fact_bytes(fact)
        self.proposals += 1
        if self.proposed and self.proposed_bytes + size > self.config.append_bytes_max:
            self.queued.append((self.proposed, self.boarding))
            self.proposed, self.boarding, self.proposed_bytes = [], Flight(), 0
        self.proposed.append(fact)
        self.proposed_bytes += size
        return size

    def board(self) -> tuple[list[AnyFact], Flight]:
        """What was proposed first, as much as one append may carry, and what it frees."""
        if self.queued:
            return self.queued.popleft()
        facts, flight = self.proposed, self.boarding
        self.proposed, self.boarding, self.proposed_bytes = [], Flight(), 0
        return facts, flight

    def append(self, facts: list[AnyFact]) -> None:
        """The next entry of the ledger leaves."""
        custody = self.custody
        replay_from = self.keeping.replay_from(custody)
        if custody.unfinished is not None:  # who reads on from here is to know that something is lacking
            replay_from = min(replay_from, custody.unfinished)
        head = (self.nonce, self.number, replay_from, custody.answered_to(), custody.epoch)
        self.out.append(Append(Entry(*head, facts)))

    def gate(self, handle: Handle) -> None:
        """Settle this delivery once all that is proposed by now is committed."""
        if handle is None:
            return
        flight = self.boarding if self.proposed else self.flight
        if flight is not None:
            flight.gates.append(handle)
        else:
            self.settle(handle)

    def answer(self, reply: Reply) -> None:
        """Say this once all that is proposed by now is committed."""
        flight = self.boarding if self.proposed else self.flight
        if flight is not None:
            flight.replies.append(reply)
        else:
            self.out.append(reply)

    def propose_end(self, record: Record, fact: Ended) -> None:
        """The task shall end so, unless an end of it is under way already; ledger order decides."""
        if self.leading and record.id not in self.ending:
            self.ending[record.id] = record
            self.propose(replace(fact, heirs=True) if self.custody.graveyard.needed(record.id) else fact)

    def condemn(self, record: Record, fact: Ended) -> None:
        """Ledger content demands this end: whoever leads writes it, we at once if we do and may."""
        self.verdicts.setdefault(record.id, fact)
        self.carry_out(record)

    def carry_out(self, record: Record) -> None:
        """Write the end that ledger content demands of this task, if any and if its time has come (R14)."""
        verdict = self.verdicts.get(record.id)
        if verdict is not None and rules.r14_end_now(record, self.aside(record)):
            self.propose_end(record, verdict)

    def aside(self, record: Record) -> bool:
        """Whether agents that may hold this task have still to answer (R3)."""
        if self.phase != "leading":
            return False
        pool = self.registry.pools.get(record.service)
        return pool is not None and not rules.r3_may_go(record, self.claim, pool.unanswered, pool.fenced)

    def order(self, instance: Instance) -> Orderbook:
        """Its order book, which goes out at the end of this step."""
        self.touched[instance.incarnation] = instance
        return instance.orders

    def release(self, incarnation: Incarnation, attempts: list[Attempt]) -> None:
        """The reports of these attempts are in the ledger, or not needed there: their agent may forget them, sooner or later."""
        if (instance := self.registry.instances.get(incarnation)) is not None:
            instance.expected.difference_update(attempts)
            if instance.answered != self.epoch:
                instance.early.update(attempts)
            instance.orders.release += attempts
            hurry = instance.state != "ready" or len(instance.orders.release) >= RELEASES_MAX
            (self.touched if hurry else self.lingering)[incarnation] = instance

    def lapse(self, attempt: Attempt, task: TaskId) -> None:
        """This attempt is given up; its agent may still say how it ended."""
        if attempt.epoch == self.epoch:
            self.lapsed[attempt.n] = task
            if len(self.lapsed) > LAPSED_MAX:
                self.lapsed.pop(oldest := next(iter(self.lapsed)))
                self.lapsed_floor = max(self.lapsed_floor, oldest)

    def stir(self, service: Service) -> None:
        """A task of this service came: it may go, unless its class fits nowhere."""
        if service not in self.stirred:
            self.stirred[service] = {}

    def stir_all(self) -> None:
        """Something may allow any placement now."""
        self.stirred = dict.fromkeys(self.backlog.queues)

    def retouch(self, instance: Instance) -> None:
        """Its room changed: keep the index true, and let those of its service try again that fit there."""
        self.registry.touch(instance)
        better = self.stirred.setdefault(instance.service, {})
        if better is not None:
            better[instance.incarnation] = instance

    def use_policies(self, specs: Mapping[Scope, str]) -> None:
        """Switch policies. Raises BadPolicy before anything is changed."""
        self.policies.switch(specs)
        self.backlog.order_anew()
        self.stir_all()

    # --- leaving the desk -----------------------------------------------------------------------------------------------

    def send_orders(self, instance: Instance, now: Nanos) -> None:
        """Everything in its order book, as one message."""
        self.lingering.pop(instance.incarnation, None)
        if instance.drained >= instance.sent:
            instance.drained_ns = now
        instance.sent_ns = now
        if instance.orders.sync:
            instance.synced_ns = now
            if instance.answered != self.epoch and not instance.asked_ns:
                instance.asked_ns = now
        self.out.append(Send(instance.queue, instance.take_orders(self.epoch, self.config.lease_ns)))

    def bury(self, letter: dict[str, Any], task: TaskId | None = None, gate: Handle = None, where: Grounds = "dead") -> None:
        """A letter for the dead, or for the quarantine."""
        self.token += 1
        said = Bury(self.token, letter, where)
        debts = [owed] if task is not None and (owed := self.custody.owed.get(task)) is not None else []
        for debt in debts:
            debt.letter_token = self.token
        self.posted[self.token] = Posted(said, self.now_ns, debts, [] if gate is None else [gate])
        self.out.append(said)

    def settle(self, gate: Handle | Gate) -> None:
        """One of the things that this delivery waits for has come true."""
        if isinstance(gate, Gate):
            gate.left -= 1
            if gate.left:
                return
            gate = gate.handle
        if type(gate) is Late:
            self.ripening.put(self.now_ns, gate)
        elif gate is not None:
            self.settled.append(gate)
