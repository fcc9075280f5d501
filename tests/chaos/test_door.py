"""Where a door leads: whom a broker node that falls silent takes with it is judged by that."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from orchestrator.live.embedded.memory import free_ports
from tests.chaos.door import Door


async def test_a_door_leads_where_its_connections_go() -> None:
    """To the first that answers, once somebody has knocked and until he has gone."""
    async with AsyncExitStack() as stack:

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.read(1))
            await reader.read()
            writer.close()

        server = await stack.enter_async_context(await asyncio.start_server(echo, "127.0.0.1", 0))
        nobody, there = free_ports(1)[0], server.sockets[0].getsockname()[1]
        door = await stack.enter_async_context(Door([nobody, there]))
        assert not door.leads_to(there)
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(b"x")
        assert await reader.read(1) == b"x"
        assert (door.leads_to(there), door.leads_to(nobody)) == (True, False)
        writer.close()
        async with asyncio.timeout(10):
            while door.leads_to(there):  # noqa: ASYNC110  a door rings no bell
                await asyncio.sleep(0)
