"""An agent in another world: pika, msgpack and PROTOCOL.md, nothing of the orchestrator's code.

    python agent.py amqp://guest:guest@localhost/ thumbs [instance]

It offers the handlers ``echo`` and ``add``. One thread speaks with the broker; handlers run in threads of their own, so that
the beat goes on whatever they do. Ends on SIGTERM, when what runs is finished and reported. Numbers in brackets are sections
of PROTOCOL.md.
"""

from __future__ import annotations

import random
import secrets
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import msgpack
import pika
from pika.exceptions import AMQPError, NackError, UnroutableError

HANDLERS = {"echo": lambda **kwargs: kwargs, "add": lambda a, b: a + b, "sum": lambda parts: sum(filter(None, parts))}
SLOTS = 4
UNRELEASED = 10_000

Attempt = tuple[int, int]  # (epoch, n)


def arguments(one: dict[str, Any]) -> dict[str, Any]:
    """Those of the task, and what its parents left (6.4)."""
    found: dict[str, Any] = msgpack.unpackb(one["args"], timestamp=3)
    given: dict[str, Any] = {}
    for parent in one.get("parents", []):
        packed = parent.get("value")
        value = msgpack.unpackb(packed, timestamp=3) if packed is not None else None
        for into in parent.get("into", []):
            if into.endswith("[]"):
                given.setdefault(into[:-2], []).append(value)
            else:
                given[into] = value
    if twice := found.keys() & given.keys():
        raise TypeError(f"given by the task and by a parent: {', '.join(sorted(twice))}")
    return found | given


