"""A swarm that misses nothing proves nothing: with a rule of custody turned off it must break a law, soon."""

from __future__ import annotations

import pytest

from orchestrator.core import rules as core
from tests.core import test_rules_matter
from tests.core.test_rules_matter import MUTANTS as STORIES
from tests.sim.mutants import HELD, MUTANTS, main, noticed, turned_off
from tests.workers.core import test_rules
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
    "R16 who follows runs",
    "R16 a key holds nothing",
    "a stop counts before its checkpoint",
    "any checkpoint will do",
)
"""Those that a few worlds notice; the others are looked for by ``python -m tests.sim.mutants``, which takes its time."""


@pytest.mark.parametrize("name", SOON)
def test_a_rule_that_is_turned_off_is_missed(name: str) -> None:
    """A broken law within forty worlds."""
    assert noticed(MUTANTS[name], range(40)) is not None


def test_every_rule_is_turned_off() -> None:
    """From R1 to the last that the core has, each by a mutant of the swarm, most by a named story too; and more than ten further
    mutants."""
    numbers = {int(name[1:].partition("_")[0]) for name in vars(core) if name[0] == "r" and name[1:2].isdigit()}
    rules = {f"R{number}" for number in range(1, max(numbers) + 1)}
    assert {name.split()[0] for name in MUTANTS} >= rules
    assert len(MUTANTS) - len(rules) >= 10
    by_story = {name.partition(":")[0] for name in (*STORIES, *STORIES_OF_AGENTS)}
    assert by_story >= rules - {"R7"}, "owed results are told by the scenario r7_owed_results"


def _noticed_by(story: str) -> bool:
    """Whether this story, a scenario of the coordinator's core or a test of the agent's, reads otherwise now, or breaks."""
    room, name = story.split()
    if room == "tests/core":
        return test_rules_matter.noticed(name)
    assert room == "tests/workers/core"
    try:
        getattr(test_rules, name)()
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("name", HELD)
def test_what_is_held_by_a_story_is_missed_there(name: str) -> None:
    """The story is well with the rule, and not without it."""
    assert not _noticed_by(HELD[name])
    with turned_off(MUTANTS[name]):
        assert _noticed_by(HELD[name])


def test_a_name_that_no_mutant_has_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command does not end well having done nothing."""
    monkeypatch.setattr("sys.argv", ["mutants", "typo"])
    assert main() == 2
