"""An imagined broker and coordinator for the producer's machine: it holds the machine to its word at every step.

``World`` feeds events in, executes the commands, and knows what is true: which tasks the coordinator has, which
messages are under way. Every law of ``orchestrator.client.core`` that can be said about one step is an assertion
here; the tests say what must hold in the end.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

from orchestrator.client.alarms import GRAIN_NS
from orchestrator.client.core import Producer
from orchestrator.client.events import (
    Abandoned,
    Arrived,
    Blocked,
    Cause,
    Close,
    Command,
    Confirmed,
    Deliver,
    Ended,
    Event,
    GaveUp,
    Opened,
    Parcel,
    Problem,
    Publish,
    Published,
    Submitted,
    Tick,
    Unbound,
    Unsayable,
    Verdict,
    Withdrawn,
)
from orchestrator.client.lanes import Limits, weight
from orchestrator.shards import ALONE, Rule
from orchestrator.vocabulary import NS_PER_S, service_of
from orchestrator.wire.messages import Result, Task

SMALL = Limits(tasks=4, bytes=4 * 300, depth=2, window_bytes=3000)


def task(name: str, service: str = "a", size: int = 0) -> Task:
    return Task(id=name, type=f"{service}.work", args=b"\x80" + b"\x00" * size)


class World:
    """A producer's machine, and everything outside it."""

    def __init__(self, limits: Limits = SMALL, seed: int = 0) -> None:
        self.limits = limits
        self.machine = Producer(random.Random(seed), limits)
        self.now = 1_000 * NS_PER_S
        self.open = False
        self.alarm = False
        self.under_way: dict[int, Publish] = {}
        self.parcels: dict[str, Parcel] = {}
        self.taken: dict[str, Task] = {}
        self.confirmed: set[str] = set()
        self.gave_up: dict[str, Problem] = {}
        self.withdrawn: set[str] = set()
        self.delivered: set[str] = set()
        self.abandoned: set[str] = set()
        self.published: Counter[str] = Counter()

    # --- what a test does -------------------------------------------------------------------------------------------

    def do(self, event: Event) -> list[Command]:
        """One step of the machine, every law checked."""
        commands = self.machine.step(self.now, event)
        for command in commands:
            self._obey(command)
        self._check()
        return commands

    def opened(self, rule: Rule = ALONE) -> list[Command]:
        self._lose()
        self.open, self.alarm = True, False
        return self.do(Opened(rule))

    def ended(self, cause: Cause = Cause.AWAY, taken: Iterable[int] = ()) -> list[Command]:
        """The session breaks; of the messages under way those in ``taken`` arrived all the same."""
        for number in taken:
            self._take(self.under_way[number])
        self._lose()
        self.open = self.alarm = False
        return self.do(Ended(cause))

    def unbound(self, taken: Iterable[int] = ()) -> list[Command]:
        """Results could not find it for a while; of the messages under way those in ``taken`` arrive."""
        for number in taken:
            self._take(self.under_way[number])
        self._lose()
        return self.do(Unbound())

    def blocked(self, reason: str | None) -> list[Command]:
        self.alarm = reason is not None
        return self.do(Blocked(reason))

    def submit(self, *tasks: Task, within_s: float = 30, reply: bool = True, together: bool = False) -> list[Command]:
        by = self.now + round(within_s * NS_PER_S)
        groups = [tasks] if together else [(each,) for each in tasks]
        parcels = tuple(Parcel(group, by, reply) for group in groups)
        for parcel in parcels:
            self.parcels |= dict.fromkeys((each.id for each in parcel.tasks), parcel)
        return self.do(Submitted(parcels))

    def withdraw(self, name: str) -> list[Command]:
        return self.do(Withdrawn(name))

    def answer(self, number: int, verdict: Verdict, *, landed: bool = False) -> list[Command]:
        """The broker answers one message. ``landed``: whether a lost one arrived all the same."""
        if verdict is Verdict.CONFIRMED or (verdict is Verdict.LOST and landed):
            self._take(self.under_way[number])
        del self.under_way[number]
        if verdict is Verdict.LOST:
            self._lose()
            self.open = self.alarm = False
        return self.do(Published(number, verdict))

    def unsayable(self, number: int, *names: str) -> list[Command]:
        """The message did not leave: these tasks in it have no bytes."""
        del self.under_way[number]
        return self.do(Unsayable(number, dict.fromkeys(names, "half a character")))

    def confirm_all(self) -> None:
        while self.under_way:
            self.answer(min(self.under_way), Verdict.CONFIRMED)

    def results(self, *names: str) -> list[Command]:
        """The coordinator tells how these ended (the last message with them arrived, whatever the broker says of
        it).
        """
        for name in names:
            if name in self.parcels and any(name in _ids(each) for each in self.under_way.values()):
                for each in self.parcels[name].tasks:
                    self.taken[each.id] = each
        return self.do(Arrived([Result(name, "done") for name in names]))

    def pass_time(self, span_ns: int) -> None:
        """Time passes; the machine is told when it asked to be, never later."""
        end = self.now + span_ns
        while (at := self.machine.next_deadline()) is not None and at <= end:
            self.now = max(self.now, at)
            self.do(Tick())
        self.now = end

    def close(self) -> list[Command]:
        return self.do(Close())

    def waiting(self) -> list[str]:
        """Tasks whose submitter still waits."""
        over = self.confirmed | self.gave_up.keys() | self.withdrawn
        return [name for name in self.parcels if name not in over]

    def owed(self) -> list[str]:
        """Accepted tasks whose result somebody waits for."""
        told = self.delivered | self.abandoned
        return [name for name in self.parcels if name in self.confirmed - told and self.parcels[name].reply]

    # --- what holds -------------------------------------------------------------------------------------------------

    def _obey(self, command: Command) -> None:
        match command:
            case Publish():
                self._publish(command)
            case Confirmed(names):
                for name in names:
                    assert name in self.taken, "only what arrived is confirmed"
                    assert name in self.waiting(), "who waits is told once"
                    self.confirmed.add(name)
            case GaveUp(names, problem):
                for name in names:
                    assert name in self.waiting(), "who waits is told once"
                    if problem.cause is Cause.WITHDRAWN:
                        self.withdrawn.add(name)
                    elif problem.cause not in (Cause.CLOSED, Cause.DIVIDED, Cause.UNSAYABLE):
                        by = self.parcels[name].by_ns
                        assert by <= self.now < by + GRAIN_NS, "neither before its time nor later"
                    self.gave_up[name] = problem
                    if not problem.may_run:
                        assert name not in self.taken, "what certainly was not accepted was not"
                        assert not any(name in _ids(each) for each in self.under_way.values())
            case Deliver(results):
                for result in results:
                    assert result.task in self.confirmed, "a result comes after the confirm"
                    assert result.task in self.owed(), "and once, to whoever wants it"
                    self.delivered.add(result.task)
            case Abandoned(names):
                assert set(names) <= set(self.owed())
                self.abandoned |= set(names)

    def _publish(self, publish: Publish) -> None:
        assert self.open, "nothing is published without a session"
        assert not self.alarm, "nor into an alarm"
        names = _ids(publish)
        parcels = {id(parcel): parcel for parcel in (self.parcels[name] for name in names)}.values()
        assert names == [each.id for parcel in parcels for each in parcel.tasks], "parcels are whole, and once in a message"
        assert all(parcel.reply == publish.reply for parcel in parcels)
        services = {service_of(each.type) for each in publish.tasks}
        assert publish.key == (services.pop() if len(services) == 1 else "")
        assert len(names) <= self.limits.tasks or len(parcels) == 1
        for parcel in parcels:
            ids = {each.id for each in parcel.tasks}
            assert not ids & (self.gave_up.keys() | self.withdrawn), "what was given up is not sent"
            assert not ids <= self.delivered, "nor what is answered"
            assert parcel.reply or not ids & self.confirmed, "nor what is confirmed, if that is all that was wanted"
        for other in self.under_way.values():
            assert not set(names) & set(_ids(other)), "nothing is under way twice"
        assert sum(weight(each.tasks) for each in self.under_way.values()) < self.limits.window_bytes, "the window holds"
        same = [each for each in self.under_way.values() if (each.key, each.reply) == (publish.key, publish.reply)]
        assert len(same) < self.limits.depth
        self.under_way[publish.number] = publish
        self.published.update(names)

    def _check(self) -> None:
        assert self.machine.unconfirmed == len(self.waiting())
        assert self.machine.outstanding == len(self.waiting()) + len(self.owed())
        at = self.machine.next_deadline()
        assert at is None or at > self.now, "no tick is asked for that could be done now"

    def _take(self, publish: Publish) -> None:
        for each in publish.tasks:
            assert self.taken.setdefault(each.id, each) == each, "the same id always stands for the same content"

    def _lose(self) -> None:
        self.under_way.clear()


def _ids(publish: Publish) -> list[str]:
    return [each.id for each in publish.tasks]
