"""One socket to the broker: the library's connection with our tap on it.

Law: opening ends within its time with a connection or a reason; closing ends within its time with nothing left over.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from urllib.parse import quote

import aiormq
import aiormq.abc
from yarl import URL

from orchestrator.amqp.errors import CannotConnect, Fault, cannot_connect
from orchestrator.amqp.tap import Tap, TapFactory

FRAME_MAX = 131_072
"""The broker's own default."""
CLOSE_S = 1.0
"""How long a polite goodbye may take before the socket is dropped."""


class Connection:
    """An open connection. ``tap`` carries messages, ``library`` everything else."""

    def __init__(self, library: aiormq.Connection, tap: Tap, user: str) -> None:
        """Use ``open``."""
        self.library = library
        self.tap = tap
        self.user = user
        self.vhost = library.vhost
        self.frame_max: int = library.connection_tune.frame_max or FRAME_MAX  # 0 means: no limit
        self.server_version = str((library.server_properties or {}).get("version", "unknown"))
        self.blocked = False
        self._closing = asyncio.Lock()

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        name: str,
        heartbeat_s: int,
        ssl_context: ssl.SSLContext | None,
        on_lost: Callable[[str], None],
        on_blocked: Callable[[bool, str], None],
        on_bug: Callable[[Exception], None],
    ) -> Connection:
        """Connect, greet, authenticate, enter the virtual host. The caller bounds the time. Raises CannotConnect."""
        target = _target(url, heartbeat_s)
        tap = Tap(asyncio.get_running_loop(), on_lost=on_lost, on_blocked=on_blocked, on_bug=on_bug)
        library = aiormq.Connection(
            target, context=ssl_context, transport_factory=TapFactory(tap), client_properties={"connection_name": name}
        )
        try:
            await library.connect()
        except BaseException as error:
            tap.abort()
            if was_cancelled():
                raise asyncio.CancelledError from error  # the library may say instead what else broke in that moment
            if not isinstance(error, Exception | asyncio.CancelledError):
                raise
            # Whatever it says: a socket that ends within the greeting leaves the library's own tasks with all kinds of
            # exceptions (StopAsyncIteration; a cancellation that nobody asked for), and each means that it did not open.
            raise cannot_connect(shown(url), error, tap.close_code, tap.close_text) from error
        return cls(library, tap, target.user or "guest")

    async def channel(self) -> aiormq.abc.AbstractChannel:
        """A channel for requests or for consuming."""
        return await self.library.channel(publisher_confirms=False)

    async def confirming_channel(self) -> aiormq.abc.AbstractChannel:
        """A channel for publishing with confirms."""
        return await self.library.channel(publisher_confirms=True)

    async def close(self) -> None:
        """Say goodbye if the broker listens, and drop the socket.

        Whoever closes it while another does waits for him: to drop the socket in the middle of his goodbye would make of an orderly
        end one that the broker takes, and tells, for a crash (``deaths``).
        """
        async with self._closing:
            try:
                if not self.blocked:  # else it would not read our goodbye
                    async with asyncio.timeout(CLOSE_S):
                        await self.library.close()
            except TimeoutError:
                pass  # it does not listen: the socket is dropped all the same
            finally:
                self.tap.abort()
            await self.library.close()


def was_cancelled() -> bool:
    """Whether we ourselves were told to stop, rather than one of the library's own tasks, which cancels those who wait for it."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _is_torn(url: str) -> bool:
    """Whether what passes for its host may be the beginning of a password: one with / ? or # in it, not percent-encoded."""
    return "@" in "".join(re.split("[/?#]", url.partition("://")[2], maxsplit=1)[1:])


def shown(url: str) -> str:
    """The address as it may be shown: no password, no query."""
    if _is_torn(url):
        return "the given address"
    try:
        return str(URL(url).with_password(None).with_query(None))
    except ValueError:
        return "the given address"


def in_vhost(url: str, vhost: str) -> str:
    """The same address, but for the virtual host."""
    target = URL(url)
    return str(target.with_path("/" + quote(vhost, safe=""), encoded=True).with_query(target.raw_query_string or None))


def _target(url: str, heartbeat_s: int) -> URL:
    """The URL for the library."""
    if _is_torn(url):
        raise CannotConnect(Fault.URL, shown(url), "there is an @ behind its host: write / ? # @ in its parts as %2F %3F %23 %40")
    try:
        target = URL(url)
    except ValueError as error:
        raise CannotConnect(Fault.URL, shown(url), str(error)) from error
    if target.scheme not in ("amqp", "amqps") or not target.host:
        raise CannotConnect(Fault.URL, shown(url), "it does not begin with amqp://host or amqps://host")
    return target.update_query(heartbeat=str(heartbeat_s))
