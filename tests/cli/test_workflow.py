"""Workflows from the command line: written in a file, submitted, looked at, cancelled; through a real broker where they run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import flow
from orchestrator.cli.words import Unclear
from orchestrator.wire.messages import Edge
from tests.cli.conftest import Start, Type
from tests.cli.test_views import seen

SHOP = "tests.cli.shop:thumbs"
NIGHTLY = {
    "name": "nightly",
    "tasks": [
        {
            "id": "b",
            "type": "thumbs.frame",
            "after": [{"task": "a", "into": "thumb"}],
            "args": {"colour": "red"},
            "retries": 5,
            "size": 3,
        },
        {"id": "a", "type": "thumbs.resize", "args": {"path": "a.png"}, "need": {"gpu": [1, 2]}, "timeout": "1h30m"},
        {"id": "c", "type": "thumbs.resize", "after": ["a", {"task": "b", "on_failure": "continue"}], "args": {"path": "c.png"}},
    ],
}


def test_a_file_says_tasks_and_edges() -> None:
    """Names in it are its own; the ids are made of the workflow's and theirs. Parents may stand anywhere."""
    name, calls = flow.calls(NIGHTLY, None, reply=True)
    assert name.startswith("nightly-")
    b, a, c = (call.task for call in calls)
    assert [task.id for task in (a, b, c)] == [f"{name}.a", f"{name}.b", f"{name}.c"]
    assert b.after == (Edge(a.id, "fail", "thumb"),)
    assert c.after == (Edge(a.id), Edge(b.id, "continue"))
    assert (b.retries, b.size, a.timeout_ns, c.workflow) == (5, 3, 5_400_000_000_000, name)
    assert flow.calls(NIGHTLY, "mine", reply=True)[0] == "mine"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "an object with a list of tasks"),
        ({"tasks": []}, "an object with a list of tasks"),
        ({"tasks": [{"id": "a"}]}, "has an id and a type"),
        ({"tasks": [{"id": "a", "type": "a.b", "colour": 1}]}, "task 'a': colour cannot be said"),
        ({"tasks": [{"id": "a", "type": "a.b", "after": [{"parent": "b"}]}]}, "is no parent; write"),
        ({"tasks": [{"id": "a", "type": "a.b", "after": [{"task": "b", "on_failure": "cry"}]}]}, "task 'a': .*on_failure"),
        ({"tasks": [{"id": "a", "type": "a.b", "retries": -1}]}, "task 'a': .*retries"),
        ({"tasks": [{"id": "a b", "type": "a.b"}]}, "task 'a b': .*id"),
        ({"tasks": [{"id": "a", "type": "a.b"}], "edges": []}, "nothing named 'edges'"),
    ],
)
def test_a_file_that_cannot_be_meant_is_told(data: Any, words: str) -> None:
    """Which task, which word, and what would be right."""
    with pytest.raises(Unclear, match=words):
        flow.calls(data, None, reply=True)


def test_pictures() -> None:
    """A table for people, a chart for documents."""
    found = {
        "workflow": "w", "live": 2, "work_s": 7.5,
        "tasks": [
            {"task": "w.a", "type": "etl.load", "state": "done", "on": [], "parents": [], "path_s": None},
            {"task": "w.b", "type": "etl.join", "state": "running", "on": ["etl-1"], "parents": ["w.a"], "path_s": 5.0},
            {"task": "end", "type": "etl.tell", "state": "blocked", "on": [], "parents": ["w.a", "w.b"], "path_s": 2.5},
        ],
    }  # fmt: skip
    table = seen(flow.workflow_view(found))
    assert "3, of which 1 have ended" in table
    assert "w.a, w.b" in table
    assert flow.chart(found).splitlines()[:6] == [
        "flowchart TD",
        '    t0["w.a<br/>etl.load<br/>done"]:::green',
        '    t1["w.b<br/>etl.join<br/>running"]:::cyan',
        '    t2["end<br/>etl.tell<br/>blocked"]:::yellow',
        "    t0 --> t1",
        "    t0 --> t2",
    ]


