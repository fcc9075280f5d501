"""Every short story of one task, two agents and two coordinators: after the submission up to four more events, of seven kinds.

A story in which an event could not happen (nothing runs that could finish) is another, shorter one, and not told again. All
invariants and the witness look on at every step; every tenth story is healed as well, and must come to its end. ``DEPTH=5`` tells
those with six events in all (about 5,000 longest stories for each kind of task, a minute's work).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from orchestrator.core.config import Config
from orchestrator.vocabulary import NS_PER_S
from orchestrator.wire.messages import Error, Submit, Task
from tests.core.world import World

DEPTH = int(os.environ.get("DEPTH", "4"))
HEALED = 10
SLOW = Config(beat_ns=3 * NS_PER_S, echo_ns=3 * NS_PER_S, tick_ns=3 * NS_PER_S, lease_ns=8 * NS_PER_S)
"""Fewer beats and ticks between the events: they are not what is told here."""


class Short(World):
    """One task, on two agents that are there; the events of the alphabet say whether they could happen."""

    def __init__(self, overlap: str) -> None:
        super().__init__(SLOW)
        for agent in self.agents:
            agent.begin()
        self.stage.pump()
        task = Task("t0", "thumbs.resize", overlap=overlap)  # type: ignore[arg-type]
        self.asked["t0"] = (task, "p")
        self.stage.durable("intake", Submit([task]), "p")
        self.stage.pump()
        self.cancelled = False

    def happens(self, letter: str) -> bool:
        """The event, and all that follows from it; gives whether it could happen."""
        could = ALPHABET[letter](self)
        self.stage.pump()
        return could

    def finishes(self) -> bool:
        for agent, attempt in self.jobs():
            agent.finish(attempt)
            return True
        return False

    def fails(self) -> bool:
        for agent, attempt in self.jobs():
            agent.fail(attempt, Error("Boom", "it went boom"))
            return True
        return False

    def is_dropped(self) -> bool:
        """The broker drops the agent that works (the first if none does), which has not noticed."""
        working = [agent for agent, _ in self.jobs() if agent.incarnation] or [self.agents[0]]
        if working[0].incarnation:
            working[0].drop(evidence="broken")
            return True
        return False

    def is_killed(self) -> bool:
        """The leader's process dies amid what it does, and is started again."""
        leader = self.stage.leader()
        if leader is None:
            return False
        self.stage.crash(leader)
        self.stage.coordinator(leader.name)
        return True

    def is_doubled(self) -> bool:
        """The broker believes that nobody leads."""
        for node in self.stage.nodes.values():
            if node.nonce and not node.machine.desk.leading:
                self.stage.give_token(node)
                return True
        return False

    def is_cancelled(self) -> bool:
        if self.cancelled:
            return False
        self.cancel(0)
        self.cancelled = True
        return True

    def waits(self) -> bool:
        self.stage.wait(9 * NS_PER_S)
        for agent in self.agents:
            agent.notice()
        return True


ALPHABET: dict[str, Callable[[Short], bool]] = {
    "f": Short.finishes,
    "x": Short.fails,
    "d": Short.is_dropped,
    "k": Short.is_killed,
    "t": Short.is_doubled,
    "c": Short.is_cancelled,
    "w": Short.waits,
}


def tell(story: str, overlap: str) -> tuple[Short, bool]:
    """The world after the story, and whether its last event could happen."""
    world, could = Short(overlap), True
    for letter in story:
        could = world.happens(letter)
    return world, could


def stories(prefix: str = "", overlap: str = "lease") -> Iterator[tuple[str, Short]]:
    """All that can happen, the longest only: each shorter one is the beginning of a longer."""
    for letter in ALPHABET:
        world, could = tell(prefix + letter, overlap)
        if could and len(prefix) + 1 < DEPTH:
            yield from stories(prefix + letter, overlap)
        elif could:
            yield prefix + letter, world


@pytest.mark.parametrize("overlap", ["lease", "never"])
def test_every_short_story(overlap: str) -> None:
    """Of a task that moves at once on evidence, and of one that waits for the lease."""
    count = 0
    for count, (_, world) in enumerate(stories(overlap=overlap), 1):
        if count % HEALED == 0:
            world.heal()
    assert count == {("lease", 4): 1073, ("never", 4): 923}.get((overlap, DEPTH), count)
