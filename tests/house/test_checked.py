"""The whole source is checked: types strictly, style by the rules in pyproject.toml."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["mypy", "--no-error-summary"], id="mypy"),
        pytest.param(["ruff", "check", "--no-cache", "--quiet"], id="ruff"),
        pytest.param(["ruff", "format", "--no-cache", "--check", "--quiet"], id="format"),
    ],
)
def test_clean(command: list[str]) -> None:
    """mypy --strict, ruff check and ruff format have nothing to say."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
