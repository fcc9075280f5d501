"""One call of a handler that is not async, from bytes to bytes; and what its end means.

The same in threads and processes.
"""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from orchestrator.vocabulary import Attempt
from orchestrator.wire import codec
from orchestrator.wire.codec import CannotPack
from workers.arguments import Signature
from workers.clock import unix_ns
from workers.context import Context
from workers.core.events import (
    Checkpointed,
    JobDone,
    JobFailed,
    JobLate,
    JobStarted,
    JobStopped,
    Progressed,
)
from workers.errors import BadArguments, Fatal, Stopped
from workers.packing import packed

JobEvent: TypeAlias = JobStarted | JobLate | JobDone | JobFailed | JobStopped | Progressed | Checkpointed
"""What a job says of itself."""

Say: TypeAlias = Callable[[JobEvent], None]

_OURS = str(Path(__file__).parent)


def call(
    function: Callable[..., Any],
    signature: Signature,
    blob: bytes,
    attempt: Attempt,
    context: Context,
    allowed: Callable[[], bool],
    say: Say,
) -> JobEvent:
    """Check the arguments, ask whether it may still start, call it, and return its end (everything before is said).

    Whatever is raised becomes a word: a worker thread must live on, and somebody waits for the end.
    """
    try:
        arguments = signature.bind(blob, context.given)
        if signature.context is not None:
            arguments[signature.context] = context
        if not allowed():
            return JobLate(attempt)
        say(JobStarted(attempt, unix_ns()))
        value = function(**arguments)
        if inspect.iscoroutine(value):
            value = asyncio.run(value)  # an async handler in a process of its own
        return done(attempt, value)
    except BaseException as trouble:  # SystemExit and Stopped too: user code must not end the thread that runs it
        return ended(attempt, trouble, context)


def done(attempt: Attempt, value: Any) -> JobEvent:
    """It returned ``value``; or a failure that says why nobody can have it."""
    try:
        return JobDone(attempt, packed(value, "result"), unix_ns())
    except CannotPack as trouble:
        words = f"The handler returned what no message can carry: {trouble}. The task is not retried: it would return it again."
        return JobFailed(attempt, codec.error("bad_result", words), retry=False, at_ns=unix_ns())


def ended(attempt: Attempt, trouble: BaseException, context: Context) -> JobEvent:
    """It raised."""
    if isinstance(trouble, Stopped | asyncio.CancelledError) and context.should_stop:
        return JobStopped(attempt)
    return failed(attempt, trouble)


def failed(attempt: Attempt, trouble: BaseException) -> JobFailed:
    """A failure as people read it: the exception's name, what it says, and where in *their* code it was raised."""
    if isinstance(trouble, BadArguments):
        return JobFailed(attempt, codec.error("bad_arguments", str(trouble)), retry=False, at_ns=unix_ns())
    if isinstance(trouble, Stopped):
        words = "The handler raised Stopped without having been asked to stop (ctx.should_stop)."
        return JobFailed(attempt, codec.error("Stopped", words), at_ns=unix_ns())
    error = codec.error(type(trouble).__name__, _words(trouble), _trace(trouble))
    return JobFailed(attempt, error, retry=not isinstance(trouble, Fatal), at_ns=unix_ns())


def _words(trouble: BaseException) -> str:
    try:
        return str(trouble) or type(trouble).__name__
    except Exception as worse:  # a __str__ that raises is the user's, and must not hide that the handler failed
        return f"{type(trouble).__name__} (its text cannot be had: {type(worse).__name__})"


def _trace(trouble: BaseException) -> str:
    where = trouble.__traceback__
    while where is not None and where.tb_frame.f_code.co_filename.startswith(_OURS):
        where = where.tb_next
    try:
        return "".join(traceback.format_exception(type(trouble), trouble, where))
    except Exception as worse:  # as above
        return f"(no trace: {type(worse).__name__})"
