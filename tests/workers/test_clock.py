"""An agent's Unix time: what the system's clock did after the start is no run time of anybody's."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from orchestrator.vocabulary import NS_PER_S
from workers.clock import handed_on, steady_ns, unix_ns

HOURS_NS = 3 * 3600 * NS_PER_S


@pytest.mark.parametrize("jump_ns", [HOURS_NS, -HOURS_NS])
def test_a_clock_that_jumps_is_not_followed(monkeypatch: pytest.MonkeyPatch, jump_ns: int) -> None:
    """Between two looks passes what passes on the steady clock."""
    right = time.time_ns
    steady, began_ns = steady_ns(), unix_ns()
    monkeypatch.setattr(time, "time_ns", lambda: right() + jump_ns)
    assert 0 <= unix_ns() - began_ns <= steady_ns() - steady


def test_a_child_has_the_time_of_its_agent() -> None:
    """However far from that the system's clock was when the child began: half of what is said of an attempt is the agent's word."""
    ((name, offset),) = handed_on().items()
    words = [sys.executable, "-c", "from workers.clock import unix_ns; print(unix_ns())"]
    before_ns = unix_ns()
    said = subprocess.run(
        words, env=os.environ | {name: str(int(offset) + HOURS_NS)}, capture_output=True, text=True, check=True
    ).stdout
    assert before_ns <= int(said) - HOURS_NS <= unix_ns()
