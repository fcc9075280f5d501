"""Chaos: kills, pauses, cuts and drops what it likes, as often as the weather says, until it is told to stop.

Law: whatever is broken is mended after a while, and all at once when the storm is over (``heal``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from orchestrator.sim.faults import RATES
from orchestrator.sim.process import Process
from orchestrator.vocabulary import NS_PER_S, Nanos

if TYPE_CHECKING:
    from orchestrator.sim.world import World


PAIRED = ("kill", "pause", "cut", "drop", "drain", "quit", "clog")
"""Of these two may strike an agent in a row."""


class Chaos:
    """The storm over one world."""

    def __init__(self, world: World, chance: Random) -> None:
        self.world = world
        self.chance = chance
        self._targets: dict[str, list[Process]] = {
            "coordinator": list(world.coordinators),
            "agent": list(world.agents),
            "producer": list(world.producers),
        }
        self._deeds: dict[str, Callable[[Process], None]] = {
            "kill": lambda one: one.kill(),
            "pause": self._pause,
            "cut": self._cut,
            "drop": self._drop,
            "deafen": self._deafen,
            "stall": self._stall,
            "drain": self._drain,
            "quit": self._quit,
            "clog": self._clog,
            "lie": self._lie,
            "will": self._will,
            "pair": self._pair,
        }
        for kind in RATES:
            self._plan(kind)

    def _plan(self, kind: str) -> None:
        rate: float = getattr(self.world.faults, kind)
        if rate:
            parties = len(self._targets.get(kind.partition("_")[2], ())) or 1
            after_ns = round(NS_PER_S * self.chance.expovariate(rate * parties))
            self.world.timeline.after(after_ns, partial(self._strike, kind))

    def _strike(self, kind: str) -> None:
        world = self.world
        if not world.faults.raging:
            return
        self._plan(kind)
        world.faults.seen[kind] += 1
        deed, _, whom = kind.partition("_")
        if kind == "kill_broker":
            world.broker.crash(self._span(5))
        elif kind == "alarm":
            world.broker.alarm(True)
            world.timeline.after(self._span(15), partial(world.broker.alarm, False))
        elif kind == "second_token":
            world.broker.second_token()
        elif kind == "delete_ledger":
            if self.chance.random() < 0.5:
                self._leave_one_memory()
            world.broker.delete_ledger()
        elif kind == "cut_power":
            world.broker.cut_power(self._span(4), self._span(5))
        elif whom == "queue":
            self._upset(deed, self.chance.choice(["reports", "reports", "control"]))
        else:
            targets = self._targets["coordinator" if whom == "ledger" else whom]
            self._deeds[deed](self.chance.choice(targets))

    def _upset(self, deed: str, name: str) -> None:
        broker = self.world.broker
        broker.reports_upset |= deed != "redeliver"
        self.world.journal.say(self.world.timeline.now_ns, "operator", deed, name)
        if deed == "purge":
            broker.queues[name].purge()
        elif deed == "delete":
            broker.delete(name)
        else:
            for queue in broker.queues.values():
                queue.redeliver()

    def _span(self, most_s: float) -> Nanos:
        """A while: mostly short, at times long."""
        return round(NS_PER_S * (0.05 + most_s * self.chance.random() ** 2))

    def _pause(self, one: Process) -> None:
        one.pause()
        span_ns = self._span(20)
        if span_ns > 8 * NS_PER_S:
            self.world.timeline.after(8 * NS_PER_S, partial(self._unheard, one))
        self.world.timeline.after(span_ns, one.resume)

    def _unheard(self, one: Process) -> None:
        if one.host.paused:
            for connection in list(one.host.connections):
                connection.paused_for_long()

    def _cut(self, one: Process) -> None:
        self._cut_for(self._span(20), one)

    def _cut_for(self, span_ns: Nanos, one: Process) -> None:
        if not one.host.cut:
            one.say("is cut from the broker")
            one.host.set_cut(True)
            self.world.timeline.after(span_ns, partial(self._mend, one))

    def _leave_one_memory(self) -> None:
        """One coordinator knows what is in the ledger, and is away; the others begin to lead, and know of nothing when it comes."""
        who, *others = self.chance.sample(self.world.coordinators, len(self.world.coordinators))
        self._cut_for(round(NS_PER_S * self.chance.uniform(4, 14)), who)
        for one in others:
            one.kill()

    def _mend(self, one: Process) -> None:
        if one.host.cut:
            one.say("reaches the broker again")
            one.host.set_cut(False)

    def _drop(self, one: Process) -> None:
        for connection in list(one.host.connections):
            connection.reset(self.chance)

    def _deafen(self, one: Process) -> None:
        for connection, session in self.world.broker.coordinators.items():
            if connection.host is one.host:
                session.deaf = True
                self.world.timeline.after(self._span(12), partial(setattr, session, "deaf", False))

    def _stall(self, one: Process) -> None:
        """What it reads of the ledger, or what it writes, comes to a halt; it may be given up meanwhile, or another believed."""
        upwards = self.chance.random() < 0.5
        span_ns = self._span(15)
        for connection in one.host.connections:
            connection.stall("ledger", True, upwards)
            self.world.timeline.after(span_ns, partial(connection.stall, "ledger", False, upwards))
        drawn = self.chance.random()
        if drawn < 0.3:
            self.world.timeline.after(round(span_ns * self.chance.random()), partial(self._drop, one))
        elif drawn < 0.6:
            self.world.timeline.after(round(span_ns * self.chance.random()), self.world.broker.second_token)

    def _drain(self, one: Process) -> None:
        for agent in self.world.agents:
            if agent is one:
                agent.drain()

    def _quit(self, one: Process) -> None:
        for agent in self.world.agents:
            if agent is one:
                agent.quit()

    def _clog(self, one: Process) -> None:
        span_ns = self._span(8)
        for connection in one.host.connections:
            connection.stall("inbox", True, False)
            self.world.timeline.after(span_ns, partial(connection.stall, "inbox", False, False))

    def _pair(self, one: Process) -> None:
        first, second = self.chance.sample(PAIRED, 2)
        self._deeds[first](one)
        self.world.timeline.after(self._span(4), partial(self._then, second, one))

    def _then(self, deed: str, one: Process) -> None:
        if self.world.faults.raging:
            self._deeds[deed](one)

    def _lie(self, one: Process) -> None:
        """It is said to hold, besides what it has, attempts of tasks that live: of this reign or an older one, all made up."""
        living = sorted(self.world.laws.accounts.living())
        for agent in self.world.agents:
            if agent is one and living:
                some = self.chance.sample(living, min(len(living), self.chance.choice([1, 1, 2, 5])))
                agent.belie([(task, 1_000_000 + self.chance.randrange(1000)) for task in some], self.chance.random() < 0.7)

    def _will(self, one: Process) -> None:
        chance, world = self.chance, self.world
        living = sorted(world.laws.accounts.living()) or ["nothing"]
        wills: list[tuple[str, dict[str, Any]]] = [
            ("drain", {"instance": chance.choice(world.agents).name}),
            ("priority", {"task": chance.choice(living), "priority": chance.choice([-5, 0, 5])}),
            ("policy", {"ordering": chance.choice(["fifo", "priority", "sjf", "srtf", "fair", "edf"])}),
        ]
        op, args = chance.choice(wills)
        for producer in world.producers:
            if producer is one:
                producer.want(op, args)

    def heal(self) -> None:
        """The storm is over: everything is whole, and stays so."""
        world = self.world
        world.faults.raging = False
        world.journal.say(world.timeline.now_ns, "world", "heals")
        world.broker.come_back()
        world.broker.alarm(False)
        for queue in world.broker.queues.values():
            queue.shared = False
            queue.give()
        for session in world.broker.coordinators.values():
            session.deaf = False
        for process in (*world.coordinators, *world.agents, *world.producers):
            process.resume()
            self._mend(process)
            for connection in process.host.connections:
                connection.stall("ledger", False, True)
                connection.stall("ledger", False, False)
                connection.stall("inbox", False, False)
            process.start()
