"""Traces are read whole, or refused with file, line and column."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from orchestrator import traces
from orchestrator.traces import BadTrace, TraceTask
from orchestrator.traces.names import TYPES_MAX, kinds

DATA = Path(__file__).parents[1] / "data" / "traces"

READ = {
    "openb_gpu2023.csv.gz": (7211, 9),
    "nrel_eagle_sample.csv.gz": (1000, 162),
    "azure_llm2023_conv_modelled.csv.gz": (19366, 1),
    "azure_func2021_slice.csv.gz": (191, 31),
    "wfinstances.jsonl.gz": (27362, 584),
    "alibaba2018_dags.jsonl.gz": (16052, 4),
}


@pytest.mark.parametrize("name", READ)
def test_published_traces_are_read(name: str) -> None:
    """Every task is there, and there are few enough types to learn from."""
    trace = traces.read(DATA / name)
    tasks, types = READ[name]
    assert len(trace.tasks) == tasks
    assert len({task.type for task in trace.tasks}) == types
    assert trace.tasks[0].submit_s == 0.0
    assert [task.submit_s for task in trace.tasks] == sorted(task.submit_s for task in trace.tasks)


@pytest.mark.parametrize("name", READ)
def test_what_is_written_is_read_again(name: str, tmp_path: Path) -> None:
    """A trace that is written as a table has lost nothing, and is the same bytes each time."""
    tasks = traces.read(DATA / name).tasks
    first, second = tmp_path / "a.csv.gz", tmp_path / "b.csv.gz"
    assert traces.write(first, tasks) == traces.write(second, tasks) == len(tasks)
    assert traces.read(first).tasks == tasks
    assert first.read_bytes() == second.read_bytes()


def test_workflows_are_written_as_workflows(tmp_path: Path) -> None:
    """Ids, demands and edges come back; parents stand before their children."""
    tasks = traces.read(DATA / "alibaba2018_dags.jsonl.gz").tasks
    traces.write(tmp_path / "t.jsonl", tasks)
    again = traces.read(tmp_path / "t.jsonl").tasks
    assert again == tasks
    seen: set[str] = set()
    for task in again:
        assert seen.issuperset(task.after)
        seen.add(task.id)


def test_columns_that_are_not_known_are_left_alone(tmp_path: Path) -> None:
    """A recorded trace carries more than a simulation asks for; times are counted from the first arrival."""
    path = tmp_path / "t.csv"
    path.write_text(
        "id,submit_s,wait_s,runtime_s,type,depends_on,size,deadline_s,user,workflow\n"
        "b,12.5,3,2,mail.send,a,7,20,kim,w\n"
        "a,10,0,1,thumbs.resize,,,,,w\n"
    )
    trace = traces.read(path)
    assert trace.tasks == (
        TraceTask("a", 0.0, 1.0, "thumbs.resize", {}, workflow="w"),
        TraceTask("b", 2.5, 2.0, "mail.send", {}, "kim", size=7.0, after=("a",), workflow="w", deadline_s=10.0),
    )
    assert "10 s" in trace.notes[0]


BAD = {
    "submit_s,cpus\n0,1\n": "line 1: there is no column runtime_s",
    "submit_s,runtime_s\n0,1\n1,soon\n": "line 3, column runtime_s: 'soon' is not a number",
    "submit_s,runtime_s\n0,nan\n": "line 2, column runtime_s: 'nan'",
    "submit_s,runtime_s\n0,-1\n": "line 2, column runtime_s: '-1'",
    "submit_s,runtime_s,cpus\n0,1,many\n": "line 2, column cpus: 'many'",
    "submit_s,runtime_s\n,1\n": "line 2, column submit_s: it is blank",
    "submit_s,runtime_s,id\n0,1,a b\n": "line 2, column id: 'a b' cannot be a task's id",
    "submit_s,runtime_s,type\n0,1,resize\n": "line 2, column type: 'resize' is not a task type; write service.handler",
    "submit_s,runtime_s,id\n0,1,a\n0,1,a\n": "the id 'a' names more than one task",
    "submit_s,runtime_s,depends_on\n0,1,t9\n": "comes after 't9', which is not in the trace",
    "submit_s,runtime_s,depends_on\n0,1,t2\n0,1,t1\n": "in a circle: t1 -> t2 -> t1",
    "submit_s,runtime_s\n": "there are no tasks",
    "": "line 1: there is no column submit_s",
    'submit_s,runtime_s,name\n0,1,"a\n': "not a table",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_table_is_refused_with_where_and_why(text: str, tmp_path: Path) -> None:
    """Nothing is guessed; the message says where to look."""
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(BadTrace, match=r"^t\.csv") as caught:
        traces.read(path)
    assert BAD[text] in str(caught.value)


BAD_FLOWS = {
    "{": "line 1: it is not a workflow",
    '{"name": "w", "tasks": []}': "line 1: it is not a workflow",
    '{"name": "w", "tasks": [{"id": "a", "runtime_s": -1}]}': "line 1: it is not a workflow",
    '{"name": "w", "tasks": [{"id": "a", "runtime_s": 1, "depends_on": ["b"]}]}': "depends on 'b', which is not in its workflow",
    '\n{"name": "w", "tasks": [{"id": "a", "runtime_s": 1, "depends_on": ["a"]}]}': "in a circle",
    '{"name": "v", "submit_s": 1, "tasks": [{"id": "a", "runtime_s": 1}]}\n{"name": "w", "tasks": [{"id": "a", "runtime_s": 1}]}': (
        "line 2: this workflow says no submit_s"
    ),
}


@pytest.mark.parametrize("text", BAD_FLOWS)
def test_a_bad_workflow_is_refused_with_where_and_why(text: str, tmp_path: Path) -> None:
    """Also in the other form."""
    path = tmp_path / "t.jsonl"
    path.write_text(text)
    with pytest.raises(BadTrace, match=r"^t\.jsonl") as caught:
        traces.read(path)
    assert BAD_FLOWS[text] in str(caught.value)


def test_files_that_are_no_traces(tmp_path: Path) -> None:
    """An unknown form, half a gzip file, bytes that are no text."""
    with pytest.raises(BadTrace, match=r"ends in one of \.csv"):
        traces.read(tmp_path / "t.txt")
    whole = gzip.compress(b"submit_s,runtime_s\n" + b"0,1\n" * 1000)
    (tmp_path / "half.csv.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "none.csv.gz").write_bytes(b"submit_s")
    (tmp_path / "bytes.csv").write_bytes(b"submit_s,runtime_s\n\xff\xfe,1\n")
    for name in ("half.csv.gz", "none.csv.gz"):
        with pytest.raises(BadTrace, match=rf"^{name}.* not a whole gzip file"):
            traces.read(tmp_path / name)
    with pytest.raises(BadTrace, match="not text in UTF-8"):
        traces.read(tmp_path / "bytes.csv")
    with pytest.raises(FileNotFoundError):
        traces.read(tmp_path / "missing.csv")


def test_many_names_make_few_types() -> None:
    """Numbers are taken out of names when there are too many; the last one is a hint of size unless it is an identifier."""
    few = kinds(["BE/Running", "BE/Running", "LS 7"])
    assert few["BE/Running"] == ("trace.BE-Running", None)
    assert few["LS 7"] == ("trace.LS-7", None)
    many = kinds([f"ctx{n}/gen{n + 1}" for n in range(TYPES_MAX + 1)] + ["job007"])
    assert many["ctx374/gen375"] == ("trace.ctx-gen", 375.0)
    assert many["job007"] == ("trace.job", None)
    letters = "abcdefghijklmnopqrstuvwxyz"
    strange = kinds([a + b + c for a in letters for b in letters for c in "xyz"] + ["aax"])
    assert len({kind.type for kind in strange.values()}) == TYPES_MAX
    assert strange["aax"].type == "trace.aax"
    assert strange["zzz"].type == "trace.other"
