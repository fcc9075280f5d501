"""How a session publishes: a channel with confirms on each connection for that, and one without for what may be lost."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from functools import partial
from typing import Unpack

from orchestrator.amqp.channels import PublishChannel, SoftChannel
from orchestrator.amqp.connection import Connection
from orchestrator.amqp.delivery import How, Published
from orchestrator.amqp.errors import Broken
from orchestrator.amqp.requests import Subject, asking


class Publishers:
    """All channels of one session that publish, by the role of their connection. ``on_closed(where, code, text)`` hears when the
    broker closes one, ``on_returned(key, note)`` what comes back of what may be lost.
    """

    def __init__(
        self,
        broken: asyncio.Future[Broken],
        timeout_s: float,
        on_closed: Callable[[str, int, str], None],
        on_returned: Callable[[str, str], None] | None,
    ) -> None:
        self._broken = broken
        self._timeout_s = timeout_s
        self._on_closed = on_closed
        self._on_returned = on_returned
        self._firm: dict[str, PublishChannel] = {}
        self._soft: SoftChannel | None = None

    async def open(self, role: str, connection: Connection) -> None:
        """Raises LinkLost, NoAnswer."""
        async with asking(self._broken, self._timeout_s, Subject("Opening the channel to publish", "")):
            channel = await connection.confirming_channel()
        closed = partial(self._on_closed, f"the channel for publishing ({role})")
        firm = PublishChannel(connection.tap, channel.number, connection.frame_max, f"{secrets.token_hex(6)}-", closed)
        self._firm[role] = connection.tap.channels[channel.number] = firm
        if role == "publish" and self._on_returned is not None:
            await self._open_soft(connection, self._on_returned)

    async def _open_soft(self, connection: Connection, on_returned: Callable[[str, str], None]) -> None:
        async with asking(self._broken, self._timeout_s, Subject("Opening the channel for what may be lost", "")):
            channel = await connection.channel()
        closed = partial(self._on_closed, "the channel for what may be lost")
        soft = SoftChannel(connection.tap, channel.number, connection.frame_max, on_returned=on_returned, on_closed=closed)
        self._soft = connection.tap.channels[channel.number] = soft

    def send(self, role: str, exchange: str, key: str, body: bytes, **how: Unpack[How]) -> asyncio.Future[Published]:
        """As ``Link.send``."""
        firm = self._firm[role]
        future = firm.send(exchange, key, body, **how)
        if self._broken.done():
            firm.lose()
        return future

    def tell(self, exchange: str, key: str, body: bytes, note: str, mandatory: bool) -> None:
        """As ``Link.tell``."""
        if self._soft is None:
            raise ValueError("this link was opened without anybody to hear of what comes back")
        self._soft.tell(exchange, key, body, note, mandatory=mandatory, persistent=False)

    def lose(self) -> None:
        """The session is over: nobody will answer."""
        for firm in self._firm.values():
            firm.lose()
