"""The log: one line per decision, from a catalogue.

Law: the core says *what* (a word and fields); here is how loud it is and what it means for the work. A word that is not in the
catalogue is our mistake, and a test finds it. No arguments, results or secrets are ever logged. Of each word no more than a hundred
lines are said in ten seconds (``debug`` apart): what was left out is counted on the next.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import structlog

from orchestrator.paper import Paper
from orchestrator.throttle import Throttle


class Line(NamedTuple):
    """How loud a decision is, and what it means."""

    level: int
    text: str


DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR

CATALOGUE: Mapping[str, Line] = {
    "assigned": Line(DEBUG, "task assigned"),
    "ended": Line(DEBUG, "task ended"),
    "retry": Line(INFO, "an attempt failed; the task is tried again after the wait"),
    "hasty": Line(
        WARNING,
        "an instance takes a deadline for over that is not: its clock is ahead of ours, which alone decides from now on; see that "
        "both hosts keep the time (NTP)",
    ),
    "refused": Line(INFO, "an agent refused an assignment; the task waits again"),
    "reserved": Line(INFO, "an instance is kept for a task that fits nowhere now: what would delay it does not start there"),
    "preempting": Line(INFO, "a running task is asked to make room for a more urgent one"),
    "preempted": Line(INFO, "a task has made room; it waits again and goes on from its checkpoint"),
    "unyielding": Line(WARNING, "a task was asked to make room and runs on: its handler does not look at should_stop often enough"),
    "checkpoint_missing": Line(
        WARNING, "the last checkpoint of a stopped attempt has not come; the task goes on from an earlier one"
    ),
    "claiming": Line(INFO, "no leader seems to live: claiming leadership"),
    "leading": Line(INFO, "leading from here"),
    "resigned": Line(WARNING, "leadership given up; another coordinator, or this one anew, goes on from the ledger"),
    "behind": Line(ERROR, "a part of the ledger was cut off before it was read: forgetting all, and reading what there is"),
    "ledger_lost": Line(
        ERROR,
        "the ledger was deleted, or has lost its end; what we had read of it is in memory, and whoever remembers most writes it "
        "again in a moment. Do not restart coordinators now; find out who deletes queues here",
    ),
    "ledger_short": Line(
        ERROR,
        "a policy of the broker cuts the ledger to about kept_bytes, though ledger_bytes_max says cap_bytes. What lives is written "
        "again sooner, less is taken in. Take max-length-bytes and max-age out of the policy (rabbitmqctl list_policies)",
    ),
    "ledger_long": Line(INFO, "the broker keeps as much of the ledger again as ledger_bytes_max says"),
    "waits_for_memory": Line(
        WARNING,
        "the ledger was deleted, or is not written again yet, and this coordinator knows nothing of what it said: waiting for one "
        "that does, then leading without. Where none lives, who waits for a task must submit it again",
    ),
    "restored": Line(
        ERROR,
        "a lost ledger is written again from memory: so many living tasks go on, so many ends are known. led=True: nothing that "
        "was accepted is missing. led=False: what its dead leader wrote behind read_to is lost; who waits for it must submit again",
    ),
    "unknown_task": Line(
        WARNING,  # a peer's word: whoever may speak as an agent can say it
        "an agent has work of a task that nobody knows: it was accepted in a ledger that is lost, or the agent is wrong. It is "
        "recalled; submit it again (its id is free)",
    ),
    "session_lost": Line(WARNING, "the session with the broker is lost; nothing accepted is lost, work goes on after reconnecting"),
    "joined": Line(INFO, "a new instance is in the ledger; asking what it holds"),
    "ready": Line(INFO, "an instance is ready for work"),
    "circle": Line(WARNING, "what an instance needs to start would close a circle of services: it is not made ready"),
    "circle_open": Line(INFO, "a circle of services is open again: the instance that closed it may be given work"),
    "missing": Line(WARNING, "an instance's queue is gone with its broker: what it held waits a moment for it to come back"),
    "draining": Line(INFO, "an instance takes no new work and will leave"),
    "deaf": Line(WARNING, "an instance beats but does not read its queue: it gets nothing, and ends when its lease is over"),
    "stranger_gone": Line(DEBUG, "an instance announced itself, and never answered"),
    "instance_gone": Line(WARNING, "an instance is gone; what it held moves on"),
    "instance_left": Line(INFO, "an instance has finished and left"),
    "broker_blocked": Line(WARNING, "the broker is alarmed and stops publishers; nobody is declared dead meanwhile"),
    "broker_unblocked": Line(INFO, "the broker takes messages again"),
    "intake": Line(WARNING, "intake changed: when closed, submissions wait in the broker; `orchestrator status` says why"),
    "offence": Line(WARNING, "a peer does what it must not; it is counted and has no effect (see: orchestrator dead --quarantine)"),
    "unreadable_entry": Line(ERROR, "somebody writes into the ledger what no coordinator writes; it counts for nothing"),
    "mistake": Line(ERROR, "a question could not be answered, by a mistake of ours: please report this line; all else goes on"),
    "outdated": Line(
        ERROR,
        "a newer coordinator has written into the ledger what this version cannot read: it neither leads nor stands in line. Start "
        "the newer version here too",
    ),
    "bad_need": Line(WARNING, "an instance announced a need that makes no sense: its handler's tasks ask for one slot, no more"),
    "will": Line(INFO, "somebody wants this, and it is written down"),
    "policy": Line(INFO, "policy switched; those who wait are ordered anew"),
    "policy_unknown": Line(WARNING, "the ledger names a policy that this version does not have: the one in force stays"),
    "limit_unknown": Line(WARNING, "the ledger has a limit that this version does not understand: it is not kept here"),
    "limit_refused": Line(WARNING, "a limit of the settings cannot be, and is not in force"),
    "policy_failed": Line(
        ERROR, "a policy of another distribution failed; the default of its kind decides until another one is chosen"
    ),
    "policy_broken": Line(ERROR, "a policy of another distribution cannot be used; what works is there"),
    # the shell's own
    "session": Line(INFO, "connected to the broker"),
    "session_lasts": Line(INFO, "connected to the broker, and for a minute now: what was wrong is over"),
    "session_ended": Line(WARNING, "the session with the broker ended; connecting again"),
    "unreachable": Line(WARNING, "the broker cannot be reached; trying again"),
    "shards": Line(INFO, "the rule by which tasks find their shard is published; who connects from now on goes by it"),
    "shards_kept": Line(
        WARNING,
        "there is a rule of the shards, of which our settings say nothing: it stays, and we serve the shard default alone. Give "
        "all coordinators the same settings; for no shards any more, shards = 1",
    ),
    "shards_differ": Line(
        WARNING, "another coordinator has published another rule of the shards than our settings have: give all of them the same"
    ),
    "replaying": Line(INFO, "reading the ledger"),
    "standing_by": Line(INFO, "the ledger is read to its end: standing in line, ready to lead at once"),
    "ledger_gap": Line(ERROR, "part of the ledger is gone: facts in it are lost unless they were carried forward"),
    "dead_letter_refused": Line(ERROR, "a dead letter was refused by the broker and is kept in memory only"),
    "deaths_watched": Line(INFO, "the broker tells of lost connections at once"),
    "deaths_unwatched": Line(
        INFO,
        "no event exchange on this virtual host (see events_vhost): a lost instance is noticed when its lease is over",
    ),
    "events_out_of_reach": Line(
        WARNING, "the virtual host of the event exchange (events_vhost) cannot be entered: a lost instance is noticed late"
    ),
    "child_ended": Line(
        ERROR, "the coordinator of a shard ended by itself; it is started again, and whoever stands by leads its shard meanwhile"
    ),
    "handing_over": Line(INFO, "we lead more shards than others: the next coordinator in line is given this one"),
    "unbalanced": Line(WARNING, "a shard that was handed over came back to us: give each coordinator a name of its own"),
    "stopping": Line(INFO, "stopping; the next coordinator goes on from the ledger"),
}

ENDS = {"resigned": "leading", "session_lost": "leading", "session_ended": "leading"}
"""Words by which something is over, and those by which it begins: nobody who reads a log shall take two for leaders."""
BEGINNINGS = frozenset(ENDS.values())


class Telemetry:
    """Turns decisions into log lines."""

    def __init__(self, logger: Any, level: int) -> None:
        self._logger = logger
        self._loud = {word: line for word, line in CATALOGUE.items() if line.level >= level}
        self._throttle = Throttle()
        self.silent: frozenset[str] = frozenset()
        """Words that are not to be said at present: they would say again what is known. That something is over is said all the
        same, if it was said that it had begun."""
        self.begun: set[str] = set()
        """What was said to have begun, and not that it is over."""

    @property
    def unheard(self) -> frozenset[str]:
        """Words that are too quiet for the level that was asked for."""
        return frozenset(CATALOGUE.keys() - self._loud.keys())

    def say(self, what: str, fields: Mapping[str, Any]) -> None:
        """One line, if anybody listens."""
        line = self._loud.get(what)
        begun = ENDS.get(what, what)
        if line is None or (what in self.silent and begun not in self.begun):
            assert what in CATALOGUE, f"{what!r} is not in the catalogue"
            return
        if begun in BEGINNINGS:
            (self.begun.add if begun == what else self.begun.discard)(begun)
        shown = {key: value for key, value in fields.items() if value is not None}
        if line.level == DEBUG or self._throttle.admits(time.monotonic(), what, shown):
            self._logger.log(line.level, line.text, what=what, **shown)


def configure(style: Literal["console", "json"], level: str, **bound: Any) -> Telemetry:
    """Set the log up on stderr; ``bound`` goes on every line."""
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # says again, less clearly, what our errors say
    number = logging.getLevelNamesMapping()[level.upper()]
    console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    renderer: Any = console if style == "console" else structlog.processors.JSONRenderer()
    paper = Paper()
    processors = [
        paper,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        renderer,
    ]
    if style == "console":
        processors.remove(structlog.processors.format_exc_info)
    logger = structlog.wrap_logger(
        paper,
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(number),
    ).bind(**bound)
    return Telemetry(logger, number)
