"""The first coordinators that a broker ever sees."""

from __future__ import annotations

import asyncio

from orchestrator.live.embedded import EmbeddedBroker
from tests.live.peers import running


async def test_two_that_begin_in_the_same_moment_both_serve(own_broker: EmbeddedBroker) -> None:
    """The ledger is made by one of them, and the other asks for it while it is being made: one leads and the other follows."""
    async with running(own_broker.url, name="one") as one, running(own_broker.url, name="other") as other:
        await asyncio.gather(one.heard("standing_by"), other.heard("standing_by"))
