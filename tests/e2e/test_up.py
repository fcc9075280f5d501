"""`orchestrator up`: everything on one machine, started together, ended together."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes import all_end, below, watched

pytestmark = [pytest.mark.broker, pytest.mark.skipif(sys.platform != "linux", reason="who belongs to whom is read from /proc")]

ROOT = Path(__file__).parents[2]


class Up:
    """A running `up` with one worker of the shop, and commands typed in a second terminal."""

    def __init__(self, home: Path) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("ORCHESTRATOR_", "WORKERS_"))}
        self._environment = {**clean, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(home), "ORCHESTRATOR_LEESE_S": "9"}
        self.note = home / "orchestrator" / "up.json"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator", "up", "--json", "--workers", "tests.cli.shop:thumbs"],
            cwd=ROOT, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.log: list[str] = []
        self.said: dict[str, Any] = json.loads(self.process.stdout.readline() or "null")

    def type(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command in a second terminal, which is told nothing of the broker."""
        return subprocess.run(
            [sys.executable, "-m", "orchestrator", *words],
            cwd=ROOT, env=self._environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def hear(self, word: str) -> None:
        """Wait until the log says this."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if word in line:
                return
        raise AssertionError(f"it ended without saying {word!r}")

    def rest(self) -> str:
        """What the log says from here to its end."""
        assert self.process.stderr is not None
        rest = self.process.stderr.read()
        self.log.append(rest)
        return rest

    def end(self) -> None:
        """If it has not ended by itself."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.communicate(timeout=60)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """It runs."""
    running = Up(tmp_path)
    try:
        yield running
    finally:
        running.end()


def test_a_second_terminal_finds_it_and_ctrl_c_lets_running_work_finish(up: Up, tmp_path: Path) -> None:
    """Ctrl-C reaches every process of the terminal; still a handler that runs comes to its end, and then all is gone."""
    assert stat.S_IMODE(up.note.stat().st_mode) == 0o600, "the broker's password is in it"
    assert json.loads(up.note.read_text())["url"] not in json.dumps(up.said)
    gate, done = tmp_path / "gate", tmp_path / "done"
    os.mkfifo(gate)
    again = up.type("up", "--workers", "tests.cli.shop:thumbs")
    assert (again.returncode, again.stdout) == (1, "")
    assert "An `orchestrator up` runs here already: process" in again.stderr
    assert "workers run MODULE:SERVICE" in again.stderr
    told = up.type("submit", "thumbs.wait_for", f"gate={gate}", f"done={done}", "--id", "w1")
    assert (told.returncode, told.stdout.split()) == (0, ["w1"])
    opened = gate.open("w", encoding="utf-8")  # opens once the handler reads: it runs
    with opened, watched(below(tmp_path)) as ends:
        os.killpg(up.process.pid, signal.SIGINT)
        up.hear("leaving")
        opened.write("let go")
        opened.close()
        assert "impatient" not in up.rest(), "one Ctrl-C is one request to leave, not two"
        assert up.process.wait(60) == 0
        assert all_end(ends, within_s=5.0)
    assert done.read_text() == "let go"
    assert "".join(up.log).count("ORCHESTRATOR_LEESE_S in the environment is no setting") == 1, (
        "not said again by each that it starts"
    )
    assert not up.note.exists()
    assert up.type("status").returncode == 1


def test_when_it_is_killed_nothing_of_it_runs_on_and_nothing_accepted_is_lost(up: Up, tmp_path: Path) -> None:
    """SIGKILL: agents, coordinator and broker end within seconds; the next `up` knows the task that waited."""
    assert up.type("submit", "other.thing", "--id", "t1").returncode == 0
    up.hear("an instance is ready")  # by then the coordinator leads, and has read what was submitted
    with watched(below(tmp_path) - {up.process.pid}) as ends:
        assert len(ends) >= 3, "agent, coordinator, broker"
        up.process.kill()
        up.process.wait()
        assert all_end(ends, within_s=30.0)
    assert "is gone" in up.type("status").stderr
    again = Up(tmp_path)
    try:
        again.hear("an instance is ready")
        known = again.type("task", "t1", "--json")
        assert known.returncode == 0, known.stderr
        assert json.loads(known.stdout)["state"] == "waiting"
    finally:
        again.end()
