"""A shop floor for the coordinator's core: a ledger that reads everything back at once, agents that run what they are given for as
long as the test says, and time that jumps from one end to the next."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from orchestrator.core import commands as c
from orchestrator.core import events as e
from orchestrator.core.config import Config
from orchestrator.core.coordinator import Coordinator
from orchestrator.policies import BUILT_IN, Catalogue
from orchestrator.vocabulary import NS_PER_S, Attempt, Nanos
from orchestrator.wire.messages import Announce, Answer, Beat, Control, Handler, Held, Report, Reports, Submit, Task

BEAT_NS = NS_PER_S


class Floor:
    """One coordinator that leads, instances, and what they run."""

    def __init__(
        self, run_s: Callable[[Task, str], float], catalogue: Catalogue = BUILT_IN, config: Config | None = None, **policies: str
    ) -> None:
        self.run_s = run_s
        self.machine = Coordinator("c1", config, policies=policies, catalogue=catalogue)
        self.now_ns: Nanos = 1_000 * NS_PER_S
        self.offsets = count()
        self.tasks: dict[str, Task] = {}
        self.started: list[tuple[str, str, Nanos]] = []
        """Task, instance, when: in the order of assignment."""
        self.noted: list[c.Noted] = []
        self.answers: list[Answer] = []
        self.instances: dict[str, int] = {}
        self._ends: list[tuple[Nanos, int, str, Report]] = []
        self._number = count()
        self.step(e.SessionOpened("n1"))
        self.step(e.TokenHeld())

    def instance(self, name: str, service: str = "s", handlers: tuple[str, ...] = ("h",), **capacity: float) -> None:
        """It joins, and is ready."""
        self.step(e.Arrived(Announce(name, name, service, [Handler(one) for one in handlers], dict(capacity))))
        self.instances[name] = 1
        self.step(e.Arrived(Held(name, 1, self.machine.desk.epoch, 1)))

    def submit(self, *tasks: Task) -> None:
        self.tasks |= {task.id: task for task in tasks}
        self.step(e.Arrived(Submit(list(tasks)), ("submit", next(self._number)), "p"))

    def ask(self, op: str, **args: object) -> Answer:
        self.step(e.Arrived(Control("q", op, dict(args)), ("ask", next(self._number)), "o"))
        return self.answers[-1]

    def run(self, until_s: float = 1e9) -> None:
        """Until nothing runs, or so many seconds after the start."""
        end_ns = 1_000 * NS_PER_S + round(until_s * NS_PER_S)
        while self._ends and self._ends[0][0] <= end_ns:
            self._go_to(self._ends[0][0])
            reports: dict[str, list[Report]] = {}
            while self._ends and self._ends[0][0] <= self.now_ns:
                _, _, name, report = heappop(self._ends)
                reports.setdefault(name, []).append(report)
            for name, items in reports.items():
                self.step(e.Arrived(Reports(name, items), ("report", next(self._number))))

    def _go_to(self, when_ns: Nanos) -> None:
        """Time passes; agents beat meanwhile."""
        while self.now_ns < when_ns:
            self.now_ns = min(when_ns, self.now_ns + BEAT_NS)
            for name in self.instances:
                self.instances[name] += 1
                seq = self.instances[name]
                self.step(e.Arrived(Beat(name, seq, self.machine.desk.epoch, self.machine.desk.registry.instances[name].sent)))

    def step(self, *events: e.Event) -> None:
        todo = list(events)
        while todo:
            commands = self.machine.step(self.now_ns, todo)
            todo = [event for command in commands for event in self._answer(command)]
            if not todo and self.machine.desk.renewing:
                todo = [e.TimePassed()]

    def _answer(self, command: c.Command) -> list[e.Event]:
        match command:
            case c.Append(entry=entry):
                return [e.Read(next(self.offsets), 100 + 200 * len(entry.facts), entry)]
            case c.SendResults(token=token) | c.Bury(token=token):
                return [e.Sent(token)]
            case c.Lead(mark=mark):
                return [e.Arrived(Reports(mark), "mark")]
            case c.Reply(answer=answer):
                self.answers.append(answer)
            case c.Noted():
                self.noted.append(command)
            case c.Send(orders=orders):
                for item in orders.assign:
                    name = orders.incarnation
                    self.started.append((item.task, name, self.now_ns))
                    end_ns = self.now_ns + round(self.run_s(self.tasks[item.task], name) * NS_PER_S)
                    attempt = Attempt(orders.epoch, item.n)
                    report = Report(item.task, attempt, "done", b"\x01", started_ns=self.now_ns, ended_ns=end_ns)
                    heappush(self._ends, (end_ns, next(self._number), name, report))
        return []
