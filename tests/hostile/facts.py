"""Facts of the right shape that no coordinator would write: what stands in a ledger that others, or other versions, write to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from orchestrator.vocabulary import Attempt, Nanos
from orchestrator.wire.facts import (
    Accepted,
    AnyFact,
    Asked,
    Carried,
    Checkpointed,
    Claim,
    Ended,
    Entry,
    Failed,
    Failure,
    Joined,
    Parted,
    Preempted,
    Served,
    Tombstone,
)
from orchestrator.wire.messages import Edge, Error, Outcome, Range, Task

OUTCOMES: tuple[Outcome, ...] = ("done", "failed", "cancelled", "expired", "refused", "skipped")
WILLS = (
    None, 5, "x", {}, [], {"ordering": "nope"}, {"ordering": "fifo"}, {"placement": ""}, {"ordering": 5}, {5: "fifo"},
    {"name": "l", "revision": 1, "spec": {"at_once": 1, "on": "*"}}, {"name": "l", "revision": 2, "spec": None},
    {"name": 5, "revision": "x", "spec": []}, {"name": "l"},
)  # fmt: skip


class Strange:
    """Draws them. ``tasks`` and ``incarnations`` are names that mean something to the reader."""

    def __init__(self, dice: Random, now_ns: Nanos, tasks: Sequence[str], incarnations: Sequence[str]) -> None:
        self._dice = dice
        self._now = now_ns
        self._tasks = [*tasks, "x1", "x2"]
        self._incarnations = [*incarnations, "ghost"]

    def entry(self, writers: Sequence[str]) -> Entry:
        """Of one of these writers, with up to three facts and wild numbers."""
        pick = self._dice.choice
        facts = [self.fact() for _ in range(pick((0, 1, 1, 2, 3)))]
        return Entry(pick(writers), pick((0, 1, 5, 2**40)), pick((0, 2**40)), pick((0, 2**40)), pick((0, 3, 2**40)), facts)

    def fact(self) -> AnyFact:
        """Any."""
        pick, now = self._dice.choice, self._dice.choice((0, self._now, 2**62))
        error = Error("kind", "message")
        makers: tuple[Callable[[], AnyFact], ...] = (
            lambda: Accepted([self._task() for _ in range(pick((0, 1, 2)))], now, pick(("", "replies"))),
            lambda: Failed(
                self._name(), self._attempt(), pick(("error", "timeout", "lost", "fatal")), error, now, "i", pick((0, 3, -1)),
                pick((0, 2**62)), pick((-5, 0, 7)),
            ),
            lambda: Ended(
                self._name(), pick(OUTCOMES), now, pick((None, self._attempt())), pick((None, b"x")), pick((None, error)), "i", now,
                now, pick(("", "replies")),
            ),
            lambda: Checkpointed(self._name(), self._attempt(), b"state", pick((0, 1, 2)), pick((0, -4, 2**62))),
            lambda: Preempted(self._name(), self._attempt(), now),
            lambda: Asked(
                pick(("cancel", "priority", "policy", "redirect", "drain", "limit")), now, self._name(), "by", pick(WILLS)
            ),
            lambda: Served(pick(("thumbs", "other", "", "x" * 300))),
            lambda: Joined(pick(("i", "")), pick(self._incarnations), pick(("thumbs", "other")), now),
            lambda: Parted(pick(self._incarnations)),
            lambda: Claim("evil", pick(("n1", "n9")), pick((0, 5, -3, 2**62))) if pick(range(20)) == 0 else Parted("nobody"),
            lambda: Carried(
                self._task(), pick((0, 5, 2**40)), 0, now, failures=[Failure(self._attempt(), "error", error, 1)] * pick((0, 2)),
                cancelled=pick((False, False, True)), checkpoint_of=pick((None, self._attempt())),
                preempted=pick((None, self._attempt())),
            ),
            lambda: Tombstone(self._name(), pick(OUTCOMES), now, 5, pick((True, False, False)), b"v"),
        )  # fmt: skip
        return pick(makers)()

    def _name(self) -> str:
        return self._dice.choice(self._tasks)

    def _attempt(self) -> Attempt:
        return Attempt(self._dice.choice((0, 1, 2, 9)), self._dice.choice((0, 1, 2, 3, 4)))

    def _task(self) -> Task:
        pick = self._dice.choice
        return Task(
            self._name(), pick(("thumbs.resize", "thumbs.x", "other.y")),
            need=pick(({}, {"slots": 2}, {"slots": Range(4, 1)}, {"gpu": -1.0})), after=[Edge(self._name())] * pick((0, 0, 1)),
            deadline_ns=pick((None, 1, 2**62)), start_ns=pick((None, 2**62)), overlap=pick(("lease", "never")),
            workflow=pick((None, "w")),
        )  # fmt: skip
