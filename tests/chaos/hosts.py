"""Stories of hosts: clocks that jump, a disk that is full under what we write ourselves (which is our log, and nothing else)."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

from tests.chaos import faults
from tests.chaos.brokers import all_stay_what_they_are
from tests.chaos.clocks import CannotInject
from tests.chaos.nodes import found
from tests.chaos.play import Scene
from tests.chaos.town import ROOT, Actor

HOURS_S = 3 * 3600.0
DAY_S = 24 * 3600.0
TRIED_AGAIN_WITHIN_S = 60.0


def _clocks_or_not(scene: Scene) -> None:
    if scene.town.clocks.missing:
        raise CannotInject(scene.town.clocks.missing)


async def clocks_jump(scene: Scene) -> None:
    """Of every coordinator and worker, one after the other, forth and back by three hours, under tasks with deadlines: nothing
    comes of it."""
    _clocks_or_not(scene)
    town = scene.town
    with all_stay_what_they_are(scene):
        for one in (*town.coordinators, *town.workers):
            dated = asyncio.ensure_future(_dated(scene, 20))
            await faults.jump(one.clock, HOURS_S, -HOURS_S, stays_s=0.5 if scene.short else 2)
            await dated


async def _dated(scene: Scene, tasks: int) -> None:
    """Tasks that must have begun within a minute, and do."""
    work = scene.town.client.task("town.work", deadline="60s")
    for number in range(tasks):
        assert await work.run(number=number, seconds=0.05) == 2 * number


async def clocks_differ(scene: Scene) -> None:
    """A worker that starts three hours ahead, another three hours behind; and a leader that starts ahead. What that one put off for
    two seconds is not put off for three hours when it is dead."""
    _clocks_or_not(scene)
    town = scene.town
    ahead, behind = town.workers[0], town.workers[1]
    for one, off_s in ((ahead, HOURS_S), (behind, -HOURS_S)):
        await _restarts(scene, one, off_s)
    await _dated(scene, 40)
    standby = town.standby
    await _restarts(scene, standby, HOURS_S)
    await faults.kill(town, town.leader)
    await town.until(lambda: standby.last("leading"), f"{standby.name} does not lead")
    stumbles = await town.client.submit("town.stumble")
    await town.until(lambda: standby.last("retry"), "nothing has failed")
    began = time.monotonic()
    await town.revive()
    await faults.kill(town, standby)
    result = await stumbles.outcome(TRIED_AGAIN_WITHIN_S)
    scene.figures["tried again after s"] = round(time.monotonic() - began, 1)
    assert result.outcome == "done"
    await town.revive()
    for one in (ahead, behind, standby):
        await _restarts(scene, one, 0)


async def _restarts(scene: Scene, actor: Actor, ahead_s: float) -> None:
    """With its clock so much ahead from its first moment on."""
    assert actor.clock is not None
    actor.clock.set(ahead_s)
    await faults.restart(scene.town, [actor])


async def broker_clock_jumps(scene: Scene) -> None:
    """By two days forth, and back: RabbitMQ 3.10 judges by it how long somebody has held a message, and may end
    channels over that."""
    _clocks_or_not(scene)
    nodes = scene.town.nodes
    was = await nodes.eval("{ok, X} = application:get_env(rabbit, channel_tick_interval), X.")
    await nodes.eval("application:set_env(rabbit, channel_tick_interval, 500).")
    await faults.close_connections(scene.town)
    await scene.works_again()
    await faults.jump(nodes.clock, 2 * DAY_S, -2 * DAY_S, stays_s=3 if scene.short else 8)
    await nodes.eval(f"application:set_env(rabbit, channel_tick_interval, {was}).")
    scene.taken_back()


async def producer_clock_off(scene: Scene) -> None:
    """One that submits with a clock three hours ahead, and one three hours behind: both are answered, at once."""
    _clocks_or_not(scene)
    town = scene.town
    clock = town.clocks.clock("producer")
    assert clock is not None
    for ahead_s in (HOURS_S, -HOURS_S):
        clock.set(ahead_s)
        words = ["-m", "orchestrator", "submit", "town.work", "number=21", "seconds=0.01", "--wait", "--wait-timeout", "60s"]
        environment = os.environ | clock.environment | {"ORCHESTRATOR_BROKER": town.url, "PYTHONPATH": str(ROOT)}
        producer = await asyncio.create_subprocess_exec(
            sys.executable, *words, env=environment, cwd=ROOT, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, complaint = await producer.communicate()
        assert producer.returncode == 0, (out + complaint).decode()[-500:]


async def logs_full(scene: Scene) -> None:
    """The one who leads and a worker cannot write a line: they work on, and end when they are told."""
    town = scene.town
    victim, coordinator, other = scene.victim(), town.standby, town.leader
    await faults.kill(town, victim, coordinator)
    await _stand_in_line(scene, 1)
    for one in (victim, coordinator):
        await faults.start_unheard(one)
    await _stand_in_line(scene, 2)
    await faults.kill(town, other)
    await scene.works_again()
    await scene.go_on(2)
    assert victim.alive
    assert coordinator.alive
    await other.start()
    await town.until(other.follows, f"{other.name} does not follow")
    for one in (victim, coordinator):
        one.send(signal.SIGTERM)
        assert await one.ended() == 0, f"{one.name} did not end well"
    await town.revive()


async def _stand_in_line(scene: Scene, count: int) -> None:
    """Until so many consume the leader's token: who cannot say that it has read the ledger is seen there."""
    nodes = scene.town.nodes
    async with asyncio.timeout(60):
        line = f"{found('orchestrator.leader')}, length(rabbit_amqqueue:consumers(Q))."
        while await nodes.eval(line) != str(count):  # noqa: ASYNC110  the broker rings no bell
            await asyncio.sleep(0.05)
