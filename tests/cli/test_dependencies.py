"""Services that need services, through a real broker: drawn, waited for, and refused where they run in a circle."""

from __future__ import annotations

import select
import subprocess
import sys
import time

import pytest

from tests.cli.conftest import ROOT, Start, Type

pytestmark = pytest.mark.broker

TOWN = "tests.cli.town:"


def until(ask: Type, service: str, ready: int) -> None:
    """Wait until the coordinator counts so many ready instances; it is asked, for it has nobody to tell."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = {one["service"]: one["ready"] for one in ask("services", "--json").json}
        if found.get(service) == ready:
            return
    raise AssertionError(f"{service} has not got {ready} ready instances: {found}")


def test_a_service_waits_for_what_it_needs_and_the_graph_says_so(ask: Type, start: Start) -> None:
    """At start until the other has been there once, at dispatch whenever it is not there: never a silent wait."""
    start("workers", "run", TOWN + "market")
    until(ask, "market", 1)
    ask("submit", "market.grind", "--id", "t1")
    assert "needs service mill, post, which has no ready instance" in ask("why", "t1").out
    drawn = ask("services", "--graph").out
    assert "… market  1 of 1 wait for mill, post" in drawn
    assert "start ✗ mill  no instance" in drawn
    assert "dispatch ✗ post  no instance" in drawn
    warned = [one for one in ask("doctor", "--json").json["checks"] if one["check"] == "services"]
    assert [(one["state"], one["found"]) for one in warned] == [("warn", "market waits for mill, post")]

    miller = start("workers", "run", TOWN + "mill")
    until(ask, "mill", 1)
    assert "needs service post" in ask("why", "t1").out
    start("workers", "run", TOWN + "post")
    told = ask("submit", "market.grind", "corn=oat", "--wait", "--wait-timeout", "20s", "--json")
    assert (told.json["outcome"], told.json["value"]) == ("done", "oat flour")
    chart = ask("services", "--graph", "mermaid").out
    assert chart.startswith("flowchart LR")
    assert chart == ask("services", "--mermaid").out
    assert 's0["market<br/>1 ready"]:::green' in chart
    assert "s0 -->|start| s1" in chart
    assert "s0 -.->|dispatch| s2" in chart

    miller.terminate()  # once there was enough: only what is needed at dispatch is looked for at each task
    miller.wait(20)
    until(ask, "mill", 0)
    assert ask("submit", "market.grind", "--wait", "--wait-timeout", "20s").code == 0
    data = ask("services", "--graph", "--json").json
    assert data["needs"] == [
        {"service": "market", "needs": "mill", "at": "start", "met": False},
        {"service": "market", "needs": "post", "at": "dispatch", "met": True},
    ]
    assert data["circles"] == []


def test_who_closes_a_circle_is_not_made_ready_and_everybody_is_told(ask: Type, start: Start, amqp_url: str) -> None:
    """The instance in its own log; the others in services, why and doctor. What ran before goes on."""
    start("workers", "run", TOWN + "mill")
    start("workers", "run", TOWN + "post")
    start("workers", "run", TOWN + "market")
    until(ask, "market", 1)
    assert ask("submit", "market.grind", "--wait", "--wait-timeout", "20s").code == 0
    with subprocess.Popen(
        [sys.executable, "-m", "workers", "run", TOWN + "careless_mill", "--broker", amqp_url, "--instance", "mill@new"],
        cwd=ROOT, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
    ) as careless:  # fmt: skip
        try:
            assert careless.stderr is not None
            said = b""
            while b"market" not in said:
                assert select.select([careless.stderr], [], [], 20)[0], said
                said += careless.stderr.read1()
            assert "mill → market → mill" in said.decode()
            service = next(one for one in ask("services", "--json").json if one["service"] == "mill")
            assert service["ready"] == 1
            assert {one["instance"]: one["circle"] for one in service["instances"]}["mill@new"] == ["mill", "market", "mill"]
            assert "nobody in this circle could start first" in ask("services", "--graph").out
            assert "circular" in ask("services").out
            told = ask("doctor", "--json")
            assert told.code == 1
            assert any("mill → market → mill" in one["found"] for one in told.json["checks"] if one["state"] == "fail")
            for _ in range(3):
                done = ask("submit", "mill.grind", "--wait", "--wait-timeout", "20s", "--json").json
                assert (done["outcome"], done["instance"] == "mill@new") == ("done", False)
        finally:
            careless.terminate()


def test_a_task_that_gets_a_higher_priority_goes_first(ask: Type, start: Start) -> None:
    """Two wait for the only slot; the later one is put before the other, and runs before it."""
    for name in ("t1", "t2"):
        assert ask("submit", "mill.grind", "--id", name).code == 0
    told = ask("priority", "t2", "7", "--json")
    heard = {"task": "t2", "priority": 7, "before": 0, "state": "waiting", "ordering": "priority", "heeded": True}
    assert (told.code, told.json) == (0, heard)
    assert ask("task", "t2", "--json").json["priority"] == 7
    assert "has priority 8 now (it had 7). It takes its new place at once" in ask("priority", "t2", "8").out
    assert (ask("why", "t2", "--json").json["ahead"], ask("why", "t1", "--json").json["ahead"]) == (0, 1)
    for ordering, said in (
        ("sjf:ageing=10m", "is sjf:ageing=10m, which does not look at priority: it keeps its place"),
        ("fair", "takes its new place among the tasks of its tenant at once"),
        ("dps", "takes its new place at once"),
    ):
        assert ask("policy", ordering, "--service", "mill").code == 0
        assert said in " ".join(
            ask("priority", "t2", "9" if ask("task", "t2", "--json").json["priority"] == 8 else "8").out.split()
        )
    assert ask("policy", "--service", "mill", "--reset").code == 0
    assert "has priority -3 now" in ask("priority", "t1", "-3").out
    assert ask("priority", "t1", "--jsn").code == 2
    start("workers", "run", TOWN + "mill")
    until(ask, "mill", 1)
    last = ask("submit", "mill.grind", "--wait", "--wait-timeout", "20s", "--json").json
    first, second = (ask("task", name, "--json").json for name in ("t2", "t1"))
    assert first["started_ns"] < second["started_ns"] < last["started_ns"]
    late = ask("priority", "t1", "1")
    assert (late.code, late.out) == (1, "")
    assert "has ended as done" in late.err
    assert ask("priority", "t1", "1001").code == 2
