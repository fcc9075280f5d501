"""The rule of the shards, as a coordinator publishes it and looks at it."""

from __future__ import annotations

from orchestrator.amqp import Link
from orchestrator.amqp.errors import NoAnswer
from orchestrator.amqp.rule import last_rule, publish_rule
from orchestrator.live.settings import Settings
from orchestrator.shards import ALONE, Rule, UnreadableRule, read
from orchestrator.wire.codec import encode


async def publish(link: Link, settings: Settings) -> Rule:
    """Publish the rule of our settings, unless it is in force, and make what every shard needs; returns what was in force.

    Settings that say nothing of shards leave the rule that there is: who was started without them must not send everybody's new
    tasks elsewhere.

    In this order: whoever finds an exchange of ours finds the rule. And every shard is there as soon as any is, so that what is
    submitted waits, whether a coordinator of its shard runs or not. ``link`` is of the shard ``default``. Raises LinkError.
    """
    rule = settings.rule
    before = await publish_rule(link, encode(rule.message()), needed=not rule.alone, instead=settings.says_shards)
    if not rule.alone:
        for name in rule.names:
            await link.declare(settings.topology.within(name))
    return _read(before)


async def published(link: Link, settings: Settings) -> Rule:
    """The rule in force. It is published again where its stream is empty: somebody has deleted it, and nobody would ever lead or
    find a shard. Raises LinkError."""
    try:
        return _read(await last_rule(link))
    except NoAnswer:
        await publish(link, settings)
        return settings.rule


def _read(body: bytes | None) -> Rule:
    try:
        return read(body)
    except UnreadableRule:
        return ALONE
