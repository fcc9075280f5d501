"""Processes of the end-to-end tests: coordinators and workers that can be killed and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from orchestrator.client import Client

ROOT = Path(__file__).parents[2]


class Fleet:
    """Named processes, all gone at the end."""

    def __init__(self, url: str, folder: Path, path: Path) -> None:
        self._folder = folder
        self.witness_file = folder / "witness"
        self.witness_file.touch()
        self.environment = os.environ | {
            "ORCHESTRATOR_BROKER": url,
            "WITNESS": str(self.witness_file),
            "PYTHONPATH": f"{ROOT}{os.pathsep}{path}",
            "PYTHONUNBUFFERED": "1",
        }
        self._commands: dict[str, list[str]] = {}
        self.processes: dict[str, asyncio.subprocess.Process] = {}

    async def start(self, name: str, *arguments: str) -> None:
        """Start a process of this name, or the one that was killed again."""
        command = self._commands.setdefault(name, [sys.executable, *arguments])
        with (self._folder / f"{name}.log").open("ab") as log:
            self.processes[name] = await asyncio.create_subprocess_exec(
                *command, env=self.environment, cwd=ROOT, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
            )

    async def coordinator(self, name: str = "coordinator") -> None:
        await self.start(name, "-m", "orchestrator", "coordinator")

    async def worker(self, name: str, spec: str = "tests.e2e.services:service") -> None:
        await self.start(name, "-m", "workers", "run", spec)

    @staticmethod
    async def ready(client: Client, workers: int) -> None:
        """Wait until so many are ready for work."""
        async with asyncio.timeout(60):
            while sum(one["ready"] for one in await client.ask("services", timeout_s=60)) < workers:  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.05)

    async def kill(self, name: str) -> None:
        """SIGKILL, and wait until it is gone."""
        process = self.processes[name]
        assert process.returncode is None, f"{name} had ended by itself:\n{self.log(name)}"
        process.send_signal(signal.SIGKILL)
        await process.wait()

    async def close(self) -> None:
        """Stop everything that runs."""
        for process in self.processes.values():
            if process.returncode is None:
                process.terminate()
        for process in self.processes.values():
            try:
                async with asyncio.timeout(5):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()

    def log(self, name: str) -> str:
        """The end of what it said."""
        return (self._folder / f"{name}.log").read_text()[-4000:]

    def logs(self) -> str:
        return "\n".join(f"--- {name}\n{self.log(name)}" for name in self.processes)

    def completed(self) -> Counter[str]:
        """How often each task's handler came to its end, by the witness."""
        lines = (line.split() for line in self.witness_file.read_text().splitlines())
        return Counter(words[1] for words in lines if words[0] == "end")


async def doubled(client: Client, numbers: int, between: Callable[[int], Awaitable[None]]) -> list[int]:
    """So many numbers submitted at once, each of which comes back twice as large; after a third and after two thirds of the results
    ``between`` is awaited, with how many there are."""
    ended = asyncio.Queue[int]()

    async def one(number: int) -> int:
        value = await client.run("steps.double", number=number)
        assert isinstance(value, int)
        ended.put_nowait(number)
        return value

    async with asyncio.timeout(240), asyncio.TaskGroup() as group:
        runs = [group.create_task(one(number)) for number in range(numbers)]
        for number in range(numbers):
            await ended.get()
            if number in (numbers // 3, numbers * 2 // 3):
                await between(number)
    return [run.result() for run in runs]


@asynccontextmanager
async def fleet(url: str, folder: Path, path: Path = ROOT) -> AsyncIterator[Fleet]:
    """A fleet that is stopped at the end, whatever happened. ``path``: where its services are found, beside ours."""
    one = Fleet(url, folder, path)
    try:
        yield one
    finally:
        await one.close()
