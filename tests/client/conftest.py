"""A client on a real broker, and a coordinator that follows a script."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from orchestrator.client import Client
from tests.client.scripted import Scripted, coordinating


@pytest.fixture
async def coordinator(amqp_url: str) -> AsyncIterator[Scripted]:
    """A coordinator that answers every task with its arguments."""
    async with coordinating(amqp_url) as scripted:
        yield scripted


@pytest.fixture
async def client(coordinator: Scripted) -> AsyncIterator[Client]:
    """An open client of it."""
    async with Client(coordinator.url) as client:
        yield client
