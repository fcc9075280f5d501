"""How long a coordinator that starts takes to read a long ledger from a real stream, and what it then weighs.

The facts are encoded as a leader encodes them, a hundred an entry, and lie in the ledger of a broker of our own: tasks that were
accepted, then the ends of as many as ``ended`` says. A coordinator process is started, and watched until it leads: everything is
read by then. One that starts on an empty ledger is measured first, and taken off. CPU time is what the process used, whatever else
runs on the machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.amqp import Link
from orchestrator.amqp.ledger import LedgerTail
from orchestrator.amqp.topology import base
from orchestrator.live.embedded import EmbeddedBroker
from orchestrator.live.settings import Settings
from orchestrator.vocabulary import Attempt
from orchestrator.wire.codec import encode_entry
from orchestrator.wire.facts import Accepted, Ended, Entry
from orchestrator.wire.messages import Task
from tests.processes import cpu_s, resident_mb

BATCH = 100
"""Facts an entry."""
AHEAD = 50
"""Appends under way at once while the ledger is filled."""
ARGS = bytes(60)
VALUE = bytes(20)
PATIENCE_S = 900.0


class Start(NamedTuple):
    """A coordinator that leads."""

    wall_s: float
    cpu_s: float
    resident_mb: float
    live: int
    """Tasks that it knows to live."""


def measure(facts: int) -> dict[str, Any]:
    """``facts`` that say that tasks were accepted, which live; and as many of which half say how the others ended."""
    return asyncio.run(replayed(facts))


async def replayed(facts: int) -> dict[str, Any]:
    found: dict[str, Any] = {"facts": facts, "facts_an_entry": BATCH}
    with tempfile.TemporaryDirectory() as folder:
        async with EmbeddedBroker(Path(folder)) as node:
            empty = await _start(node.url)
            for what, ended in (("all live", 0), ("half are ends", facts // 2)):
                await _fill(node.url, facts - ended, ended)
                full = await _start(node.url)
                assert full.live == facts - 2 * ended, f"{full.live} live of {facts - ended}: it has not read all"
                spent_s = max(full.cpu_s - empty.cpu_s, 0.01)
                found[what] = {
                    "wall_s": round(full.wall_s - empty.wall_s, 2),
                    "cpu_s": round(spent_s, 2),
                    "facts_per_cpu_s": round(facts / spent_s),
                    "memory_mb": round(full.resident_mb - empty.resident_mb, 1),
                    "bytes_a_task": round((full.resident_mb - empty.resident_mb) * 2**20 / (facts - ended)),
                }
    return found


async def _fill(url: str, accepted: int, ended: int) -> None:
    """The ledger is deleted, and made anew with these facts."""
    settings = Settings(broker=url)
    async with await Link.open(url, name="bench") as link:
        await link.delete_queue("orchestrator.ledger")
        await link.declare(base(ledger_max_bytes=settings.ledger_bytes_max, ledger_segment_bytes=settings.ledger_segment_bytes))
        tail = LedgerTail(link)
        for number, entry in enumerate(_entries(accepted, ended)):
            landed = tail.append(encode_entry(entry))
            if number % AHEAD == 0:
                await landed
        await landed


def _entries(accepted: int, ended: int) -> Iterator[Entry]:
    for first in range(0, accepted, BATCH):
        numbers = range(first, min(first + BATCH, accepted))
        yield Entry(
            "bench", first, facts=[Accepted([Task(f"task-{n:012}", "thumbs.resize", ARGS) for n in numbers], time.time_ns())]
        )
    for first in range(0, ended, BATCH):
        numbers = range(first, min(first + BATCH, ended))
        now = time.time_ns()
        ends = [Ended(f"task-{n:012}", "done", now, Attempt(1, n), VALUE, started_ns=now - 10**6) for n in numbers]
        yield Entry("bench", accepted + first, facts=list(ends))


async def _start(url: str) -> Start:
    """Start a coordinator, and stop it when it leads."""
    environment = os.environ | {"ORCHESTRATOR_BROKER": url, "ORCHESTRATOR_LOG": "json", "ORCHESTRATOR_BACKLOG_MAX": "10000000"}
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "orchestrator", "coordinator", env=environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(PATIENCE_S):
            async for line in process.stderr:
                said = json.loads(line)
                if said.get("what") == "leading":
                    return Start(time.monotonic() - began, cpu_s(process.pid), resident_mb(process.pid), said["live"])
        raise RuntimeError("the coordinator ended before it led: start it by hand on an empty broker and see what it says")
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
