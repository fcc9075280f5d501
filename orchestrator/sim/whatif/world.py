"""Time, and who hears whom when: everything of one moment is heard before time goes on.

Law: within a moment machines speak first, then the coordinator, until nobody has anything to say; so a decision knows of everything
that has come or ended by then. With a ``delay`` every word takes that long, and with it each step of a conversation is a moment
later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from math import exp
from typing import TypeAlias

from orchestrator.core import events as e
from orchestrator.sim.timeline import Act, Alarm, Timeline, dice
from orchestrator.sim.whatif.books import Books
from orchestrator.sim.whatif.fleet import Fleet
from orchestrator.sim.whatif.idling import Idling
from orchestrator.sim.whatif.leader import Leader
from orchestrator.sim.whatif.machines import Machine
from orchestrator.sim.whatif.passing import Passing
from orchestrator.sim.whatif.question import FOREVER_NS, PATIENT, Question
from orchestrator.traces import BadTrace, Trace, TraceTask
from orchestrator.vocabulary import NS_PER_S, Nanos, handler_of, ns, service_of
from orchestrator.wire.messages import MOST_TASKS, AnyMessage, Edge, Handler, Orders, Submit, Task
from workers.core import Lane, Profile
from workers.core import events as we

BIRTH_NS = 1_000_000 * NS_PER_S
"""Where time begins: clocks of the cores are never near zero."""
Part: TypeAlias = tuple[str, str]
"""What is submitted together: tasks of a service, or a workflow."""
AT_ONCE_MAX = 10_000
"""Steps within one moment before somebody must be talking in circles."""


class World:
    """One question, asked of one trace on one fleet."""

    def __init__(self, trace: Trace, fleet: Fleet, question: Question) -> None:
        self.fleet = fleet
        self.question = question
        self.limits = PATIENT
        self.failures = dice(question.seed, "failures")
        self.timeline = Timeline(BIRTH_NS)
        self.now_ns: Nanos = BIRTH_NS
        self.start_ns: Nanos = BIRTH_NS
        """Where the trace begins, once everybody is there."""
        self.horizon_ns: Nanos = BIRTH_NS + FOREVER_NS // 2
        """What is due later than this is not going to happen."""
        self.books = Books(trace)
        self.leader = Leader(self)
        self.passing = Passing(self)
        self.idling = Idling(self)
        self.restless: list[Machine] = []
        """Machines that have something to hear in this moment."""
        self.there: dict[str, Machine] = {}
        """By incarnation."""
        self.all_came = False
        self._blur = dice(question.seed, "estimates")
        self._delay_ns = question.delay_ns
        self._arrivals = _arrivals(trace, self._task)
        self.machines = [Machine(self, profile, speed) for profile, speed in _profiles(trace, fleet)]

    @property
    def trace_ns(self) -> Nanos:
        """Now, on the trace's clock."""
        return self.now_ns - self.start_ns

    # --- time -------------------------------------------------------------------------------------------------------------

    def run(self, watch: Callable[[int], None] | None = None) -> Books:
        """To the end of the last task. ``watch`` is told now and then how many are still to end.

        Raises AssertionError if time stands still before: nothing could ever end what is left.
        """
        self._gather()
        self._arrive()
        books, timeline = self.books, self.timeline
        live = self.leader.machine.desk.custody.live
        steps = 0
        while books.unfinished and (next_ns := timeline.next_ns()) is not None:
            books.present_ns += len(live) * (next_ns - self.now_ns)
            if self.idling.seen:
                books.idle_ns += next_ns - self.now_ns
            self.now_ns = next_ns
            while timeline.next_ns() == next_ns:
                timeline.go_on()
            self._rest()
            self.idling.look()
            steps += 1
            if watch is not None and not steps % 4096:
                watch(books.unfinished)
        if books.unfinished:
            raise AssertionError(f"time stands still and {books.unfinished} tasks have not ended")
        books.end_ns = self.trace_ns
        return books

    def _gather(self) -> None:
        """Before the trace begins: the coordinator leads, all machines are ready."""
        self._rest()
        for machine in self.machines:
            machine.boot()
        self._rest()
        pools = self.leader.machine.desk.registry.pools
        while sum(pool.open for pool in pools.values()) < len(self.machines):
            next_ns = self.timeline.next_ns()
            assert next_ns is not None, "not all machines became ready"
            self.now_ns = next_ns
            self.timeline.go_on()
            self._rest()
        self.start_ns = self.now_ns

    def _rest(self) -> None:
        """Let everybody hear and answer until nobody has anything more to say in this moment."""
        leader, rounds = self.leader, 0
        while True:
            while self.restless:
                restless, self.restless = self.restless, []
                for machine in restless:
                    machine.step()
            if not (leader.inbox or leader.submitted):
                leader.sleep()
                return
            leader.step()
            rounds += 1
            assert rounds < AT_ONCE_MAX, f"at {self.trace_ns / NS_PER_S} s they talk in circles"

    def later(self, span_ns: Nanos, act: Act) -> Alarm:
        """Have this done in ``span_ns``."""
        return self.timeline.after(span_ns, act)

    # --- words ------------------------------------------------------------------------------------------------------------

    def to_leader(self, message: AnyMessage) -> None:
        """A message to the coordinator. Nothing is delivered twice here, so nothing has a handle to settle."""
        self._say(e.Arrived(message))

    def submit(self, submission: Submit) -> None:
        """A submission to the coordinator."""
        event = e.Arrived(submission)
        if self._delay_ns:
            self.timeline.after(self._delay_ns, partial(self.leader.submit, event))
        else:
            self.leader.submit(event)

    def to_machine(self, incarnation: str, orders: Orders) -> None:
        """Orders to a machine; if it is gone they go nowhere, and the coordinator is about to hear of it."""
        machine = self.there.get(incarnation)
        if machine is None:
            return
        if self._delay_ns:
            self.timeline.after(self._delay_ns, partial(machine.hear, incarnation, orders))
        else:
            machine.hear(incarnation, orders)

    def answer(self, machine: Machine, incarnation: str, event: we.Event) -> None:
        """The broker's confirmation."""
        if self._delay_ns:
            self.timeline.after(self._delay_ns, partial(machine.flushed, incarnation, event))
        else:
            machine.flushed(incarnation, event)

    def machine_there(self, machine: Machine) -> None:
        """A new incarnation has its queue."""
        self.there[machine.incarnation] = machine

    def machine_gone(self, machine: Machine) -> None:
        """The queue of an incarnation is deleted, and the broker says so."""
        del self.there[machine.incarnation]
        self._say(e.QueueDeleted(machine.incarnation))

    def _say(self, event: e.Event) -> None:
        if self._delay_ns:
            self.timeline.after(self._delay_ns, partial(self.leader.hear, event))
        else:
            self.leader.hear(event)

    # --- arrivals ---------------------------------------------------------------------------------------------------------

    def _arrive(self) -> None:
        """The next submission comes at its time, and asks for the one after it."""
        first = next(self._arrivals, None)
        if first is None:
            self.all_came = True
            return
        at_ns, submission = first
        self.timeline.at(self.start_ns + at_ns, partial(self._submit, submission))

    def _submit(self, submission: Submit) -> None:
        self.submit(submission)
        self._arrive()

    def _task(self, task: TraceTask) -> Task:
        """As its producer would submit it."""
        estimate_s = self.question.told(task)
        if estimate_s is not None and self.question.estimate_error:
            estimate_s *= exp(self.question.estimate_error * self._blur.gauss(0.0, 1.0))
        deadline_ns = None if task.deadline_s is None else self.start_ns + ns(task.deadline_s)
        return Task(
            task.id,
            task.type,
            need=dict(task.need),
            priority=task.priority,
            tenant=task.tenant,
            deadline_ns=deadline_ns,
            size=task.size,
            after=tuple(Edge(parent) for parent in task.after),
            estimate_ns=None if estimate_s is None else ns(estimate_s),
        )


