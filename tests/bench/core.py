"""How long a decision takes: from an agent's report to the next assignment, everything that the core does in between included.

A *decision* is one task bound to one instance. A round reports finished attempts, one message an instance, in turn, as a
busy system does, and counts the assignments that follow. The ledger reads back at once; only the core's own time counts.
"""

from __future__ import annotations

import gc
from collections import deque
from itertools import count
from statistics import median
from time import thread_time
from typing import Any

from orchestrator.core import commands as c
from orchestrator.core import events as e
from orchestrator.core.config import Config
from orchestrator.core.coordinator import Coordinator
from orchestrator.vocabulary import NS_PER_MS, NS_PER_S, Attempt
from orchestrator.wire.messages import Announce, Handler, Held, Report, Reports, Submit, Task

GRID = [(10, 1_000), (100, 10_000), (1_000, 100_000), (10_000, 100_000), (10_000, 1_000_000)]
SLOTS = 10
ROUND = 10_000
"""Decisions of a round."""
ARGS = b"x" * 50
TAKEN_IN_AT_ONCE = 1_000


class Bench:
    """A leader with instances, and a stopwatch that runs while the core decides."""

    def __init__(self, instances: int, waiting: int) -> None:
        self.machine = Coordinator("bench", Config(backlog_max=2 * waiting + 10))
        self.now_ns = 1_000 * NS_PER_S
        self.spent_s = self.longest_s = 0.0
        self._offsets = count()
        self._known = 0
        self._busy: dict[str, list[tuple[str, Attempt]]] = {}
        self._turn: deque[str] = deque()
        self.step(e.SessionOpened("n1"))
        self.step(e.TokenHeld())
        handlers = [Handler("resize")]
        for number in range(instances):
            name = f"i{number}"
            self.step(e.Arrived(Announce(name, name, "thumbs", handlers, {"slots": SLOTS, "cpu": 64})))
            self.step(e.Arrived(Held(name, 1, self.machine.desk.epoch, 1)))

    def step(self, *events: e.Event) -> None:
        """These events, and what follows from them until nothing more does."""
        todo = list(events)
        while todo:
            began = thread_time()
            commands = self.machine.step(self.now_ns, todo)
            spent_s = thread_time() - began
            self.spent_s += spent_s
            self.longest_s = max(self.longest_s, spent_s)
            self.now_ns += NS_PER_MS // 100
            todo = []
            for command in commands:
                self._answer(command, todo)

    def _answer(self, command: c.Command, todo: list[e.Event]) -> None:
        match command:
            case c.Append(entry=entry):
                todo.append(e.Read(next(self._offsets), 100 + 200 * len(entry.facts), entry))
            case c.SendResults(token=token) | c.Bury(token=token):
                todo.append(e.Sent(token))
            case c.Lead(mark=mark):
                todo.append(e.Arrived(Reports(mark), "mark"))
            case c.Send(orders=orders) if orders.assign:
                if orders.incarnation not in self._busy:
                    self._turn.append(orders.incarnation)
                held = self._busy.setdefault(orders.incarnation, [])
                held += [(item.task, Attempt(orders.epoch, item.n)) for item in orders.assign]

    def take_in(self, tasks: int) -> None:
        """So many tasks arrive, with results that somebody waits for."""
        first, self._known = self._known, self._known + tasks
        for start in range(first, first + tasks, TAKEN_IN_AT_ONCE):
            names = range(start, min(start + TAKEN_IN_AT_ONCE, first + tasks))
            self.step(e.Arrived(Submit([Task(f"t{n}", "thumbs.resize", ARGS) for n in names]), start, "producer"))

    def decide(self, decisions: int) -> None:
        """Agents report what they have, one after the other, and get the next."""
        counts = self.machine.desk.counts
        goal = counts["assigned"] + decisions
        while counts["assigned"] < goal and self._turn:
            name = self._turn.popleft()
            reports = [Report(task, attempt, "done", b"\x01") for task, attempt in self._busy.pop(name)]
            self.step(e.Arrived(Reports(name, reports), reports[0].attempt))


def measure(instances: int, waiting: int, rounds: int) -> dict[str, Any]:
    """One cell of the grid: medians of ``rounds``."""
    bench = Bench(instances, waiting)
    filled = instances * SLOTS
    bench.take_in(filled)
    gc.collect()
    before = memory()
    bench.spent_s = 0.0
    bench.take_in(waiting)
    accepted_s = bench.spent_s
    gc.collect()
    grown = memory() - before
    share = min(ROUND, waiting // (rounds + 1))
    bench.decide(share)  # warm
    each: list[float] = []
    bench.longest_s = 0.0
    for _ in range(rounds):
        bench.spent_s, done = 0.0, bench.machine.desk.counts["assigned"]
        bench.decide(share)
        each.append(bench.spent_s / (bench.machine.desk.counts["assigned"] - done))
    return {
        "instances": instances, "waiting": waiting, "accepted_per_s": waiting / accepted_s, "decisions_per_s": 1 / median(each),
        "decision_us": median(each) * 1e6, "longest_step_ms": bench.longest_s * 1e3, "bytes_per_waiting": grown / waiting,
    }  # fmt: skip


def memory() -> int:
    """Bytes of this process that are resident (Linux)."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
