"""One run: honest work alone, beside a flood of what nobody reads, beside the flood, alone again; throughput and memory of each,
measured in one piece.

On a machine that is full, honest work loses to the flood's own process and to the broker that takes its messages, whoever they are
for. That much is measured first, by the same messages sent to a queue that nobody reads (``machine``). What is held against us is
what is lost beyond that. How much of it is the broker's, who has to deliver them too, is shown and not judged: the same messages to
queues like ours whose readers only acknowledge (``floor``).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from orchestrator.amqp import Link
from orchestrator.client import Client
from orchestrator.client.errors import OrchestratorError
from orchestrator.live.embedded import EmbeddedBroker
from orchestrator.vocabulary import DEFAULT_SHARD
from tests.hostile.flood import Wave, squatted_max
from tests.hostile.floor import FLOOR, READ
from tests.hostile.load import Load
from tests.hostile.town import ROOT, Town
from tests.processes import cpu_s, resident_mb

LOOK_EVERY_S = 0.5
LEAST_SHARE = 0.5
"""Of the honest throughput that the same messages leave when nobody reads them, so much must be left under the flood."""
FLAT = 0.10
"""So much more than before anybody may weigh during the flood and after it, where what is remembered was in balance before: then
ended tasks come and go at one rate, and what is more is the flood's."""
SWELLS_MB = 40.0
"""Where it was not: how much more anybody may weigh after it than before …"""
REMEMBERED_MB = 0.001
"""… and for each ended task that a coordinator remembers."""
Say = Callable[[str, int, int], None]


class Meter:
    """Looks at memory now and then, and at how much honest work was done in a span."""

    def __init__(self, node: EmbeddedBroker, town: Town, load: Load, flood: Flooding) -> None:
        self._node = node
        self._town = town
        self._load = load
        self._flood = flood
        self.looks: list[tuple[float, dict[str, float]]] = []

    async def look_on(self) -> None:
        """Until cancelled."""
        while True:
            self.looks.append((time.monotonic(), self._town.rss_mb()))
            await asyncio.sleep(LOOK_EVERY_S)

    def begin(self) -> tuple[float, int, dict[str, float]]:
        self._load.waits_s.clear()
        return time.monotonic(), self._load.done, self._cpu_s()

    def _cpu_s(self) -> dict[str, float]:
        return self._town.cpu_s() | {
            "broker": cpu_s(self._node.pid or 0), "flood": cpu_s(self._flood.pid), "producer": time.process_time(),
            "readers": cpu_s(self._flood.readers_pid),
        }  # fmt: skip

    async def rest(self, seconds: float) -> dict[str, Any]:
        """A span of time in which nothing is done but honest work."""
        begun = self.begin()
        await asyncio.sleep(seconds)
        return self.end(begun)

    def end(self, begun: tuple[float, int, dict[str, float]]) -> dict[str, Any]:
        """What was done since, how long each took, how many cores each used, and what everybody weighed in the second half."""
        now, (began, done, used) = time.monotonic(), begun
        late = [rss for at, rss in self.looks if at >= (began + now) / 2] or [self._town.rss_mb()]
        return {
            "seconds": round(now - began, 2),
            "tasks_per_s": round((self._load.done - done) / (now - began), 1),
            **self._load.waits_ms(),
            "cores": {name: round((cpu - used[name]) / (now - began), 3) for name, cpu in self._cpu_s().items()},
            "rss_mb": {name: round(median(rss[name] for rss in late), 1) for name in late[0]},
        }


@dataclass(frozen=True)
class Plan:
    """What to do."""

    messages: int
    seconds: float = 3_600.0
    """The flood is over after so many messages, or after so long."""
    flood_rate: float = 0.0
    """Its messages a second; 0: as fast as the broker takes them."""
    decoy_s: float = 10.0
    """So long the same messages go to nobody, before."""
    floor_s: float = 0.0
    """So long they go to readers who decide nothing; 0: not at all."""
    quiet_s: float = 10.0
    """So long honest work is alone, before and after."""
    dedup_s: float = 600.0
    """So long coordinators remember what has ended. Where half of ``quiet_s`` is as long, memory must be flat."""
    rate: float = 500.0
    """Honest tasks a second."""
    window: int = 0
    """Instead: so many honest tasks open at any time."""
    agents: int = 2
    seed: int = 1


