"""P6, live: a flood over every queue beside honest work, with real processes and a real broker. ``python -m tests.hostile`` is the
large form of it, with a million messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.hostile.run import Plan, costs_us, faults, run

PLAN = Plan(messages=150_000, seconds=12.0, decoy_s=4.0, floor_s=3.0, quiet_s=3.0, rate=200.0)


@pytest.mark.broker
async def test_honest_work_beside_a_flood(tmp_path: Path) -> None:
    """Thousands of hostile messages for every queue there is, agents', producers' and the ledger included.

    No process ends, none says a word of an exception, the leader leads on in its first session; at least half of the honest work is
    done meanwhile, all of it in the end, and rightly, but for the few whose ids were taken; what came is counted and explained;
    nobody's memory swells.
    """
    report = await run(tmp_path, PLAN)
    assert faults(report) == []
    floor = report["floor"]
    assert floor["flood"]["done"] > 1_000, "the readers who decide nothing were sent it too, and have read it"
    assert floor["us_a_message"]["readers"] > 1
    words = report["words"]["coordinator"]
    assert (words["session"], words["leading"]) == (1, 1)
    assert words["offence"] < 200, "a line at the first, the tenth, the hundredth of each"
    counts = report["status"]["counts"]
    assert counts["malformed"] > report["messages"] / 20
    assert counts["forged"] > 0
    rows = {(row["what"], row["where"]) for row in report["status"]["offences"]}
    assert {("malformed", "orchestrator.reports"), ("malformed", "orchestrator.tasks.honest")} <= rows
    assert "rogue" in {row["user"] for row in report["status"]["offences"]}


def test_what_is_not_borne() -> None:
    """Each alone is a fault: less than half of the work, somebody who swells, ids that were not taken by the flood, a wrong end."""
    phase = {"tasks_per_s": 200.0, "rss_mb": {"coordinator": 60.0, "agent-0": 40.0}}
    well: dict[str, Any] = {"messages": 8_000, "submitted": 4_000, "wrong": [], "squatted": 17, "status": {"remembered": 5_000}}
    well["balanced"] = False
    well |= {
        "before": phase,
        "machine": phase | {"tasks_per_s": 160.0},
        "during": phase | {"tasks_per_s": 81.0},
        "after": phase | {"rss_mb": {"coordinator": 104.0}},
    }
    assert faults(well) == []
    for bad in (
        {"wrong": ["t: failed"]}, {"squatted": 60}, {"during": phase | {"tasks_per_s": 79.0}},
        {"after": phase | {"rss_mb": {"coordinator": 106.0}}}, {"after": phase | {"rss_mb": {"agent-0": 81.0}}},
    ):  # fmt: skip
        assert len(faults(well | bad)) == 1, bad
    flat = well | {"balanced": True, "after": phase | {"rss_mb": {"coordinator": 65.9}}}
    assert faults(flat) == []
    for bad in ({"after": phase | {"rss_mb": {"coordinator": 66.1}}}, {"during": phase | {"rss_mb": {"coordinator": 66.1}}}):
        assert len(faults(flat | bad)) == 1, bad


def test_what_a_message_costs() -> None:
    """What was used beyond what so many honest tasks cost."""
    before = {"tasks_per_s": 1_000.0, "cores": {"coordinator": 0.05, "flood": 0.0}}
    during = {"tasks_per_s": 500.0, "seconds": 10.0, "cores": {"coordinator": 0.125, "flood": 0.05}, "flood": {"done": 50_000}}
    assert costs_us(before, during) == {"coordinator": 20.0, "flood": 10.0}
