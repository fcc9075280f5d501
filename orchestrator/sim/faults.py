"""What may go wrong, and how often: the seed draws which kinds rage in a run, and how hard (swarm).

Law: all kinds at once explore shallowly, for nothing ever gets far; so each run has a few of them. A probability is per
occasion, a rate per virtual second and per party. While ``raging`` is off nothing goes wrong any more.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from orchestrator.sim.timeline import dice
from orchestrator.vocabulary import NS_PER_MS, Nanos

RATES: dict[str, tuple[float, float]] = {
    # per second and party, least and most
    "kill_coordinator": (0.02, 0.2),
    "kill_agent": (0.02, 0.3),
    "kill_broker": (0.01, 0.05),
    "pause_coordinator": (0.02, 0.15),
    "pause_agent": (0.02, 0.25),
    "cut_coordinator": (0.01, 0.15),
    "cut_agent": (0.02, 0.25),
    "cut_producer": (0.01, 0.1),
    "drop_coordinator": (0.02, 0.3),
    "drop_agent": (0.02, 0.3),
    "drop_producer": (0.01, 0.1),
    "second_token": (0.03, 0.5),
    "stall_ledger": (0.02, 0.3),
    "deafen_coordinator": (0.01, 0.1),
    "alarm": (0.01, 0.03),
    "drain_agent": (0.01, 0.05),
    "quit_agent": (0.01, 0.1),
    "clog_agent": (0.02, 0.2),
    "lie_agent": (0.02, 0.3),
    "will_producer": (0.02, 0.3),
    "purge_queue": (0.005, 0.05),
    "delete_queue": (0.005, 0.03),
    "redeliver_queue": (0.01, 0.2),
    "pair_agent": (0.01, 0.15),
    "delete_ledger": (0.005, 0.03),
    "cut_power": (0.005, 0.05),
}
ODDS: dict[str, tuple[float, float]] = {
    # per occasion, least and most
    "crash_in_step": (0.0005, 0.01),
    "crash_after_append": (0.005, 0.1),
    "crash_agent_in_step": (0.0005, 0.01),
    "soft_lost": (0.01, 0.4),
    "soft_late": (0.01, 0.3),
    "soft_doubled": (0.01, 0.3),
    "orders_lost": (0.005, 0.1),
    "echo_lost": (0.01, 0.5),
    "unconfirmed": (0.01, 0.3),
    "unanswered": (0.005, 0.1),
    "resubmitted": (0.01, 0.2),
    "uncalled": (0.01, 0.2),
    "swept": (0.05, 0.9),
    "returned_late": (0.05, 0.5),
    "slow_link": (0.05, 0.6),
    "slow_start": (0.02, 0.4),
    "stopped": (0.05, 0.9),
}


@dataclass(slots=True)
class Faults:
    """The weather of one run."""

    # rates
    kill_coordinator: float = 0.0
    kill_agent: float = 0.0
    kill_broker: float = 0.0
    pause_coordinator: float = 0.0
    pause_agent: float = 0.0
    cut_coordinator: float = 0.0
    cut_agent: float = 0.0
    cut_producer: float = 0.0
    drop_coordinator: float = 0.0
    drop_agent: float = 0.0
    drop_producer: float = 0.0
    second_token: float = 0.0
    """The broker tells a second coordinator that nobody leads: two believers."""
    stall_ledger: float = 0.0
    """A coordinator's reading of the ledger comes to a halt for a while; its appends do not."""
    deafen_coordinator: float = 0.0
    """What agents say softly does not reach one coordinator for a while."""
    alarm: float = 0.0
    drain_agent: float = 0.0
    quit_agent: float = 0.0
    """An agent is told to end at once."""
    clog_agent: float = 0.0
    """What the broker has for an agent does not reach it for a while, though it is heard: it is deaf."""
    lie_agent: float = 0.0
    """Somebody says in its name that it holds attempts which it never had."""
    will_producer: float = 0.0
    """An operator wants an instance drained, a task hurried, another policy."""
    purge_queue: float = 0.0
    """An operator empties the queue of reports or of questions. (What is in a queue of tasks would be lost, as is meant.)"""
    delete_queue: float = 0.0
    """An operator deletes one: what was in it is gone, the sessions that consumed it end, and who comes back declares it anew."""
    redeliver_queue: float = 0.0
    """After a short partition all that a session holds comes again, on the same channel, under other tags; the old mean nothing."""
    pair_agent: float = 0.0
    """Two misfortunes of other kinds in a row strike the same agent: what seldom meets by chance."""
    delete_ledger: float = 0.0
    """An operator deletes the ledger."""
    cut_power: float = 0.0
    """The broker's power goes, and with it what was written into the ledger last."""
    # odds
    crash_in_step: float = 0.0
    """A coordinator dies with a part of a step's commands done."""
    crash_after_append: float = 0.0
    """It dies just when an append has left it."""
    crash_agent_in_step: float = 0.0
    soft_lost: float = 0.0
    soft_late: float = 0.0
    soft_doubled: float = 0.0
    orders_lost: float = 0.0
    echo_lost: float = 0.0
    unconfirmed: float = 0.0
    """A durable publish arrives and its publisher is told that it did not."""
    unanswered: float = 0.0
    """Of results or a dead letter it is never told whether they arrived; half of such results did not."""
    resubmitted: float = 0.0
    """A producer says the same twice."""
    uncalled: float = 0.0
    """A handler fails before it is called (it cannot be loaded, there is no process for it)."""
    swept: float = 0.0
    """A connection ends because a node of the broker went down with it, and that is how its end is told."""
    returned_late: float = 0.0
    """That orders found no queue is told seconds later."""
    slow_link: float = 0.0
    """An agent's connection takes seconds to open, or to close."""
    slow_start: float = 0.0
    """From the order to start until the handler is called it takes seconds (a process has to be made for it)."""
    stopped: float = 0.0
    """A connection ends because a node of the broker is told to stop, which closes it in good order."""
    # the weather's constants
    delay_ns: Nanos = NS_PER_MS // 5
    """Usual time on the wire."""
    gust: float = 0.0
    """Odds that something takes a hundred times as long."""
    host_dies: float = 0.0
    """Share of deaths that the broker notices by silence alone."""
    strays: float = 0.0
    """Share of appends under way at the end of a session that land late; of the others some land, some never do."""
    settles_forgotten: float = 0.0
    """Share of fresh settlements that a broker forgets when it dies."""
    settles_blocked: bool = False
    """An alarm stops settlements too, as the real one does on a connection that has published."""
    deaths_told: bool = True
    """The broker tells of deleted queues (it has the event exchange)."""
    raging: bool = True
    seen: Counter[str] = field(default_factory=Counter)
    """How often each kind struck."""

    def strikes(self, kind: str, chance: Random) -> bool:
        """Whether it goes wrong this time, and if so it is counted."""
        odds: float = getattr(self, kind)
        if not self.raging or not odds or chance.random() >= odds:
            return False
        self.seen[kind] += 1
        return True


