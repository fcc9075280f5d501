"""``orchestrator simulate``: what is typed, what is answered. No broker is asked."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli.app import app
from tests.cli.conftest import Type

TRACES = Path(__file__).parents[1] / "data" / "traces"
FUNC = str(TRACES / "azure_func2021_slice.csv.gz")
FIGURES = {
    "wait_s_mean",
    "wait_s_p99",
    "slowdown_mean",
    "slowdown_p99",
    "jain_tenants",
    "utilisation",
    "preemptions",
    "starved",
    "makespan_s",
    "backlog_end",
}


def test_policies_side_by_side_as_json(typed: Type) -> None:
    """One object: what was asked, how arrivals were stretched, and the figures of each policy."""
    words = (
        "--policy",
        "fifo",
        "--policy",
        "sjf",
        "--instances",
        "8",
        "--capacity",
        "slots=1",
        "--load",
        "0.9",
        "--jobs",
        "1",
        "--json",
    )
    done = typed("simulate", FUNC, *words)
    assert done.code == 0, done.err
    told = done.json
    assert list(told["policies"]) == ["fifo", "sjf"]
    assert told["load"] == pytest.approx(0.9)
    assert (told["instances"], told["capacity"], told["seed"]) == (8, {"slots": 1.0}, 0)
    assert told["arrivals_stretched"] == pytest.approx(1.2267, rel=1e-3)
    for figures in told["policies"].values():
        assert set(figures) >= FIGURES
        assert figures["done"] == told["tasks"] == 191
        assert figures["starved"] == 0
    assert typed("simulate", FUNC, *words).out == done.out


def test_a_table_for_people_and_what_was_chosen(typed: Type) -> None:
    """Without a fleet one is chosen that keeps up, and said."""
    done = typed("simulate", FUNC, "--policy", "sjf")
    assert done.code == 0, done.err
    assert "10 x slots=1" in done.out
    assert "sjf" in done.out
    assert "arrivals x" not in done.out


def test_invented_traces(typed: Type) -> None:
    """Arrivals and run times by law, at 0.8 if no load is said."""
    done = typed("simulate", "--arrivals", "mmpp", "--service", "lognormal:2", "--service-mean", "30s", "--count", "500", "--json")
    assert done.code == 0, done.err
    assert done.json["load"] == pytest.approx(0.8)
    assert done.json["policies"]["priority"]["tasks"] == 500


def test_times_of_each_task_are_written(typed: Type, tmp_path: Path) -> None:
    """id, submit_s, start_s, finish_s; with several policies, which one."""
    file = tmp_path / "t.csv"
    assert typed("simulate", FUNC, "--policy", "fifo", "--tasks", str(file)).code == 0
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert list(rows[0]) == ["id", "submit_s", "start_s", "finish_s"]
    assert len(rows) == 191
    assert all(float(row["submit_s"]) <= float(row["start_s"]) <= float(row["finish_s"]) for row in rows)
    assert typed("simulate", FUNC, "--policy", "fifo", "--policy", "sjf", "--jobs", "1", "--tasks", str(file)).code == 0
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert [rows[0]["policy"], rows[191]["policy"]] == ["fifo", "sjf"]


@pytest.mark.parametrize("form", ["png", "svg"])
def test_a_picture(typed: Type, tmp_path: Path, form: str) -> None:
    """Drawn, and the same each time."""
    first, second = tmp_path / f"a.{form}", tmp_path / f"b.{form}"
    for file in (first, second):
        assert typed("simulate", FUNC, "--policy", "fifo", "--policy", "sjf", "--jobs", "1", "--plot", str(file)).code == 0
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(b"\x89PNG" if form == "png" else b"<?xml")


def test_where_nothing_draws_it_is_said_what_to_install(typed: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    """What draws, and not this package from a public index, where it is not. It is a failure, not a mistake in what was typed."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = typed("simulate", FUNC, "--plot", "p.png")
    assert (done.code, done.out) == (1, "")
    assert "pip install matplotlib" in done.err


BAD = {
    ("simulate",): "Name a trace, or invent one",
    ("simulate", "none.csv"): "cannot be read",
    ("simulate", FUNC, "--policy", "shortest"): "there is no ordering policy 'shortest'; there are: dps, edf,",
    ("simulate", FUNC, "--policy", "sjf:ageing=soon"): "ageing of policy 'sjf' is",
    ("simulate", FUNC, "--placement", "x"): "there is no placement policy 'x'",
    ("simulate", FUNC, "--capacity", "slots"): "'slots' is not a demand",
    ("simulate", FUNC, "--capacity", "slots=0"): "a machine without slots need not name it",
    ("simulate", FUNC, "--speeds", "fast"): "--speeds 1,1,0.25",
    ("simulate", FUNC, "--load", "0"): "a load of 0 asks for nothing",
    ("simulate", FUNC, "--estimates", "hint"): "has no estimates of its users",
    ("simulate", FUNC, "--arrivals", "poisson"): "has its own arrivals",
    ("simulate", "--arrivals", "poison"): "'poison' is no arrival process",
    ("simulate", FUNC, "--delay", "long"): "not a length of time",
    ("simulate", FUNC, "--plot", "p.pdf"): "cannot be drawn",
}


@pytest.mark.parametrize("words", BAD, ids=lambda words: " ".join(words[1:])[-30:])
def test_what_makes_no_sense_is_bad_usage(typed: Type, words: tuple[str, ...]) -> None:
    """Exit code 2, and what would be right."""
    done = typed(*words)
    assert done.code == 2
    assert BAD[words] in " ".join(done.err.replace("│", " ").split())


def test_help_shows_examples_and_no_broker() -> None:
    """Nothing that this command does not heed is offered."""
    text = CliRunner().invoke(app, ["simulate", "--help"], env={"COLUMNS": "120"}).stdout
    assert "Example: orchestrator simulate" in text
    assert "--broker" not in text
