"""The rule of the shards, as a coordinator publishes it and looks at it."""

from __future__ import annotations

from orchestrator.amqp import Link
from orchestrator.amqp.rule import last_rule, publish_rule
from orchestrator.live.settings import Settings
from orchestrator.shards import ALONE, Rule, UnreadableRule, read
from orchestrator.wire.codec import encode


async def publish(link: Link, settings: Settings) -> Rule:
    """Publish the rule of our settings, unless it is in force, and make what every shard needs; returns what was in force.

    In this order: whoever finds an exchange of ours finds the rule. And every shard is there as soon as any is, so that what is
    submitted waits, whether a coordinator of its shard runs or not. ``link`` is of the shard ``default``. Raises LinkError.
    """
    rule = settings.rule
    before = await publish_rule(link, encode(rule.message()), needed=not rule.alone)
    if not rule.alone:
        for name in rule.names:
            await link.declare(settings.topology.within(name))
    return _read(before)


async def published(link: Link) -> Rule:
    """The rule in force. Raises LinkError."""
    return _read(await last_rule(link))


def _read(body: bytes | None) -> Rule:
    try:
        return read(body)
    except UnreadableRule:
        return ALONE
