"""How long a decision takes: from an agent's report to the next assignment, everything that the core does in between included.

A *decision* is one task bound to one instance. A round reports finished attempts, one message an instance, in turn, as a
busy system does, and counts the assignments that follow. The ledger reads back at once; only the core's own time counts, as in a
daemon that logs what it does by default.

A *cycle* is all that the core does for one task that comes alone: taken in, read back, assigned, seen to start, reported, read
back, its result sent. *Memory* is what the process grows by: for each task that waits, as it was decoded from its submission, less
its arguments; and for each that has ended, with a small result, while its id is remembered.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections import deque
from itertools import count
from logging import INFO
from statistics import median
from time import thread_time
from typing import Any, NamedTuple

from orchestrator.core import commands as c
from orchestrator.core import events as e
from orchestrator.core.config import Config
from orchestrator.core.coordinator import Coordinator
from orchestrator.live.telemetry import Telemetry
from orchestrator.vocabulary import NS_PER_MS, NS_PER_S, Attempt
from orchestrator.wire import codec
from orchestrator.wire.messages import Announce, Handler, Held, Note, Notes, Report, Reports, Submit, Task

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
        self.machine.desk.unheard = Telemetry(None, INFO).unheard
        self.now_ns = 1_000 * NS_PER_S
        self.spent_s = self.longest_s = 0.0
        self._offsets = count()
        self._known = 0
        self.busy: dict[str, list[tuple[str, Attempt]]] = {}
        """What each instance runs."""
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
                if orders.incarnation not in self.busy:
                    self._turn.append(orders.incarnation)
                held = self.busy.setdefault(orders.incarnation, [])
                held += [(item.task, Attempt(orders.epoch, item.n)) for item in orders.assign]

    def take_in(self, tasks: int) -> None:
        """So many tasks arrive, with results that somebody waits for."""
        first, self._known = self._known, self._known + tasks
        for start in range(first, first + tasks, TAKEN_IN_AT_ONCE):
            names = range(start, min(start + TAKEN_IN_AT_ONCE, first + tasks))
            message = codec.decode(codec.encode(Submit([Task(f"t{n}", "thumbs.resize", ARGS) for n in names])))
            assert isinstance(message, Submit)
            self.step(e.Arrived(message, start, "producer"))

    def decide(self, decisions: int) -> None:
        """Agents report what they have, one after the other, and get the next."""
        counts = self.machine.desk.counts
        goal = counts["assigned"] + decisions
        while counts["assigned"] < goal and self._turn:
            name = self._turn.popleft()
            reports = [Report(task, attempt, "done", b"\x01") for task, attempt in self.busy.pop(name)]
            self.step(e.Arrived(Reports(name, reports), reports[0].attempt))


def measure(instances: int, waiting: int, rounds: int) -> dict[str, Any]:
    """One cell of the grid: medians of ``rounds``."""
    gc.collect()  # what is left of the last one
    bench = Bench(instances, waiting)
    filled = instances * SLOTS
    bench.take_in(filled)
    gc.collect()
    before = memory()
    bench.spent_s = 0.0
    bench.take_in(waiting)
    accepted_s = bench.spent_s
    began = thread_time()
    gc.collect()
    collected_s = thread_time() - began
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
        "decision_us": median(each) * 1e6, "longest_step_ms": bench.longest_s * 1e3,
        "bytes_per_waiting": grown / waiting - sys.getsizeof(ARGS), "full_gc_ms": collected_s * 1e3,
    }  # fmt: skip


def cycle_us(tasks: int = 5_000) -> float:
    """What the core does for a task that comes alone, from its submission to its result."""
    bench = Bench(10, tasks)
    each: list[float] = []
    for number in range(tasks):
        bench.spent_s = 0.0
        bench.take_in(1)
        name, [(task, attempt)] = bench.busy.popitem()
        bench.step(e.Arrived(Notes(name, [Note(task, attempt, "started")])))
        bench.step(e.Arrived(Reports(name, [Report(task, attempt, "done", b"\x01")]), number))
        each.append(bench.spent_s)
    return median(each) * 1e6


def bytes_per_ended(tasks: int = 10_000) -> float:
    """What is remembered of a task that has ended."""
    bench = Bench(10, 2 * tasks)
    bench.take_in(1_000)
    tracemalloc.start()  # exact where the process does not grow: what waited before leaves room for what is remembered
    try:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(tasks // 100):
            bench.take_in(100)
            bench.decide(100)
        gc.collect()
        return (tracemalloc.get_traced_memory()[0] - before) / tasks
    finally:
        tracemalloc.stop()


class Claim(NamedTuple):
    """What must be so."""

    what: str
    found: float
    wanted: float
    holds: bool


def claims(rows: list[dict[str, Any]]) -> list[Claim]:
    """As far as these rows say."""
    by_size = {(row["instances"], row["waiting"]): row for row in rows}
    most = max(row["bytes_per_waiting"] for row in rows)
    found = [Claim("bytes a waiting task beyond its arguments", most, 1024, most <= 1024)]
    if (row := by_size.get((1_000, 100_000))) is not None:
        rate = row["decisions_per_s"]
        found.append(Claim("decisions/s, 1,000 instances, 100,000 waiting", rate, 30_000, rate >= 30_000))
    small, large = by_size.get((100, 10_000)), by_size.get((10_000, 1_000_000))
    if small is not None and large is not None:
        ratio = large["decision_us"] / small["decision_us"]
        found.append(Claim("time of a decision, 10,000 x 1,000,000 over 100 x 10,000", ratio, 2, ratio <= 2))
    return found


def memory() -> int:
    """Bytes of this process that are resident (Linux)."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
