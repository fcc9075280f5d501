"""A swarm that misses nothing proves nothing: with a rule of custody turned off it must break a law, soon."""

from __future__ import annotations

import pytest

from orchestrator.core import rules as core
from tests.core.test_rules_matter import MUTANTS as STORIES
from tests.sim.mutants import HELD, MUTANTS, caught, known_catches, main, noticed_by_story
from tests.workers.core.test_mutants import MUTANTS as STORIES_OF_AGENTS


@pytest.mark.parametrize("name", MUTANTS)
def test_a_rule_that_is_turned_off_is_missed(name: str) -> None:
    """By the world that is known to, by its story, or by another world of two hundred."""
    assert caught(name, known_catches().get(name)).by is not None


def test_every_rule_is_turned_off() -> None:
    """From R1 to the last that the core has, each by a mutant of the swarm, most by a named story too; and more than ten further
    mutants."""
    numbers = {int(name[1:].partition("_")[0]) for name in vars(core) if name[0] == "r" and name[1:2].isdigit()}
    rules = {f"R{number}" for number in range(1, max(numbers) + 1)}
    assert {name.split()[0] for name in MUTANTS} >= rules
    assert len(MUTANTS) - len(rules) >= 10
    by_story = {name.partition(":")[0] for name in (*STORIES, *STORIES_OF_AGENTS)}
    assert by_story >= rules - {"R7"}, "owed results are told by the scenario r7_owed_results"


@pytest.mark.parametrize("name", HELD)
def test_what_is_held_by_a_story_is_missed_there(name: str) -> None:
    """The story is well with the rule, and not without it."""
    assert not noticed_by_story(HELD[name])
    assert noticed_by_story(HELD[name], MUTANTS[name])


def test_what_is_written_down_is_on_the_list() -> None:
    """The table of the worlds that noticed names mutants that there are."""
    assert known_catches().keys() <= MUTANTS.keys()


def test_a_name_that_no_mutant_has_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command does not end well having done nothing."""
    monkeypatch.setattr("sys.argv", ["mutants", "typo"])
    assert main() == 2
