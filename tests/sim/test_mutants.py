"""A swarm that misses nothing proves nothing: with a rule of custody turned off it must break a law, soon."""

from __future__ import annotations

import pytest

from tests.sim.mutants import MUTANTS, noticed

SOON = (
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
