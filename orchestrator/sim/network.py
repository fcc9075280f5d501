"""Hosts, and their connections to the broker.

Law: a connection has lanes, one for each channel in the real thing. A lane keeps order and loses nothing while the connection
lives; lanes overtake each other. Each side learns of the end in its own time: what was sent before it may have arrived, a
beginning of it, or nothing. A host that is cut off hears and says nothing; what it said waits on the wire until the cut is
healed or the connection given up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Literal, TypeAlias

from orchestrator.sim.faults import Faults
from orchestrator.sim.timeline import Act, Timeline, dice
from orchestrator.vocabulary import NS_PER_MS, NS_PER_S, Ending, Nanos

Lane: TypeAlias = Literal["publish", "beats", "ledger", "consume", "inbox", "soft", "confirm"]
PUBLISHING: tuple[Lane, ...] = ("publish", "beats", "ledger")
"""What an alarm of the broker stops; settlements too, where these travel on a connection that publishes."""


@dataclass(eq=False)
class Pipe:
    """One direction of one lane."""

    under_way: deque[Act] = field(default_factory=deque)
    clear_ns: Nanos = 0
    """When the last one arrives."""
    coming: int = 0
    """Arrivals that the timeline knows of."""
    stalled: bool = False


class Host:
    """Where a party lives: what happens to its wire and to its process."""

    def __init__(self, name: str, seed: object) -> None:
        self.name = name
        self.cut = False
        self.paused = False
        self.chance = dice(seed, "wire", name)
        self.connections: list[Connection] = []

    def set_cut(self, cut: bool) -> None:
        """Cut it off, or heal the cut."""
        self.cut = cut
        for connection in list(self.connections):
            connection.cut_changed()


class Connection:
    """A session of a party with the broker."""

    def __init__(self, timeline: Timeline, faults: Faults, host: Host, lost: Callable[[str], None]) -> None:
        self.host = host
        self.here = True
        """The party believes in it."""
        self.there = True
        """The broker believes in it."""
        self.blocked = False
        self.ending: Ending = "broken"
        """How it ends, should it."""
        self.closed: Callable[[], None] = lambda: None
        """Told at the broker when it is over there; set by the broker."""
        self.stray: Callable[[Act], None] = lambda act: None
        """Given the appends that were under way at the end; set by the broker."""
        self._timeline = timeline
        self._faults = faults
        self._lost = lost
        self._up: dict[Lane, Pipe] = {}
        self._down: dict[Lane, Pipe] = {}
        self._cuts = 0
        self._stopped: tuple[Lane, ...] = (*PUBLISHING, "consume") if faults.settles_blocked else PUBLISHING
        host.connections.append(self)
        if host.cut:
            self.cut_changed()

    # --- sending --------------------------------------------------------------------------------------------------------

    def up(self, lane: Lane, act: Act) -> None:
        """The party sends something; ``act`` is done when it arrives at the broker."""
        if self.here and self.there:
            pipe = self._up.setdefault(lane, Pipe())
            pipe.stalled = pipe.stalled or (self.blocked and lane in self._stopped)
            self._send(pipe, act)

    def down(self, lane: Lane, act: Act) -> None:
        """The broker sends something; ``act`` is done when it arrives at the party."""
        if self.there and self.here:
            self._send(self._down.setdefault(lane, Pipe()), act)

    def stall(self, lane: Lane, stalled: bool, upwards: bool) -> None:
        """What goes along this lane, up to the broker or down from it, waits, or goes on."""
        pipe = (self._up if upwards else self._down).setdefault(lane, Pipe())
        pipe.stalled = stalled
        self._flow(pipe)

    def block(self, blocked: bool) -> None:
        """The broker does not read from lanes that publish, or does so again."""
        self.blocked = blocked
        for lane in self._stopped:
            if lane in self._up:
                self._up[lane].stalled = blocked
                self._flow(self._up[lane])

    def _send(self, pipe: Pipe, act: Act) -> None:
        pipe.under_way.append(act)
        self._flow(pipe)

    def _flow(self, pipe: Pipe) -> None:
        """Have everything arrive that may move."""
        while not self.host.cut and not pipe.stalled and pipe.coming < len(pipe.under_way):
            pipe.coming += 1
            pipe.clear_ns = max(pipe.clear_ns, self._timeline.now_ns + self.delay_ns())
            self._timeline.at(pipe.clear_ns, partial(self._arrive, pipe))

    def _arrive(self, pipe: Pipe) -> None:
        pipe.coming -= 1
        if self.host.cut or pipe.stalled or not pipe.under_way:
            return
        pipe.under_way.popleft()()

    def delay_ns(self) -> Nanos:
        """Time on the wire, this time."""
        chance, faults = self.host.chance, self._faults
        delay_ns = faults.delay_ns * (0.5 + chance.random())
        if faults.raging and faults.gust and chance.random() < faults.gust:
            delay_ns *= 100
        return round(delay_ns)

    # --- ends -----------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """The party closes it: everything it said arrives, then the broker knows."""
        if self.here:
            self.ending = "closed"
            self._leave()
            self._notice(0)

    def die(self, chance: Random) -> None:
        """The party's process dies: a beginning of what it said arrives; the broker knows soon, or by silence."""
        if not self.here:
            return
        self._leave()
        for lane, pipe in self._up.items():
            kept = chance.choice([chance.randint(0, len(pipe.under_way)), len(pipe.under_way)])
            self._let_stray(lane, [pipe.under_way.pop() for _ in range(len(pipe.under_way) - kept)])
        silent = chance.random() < self._faults.host_dies
        self._notice(round(NS_PER_S * chance.uniform(5, 15)) if silent else 0)

    def reset(self, chance: Random) -> None:
        """The connection dies between two healthy parties."""
        if self.there:
            self.broker_drops("the connection was reset", round(NS_PER_MS * 1000 ** chance.random()))

    def broker_drops(self, why: str, after_ns: Nanos = 0) -> None:
        """The broker gives it up; the party learns of it later."""
        if self.there:
            self._end_there()
        if self.here and not self.host.cut:
            self._timeline.after(after_ns + self.delay_ns(), partial(self.lose, why))

    def lose(self, why: str) -> None:
        """The party learns that it is over."""
        if self.here:
            self._leave()
            if self.there:
                self._notice(0)
            self._lost(why)

    def paused_for_long(self) -> None:
        """Nothing was heard from the party for several heartbeats."""
        self.broker_drops("heartbeats were missed")

    def cut_changed(self) -> None:
        """The wire is cut, or whole again."""
        self._cuts += 1
        if self.host.cut:
            until_ns = round(NS_PER_S * self.host.chance.uniform(5, 15))
            self._timeline.after(until_ns, partial(self._given_up, self._cuts, True))
            until_ns = round(NS_PER_S * self.host.chance.uniform(5, 15))
            self._timeline.after(until_ns, partial(self._given_up, self._cuts, False))
            return
        if self.here and not self.there:
            self.broker_drops("the broker knows nothing of this connection")
        elif self.there and not self.here:
            self._notice(0)
        for pipe in (*self._up.values(), *self._down.values()):
            self._flow(pipe)

    def _given_up(self, cut: int, at_broker: bool) -> None:
        if cut != self._cuts or not self.host.cut:
            return
        if at_broker:
            self._end_there()
        elif self.here:
            self._leave()
            self._lost("heartbeats were missed")

    def _leave(self) -> None:
        self.here = False
        for pipe in self._down.values():
            pipe.under_way.clear()
        self._forget()

    def _notice(self, after_ns: Nanos) -> None:
        """The broker learns that the party is gone, after what it had still said."""
        if self.host.cut:
            return  # by silence: ``_given_up`` is on its way
        clear_ns = max([self._timeline.now_ns, *(pipe.clear_ns for pipe in self._up.values())])
        self._timeline.at(clear_ns + after_ns + self.delay_ns(), self._end_there)

    def _end_there(self) -> None:
        if not self.there:
            return
        self.there = False
        for lane, pipe in self._up.items():
            self._let_stray(lane, list(reversed(pipe.under_way)))
            pipe.under_way.clear()
        self._forget()
        self.closed()

    def _forget(self) -> None:
        if not self.here and not self.there and self in self.host.connections:
            self.host.connections.remove(self)

    def _let_stray(self, lane: Lane, last_first: list[Act]) -> None:
        if lane == "ledger":
            for act in reversed(last_first):
                self.stray(act)
