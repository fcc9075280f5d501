"""Scenarios that a reviewer reads as prose. ``REWRITE=1 pytest tests/core/test_scenarios.py`` writes their output anew: commit
such a change only when every line of it can be explained."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.core.script import play

SCENARIOS = sorted(Path(__file__).with_name("scenarios").glob("*.txt"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    """What the coordinators do is what the scenario says."""
    text = path.read_text()
    told, _ = play(text)
    if os.environ.get("REWRITE"):
        path.write_text(told)
    else:
        assert told == text
