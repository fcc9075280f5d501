"""Where a coordinator hears of lost connections.

Law: the broker's event exchange is in one virtual host and speaks of all. Who works in another (``events_vhost``) listens there by
a link of its own, which lives and ends with the session: a coordinator that has gone deaf comes back with new ears.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

from orchestrator.amqp import Link
from orchestrator.amqp.connection import in_vhost
from orchestrator.amqp.errors import CannotConnect, LinkLost
from orchestrator.live.settings import HEARTBEAT_S, Settings
from orchestrator.live.telemetry import Telemetry


@asynccontextmanager
async def listening(link: Link, settings: Settings, telemetry: Telemetry) -> AsyncIterator[Link]:
    """The link over which the session on ``link`` is to listen: its own, unless the settings name another virtual host. If that
    cannot be reached it is said why, and it is its own again: better to learn of deaths when leases are over than not to lead."""
    if settings.events_vhost in (None, link.vhost):
        yield link
        return
    assert settings.broker is not None
    assert settings.events_vhost is not None
    url = in_vhost(settings.broker, settings.events_vhost)
    try:
        ears = await Link.open(
            url, name=f"coordinator {settings.name}, listening", connections=("consume",), shard=link.shard, heartbeat_s=HEARTBEAT_S
        )
    except CannotConnect as fault:
        telemetry.say("events_out_of_reach", {"vhost": settings.events_vhost, "why": str(fault)})
        yield link
        return
    async with ears:
        yield ears


async def until_deaf(ears: Link) -> NoReturn:
    """Wait until that link is lost. Raises LinkLost."""
    raise LinkLost(await ears.broken, "Listening for lost connections")
