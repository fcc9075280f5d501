"""The producer's machine: what it owes its callers, and what should be published next.

Law: pure. ``step(now, event)`` returns commands; ``next_deadline()`` says when it wants a ``Tick``; time and dice are
handed in; no loop, socket or bytes. Everything that decides which task is sent when, or who is told what, lives here.

**Group commit.** One message costs the same whatever it carries, so tasks share messages, without ever waiting for
company: while one message of a *lane* (tasks of one service) is under way, what arrives meanwhile forms the next. A
message that is full has nothing to wait for and leaves at once, up to ``Limits.depth`` messages deep; a lone task
leaves at once, alone.

**What is certain.** A message that was confirmed is accepted. One whose answer was lost may or may not be, and *the*
cure is to say it again: a task with the same id and content is taken once, however often it arrives. So a new session
(which also means a new reply queue) submits every task again that is not answered: first those nobody confirmed, then
those whose result is still owed. So does a session whose reply queue had lost its binding for a while. And what is not
answered for long is said again now and then, all else being well: a broker whose nodes lost each other may have had no
queue for a result, or refused it, and this session never heard of that. A result is proof of acceptance too, and may
overtake the confirm: they travel on different connections.

**What is promised to callers.** Each task gets exactly one of ``Confirmed`` and ``GaveUp``; each confirmed one whose
results are wanted exactly one of ``Deliver`` and ``Abandoned``. Results that nobody waits for (said twice, or given
up) are counted. A queue that is full (nack), or not there (return), is tried again with growing pauses until the
caller's time is up; only then the caller hears of it, with the cause, and with whether the task may run all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from msgspec import Struct

from orchestrator.client.alarms import Alarms, Rounds, grained
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
from orchestrator.client.footing import Footing
from orchestrator.client.lanes import Divided, Held, Lane, LaneKey, Limits, Place, lane_key, weight
from orchestrator.shards import ALONE
from orchestrator.vocabulary import Nanos, TaskId, service_of
from orchestrator.wire.messages import Result, Task


class Counters(Struct):
    """What happened so far."""

    messages: int = 0
    """Published, the repeated ones included."""
    tasks: int = 0
    """In those messages."""
    again: int = 0
    """Tasks that were submitted again because a session was lost, or their results were long in coming."""
    refused: int = 0
    """Messages that the broker refused: the queue was full."""
    returned: int = 0
    """Messages that no queue took."""
    duplicates: int = 0
    """Results nobody waited for: said before, or of a submission that was given up."""


class _Flight(Struct):
    """A message under way."""

    lane: Lane
    cargo: list[Held]
    weight: int


class Producer:
    """See the essay above. Events it does not know (questions are another machine's) change nothing."""

    def __init__(self, rng: Random, limits: Limits | None = None) -> None:
        self.counters = Counters()
        self.unconfirmed = 0
        """Tasks submitted and neither confirmed nor given up."""
        self._limits = limits or Limits()
        self._rng = rng
        self._footing = Footing()
        self.rule = ALONE
        """Where tasks belong, as the last session found it."""
        self._owed: dict[TaskId, Held] = {}  # every task somebody waits for, oldest first
        self._lanes: dict[LaneKey, Lane] = {}  # those with anything pending, under way or refused
        self._flights: dict[int, _Flight] = {}
        self._flying_bytes = 0
        self._number = 0
        self._alarms = Alarms()  # when to give up whom, if not confirmed
        self._rounds = Rounds()  # when to look for what has no answer
        self._out: list[Command] = []
        self._handlers: dict[type[Any], Callable[[Nanos, Any], None]] = {
            Submitted: self._submitted,
            Withdrawn: self._withdrawn,
            Opened: self._opened,
            Unbound: self._unbound,
            Ended: self._ended,
            Blocked: self._blocked,
            Published: self._published,
            Unsayable: self._unsayable,
            Arrived: self._arrived,
            Tick: self._ignore,
            Close: self._close,
        }

    @property
    def outstanding(self) -> int:
        """Tasks whose confirm or result somebody waits for."""
        return len(self._owed)

    def shard_of(self, task: Task) -> str:
        """Where it was sent, if somebody waits for it here; else where it belongs."""
        held = self._owed.get(task.id)
        return held.key[0] if held is not None and held.key is not None else self.rule.of(service_of(task.type), task.tenant)

    def step(self, now: Nanos, event: Event) -> list[Command]:
        """Take one event in and say what to do, in that order."""
        self._handlers.get(type(event), self._ignore)(now, event)
        self._give_up_late(now)
        self._go_round(now)
        self._send(now)
        out, self._out = self._out, []
        return out

    def next_deadline(self) -> Nanos | None:
        """When a ``Tick`` is due; none if nothing waits for time to pass."""
        times = self._alarms.first()
        if self._owed:
            times.append(self._rounds.at)
        if self._footing.firm:
            times += [lane.until for lane in self._lanes.values() if lane.until and lane.parcels]
        return min(times, default=None)

    def trouble(self, key: LaneKey | None = None) -> tuple[Cause, str]:
        """Why a submission that waits now, waits; and the broker's words, if it said any."""
        general = self._footing.trouble()
        if general is not None:
            return general
        lane = self._lanes.get(key) if key is not None else None
        return (lane.refusal if lane is not None and lane.refusal else Cause.SILENT), ""

    # --- what happens -----------------------------------------------------------------------------------------------

    def _ignore(self, now: Nanos, event: Event) -> None:
        pass

    def _submitted(self, now: Nanos, event: Submitted) -> None:
        if not self._owed:
            self._rounds.begin(now)
        for parcel in event.parcels:
            held = Held(parcel, grained(parcel.by_ns), parcel.weight or weight(parcel.tasks), len(parcel.tasks))
            for task in parcel.tasks:
                if task.id in self._owed:
                    raise AssertionError(f"task {task.id} is outstanding already; the shell must not hand it in twice")
                self._owed[task.id] = held
            self.unconfirmed += len(parcel.tasks)
            self._alarms.set(held)
            if self._footing.is_open:
                self._queue(held)

    def _withdrawn(self, now: Nanos, event: Withdrawn) -> None:
        held = self._owed.get(event.task)
        if held is not None and not held.accepted:
            self._give_up(held, Cause.WITHDRAWN)

    def _opened(self, now: Nanos, event: Opened) -> None:
        """Everything unanswered is said again, to the new reply queue; first what nobody confirmed."""
        self._ground()
        self._footing.heed(event)
        self.rule = event.rule
        self._say_again()

    def _unbound(self, now: Nanos, event: Unbound) -> None:
        """As if the session were new: results came back, and nobody knows whose."""
        if self._footing.is_open:
            self._ground()
            self._say_again()

    def _say_again(self) -> None:
        waiting = dict.fromkeys(self._owed.values())
        for accepted in (False, True):
            for held in waiting:
                if held.accepted == accepted:
                    self._queue_again(held)

    def _go_round(self, now: Nanos) -> None:
        """What was accepted long ago, and has no answer, is said again: it is due, or it was lost on its way."""
        for held in self._rounds.take(now, self._owed.values()):
            if held.accepted and held.place is Place.NOWHERE and self._footing.is_open:
                self._queue_again(held)

    def _queue_again(self, held: Held) -> None:
        self.counters.again += len(held.parcel.tasks) * (held.accepted or held.doubt)
        self._queue(held)

    def _ended(self, now: Nanos, event: Ended) -> None:
        self._ground()
        self._footing.heed(event)

    def _blocked(self, now: Nanos, event: Blocked) -> None:
        self._footing.heed(event)

    def _published(self, now: Nanos, event: Published) -> None:
        if event.number not in self._flights:  # of a session that is over: what it carried was taken back then
            return
        if event.verdict is Verdict.LOST:
            self._ground()
            self._footing.stumble()
            return
        flight = self._down(event.number)
        if event.verdict is Verdict.CONFIRMED:
            flight.lane.relieve()
            self._accept(flight.cargo)
        else:
            self._refused(now, flight, event.verdict)

    def _unsayable(self, now: Nanos, event: Unsayable) -> None:
        """It never left, and cannot: those whose fault that is are given up, the others go again."""
        flight = self._down(event.number) if event.number in self._flights else None
        for name, fault in event.faults.items():
            if (held := self._owed.get(name)) is not None and not held.accepted:
                self._give_up(held, Cause.UNSAYABLE, fault)
        if flight is not None:
            flight.lane.push_back(flight.cargo)

    def _arrived(self, now: Nanos, event: Arrived) -> None:
        """A result proves that its message arrived, whatever became of the confirm."""
        owed = self._owed
        known = [owed.get(result.task) for result in event.results]
        self._accept(dict.fromkeys([held for held in known if held is not None and not held.accepted]))
        fresh: list[Result] = []
        for result in event.results:
            held = owed.pop(result.task, None)
            if held is None:
                self.counters.duplicates += 1
                continue
            fresh.append(result)
            held.left -= 1
            if held.left == 0:
                self._finish(held)
        if fresh:
            self._out.append(Deliver(fresh))

    def _close(self, now: Nanos, event: Close) -> None:
        self._ground()
        self._footing.heed(Ended(Cause.CLOSED))
        for held in dict.fromkeys(self._owed.values()):
            if not held.accepted:
                self._give_up(held)
        if self._owed:
            self._out.append(Abandoned(list(self._owed)))
            self._owed.clear()

    # --- what follows -----------------------------------------------------------------------------------------------

    def _queue(self, held: Held) -> None:
        if (key := held.key) is None:
            try:
                key = held.key = lane_key(held.parcel, self.rule)
            except Divided as fault:
                self._give_up(held, Cause.DIVIDED, str(fault))
                return
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key)
        held.key = lane.key  # one for all that stand there
        lane.push(held)

    def _accept(self, parcels: Iterable[Held]) -> None:
        """These have certainly arrived."""
        ids: list[TaskId] = []
        for held in parcels:
            if held.accepted or held.over:
                continue
            held.accepted = True
            self._alarms.drop(held)
            ids += held.ids()
            if not held.parcel.reply:
                self._drop(held)
        if ids:
            self.unconfirmed -= len(ids)
            self._out.append(Confirmed(ids))

    def _refused(self, now: Nanos, flight: _Flight, verdict: Verdict) -> None:
        """The broker did not take it: it goes back to where it was, and the lane pauses, once for all that was under way."""
        lane = flight.lane
        if verdict is Verdict.NACKED:
            lane.refusal = Cause.BACKLOG_FULL
            self.counters.refused += 1
        else:
            lane.refusal = Cause.UNROUTED
            self.counters.returned += 1
        lane.push_back(flight.cargo)
        if lane.until <= now:
            lane.pause = min(lane.pause * 2 or self._limits.pause_first_ns, self._limits.pause_most_ns)
            lane.until = now + lane.pause - self._rng.randrange(lane.pause // 4 + 1)

    def _give_up_late(self, now: Nanos) -> None:
        for held in self._alarms.due(now):
            self._give_up(held)

    def _give_up(self, held: Held, cause: Cause | None = None, detail: str = "") -> None:
        """Nobody waits for this unconfirmed parcel any more; without a ``cause`` it is what is in the way now."""
        why, detail = (cause, detail) if cause is not None else self.trouble(held.key)
        may_run = held.doubt or held.place is Place.FLYING
        self._out.append(GaveUp(held.ids(), Problem(why, detail, may_run)))
        self.unconfirmed -= len(held.parcel.tasks)
        self._alarms.drop(held)
        self._drop(held)

    def _drop(self, held: Held) -> None:
        """Nobody waits for any of this parcel."""
        for task in held.parcel.tasks:
            self._owed.pop(task.id, None)
        self._finish(held)

    def _finish(self, held: Held) -> None:
        """The story of this parcel is over."""
        held.over = True
        if held.place is Place.QUEUED and held.key is not None:
            self._lanes[held.key].discard(held)

    def _ground(self) -> None:
        """No message is under way any more, and nothing is queued: a session begins with a clean table."""
        for flight in self._flights.values():
            for held in flight.cargo:
                held.doubt = True
        self._flights.clear()
        self._flying_bytes = 0
        for held in self._owed.values():
            held.place = Place.NOWHERE
        self._lanes.clear()

    def _down(self, number: int) -> _Flight:
        """This message is not under way any more."""
        flight = self._flights.pop(number)
        flight.lane.flights -= 1
        self._flying_bytes -= flight.weight
        self._land(flight.cargo)
        return flight

    def _land(self, cargo: Iterable[Held]) -> None:
        for held in cargo:
            held.place = Place.NOWHERE

    # --- what leaves ------------------------------------------------------------------------------------------------

    def _send(self, now: Nanos) -> None:
        """Publish whatever may leave now, the lanes taking turns."""
        moved = self._footing.firm
        while moved:
            moved = False
            for key in list(self._lanes):
                lane = self._lanes[key]
                if lane.may_leave(now, self._limits) and self._flying_bytes < self._limits.window_bytes:
                    self._depart(lane)
                    self._lanes[key] = self._lanes.pop(key)  # to the end of the line of lanes
                    moved = True
                elif not lane.parcels and not lane.flights:
                    del self._lanes[key]

    def _depart(self, lane: Lane) -> None:
        cargo = lane.take(self._limits)
        tasks = [task for held in cargo for task in held.parcel.tasks]
        size = sum(held.weight for held in cargo)
        self._number += 1
        lane.flights += 1
        self._flying_bytes += size
        self._flights[self._number] = _Flight(lane, cargo, size)
        self.counters.messages += 1
        self.counters.tasks += len(tasks)
        self._out.append(Publish(self._number, *lane.key, tasks))
