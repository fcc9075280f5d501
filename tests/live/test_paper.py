"""A full disk under the log, or nobody who reads it any more: who says something works on, and says later how much is missing."""

from __future__ import annotations

import json
import os
import pty
import select
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.live.telemetry import configure
from workers.live.logbook import logbook

ROOT = Path(__file__).parents[2]
COMMANDS = {"coordinator": ["orchestrator", "coordinator"], "worker": ["workers", "run", "tests.chaos.services:service"]}


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_process_whose_log_is_on_a_full_disk_lives_and_ends_as_any_other(kind: str) -> None:
    """Who answers at its broker's address hangs up each time. It says so unheard, tries on, and ends when it is told."""
    with socket.create_server(("127.0.0.1", 0)) as door, Path("/dev/full").open("w") as full:
        door.settimeout(60)
        broker = f"amqp://nobody:nothing@127.0.0.1:{door.getsockname()[1]}/"
        process = subprocess.Popen([sys.executable, "-m", *COMMANDS[kind], "--broker", broker], cwd=ROOT, stderr=full)
        try:
            for _ in range(4):
                door.accept()[0].close()
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()


def test_what_could_not_be_written_is_counted_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a pipe that is full, both logs leave lines out; once it is read the next line says how many, and no line is torn."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with os.fdopen(write, "w") as pipe, os.fdopen(read) as reader:
        monkeypatch.setattr(sys, "stderr", pipe)
        telemetry, book = configure("json", "info"), logbook("json", "info")
        for number in range(100):  # as many as the throttle lets through
            telemetry.say("session", {"why": "x" * 5_000, "number": number})
        book.say("connected")
        os.set_blocking(reader.fileno(), False)
        first = os.read(reader.fileno(), 1 << 20).decode()
        telemetry.say("stopping", {})
        book.say("ended")
        then = [json.loads(line) for line in os.read(reader.fileno(), 1 << 20).decode().split("\n") if line]
    whole, torn = first[: first.rindex("\n")].split("\n"), first[first.rindex("\n") + 1 :]
    assert [json.loads(line)["number"] for line in whole] == list(range(len(whole)))
    assert (torn == "") is (len(whole) < 1)
    stopping, ended = then[-2:]
    assert stopping["missing"] == 100 - len(whole)
    assert ended["missing"] == 1


UNREAD = """
from orchestrator.live.telemetry import configure
telemetry = configure("json", "info")
for number in range(100):
    telemetry.say("session", {"why": "x" * 5_000, "number": number})
print("worked on", flush=True)
input()
telemetry.say("stopping", {})
"""


@pytest.mark.parametrize("what", ["pipe", "terminal", "socket"])
def test_nobody_waits_for_who_does_not_read_his_log(what: str) -> None:
    """A pager, a terminal that is away, a journal that hangs: half a megabyte of log is more than they take unread. Who says it
    works on, says afterwards how much is missing, and has not changed for others who write there that their writes wait."""
    read, write = _ends(what)
    try:
        with subprocess.Popen(
            [sys.executable, "-c", UNREAD], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=write, text=True
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stdin is not None
                worked_on, _, _ = select.select([process.stdout], [], [], 60)
                assert worked_on, "it waits for who does not read"
                assert os.get_blocking(write)
                os.set_blocking(read, False)
                said = _all_of(read)
                process.stdin.write("\n")
                process.stdin.close()
                assert process.wait(60) == 0
            finally:
                process.kill()
        last = json.loads(_all_of(read).splitlines()[-1])
        numbers = [json.loads(line)["number"] for line in said.splitlines() if line.endswith("}")]
        assert numbers == list(range(len(numbers)))
        assert last["missing"] == 100 - len(numbers)
    finally:
        os.close(read)
        os.close(write)


def _ends(what: str) -> tuple[int, int]:
    """Where to read, where to write."""
    if what == "socket":
        read, write = socket.socketpair()
        return read.detach(), write.detach()
    return os.pipe() if what == "pipe" else pty.openpty()


def _all_of(read: int) -> str:
    """What waits there to be read."""
    found = b""
    while select.select([read], [], [], 0)[0]:
        found += os.read(read, 1 << 20)
    return found.decode()
