"""The coordinator's core under siege: no broker, no loop; honest agents and producers among any number of hostile messages.

What comes is bytes, as in the live session: decoded, or ``Garbled``. The imagined broker routes by queue: orders for an incarnation
that has none come back. Honest agents answer syncs, run what they are given in the same instant and report it.
"""

from __future__ import annotations

from collections import Counter
from itertools import count
from random import Random
from typing import Literal

from orchestrator.core import commands as c
from orchestrator.core import events as e
from orchestrator.core.config import Config
from orchestrator.core.coordinator import Coordinator
from orchestrator.live.session import QUESTIONS, REPORTS, SOFT_WORDS, SUBMISSIONS
from orchestrator.vocabulary import NS_PER_MS, NS_PER_S, Attempt
from orchestrator.wire.codec import Malformed, decode
from orchestrator.wire.facts import Entry
from orchestrator.wire.messages import (
    Announce,
    AnyMessage,
    Beat,
    Handler,
    Held,
    Holding,
    Leave,
    Note,
    Notes,
    Orders,
    Report,
    Reports,
    Result,
    Submit,
    Task,
)
from tests.core.tail import Tail
from tests.hostile.corpus import Corpus, Known, Place

WHERE: dict[Place, str] = {"intake": "thumbs", "reports": "reports", "registry": "registry", "control": "control"}
"""Routing keys of what coordinators read."""
HEARS: dict[Place, frozenset[str]] = {
    "intake": SUBMISSIONS, "reports": REPORTS, "registry": SOFT_WORDS, "control": QUESTIONS
}  # fmt: skip
DURABLE = ("intake", "reports", "control")
AGENT_USER, ROGUE_USER = "agents", "rogue"


