"""The witness: what really ran, told by the processes themselves and judged without anybody's books."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.demo.witness import Kill, Line, Reader, attested, judge, work_of

MS = 1_000_000


def lines(*told: tuple[int, str, str, int, str]) -> list[Line]:
    """Lines from (ms, task, attempt, pid, phase)."""
    return [Line(at * MS, task, attempt, pid, phase) for at, task, attempt, pid, phase in told]  # type: ignore[arg-type]


def test_an_ordinary_run_is_clean() -> None:
    """Each task once: nothing twice, nothing unseen, nothing moved."""
    seen = judge(
        lines((1, "a", "9#1", 10, "start"), (2, "a", "9#1", 10, "end"), (2, "b", "9#2", 11, "start"), (5, "b", "9#2", 11, "end")),
        ["a", "b"],
        [],
    )
    assert (seen.attempts, seen.twice, seen.unseen, seen.moved, seen.reassign_ms) == (2, (), (), (), None)


def test_a_task_completed_twice_is_seen() -> None:
    """Whoever did it, and however long after."""
    told = lines(
        (1, "a", "9#1", 10, "start"), (2, "a", "9#1", 10, "end"), (9, "a", "9#2", 11, "start"), (10, "a", "9#2", 11, "end")
    )
    assert judge(told, ["a"], []).twice == ("a",)


def test_two_tries_at_the_same_time_are_seen_even_if_one_fails() -> None:
    """Running twice at once is the fault, not only finishing twice."""
    told = lines(
        (1, "a", "9#1", 10, "start"), (3, "a", "9#2", 11, "start"), (4, "a", "9#1", 10, "raised"), (5, "a", "9#2", 11, "end")
    )
    assert judge(told, ["a"], []).twice == ("a",)


def test_a_retry_after_a_failure_is_no_double() -> None:
    """It failed, then it ran again and was done."""
    told = lines(
        (1, "a", "9#1", 10, "start"), (2, "a", "9#1", 10, "raised"), (3, "a", "9#2", 11, "start"), (5, "a", "9#2", 11, "end")
    )
    assert judge(told, ["a"], []).twice == ()


def test_reassignment_counts_from_the_kill_to_the_first_start_elsewhere() -> None:
    """Two tasks died with the process; the first of them to start again counts."""
    told = lines(
        (1, "a", "9#1", 10, "start"), (2, "b", "9#2", 10, "start"), (3, "c", "9#3", 10, "start"), (4, "c", "9#3", 10, "end"),
        (60, "b", "9#4", 11, "start"), (70, "a", "9#5", 11, "start"), (80, "b", "9#4", 11, "end"), (90, "a", "9#5", 11, "end"),
    )  # fmt: skip
    seen = judge(told, ["a", "b", "c"], [Kill(10 * MS, 10, "parse-1")])
    assert seen.moved == ("a", "b")
    assert seen.stuck == ()
    assert seen.reassign_ms == 50.0
    assert seen.twice == ()


def test_a_second_try_that_began_before_the_first_process_died_is_an_overlap() -> None:
    """While the first worker lived nobody else may have run its task."""
    told = lines((1, "a", "9#1", 10, "start"), (8, "a", "9#2", 11, "start"), (12, "a", "9#2", 11, "end"))
    assert judge(told, ["a"], [Kill(10 * MS, 10, "parse-1")]).twice == ("a",)


def test_a_task_said_to_be_done_that_nobody_saw_is_named() -> None:
    """A result without an end in the file is a lie."""
    assert judge(lines((1, "a", "9#1", 10, "start")), ["a", "b"], []).unseen == ("a", "b")


def test_a_task_that_nobody_took_up_again_is_stuck() -> None:
    """It died with its process, and that was it."""
    seen = judge(lines((1, "a", "9#1", 10, "start")), [], [Kill(10 * MS, 10, "parse-1")])
    assert (seen.stuck, seen.reassign_ms) == (("a",), None)


def test_handlers_attest_their_start_and_how_it_went(tmp_path: Path) -> None:
    """Done and raised are told apart, with the process that did it."""
    file = tmp_path / "witness"
    with attested(file, "a", "9#1"):
        pass
    with pytest.raises(ValueError, match="bad"), attested(file, "b", "9#2"):
        raise ValueError("bad")
    told = Reader(file).lines()
    assert [(line.task, line.phase) for line in told] == [("a", "start"), ("a", "end"), ("b", "start"), ("b", "raised")]
    assert {line.pid for line in told} == {os.getpid()}
    assert work_of(told, os.getpid()) == (set(), {"a"})


def test_a_killed_process_leaves_whole_lines_and_what_it_was_doing(tmp_path: Path) -> None:
    """SIGKILL in the middle of a task: its start is there, its end is not, and the reader sees what came later too."""
    file = tmp_path / "witness"
    script = f"""
import sys, time
from pathlib import Path
from orchestrator.demo.witness import attested
with attested(Path({str(file)!r}), "done", "9#1"): pass
with attested(Path({str(file)!r}), "cut", "9#2"):
    print("in it", flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"in it\n"
    reader = Reader(file)
    assert work_of(reader.lines(), process.pid) == ({"cut"}, {"done"})
    kill = Kill(time.time_ns(), process.pid, "it")
    process.send_signal(signal.SIGKILL)
    process.wait()
    with attested(file, "cut", "9#3"):
        pass
    seen = judge(reader.lines(), ["done", "cut"], [kill])
    assert seen.moved == ("cut",)
    assert seen.twice == ()
    assert seen.reassign_ms is not None
    assert seen.reassign_ms > 0
