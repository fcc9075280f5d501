"""Leaders of shards spread over coordinators by themselves: whatever the start, soon nobody leads two more than another."""

from __future__ import annotations

from collections import Counter, deque
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.live.balancer import Led, to_hand_over

NAMES = ["a", "b", "c", "d", "e"]


class Lines:
    """Coordinators in line for each shard, as a broker keeps them: the first leads."""

    def __init__(self, coordinators: list[str], shards: int, dice: Random) -> None:
        self.lines = {f"s{n}": deque(dice.sample(coordinators, len(coordinators))) for n in range(shards)}
        self.since = dict.fromkeys(self.lines, 0)
        self.time = 0

    def seen(self) -> dict[str, Led | None]:
        return {
            name: Led(line[0], self.since[name] + 1, float(self.time - self.since[name]), len(line))
            for name, line in self.lines.items()
        }

    def move(self) -> int:
        """Everybody looks once; how many moved something."""
        self.time += 1
        seen, moves = self.seen(), 0
        for me in sorted({name for line in self.lines.values() for name in line}):
            if (shard := to_hand_over(me, seen)) is not None:
                assert self.lines[shard][0] == me
                self.lines[shard].rotate(-1)
                self.since[shard] = self.time
                moves += 1
        return moves

    def loads(self) -> Counter[str]:
        everybody = {name: 0 for line in self.lines.values() for name in line}
        return Counter(everybody | Counter(line[0] for line in self.lines.values()))

    def settle(self, most: int) -> int:
        moves = 0
        while made := self.move():
            assert made == 1, "one at a time"
            moves += made
            assert moves <= most, self.lines
        return moves


@given(st.integers(1, 5), st.integers(1, 9), st.randoms(use_true_random=False))
def test_it_comes_to_rest_with_nobody_leading_two_more_than_another(coordinators: int, shards: int, dice: Random) -> None:
    """From any order in the lines; each shard that moves goes along its line at most once round."""
    lines = Lines(NAMES[:coordinators], shards, dice)
    lines.settle(shards * coordinators)
    loads = lines.loads()
    assert max(loads.values()) - min(loads.values()) <= 1
    assert lines.move() == 0, "at rest it stays"


@given(st.integers(2, 5), st.integers(2, 9), st.randoms(use_true_random=False))
def test_who_dies_and_comes_back_is_given_its_share_again(coordinators: int, shards: int, dice: Random) -> None:
    """The heirs lead meanwhile; back at the end of every line it is given some."""
    lines = Lines(NAMES[:coordinators], shards, dice)
    lines.settle(100)
    for shard, line in lines.lines.items():
        if line[0] == "a":
            lines.since[shard] = lines.time
        line.remove("a")
    lines.settle(100)
    for line in lines.lines.values():
        line.append("a")
    lines.settle(100)
    loads = lines.loads()
    assert max(loads.values()) - min(loads.values()) <= 1


def test_where_not_everything_is_known_nothing_is_moved() -> None:
    """A shard whose leader did not answer is about to get one; nor is anything given to who is not in every line."""
    seen: dict[str, Led | None] = {"default": Led("a", 1, 9.0, 2), "gpu": Led("a", 1, 5.0, 2), "acme": None}
    assert to_hand_over("a", seen) is None
    assert to_hand_over("a", seen | {"acme": Led("a", 1, 7.0, 2)}) == "gpu", "what was got last goes first"
    assert to_hand_over("a", seen | {"acme": Led("a", 1, 7.0, 1)}) is None, "nobody else stands in line for everything"
    assert to_hand_over("a", seen | {"acme": Led("b", 1, 7.0, 2)}) is None
    assert to_hand_over("b", seen | {"acme": Led("a", 1, 7.0, 2)}) is None
