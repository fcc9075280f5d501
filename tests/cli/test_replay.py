"""`orchestrator replay` against a real broker and a real coordinator, with agents that sleep."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from orchestrator import traces
from orchestrator.traces import TraceTask
from tests.cli.conftest import ROOT, Start, Type

pytestmark = pytest.mark.broker


def trace(folder: Path, *tasks: TraceTask) -> str:
    """A trace file of these."""
    traces.write(folder / "t.csv", tasks)
    return str(folder / "t.csv")


def test_every_task_runs_as_long_as_it_did_and_the_system_is_left_as_it_was(ask: Type, tmp_path: Path) -> None:
    """Two instances with a slot each, six tasks of a minute at a hundred times the speed: three rounds of 0.6 s."""
    ask("policy", "--ordering", "fifo")
    file = trace(tmp_path, *(TraceTask(f"a{number}", 0, 60, "thumbs.resize", tenant=f"u{number % 2}") for number in range(6)))
    told = ask(
        "replay", file, "--speed", "100", "--instances", "2", "--policy", "sjf", "--tasks", str(tmp_path / "out.csv"), "--json"
    )
    assert told.code == 0, told.err
    found = told.json
    assert (found["tasks"], found["done"], found["attempts"]) == (6, 6, 6)
    assert found["wait_s_mean"] == pytest.approx(60, abs=15)
    assert found["makespan_s"] == pytest.approx(180, abs=30)
    assert found["slowdown_mean"] == pytest.approx(2, abs=0.3)
    assert 0.8 < found["utilisation"] <= 1.05
    assert found["jain_tenants"] == pytest.approx(1, abs=0.1)
    assert found["policies"]["ordering"] == "sjf"
    with (tmp_path / "out.csv").open(encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    assert {row["id"] for row in rows} == {f"a{number}" for number in range(6)}
    assert all(float(row["submit_s"]) <= float(row["start_s"]) <= float(row["finish_s"]) - 59 for row in rows)
    policies = ask("policy", "--json").json
    assert policies["now"]["ordering"] == "fifo"
    assert policies["services"] == {}
    assert "thumbs" not in {one["service"] for one in ask("services", "--json").json}, "the trace's own services are left alone"
    apart = trace(tmp_path, *(TraceTask(f"b{number}", number * 100, 20) for number in range(6)))
    shown = ask("replay", apart, "--speed", "1000", "--instances", "2", "--load", "0.5")
    assert shown.code == 0
    assert "6 done" in shown.out
    assert "times between arrivals were multiplied by 0.24" in shown.out


def test_live_and_simulated_agree(ask: Type, tmp_path: Path) -> None:
    """The same trace at 500 times its speed through a real broker: its mean wait is within 15 % of what virtual time says.

    Bursts of twenty, exponential run times of five minutes in the mean (so that a task sleeps 0.6 s and the few milliseconds that
    the system takes for itself do not decide); two instances with four slots at load 0.9, in two orders.
    """
    dice = Random(7)
    tasks = [TraceTask(f"a{n}", n // 20 * 800 + dice.random(), dice.expovariate(1 / 300)) for n in range(160)]
    file = trace(tmp_path, *tasks)
    fleet = ("--instances", "2", "--capacity", "slots=4", "--load", "0.9")
    for policy in ("fifo", "sjf"):
        simulated = ask("simulate", file, *fleet, "--policy", policy, "--json").json["policies"][policy]
        told = ask("replay", file, *fleet, "--policy", policy, "--speed", "500", "--compare", "--json")
        assert told.code == 0, told.err
        live = told.json
        print(f"{policy}: mean wait {live['wait_s_mean']:.1f} s live, {simulated['wait_s_mean']:.1f} s simulated")
        assert live["simulated"]["wait_s_mean"] == pytest.approx(simulated["wait_s_mean"])
        assert simulated["wait_s_mean"] > 100, "there is something to be seen"
        assert live["wait_s_mean"] == pytest.approx(simulated["wait_s_mean"], rel=0.15)
        assert live["makespan_s"] == pytest.approx(simulated["makespan_s"], rel=0.1)
    shown = ask("replay", file, *fleet, "--speed", "5000", "--compare")
    assert "simulated" in shown.out
    assert "off by" in shown.out


def test_a_demand_that_is_more_than_an_instance_has_is_cut_and_what_overlaps_is_held_apart(ask: Type, tmp_path: Path) -> None:
    """Two tasks of 6 and 100 cpus on one instance with 8: they cannot overlap."""
    file = trace(tmp_path, TraceTask("a", 0, 30, need={"cpu": 6}), TraceTask("b", 0, 30, need={"cpu": 100}))
    told = ask("replay", file, "--speed", "100", "--instances", "1", "--capacity", "cpu=8", "--json")
    assert told.code == 0, told.err
    assert told.json["makespan_s"] == pytest.approx(60, abs=10)
    assert any("cut" in note for note in told.json["notes"])


def test_a_long_task_yields_and_goes_on_from_where_it_was(ask: Type, tmp_path: Path) -> None:
    """Under srtf five short tasks need not wait for the long one that runs; nothing of what it had slept is slept again."""
    short = [TraceTask(f"s{number}", 1000 + number, 50) for number in range(5)]
    file = trace(tmp_path, TraceTask("long", 0, 3000), *short)
    out = tmp_path / "out.csv"
    told = ask("replay", file, "--speed", "500", "--instances", "1", "--policy", "srtf", "--tasks", str(out), "--json")
    assert told.code == 0, told.err
    with out.open(encoding="utf-8") as text:
        ends = {row["id"]: float(row["finish_s"]) for row in csv.DictReader(text)}
    assert max(ends[f"s{number}"] for number in range(5)) < 1400
    assert ends["long"] == pytest.approx(3250, abs=150)


def test_a_workflow_is_lived_through_parents_first(ask: Type, tmp_path: Path) -> None:
    """Three tasks in a row and one beside them: as long as the row, though there is room for all."""
    row = [TraceTask(f"a{n}", 0, 30, after=(f"a{n - 1}",) if n else ()) for n in range(3)]
    file = trace(tmp_path, *row, TraceTask("b", 0, 30, after=("a0",)))
    told = ask("replay", file, "--speed", "100", "--instances", "4", "--tasks", str(tmp_path / "out.csv"), "--json")
    assert told.code == 0, told.err
    assert told.json["makespan_s"] == pytest.approx(90, abs=15)


def test_agents_may_sleep_elsewhere(ask: Type, start: Start, tmp_path: Path) -> None:
    """Some that serve the trace in another process; without them it says how many are missing."""
    file = trace(tmp_path, *(TraceTask(f"a{number}", 0, 10) for number in range(4)))
    start("orchestrator", "replay", file, "--serve", "--instances", "2")
    told = ask("replay", file, "--speed", "100", "--instances", "3", "--workers", "1", "--json")
    assert told.code == 0, told.err
    assert told.json["done"] == 4


def test_what_makes_no_sense_is_refused_before_anything_is_submitted(ask: Type, tmp_path: Path) -> None:
    """A trace that cannot be read, a policy that nobody knows, a speed of nothing."""
    file = trace(tmp_path, TraceTask("a", 0, 1))
    for words in (
        (str(tmp_path / "none.csv"),),
        (file, "--speed", "0"),
        (file, "--capacity", "slots"),
        (file, "--policy", "alphabetical"),
        (file, "--load", "0.9"),
    ):
        wrong = ask("replay", *words)
        assert wrong.code in (1, 2), words
        assert wrong.out == ""
        assert "mistake in the orchestrator" not in wrong.err, wrong.err
    assert ask("status", "--json").json["counts"].get("accepted", 0) == 0


def test_broken_off_it_leaves_nothing_behind(ask: Type, amqp_url: str, tmp_path: Path) -> None:
    """Ctrl-C in the middle: what was submitted is cancelled, the agents leave, the policies are as before."""
    file = trace(tmp_path, *(TraceTask(f"a{number}", 0, 1000) for number in range(5)))
    words = ["-m", "orchestrator", "replay", file, "--instances", "2", "--policy", "sjf", "--broker", amqp_url]
    with subprocess.Popen([sys.executable, *words], cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            while len([one for one in ask("tasks", "--json").json if one["state"] == "running"]) < 2:
                assert process.poll() is None, process.communicate()
            process.send_signal(2)
            process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 1
    assert ask("tasks", "--json").json == []
    assert ask("policy", "--json").json["services"] == {}
    assert json.loads(ask("status", "--json").out)["counts"]["cancelled"] == 5
