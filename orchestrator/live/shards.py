"""Several shards: a coordinator for each, each in a process of its own, so that more than one core decides.

Law: what was started here is kept running, and stopped when we are. A child that ends by itself is started again after a wait,
which grows while that keeps happening; meanwhile another coordinator that stands by has its shard, and the others are not
touched.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import NoReturn

from orchestrator.amqp.supervisor import Backoff
from orchestrator.live.balancer import Balancer
from orchestrator.live.children import Children
from orchestrator.live.settings import Settings, environment
from orchestrator.live.telemetry import Telemetry, configure

GRACE_S = 10.0
STEADY = Backoff(first_s=0.5, most_s=30.0, steady_s=30.0)


async def run_all(settings: Settings) -> NoReturn:
    """Run a coordinator for every shard of the rule until cancelled, and hand shards over where we lead more than others."""
    telemetry = configure(settings.log, settings.log_level, coordinator=settings.name)
    children = Children()
    try:
        async with asyncio.TaskGroup() as group:
            for shard in settings.rule.names:
                group.create_task(_keep(children, settings, shard, telemetry))
            group.create_task(Balancer(settings, telemetry).run())
    finally:
        telemetry.say("stopping", {})
        await children.close()
    raise AssertionError("coordinators never end by themselves")


async def _keep(children: Children, settings: Settings, shard: str, telemetry: Telemetry) -> NoReturn:
    """A coordinator of one shard, again and again."""
    loop, dice, failures = asyncio.get_running_loop(), Random(), 0
    told = environment(settings, broker=settings.broker or "", name=settings.name, shard=shard)
    while True:
        began = loop.time()
        process = await children.start("-m", "orchestrator", "coordinator", environment=told)
        code = await process.wait()
        await children.stop([process], GRACE_S)  # it has ended: nobody need look after it any more
        failures = 1 if loop.time() - began >= STEADY.steady_s else failures + 1
        wait_s = STEADY.wait_s(failures, dice)
        telemetry.say("child_ended", {"shard": shard, "code": code, "again_in_s": round(wait_s, 1)})
        await asyncio.sleep(wait_s)
