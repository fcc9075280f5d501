"""The embedded broker: a real RabbitMQ that starts, keeps what it was given, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from orchestrator.live.embedded import BrokerDirectoryInUse, BrokerNotStarted, EmbeddedBroker
from orchestrator.live.embedded.memory import Identity, private_directory
from orchestrator.live.embedded.streams import COORDINATION
from tests.brokers import VhostPool
from tests.processes import resident_mb

pytestmark = pytest.mark.broker


@asynccontextmanager
async def channel_to(url: str) -> AsyncIterator[AbstractChannel]:
    """A channel with confirms on a connection of its own."""
    connection = await aio_pika.connect(url)
    async with connection:
        yield await connection.channel()


async def put(url: str, queue: str, body: bytes, **arguments: str) -> None:
    """Publish one persistent message, confirmed, to a durable queue."""
    async with channel_to(url) as channel:
        await channel.declare_queue(queue, durable=True, arguments=dict(arguments))
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, routing_key=queue)


async def count(url: str, queue: str) -> int | None:
    """Messages in a queue that must exist."""
    async with channel_to(url) as channel:
        return (await channel.declare_queue(queue, passive=True)).declaration_result.message_count


async def read_first(url: str, queue: str) -> bytes:
    """The first message of a queue or stream."""
    async with channel_to(url) as channel:
        await channel.set_qos(prefetch_count=1)
        arguments = {"x-stream-offset": "first"} if queue in ("ledger", "stream") else None
        async with (await channel.get_queue(queue)).iterator(arguments=arguments, timeout=20) as messages:
            message = await anext(messages)
            await message.ack()
            return message.body


def command_line(pid: int) -> str:
    """What a process was started as."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")


def listeners() -> list[tuple[str, int]]:
    """Every listening TCP socket of this machine: its address as the kernel writes it, and its port."""
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            _, local, _, state = line.split()[:4]
            if state == "0A":
                address, port = local.split(":")
                found.append((address, int(port, 16)))
    return found


def children_of(pid: int) -> list[int]:
    """Processes whose parent is `pid`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(entry.parent.name))
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and only waits to be collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def until(condition: Callable[[], bool], within_s: float = 30) -> None:
    """Wait for something another process does, which sends us no signal."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  nothing announces it
            await asyncio.sleep(0.02)


async def test_what_it_confirmed_survives_restart_and_crash(tmp_path: Path) -> None:
    """Messages of a durable queue and of a stream outlive an orderly restart, a SIGKILL and our own process object."""
    lines: list[str] = []
    node = EmbeddedBroker(tmp_path / "a directory", on_progress=lines.append)
    await node.start()
    try:
        url, first_pid = node.url, node.pid
        await put(url, "tasks", b"one")
        await put(url, "ledger", b"fact", **{"x-queue-type": "stream"})

        await node.restart()
        assert node.pid != first_pid
        assert node.url == url
        assert await count(url, "tasks") == 1

        await put(url, "tasks", b"two")
        end = asyncio.create_task(node.ended())
        await node.kill()
        await end
        assert node.pid is None
        await node.restart()
        assert await count(url, "tasks") == 2
        assert await read_first(url, "ledger") == b"fact"
    finally:
        await node.stop()
    await node.stop()  # may be repeated

    async with EmbeddedBroker(tmp_path / "a directory") as again:
        assert again.url == url
        assert await count(url, "tasks") == 2
    assert any("starting RabbitMQ" in line for line in lines)
    assert any(f"serves on {again.address}" in line for line in lines)
    assert again.url.split("@")[0] not in "".join(lines), "progress never shows the password"


async def test_what_was_just_declared_survives_a_crash_once_flushed(own_broker: EmbeddedBroker) -> None:
    """Queues of every type, declared and filled a moment before SIGKILL, are all there again: `flush` saw to it."""
    types = ("classic", "quorum", "stream")
    for kind in types:
        await put(own_broker.url, kind, kind.encode(), **{"x-queue-type": kind})
    await own_broker.flush()
    await own_broker.kill()
    await own_broker.restart()
    for kind in types:
        assert await read_first(own_broker.url, kind) == kind.encode()


