"""`orchestrator record` against a real broker, a real coordinator and a real worker."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator import traces
from tests.cli.conftest import ROOT, Start, Type

pytestmark = pytest.mark.broker


def test_what_ran_is_recorded(ask: Type, start: Start, tmp_path: Path) -> None:
    """Every task that ran, with what its producer said; what did not run is counted, and the trace can be read."""
    start("workers", "run", "tests.cli.shop:thumbs")
    for number, more in enumerate([("--need", "gpu=1"), ("--tenant", "acme", "--priority", "4"), ("--deadline", "1h")]):
        done = ask("submit", "thumbs.resize", f"path={number}.png", "--id", f"t{number}", *more, "--wait", "--wait-timeout", "30s")
        assert done.code == 0, done.err
    ask("submit", "missing.thing", "--id", "waits")
    ask("submit", "missing.thing", "--id", "never")
    assert ask("cancel", "never").code == 0
    file = tmp_path / "day.csv.gz"
    told = ask("record", str(file), "--json")
    assert told.code == 0, told.err
    assert (told.json["tasks"], told.json["under_way"], told.json["left_out"]) == (3, 1, {"cancelled": 1})
    found = {task.id: task for task in traces.read(file).tasks}
    assert list(found) == ["t0", "t1", "t2"]
    assert [task.type for task in found.values()] == ["thumbs.resize"] * 3
    assert (found["t0"].need, found["t1"].tenant, found["t1"].priority) == ({"gpu": 1.0}, "acme", 4)
    assert found["t2"].deadline_s == pytest.approx(found["t2"].submit_s + 3600, abs=1)
    lived = ask("task", "t2", "--json").json
    assert found["t2"].runtime_s == pytest.approx((lived["ended_ns"] - lived["started_ns"]) / 1e9, abs=1e-6)

    asked = ask("simulate", str(file), "--policy", "fifo", "--policy", "sjf", "--instances", "1", "--json")
    assert asked.code == 0, asked.err
    assert {name: found["done"] for name, found in asked.json["policies"].items()} == {"fifo": 3, "sjf": 3}

    again = ask("record", str(file))
    assert (again.code, again.out) == (2, "")
    assert "is there already" in again.err
    assert "what form is it in?" in ask("record", str(tmp_path / "day.xls")).err
    assert ask("record", str(tmp_path / "b.csv"), "--since", "tomorrow").code == 2
    for_people = ask("record", str(tmp_path / "c.jsonl"), "--since", "1h")
    assert for_people.code == 0
    assert "1 task had not ended" in for_people.out
    assert "has no room for tenants" in for_people.out
    time.sleep(0.001)  # so that the last task was accepted before "just now"
    nothing = ask("record", str(tmp_path / "d.csv"), "--since", "0s")
    assert nothing.code == 1
    assert "Nothing was written" in nothing.err
    assert not (tmp_path / "d.csv").exists()


def test_without_a_ledger_there_is_nothing_to_record(amqp_url: str, typed: Type, tmp_path: Path) -> None:
    """No coordinator ever ran: it says so, and leaves no file behind."""
    told = typed("record", str(tmp_path / "t.csv"), "--broker", amqp_url)
    assert told.code == 1
    assert "no coordinator has run here yet" in told.err
    assert list(tmp_path.glob("*.csv")) == []


def test_following_ends_with_ctrl_c_and_keeps_what_came(ask: Type, start: Start, amqp_url: str, tmp_path: Path) -> None:
    """It begins before the work, sees it, and is interrupted: the file is whole."""
    start("workers", "run", "tests.cli.shop:thumbs")
    file = tmp_path / "live.csv"
    words = ["-m", "orchestrator", "record", str(file), "--follow", "--json", "--broker", amqp_url]
    with subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True) as recording:
        try:
            seen = 0
            for number in range(100):  # until it has come so far that it sees what comes
                ask("submit", "thumbs.resize", f"path={number}.png", "--wait", "--wait-timeout", "30s")
                seen += file.exists()
                if seen == 3:
                    break
            recording.send_signal(signal.SIGINT)
            out, _ = recording.communicate(timeout=30)
        finally:
            recording.kill()
    assert recording.returncode == 0
    assert f'"tasks": {len(traces.read(file).tasks)}' in out
    assert len(traces.read(file).tasks) >= 3
