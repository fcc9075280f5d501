"""The journal of a story: every command of every coordinator, in order, as text."""

from __future__ import annotations

import sys

from tests.core.dice import story
from tests.core.world import World


def journal(seed: int) -> str:
    """One story, told by dice."""
    world = World()
    lines: list[str] = []
    world.stage.heard = lambda name, command: lines.append(f"{world.stage.now_ns} {name} {command!r}")
    for name, arguments in story(seed, 80):
        getattr(world, name)(*arguments)
    world.heal()
    return "\n".join(lines)


if __name__ == "__main__":
    for number in range(int(sys.argv[1])):
        print(journal(number))
