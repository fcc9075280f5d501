"""A steady load for most of a minute. ``python -m tests.soak`` goes on for as long as is wanted; memory is flat only once the first
ids are forgotten, so here it is held that what grows till then is no more than what is remembered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.soak.run import faults, growth, soak

SECONDS, WARM_UP_S, RATE = 40.0, 12.0, 200.0
PER_TASK_BYTES = 3_000
AGENT_SHARE = 0.08


@pytest.mark.broker
async def test_a_short_soak(tmp_path: Path) -> None:
    """Agents weigh the same all the time; a coordinator grows by the tasks that it remembers, and nothing beside."""
    report = await soak(tmp_path, SECONDS, rate=RATE, window_s=60.0, warm_up_s=WARM_UP_S)
    assert faults(report) == []
    weights = report["growth"]
    tasks = RATE * (SECONDS - WARM_UP_S)
    leader = weights["coordinator"]
    assert leader["most"] * leader["mb"] * 1e6 < PER_TASK_BYTES * tasks, weights
    for name in ("agent-0", "agent-1"):
        assert -AGENT_SHARE < weights[name]["least"] <= weights[name]["most"] < AGENT_SHARE, weights


def test_growth_is_seen() -> None:
    """One who gains a megabyte a minute is told from one who is flat."""
    looks = [(float(second), {"flat": 50.0, "leaks": 50.0 + second / 60}) for second in range(1_200)]
    found = growth(looks, 300.0)
    assert found["flat"]["most"] == found["flat"]["least"] == 0
    assert found["leaks"]["most"] > 0.2
    assert growth(looks[:305], 300.0) == {}, "five looks tell nothing"


def test_what_is_at_fault() -> None:
    """Whatever did not end as it should, and too few that did."""
    well: dict[str, Any] = {"wrong": [], "squatted": 0, "strays": {}, "tasks_per_s": 99.0, "rate": 100.0}
    assert faults(well) == []
    for bad in ({"wrong": ["t1"]}, {"squatted": 1}, {"strays": {"result": 1}}, {"tasks_per_s": 80.0}):
        assert len(faults(well | bad)) == 1
