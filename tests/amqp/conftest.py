"""A session on a virtual host of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest_asyncio

from orchestrator.amqp import Delivery, Link
from orchestrator.amqp.topology import Topology, base

LEDGER_BYTES = 2_000_000
SEGMENT_BYTES = 500_000

BASE: Topology = base(ledger_max_bytes=LEDGER_BYTES, ledger_segment_bytes=SEGMENT_BYTES)

Opener = Callable[..., Awaitable[Link]]


@pytest_asyncio.fixture
async def opener(amqp_url: str) -> AsyncIterator[Opener]:
    """Opens any number of sessions on one fresh virtual host, and closes what the test left open."""
    links: list[Link] = []

    async def open_link(name: str = "test", url: str = amqp_url, **options: object) -> Link:
        links.append(await Link.open(url, name=name, **options))  # type: ignore[arg-type]
        return links[-1]

    yield open_link
    for each in links:
        await each.close()


@pytest_asyncio.fixture
async def link(opener: Opener) -> Link:
    """A session with everything declared."""
    opened = await opener()
    await opened.declare(BASE)
    return opened


class Basket:
    """A sink that keeps what it is given, and can be waited for."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self._changed = asyncio.Event()

    def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        self._changed.set()

    @property
    def bodies(self) -> list[bytes]:
        return [delivery.body for delivery in self.deliveries]

    async def until(self, count: int, timeout_s: float = 10.0) -> list[Delivery]:
        """Wait for ``count`` deliveries in all; returns all there are."""
        async with asyncio.timeout(timeout_s):
            while len(self.deliveries) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.deliveries
