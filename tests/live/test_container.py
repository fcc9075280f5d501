"""The embedded broker in a container: an engine is asked for the same broker, and spoken to rightly.

The engine is a stand-in with Docker's command line (`engine.py` says why); the broker behind it is real.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import aio_pika
import pytest

from orchestrator.live.embedded import EmbeddedBroker
from orchestrator.live.embedded.container import IMAGE, ContainerNode, find_engine
from orchestrator.live.embedded.distribution import NotHere, Progress
from orchestrator.live.embedded.memory import Identity

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The stand-in, as a program on PATH called `docker`."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{REPOSITORY}" exec "{sys.executable}" "{REPOSITORY}/tests/live/engine.py" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("ENGINE_STATE", str(tmp_path / "engine"))
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return str(program)


def test_the_image_is_of_a_version_that_was_tested() -> None:
    """What the protocol says it was tested on."""
    told = (REPOSITORY / "orchestrator" / "wire" / "PROTOCOL.md").read_text(encoding="utf-8")
    tested = re.findall(r"\d+\.\d+\.\d+", re.search(r"tested on ([^)]*)\)", told)[1])  # type: ignore[index]
    assert IMAGE.rpartition(":")[2] in {version.rpartition(".")[0] for version in tested}


def broker_in(directory: Path, engine: str, lines: list[str]) -> EmbeddedBroker:
    """A broker that takes its server from a container engine alone."""

    async def from_engine(directory: Path, identity: Identity, progress: Progress) -> ContainerNode:
        return ContainerNode(engine, directory, identity)

    return EmbeddedBroker(directory, source=from_engine, on_progress=lines.append)


async def put(url: str) -> None:
    """One persistent message, confirmed."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("tasks", durable=True)
        await channel.default_exchange.publish(aio_pika.Message(b"x", delivery_mode=2), routing_key="tasks")


async def count(url: str) -> int | None:
    """Messages waiting."""
    async with await aio_pika.connect(url) as connection:
        queue = await (await connection.channel()).declare_queue("tasks", passive=True)
        return queue.declaration_result.message_count


@pytest.mark.broker
async def test_a_container_serves_is_killed_and_comes_back_with_its_data(tmp_path: Path, engine: str) -> None:
    """The volume outlives kill, restart and a new start; the password is on no command line."""
    directory, lines = tmp_path / "broker", list[str]()
    async with broker_in(directory, engine, lines) as node:
        url = node.url
        await put(url)
        assert node.pid is not None
        password = url.split(":")[2].split("@")[0]
        assert password.encode() not in Path(f"/proc/{node.pid}/cmdline").read_bytes()  # noqa: ASYNC240
        assert "tasks" in await node.ctl("list_queues", "name")
        await node.flush()
        await node.kill()
        assert node.pid is None
        await node.restart()
        assert await count(url) == 1
    assert any("rabbitmq:" in line and "docker" in line for line in lines)


@pytest.mark.broker
async def test_a_container_left_behind_is_found_and_stopped(tmp_path: Path, engine: str) -> None:
    """A container whose starter is gone without a word is ended by the next start, which says so."""
    directory, lines = tmp_path / "broker", list[str]()
    first = broker_in(directory, engine, lines)
    await first.start()
    await put(first.url)
    left = next((tmp_path / "engine").glob("*.pid")).read_text()
    identity = Identity.load(directory, name="orchestrator")
    second = ContainerNode(engine, directory, identity)
    assert await second.stop_leftover() == f"container orchestrator-{identity.mark}"
    with pytest.raises(ProcessLookupError):
        os.kill(int(left), signal.SIGCONT)
    await first.ended()
    await first.restart()
    assert await count(first.url) == 1
    await first.stop()


def test_an_engine_that_does_not_answer_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client without its daemon is no engine; the sentence says which of the two is missing."""
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotHere, match="docker is installed, but its engine does not answer, no podman"):
        find_engine(lambda line: None)
    program.write_text("#!/bin/sh\nexit 0\n")
    assert find_engine(lambda line: None) == "docker"
