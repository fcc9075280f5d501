"""Who gets how much: the reference rows of elastic requests, through the whole core, from submissions to assignments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.vocabulary import plain
from tests.core.script import Script

ROWS = json.loads((Path(__file__).parents[1] / "data" / "theory" / "max_min_elastic.json").read_text())["elastic"]


def granted(script: Script, tasks: list[str], resource: str) -> list[float]:
    """What each task has of the resource; 0: it waits."""
    desk = script.stage.nodes["c1"].machine.desk
    found = {holding.task: holding.grant for one in desk.registry.instances.values() for holding in one.holdings.values()}
    return [plain(found.get(task, {}).get(resource, 0)) for task in tasks]


def assigned(said: list[str], task: str) -> list[str]:
    """The orders that name the task."""
    return [line for line in said if f"run {task} " in line]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row["requests_min_max"]))
@pytest.mark.parametrize(("allocation", "column"), [("msa", "MSA"), ("mra", "MRA"), ("fill", "progressive_filling")])
def test_elastic_requests_that_wait_together(row: dict[str, Any], allocation: str, column: str) -> None:
    """One instance of that capacity comes to these requests: each gets what the table says, and is told so once."""
    script = Script()
    script.line("coordinator c1")
    script.line(f"ask policy allocation={allocation} ordering=fifo")
    tasks = [f"t{n}" for n in range(len(row["requests_min_max"]))]
    for task, (low, high) in zip(tasks, row["requests_min_max"], strict=True):
        script.line(f"submit {task} thumbs.resize need=cpu:{low}..{high}")
    said = script.line(f"agent a thumbs.resize slots=100 cpu={row['capacity']}")
    expected = [int(amount) for amount in row[column]]
    assert granted(script, tasks, "cpu") == expected
    for task, amount in zip(tasks, expected, strict=True):
        orders = assigned(said, task)
        assert len(orders) == bool(amount)
        if orders:
            assert f"(cpu={amount} " in orders[0].split(f"run {task} ")[1]


def test_several_resources_are_filled_each_by_itself() -> None:
    """Who needs little of one resource does not hold back another; whoever is smaller by its dominant share gets the odd unit."""
    script = Script()
    script.line("coordinator c1")
    script.line("ask policy allocation=fill ordering=fifo")
    script.line("submit t1 thumbs.resize need=cpu:1..9,mem:6")
    script.line("submit t2 thumbs.resize need=cpu:1..9,mem:1..9")
    script.line("submit t3 thumbs.resize need=mem:1..2")
    script.line("agent a thumbs.resize slots=9 cpu=9 mem=12")
    assert granted(script, ["t1", "t2", "t3"], "cpu") == [4, 5, 0]
    assert granted(script, ["t1", "t2", "t3"], "mem") == [6, 4, 2]


def test_what_has_left_is_not_changed() -> None:
    """A task that was placed in an earlier step keeps its grant: nothing is taken from those that run, nothing is added."""
    script = Script()
    script.line("coordinator c1")
    script.line("ask policy allocation=fill")
    script.line("agent a thumbs.resize slots=9 cpu=8")
    script.line("submit t1 thumbs.resize need=cpu:1..3")
    script.line("submit t2,t3 thumbs.resize need=cpu:1..8")
    assert granted(script, ["t1", "t2", "t3"], "cpu") == [3, 3, 2]
    script.line("a finishes t2")
    assert granted(script, ["t1", "t3"], "cpu") == [3, 2]
    script.line("submit t4 thumbs.resize need=cpu:1..8")
    assert granted(script, ["t4"], "cpu") == [3]