async def test_streams_that_the_node_does_not_find_are_read_in_once_more(tmp_path: Path) -> None:
    """Its log of what is under way with them is lost here; a crash while the node starts can leave one that is as useless."""
    lines: list[str] = []
    async with EmbeddedBroker(tmp_path / "broker", on_progress=lines.append) as node:
        await put(node.url, "ledger", b"fact", **{"x-queue-type": "stream"})
        await node.flush()
        version = await node.ctl("eval", "rabbit_misc:version().")
        await node.kill()
        (log,) = node.data_dir.glob(f"data/*/{COORDINATION}")
        shutil.rmtree(log)
        lines.clear()
        await node.restart()
        told = "; ".join(lines)
        if version.startswith('"3.'):
            assert "does not find its streams again; it reads them in once more" in told
            assert await read_first(node.url, "ledger") == b"fact"
            await node.restart()
            assert await read_first(node.url, "ledger") == b"fact", "and are found from then on"
        assert ("have not come back" in told) is not version.startswith('"3.')


async def test_nobody_else_can_reach_or_read_it(broker: EmbeddedBroker) -> None:
    """Every listening socket is on loopback, secrets are the owner's alone, and the password is on no command line."""
    identity = json.loads((broker.data_dir / "broker.json").read_text())
    ports = {identity[key] for key in ("amqp_port", "dist_port", "epmd_port")}
    ours = [(address, port) for address, port in listeners() if port in ports]
    assert {port for _, port in ours} == ports
    assert {address for address, _ in ours} <= {"0100007F", "00000000000000000000000001000000"}, "127.0.0.1 and ::1"

    assert stat.S_IMODE(broker.data_dir.stat().st_mode) == 0o700
    for secret in ("broker.json", "rabbitmq.conf", ".erlang.cookie"):
        assert stat.S_IMODE((broker.data_dir / secret).stat().st_mode) & 0o077 == 0
    assert broker.pid is not None
    assert identity["password"] not in command_line(broker.pid)
    assert identity["password"] not in (broker.data_dir / "log" / "rabbitmq.log").read_text()

    guest = f"amqp://guest:guest@{broker.address}/"
    with pytest.raises(aio_pika.exceptions.AMQPError):
        await aio_pika.connect(guest)


async def test_it_can_do_what_the_orchestrator_needs(broker: EmbeddedBroker, amqp_url: str) -> None:
    """Streams and quorum queues work, the event exchange is there, and a consumer may hold a message for a day."""
    await put(amqp_url, "ledger", b"fact", **{"x-queue-type": "stream"})
    assert await read_first(amqp_url, "ledger") == b"fact"
    await put(amqp_url, "tasks", b"task", **{"x-queue-type": "quorum"})
    async with channel_to(broker.url) as channel:
        await channel.get_exchange("amq.rabbitmq.event")  # raises when there is none
    timeout = await broker.ctl("eval", "{ok, T} = application:get_env(rabbit, consumer_timeout), T.")
    assert int(timeout) == 24 * 3600 * 1000


async def test_it_is_small(own_broker: EmbeddedBroker) -> None:
    """A broker nobody loads takes about 138 MB."""
    assert own_broker.pid is not None
    assert 0 < resident_mb(own_broker.pid) < 200


async def test_a_test_gets_a_clean_virtual_host(amqp_url: str, vhosts: VhostPool) -> None:
    """Two virtual hosts of the shared node do not see each other."""
    await put(amqp_url, "mine", b"x")
    other = await vhosts.take()
    assert other != amqp_url
    with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
        await count(other, "mine")


async def test_a_second_broker_on_the_same_directory_is_refused(broker: EmbeddedBroker) -> None:
    """Whoever asks for a directory in use is told who uses it, and the first broker is not disturbed."""
    with pytest.raises(BrokerDirectoryInUse, match=f"Process {os.getpid()} already runs the broker in"):
        await EmbeddedBroker(broker.data_dir).start()
    async with channel_to(broker.url):
        pass


