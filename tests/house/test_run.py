"""What `tests/run` says of the whole: the worse of its two parts, and nothing of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETUP = "set_up() { root=$PWD; venv=$PWD; }\n"
PYTHON = """#!/bin/sh
case "$*" in
    *"not broker"*) echo "the part that needs none"; exit "$COMPUTES" ;;
    *broker*) exit "$WAITS" ;;
esac
"""  # and of the third command, which fetches a broker: 0


@pytest.mark.parametrize(("waits", "computes", "whole"), [(0, 0, 0), (1, 0, 1), (0, 1, 1), (0, 5, 5)])
def test_both_parts_count(tmp_path: Path, waits: int, computes: int, whole: int) -> None:
    """Green when both are green; red when either is, and what ran aside is shown."""
    for path, text in {"tests/run": (ROOT / "tests/run").read_text(), "deploy/setup.sh": SETUP, "bin/python": PYTHON}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "bin/python").chmod(0o755)
    environment = {**os.environ, "WAITS": str(waits), "COMPUTES": str(computes)}
    done = subprocess.run(["bash", "tests/run"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (whole, "the part that needs none\n"), done.stderr
