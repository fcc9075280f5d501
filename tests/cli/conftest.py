"""A running orchestrator for the command line's tests, and a way to type at it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner, Result

from orchestrator.cli.app import app

ROOT = Path(__file__).parents[2]


class Typed(NamedTuple):
    """What a command said and how it ended."""

    code: int
    out: str
    err: str
    raised: BaseException | None

    @property
    def json(self) -> Any:
        """Its stdout, which must be one JSON value."""
        return json.loads(self.out)


Type = Callable[..., Typed]
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def typed(tmp_path: Path) -> Type:
    """Type a command line, in a home of its own."""

    def run(*words: str, **environment: str) -> Typed:
        cleared = dict.fromkeys((name for name in os.environ if name.startswith("ORCHESTRATOR_")), None)
        told = {**cleared, "XDG_STATE_HOME": str(tmp_path), "COLUMNS": "100", **environment}
        done: Result = CliRunner().invoke(app, list(words), env=told, prog_name="orchestrator")
        return Typed(done.exit_code, done.stdout, done.stderr, done.exception)

    return run


@pytest.fixture
def start(amqp_url: str) -> Iterator[Start]:
    """Start ``python -m …`` on the test's broker; all of them are stopped at the end."""
    running: list[subprocess.Popen[bytes]] = []

    def started(*words: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "ORCHESTRATOR_BROKER": amqp_url, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen([sys.executable, "-m", *words], env=environment, cwd=ROOT, stdin=subprocess.DEVNULL)
        running.append(process)
        return process

    try:
        yield started
    finally:
        for process in reversed(running):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def ask(amqp_url: str, start: Start, typed: Type) -> Type:
    """A coordinator runs; type commands at it."""
    start("orchestrator", "coordinator")

    def asked(*words: str) -> Typed:
        return typed(*words, ORCHESTRATOR_BROKER=amqp_url)

    answer = asked("status", "--json")  # waits until it leads
    assert answer.code == 0, answer.err
    return asked