_STARTER = """
import asyncio, sys
from pathlib import Path
from orchestrator.live.embedded import EmbeddedBroker

async def main():
    async with EmbeddedBroker(Path(sys.argv[1])) as node:
        print(node.pid, node.url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def start_elsewhere(directory: Path) -> tuple[subprocess.Popen[str], int, str]:
    """A broker started by another process of ours; that process, the node's id and its URL."""
    other = subprocess.Popen(  # noqa: ASYNC220  returns at once
        [sys.executable, "-c", _STARTER, str(directory)], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    pid, url = (await asyncio.to_thread(other.stdout.readline)).split()
    other.stdout.close()
    return other, int(pid), url


async def test_it_does_not_outlive_a_process_that_was_killed(tmp_path: Path) -> None:
    """SIGKILL of the process that started it: node and port mapper end by themselves, in an orderly way."""
    other, node, _url = await start_elsewhere(tmp_path / "broker")
    helpers = children_of(other.pid)
    assert node in helpers
    other.kill()
    other.wait()
    await until(lambda: not any(map(alive, helpers)))


async def test_a_node_left_behind_is_found_and_stopped(tmp_path: Path) -> None:
    """Everything of ours was killed but the node: the next start ends it, says so, and has its data."""
    other, node, url = await start_elsewhere(tmp_path / "broker")
    await put(url, "tasks", b"one")
    keepers = [pid for pid in children_of(other.pid) if "orchestrator-keeper" in command_line(pid)]
    assert len(keepers) == 1
    for pid in [other.pid, *keepers]:
        os.kill(pid, signal.SIGKILL)
    other.wait()
    assert alive(node)

    lines: list[str] = []
    async with EmbeddedBroker(tmp_path / "broker", on_progress=lines.append) as again:
        assert not alive(node)
        assert again.pid != node
        assert await count(again.url, "tasks") == 1
    assert any(f"left behind (process {node})" in line for line in lines)


async def test_it_moves_when_its_port_is_taken(tmp_path: Path) -> None:
    """Another program sits on the remembered port: the broker takes another one, says so and remembers it."""
    directory = private_directory(tmp_path / "broker")
    remembered = Identity.load(directory, name="orchestrator")
    lines: list[str] = []
    with socket.create_server(("127.0.0.1", remembered.amqp_port)):
        async with EmbeddedBroker(directory, on_progress=lines.append) as node:
            assert not node.url.endswith(f":{remembered.amqp_port}/%2F")
            async with channel_to(node.url):
                pass
            assert Identity.load(directory, name="orchestrator").amqp_port == int(node.address.partition(":")[2])
    assert any(f"port {remembered.amqp_port} is taken" in line for line in lines)


async def test_a_node_that_cannot_boot_says_why_and_is_gone(tmp_path: Path) -> None:
    """A start that fails names the log and the broker's own last words, and leaves no process and no lock."""
    directory = private_directory(tmp_path / "broker")
    Identity.load(directory, name="orchestrator")
    (directory / "data").write_text("not a directory")
    node = EmbeddedBroker(directory)
    with pytest.raises(BrokerNotStarted, match="did not come to serve") as caught:
        await node.start()
    assert str(directory / "log") in str(caught.value)
    assert node.pid is None
    assert not (directory / "running.json").exists()
    (directory / "data").unlink()
    async with node:
        assert node.pid is not None


async def test_lost_secrets_are_told_apart_from_a_broken_broker(tmp_path: Path) -> None:
    """Without its password file, or with a wrong one, the data cannot be opened: said so, and nothing runs."""
    directory = tmp_path / "broker"
    async with EmbeddedBroker(directory) as node:
        pass
    file = directory / "broker.json"
    file.write_text(file.read_text().replace('"password": "', '"password": "x'))
    with pytest.raises(BrokerNotStarted, match="refuses the user and password"):
        await node.start()
    assert node.pid is None
    file.unlink()
    with pytest.raises(BrokerNotStarted, match="Put the file back"):
        await node.start()


@pytest.mark.parametrize("phase", ["starting", "serves"])
async def test_whoever_gives_up_waiting_leaves_nothing_running(tmp_path: Path, phase: str) -> None:
    """A start that is cancelled, and a block that is left by an exception, stop what was started."""
    seen = asyncio.Event()

    def listen(line: str) -> None:
        if line.startswith(phase) or f"broker {phase}" in line:
            seen.set()

    node = EmbeddedBroker(tmp_path / "broker", on_progress=listen)

    async def use() -> None:
        async with node:
            await asyncio.Event().wait()

    async def given_up(work: Awaitable[None]) -> None:
        with pytest.raises(asyncio.CancelledError):
            await work

    before = set(children_of(os.getpid()))
    work = asyncio.create_task(use())
    await seen.wait()
    await asyncio.sleep(0)
    work.cancel()
    await given_up(work)
    assert node.pid is None
    assert set(children_of(os.getpid())) == before