async def run(folder: Path, plan: Plan, *, say: Say = lambda *_: None, **settings: str) -> dict[str, Any]:
    """The figures. Raises AssertionError if anything of the town did not bear it (``Town.judge``)."""
    async with EmbeddedBroker(folder / "broker") as node:
        with Town(node.url, folder, agents=plan.agents, dedup_window_s=str(plan.dedup_s), **settings) as town:
            async with Client(node.url) as client:
                await ready(client, town, plan.agents)
                return await _measure(node, town, client, folder, plan, say)


def faults(report: dict[str, Any]) -> list[str]:
    """In words, what honest work and those who do it did not bear; empty: they bore it."""
    found = []
    before, machine, during, after = (report[phase] for phase in ("before", "machine", "during", "after"))
    if report["wrong"]:
        found.append(f"{len(report['wrong'])} honest tasks ended wrongly: {report['wrong'][:3]}")
    if during["tasks_per_s"] < LEAST_SHARE * machine["tasks_per_s"]:
        found.append(
            f"{during['tasks_per_s']} honest tasks a second are left of {machine['tasks_per_s']} beside messages for nobody, "
            f"of {before['tasks_per_s']} alone"
        )
    if report["squatted"] > (most := squatted_max(report["messages"], report["submitted"])):
        found.append(f"{report['squatted']} honest tasks found their id taken; the flood can have taken {most:.0f} of these")
    for name, mb in after["rss_mb"].items():
        least_mb, most_mb = before["rss_mb"][name], max(during["rss_mb"][name], mb)
        if report["balanced"]:
            room_mb, heaviest_mb = FLAT * least_mb, most_mb
        else:
            room_mb, heaviest_mb = SWELLS_MB + REMEMBERED_MB * report["status"]["remembered"] * (name == "coordinator"), mb
        if heaviest_mb > least_mb + room_mb:
            found.append(f"{name} swells: {least_mb} MB before, {during['rss_mb'][name]} during, {mb} after")
    return found


def costs_us(before: dict[str, Any], phase: dict[str, Any]) -> dict[str, float]:
    """CPU time of each for one message of the flood: what it used beyond what so many honest tasks cost it before. Where honest
    work is too little to fill batches these are cheaper in company, so it is the least that a message costs."""
    a_task = {name: cores / max(before["tasks_per_s"], 1e-9) for name, cores in before["cores"].items()}
    messages_per_s = phase["flood"]["done"] / phase["seconds"]
    return {
        name: round(1e6 * (cores - a_task[name] * phase["tasks_per_s"]) / messages_per_s, 1)
        for name, cores in phase["cores"].items()
    }


async def ready(client: Client, town: Town, agents: int) -> None:
    """Wait until all agents are ready for work."""
    async with asyncio.timeout(60):
        while sum(one["ready"] for one in await client.ask("services", timeout_s=60)) < agents:
            town.judge()
            await asyncio.sleep(0.1)


async def _measure(node: EmbeddedBroker, town: Town, client: Client, folder: Path, plan: Plan, say: Say) -> dict[str, Any]:
    load = Load(node.url, window=plan.window, rate=0.0 if plan.window else plan.rate)
    report: dict[str, Any] = {"balanced": plan.quiet_s / 2 >= plan.dedup_s}
    async with _flooding(await _rogue(node), folder, plan.seed, load) as flood, asyncio.TaskGroup() as group:
        meter = Meter(node, town, load, flood)
        work = group.create_task(_work(load, client))
        looks = group.create_task(meter.look_on())
        try:
            report["before"] = await meter.rest(plan.quiet_s)
            for phase, wave in (
                ("machine", Wave(plan.messages, plan.decoy_s, plan.flood_rate, decoy=True)),
                ("during", Wave(plan.messages, plan.seconds, plan.flood_rate)),
            ):
                begun = meter.begin()
                async for sent in flood.wave(wave):
                    say(phase, sent, plan.messages)
                    town.judge()
                report[phase] = meter.end(begun) | {"flood": flood.said}
                report[phase]["us_a_message"] = costs_us(report["before"], report[phase])
                await _drained(node.url, town, load)
                if wave.decoy and plan.floor_s:
                    report["floor"] = found = await _floor(node, town, load, plan, flood, meter, folder)
                    found["us_a_message"] = costs_us(report["before"], found)
            report["after"] = await meter.rest(plan.quiet_s)
        finally:
            load.stop()
            looks.cancel()
        await work
    report["messages"] = report["during"]["flood"]["done"]
    report["wrong"], report["squatted"], report["strays"] = load.wrong, load.squatted, dict(load.strays)
    report["submitted"] = load.submitted
    report["words"] = {name: dict(words) for name, words in town.judge().items()}
    report["status"] = await client.ask("status", timeout_s=60)
    report["broker_mb"] = round(resident_mb(node.pid or 0), 1)
    report["memory"] = _memory(meter)
    return report


