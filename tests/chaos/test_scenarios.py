"""Scenarios on a single broker node once, in their short form: nothing is lost but what an operator throws away, no effect is had
twice that could have been had once, and work goes on in time. Those on a cluster of three, and those that are not ``short``, are
played by ``python -m tests.chaos`` only."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.chaos import scenarios, trials
from tests.chaos.play import Scenario, play
from tests.chaos.town import Town

pytestmark = [pytest.mark.broker, pytest.mark.asyncio(loop_scope="session")]  # the loop of the town


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """One node, two coordinators, three workers: every scenario leaves it whole."""
    async with Town(tmp_path_factory.mktemp("town")) as one:
        yield one


PATIENCE = 5.0
"""Nobody knows what else the machine does. What hangs is seen, and what waits for a lease where it should not; how soon exactly,
``python -m tests.chaos`` says."""


async def _holds(where: Town, scenario: Scenario) -> None:
    verdict = await play(where, scenario, 1, short=True, patience=PATIENCE)
    print(verdict.plain() | {"story": "", "faults": []})
    assert not verdict.faults, "\n".join([*verdict.faults, verdict.story[-8000:]])


def _named(one: Scenario | trials.Series) -> str:
    return one.name


@pytest.mark.parametrize("scenario", [one for one in scenarios.ONE_NODE if one.short], ids=_named)
async def test_one_node(town: Town, scenario: Scenario) -> None:
    """All that is short."""
    await _holds(town, scenario)


@pytest.mark.parametrize("series", [one for one in trials.ALL if one.events and not one.late], ids=_named)
async def test_how_soon(town: Town, series: trials.Series) -> None:
    """A few kills of each kind of which the broker tells, in the town that has gone through all that: nothing is lost, wrong or had
    twice, and what makes work go on is that word, not the end of a lease."""
    tail = await trials.run_series(town, series, 3, 1)
    print(tail.plain())
    assert not tail.faults
    assert tail.share(0.5) <= trials.LEASE_S / 2, tail.plain()
