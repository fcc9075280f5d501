"""Small schedules that can be done by hand, reproduced to the nanosecond: every start and every finish."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.sim.whatif.fleet import Fleet
from orchestrator.traces import TraceTask
from tests.sim.asked import ran, reference, seconds, trace

ORDERINGS = {
    "fcfs": "fifo",
    "sjf": "sjf:ageing=off",
    "srtf": "srtf:ageing=off,cost=0",
    "dps": "dps:ageing={tau}s,priority={omega},size=1,share=0,deadline=0",
}
SCHEDULES = reference("deterministic_schedules")["traces"]


@pytest.mark.parametrize("row", SCHEDULES, ids=lambda row: f"{row['name']}-{row['policy']}-{row['servers']}")
def test_every_start_and_finish(row: dict[str, Any]) -> None:
    """On machines with one slot each, and on one machine with as many slots."""
    ordering = ORDERINGS[row["policy"]].format(**row["params"])
    asked = trace(*(TraceTask(f"t{job['id']}", job["arrival"], job["size"], priority=job["prio"]) for job in row["jobs"]))
    for fleet in (Fleet(row["servers"], {"slots": 1.0}), Fleet(1, {"slots": row["servers"]})):
        books = ran(asked, fleet, ordering)
        place = [books.place[f"t{job['id']}"] for job in row["jobs"]]
        assert [seconds(books.start_ns)[at] for at in place] == pytest.approx(row["start"], abs=1e-6)
        assert [seconds(books.finish_ns)[at] for at in place] == pytest.approx(row["finish"], abs=1e-6)
