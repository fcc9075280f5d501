"""The rule of the shards, for commands that look at the broker without a coordinator."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.shards import Rule


async def rule_of(url: str) -> Rule:
    """Which shards there are. Raises LinkError, UnreadableRule."""
    from orchestrator.amqp import Link
    from orchestrator.amqp.rule import last_rule
    from orchestrator.shards import read

    link = await Link.open(url, name="orchestrator: the rule of the shards", connections=("consume",))
    try:
        return read(await last_rule(link))
    finally:
        await link.close()
