"""What everybody is measured with is what it says it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import pytest

from tests.bench import environment
from tests.bench.claims import CLAIMS, judged
from tests.bench.environment import LOCK, ROOT, pinned
from tests.bench.peers.door import Crew, Plan
from tests.bench.workloads import ALL, ALPHA, BY_LETTER, CONTESTANTS, LONGEST, OURS, bounded_pareto, heavy_tail


def test_run_times_follow_the_bounded_pareto_law() -> None:
    """The mean of its quantiles is the law's mean: a/(a-1) (1 - L^(1-a)) / (1 - L^-a), for the shortest 1 and the longest L."""
    points = 200_000
    mean = fmean(bounded_pareto((one + 0.5) / points) for one in range(points))
    law = ALPHA / (ALPHA - 1) * (1 - LONGEST ** (1 - ALPHA)) / (1 - LONGEST**-ALPHA)
    assert mean == pytest.approx(law, rel=0.01)
    assert bounded_pareto(0) == 1
    assert bounded_pareto(1) == pytest.approx(LONGEST)


def test_everybody_plays_the_same_schedule() -> None:
    """Seeded: a schedule is the same whenever it is made, and as busy as it says."""
    schedule = heavy_tail(7, 1000, 0.05, 0.9, 4)
    assert schedule == heavy_tail(7, 1000, 0.05, 0.9, 4)
    assert fmean(takes for _, takes in schedule) == pytest.approx(0.05)
    assert sum(takes for _, takes in schedule) / 4 / schedule[-1][0] == pytest.approx(0.9, rel=0.05)


def test_every_workload_has_ours_and_only_known_others() -> None:
    """Names in the tables are contestants, and each order is one that can be sent."""
    for workload in ALL:
        assert OURS in workload.who
        assert set(workload.who) <= set(CONTESTANTS)
        for quick in (True, False):
            assert json.loads(json.dumps(workload.order(OURS, quick)))["do"]


def test_the_peers_are_pinned() -> None:
    """What the extra pins, the lock of what they bring pins too, at the same version."""
    locked = dict(line.split("==") for line in LOCK.read_text().splitlines() if "==" in line)
    for one in pinned():
        if "==" in one:
            name, version = one.split("==")
            assert locked[name.partition("[")[0]] == version


@pytest.fixture
def crew(tmp_path: object) -> Iterator[Crew]:
    """A crew that is dismissed in the end."""
    one = Crew(Plan("amqp://nobody", str(tmp_path), instances=1, slots=1))
    yield one
    one.dismiss(grace_s=5)


def test_a_crew_is_gone_when_it_is_dismissed(crew: Crew) -> None:
    """With what its processes started."""
    child = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); time.sleep(60)"
    process = crew.hire("instance", "-c", child)
    crew.judge()
    crew.dismiss(grace_s=5)
    assert process.returncode is not None
    assert subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True).stdout == b""


def test_a_process_that_ends_by_itself_is_named_with_its_last_words(crew: Crew) -> None:
    """Not measured on and on without it."""
    crew.hire("instance", "-c", "raise SystemExit('no broker here')").wait()
    with pytest.raises(RuntimeError, match="no broker here"):
        crew.judge()


def test_the_driver_needs_nothing_of_ours() -> None:
    """It runs in the peers' environment too: only the standard library and the peer's own file."""
    code = "import sys, tests.bench.driver; print([one for one in sys.modules if one.startswith(('orchestrator', 'workers'))])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_claims_are_judged_on_the_figures_of_one_run() -> None:
    """Above or below their bounds, against the best of those who were measured; of who was not measured nothing is claimed."""
    rows = {
        "a": {"ours": {"tasks_per_s": 24_000.0}, "celery": {"tasks_per_s": 800.0}, "ray": {"tasks_per_s": 4_000.0}},
        "d": {"ours": {"p99_s": 0.1}, "relay": {"p99_s": 0.01}, "ray": {"p99_s": 0.5}, "dask": {"p99_s": 0.4}},
        "f": {"ours": {"seconds": 5.0}},
        "idle": {},
    }
    told = {(one["workload"], one["what"]): (one["figure"], one["against"], one["holds"]) for one in judged(rows)}
    assert told["a", "no-op tasks a second"] == (24_000, "", True)
    assert told["a", "times the best peer's throughput"] == (6, "ray", False)
    assert told["a", "times Celery's throughput"] == (30, "celery", True)
    assert told["d", "times the best peer's p99, one slow instance"] == (0.25, "dask", True)
    assert told["f", "times the CPU bound, hashing"] == (None, "", None)
    assert told["idle", "MB for an idle agent"] == (None, "", None)
    assert not [one for one in told if one[0] == "b"], "it was not asked for"


def test_every_claim_is_about_a_workload_and_its_figure() -> None:
    """Or it would never be judged."""
    assert {claim.workload for claim in CLAIMS} == set(BY_LETTER)
    assert {claim.workload for claim in CLAIMS if claim.figure == BY_LETTER[claim.workload].figure} == set(BY_LETTER) - {"e"}


def test_what_cannot_be_installed_is_left_out_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an index that has nothing: no peer, and why; ours and the floor can be measured all the same."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "file:///nothing")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setattr(environment, "pinned", lambda: ["celery==5.7.0"])
    said: list[str] = []
    _, missing = environment.python_with_peers(["celery"], said.append)
    assert missing.keys() == {"celery"}
    assert any("celery is left out: it could not be installed: " in line for line in said)
    assert environment.python_with_peers([], said.append) == (sys.executable, {})
