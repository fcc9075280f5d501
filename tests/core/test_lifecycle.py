"""The two tables say what may follow what. Every row is walked in a scenario or a story; a row that never is has no place there."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.core import lifecycle
from orchestrator.core.custody import records
from orchestrator.core.lifecycle import INSTANCE, TASK, InstanceState, InstanceStep, TaskState, TaskStep
from orchestrator.core.registry import registry
from tests.core.dice import story, tell
from tests.core.script import play

SCENARIOS = sorted(Path(__file__).with_name("scenarios").glob("*.txt"))
STORIES = 150


def test_every_row_is_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    """All scenarios, and stories by dice, walk all rows of both tables."""
    walked: set[tuple[str, str]] = set()

    def task_after(state: TaskState, step: TaskStep) -> TaskState:
        walked.add((f"task {state}", step))
        return lifecycle.task_after(state, step)

    def instance_after(state: InstanceState, step: InstanceStep) -> InstanceState:
        walked.add((f"instance {state}", step))
        return lifecycle.instance_after(state, step)

    monkeypatch.setattr(records, "task_after", task_after)
    monkeypatch.setattr(registry, "instance_after", instance_after)
    for path in SCENARIOS:
        play(path.read_text())
    for seed in range(STORIES):
        tell(story(seed, 100))
    rows = {(f"task {state}", step) for state, step in TASK} | {(f"instance {state}", step) for state, step in INSTANCE}
    unwalked = sorted(" ".join(row) for row in rows - walked)
    assert not unwalked, "; ".join(unwalked)


def test_a_step_that_no_table_knows_is_our_mistake() -> None:
    """It raises, with what was tried."""
    with pytest.raises(AssertionError, match="a task cannot assign while it is running"):
        lifecycle.task_after("running", "assign")
    with pytest.raises(AssertionError, match="an instance cannot hear while it is ready"):
        lifecycle.instance_after("ready", "hear")


def test_the_diagram_is_drawn_from_the_table() -> None:
    """Every transition that leads elsewhere is an arrow."""
    drawn = lifecycle.diagram(TASK)
    assert drawn.startswith("stateDiagram-v2")
    assert "    waiting --> assigned: assign" in drawn.splitlines()
    assert len(drawn.splitlines()) == 1 + sum(old != new for (old, _), new in TASK.items())
