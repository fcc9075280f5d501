"""Wall clocks that jump: each process of a town has one of its own, which may be set at any moment, also while it runs.

The programs are as they are. What they ask the system for the time with is answered by `clock.c`, preloaded, which a C compiler
makes when it is first needed; where there is none this fault cannot be injected.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")


class CannotInject(Exception):
    """This machine does not let us do it; the text says why. What was not done has not held."""


class Clock:
    """One wall clock. ``environment`` is that of the process that has it."""

    def __init__(self, library: Path, file: Path) -> None:
        self._file = file
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(file)}
        self.set(0)

    def set(self, ahead_s: float) -> None:
        """So much ahead of the right time (or behind it), from now on."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=q", round(ahead_s * 1e9)))


class Clocks:
    """Makes them. ``missing``: why it cannot; empty: it can."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._library = folder / "clock.so"
        self.missing = self._compile()

    def _compile(self) -> str:
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            return "no C compiler is here (Debian: apt-get install gcc libc6-dev)"
        words = [compiler, "-shared", "-fPIC", "-O1", "-o", str(self._library), str(SOURCE), "-ldl"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return f"{compiler} does not compile {SOURCE.name}: {done.stderr[-300:]}" if done.returncode else ""

    def clock(self, name: str) -> Clock | None:
        """A clock that goes right, until it is set; None where there can be none."""
        return None if self.missing else Clock(self._library, self._folder / f"{name}.shift")
