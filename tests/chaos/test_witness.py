"""What the witness makes of lines that are known: who is had twice, and who is excused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.witness import NS, Harm, Run, judge, read

FOR_EVER = 1 << 62


def ran(pid: int, began_s: float, ended_s: float = 0.0, *, effect: bool = True, task: str = "t") -> Run:
    """By one worker, from when to when; without an end it never had its effect."""
    return Run(task, f"1#{pid}", pid, round(began_s * NS), round(ended_s * NS), effect and ended_s > 0)


def harmed(pid: int, what: str, from_s: float, until_s: float | None = None) -> Harm:
    """Without an end: for ever."""
    return Harm(pid, what, round(from_s * NS), FOR_EVER if until_s is None else round(until_s * NS))


@pytest.mark.parametrize(
    ("runs", "harms", "twice", "again"),
    [
        pytest.param([ran(1, 1, 2)], [], 0, 0, id="one effect"),
        pytest.param([ran(1, 1), ran(2, 2, 3)], [], 0, 0, id="one of two was stopped on the way"),
        pytest.param([ran(1, 1, 2), ran(2, 3, 4)], [], 1, 0, id="two, and nobody was harmed"),
        pytest.param([ran(1, 1, 2), ran(2, 3, 4)], [harmed(1, "killed", 2.1)], 0, 1, id="the first was killed at its end"),
        pytest.param([ran(1, 1, 2), ran(2, 9, 10)], [harmed(1, "killed", 6)], 1, 0, id="killed when it had long reported"),
        pytest.param([ran(1, 1, 9), ran(2, 7, 8)], [harmed(1, "paused", 1.5, 8.9)], 0, 1, id="the paused one ends last"),
        pytest.param([ran(1, 1, 2), ran(2, 12, 13)], [harmed(2, "reset", 12.5, 12.5)], 1, 0, id="begun 10 s after a report"),
        pytest.param([ran(1, 1, 2), ran(2, 3, 4), ran(3, 3, 4)], [harmed(3, "reset", 3.5, 3.5)], 1, 1, id="three, one harmed"),
        pytest.param([ran(1, 1, 2), ran(2, 3, 4)], [harmed(1, "killed", 2), harmed(2, "killed", 4)], 0, 1, id="both were killed"),
    ],
)
def test_who_had_its_effect_twice(runs: list[Run], harms: list[Harm], twice: int, again: int) -> None:
    """What could have been avoided, and what could not."""
    account = judge(runs, {"t"}, harms, 0, 20 * NS)
    assert (len(account.twice), len(account.again)) == (twice, again)
    assert account.effects == {"t"}


def test_nothing_is_said_of_others() -> None:
    """Tasks of nobody's load, and tasks that never came to their end."""
    account = judge([ran(1, 1, 2, task="other"), ran(2, 3, 4, task="other"), ran(1, 5)], {"t"}, [], 0, 20 * NS)
    assert (account.effects, account.twice, account.again, account.overlaps) == (set(), [], [], [])


def test_two_at_the_same_time() -> None:
    """Overlaps count where nobody was harmed; who is dead does not overlap."""
    both = [ran(1, 1, 3), ran(2, 2, 4)]
    assert judge(both, {"t"}, [], 0, 20 * NS).overlaps == ["t"]
    assert judge(both, {"t"}, [harmed(1, "paused", 1.5, 2.5)], 0, 20 * NS).overlaps == []
    assert judge([ran(1, 1, 2), ran(2, 2, 4)], {"t"}, [], 0, 20 * NS).overlaps == []
    assert judge([ran(1, 1), ran(2, 2, 4)], {"t"}, [harmed(1, "killed", 1.5)], 0, 20 * NS).overlaps == []


def test_how_long_nothing_moved() -> None:
    """From the first fault to the end of the load, by effects in between; those before and after are not asked."""
    runs = [ran(1, 0, 1, task="a"), ran(1, 2, 3, task="b"), ran(1, 4, 7, task="c"), ran(1, 8, 11, task="d")]
    tasks = {run.task for run in runs}
    assert judge(runs, tasks, [], 2 * NS, 10 * NS).silence_s == 4
    assert judge(runs, tasks, [], 2 * NS, 20 * NS).silence_s == 9
    assert judge([], tasks, [], 2 * NS, 10 * NS).silence_s == 8


def test_how_soon_it_ran_elsewhere() -> None:
    """Counted from the kill, for what that cut off in the middle, and nothing else."""
    runs = [ran(1, 1), ran(2, 2.5, 3), ran(1, 0.5, 1, task="done"), ran(2, 4, 5, task="done")]
    assert judge(runs, {"t", "done"}, [harmed(1, "killed", 2)], 0, 20 * NS).moved_s == [0.5]


def test_what_is_read(tmp_path: Path) -> None:
    """Starts and ends, put together; a last line that is still being written is not read, nor an end without a start."""
    file = tmp_path / "witness"
    file.write_text(
        "10 7 start a 1#1\n11 8 start b 1#2\n12 7 end a 1#1\n13 8 stop b 1#2\n14 8 end x 1#9\n15 9 start c 1#3\n16 9 end c 1#"
    )
    assert read(file) == [Run("a", "1#1", 7, 10, 12, True), Run("b", "1#2", 8, 11, 13, False), Run("c", "1#3", 9, 15)]
    file.write_text("10 7 sta")
    assert read(file) == []
