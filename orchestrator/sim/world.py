"""A world: coordinators, agents and producers around one imagined broker; run until it is quiet, or a law is broken.

Law: first the weather rages, then it heals, and from then on everything must come to an end, with no ``LIMIT_S`` in which nothing
moves; a task that does not is named, with the reason that the coordinator itself would give.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from traceback import format_exception

from orchestrator.core.answers import reasons
from orchestrator.core.config import Config
from orchestrator.sim.agents import AgentProcess
from orchestrator.sim.broker import Broker
from orchestrator.sim.chaos import Chaos
from orchestrator.sim.coordinators import CoordinatorProcess
from orchestrator.sim.faults import Faults, draw
from orchestrator.sim.journal import Journal
from orchestrator.sim.laws import Laws
from orchestrator.sim.process import Process
from orchestrator.sim.producers import Producer
from orchestrator.sim.surroundings import Surroundings
from orchestrator.sim.timeline import Timeline, dice
from orchestrator.sim.workload import Workload, random_workload
from orchestrator.vocabulary import NS_PER_S, seconds

START_NS = 1_000_000 * NS_PER_S
LIMIT_S = 120
"""After healing: the longest of leases, back-offs, deadlines and run times that can follow each other without an end, with room."""
EVENTS_MAX = 150_000
WRITTEN_MAX = 64_000_000
"""A world that does more things, or writes more bytes into its ledger, never rests: sound ones stay far below both."""
GIVE_UP_NS = 20 * NS_PER_S
"""So long a producer waits for what nobody can run, at most and in the end."""
ASK_AGAIN_NS = 2 * NS_PER_S
ROUND_NS = 60 * NS_PER_S
"""So long after a task is lost its producer is told, and submits it again."""
SETTLE_AFTER_NS = 5 * NS_PER_S
"""Longer than the power ever takes of the ledger (``chaos``)."""
LONG_LEASE_NS = 15 * NS_PER_S
LEDGER_BYTES_LEAST = 1_000_000
"""In a shorter ledger what lives must end soon, or carrying it forward never comes to rest: no limits slow it down there."""


@dataclass(slots=True)
class Outcome:
    """How a run ended."""

    seed: object
    broken: str = ""
    """The law that was broken, or the bug that raised; empty: all is well."""
    trace: str = ""
    events: int = 0
    virtual_s: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    digest: str = ""


class World:
    """One run. Give it faults and work of your own, or let the seed draw them."""

    def __init__(
        self,
        seed: object,
        *,
        faults: Faults | None = None,
        work: Workload | None = None,
        config: Config | None = None,
        coordinators: int | None = None,
        rage_s: float | None = None,
    ) -> None:
        chance = dice(seed, "world")
        self.seed = seed
        self.timeline = Timeline(START_NS)
        self.journal = Journal(START_NS)
        self.faults = faults if faults is not None else draw(seed)
        self.rage_ns = round(NS_PER_S * (rage_s if rage_s is not None else chance.choice([10, 25, 40])))
        self.config = config if config is not None else _config(chance.random(), dice(seed, "world", "lease").random())
        if config is None:
            self.config = _losing(self.config, self.faults, dice(seed, "world", "losing"))
        roomy = self.config.ledger_bytes_max >= LEDGER_BYTES_LEAST
        self.work = work if work is not None else random_workload(seed, START_NS, self.rage_ns * 3 // 4, limited=roomy)
        self.laws = Laws(self.timeline, self.work)
        self.broker = Broker(self.timeline, self.faults, dice(seed, "broker"), self.journal, self.config.ledger_bytes_max)
        self.broker.witness = self.laws
        self.broker.settles_late = self.config.settle_after_ns > 0
        self.laws.ledgers.asks_again = self._ask_again
        self.laws.broker = self.broker
        around = Surroundings(seed, self.timeline, self.faults, self.journal, self.broker, self.laws)
        count = coordinators or chance.choice([1, 2, 2, 3])
        self.coordinators = [CoordinatorProcess(f"c{n}", around, self.config, self.work) for n in range(count)]
        self.agents = [AgentProcess(place, around, self.work) for place in self.work.places]
        self.producers = [Producer(f"p{n}", around) for n in range(2)]
        for process in (*self.coordinators, *self.agents):
            process.died = partial(self._restart, process)
        self.chaos = Chaos(self, dice(seed, "chaos"))

    # --- running ----------------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """To the end; a broken law is an outcome like any other."""
        outcome = Outcome(self.seed)
        try:
            self._run()
        except Exception as fault:  # whatever a machine or a law raises ends the run and is its result
            outcome.broken = f"{type(fault).__name__}: {fault}"
            outcome.trace = "".join(format_exception(fault))
        outcome.events = self.timeline.count
        outcome.virtual_s = seconds(self.timeline.now_ns - START_NS)
        outcome.faults = self.faults.seen
        outcome.counts = self.laws.counts
        return outcome

    def _run(self) -> None:
        self._begin()
        healed_ns = START_NS + self.rage_ns
        while self.timeline.now_ns < healed_ns and self.timeline.go_on():
            self._rests()
        self.chaos.heal()
        self.laws.ledgers.healed()
        if self.laws.ledgers.cuts:
            self.timeline.after(ROUND_NS, self._round)
        progress, since_ns = self._progress(), self.timeline.now_ns
        while not self.quiet():
            until_ns = self.timeline.now_ns + NS_PER_S // 2
            while self.timeline.now_ns < until_ns and self.timeline.go_on():
                self._rests()
            if self._progress() != progress:
                progress, since_ns = self._progress(), self.timeline.now_ns
            if self.timeline.now_ns > since_ns + LIMIT_S * NS_PER_S:
                self.laws.broken(self._stuck())
        for node in self.coordinators:
            self.laws.books(node)
        self.laws.at_rest()

    def _round(self) -> None:
        """Who has had no answer for a minute asks again. Here only where a ledger was lost, and with it perhaps who waits for what:
        else a result that does not come is a broken promise, and no reason to ask."""
        self.laws.ledgers.tell_lost()
        for producer in self.producers:
            producer.ask_again(list(producer.unanswered))
        self.timeline.after(ROUND_NS, self._round)

    def _rests(self) -> None:
        if self.timeline.count > EVENTS_MAX or self.broker.stream.written > WRITTEN_MAX:
            self.laws.broken(
                f"after {self.timeline.count} things done and {self.broker.stream.written} bytes written it never rests"
            )

    def _begin(self) -> None:
        chance = dice(self.seed, "begin")
        for process in (*self.coordinators, *self.agents, *self.producers):
            self.timeline.after(round(NS_PER_S * 2 * chance.random() ** 2), process.start)
        for errand in self.work.errands:
            producer = self.producers[errand.producer % len(self.producers)]
            self.timeline.after(errand.at_ns, partial(producer.submit, errand.tasks))
        for at_ns, task in self.work.cancels:
            self.timeline.after(at_ns, partial(self.producers[0].cancel, task))
        for task in self.laws.truth.unfit:
            self.timeline.after(GIVE_UP_NS, partial(self._give_up, task))
        self.timeline.after(NS_PER_S, self._look)

    def _give_up(self, task: str) -> None:
        """Nobody can run it, and whoever took it had not heard of anybody yet: it waits until it is not wanted any more. So does a
        late copy of one that was refused, where the ledger that said so is lost."""
        if task in self.laws.accounts.living() or any(task in one.unanswered for one in self.producers):
            self.producers[0].cancel(task)
        self.timeline.after(GIVE_UP_NS, partial(self._give_up, task))

    def _look(self) -> None:
        for node in self.coordinators:
            if node.alive and node.connection is not None and not node.host.paused:
                self.laws.books(node)
        self.timeline.after(NS_PER_S, self._look)

    def _restart(self, process: Process) -> None:
        self.timeline.after(round(NS_PER_S * (0.05 + 5 * process.chance.random() ** 3)), process.start)

    def _ask_again(self, tasks: list[str]) -> None:
        for producer in self.producers:
            self.timeline.after(ASK_AGAIN_NS, partial(producer.ask_again, tasks))

    # --- the end ----------------------------------------------------------------------------------------------------------

    def leader(self) -> CoordinatorProcess | None:
        """The one that leads."""
        return next((one for one in self.coordinators if one.connection is not None and one.machine.desk.leading), None)

    def quiet(self) -> bool:
        """Whether everything has come to its end."""
        leader = self.leader()
        if leader is None or any(one.unanswered or one.wills for one in self.producers) or self.laws.accounts.living():
            return False
        if not all(queue.empty for queue in self.broker.queues.values()) or self.laws.ledgers.remembered():
            return False
        custody = leader.machine.desk.custody
        works = [one.agent.work for one in self.agents]
        return not (custody.live or custody.owed or any(len(work.holdings) or work.outbox.kept for work in works))

    def _progress(self) -> tuple[int, int, int]:
        """Ends written, tries begun, tasks not answered: as long as these move, something is on its way to its end."""
        return len(self.laws.accounts.ended), self.laws.counts["tries"], sum(len(one.unanswered) for one in self.producers)

    def _stuck(self) -> str:
        leader = self.leader()
        waits = sorted({*self.laws.accounts.living(), *(task for one in self.producers for task in one.unanswered)})
        parts = [f"everything is healed, for {LIMIT_S} s nothing has moved, and not all has ended (liveness)"]
        if leader is None:
            phases = ", ".join(f"{one.name} is {one.machine.desk.phase}" for one in self.coordinators)
            parts.append(f"nobody leads: {phases}")
        else:
            desk, now_ns = leader.machine.desk, self.timeline.now_ns
            for task in waits[:5]:
                why = reasons.why(desk, now_ns, task)
                parts.append(f"{task}: {why['reason'] if why else 'unknown to the leader'}")
            parts.append(f"owed {list(desk.custody.owed)[:5]}")
        for agent in self.agents:
            work = agent.agent.work
            if len(work.holdings) or work.outbox.kept:
                held, kept = list(work.holdings.jobs), list(work.outbox.kept)
                parts.append(f"{agent.name} ({agent.agent.phase}) holds {held} and keeps {kept}")
        if remembered := self.laws.ledgers.remembered():
            parts.append(f"remembered and not written again: {remembered[:5]}")
        parts += [f"{name}: {len(one.ready)} ready" for name, one in self.broker.queues.items() if not one.empty]
        parts += [f"{one.name} waits for answers to {list(one.wills)}" for one in self.producers if one.wills]
        return "; ".join(parts)


def _losing(config: Config, faults: Faults, chance: Random) -> Config:
    """Where the ledger may be lost: at times it is written again in many pieces; where the power may go, at times all is settled
    late."""
    if faults.delete_ledger or faults.cut_power:
        config = replace(config, append_bytes_max=chance.choice([config.append_bytes_max, 2_000]))
    if faults.cut_power:
        config = replace(config, settle_after_ns=chance.choice([0, SETTLE_AFTER_NS]))
    return config


def _config(drawn: float, lease: float) -> Config:
    """Mostly the defaults; at times a ledger so short that everything must be carried forward, and hardly a result is kept; at
    times a lease so long that an instance can be deaf and hear again before it is over.
    """
    config = replace(Config(), lease_ns=LONG_LEASE_NS) if lease < 0.2 else Config()
    return replace(config, ledger_bytes_max=160_000, reserve_bytes=20_000, results_bytes_max=3_000) if drawn < 0.3 else config
