"""What everybody is measured with is what it says it is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from statistics import fmean

import pytest

from tests.bench.environment import LOCK, ROOT, pinned
from tests.bench.peers.door import Crew, Plan
from tests.bench.workloads import ALL, ALPHA, CONTESTANTS, LONGEST, OURS, bounded_pareto, heavy_tail


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