async def _floor(
    node: EmbeddedBroker, town: Town, load: Load, plan: Plan, flood: Flooding, meter: Meter, folder: Path
) -> dict[str, Any]:
    """The same messages, to readers who acknowledge; until all of it is read."""
    async with flood.readers(node.url, folder, load.reply_to):
        begun = meter.begin()
        async for _ in flood.wave(Wave(plan.messages, plan.floor_s, plan.flood_rate, shard=FLOOR)):
            town.judge()
        found = meter.end(begun) | {"flood": flood.said}
        await _drained(node.url, town, load, FLOOR)
    return found


class Flooding:
    """The flood's process, and at times those of its readers who decide nothing."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self.pid = process.pid
        self.readers_pid = 0
        self.said: dict[str, Any] = {}
        """Its last word."""
        self.incarnations: list[str] = []
        """Of agents, as far as it has learned of them."""

    async def hear(self) -> dict[str, Any]:
        """Its next word. Raises AssertionError if it has ended."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, f"the flood ended early: {self.said}\n{self._log.read_text()}"
        self.said = json.loads(line)
        return self.said

    async def wave(self, wave: Wave) -> AsyncIterator[int]:
        """Let it rage; how many messages the broker has, now and then, until it is over."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(wave._asdict()).encode() + b"\n")
        while "done" not in (said := await self.hear()):
            yield said["sent"]

    @asynccontextmanager
    async def readers(self, url: str, folder: Path, reply_to: str) -> AsyncIterator[None]:
        """Somebody reads all queues of the shard ``FLOOR``."""
        with (folder / "readers.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.hostile.floor", url, reply_to, *self.incarnations,
                stdout=asyncio.subprocess.PIPE, stderr=log, cwd=ROOT,
            )  # fmt: skip
        try:
            assert process.stdout is not None
            assert await process.stdout.readline(), f"the readers ended early:\n{(folder / 'readers.log').read_text()}"
            self.readers_pid = process.pid
            yield
        finally:
            self.readers_pid = 0
            if process.returncode is None:
                process.kill()
            await process.wait()


@asynccontextmanager
async def _flooding(rogue: str, folder: Path, seed: int, load: Load) -> AsyncIterator[Flooding]:
    """A flood that has learned who is there."""
    path = folder / "flood.log"
    with path.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.hostile.flood", rogue, str(seed), load.tasks, load.reply_to,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log, cwd=ROOT,
        )  # fmt: skip
    flood = Flooding(process, path)
    try:
        flood.incarnations = (await flood.hear())["incarnations"]
        yield flood
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


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


async def _drained(url: str, town: Town, load: Load, shard: str = DEFAULT_SHARD) -> None:
    """Until what the flood left in the queues that coordinators read is read, and honest work has caught up."""
    async with await Link.open(url, name="looking on", connections=("consume",), shard=shard) as link, asyncio.timeout(120):
        since = load.submitted
        while load.oldest <= since or sum([(await link.stat(queue)).messages for queue in READ]):
            town.judge()
            await asyncio.sleep(0.2)


def _memory(meter: Meter) -> list[dict[str, Any]]:
    """What everybody weighed, at some twenty moments."""
    step = max(1, len(meter.looks) // 20)
    first = meter.looks[0][0]
    return [{"s": round(at - first, 1), **{name: round(mb, 1) for name, mb in rss.items()}} for at, rss in meter.looks[::step]]
