"""Everything on one machine: a broker (ours, unless one is given), a coordinator, and agents, started and stopped together.

Law: what was started here is stopped here, whatever happens, in the order agents, coordinator, broker; so that work is handed back
before the coordinator goes, and written down before the broker goes; ``children`` sees to it even when we are killed. Others find
us by ``up.json`` in the data directory (it holds the broker's password: readable by its owner alone), and it is gone when we are.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from orchestrator.live.children import Children, Process
from orchestrator.live.embedded import EmbeddedBroker
from orchestrator.live.note import UP_FILE, write_private
from orchestrator.live.settings import Settings, environment

AGENT_GRACE_S = 15.0

Say = Callable[[str], None]


class ChildDied(Exception):
    """A process that should run as long as we do has ended by itself."""


@dataclass(frozen=True, slots=True)
class Running:
    """What runs."""

    url: str
    embedded: EmbeddedBroker | None
    coordinator: Process
    agents: tuple[Process, ...]

    async def watch(self) -> None:
        """Wait until one of the processes ends by itself. Raises ChildDied, which says which and what it means."""
        names = ["the coordinator", *(f"agent {index}" for index, _ in enumerate(self.agents, 1))]
        waits: dict[asyncio.Future[Any], str] = {
            asyncio.ensure_future(process.wait()): name
            for process, name in zip((self.coordinator, *self.agents), names, strict=True)
        }
        if self.embedded is not None:
            waits[asyncio.ensure_future(self.embedded.ended())] = "the broker"
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        names = sorted(waits[one] for one in done)
        raise ChildDied(
            f"{' and '.join(names)} ended by itself; everything else is being stopped. Accepted tasks are kept and go on "
            "at the next start. The log above says why it ended."
        )


@asynccontextmanager
async def up(settings: Settings, *, workers: Sequence[str] = (), announce: Say = print) -> AsyncIterator[Running]:
    """Start a broker (unless ``settings.broker`` names one), a coordinator and an agent for each ``module:service``.

    Yields when the coordinator and the agents are started; they connect by themselves. Stops all of it at the end.
    Raises EmbeddedBrokerError if no broker can be had.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:  # each is stopped, though it be cancelled while another stops
        embedded = None
        if settings.broker is None:
            embedded = EmbeddedBroker(settings.data_dir / "broker", on_progress=announce)
            await embedded.start()
            stack.push_async_callback(embedded.stop)
        url = embedded.url if embedded is not None else settings.broker or ""
        children = Children()
        stack.push_async_callback(children.close)
        agents: list[Process] = []
        stack.push_async_callback(children.stop, agents, AGENT_GRACE_S)
        note = settings.data_dir / UP_FILE
        stack.callback(note.unlink, missing_ok=True)
        write_private(note, {"url": url, "pid": os.getpid()})
        told = environment(settings, broker=url, log=settings.log)
        coordinator = await children.start("-m", "orchestrator", "coordinator", environment=told)
        for spec in workers:
            agent = await children.start("-m", "workers", "run", spec, environment=told)
            agents.append(agent)
        yield Running(url, embedded, coordinator, tuple(agents))
