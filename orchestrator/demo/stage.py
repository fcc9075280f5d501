"""The processes of the demo: a broker, a coordinator, and an agent for each instance; started together, stopped whatever happens.

They are what a user would start by hand: ``orchestrator coordinator`` and ``workers run module:service``, told by their environment
where the broker is. What they say goes to a file beside the broker's data.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.live.children import Children, Process
from orchestrator.live.embedded import EmbeddedBroker

SERVICES = "orchestrator.demo.services"
STOP_WITHIN_S = 10.0
LOG = "processes.log"

Say = Callable[[str], None]


class ProcessDied(Exception):
    """A process of the demo has ended, and nobody had asked it to."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs."""

    url: str
    """The broker's, with its secret."""
    coordinator: Process
    agents: Mapping[str, Process]
    """By the instance's name."""
    log: Path

    async def collapse(self, expected: set[int]) -> None:
        """Wait until a process ends whose id is not in ``expected``. Raises ProcessDied, with its last words."""
        waits = {asyncio.ensure_future(process.wait()): name for name, process in self._everybody().items()}
        try:
            while waits:
                done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for wait in done:
                    name = waits.pop(wait)
                    process = self._everybody()[name]
                    if process.pid not in expected:
                        raise ProcessDied(
                            f"{name} (process {process.pid}) ended by itself with code {process.returncode}, so the demo cannot "
                            f"go on. The end of what the processes said:\n{self.last_words()}"
                        )
        finally:
            for wait in waits:
                wait.cancel()

    def last_words(self, lines: int = 10) -> str:
        """The end of the processes' log."""
        return "\n".join(line[:200] for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def _everybody(self) -> dict[str, Process]:
        return {"the coordinator": self.coordinator, **self.agents}


@asynccontextmanager
async def stage(directory: Path, broker: str | None, instances: Mapping[str, str], say: Say) -> AsyncIterator[Stage]:
    """Start everything in ``directory``: a broker unless ``broker`` is the URL of one, a coordinator, and an agent for each of
    ``instances`` (name -> service). Stops all of it at the end, in the order agents, coordinator, broker.

    Raises EmbeddedBrokerError if no broker can be had.
    """
    embedded = EmbeddedBroker(directory / "broker", name="orchestrator-demo", on_progress=say) if broker is None else None
    children = Children(directory / LOG)
    try:
        if embedded is not None:
            await embedded.start()
            broker = embedded.url
        told = {"ORCHESTRATOR_BROKER": broker or "", "ORCHESTRATOR_DATA_DIR": str(directory)}
        coordinator = await children.start("-m", "orchestrator", "coordinator", environment=told)
        agents = {
            name: await children.start(
                "-m", "workers", "run", f"{SERVICES}:{service}", environment={**told, "WORKERS_INSTANCE": name}
            )
            for name, service in instances.items()
        }
        yield Stage(broker or "", coordinator, agents, directory / LOG)
        await children.stop(agents.values(), STOP_WITHIN_S)  # they hand back what they hold while there is a coordinator
        await children.stop([coordinator], STOP_WITHIN_S)
    finally:
        await children.close()
        if embedded is not None:
            await embedded.stop()
