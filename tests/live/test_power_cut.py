"""The power of a single node goes: what the operating system had not written of the ledger is gone, though it was confirmed.

A killed process loses nothing that the kernel has, so the cut is made by hand: the node is killed, and the ledger's files are put
back as they were before. Queues keep what they had synced, as they do.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from orchestrator.amqp import topology
from orchestrator.live.embedded import EmbeddedBroker
from tests.live.peers import Producer, Task, agent, coordinator, producer

pytestmark = pytest.mark.broker


def ledger_files(node: EmbeddedBroker) -> Path:
    """The directory of the stream."""
    (found,) = (path for path in node.data_dir.rglob("*orchestrator_ledger*") if path.is_dir())
    return found


async def accepted(client: Producer, count: int) -> None:
    while (await client.ask("status"))["live"] < count:
        pass


async def cut_the_power(node: EmbeddedBroker, written: Path, *, settles_written: bool) -> None:
    """Kill the node, take from the ledger what was not ``written`` yet, and start it again. ``settles_written``: what was settled
    is on disk; else that is left to chance, as it is when a node is killed (then what was settled may be delivered again)."""
    files = ledger_files(node)
    await (node.stop() if settles_written else node.kill())
    shutil.rmtree(files)
    shutil.copytree(written, files)
    await node.start()


@pytest.mark.parametrize("settle_after_s", [60.0, 0.0], ids=["settled late", "settled at once"])
async def test_what_was_accepted_just_before_the_power_went(
    own_broker: EmbeddedBroker, tmp_path: Path, settle_after_s: float
) -> None:
    """The producer had the confirm, the tasks were in the ledger, one had ended and its producer heard it. Settled late, all of it
    is delivered again from the queues: the one that had ended has its value, and does not run again. Settled at once it is lost:
    that is the limit that is stated for a single node."""
    written, url = tmp_path / "written", own_broker.url
    async with coordinator(url, settle_after_s=settle_after_s), producer(url) as client:
        async with agent(url, "s", "h"):
            client.submit(Task("before", "s.h"))
            await accepted(client, 1)
            await own_broker.flush()
            shutil.copytree(ledger_files(own_broker), written)
        client.submit(
            Task("over", "t.h"), Task("lives", "t.h")
        )  # by the common queue: the service has none yet, which could be lost
        await accepted(client, 3)
        async with agent(url, "t", "h") as worker:
            _, attempt = await worker.assigned()
            worker.done("over", attempt, b"\x07")
            assert (await client.result("over")).value == b"\x07"
        while not settle_after_s and f"{topology.TASKS}\t0" not in await own_broker.ctl("-q", "list_queues", "name", "messages"):
            pass  # the broker has not read that they are settled
    await cut_the_power(own_broker, written, settles_written=not settle_after_s)
    async with coordinator(url, settle_after_s=settle_after_s), producer(url) as client:
        if not settle_after_s:
            assert (await client.ask("status"))["live"] == 1
            return
        await accepted(client, 2)
        while [one["task"] for one in await client.ask("tasks", service="t")] != ["lives"]:
            pass  # its report is read first, and written down
        async with agent(url, "t", "h") as heir:
            assert (await heir.assigned())[0].task == "lives"
            client.submit(Task("over", "t.h"))
            assert (await client.result("over")).value == b"\x07"
