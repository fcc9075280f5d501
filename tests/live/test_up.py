"""What ``up`` starts is stopped, whatever comes in between."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from orchestrator.live.children import Children
from orchestrator.live.embedded.processes import Keeper
from orchestrator.live.note import UP_FILE, running_url
from orchestrator.live.settings import load_settings
from orchestrator.live.up import up

NOWHERE = "amqp://nobody:nothing@127.0.0.1:1/"


def keepers() -> set[int]:
    """Those of this process."""
    listing = subprocess.run(["ps", "-ww", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True)
    return {int(line.split()[0]) for line in listing.stdout.splitlines() if "orchestrator-keeper" in line}


def test_a_note_that_is_not_for_us_to_read_is_none(tmp_path: Path) -> None:
    """Another user's, or somebody's rubbish; one of a process that lives is read."""
    note = tmp_path / UP_FILE
    for rubbish in ("", "[]", "{}", '{"url": "amqp://x/", "pid": "me"}'):
        note.write_text(rubbish)
        assert running_url(tmp_path) is None
    note.write_text(json.dumps({"url": "amqp://x/", "pid": os.getpid()}))
    assert running_url(tmp_path) == "amqp://x/"
    note.unlink()
    note.mkdir()  # as unreadable, for who may read everything
    assert running_url(tmp_path) is None


async def test_a_keeper_that_somebody_killed_holds_up_nothing() -> None:
    """What was to be told it is told to nobody; the processes are stopped all the same."""
    before = keepers()
    children, broker = Children(), Keeper()
    process = await children.start("-c", "import time; time.sleep(600)", environment={})
    for pid in keepers() - before:
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222  it is dead in a moment
    await children.close()
    assert process.returncode == -signal.SIGTERM
    broker.watch(2**22, None)
    broker.dismiss()
    assert keepers() == before


STUBBORN = """
import pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path("deaf").touch()
time.sleep(600)
"""


async def test_a_second_interrupt_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is tired of waiting for an agent that does not end asks again: it is killed, and the coordinator stopped, before
    ``up`` is over."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    before = keepers()
    running: asyncio.Future[tuple[asyncio.subprocess.Process, ...]] = asyncio.get_running_loop().create_future()

    async def everything() -> None:
        async with up(load_settings(None, broker=NOWHERE, data_dir=str(tmp_path)), workers=["stubborn:service"]) as all_:
            running.set_result((all_.coordinator, *all_.agents))
            await asyncio.Event().wait()

    task = asyncio.ensure_future(everything())
    coordinator, agent = await running
    while not (tmp_path / "deaf").exists():  # noqa: ASYNC110  a process that says nothing else
        await asyncio.sleep(0.01)
    task.cancel()
    while (tmp_path / UP_FILE).exists():  # noqa: ASYNC110  what goes first
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert coordinator.returncode is not None
    assert await agent.wait() == -signal.SIGKILL
    assert keepers() == before


async def test_a_teams_own_package_of_our_name_is_not_taken_for_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lies in the directory where it is started; a service beside it is found there all the same."""
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "__init__.py").write_text("raise SystemExit(7)")
    (tmp_path / "mine.py").write_text("import sys, workers\nprint(workers.__file__)\nsys.exit(3)\n")
    monkeypatch.chdir(tmp_path)
    children = Children()
    process = await children.start("-m", "workers", "run", "mine:service", environment={"WORKERS_BROKER": NOWHERE})
    try:
        assert await asyncio.wait_for(process.wait(), 60) == 3
    finally:
        await children.close()
