"""P6, live: a flood over every queue beside honest work, with real processes and a real broker. ``python -m tests.hostile`` is the
large form of it, with a million messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.run import run

MESSAGES = 8_000
RATE = 200.0


@pytest.mark.broker
async def test_honest_work_beside_a_flood(tmp_path: Path) -> None:
    """Thousands of hostile messages for every queue there is, agents', producers' and the ledger included.

    No process ends, none says a word of an exception, the leader leads on in its first session; at least half of the honest work is
    done meanwhile, all of it in the end, and rightly; what came is counted and explained; nobody's memory swells.
    """
    report = await run(tmp_path, MESSAGES, quiet_s=4.0, rate=RATE)
    before, during, after = (report[phase] for phase in ("before", "during", "after"))
    assert report["wrong"] == []
    assert during["tasks_per_s"] >= before["tasks_per_s"] / 2, (before, during)
    words = report["words"]["coordinator"]
    assert (words["session"], words["leading"]) == (1, 1)
    assert words["offence"] < 200, "a line at the first, the tenth, the hundredth of each"
    counts = report["status"]["counts"]
    assert counts["malformed"] > MESSAGES / 20
    assert counts["forged"] > 0
    rows = {(row["what"], row["where"]) for row in report["status"]["offences"]}
    assert {("malformed", "orchestrator.reports"), ("malformed", "orchestrator.tasks.honest")} <= rows
    assert "rogue" in {row["user"] for row in report["status"]["offences"]}
    for name, mb in after["rss_mb"].items():
        assert mb < before["rss_mb"][name] + 40, f"{name}: {before['rss_mb'][name]} MB before, {mb} after"
