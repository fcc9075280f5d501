"""An environment that has the peers: this one, if the extra ``bench`` is installed; else one of their own in the user's cache.

Their dependencies must not touch ours: they pin what we do not, and an upgrade of theirs must not be able to break a coordinator.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCK = Path(__file__).with_name("requirements.lock")
MODULES = {
    "celery": ("celery",),
    "dramatiq": ("dramatiq",),
    "taskiq": ("taskiq_aio_pika", "uvloop"),
    "faststream": ("faststream", "uvloop"),
    "dask": ("distributed",),
    "ray": ("ray",),
}
"""What each peer's file imports."""
PICTURES = "matplotlib"

_LOOK = "import sys, importlib.util as u; print(*(one for one in sys.argv[1:] if u.find_spec(one) is None))"


def python_with_peers(peers: Sequence[str], say: Callable[[str], None], *, draw: bool = False) -> tuple[str, dict[str, str]]:
    """The Python that can play these peers, and why it cannot play some.

    Where this environment has them all it is this one; else one of their own, made once. Whatever cannot be installed is left out,
    said, and tried again the next time.
    """
    needed = [module for name in peers for module in MODULES[name]] + [PICTURES] * draw
    if not _absent(sys.executable, needed):
        return sys.executable, {}
    home = _home()
    python = str(home / "bin" / "python")
    wrong = ""
    if not (home / ".complete").exists():
        say(f"installing the peers into an environment of their own, {home} (about 500 MB, some minutes, once)")
        wrong = _make(home, python)
    if not Path(python).exists():
        return sys.executable, dict.fromkeys(peers, wrong)
    absent = _absent(python, needed)
    missing = {name: f"it could not be installed: {wrong}" for name in peers if absent.intersection(MODULES[name])}
    for name, why in missing.items():
        say(f"{name} is left out: {why}")
    return python, missing


def _make(home: Path, python: str) -> str:
    """Install all that can be; gives what went wrong. Together, as that is quick; where that fails each for itself."""
    home.parent.mkdir(parents=True, exist_ok=True)
    if not Path(python).exists() and (wrong := _run([sys.executable, "-m", "venv", str(home)])):
        return wrong
    pip = [python, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "-c", str(LOCK)]
    if not (wrong := _run([*pip, *pinned()])):
        (home / ".complete").touch()
        return ""
    for one in pinned():
        _run([*pip, one])
    return wrong


def _absent(python: str, modules: Sequence[str]) -> set[str]:
    """Which of these modules that Python does not have."""
    done = subprocess.run([python, "-c", _LOOK, *modules], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return set(done.stdout.split()) if not done.returncode else set(modules)


def pinned() -> list[str]:
    """The extra ``bench``, as pyproject.toml pins it."""
    return list(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["bench"])


def _home() -> Path:
    """Named after what is in it, so that new pins make a new one."""
    what = hashlib.sha256("\n".join([sys.version, *pinned(), LOCK.read_text()]).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "orchestrator" / f"bench-{what}"


def _run(command: list[str]) -> str:
    """Run it; gives the last it said if it failed, else nothing."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return (done.stderr or done.stdout).strip()[-500:] or f"code {done.returncode}" if done.returncode else ""
