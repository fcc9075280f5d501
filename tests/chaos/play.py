"""One scenario, played: load, fault, calm, verdict."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

from tests.chaos import witness
from tests.chaos.clocks import CannotInject
from tests.chaos.nodes import Torn
from tests.chaos.town import Actor, Load, Town

LEASE_S = 5.0
"""How long a worker is believed in without being heard."""


@dataclass(slots=True)
class Scene:
    """What a scenario has at hand."""

    town: Town
    dice: Random
    load: Load
    short: bool
    """In continuous integration: as short as shows it."""
    figures: dict[str, Any] = field(default_factory=dict)
    """What it measured besides."""
    over_ns: int = 0
    """When a fault that lasts was taken back."""

    def taken_back(self) -> None:
        """The fault is over: how long nothing moves is judged from here. How long it took depends on the machine."""
        self.over_ns = time.monotonic_ns()

    async def go_on(self, seconds: float) -> None:
        """Let the load flow."""
        await asyncio.sleep(seconds)

    def victim(self) -> Actor:
        """A worker that lives, drawn by lot."""
        return self.dice.choice([one for one in self.town.workers if one.alive])

    async def comes_back(self, victim: Actor, since_ns: int) -> None:
        """Until it has joined anew: whatever it ran under its last incarnation counts no more."""
        await self.town.until(lambda: victim.last("joined") > since_ns, f"{victim.name} does not come back")

    async def works_again(self, within_s: float = 120.0) -> None:
        """Until a task that is submitted now is answered."""
        since = time.monotonic_ns()
        async with asyncio.timeout(within_s):
            while not any(self.load.sent[task] > since for task in self.load.results):  # noqa: ASYNC110  the producer sends all along
                await asyncio.sleep(0.05)


Strike = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A story: what is done, and how long at most nothing may move."""

    name: str
    imitates: str
    strike: Strike
    nodes: int = 1
    disk_mb: int = 0
    """The broker's data lies on a disk of its own, so large."""
    torn: Torn = "autoheal"
    """What its nodes do that do not hear each other."""
    silence_s: float = 3.0
    """The longest time without any effect that is still as promised, from when a fault that lasts was taken back."""
    loses: bool = False
    """An operator throws tasks away, confirmed and not: they are lost, and that is what he asked for."""
    rate: float = 100.0
    seconds: float = 0.03
    """How long a task runs."""
    short: bool = True
    """It belongs to what continuous integration plays."""


@dataclass(slots=True)
class Verdict:
    """What came of it."""

    scenario: str
    seed: int
    tasks: int = 0
    lost: int = 0
    wrong: int = 0
    """Ended, but not with their value."""
    unknown: int = 0
    """Asked for, and never confirmed."""
    twice: int = 0
    again: int = 0
    overlaps: int = 0
    silence_s: float = 0.0
    """From the first fault on."""
    after_s: float = 0.0
    """From when it was taken back."""
    moved_s: float | None = None
    took_s: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    missing: str = ""
    """Why this machine does not let the fault be injected: then nothing is known of it, and nothing has held."""
    story: str = ""
    """What the processes said last, if something is not as promised."""
    faults: list[str] = field(default_factory=list)
    """In words, what is not as promised; empty: all is."""

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


async def play(town: Town, scenario: Scenario, seed: int, *, short: bool = False, patience: float = 1.0) -> Verdict:
    """Play it once in this town, which is whole again afterwards. Raises nothing for a broken promise: it stands in the verdict.

    ``patience``: so many times as long as promised nothing may move, on a machine of which nobody knows what else it does.
    """
    began = time.monotonic()
    verdict = Verdict(scenario.name, seed)
    try:
        await town.revive()
    except AssertionError as fault:
        verdict.faults.append(f"the town is not whole before it begins: {fault}")
        verdict.story = town.story(200)
        return verdict
    try:
        return await _played(town, scenario, verdict, began, short=short, patience=patience)
    except TimeoutError:  # of the load, before anything was done
        verdict.faults.append("nothing that is submitted is answered before it begins")
        verdict.story = town.story(200)
        return verdict


async def _played(town: Town, scenario: Scenario, verdict: Verdict, began: float, *, short: bool, patience: float) -> Verdict:
    async with town.load(rate=scenario.rate, seconds=scenario.seconds) as load:
        scene = Scene(town, Random(f"{scenario.name}{verdict.seed}"), load, short)
        await scene.go_on(0.5)
        from_ns = time.monotonic_ns()
        try:
            await scenario.strike(scene)
            await scene.works_again()
        except CannotInject as why:
            verdict.missing = str(why)
        except (AssertionError, TimeoutError) as fault:
            verdict.faults.append(f"{type(fault).__name__}: {str(fault) or 'it does not work again'}")
        over_ns = scene.over_ns or from_ns
    runs = witness.read(town.witness)
    account = witness.judge(runs, set(load.sent), town.harms, from_ns, load.over_ns)
    after_s = witness.silence_s(runs, set(load.sent), over_ns, load.over_ns)
    verdict.tasks, verdict.lost, verdict.wrong = len(load.sent), len(load.lost), len(load.wrong)
    verdict.unknown = load.unknown
    verdict.twice, verdict.again, verdict.overlaps = len(account.twice), len(account.again), len(account.overlaps)
    verdict.silence_s, verdict.after_s = round(account.silence_s, 3), round(after_s, 3)
    verdict.moved_s = round(max(account.moved_s), 3) if account.moved_s else None
    verdict.figures, verdict.took_s = scene.figures, round(time.monotonic() - began, 1)
    if load.lost and not scenario.loses:
        verdict.faults.append(f"{len(load.lost)} tasks were confirmed and never answered: {', '.join(load.lost[:5])} …")
    if load.unknown and not scenario.loses:
        verdict.faults.append(f"{load.unknown} of {load.asked} tasks were never confirmed")
    if load.wrong:
        verdict.faults.append(f"{len(load.wrong)} tasks ended wrongly: {list(load.wrong.items())[:3]}")
    if phantom := sorted(load.results.keys() - account.effects):
        verdict.faults.append(f"{len(phantom)} tasks were answered without having run: {', '.join(phantom[:5])} …")
    if account.twice:
        verdict.faults.append(f"{len(account.twice)} tasks had their effect twice: {', '.join(account.twice[:5])} …")
    if account.overlaps:
        verdict.faults.append(f"{len(account.overlaps)} tasks ran twice at the same time: {', '.join(account.overlaps[:5])} …")
    if after_s > patience * scenario.silence_s:
        verdict.faults.append(f"nothing moved for {after_s:.1f} s; promised are {scenario.silence_s} s")
    if verdict.faults:
        verdict.story = town.story(200)
    return verdict