def _arrivals(trace: Trace, submitted: Callable[[TraceTask], Task]) -> Iterator[tuple[Nanos, Submit]]:
    """Who comes when. A workflow is one submission, as it must be; so are other tasks of one moment and service.

    Raises BadTrace for a task that comes at another time than the one it comes after.
    """
    for at_s, together in groupby(trace.tasks, key=lambda task: task.submit_s):
        parts: dict[Part, list[TraceTask]] = {}
        part_of: dict[str, Part] = {}
        for task in together:
            name = ("", task.workflow) if task.workflow else (service_of(task.type), "")
            for parent in task.after:
                if parent not in part_of:
                    raise BadTrace(f"the task {task.id!r} comes at {at_s:g} s, the task {parent!r} that it comes after does not: "
                                   "what belongs together is submitted together", trace.name)  # fmt: skip
                name = _joined(parts, part_of, name, part_of[parent])
            part_of[task.id] = name
            parts.setdefault(name, []).append(task)
        for tasks in parts.values():
            for first in range(0, len(tasks), MOST_TASKS):
                yield ns(at_s), Submit([submitted(task) for task in tasks[first : first + MOST_TASKS]])


def _joined(parts: dict[Part, list[TraceTask]], part_of: dict[str, Part], one: Part, other: Part) -> Part:
    """Two parts of a moment that turn out to belong together are one."""
    if one != other and one in parts:
        for task in parts.pop(one):
            part_of[task.id] = other
            parts[other].append(task)
    return other


def _profiles(trace: Trace, fleet: Fleet) -> Iterator[tuple[Profile, float]]:
    """The machines, service by service, each with every handler that the trace needs of it."""
    services: dict[str, dict[str, None]] = {}
    for task in trace.tasks:
        services.setdefault(service_of(task.type), {})[handler_of(task.type)] = None
    for service, handlers in services.items():
        announced = tuple(Handler(name, preemptible=True) for name in handlers)
        for number in range(fleet.instances):
            name = f"{service}-{number}"
            yield Profile(name, service, fleet.offered, announced, lanes=(Lane("all", fleet.places),)), fleet.speed(number)
