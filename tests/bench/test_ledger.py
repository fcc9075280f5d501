"""The measurement of replays reads what it says that it reads."""

from __future__ import annotations

import pytest

from tests.bench.ledger import replayed

pytestmark = pytest.mark.broker


async def test_a_coordinator_reads_all_of_a_long_ledger_before_it_leads() -> None:
    """Of two thousand facts, from a real stream: who is alive and who has ended (else it says so and raises)."""
    found = await replayed(2_000)
    assert found["all live"]["facts_per_cpu_s"] > 0
    assert found["half are ends"]["bytes_a_task"] is not None
