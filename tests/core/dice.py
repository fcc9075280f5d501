"""Stories told by dice: faster than Hypothesis and the same everywhere, for tests that need many or the same one again."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, TypeAlias

from orchestrator.core.config import Config
from orchestrator.vocabulary import NS_PER_S
from tests.core.stage import Evidence
from tests.core.world import MS, PRODUCERS, World

Act: TypeAlias = tuple[str, tuple[Any, ...]]
FAULTS = ("sessions", "crashes", "agents", "words", "pauses", "tokens", "alarms")
TIGHT = Config(ledger_bytes_max=14_000, reserve_bytes=4_000)
"""A ledger so short that things must be carried forward while the story lasts."""


def story(seed: int, length: int, *, keyed: bool = False) -> list[Act]:
    """What happens. Which faults rage is drawn first: all of them at once would explore shallowly. ``keyed``: half of the tasks
    that are submitted alone have keys."""
    dice = Random(seed)
    faults = {fault for fault in FAULTS if dice.random() < 0.4}
    acts = _acts(dice, faults)
    if keyed:
        acts += [("keyed", lambda: (dice.randrange(6), dice.randrange(6), dice.choice(PRODUCERS)))] * 4
    return [(name, draw()) for name, draw in (dice.choice(acts) for _ in range(length))]


def _acts(dice: Random, faults: set[str]) -> list[tuple[str, Callable[[], tuple[Any, ...]]]]:
    def two() -> int:
        return dice.randrange(2)

    def four() -> int:
        return dice.randrange(4)

    def six() -> int:
        return dice.randrange(6)

    def coin() -> bool:
        return dice.random() < 0.5

    def seen() -> Evidence:
        return "broken" if coin() else False

    def fate() -> bool | None:
        return dice.choice((None, False, True))

    def span() -> int:
        return dice.choice((MS, 300 * MS, NS_PER_S, 3 * NS_PER_S))

    fair: list[tuple[str, Callable[[], tuple[Any, ...]]]] = [
        ("submit", lambda: (four(), six(), dice.choice(PRODUCERS))),
        *[("graph", lambda: (two(), six(), dice.choice(PRODUCERS)))] * 2,
        ("cancel_in_graph", lambda: (two(), four())),
        ("clash", lambda: (four(),)),
        ("unknown", lambda: (two(),)),
        ("cancel", lambda: (four(),)),
        ("control", lambda: (six(),)),
        *[("move", lambda: (six(), dice.randint(1, 8)))] * 2,
        *[("pump", lambda: ())] * 2,
        *[("tick", lambda: (span(), coin()))] * 2,
        ("start_agent", lambda: (two(),)),
        *[("finish", lambda: (six(),))] * 2,
        ("fail", lambda: (six(), coin())),
        ("checkpoint", lambda: (six(),)),
    ]
    foul: dict[str, list[tuple[str, Callable[[], tuple[Any, ...]]]]] = {
        "sessions": [("cut", lambda: (two(), fate())), ("land", lambda: ())],
        "crashes": [("crash", lambda: (two(), fate())), ("crash_amid", lambda: (dice.randrange(5),)), ("land", lambda: ())],
        "tokens": [("token", lambda: (two(),)), ("higher_epoch", lambda: (two(),))],
        "words": [("lose_word", lambda: (six(),))],
        "agents": [("drop", lambda: (two(), seen())), ("notice", lambda: (two(),)), ("kill", lambda: (two(), seen()))],
        "pauses": [("pause", lambda: (two(),)), ("resume", lambda: (two(),))],
        "alarms": [("alarm", lambda: (coin(),))],
    }
    return fair + [act for fault in FAULTS if fault in faults for act in foul[fault]]


def tell(acts: list[Act], config: Config | None = None) -> World:
    """Have it happen, then heal, then judge. Raises AssertionError at the step at which a promise is broken."""
    world = World(config)
    for name, arguments in acts:
        getattr(world, name)(*arguments)
    world.heal()
    return world
