"""The unfinished attempts of an agent.

Their table, their lanes, their timeouts. (Finished ones are reports: ``outbox``.)
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

from orchestrator.vocabulary import Attempt, Nanos
from orchestrator.wire.messages import Assignment, Holding
from workers.core import lifecycle
from workers.core.lifecycle import Impossible, State
from workers.core.profile import Lane

StopCause: TypeAlias = Literal["", "order", "timeout", "drain"]

_HOLDING_BYTES = 96
"""Of one entry of ``Held`` beyond its task id: keys, attempt, state, a small grant."""
_GRANT_BYTES = 24
_DEVICE_BYTES = 160


class Job:
    """One unfinished attempt. Mutable; owned by ``Holdings``."""

    __slots__ = (
        "assignment", "attempt", "cause", "hard", "heed_by_ns", "held_bytes", "lane", "saved", "started_ns", "state", "stop_text",
        "timeout_ns",
    )  # fmt: skip

    def __init__(self, attempt: Attempt, assignment: Assignment, lane: str, timeout_ns: Nanos | None) -> None:
        self.attempt = attempt
        self.assignment = assignment
        self.lane = lane
        self.timeout_ns = timeout_ns
        self.state: State = "waiting"
        self.started_ns: Nanos = 0
        """Unix time, cargo for the report."""
        self.cause: StopCause = ""
        """Why it was first told to stop."""
        self.hard = False
        self.heed_by_ns: Nanos = 0
        """When it should long have stopped, since it was told to; 0: it was not, or that has been pointed out."""
        self.stop_text = ""
        self.saved = 0
        """How many checkpoints it has said."""
        devices = sum(map(len, assignment.devices.values())) if assignment.devices else 0
        self.held_bytes = held_bytes(assignment.task, len(assignment.grant), devices)
        """Room it takes in ``Held``, estimated from above."""

    def story(self) -> str:
        """Who it is, for the message of an error."""
        return f"task {self.assignment.task} attempt {self.attempt} handler {self.assignment.handler} {self.state}"


def held_bytes(task: str, grants: int = 0, devices: int = 0) -> int:
    """Room that an attempt takes in ``Held``, estimated from above."""
    return _HOLDING_BYTES + len(task) + _GRANT_BYTES * grants + _DEVICE_BYTES * devices


class _Queue:
    """A lane at work: who waits for it and how many places are taken."""

    __slots__ = ("busy", "places", "waiting")

    def __init__(self, places: int | None) -> None:
        self.places = places
        self.busy = 0
        self.waiting: deque[Attempt] = deque()

    @property
    def has_place(self) -> bool:
        return self.places is None or self.busy < self.places


class Holdings:
    """All unfinished attempts, in the order in which they came. Every change of state goes through ``to``."""

    def __init__(self, lanes: Iterable[Lane]) -> None:
        self.jobs: dict[Attempt, Job] = {}
        self.lanes: dict[str, _Queue] = {lane.name: _Queue(lane.places) for lane in lanes}
        self.bytes = 0
        """Room that all of them take in ``Held``."""
        self._timeouts: list[tuple[Nanos, Attempt]] = []

    def __len__(self) -> int:
        return len(self.jobs)

    def __contains__(self, attempt: object) -> bool:
        return attempt in self.jobs

    def get(self, attempt: Attempt) -> Job | None:
        """The job of an unfinished attempt, if it is here."""
        return self.jobs.get(attempt)

    def all(self) -> list[Job]:
        """A snapshot, in the order of arrival."""
        return list(self.jobs.values())

    def add(self, job: Job) -> None:
        """A new attempt waits, behind all others of its lane."""
        if job.attempt in self.jobs:
            raise Impossible(f"{job.story()} is held already")
        self.jobs[job.attempt] = job
        self.bytes += job.held_bytes
        self.lanes[job.lane].waiting.append(job.attempt)

    def to(self, job: Job, state: State) -> None:
        """The one place where an attempt changes state; lanes and the table follow."""
        old, queue = job.state, self.lanes[job.lane]
        if state not in lifecycle.STATES[old]:
            raise Impossible(f"an attempt cannot go from {old} to {state} ({job.story()})")
        job.state = state
        if old == "waiting":
            self._unqueue(queue, job.attempt)
        if state == "waiting":
            queue.waiting.appendleft(job.attempt)
            queue.busy -= 1
        elif state == "starting":
            queue.busy += 1
        elif state in ("finished", "gone"):
            if old != "waiting":
                queue.busy -= 1
            self.bytes -= job.held_bytes
            del self.jobs[job.attempt]

    @staticmethod
    def _unqueue(queue: _Queue, attempt: Attempt) -> None:
        if queue.waiting[0] == attempt:
            queue.waiting.popleft()
        else:
            queue.waiting.remove(attempt)

    def startable(self) -> Iterator[Job]:
        """Heads of the lanes that have a free place.

        The caller moves each out of ``waiting`` before it asks for the next.
        """
        for queue in self.lanes.values():
            while queue.waiting and queue.has_place:
                yield self.jobs[queue.waiting[0]]

    def holding(self, job: Job) -> Holding:
        """How a sync answer shows it."""
        state: Literal["waiting", "running"] = "waiting" if job.state == "waiting" else "running"
        item = job.assignment
        return Holding(item.task, job.attempt, state, dict(item.grant), dict(item.devices))

    def granted(self, resource: str) -> float:
        """How much of a resource started attempts use."""
        return sum(job.assignment.grant.get(resource, 0.0) for job in self.jobs.values() if job.state != "waiting")

    # --- timeouts, of runs and of stops -----------------------------------------------------------

    def time_out_at(self, job: Job, at_ns: Nanos) -> None:
        """Have ``job`` among the timed out from ``at_ns`` on."""
        if len(self._timeouts) > 2 * len(self.jobs) + 64:  # one long attempt on top would keep those of all that have ended since
            self._timeouts = [one for one in self._timeouts if one[1] in self.jobs]
            heapq.heapify(self._timeouts)
        heapq.heappush(self._timeouts, (at_ns, job.attempt))

    def next_timeout_ns(self) -> Nanos | None:
        """When the next running attempt has run for too long."""
        while self._timeouts and self._timeouts[0][1] not in self.jobs:
            heapq.heappop(self._timeouts)
        return self._timeouts[0][0] if self._timeouts else None

    def timed_out(self, now_ns: Nanos) -> Iterator[Job]:
        """Those whose time is up; each is told once."""
        while (due_ns := self.next_timeout_ns()) is not None and due_ns <= now_ns:
            job = self.jobs[heapq.heappop(self._timeouts)[1]]
            if job.state in ("running", "stopping"):
                yield job
