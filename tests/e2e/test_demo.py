"""The demo, as anybody would start it: real processes, a real broker, real files, a real kill."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.amqp import Link, topology
from orchestrator.amqp.errors import Missing
from tests.processes import all_end, below, watched

pytestmark = pytest.mark.broker

ROOT = Path(__file__).parents[2]


def environment(directory: Path) -> dict[str, str]:
    """As for a person who has set nothing; what the demo leaves lying about would be below ``directory``."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ORCHESTRATOR_", "WORKERS_"))}
    return {**clean, "PYTHONPATH": str(ROOT), "TMPDIR": str(directory), "XDG_STATE_HOME": str(directory / "state")}


def demo(directory: Path, *words: str, **told: str) -> tuple[int, dict[str, Any], str]:
    """Run it to its end: exit code, the JSON object in the last line of stdout, stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "demo", "--json", *words],
        cwd=directory, env=environment(directory) | told, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_nothing_is_lost_or_run_twice_while_a_worker_is_killed(tmp_path: Path) -> None:
    """Every file parsed and indexed once, the killed worker's task running elsewhere within a second, and true facts at the end."""
    code, bill, said = demo(tmp_path, "--files", "150")
    assert code == 0, said
    assert (bill["submitted"], bill["done"], bill["lost"], bill["twice"]) == (301, 301, 0, 0)
    assert bill["ok"] is True
    assert [one["moved"] for one in bill["kills"]] == [1]
    assert bill["attempts"] == bill["done"] + 1, "the task that died with its process, and no other, was started again"
    assert 0 < bill["reassign_ms"] < 1000
    assert 0 < bill["wait_ms_mean"] <= bill["wait_ms_p99"]
    assert sum(bill["instances"].values()) == 301
    assert sum(name.startswith("parse-") for name in bill["instances"]) >= 2
    facts = bill["facts"]
    assert facts["files"] == 150
    assert facts["lines"] > 10_000
    assert facts["most_imported"][0]["files"] > 10
    assert not list(tmp_path.glob("orchestrator-demo-*")), "it puts its things away"


def test_a_broker_that_stands_in_the_environment_is_left_alone(tmp_path: Path, amqp_url: str) -> None:
    """Somebody has exported where production is, and tries the demo: that runs on a RabbitMQ of its own all the same."""
    code, bill, said = demo(tmp_path, "--files", "20", "--keep", ORCHESTRATOR_BROKER=amqp_url)
    assert code == 0, said
    assert bill["done"] == 41
    (kept,) = tmp_path.glob("orchestrator-demo-*")
    assert (kept / "broker").exists()
    asyncio.run(nobody_was_here(amqp_url))


async def nobody_was_here(url: str) -> None:
    """No queue of ours is on that virtual host."""
    link = await Link.open(url, name="test", connections=("consume",))
    try:
        with pytest.raises(Missing):
            await link.stat(topology.TASKS)
    finally:
        await link.close()


def test_it_runs_on_a_broker_that_is_given(tmp_path: Path, amqp_url: str) -> None:
    """On somebody's RabbitMQ, in a virtual host without an event exchange: the lease notices the death, and nothing is lost."""
    code, bill, said = demo(tmp_path, "--files", "40", "--broker", amqp_url, "--keep")
    assert code == 0, said
    assert (bill["submitted"], bill["done"], bill["lost"], bill["twice"]) == (81, 81, 0, 0)
    (kept,) = tmp_path.glob("orchestrator-demo-*")
    assert f"kept in {kept}" in said
    assert (kept / "witness.jsonl").exists()
    assert not (kept / "broker").exists()
    assert amqp_url not in said
    assert amqp_url not in (kept / "processes.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_whatever_ends_it_nothing_runs_on(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C, SIGTERM, even SIGKILL: agents, coordinator and broker end too, within seconds."""
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "demo", "--json"],
        cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        try:
            assert any("source files" in line for line in process.stderr)  # all have been started by then
            ours = below(tmp_path) - {process.pid}
            assert len(ours) >= 6, "agents, coordinator, broker"
            with watched(ours) as ends:
                process.send_signal(number)
                assert process.wait(60) != 0
                assert all_end(ends, within_s=30.0)
            assert process.stdout.read() == "", "there is no bill for what was broken off"
        finally:
            process.kill()
            process.wait()
    if number is not signal.SIGKILL:
        assert not list(tmp_path.glob("orchestrator-demo-*"))


if sys.platform != "linux":  # who belongs to whom is read from /proc; and a test with a broker may not be skipped
    del test_whatever_ends_it_nothing_runs_on
