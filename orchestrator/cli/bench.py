"""The benchmark against peers. It lives with the tests, in the repository: an installed package does not have it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.faults import Fault
from orchestrator.cli.frame import Call, command

ROOT = Path(__file__).parents[2]


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    command(app, "bench", example="orchestrator bench --quick --peers ours,celery", panel="Run", common=("json", "debug"))(bench)


def bench(
    call: Call,
    peers: Annotated[str, typer.Option(metavar="NAME,NAME", help="Only these (ours, relay, celery, ray, …)")] = "",
    only: Annotated[str, typer.Option(metavar="A,B", help="Only these workloads (a, a1, b … f, idle)")] = "",
    rounds: Annotated[int, typer.Option(metavar="N", help="Medians of so many interleaved rounds", min=1)] = 5,
    quick: Annotated[bool, typer.Option("--quick", help="One round of small sizes")] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw a picture too", dir_okay=False)] = None,
) -> int:
    """Measure ours beside Celery, Dramatiq, Taskiq and others.

    FastStream, Dask and Ray too, side by side on one broker of its own, each with its recommended reliable settings. The first run
    installs them into an environment of their own, in your cache. All of it takes about 80 minutes, --quick about ten; it says what
    is left as it goes, and at the end, line by line, what must be shown and whether it holds.
    """
    if not (ROOT / "tests" / "bench" / "__main__.py").exists():
        raise Fault(
            "The benchmark is part of the repository, and this is an installed package without it: nothing was measured. "
            "Run it from a clone: deploy/run bench"
        )
    options = [f"--peers={peers}", f"--only={only}", f"--rounds={rounds}"] + ["--quick"] * quick + ["--json"] * call.json
    options += [f"--plot={plot.absolute()}"] if plot else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}
    return subprocess.run([sys.executable, "-m", "tests.bench", "peers", *options], env=environment).returncode
