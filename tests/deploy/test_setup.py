"""The set-up leaves its caller where it was: services are looked for there."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_first_run_goes_on_in_the_callers_directory(tmp_path: Path) -> None:
    """`bash clone/deploy/run up --workers shop:service` finds shop.py beside the caller, also when it had to set up first."""
    script = f". {ROOT}/deploy/setup.sh; is_done() {{ false; }}; make_ready() {{ :; }}; set_up runtime; pwd"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tmp_path.resolve())