def test_bad_usage_is_told_before_anything_is_asked(ask: Type, tmp_path: Path) -> None:
    """Options of one task beside a workflow; a file that is none; neither a task nor a workflow."""
    file = tmp_path / "flow.json"
    file.write_text("{}")
    for typed, words in [
        (["submit"], "--workflow FILE"),
        (["submit", "a.b", "--workflow", str(file)], "TYPE cannot be said of a whole workflow"),
        (["submit", "--workflow", str(file), "--retries", "0"], "--retries cannot be said"),
        (["submit", "--workflow", str(file), "--priority", "0"], "--priority cannot be said"),
        (["submit", "--workflow", str(file), "--size", "3", "--key", "k"], "--size, --key cannot be said"),
        (["submit", "--workflow", str(file), "--cache-for", "5m"], "--cache-for cannot be said"),
        (["submit", "--workflow", str(file), "--estimate", "5s", "--affinity", "a"], "--affinity, --estimate cannot be said"),
        (["submit", "--workflow", str(file), "--wait-timeout", "5s"], "add --wait, or leave both out"),
        (["submit", "a.b", "--wait-timeout", "5s"], "add --wait, or leave both out"),
        (["submit", "--workflow", str(file)], "an object with a list of tasks"),
        (["submit", "--workflow", str(tmp_path / "nowhere")], "cannot be read"),
        (["cancel"], "name one task, or one workflow"),
        (["cancel", "t1", "--workflow", "w"], "name one task, or one workflow"),
    ]:
        told = ask(*typed)
        assert told.code == 2, typed
        assert words in " ".join(told.err.replace("│", " ").split()), typed


@pytest.mark.broker
def test_a_workflow_is_submitted_looked_at_and_cancelled(ask: Type, tmp_path: Path) -> None:
    """Nobody runs it yet: each task says what it waits for; cancelled, all of it is."""
    file = tmp_path / "flow.json"
    file.write_text(json.dumps(NIGHTLY))
    told = ask("submit", "--workflow", str(file), "--id", "w")
    assert (told.code, told.out.split()) == (0, ["w"])
    assert "orchestrator workflow w" in told.err
    assert "'w' is a workflow, not a task: orchestrator workflow w" in ask("why", "w").err
    assert ask("submit", "--workflow", str(file), "--id", "nightly-7").code == 0
    while ask("workflow", "nightly-7").code:
        pass  # accepted by the broker; read by its coordinator in a moment
    assert "Ids that begin so: nightly-7" in ask("workflow", "nightly").err
    assert "it waits for its parent w.a (waiting)" in " ".join(ask("why", "w.b").out.split())
    assert {one["task"]: one["state"] for one in ask("workflow", "w", "--json").json["tasks"]} == {
        "w.a": "waiting", "w.b": "blocked", "w.c": "blocked",
    }  # fmt: skip
    assert "t1 --> t0" in ask("workflow", "w", "--mermaid").out
    assert {one["task"] for one in ask("tasks", "--workflow", "w", "--state", "blocked", "--json").json} == {"w.b", "w.c"}
    shown = " ".join(ask("task", "w.c").out.split())
    assert "after w.a (waiting); w.b (blocked, on failure continue)" in shown
    late = ask("submit", "--workflow", str(file), "--id", "late", "--wait", "--wait-timeout", "0.2s")
    assert late.code == 1
    assert "Workflow late has not ended within 0.2 s. It goes on. `orchestrator workflow late` shows how far" in late.err
    assert "3 tasks cancelled" in ask("cancel", "--workflow", "w").out
    assert {one["state"] for one in ask("workflow", "w", "--json").json["tasks"]} == {"cancelled"}
    assert ask("cancel", "--workflow", "w").code == 1


@pytest.mark.broker
def test_a_workflow_runs_and_its_results_are_handed_on(ask: Type, start: Start, tmp_path: Path) -> None:
    """With --wait every task's end is told; the exit code is that of the whole."""
    start("workers", "run", SHOP)
    file = tmp_path / "flow.json"
    file.write_text(json.dumps(NIGHTLY))
    told = ask("submit", "--workflow", str(file), "--wait", "--wait-timeout", "20s", "--json")
    assert told.code == 0, told
    values = {one["task"].rpartition(".")[2]: one["value"] for one in told.json["tasks"]}
    assert values["b"] == "a.png@100 in red"
    broken = {
        "tasks": [{"id": "a", "type": "thumbs.fail", "args": {"why": "no"}}, {"id": "b", "type": "thumbs.hold", "after": ["a"]}]
    }
    file.write_text(json.dumps(broken))
    told = ask("submit", "--workflow", str(file), "--wait", "--wait-timeout", "20s", "--json")
    assert told.code == 1
    assert [(one["outcome"], one["error"]["kind"]) for one in told.json["tasks"]] == [
        ("failed", "ValueError"),
        ("failed", "parent_failed"),
    ]
    told = ask("submit", "--workflow", str(file), "--wait", "--wait-timeout", "20s")
    assert "0 of 2 tasks" in told.out