class Siege:
    """One coordinator that leads, ``agents`` honest instances of ``thumbs``, and a corpus."""

    def __init__(self, seed: int, *, agents: int = 2, config: Config | None = None, rogue: str = ROGUE_USER) -> None:
        self.machine = Coordinator("c1", config or Config(), Random(seed))
        self.now_ns = 1_000 * NS_PER_S
        self.follower: Coordinator | None = None
        """Reads the same ledger, and hears agents, from when it is set."""
        self.rogue = rogue
        """As whom the hostile publish; the name of the honest agents' user: as one of theirs."""
        self.corpus = Corpus(seed, Known("thumbs", "resize"))
        self.said: Counter[str] = Counter()
        """Lines that would be logged, by word."""
        self.settled: set[object] = set()
        self.handed = 0
        self.results: dict[str, Result] = {}
        self.buried = 0
        self.opened: list[str] = []
        self.silent = False
        """Honest agents keep to themselves how attempts ended."""
        self._offsets, self._numbers, self._tasks, self._tail = count(), count(1), count(1), Tail()
        self._agents = {f"honest-{number}.{number:032x}": 0 for number in range(agents)}
        self._seq: Counter[str] = Counter()
        self._task_of: dict[Attempt, str] = {}
        self._held: dict[str, list[Attempt]] = {name: [] for name in self._agents}
        self.step(e.SessionOpened("n1"), e.TokenHeld())
        for name in list(self._agents):
            self.settle_in(name)
        for _ in range(
            8
        ):  # longer than a lease: until then who obeys an epoch that we never told him makes a first reign claim anew
            self.beat()
        self.corpus.known.incarnations = tuple(self._agents)
        self.corpus.known.epoch = self.machine.desk.epoch

    # --- what happens ------------------------------------------------------------------------------------------------

    def settle_in(self, name: str) -> None:
        """An honest agent comes, with a queue of its own."""
        self._agents.setdefault(name, 0)
        self._held.setdefault(name, [])
        self.step(self._soft(self._announce(name)))

    def follow(self) -> Coordinator:
        """Somebody who follows is there from now on; it never leads."""
        self.follower = Coordinator("c2", self.machine.desk.config, Random(0))
        self.follower.step(self.now_ns, [e.SessionOpened("n2")])
        for name in list(self._agents):
            self.settle_in(name)
        return self.follower

    def come_and_go(self, name: str, service: str = "thumbs") -> None:
        """An instance announces itself, joins and says goodbye."""
        self._agents[name], self._held[name] = 0, []
        self.step(self._soft(Announce(name.partition(".")[0], name, service, [Handler("resize")], {"slots": 1})))
        self.step(self._soft(Leave(name, "bye")))
        del self._agents[name], self._held[name]

    def read(self, entry: Entry) -> None:
        """Somebody wrote this into the ledger."""
        self.step(e.Read(next(self._offsets), 500, entry))

    def blows(self, place: Place, number: int, *, large: bool = False) -> None:
        """So many hostile messages for one place, in one turn of the loop."""
        events: list[e.Event] = []
        for _ in range(number):
            body = self.corpus.blow(place, large=large).body
            handle = None
            if place in DURABLE:
                self.handed += 1
                handle = ("hostile", self.handed)
            events.append(arrival(body, place, handle, self.rogue))
        self.step(*events)

    def honest(self, number: int) -> list[str]:
        """So many tasks of an honest producer, in one message."""
        names = [f"good-{next(self._tasks)}" for _ in range(number)]
        self.corpus.known.tasks = names
        submit = Submit([Task(name, "thumbs.resize") for name in names])
        self.step(e.Arrived(submit, ("honest", next(self._numbers)), "replies", "producers"))
        return names

    def beat(self) -> None:
        """A second passes; honest agents beat."""
        self.now_ns += NS_PER_S
        beats: list[e.Event] = []
        for name, drained in self._agents.items():
            self._seq[name] += 1
            beats.append(self._soft(Beat(name, self._seq[name], self.machine.desk.epoch, drained, list(self._held[name]))))
        self.step(*beats)

    def step(self, *events: e.Event) -> None:
        """One turn, and all that follows from it at this instant."""
        todo = self._tail(events)
        for _ in range(10_000):
            if self.follower is not None:
                heard = [
                    event for event in todo if isinstance(event, e.Read) or (isinstance(event, e.Arrived) and not event.handle)
                ]
                said = self.follower.step(self.now_ns, heard)
                assert all(type(one) is c.Noted for one in said), "it leads"
            commands = self.machine.step(self.now_ns, todo)
            todo = self._tail(event for command in commands for event in self._answer(command))
            deadline = self.machine.next_deadline()
            if not todo and (deadline is None or deadline > self.now_ns):
                self.now_ns += NS_PER_MS
                return
        raise AssertionError("it does not come to rest")

    # --- the world ---------------------------------------------------------------------------------------------------

    def _answer(self, command: c.Command) -> list[e.Event]:
        match command:
            case c.Append(entry=entry):
                return [e.Read(next(self._offsets), 100 + 200 * len(entry.facts), entry)]
            case c.Settle(handles=handles):
                assert self.settled.isdisjoint(handles), "settled twice"
                self.settled.update(handles)
            case c.SendResults(token=token, results=results, reply_to=reply_to):
                if reply_to == "replies":
                    self.results |= {one.task: one for one in results}
                return [e.Sent(token, unroutable=reply_to != "replies")]
            case c.Bury(token=token):
                self.buried += 1
                return [e.Sent(token)]
            case c.Lead(mark=mark):
                return [e.Arrived(Reports(mark), ("mark", mark), "", "coordinator")]
            case c.OpenIntake(service=service):
                self.opened.append(service)
            case c.Send(orders=orders):
                return self._ordered(orders)
            case c.Noted(what=what):
                self.said[what] += 1
        return []

    def _ordered(self, orders: Orders) -> list[e.Event]:
        name = orders.incarnation
        if name not in self._agents:
            return [e.Returned(name, orders.epoch, orders.seq)]
        self._agents[name] = max(orders.seq, self._agents[name])
        held = self._held[name]
        for released in orders.release:
            if released in held:
                held.remove(released)
        answers: list[e.Event] = []
        attempts = [(item.task, Attempt(orders.epoch, item.n)) for item in orders.assign]
        held += [attempt for _, attempt in attempts]
        self._task_of |= {attempt: task for task, attempt in attempts}
        if attempts and not self.silent:
            reports = [Report(task, attempt, "done", b"\x01", started_ns=5, ended_ns=6) for task, attempt in attempts]
            answers.append(self._soft(Notes(name, [Note(task, attempt, "started") for task, attempt in attempts], orders.seq)))
            answers.append(e.Arrived(Reports(name, reports), ("report", next(self._numbers)), "", AGENT_USER))
        if orders.stop:
            gone = [Note(stop.task, stop.attempt, "stopped") for stop in orders.stop if stop.attempt not in held]
            answers.append(self._soft(Notes(name, gone, orders.seq)))
        if orders.sync:
            self._seq[name] += 1
            answers.append(self._soft(self._announce(name)))
            finished = [Holding(self._task_of[attempt], attempt, "finished") for attempt in held]
            answers.append(self._soft(Held(name, self._seq[name], orders.epoch, self._agents[name], finished)))
        return answers

    def _soft(self, message: AnyMessage) -> e.Arrived:
        return e.Arrived(message, None, "", AGENT_USER)

    def _announce(self, name: str) -> Announce:
        return Announce(name.partition(".")[0], name, "thumbs", [Handler("resize")], {"slots": 50})


def arrival(body: bytes, place: Place, handle: object, user: str) -> e.Event:
    """As ``live.session`` makes an event of a delivery."""
    message = decode(body, hears=HEARS[place])
    if isinstance(message, Malformed):
        what: Literal["malformed", "misplaced"] = "misplaced" if message.reason == "misplaced" else "malformed"
        return e.Garbled(WHERE[place], str(message), message.sample, handle, "nobody", message.tasks, user, message.digest, what)
    return e.Arrived(message, handle, "nobody", user)
