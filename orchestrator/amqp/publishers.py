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
from orchestrator.amqp.errors import Broken, BrokenBy, LinkError
from orchestrator.amqp.requests import Requests, Subject, asking

LOOKS = 3
"""How often the broker must have answered something else before a publish is given up."""


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
        self._watching: asyncio.Task[None] | None = None

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

    def watch(self, connection: Connection | None, every_s: float | None, on_unanswered: Callable[[Broken], None]) -> None:
        """Have a session end that waits for an answer which never comes: ``every_s`` says how often to look, None not to. It is for
        whoever loses nothing with a session."""
        if connection is not None and every_s is not None and not self._broken.done():
            self._watching = asyncio.create_task(self._watch(connection, every_s, on_unanswered))

    async def _watch(self, connection: Connection, every_s: float, on_unanswered: Callable[[Broken], None]) -> None:
        """A broker that answers what was asked behind a publish, again and again, but not the publish, never will: what was said
        of it went with a node of a quorum queue (seen on 3.10.8, of one that froze). Whoever waits for that answer would wait for
        ever; in a new session he says it again."""
        firm, behind = self._firm["publish"], Requests(connection, self._broken, self._timeout_s)
        looked = oldest = 0
        while looked < LOOKS or firm.oldest != oldest:
            await asyncio.sleep(every_s)
            if connection.blocked or firm.oldest != oldest or not oldest:
                looked, oldest = 0, firm.oldest
                continue
            try:
                await behind.knock()
                looked += 1
            except LinkError:
                looked = 0  # it does not read: a slow link
        why = f"a message was not answered, and what was asked behind it was, {LOOKS} times"
        on_unanswered(Broken(BrokenBy.CONNECTION, "the connection to publish", why))

    def lose(self) -> None:
        """The session is over: nobody will answer."""
        for firm in self._firm.values():
            firm.lose()
        if self._watching is not None:
            self._watching.cancel()
