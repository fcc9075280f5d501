"""What can go wrong for whoever submits or asks.

Law: every message says what happened, to which task; what it means for the work; what to do. Errors about a task
carry its id, so that it can be asked about, or submitted again under the same id, which is always harmless: a task
with the same id and content is taken once.
"""

from __future__ import annotations

from typing import Any

from orchestrator.amqp.errors import made_again
from orchestrator.client.events import Cause, Problem
from orchestrator.wire.messages import Error, Result
from orchestrator.wire.values import CannotPack


class OrchestratorError(Exception):
    """The root of everything that this package raises on purpose, but for plain mistakes (``TypeError``,
    ``ValueError``). They may travel between processes (``multiprocessing``), fields and all.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return made_again, (type(self), self.args), self.__dict__


class ClientMisused(OrchestratorError):
    """Used from another event loop, from a forked process, or before it was opened."""


class ClientClosed(OrchestratorError):
    """The client was closed."""


# --- the submission did not get through -----------------------------------------------------------------------------


class SubmitTimeout(OrchestratorError):
    """The broker did not confirm the submission in time."""

    def __init__(self, message: str, task: str, problem: Problem) -> None:
        super().__init__(message)
        self.task = task
        """Id of the task, or of the first one of those that were submitted together."""
        self.cause: Cause = problem.cause
        self.may_run: bool = problem.may_run
        """False: it was certainly not accepted. True: unknown; it may have been."""


class BacklogFull(SubmitTimeout):
    """The backlog of this service has reached its limit: the broker refused the submission until the time was up."""


class ShardsDiffer(OrchestratorError, ValueError):
    """Tasks that were submitted together belong to several shards."""


# --- the task did not succeed ---------------------------------------------------------------------------------------


class TaskError(OrchestratorError):
    """The task ended, and there is no value."""

    def __init__(self, message: str, task: str, result: Result) -> None:
        super().__init__(message)
        self.task = task
        self.result = result
        """The whole end: outcome, attempts, instance, times."""
        self.error: Error | None = result.error
        if result.error is not None and result.error.trace:
            self.add_note(f"Where it was raised, on {result.instance or 'the worker'}:\n{result.error.trace}")


class TaskFailed(TaskError):
    """Every attempt that it was allowed failed."""


class TaskCancelled(TaskError):
    """Somebody cancelled it."""


class TaskExpired(TaskError):
    """It had not been started by its deadline."""


class TaskSkipped(TaskError):
    """A parent of it did not succeed, and its edge says that it is left out then."""


class TaskRefused(TaskError):
    """It was never taken: what it asks for cannot be, or its id stands for other content."""


class ValueUnreadable(TaskError):
    """It is done, but what the handler returned is not what a value may be."""


class ResultTimeout(OrchestratorError, TimeoutError):
    """The wait for a result is over; the task is not."""

    def __init__(self, message: str, task: str) -> None:
        super().__init__(message)
        self.task = task


# --- questions ------------------------------------------------------------------------------------------------------


class NoCoordinator(OrchestratorError, TimeoutError):
    """A question was not answered in time."""

    def __init__(self, message: str, problem: Problem) -> None:
        super().__init__(message)
        self.cause: Cause = problem.cause
        self.may_have_acted: bool = problem.may_run
        """False: certainly no coordinator heard the question."""


class AskRefused(OrchestratorError):
    """The coordinator answered that it cannot do what was asked."""

    def __init__(self, message: str, error: Error) -> None:
        super().__init__(message)
        self.error = error


# --- wording --------------------------------------------------------------------------------------------------------

_WHY = {
    Cause.AWAY: "there is no connection to the broker",
    Cause.NO_COORDINATOR: "no coordinator has ever run in this virtual host of the broker: its exchanges do not exist",
    Cause.BLOCKED: "the broker has an alarm and takes no messages",
    Cause.UNROUTED: "the message came back: no queue is bound where it should go",
    Cause.BACKLOG_FULL: "the backlog of this service has reached its limit and the broker refuses more",
    Cause.SILENT: "the broker has not confirmed it yet",
    Cause.DIVIDED: "its tasks belong to several shards",
    Cause.UNSAYABLE: "there are no bytes for it",
    Cause.WITHDRAWN: "whoever submitted it was cancelled",
    Cause.CLOSED: "the client was closed",
}

_DO = {
    Cause.AWAY: "Check that the broker runs and that this process can reach it.",
    Cause.NO_COORDINATOR: "Start one with `orchestrator coordinator`, or correct the virtual host (the address's path).",
    Cause.BLOCKED: "Free memory or disk on the broker (`rabbitmqctl status` names the alarm).",
    Cause.UNROUTED: "Start a coordinator: it declares the queues that are missing.",
    Cause.BACKLOG_FULL: "Submit less, or later, or run more workers (`orchestrator services` lists them).",
    Cause.SILENT: "The broker is slow or overloaded: look at its queues, or allow more time.",
    Cause.DIVIDED: "",
    Cause.UNSAYABLE: "",
    Cause.WITHDRAWN: "",
    Cause.CLOSED: "",
}


def _why(problem: Problem) -> str:
    return _WHY[problem.cause] + (f" ({problem.detail})" if problem.detail else "")


def not_submitted(task: str, task_type: str, within_s: float, problem: Problem) -> OrchestratorError | CannotPack:
    """The error for a submission that was given up."""
    if problem.may_run:
        means = (
            f"Whether it was accepted is unknown. Submitting it again with id={task!r} and the same content is safe: "
            "it is never taken twice."
        )
    else:
        means = "It was not accepted and will not run."
    if problem.cause is Cause.CLOSED:
        return ClientClosed(f"Task {task} ({task_type}) was not confirmed before the client was closed. {means}")
    if problem.cause is Cause.UNSAYABLE:
        return CannotPack(f"Task {task} ({task_type}): {_why(problem)}. {means} Submit it with other arguments or options.")
    if problem.cause is Cause.DIVIDED:
        return ShardsDiffer(
            f"Task {task} ({task_type}) was submitted together with tasks of other shards ({problem.detail}): a workflow lives in "
            "one shard. Nothing was submitted. Submit them apart, or let the rule of the shards ([shards] in the coordinators' "
            "settings) put their services, or this tenant, into one."
        )
    what = f"Task {task} ({task_type}) was not confirmed within {within_s:g} s: {_why(problem)}."
    kind = BacklogFull if problem.cause is Cause.BACKLOG_FULL else SubmitTimeout
    return kind(" ".join((what, means, _DO[problem.cause])).strip(), task, problem)


def abandoned(task: str, task_type: str) -> ClientClosed:
    """The error for whoever still waits for the result of an accepted task when the client is closed."""
    return ClientClosed(
        f"The client was closed while task {task} ({task_type}) was waiting or running. It is accepted and will run; "
        f"`orchestrator task {task}` shows how it went, and submitting it again with the same id brings its result."
    )


def not_done(task: str, task_type: str, result: Result) -> TaskError:
    """The error for a task that ended without a value."""
    name = f"Task {task} ({task_type})"
    error = result.error
    said = f"{error.kind}: {error.message}" if error is not None else "no reason was given"
    tries = "1 attempt" if result.attempts == 1 else f"{result.attempts} attempts"
    match result.outcome:
        case "cancelled":
            return TaskCancelled(f"{name} was cancelled ({said}). Nothing of it will run any more.", task, result)
        case "expired":
            return TaskExpired(
                f"{name} was not started by its deadline ({said}). It will not run. `orchestrator services` shows "
                "whether its service has instances and room; give it more time, a higher priority, or more workers.",
                task,
                result,
            )
        case "skipped":
            return TaskSkipped(f"{name} was skipped ({said}). It will not run.", task, result)
        case "refused":
            return TaskRefused(f"{name} was refused ({said}). It will not run: submit what can be done.", task, result)
        case _:
            where = f" on {result.instance}" if result.instance else ""
            return TaskFailed(
                f"{name} failed after {tries}{where} ({said}). It will not be tried again; "
                f"`orchestrator task {task}` has its story.",
                task,
                result,
            )


def not_answered(op: str, within_s: float, problem: Problem) -> OrchestratorError:
    """The error for a question without an answer."""
    if problem.cause is Cause.CLOSED:
        return ClientClosed(f"The client was closed before {op!r} was answered.")
    if problem.cause is Cause.UNROUTED:
        why, do = "none is running", "Start one with `orchestrator coordinator`, or `orchestrator up` for everything."
    elif problem.cause is Cause.SILENT:
        why = "one took the question, but it is busy, or was replaced before it could answer"
        do = "Ask again; if this persists, look at the coordinator's log."
    else:
        why, do = _why(problem), _DO[problem.cause]
    means = "Whether it was carried out is unknown." if problem.may_run else "Nothing was done."
    if problem.cause in (Cause.AWAY, Cause.NO_COORDINATOR):
        return NoCoordinator(f"Nobody could be asked within {within_s:g} s: {why}. {means} {do}", problem)
    return NoCoordinator(f"No coordinator answered {op!r} within {within_s:g} s: {why}. {means} {do}", problem)


def not_possible(op: str, error: Error) -> AskRefused:
    """The error for a question that was answered with a no."""
    return AskRefused(f"The coordinator refused {op!r}: {error.message}", error)
