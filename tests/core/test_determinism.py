"""The same events give the same commands, byte for byte, whatever the order of hashing: order is data."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.core.journal import journal

ROOT = Path(__file__).parents[2]
SEEDS = 60


def told(hash_seed: str) -> str:
    """The journals of some stories, written by a process of its own."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.core.journal", str(SEEDS)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_hashing_has_no_say() -> None:
    """Two processes that hash otherwise decide alike."""
    first, second = told("0"), told("1")
    assert len(first.splitlines()) > 5_000
    assert first == second


def test_a_story_told_twice_is_the_same() -> None:
    """Within one process, too: nothing is kept between machines."""
    assert journal(3) == journal(3)
