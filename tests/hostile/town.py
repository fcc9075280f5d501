"""A coordinator and agents in processes of their own, as a user starts them; what they weigh, and what they say.

Their logs are JSON lines. ``judge`` raises if one of them has ended, said something at the level of an error, said what is no line
of the log (a traceback, say), or began a session twice. One thing an agent may do, and it is counted: miss its window, when what
floods its queue (or this machine) keeps the leader's echo from it for five seconds; it stops what is unfinished and comes back, as
it should.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.processes import cpu_s, resident_mb

ROOT = Path(__file__).parents[2]
ONCE = {"leading": "it led", "connected": "it connected", "session": "it opened a session"}
EXPECTED = frozenset({"unreadable_entry", "window_missed"})
"""Said at the level of an error, and no fault of who says it."""


class Town:
    """Use as a context manager: all end with it."""

    def __init__(self, url: str, folder: Path, *, agents: int = 2, spec: str = "tests.hostile.services:service", **settings: str):
        self._folder = folder
        self._environment = {
            **os.environ,
            "ORCHESTRATOR_BROKER": url,
            "ORCHESTRATOR_LOG": "json",
            "PYTHONPATH": str(ROOT),
            **{f"ORCHESTRATOR_{name.upper()}": value for name, value in settings.items()},
        }
        self._spec = spec
        self._agents = agents
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Town:
        self.start("coordinator", "-m", "orchestrator", "coordinator")
        for number in range(self._agents):
            self.start(f"agent-{number}", "-m", "workers", "run", self._spec, "--instance", f"honest-{number}", "--processes", "1")
        return self

    def start(self, name: str, *arguments: str) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *arguments], env=self._environment, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def lines(self, name: str) -> Iterator[dict[str, Any] | str]:
        """What it said; a line that is no JSON as it is."""
        for line in (self._folder / f"{name}.log").read_text(errors="replace").splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                yield line

    def judge(self) -> dict[str, Counter[str]]:
        """How often each said each word. Raises AssertionError: see above."""
        words: dict[str, Counter[str]] = {}
        for name, process in self.processes.items():
            said = words[name] = Counter[str]()
            tail = (self._folder / f"{name}.log").read_text(errors="replace")[-3000:]
            assert process.poll() is None, f"{name} ended by itself with {process.returncode}:\n{tail}"
            for line in self.lines(name):
                assert isinstance(line, dict), f"{name} says what is no line of the log: {line}\n{tail}"
                said[line["what"]] += 1
                serious = line.get("level") in ("error", "critical") and line["what"] not in EXPECTED
                assert not serious, f"{name}: {line}"
            for word, what in ONCE.items():
                assert said[word] <= 1 + said["window_missed"], f"{what} {said[word]} times ({name}):\n{tail}"
        return words

    def rss_mb(self) -> dict[str, float]:
        """Resident memory of each."""
        return {name: resident_mb(process.pid) for name, process in self.processes.items()}

    def cpu_s(self) -> dict[str, float]:
        """CPU time that each has used."""
        return {name: cpu_s(process.pid) for name, process in self.processes.items()}
