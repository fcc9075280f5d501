"""What a replay waits for before it begins."""

from __future__ import annotations

from typing import Any, cast

from orchestrator.client import Client
from orchestrator.replay.play import ready


class TwoShards:
    """In place of a client: by tenants, one service is in two shards."""

    async def shards(self) -> tuple[str, ...]:
        return ("default", "acme")

    async def ask(self, op: str, /, *, shard: str) -> list[dict[str, Any]]:
        return [{"service": "thumbs", "ready": 2 if shard == "default" else 1}]


async def test_instances_of_all_shards_are_ready_together() -> None:
    """They add up, whichever shard is asked last; nobody waits for what is there."""
    assert await ready(cast(Client, TwoShards()), ["thumbs"], 3) == {"thumbs": 3}
