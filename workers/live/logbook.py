"""An agent's log.

One line per decision, from a catalogue, with what it means for the work. Never arguments, results or secrets; of a handler that
failed what its exception says, and where it was raised, for that is its author's to say. Of each word no more than a hundred
lines in ten seconds; what was left out is counted on the next.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import structlog

from orchestrator.paper import Paper
from orchestrator.throttle import Throttle

Style: TypeAlias = Literal["console", "json"]
Level: TypeAlias = Literal["debug", "info", "warning", "error"]


class Line(NamedTuple):
    """How loud a decision is, and what it means."""

    level: int
    text: str
    number: str = ""
    """What the core's number counts."""


DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR

CATALOGUE: Mapping[str, Line] = {
    # decided by the core (``workers.core.commands.Word``)
    "joined": Line(INFO, "a coordinator has taken us in: ready for work", "epoch"),
    "epoch_refused": Line(WARNING, "a deposed coordinator gave orders: refused; we obey a later one", "epoch"),
    "window_missed": Line(
        ERROR,
        "no coordinator has heard us within the lease: what was unfinished is stopped and runs elsewhere; coming back anew",
        "unfinished",
    ),
    "unanswered": Line(INFO, "no coordinator has answered; coming back anew, should our queue be lost: if none runs, start one"),
    "cut_off": Line(
        WARNING,
        "the connection is lost: what was unfinished is stopped and runs elsewhere; finished reports are kept",
        "unfinished",
    ),
    "still_stopping": Line(
        WARNING,
        "handlers that were told to stop still run; no new work is taken until they end (threads: look at ctx.cancelled)",
        "handlers",
    ),
    "no_work": Line(WARNING, "the coordinator gives us no work at present"),
    "draining": Line(INFO, "leaving: no new work is taken, unstarted work is handed back, what runs may finish", "unfinished"),
    "grace_over": Line(WARNING, "the grace period is over: what still runs is stopped and will run elsewhere", "unfinished"),
    "full": Line(WARNING, "work refused: too many reports are not released by the coordinator yet", "unreleased"),
    "expired": Line(INFO, "a task was past its deadline and was not started"),
    "timed_out": Line(INFO, "a handler runs longer than its timeout and is told to stop; once it has, the attempt has failed"),
    "unheeding": Line(
        WARNING,
        "a handler that was told to stop goes on: until it ends its place stays taken, and the task is not tried again "
        "(a thread: look at ctx.cancelled; async: await something; what must be killed: cpu_bound=True)",
    ),
    "unknown_handler": Line(WARNING, "a task names a handler that this service does not have; it has failed"),
    "reports_unsent": Line(WARNING, "the broker did not take reports; they are kept and sent again", "reports"),
    "reports_left": Line(WARNING, "reports could not be handed over before the end: these tasks will run again", "reports"),
    # seen by the shell
    "starting": Line(INFO, "starting"),
    "connected": Line(INFO, "connected to the broker; announcing ourselves until a coordinator answers"),
    "unreachable": Line(WARNING, "the broker cannot be reached; trying again, for ever"),
    "early": Line(DEBUG, "no coordinator has run on this broker yet; trying again"),
    "nobody_coordinates": Line(
        WARNING, "no coordinator has ever run on this broker: waiting for one (start it with: orchestrator coordinator)"
    ),
    "malformed": Line(WARNING, "a message that makes no sense was dropped"),
    "blocked": Line(WARNING, "the broker has an alarm and takes nothing from us; if it lasts, unfinished work is stopped"),
    "unblocked": Line(INFO, "the broker takes messages again"),
    "started": Line(DEBUG, "task started"),
    "done": Line(DEBUG, "task done"),
    "failed": Line(INFO, "an attempt failed; the coordinator decides whether it is tried again"),
    "stopped": Line(DEBUG, "an attempt was stopped"),
    "impatient": Line(WARNING, "told to end at once: what runs is cut off and will run elsewhere"),
    "stuck": Line(ERROR, "handlers block the loop or do not end: ending the process with them"),
    "ended": Line(INFO, "ended"),
}


MESSAGE_MAX = 500
"""Characters of what an exception says."""
WAY_MAX, CALLS_MAX = 600, 5
"""Characters, and calls, of the way to where it was raised."""
_CALL = re.compile(r'^ *File "(.*)", line (\d+), in (.*)$', re.MULTILINE)


def shortened(text: str) -> str:
    """What is too long for a line of a log loses its end."""
    return text if len(text) <= MESSAGE_MAX else f"{text[:MESSAGE_MAX]} … ({len(text):,} characters)"


def way(trace: str) -> str:
    """A traceback on one line, without the lines of code: its last calls, the innermost last."""
    calls = [f"{name} ({file}:{line})" for file, line, name in _CALL.findall(trace)]
    shown = calls[-CALLS_MAX:]
    while len(shown) > 1 and sum(map(len, shown)) > WAY_MAX:
        del shown[0]
    return " → ".join(["…"] * (len(shown) < len(calls)) + shown)[-WAY_MAX:]


class Logbook:
    """Turns decisions into log lines."""

    def __init__(self, logger: Any, level: int) -> None:
        self._logger = logger
        self._loud = {word: line for word, line in CATALOGUE.items() if line.level >= level}
        self._throttle = Throttle()

    def hears(self, what: str) -> bool:
        """Whether anybody listens to this word: for what is said thousands of times a second."""
        return what in self._loud

    def leaves_out(self, what: str) -> bool:
        """Whether one more line of this word would be one too many now; then it is counted, and need not be put together."""
        return self._throttle.leaves_out(time.monotonic(), what)

    def say(self, what: str, *, number: int | None = None, **fields: Any) -> None:
        """One line, if anybody listens. Fields that are None or empty are left out."""
        line = self._loud.get(what)
        if line is None:
            assert what in CATALOGUE, f"{what!r} is not in the catalogue"
            return
        if line.number:
            fields[line.number] = number
        shown = {name: value for name, value in fields.items() if value is not None and value != ""}
        if line.level == DEBUG or self._throttle.admits(time.monotonic(), what, shown):
            self._logger.log(line.level, line.text, what=what, **shown)


def logbook(style: Style, level: Level, **bound: Any) -> Logbook:
    """A log on stderr; ``bound`` goes on every line."""
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # says again, less clearly, what our errors say
    number = logging.getLevelNamesMapping()[level.upper()]
    render: Any = structlog.processors.JSONRenderer()
    if style == "console":
        # plain tracebacks: the pretty ones load a library of 15 MB, and our lines have none
        plain = structlog.dev.plain_traceback
        render = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
    paper = Paper()
    logger = structlog.wrap_logger(
        paper,
        processors=[
            paper,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
    ).bind(**bound)
    return Logbook(logger, number)
