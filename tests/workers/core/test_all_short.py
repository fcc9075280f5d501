"""Every short sequence of acts, from three beginnings; and after each a fair world, in which the agent must come to rest."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest

from orchestrator.vocabulary import Attempt
from tests.workers.core.actor import World
from tests.workers.core.stage import Stage
from workers.core.events import TimePassed

ACTS: dict[str, Callable[[World], None]] = {
    "open": World.open,
    "cut": World.cut,
    "confirm": World.confirm,
    "sync": World.sync,
    "takeover": World.takeover,
    "assign": World.assign,
    "foreign assign": lambda world: world.assign(behind=1),
    "recall": World.recall,
    "echo": World.echo,
    "begin": World.begin,
    "finish": World.finish,
    "halt": World.halt,
    "pause": World.pause,
    "drain": World.drain,
}
DEPTH = 3


def offline() -> World:
    """Just born."""
    stage = Stage()
    stage.step(TimePassed())
    return World(stage)


def serving() -> World:
    """Serving epoch 2, one attempt running."""
    stage = Stage()
    stage.step(TimePassed())
    stage.serve(2)
    world = World(stage)
    world.epoch, world.n = 2, 1
    stage.start(2, 1)
    return world


def crowded() -> World:
    """One finished and not released, one running, one waiting for its lane, one being stopped."""
    world = serving()
    world.finish()
    for n in (2, 3, 4):
        world.assign("crunch" if n < 4 else "resize")
    world.begin(0)
    world.begin(1)
    world.recall()
    assert list(world.stage.agent.work.outbox.kept) == [Attempt(2, 1)]
    return world


@pytest.mark.parametrize("begin", [offline, serving, crowded])
def test_every_short_sequence_keeps_every_promise_and_comes_to_rest(begin: Callable[[], World]) -> None:
    """14 acts, all sequences of three, from this beginning."""
    frontier = [pickle.dumps(begin())]
    seen = 0
    for depth in range(DEPTH):
        following = []
        for frozen in frontier:
            for act in ACTS.values():
                world: World = pickle.loads(frozen)
                act(world)
                seen += 1
                if depth < DEPTH - 1:
                    following.append(pickle.dumps(world))
                world.heal()
        frontier = following
    assert seen == sum(len(ACTS) ** (depth + 1) for depth in range(DEPTH))
