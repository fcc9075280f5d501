"""One run: honest work alone, the same under a flood, the same again; throughput and memory of each, measured in one piece."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from orchestrator.amqp import Link, topology
from orchestrator.client import Client
from orchestrator.client.errors import OrchestratorError
from orchestrator.live.embedded import EmbeddedBroker
from tests.hostile.flood import squatted_max
from tests.hostile.load import Load
from tests.hostile.town import ROOT, Town
from tests.processes import cpu_s, resident_mb

LOOK_EVERY_S = 0.5
LEAST_SHARE = 0.5
"""Of the honest throughput that must be left under the flood."""
SWELLS_MB = 40.0
"""How much more anybody may weigh after it than before …"""
REMEMBERED_MB = 0.001
"""… and for each ended task that a coordinator remembers."""
Say = Callable[[str, int, int], None]


class Meter:
    """Looks at memory now and then, and at how much honest work was done in a span."""

    def __init__(self, town: Town, load: Load) -> None:
        self._town = town
        self._load = load
        self.looks: list[tuple[float, dict[str, float]]] = []

    async def look_on(self) -> None:
        """Until cancelled."""
        while True:
            self.looks.append((time.monotonic(), self._town.rss_mb()))
            await asyncio.sleep(LOOK_EVERY_S)

    def begin(self) -> tuple[float, int]:
        self._load.waits_s.clear()
        return time.monotonic(), self._load.done

    def end(self, begun: tuple[float, int]) -> dict[str, Any]:
        """What was done since, how long each took, and what everybody weighed in the second half."""
        now, (began, done) = time.monotonic(), begun
        late = [rss for at, rss in self.looks if at >= (began + now) / 2] or [self._town.rss_mb()]
        return {
            "seconds": round(now - began, 2),
            "tasks_per_s": round((self._load.done - done) / (now - began), 1),
            **self._load.waits_ms(),
            "rss_mb": {name: round(median(rss[name] for rss in late), 1) for name in late[0]},
        }


async def run(
    folder: Path,
    messages: int,
    *,
    seed: int = 1,
    quiet_s: float = 10.0,
    rate: float = 500.0,
    window: int = 0,
    agents: int = 2,
    say: Say | None = None,
    **settings: str,
) -> dict[str, Any]:
    """The figures. Raises AssertionError if anything of the town did not bear it (``Town.judge``)."""
    async with EmbeddedBroker(folder / "broker") as node:
        with Town(node.url, folder, agents=agents, **settings) as town:
            async with Client(node.url) as client:
                await ready(client, town, agents)
                load = Load(node.url, window=window, rate=0.0 if window else rate)
                return await _measure(node, town, client, folder, messages, seed, quiet_s, load, say or (lambda *_: None))


def faults(report: dict[str, Any]) -> list[str]:
    """In words, what honest work and those who do it did not bear; empty: they bore it."""
    found = []
    before, during, after = (report[phase] for phase in ("before", "during", "after"))
    if report["wrong"]:
        found.append(f"{len(report['wrong'])} honest tasks ended wrongly: {report['wrong'][:3]}")
    if during["tasks_per_s"] < LEAST_SHARE * before["tasks_per_s"]:
        found.append(f"{during['tasks_per_s']} honest tasks a second are left of {before['tasks_per_s']}")
    if report["squatted"] > (most := squatted_max(report["messages"], report["submitted"])):
        found.append(f"{report['squatted']} honest tasks found their id taken; the flood can have taken {most:.0f} of these")
    for name, mb in after["rss_mb"].items():
        room_mb = SWELLS_MB + (REMEMBERED_MB * report["status"]["remembered"] if name == "coordinator" else 0.0)
        if mb > before["rss_mb"][name] + room_mb:
            found.append(f"{name} swells: {before['rss_mb'][name]} MB before, {mb} after")
    return found


async def ready(client: Client, town: Town, agents: int) -> None:
    """Wait until all agents are ready for work."""
    async with asyncio.timeout(60):
        while sum(one["ready"] for one in await client.ask("services", timeout_s=60)) < agents:
            town.judge()
            await asyncio.sleep(0.1)


async def _measure(
    node: EmbeddedBroker, town: Town, client: Client, folder: Path, messages: int, seed: int, quiet_s: float, load: Load, say: Say
) -> dict[str, Any]:
    rogue = await _rogue(node)
    meter = Meter(town, load)
    with (folder / "flood.log").open("wb") as log:
        flood = await asyncio.create_subprocess_exec(
            "nice", "-n", "10", sys.executable, "-m", "tests.hostile.flood", rogue, str(messages), str(seed), load.tasks,
            load.reply_to, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log, cwd=ROOT,
        )  # fmt: skip
    assert flood.stdin is not None
    assert flood.stdout is not None
    report: dict[str, Any] = {"messages": messages}
    assert await flood.stdout.readline(), (folder / "flood.log").read_text()  # it has learned who is there
    async with asyncio.TaskGroup() as group:
        work = group.create_task(_work(load, client))
        looks = group.create_task(meter.look_on())
        try:
            begun = meter.begin()
            await asyncio.sleep(quiet_s)  # a span of time is what is measured
            report["before"] = meter.end(begun)
            begun, broker_cpu_s, cpu = meter.begin(), cpu_s(node.pid or 0), town.cpu_s()
            flood.stdin.write(b"go\n")
            said: dict[str, Any] = {}
            while line := await flood.stdout.readline():
                said = json.loads(line)
                say("flood", said.get("sent", messages), messages)
                town.judge()
            report["during"] = meter.end(begun)
            report["flood"] = said
            report["during"]["cpu_s"] = {name: round(used - cpu[name], 1) for name, used in town.cpu_s().items()}
            report["during"]["cpu_s"]["broker"] = round(cpu_s(node.pid or 0) - broker_cpu_s, 1)
            await _drained(node.url, town)
            begun = meter.begin()
            await asyncio.sleep(quiet_s)
            report["after"] = meter.end(begun)
        finally:
            load.stop()
            if flood.returncode is None:
                flood.kill()
            await flood.wait()
            looks.cancel()
        await work
    ended = f"the flood ended early: {said}\n{(folder / 'flood.log').read_text()}"
    assert said.get("done", 0) >= messages, ended
    report["wrong"], report["squatted"], report["strays"] = load.wrong, load.squatted, dict(load.strays)
    report["submitted"] = load.submitted
    report["words"] = {name: dict(words) for name, words in town.judge().items()}
    report["status"] = await client.ask("status", timeout_s=60)
    report["broker_mb"] = round(resident_mb(node.pid or 0), 1)
    report["memory"] = _memory(meter)
    return report


async def _work(load: Load, client: Client) -> None:
    """Honest work, until it is stopped and done. Raises AssertionError if nothing comes back for a minute, with what is known."""
    try:
        await load.run()
    except TimeoutError:
        known = []
        for task in list(load.open)[:5]:
            try:
                known.append(await client.ask("task", task=task, timeout_s=60))
            except OrchestratorError as unknown:
                known.append(f"{task}: {unknown}")
        raise AssertionError(f"{len(load.open)} honest tasks are stuck; of the first is known: {known}") from None


async def _rogue(node: EmbeddedBroker) -> str:
    """The URL of a user who may do everything on the broker, and is not whom agents, producers and coordinators connect as."""
    await node.ctl("add_user", "rogue", "rogue")
    await node.ctl("set_permissions", "-p", "/", "rogue", ".*", ".*", ".*")
    return node.url.replace(node.url.partition("://")[2].partition("@")[0], "rogue:rogue", 1)


async def _drained(url: str, town: Town) -> None:
    """Until what the flood left in the queues that coordinators read is read."""
    async with await Link.open(url, name="looking on", connections=("consume",)) as link, asyncio.timeout(120):
        queues = (topology.TASKS, topology.intake_queue("honest"), topology.REPORTS, topology.CONTROL)
        while sum([(await link.stat(queue)).messages for queue in queues]):
            town.judge()
            await asyncio.sleep(0.2)


def _memory(meter: Meter) -> list[dict[str, Any]]:
    """What everybody weighed, at some twenty moments."""
    step = max(1, len(meter.looks) // 20)
    first = meter.looks[0][0]
    return [{"s": round(at - first, 1), **{name: round(mb, 1) for name, mb in rss.items()}} for at, rss in meter.looks[::step]]
