"""An environment that has the peers: this one, if the extra ``bench`` is installed; else one of their own in the user's cache.

Their dependencies must not touch ours: they pin what we do not, and an upgrade of theirs must not be able to break a coordinator.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCK = Path(__file__).with_name("requirements.lock")
MODULES = ("celery", "dramatiq", "taskiq_aio_pika", "faststream", "distributed", "ray", "matplotlib")


class NoEnvironment(Exception):
    """The peers cannot be had; the text says why and what to do."""


def python_with_peers(say: Callable[[str], None]) -> str:
    """The Python that can play the peers; makes an environment for it when there is none. Raises NoEnvironment."""
    if all(find_spec(module) for module in MODULES):
        return sys.executable
    home = _home()
    python = home / "bin" / "python"
    done = home / ".complete"
    if not done.exists():
        say(f"installing the peers into an environment of their own, {home} (about 500 MB, once)")
        shutil.rmtree(home, ignore_errors=True)
        home.parent.mkdir(parents=True, exist_ok=True)
        _run([sys.executable, "-m", "venv", str(home)])
        _run(
            [
                str(python),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-input",
                "--disable-pip-version-check",
                "-c",
                str(LOCK),
                *pinned(),
            ]
        )
        done.touch()
    return str(python)


def pinned() -> list[str]:
    """The extra ``bench``, as pyproject.toml pins it."""
    return list(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["bench"])


def _home() -> Path:
    """Named after what is in it, so that new pins make a new one."""
    what = hashlib.sha256("\n".join([sys.version, *pinned(), LOCK.read_text()]).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "orchestrator" / f"bench-{what}"


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise NoEnvironment(
            f"The peers could not be installed: `{' '.join(command[:4])} …` failed:\n{(done.stderr or done.stdout)[-2000:]}\n"
            "Nothing was measured. Is a package index reachable? Or compare with the floor alone: --peer ours --peer relay"
        )