def draw(seed: object) -> Faults:
    """The weather of a run: a share of the kinds, each with a strength drawn evenly in powers.

    Each kind has dice of its own, so that one that is added later changes no other.
    """
    chance = dice(seed, "weather")
    faults = Faults()
    share = chance.choice([0.1, 0.2, 0.3, 0.5, 0.7])
    faults.delay_ns = round(NS_PER_MS * 0.1 * 300 ** chance.random())
    faults.gust = chance.choice([0.0, 0.0, 0.01, 0.05])
    faults.host_dies = chance.choice([0.0, 0.3, 1.0])
    faults.strays = chance.choice([0.0, 0.3, 0.8])
    faults.settles_forgotten = chance.choice([0.0, 0.5])
    faults.deaths_told = chance.random() < 0.7
    faults.settles_blocked = dice(seed, "weather", "settles").random() < 0.3
    for kind, (least, most) in {**RATES, **ODDS}.items():
        own = dice(seed, "weather", kind)
        if own.random() < share:
            setattr(faults, kind, least * (most / least) ** own.random())
    return faults


def believers() -> Faults:
    """Weather in which two coordinators keep believing that they lead, and write in turns what they have not read."""
    return Faults(
        second_token=0.7,
        stall_ledger=0.7,
        drop_coordinator=0.3,
        crash_after_append=0.05,
        soft_late=0.2,
        strays=0.8,
        delay_ns=20 * NS_PER_MS,
    )
