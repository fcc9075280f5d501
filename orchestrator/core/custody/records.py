"""What the coordinator remembers of one task: alive (``Record``) or over (``Grave``).

A record has two halves. The first is *ledger*: every reader of the log has the same. The second is *soft*: what only the
leader knows, lost with it and asked again from the agents. The two are never mixed: a rule of custody may rest on the first
alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from zlib import crc32

from msgspec import Struct
from msgspec.msgpack import Encoder
from msgspec.structs import replace

from orchestrator.core.custody.sizes import failure_bytes, task_bytes
from orchestrator.core.lifecycle import TaskState, TaskStep, task_after
from orchestrator.vocabulary import Attempt, Incarnation, Nanos, Service, TaskId, handler_of, service_of
from orchestrator.wire.facts import Carried, Checkpointed, Failure
from orchestrator.wire.messages import Error, Outcome, Result, Task

QUEUES_MAX = 8
"""So many of the reply queues that were named for a task are remembered: what a producer said in earlier sessions may be read after
what it says now, each time with another queue."""

if TYPE_CHECKING:
    from orchestrator.core.scheduler.lanes import Lane
    from orchestrator.core.scheduler.reserving import Reservation
    from orchestrator.core.tasks.families import Node


TOLD_WHOLE = 5
"""Of so many of its last attempts a task's story keeps everything, of earlier ones a line."""


NOWHERE: Mapping[Attempt, Incarnation] = MappingProxyType({})
"""Where a task lives that was given to nobody."""


class Record(Struct, eq=False):
    """A live task. A million may wait, so what most of them have not is one empty thing that all share: replaced, never changed."""

    # --- ledger
    task: Task
    accepted: int
    """Offset of its ``Accepted``; with ``index`` its place in the order of arrival."""
    index: int
    at_ns: Nanos
    offset: int
    """Offset of its last full record (``Accepted`` or ``Carried``)."""
    reply_to: str = ""
    by: str = ""
    priority: int = 0
    failures: tuple[Failure, ...] = ()
    retries: int = 0
    """Further attempts it has, as its last ``Failed`` said."""
    not_before_ns: Nanos = 0
    cancelled: bool = False
    checkpoint: bytes | None = None
    checkpoint_of: Attempt | None = None
    checkpoint_nth: int = 0
    ran_ns: Nanos = 0
    """Run time that lies behind the checkpoint, over all attempts, on the agents' clocks: what need not be done again."""
    preemptions: int = 0
    """How often it made room for a more urgent task."""
    preempted: Attempt | None = None
    """The last attempt that did: of each one counts."""
    former: tuple[str, ...] = ()
    """Other queues that were named for its result, newest first. A delivery may come back late, after the one that replaced it:
    so the result goes to all of them, and whoever does not exist any more does not mind."""
    node: Node | None = None
    """Its place among those that depend on each other, if it has parents or children."""
    id: TaskId = ""
    service: Service = ""
    """These two as its task has them."""
    # --- soft
    state: TaskState = "waiting"
    live: Mapping[Attempt, Incarnation] = NOWHERE
    """R4: every attempt that may be alive, and where. Assignable only when empty."""
    place: Lane | None = None
    """Where it waits, when it waits."""
    ticket: int = 0
    """Changes whenever it enters or leaves the backlog: an older heap entry is void."""
    assigned_ns: Nanos = 0
    started_ns: Nanos = 0
    progress: tuple[float | None, str] | None = None
    before_ns: Nanos = 0
    """Run time that lay behind the checkpoint with which the attempt under way began."""
    reserved: Reservation | None = None
    """The instance that is kept for it, if it is the first that fits nowhere."""
    bided_ns: Nanos = 0
    """Since when it would rather wait for a faster instance than start where there is room; 0: it would not, or never came to."""
    awaits: tuple[Attempt, int] | None = None
    """The checkpoint (of which attempt, its number) that must be in the ledger before the task goes on."""

    def __post_init__(self) -> None:
        self.id = self.task.id
        self.service = service_of(self.task.type)

    def __lt__(self, other: Record) -> bool:
        """Where all else is equal. It never is among tasks that we accepted, but the ledger may say otherwise."""
        return self.id < other.id

    @property
    def handler(self) -> str:
        return handler_of(self.task.type)

    @property
    def losses(self) -> int:
        """How many attempts went down with their instance while they ran."""
        return sum(failure.cause == "lost" for failure in self.failures)

    @property
    def unseen(self) -> int:
        """How many went down with their instance before they were seen to start."""
        return sum(failure.cause == "unseen" for failure in self.failures)

    @property
    def failed(self) -> int:
        """How many failed of themselves."""
        return sum(failure.cause not in ("lost", "unseen") for failure in self.failures)

    @property
    def standing(self) -> tuple[int, int, int, int]:
        """Where it stands among those with the same key, smaller first: by arrival, and within a workflow by critical path."""
        if self.node is None:
            return self.accepted, self.index, 0, self.index
        graph = self.node.graph
        return graph.accepted, graph.first, -self.node.rank_ns, self.index

    @property
    def number(self) -> int:
        """Which try comes next (or is under way), counted from 1."""
        return len(self.failures) + 1

    def size(self) -> int:
        """Bytes that it takes in the ledger, written again."""
        size = task_bytes(self.task)
        if self.failures or self.checkpoint is not None:
            size += len(self.checkpoint or b"") + sum(map(failure_bytes, self.failures))
        return size

    def carried(self) -> Carried:
        """The whole of it as a fact, as of now."""
        return Carried(
            self.task, self.accepted, self.index, self.at_ns, self.reply_to, self.by, self.priority, list(self.failures),
            self.retries, self.not_before_ns, self.cancelled, self.checkpoint, self.checkpoint_of,
            self.checkpoint_nth, self.ran_ns, self.preemptions, self.preempted, list(self.former),
        )  # fmt: skip

    def save(self, fact: Checkpointed) -> int:
        """A checkpoint: of the latest attempt the one with the highest number counts. Gives by how much the record has grown."""
        before = len(self.checkpoint or b"")
        if self.checkpoint_of is None or (self.checkpoint_of, self.checkpoint_nth) <= (fact.attempt, fact.nth):
            self.checkpoint, self.checkpoint_of = fact.state, fact.attempt
            self.checkpoint_nth, self.ran_ns = fact.nth, fact.ran_ns
        return len(self.checkpoint or b"") - before

    def make_room(self, attempt: Attempt) -> bool:
        """This attempt has; gives whether that is news. Attempts rise, so each counts once."""
        if self.preempted is not None and attempt <= self.preempted:
            return False
        self.preempted = attempt
        self.preemptions += 1
        return True

    def has_saved(self, attempt: Attempt, nth: int) -> bool:
        """Whether the ledger has the ``nth`` checkpoint of the attempt, or one that replaces it."""
        return not nth or (self.checkpoint_of is not None and (self.checkpoint_of, self.checkpoint_nth) >= (attempt, nth))

    def wait_for(self, attempt: Attempt, nth: int) -> None:
        """This attempt has stopped after its ``nth`` checkpoint: the task goes on from that one, or from a newer one that it waits
        for already (two may have been alive, and the last of them says nothing of what the other saved)."""
        if not self.has_saved(attempt, nth) and (self.awaits is None or self.awaits < (attempt, nth)):
            self.awaits = attempt, nth

    def due_ns(self, now: Nanos) -> Nanos:
        """When it may be tried again: as the ledger says, and no later than so long after now as its writer waited. His clock may
        have been hours ahead of ours.
        """
        last_ns = max((failure.at_ns for failure in self.failures), default=0)
        if last_ns <= now:
            return self.not_before_ns
        return min(self.not_before_ns, now + max(0, self.not_before_ns - last_ns))

    def answer_to(self, queue: str) -> None:
        """A producer waits there now."""
        known = (name for name in (self.reply_to, *self.former) if name and name != queue)
        self.reply_to, self.former = queue, tuple(known)[: QUEUES_MAX - 1]

    def given(self, attempt: Attempt, incarnation: Incarnation) -> None:
        """This attempt may be alive from now on, there."""
        self.live = {**self.live, attempt: incarnation}

    def assigned(self, attempt: Attempt, incarnation: Incarnation, now: Nanos) -> None:
        """It was sent there, as this attempt, which begins with the work that lies behind it."""
        self.live = {attempt: incarnation} if not self.live else {**self.live, attempt: incarnation}
        self.state = task_after(self.state, "assign")
        self.assigned_ns = now
        self.started_ns = self.bided_ns = 0
        self.before_ns = self.ran_ns
        self.progress = None

    def taken_back(self, attempt: Attempt) -> None:
        """This attempt is not alive any more."""
        if attempt in self.live:
            self.live = {one: where for one, where in self.live.items() if one != attempt} or NOWHERE

    def follow(self, step: TaskStep) -> None:
        """Go to the state that the table names for ``step``."""
        self.state = task_after(self.state, step)


