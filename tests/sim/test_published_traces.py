"""Published traces at a load of 0.9: every policy gets through them, and those that know sizes pay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from orchestrator.sim.whatif.asking import ask
from orchestrator.sim.whatif.fleet import Fleet
from orchestrator.sim.whatif.question import Estimates, Question
from orchestrator.sim.whatif.suggesting import capacity_for, instances_for
from orchestrator.traces import capped, read, rescaled
from tests.sim.asked import DATA

ORDERINGS = ("fifo", "sjf", "srtf", "dps")


def told(name: str, ordering: str, estimates: Estimates = "exact", capacity: Mapping[str, float] | None = None) -> dict[str, Any]:
    """The figures of a trace on the fleet that is suggested for it, at 0.9."""
    trace = read(DATA / "traces" / name)
    has = capacity_for(trace) if capacity is None else dict(capacity)
    fleet = Fleet(instances_for(trace, has), has)
    fitted, _ = rescaled(capped(trace, has), 0.9, has, fleet.machines)
    return dict(ask(fitted, fleet, Question({"ordering": ordering}, estimates=estimates)).figures)


@pytest.mark.parametrize("ordering", ORDERINGS)
@pytest.mark.parametrize("name", ["azure_func2021_slice.csv.gz", "nrel_eagle_sample.csv.gz"])
def test_every_policy_gets_through(name: str, ordering: str) -> None:
    """All tasks done, nobody passed over beyond the bound, what machines did is what was asked for."""
    figures = told(name, ordering)
    assert figures["done"] == figures["tasks"]
    assert figures["starved"] == 0
    assert not figures["growing"]
    assert figures["little_error"] == 0.0


def test_many_short_requests_and_workflows() -> None:
    """Nineteen thousand requests; sixteen thousand tasks of three thousand workflows that arrive."""
    for name in ("azure_llm2023_conv_modelled.csv.gz", "alibaba2018_dags.jsonl.gz"):
        figures = told(name, "sjf", capacity={"slots": 1.0})
        assert figures["done"] == figures["tasks"]
        assert figures["starved"] == 0
        assert figures["idle_while_waiting_s"] == 0.0


def test_users_estimates_are_worth_something() -> None:
    """Two or three times too long on the median, and still better than none."""
    name = "nrel_eagle_sample.csv.gz"
    hint, fifo = told(name, "sjf", "hint"), told(name, "fifo")
    assert hint["slowdown_mean"] < 0.9 * fifo["slowdown_mean"]


@pytest.mark.parametrize("capacity", [None, {"slots": 1.0}], ids=["several resources", "slots"])
def test_a_gpu_cluster(capacity: Mapping[str, float] | None) -> None:
    """34 days, run times from seconds to days: shortest first more than halves the mean slowdown, and nobody starves."""
    name = "openb_gpu2023.csv.gz"
    fifo = told(name, "fifo", capacity=capacity)
    for ordering, estimates, at_most in (
        ("srtf", "exact", 0.5),
        ("sjf", "learned", 0.7),
        ("sjf", "exact", 0.5),
        ("dps", "exact", 0.7),
    ):
        figures = told(name, ordering, estimates, capacity)  # type: ignore[arg-type]
        share = figures["slowdown_mean"] / fifo["slowdown_mean"]
        print(f"\n{ordering}, {estimates}: {figures['slowdown_mean']:.2f}, {share:.3f} of fifo's {fifo['slowdown_mean']:.1f}")
        assert figures["starved"] == 0
        assert share <= at_most
