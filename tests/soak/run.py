"""A steady load for a long time: does anybody grow?

Ids of ended tasks are remembered for the dedup window, so a coordinator grows until the first of them are forgotten, and the table
of them until it is full of forgotten ones for the first time (Python then builds it anew, with more room, and never again). So the
*warm-up* is one and a quarter of that window, and a bit. What everybody weighs then is held against what they weigh from then on,
minute by minute.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

from orchestrator.client import Client
from orchestrator.live.embedded import EmbeddedBroker
from tests.hostile.load import Load
from tests.hostile.run import ready
from tests.hostile.town import Town

LOOK_EVERY_S = 1.0
FULL = 1.25
"""After so many dedup windows tables are as large as they get."""
SETTLES_S = 30.0
"""How much longer the warm-up takes: ids are forgotten in lots."""
LEAST_SHARE = 0.9
"""Of the rate that must get done."""
LEAST_LOOKS = 10
"""Fewer looks after the warm-up tell nothing."""


async def soak(
    folder: Path,
    seconds: float,
    *,
    rate: float = 500.0,
    window_s: float = 600.0,
    warm_up_s: float | None = None,
    agents: int = 2,
    say: Callable[[float, dict[str, float]], None] = lambda passed, rss: None,
) -> dict[str, Any]:
    """The figures; what tasks came to stands in them. Raises AssertionError if somebody ended, or said something of an error."""
    warm_up_s = FULL * window_s + SETTLES_S if warm_up_s is None else warm_up_s
    async with EmbeddedBroker(folder / "broker") as node:
        with Town(node.url, folder, agents=agents, dedup_window_s=str(window_s)) as town:
            async with Client(node.url) as client:
                await ready(client, town, agents)
                load = Load(node.url, rate=rate)
                looks: list[tuple[float, dict[str, float]]] = []
                work = asyncio.create_task(load.run())
                began = time.monotonic()
                while (passed := time.monotonic() - began) < seconds and not work.done():
                    looks.append((passed, town.rss_mb()))
                    say(*looks[-1])
                    await asyncio.sleep(LOOK_EVERY_S)
                    if len(looks) % 30 == 0:
                        town.judge()
                load.stop()
                await work
                cpu = {name: round(used / passed, 4) for name, used in town.cpu_s().items()}
                words = town.judge()
                status = await client.ask("status", timeout_s=60)
    return {
        "seconds": round(passed, 1),
        "warm_up_s": warm_up_s,
        "rate": rate,
        "done": load.done,
        "tasks_per_s": round(load.done / passed, 1),
        "wrong": load.wrong[:10],
        "squatted": load.squatted,
        "strays": dict(load.strays),
        **load.waits_ms(),
        "cpu_share": cpu,
        "words": {name: dict(said) for name, said in words.items()},
        "remembered": status["remembered"],
        "growth": growth(looks, warm_up_s),
        "minutes": minutes(looks),
    }


def faults(report: dict[str, Any]) -> list[str]:
    """In words, what was not as it should be, but for anybody's weight."""
    found = [f"{what}: {report[what]}" for what in ("wrong", "squatted", "strays") if report[what]]
    if report["tasks_per_s"] <= LEAST_SHARE * report["rate"]:
        found.append(f"{report['tasks_per_s']} tasks a second got done of {report['rate']}")
    return found


def growth(looks: list[tuple[float, dict[str, float]]], warm_up_s: float) -> dict[str, dict[str, float]]:
    """Of each: what it weighed in the first minute (or fifth) after the warm-up, and by which shares it got lighter and heavier.
    Nothing of anybody, if that cannot be told yet."""
    late = [(at - warm_up_s, rss) for at, rss in looks if at >= warm_up_s]
    if len(late) < LEAST_LOOKS:
        return {}
    span = min(60.0, late[-1][0] / 5)
    found: dict[str, dict[str, float]] = {}
    for name in late[0][1]:
        lots: dict[int, list[float]] = {}
        for at, rss in late:
            lots.setdefault(int(at // span), []).append(rss[name])
        means = [mean(lot) for lot in lots.values()]
        base = means[0]
        found[name] = {"mb": round(base, 2), "least": round(min(means) / base - 1, 4), "most": round(max(means) / base - 1, 4)}
    return found


def minutes(looks: list[tuple[float, dict[str, float]]]) -> list[dict[str, float]]:
    """What everybody weighed, minute by minute."""
    lots: dict[int, list[dict[str, float]]] = {}
    for at, rss in looks:
        lots.setdefault(int(at // 60), []).append(rss)
    return [
        {"minute": minute, **{name: round(mean(one[name] for one in lot), 2) for name in lot[0]}} for minute, lot in lots.items()
    ]
