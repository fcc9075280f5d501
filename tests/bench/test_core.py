"""The core at scale, as far as any machine must show it: sizes, and times against each other in one run."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from tests.bench import core
from tests.bench.cli import app


def test_a_decision_costs_no_more_where_many_more_wait() -> None:
    """Ten instances and a thousand tasks, a thousand instances and thirty thousand: within a factor of two, and more for noise."""
    small, large = core.measure(10, 1_000, 3), core.measure(1_000, 30_000, 3)
    assert large["decision_us"] < 3 * small["decision_us"]


def test_what_waits_and_what_has_ended_takes_little_memory() -> None:
    """A kilobyte for a waiting task beyond its arguments, less for the id and the result of one that has ended."""
    assert core.measure(10, 30_000, 1)["bytes_per_waiting"] < 1_024
    assert core.bytes_per_ended() < 700


def test_claims_are_judged_by_the_rows_that_are_there() -> None:
    """What was not measured is not claimed; what is missed says so."""
    row = {"decision_us": 20.0, "decisions_per_s": 50_000.0, "bytes_per_waiting": 900.0}
    rows = [{"instances": 100, "waiting": 10_000, **row}, {"instances": 1_000, "waiting": 100_000, **row}]
    assert [claim.holds for claim in core.claims(rows)] == [True, True]
    rows.append({"instances": 10_000, "waiting": 1_000_000, **row, "decision_us": 41.0, "bytes_per_waiting": 1_100.0})
    assert [claim.holds for claim in core.claims(rows)] == [False, True, False]


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize("holds", [True, False])
def test_what_is_missed_ends_with_one(options: list[str], holds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """For people and for machines."""
    monkeypatch.setattr(core, "GRID", [])
    monkeypatch.setattr(core, "cycle_us", lambda: 1.0)
    monkeypatch.setattr(core, "bytes_per_ended", lambda: 1.0)
    monkeypatch.setattr(core, "claims", lambda rows: [core.Claim("µs", 1.0, 2.0, True), core.Claim("bytes", 1.0, 2.0, holds)])
    assert CliRunner().invoke(app, ["core", *options]).exit_code == (0 if holds else 1)
