"""The stage: one broker for everybody, and one process at a time that plays a peer on it.

Law: whatever was started here ends here. A peer is asked to end; then whatever still bears the mark of this run is killed, by id.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from orchestrator.live.embedded import EmbeddedBroker
from tests.bench.environment import ROOT
from tests.bench.usage import cpu_s, family
from tests.bench.workloads import Layout

ANSWERS_WITHIN_S = 600.0
MARK = "BENCH_RUN"

_ADD_VHOSTS = """
[begin
     rabbit_vhost:add(V, <<"bench">>),
     rabbit_auth_backend_internal:set_permissions(<<"{user}">>, V, <<".*">>, <<".*">>, <<".*">>, <<"bench">>)
 end || V <- [{names}]].
"""
_DROP_VHOST = 'rabbit_vhost:delete(<<"{name}">>, <<"bench">>).'


class PeerFailed(Exception):
    """A peer could not do what it was told."""


class Played:
    """A peer that is on stage."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process

    async def told(self, order: dict[str, Any]) -> dict[str, Any]:
        """Its answer to an order. Raises PeerFailed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise PeerFailed(f"no answer to {order['do']} within {ANSWERS_WITHIN_S:.0f} s") from None
        except (ConnectionError, ValueError) as trouble:
            raise PeerFailed(f"{order['do']}: {trouble}") from None
        if not line:
            raise PeerFailed(f"it ended by itself, told to {order['do']}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerFailed(f"{order['do']}: {answer['error']}")
        return answer


@asynccontextmanager
async def playing(name: str, python: str, url: str, layout: Layout) -> AsyncIterator[tuple[Played, dict[str, Any]]]:
    """A peer laid out on a virtual host of its own, ready; and what it says of itself. Ended at the end. Raises PeerFailed."""
    mark = secrets.token_hex(8)
    with tempfile.TemporaryDirectory(prefix=f"bench-{name}-", ignore_cleanup_errors=True) as folder:
        environment = {**os.environ, "BENCH_URL": url, MARK: mark, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
        with open(Path(folder) / "driver.log", "wb") as log:  # noqa: ASYNC230  # nothing else runs on this loop
            process = await asyncio.create_subprocess_exec(
                python, "-m", "tests.bench.driver", name, cwd=ROOT, env=environment, stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE, stderr=log, limit=1 << 24,
            )  # fmt: skip
        try:
            played = Played(name, process)
            plan = {"url": url, "folder": folder, "instances": layout.instances, "slots": layout.slots, **layout.more}
            try:
                yield played, await played.told({"do": "start", **plan})
                await played.told({"do": "stop"})
            except PeerFailed as failed:
                raise PeerFailed(f"{name}: {failed}\n{_last_words(Path(folder))}".rstrip()) from None
        finally:
            await _end(process)
            await _sweep(mark)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(30):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def _sweep(mark: str) -> None:
    """Kill what still bears the mark, by id; some peers leave helpers behind that go by themselves after a while."""
    wanted = f"{MARK}={mark}".encode()
    for entry in await asyncio.to_thread(lambda: list(Path("/proc").iterdir())):
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    os.kill(int(entry.name), signal.SIGKILL)


def _last_words(folder: Path) -> str:
    """The ends of its logs."""
    logs = {file.stem: file.read_text(errors="replace").strip() for file in sorted(folder.glob("*.log"))}
    return "\n".join(f"--- {name}\n{text[-1500:]}" for name, text in logs.items() if text)


class Hosts:
    """Virtual hosts of one broker, each used once."""

    def __init__(self, node: EmbeddedBroker, count: int) -> None:
        self._node = node
        self._names = [f"bench-{number}" for number in range(count)]

    async def make(self) -> None:
        """All of them in one call: each costs 25 ms then, and half a second else."""
        listing = ", ".join(f'<<"{name}">>' for name in self._names)
        await self._node.ctl("eval", _ADD_VHOSTS.format(user=self._node.user, names=listing))

    @asynccontextmanager
    async def next(self) -> AsyncIterator[str]:
        """URL of the next. Nobody pays for what was played before: it goes with all that was left in it, and what it had
        written is on the disk when the next begins.
        """
        name = self._names.pop()
        try:
            yield self._node.url_of(name)
        finally:
            await self._node.ctl("eval", _DROP_VHOST.format(name=name))
            await asyncio.to_thread(os.sync)

    def broker_cpu_s(self) -> float:
        """CPU time that the broker has used so far."""
        return cpu_s(family(self._node.pid)) if self._node.pid else 0.0


@asynccontextmanager
async def broker(hosts: int, say: Callable[[str], None]) -> AsyncIterator[tuple[Hosts, str]]:
    """A private RabbitMQ with so many virtual hosts; and its version. Gone at the end, with all its data."""
    with tempfile.TemporaryDirectory(prefix="bench-broker-") as folder:
        async with EmbeddedBroker(Path(folder) / "data", name=f"bench-{os.getpid()}", on_progress=say) as node:
            made = Hosts(node, hosts)
            await made.make()
            yield made, (await node.ctl("version")).strip()


def python_of(name: str, peers_python: str) -> str:
    """Ours runs in this environment, peers in theirs."""
    return sys.executable if name in ("ours", "relay", "bare") else peers_python
