"""A swarm that misses nothing proves nothing: with a rule of custody turned off it must break a law, soon."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.test_rules_matter import MUTANTS as STORIES
from tests.sim.mutants import HELD, MUTANTS, noticed
from tests.workers.core.test_mutants import MUTANTS as STORIES_OF_AGENTS

SOON = (
    "R1 any entry commits",
    "R1 settled before it is read back",
    "R4 drained does not matter",
    "R8 each failure counts again",
    "R8 never enough",
    "R10 only the lease after a claim",
    "R11 forgotten at once",
    "R13 children do not wait",
    "a stop counts before its checkpoint",
    "any checkpoint will do",
)
"""Those that a few worlds notice; the others are looked for by ``python -m tests.sim.mutants``, which takes its time."""


@pytest.mark.parametrize("name", SOON)
def test_a_rule_that_is_turned_off_is_missed(name: str) -> None:
    """A broken law within forty worlds."""
    assert noticed(MUTANTS[name], range(40)) is not None


def test_every_rule_is_turned_off() -> None:
    """R1 to R15, each by a mutant of the swarm, most by a named story too; and more than ten further mutants."""
    rules = {f"R{number}" for number in range(1, 16)}
    assert {name.split()[0] for name in MUTANTS} >= rules
    assert len(MUTANTS) - len(rules) >= 10
    by_story = {name.partition(":")[0] for name in (*STORIES, *STORIES_OF_AGENTS)}
    assert by_story >= rules - {"R7"}, "owed results are told by the scenario r7_owed_results"


def test_what_is_held_by_a_story_has_one() -> None:
    """The list names scenarios and tests that exist."""
    root = Path(__file__).parents[1]
    for story in HELD.values():
        room, name = story.split()
        there = (root.parent / room / "scenarios" / f"{name}.txt").exists()
        assert there or any(f"def {name}(" in file.read_text() for file in (root.parent / room).glob("test_*.py")), story