def now_ns() -> int:
    """A clock that counts suspended time and is never set (6.5)."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class WindowMissed(Exception):
    """Nobody has echoed our beats for a lease: this incarnation is over (6.5)."""


class Agent:
    """What outlives connections: reports that were not released, and the highest epoch ever obeyed."""

    def __init__(self, url: str, service: str, instance: str) -> None:
        self.url, self.service, self.instance = url, service, instance
        self.kept: dict[Attempt, dict[str, Any]] = {}
        self.highest = 0
        self.leaving = False

    def run(self) -> None:
        """One incarnation after another, until told to leave (6.6)."""
        wait_s = 0.1
        while not self.leaving or self.kept:
            life = Incarnation(self)
            try:
                return life.live()
            except (AMQPError, OSError, WindowMissed) as fault:
                print(f"{life.name} is over: {fault!r}", file=sys.stderr, flush=True)
            finally:
                life.end()
            wait_s = 0.1 if life.obeyed else min(2 * wait_s, 10.0)
            time.sleep(wait_s * random.uniform(0.5, 1))
        return None


class Incarnation:
    """One connection, from ``announce`` to its end. Unfinished work never survives it (6.6)."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.name = f"{agent.instance}-{secrets.token_hex(8)}"
        self.obeyed = self.drained = self.seq = self.lease_ns = 0
        self.sent: dict[int, int] = {}  # seq -> when, of beats that were not echoed yet
        self.window_ns = self.window_epoch = 0  # where it ends (0: never opened), and whose echo opened it
        self.waiting: dict[Attempt, dict[str, Any]] = {}
        self.running: dict[Attempt, dict[str, Any]] = {}
        self.pool = ThreadPoolExecutor(SLOTS)
        self.owed: list[Attempt] = []  # reports to be published (again)
        self.notes: list[dict[str, Any]] = []
        self.connection: Any = None

    def live(self) -> None:
        """Register (6.2), serve until the connection or the window is lost, or until all is done and we leave (6.7)."""
        parameters = pika.URLParameters(self.agent.url)
        parameters.heartbeat = 5
        parameters.client_properties = {"connection_name": f"{self.agent.instance} {self.name}"}  # whose it is (2)
        self.connection = pika.BlockingConnection(parameters)
        inbox, self.soft, self.firm = (self.connection.channel() for _ in range(3))
        self.firm.confirm_delivery()
        mine = f"orchestrator.agent.{self.name}"
        inbox.queue_declare(mine, exclusive=True)
        inbox.queue_bind(mine, "orchestrator.orders", mine)
        inbox.queue_bind(mine, "orchestrator.echo")
        inbox.basic_consume(mine, lambda _channel, _method, _properties, body: self.hear(body), auto_ack=True)
        beat_s, leave_s = 0.0, None
        while True:
            if time.monotonic() >= beat_s:
                self.beat()
                beat_s = time.monotonic() + random.uniform(0.9, 1.1)
            self.connection.process_data_events(time_limit=max(0.0, beat_s - time.monotonic()))
            self.heed_window()
            self.start()
            self.speak()
            if self.agent.leaving and not self.running:
                leave_s = leave_s or time.monotonic() + 5
                if not self.agent.kept or time.monotonic() > leave_s:
                    return self.say("leave", reason="told to end")

    def end(self) -> None:
        """Nothing of this incarnation may run when the next one registers. Threads cannot be killed, so they are awaited."""
        if self.connection is not None and self.connection.is_open:
            self.connection.close()
        self.pool.shutdown(cancel_futures=True)

    def hear(self, body: bytes) -> None:
        """Something came. The window is looked at first: when it was missed nothing is handled any more (6.5)."""
        self.heed_window()
        said = msgpack.unpackb(body)
        if said["kind"] == "echo" and said["epoch"] == self.obeyed:
            self.renew(said["heard"].get(self.name, 0))
        elif said["kind"] == "orders" and said["incarnation"] == self.name:
            self.obey(said)

    def obey(self, orders: dict[str, Any]) -> None:
        """The rules of 6.3, line by line."""
        epoch, agent = orders["epoch"], self.agent
        old = epoch == self.obeyed and orders["seq"] <= self.drained
        if orders.get("sync") and epoch >= agent.highest:
            if epoch != self.obeyed:
                self.obeyed, self.drained = epoch, 0
            agent.highest = epoch
            self.drained = max(self.drained, orders["seq"])
            self.lease_ns = orders["lease_ns"]
            if self.window_ns:
                self.window_ns = min(self.window_ns, now_ns() + self.lease_ns)
            self.announce()
            self.say("held", attempts=self.holdings())
            self.owed = list(agent.kept)
        elif orders.get("sync"):
            self.note("sync", (epoch, 0), "refused", text="epoch", epoch=agent.highest)
        if epoch != self.obeyed:
            for one in orders.get("assign", []):
                self.note(one["task"], (epoch, one["n"]), "refused", text="epoch", epoch=agent.highest)
            return
        self.drained = max(self.drained, orders["seq"])
        self.renew(orders.get("heard", 0))
        for attempt in orders.get("release", []):
            agent.kept.pop(tuple(attempt), None)
        agent.leaving = agent.leaving or orders.get("drain", False)
        for one in orders.get("assign", []):
            self.take(one, (epoch, one["n"]), "stale" if old else "draining" if agent.leaving else "")
        for stop in orders.get("stop", []):  # always answered (6.4); what runs here is short, and answers by its report
            attempt = tuple(stop["attempt"])
            if attempt in agent.kept:
                self.owed.append(attempt)
            elif attempt not in self.running:
                self.waiting.pop(attempt, None)
                self.note(stop["task"], attempt, "stopped")

    def take(self, one: dict[str, Any], attempt: Attempt, why_not: str) -> None:
        """An assignment (6.4)."""
        if attempt in self.waiting or attempt in self.running or attempt in self.agent.kept:
            return
        if why_not or len(self.agent.kept) >= UNRELEASED:
            self.note(one["task"], attempt, "refused", text=why_not or "full", epoch=self.obeyed)
        elif one["handler"] in HANDLERS:
            self.waiting[attempt] = one
        else:
            error = {"kind": "unknown_handler", "message": f"there is no handler {one['handler']!r} here"}
            self.keep(attempt, {"task": one["task"], "outcome": "failed", "error": error, "retry": False})

    def renew(self, heard: int) -> None:
        """The leader that we obey has heard our beats up to this one (6.5)."""
        if heard in self.sent:
            self.window_ns = max(self.window_ns, self.sent[heard] + self.lease_ns)
            self.window_epoch = self.obeyed
            self.sent = {seq: at_ns for seq, at_ns in self.sent.items() if seq > heard}

    def heed_window(self) -> None:
        """Was it open, and is not any more?"""
        if self.window_ns and now_ns() >= self.window_ns:
            raise WindowMissed

    def start(self) -> None:
        """Start what waits, while the window is open; hand it back when we leave."""
        for attempt, one in list(self.waiting.items()):
            if self.agent.leaving:
                self.note(one["task"], attempt, "stopped", text="draining")
            elif self.window_epoch != self.obeyed or now_ns() >= self.window_ns:
                return
            elif (one.get("deadline_ns") or 2**63) <= time.time_ns():
                self.note(one["task"], attempt, "refused", text="expired", epoch=self.obeyed)
            else:
                self.running[attempt] = one
                self.pool.submit(self.work, attempt, one)
                self.note(one["task"], attempt, "started", at_ns=time.time_ns())
            del self.waiting[attempt]

    def work(self, attempt: Attempt, one: dict[str, Any]) -> None:
        """In a thread: call the handler, hand its report to the thread that speaks."""
        report: dict[str, Any] = {"task": one["task"], "started_ns": time.time_ns()}
        try:
            value = HANDLERS[one["handler"]](**arguments(one))
            report |= {"outcome": "done", "value": msgpack.packb(value, datetime=True)}
        except Exception as fault:  # whatever a handler raises is the failure of its attempt
            kind = "bad_arguments" if isinstance(fault, TypeError) else type(fault).__name__
            report |= {"outcome": "failed", "error": {"kind": kind, "message": str(fault)[:1000]}}
            report["retry"] = kind != "bad_arguments"
        report["ended_ns"] = time.time_ns()
        with suppress(AMQPError):  # the incarnation may be over, and with it this attempt
            self.connection.add_callback_threadsafe(lambda: self.keep(attempt, report))

    def keep(self, attempt: Attempt, report: dict[str, Any]) -> None:
        """A report is kept until the coordinator releases it (6.4)."""
        self.running.pop(attempt, None)
        self.agent.kept[attempt] = report | {"attempt": attempt}
        self.owed.append(attempt)

    def say(self, kind: str, **fields: Any) -> None:
        if kind in ("beat", "held"):  # these are counted: the leader echoes their numbers
            self.seq += 1
            self.sent[self.seq] = now_ns()
            fields |= {"seq": self.seq, "epoch": self.obeyed, "drained": self.drained}
        body = msgpack.packb({"kind": kind, "incarnation": self.name, **fields})
        self.soft.basic_publish("orchestrator.agents", "registry", body)

    def note(self, task: str, attempt: Attempt, what: str, **fields: Any) -> None:
        self.notes.append({"task": task, "attempt": attempt, "what": what, **fields})

    def announce(self) -> None:
        me, handlers = self.agent, [{"name": name} for name in HANDLERS]
        self.say("announce", instance=me.instance, service=me.service, handlers=handlers, capacity={"slots": SLOTS})

    def beat(self) -> None:
        """I am alive, and this is what I have (6.2)."""
        if not self.obeyed:
            self.announce()
        have = [*self.waiting, *self.running, *self.agent.kept]
        held, load = have if len(have) <= 500 else None, min(1.0, len(self.running) / SLOTS)
        self.say("beat", held=held, load=load, draining=self.agent.leaving)

    def holdings(self) -> list[dict[str, Any]]:
        """Everything that is here, as ``held`` lists it."""
        having = {"waiting": self.waiting, "running": self.running, "finished": self.agent.kept}
        return [
            {"task": one["task"], "attempt": attempt, "state": state, "grant": one.get("grant", {})}
            for state, ones in having.items()
            for attempt, one in ones.items()
        ]

    def speak(self) -> None:
        """Reports that are owed, persistent and confirmed, once an epoch is obeyed; then notes."""
        owed, self.owed = (self.owed, []) if self.obeyed else ([], self.owed)
        for attempt in owed:
            if attempt in self.agent.kept:
                body = msgpack.packb({"kind": "reports", "incarnation": self.name, "items": [self.agent.kept[attempt]]})
                try:
                    self.firm.basic_publish("orchestrator.agents", "reports", body, PERSISTENT, mandatory=True)
                except (NackError, UnroutableError):
                    self.owed.append(attempt)  # with the next beat
        if self.notes:
            self.say("notes", items=self.notes, drained=self.drained)
            self.notes = []


PERSISTENT = pika.BasicProperties(delivery_mode=2)

if __name__ == "__main__":
    me = Agent(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else f"{sys.argv[2]}-{secrets.token_hex(2)}")
    signal.signal(signal.SIGTERM, lambda *_: setattr(me, "leaving", True))
    me.run()