class Grave(Struct, eq=False, gc=False):
    """An ended task: its id is remembered, its result while there is room (R11). Nothing in it points back (``gc=False``)."""

    outcome: Outcome
    at_ns: Nanos
    print: int
    offset: int
    result: Result | None = None
    story: tuple[Failure, ...] = ()
    workflow: str | None = None
    preemptions: int = 0
    kept_bytes: int = 0
    """What its result and its story take of the bound on such."""


class Owed(Struct, eq=False):
    """A result that nobody is known to have received (R7)."""

    result: Result
    queues: dict[str, int]
    """Where its producers wait and it has not arrived yet, with the token of the newest message that carries it there."""
    ended: int
    """Offset of the ``Ended``, or of what asked for the result again."""
    offset: int
    """Offset of the record that says to whom: it counts for ``replay_from`` until the result is answered."""
    letter: dict[str, Any] | None = None
    """For the dead letters, if it belongs there; none once it has arrived."""
    letter_token: int = 0


def unrecorded(result: Result) -> Owed:
    """A result of which the ledger says nothing: nobody owes it any more once it was posted."""
    return Owed(result, {}, 0, 0)


def letter_of(result: Result, task: Task | None, story: Sequence[Failure]) -> dict[str, Any]:
    """A dead letter: what was asked, how it ended, and every attempt on the way."""
    return {
        "task": result.task,
        "type": task.type if task else "",
        "tenant": task.tenant if task else "",
        "args": task.args if task else b"",
        "outcome": result.outcome,
        "error": {"kind": result.error.kind, "message": result.error.message} if result.error else None,
        "accepted_ns": result.accepted_ns,
        "ended_ns": result.ended_ns,
        "story": [
            {
                "attempt": list(failure.attempt),
                "cause": failure.cause,
                "instance": failure.instance,
                "at_ns": failure.at_ns,
                "error": {"kind": failure.error.kind, "message": failure.error.message, "trace": failure.error.trace},
            }
            for failure in story
        ],
    }


def shortened(failure: Failure) -> Failure:
    """The line of an old attempt: what happened, without its trace."""
    error = failure.error
    return replace(failure, error=Error(error.kind, error.message[:200]))


_canonical = Encoder(order="deterministic")


def print_of(task: Task) -> int:
    """A fingerprint of what a task asks for, to tell a repeated submission from another one under the same id."""
    return crc32(_canonical.encode(task))
