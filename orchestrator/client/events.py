"""What happens to a producer, and what it then wants done: the words of the machines in ``core`` and ``questions``.

Law: frozen data only. Instants are nanoseconds on *one* monotonic clock of this process, the one that ``step`` is
told; the Unix times inside a ``Task`` are cargo.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

from msgspec import Struct

from orchestrator.shards import ALONE, Rule
from orchestrator.vocabulary import DEFAULT_SHARD, Nanos, TaskId
from orchestrator.wire.messages import Answer, Control, Result, Task


class Verdict(Enum):
    """What became of one message that was published."""

    CONFIRMED = "confirmed"
    RETURNED = "returned"
    """No queue took it."""
    NACKED = "nacked"
    """The queue is full (``reject-publish``)."""
    LOST = "lost"
    """The session ended before the broker answered: it may or may not have arrived."""


class Cause(Enum):
    """Why something was not done in time."""

    AWAY = "away"
    """There is no session with the broker."""
    NO_COORDINATOR = "no coordinator"
    """The broker is there, but the exchanges that every coordinator declares are not."""
    BLOCKED = "blocked"
    """The broker has an alarm (memory or disk) and takes no messages."""
    UNROUTED = "unrouted"
    """The message came back: no queue is bound where it should go."""
    BACKLOG_FULL = "backlog full"
    """The broker refused the message: the queue for this service has reached its limit."""
    SILENT = "silent"
    """Sent, and no answer yet."""
    DIVIDED = "divided"
    """Tasks that were submitted together belong to several shards."""
    UNSAYABLE = "unsayable"
    """There are no bytes for it. Options and arguments are judged when they are said, so this is a mistake of ours, or of who made
    a ``Call`` by other means; it costs that submission alone."""
    WITHDRAWN = "withdrawn"
    """Whoever submitted it was cancelled."""
    CLOSED = "closed"
    """This client was closed."""


class Problem(Struct, frozen=True):
    """Why a submission or question was given up."""

    cause: Cause
    detail: str
    """The broker's own words, or the shards; or empty."""
    may_run: bool
    """Whether it may have arrived all the same. False: it certainly has not."""


class Parcel(Struct, frozen=True, gc=False):
    """Tasks that travel together in one message: a single task, or a workflow with its edges."""

    tasks: tuple[Task, ...]
    by_ns: Nanos
    """The broker must have confirmed by then, else the submission is given up."""
    reply: bool = True
    """Whether the results are wanted. If not, the confirm is the end of the story."""
    weight: int = 0
    """Bytes that the tasks take in a message, at least; 0: not reckoned yet."""


# --- events ---------------------------------------------------------------------------------------------------------


class Submitted(Struct, frozen=True):
    """Somebody wants these tasks done. No id in it is outstanding here already (the shell looks that up)."""

    parcels: tuple[Parcel, ...]


class Withdrawn(Struct, frozen=True):
    """Whoever submitted this no longer waits for the confirm: forget the parcel it belongs to, unless it is
    confirmed.
    """

    task: TaskId


class Asked(Struct, frozen=True):
    """Somebody wants an answer by ``by_ns``."""

    question: Control
    by_ns: Nanos
    shard: str = DEFAULT_SHARD


class Dropped(Struct, frozen=True):
    """Whoever asked this no longer waits for the answer."""

    question: str


class Opened(Struct, frozen=True):
    """A session is ready: exchanges seen, new reply queue bound in every shard and consumed."""

    rule: Rule = ALONE
    """By which tasks find their shard from now on; those that were sent before stay in theirs."""


class Unbound(Struct, frozen=True):
    """Our reply queue had lost its binding, and has it again: what was for us meanwhile came back to the coordinator."""


class Ended(Struct, frozen=True):
    """The session is over, or could not be had. Said again whenever the reason changes."""

    cause: Cause
    detail: str = ""


class Blocked(Struct, frozen=True):
    """The broker stopped (``reason``) or resumed (``None``) taking what this connection publishes."""

    reason: str | None


class Published(Struct, frozen=True):
    """The broker's verdict on the message of that number."""

    number: int
    verdict: Verdict


class Unsayable(Struct, frozen=True):
    """The message of that number did not leave: of these tasks in it there are no bytes, for the reasons given."""

    number: int
    faults: dict[TaskId, str]


class Arrived(Struct, frozen=True):
    """Results, from the reply queue."""

    results: list[Result]


class Answered(Struct, frozen=True):
    """An answer, from the reply queue."""

    answer: Answer


class Tick(Struct, frozen=True):
    """It is ``next_deadline()``."""


class Close(Struct, frozen=True):
    """Give up everything."""


Event: TypeAlias = (
    Submitted
    | Withdrawn
    | Asked
    | Dropped
    | Opened
    | Unbound
    | Ended
    | Blocked
    | Published
    | Unsayable
    | Arrived
    | Answered
    | Tick
    | Close
)


# --- commands -------------------------------------------------------------------------------------------------------


class Publish(Struct, frozen=True):
    """Send these tasks as one ``Submit``; say ``Published(number, …)`` once the broker has answered."""

    number: int
    shard: str
    key: str
    """Routing key: the service of all of them, or empty if they are of several."""
    reply: bool
    tasks: list[Task]


class Confirmed(Struct, frozen=True):
    """These tasks are accepted."""

    tasks: list[TaskId]


class GaveUp(Struct, frozen=True):
    """These tasks were not confirmed in time, or withdrawn before, and are forgotten here."""

    tasks: list[TaskId]
    problem: Problem


class Deliver(Struct, frozen=True):
    """How these tasks ended. Said once for each task."""

    results: list[Result]


class Abandoned(Struct, frozen=True):
    """These tasks are accepted and will run; nobody here will hear how they end."""

    tasks: list[TaskId]


class Say(Struct, frozen=True):
    """Send this question; say ``Published(number, …)`` once the broker has answered."""

    number: int
    question: Control
    by_ns: Nanos
    """Nobody waits for an answer after that: let it expire."""
    shard: str = DEFAULT_SHARD


class Reply(Struct, frozen=True):
    """The answer to a question. Said once for each question that was not given up."""

    answer: Answer


class NoAnswer(Struct, frozen=True):
    """No answer came in time."""

    question: str
    problem: Problem


Command: TypeAlias = Publish | Confirmed | GaveUp | Deliver | Abandoned | Say | Reply | NoAnswer
