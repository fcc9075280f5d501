"""What an agent wants done. A command is a promise: the shell must answer it with the event named in its docstring."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from orchestrator.vocabulary import Attempt, Nanos
from orchestrator.wire.messages import Announce, Assignment, Beat, Held, Leave, Notes, Reports


class _Command(Struct, frozen=True):
    pass


class Connect(_Command, frozen=True):
    """Open a connection. Answer: ``Connected`` with a new incarnation, or ``Disconnected``."""


class CloseConnection(_Command, frozen=True):
    """Close the connection, or give up opening it. Answer: ``Disconnected``."""

    reason: str


class StartJob(_Command, frozen=True):
    """Call the handler, unless ``Agent.permit`` has run out by then.

    Answer: ``JobStarted`` then one of ``JobDone``, ``JobFailed``, ``JobStopped``; or at once ``JobFailed`` or
    ``JobLate``.
    """

    attempt: Attempt
    assignment: Assignment
    timeout_ns: Nanos | None = None
    """The effective one (the agent enforces it; the handler may want to know)."""


class StopJob(_Command, frozen=True):
    """Stop a started job. Soft: ask the handler for a checkpoint and to return. Hard: cancel, kill; what cannot
    be killed is told.

    Answer, when nothing of it runs: ``JobStopped``, or ``JobDone`` / ``JobFailed`` when it came to its own end first.
    """

    attempt: Attempt
    hard: bool
    reason: str = ""


class Publish(_Command, frozen=True):
    """Send. ``durable``: persistent, confirmed, to ``reports``; else to ``registry``, and nobody minds its loss.

    Answer: ``Flushed`` with the token, if that is not 0, unless the connection is lost first.
    """

    message: Announce | Beat | Held | Notes | Leave | Reports
    durable: bool = False
    token: int = 0


class Finish(_Command, frozen=True):
    """The agent is over; the last command. Unfinished jobs end with the process."""

    reason: str


Word: TypeAlias = Literal[
    "joined",  # number: the epoch that is obeyed from now on
    "epoch_refused",  # number: the lower epoch that asked
    "window_missed",  # number: unfinished attempts that are stopped
    "unanswered",
    "cut_off",  # number: unfinished attempts that are stopped; text: why
    "still_stopping",  # number: handlers that were told to stop and keep the agent from coming back
    "no_work",  # text: why, as the coordinator says
    "draining",  # number: attempts that may still finish; text: why
    "grace_over",  # number: attempts that are stopped
    "full",  # an assignment was refused: too many unreleased reports
    "expired",  # an assignment came too late to start
    "timed_out",  # text: task and handler
    "unheeding",  # text: task and handler
    "unknown_handler",  # text: task and handler
    "reports_unsent",  # number: reports in a publish that failed and is made again
    "reports_left",  # number: reports not released when the agent ended
]


class Told(_Command, frozen=True):
    """A decision, for people: the shell's log catalogue has the sentence. Changes nothing."""

    word: Word
    number: int = 0
    text: str = ""
    attempt: Attempt | None = None


Command: TypeAlias = Connect | CloseConnection | StartJob | StopJob | Publish | Finish | Told
