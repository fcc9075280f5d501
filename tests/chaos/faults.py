"""What can be done to a town, each fault with a line on what it imitates. A fault writes down whom it harmed, and when.

Law: a fault does one thing and takes it back if it is one that passes. What is to be seen afterwards is said by the scenario.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Sequence
from random import Random

from tests.chaos.town import Actor, Town


async def kill(town: Town, *actors: Actor) -> None:
    """SIGKILL, all at once. A crash, a machine that is gone, the kernel's out-of-memory killer."""
    now = time.monotonic_ns()
    for actor in actors:
        town.harm(actor, "killed", now)
        actor.send(signal.SIGKILL)
    for actor in actors:
        await actor.ended()


async def pause(town: Town, actor: Actor, seconds: float) -> None:
    """SIGSTOP, and SIGCONT later. A virtual machine that is moved, a laptop that sleeps, a host that swaps."""
    began = time.monotonic_ns()
    actor.send(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    actor.send(signal.SIGCONT)
    town.harm(actor, "paused", began, time.monotonic_ns())


async def unplug(town: Town, actor: Actor, seconds: float) -> None:
    """Nothing passes for a while, and nobody is told. A cable, a switch, a firewall."""
    assert actor.door is not None
    began = time.monotonic_ns()
    await actor.door.shut()
    await asyncio.sleep(seconds)
    await actor.door.unshut()
    town.harm(actor, "unplugged", began, time.monotonic_ns())


async def deafen(town: Town, actor: Actor, seconds: float) -> None:
    """What is sent to it does not arrive, what it says does. A half-open connection, a thread that hangs."""
    assert actor.door is not None
    began = time.monotonic_ns()
    await actor.door.shut("consume")
    await asyncio.sleep(seconds)
    await actor.door.unshut()
    town.harm(actor, "deaf", began, time.monotonic_ns())


async def reset(town: Town, actor: Actor) -> None:
    """Its connections are reset. A load balancer that was restarted, a NAT that forgot."""
    assert actor.door is not None
    town.harm(actor, "reset", time.monotonic_ns(), time.monotonic_ns())
    actor.door.cut()


async def flap(town: Town, actor: Actor, times: int, every_s: float) -> None:
    """Reset again and again. A bad cable."""
    for _ in range(times):
        await reset(town, actor)
        await asyncio.sleep(every_s)


async def storm(town: Town, dice: Random, seconds: float, share: float = 0.2, every_s: float = 0.5) -> None:
    """Every so often a share of all connections is reset, whose ever they are. A network that comes apart."""
    actors = [*town.coordinators, *town.workers]
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for actor in actors:
            if dice.random() < share:
                await reset(town, actor)
        if town.producer_door is not None and dice.random() < share:
            town.producer_door.cut()
        await asyncio.sleep(every_s)


async def slow_net(town: Town, seconds: float, delay_s: float = 0.2) -> None:
    """Every byte takes longer, both ways. Another continent, a saturated link."""
    doors = [one.door for one in (*town.coordinators, *town.workers)] + [town.producer_door]
    for door in doors:
        assert door is not None
        door.delay_s = delay_s
    await asyncio.sleep(seconds)
    for door in doors:
        assert door is not None
        door.delay_s = 0.0


async def memory_alarm(town: Town, seconds: float) -> None:
    """The broker says that it has no memory: whoever publishes is not read. A flood, a leak, a neighbour."""
    was = await town.nodes.eval("vm_memory_monitor:get_vm_memory_high_watermark().")
    await town.nodes.eval("vm_memory_monitor:set_vm_memory_high_watermark({absolute, 1000000}).")
    await asyncio.sleep(seconds)
    await town.nodes.eval(f"vm_memory_monitor:set_vm_memory_high_watermark({was}).")


async def disk_alarm(town: Town, seconds: float) -> None:
    """The broker says that its disk is nearly full."""
    await town.nodes.eval("rabbit_disk_monitor:set_disk_free_limit(999000000000000).")
    await asyncio.sleep(seconds)
    await town.nodes.eval("rabbit_disk_monitor:set_disk_free_limit(200000000).")


async def withdraw_permission(town: Town, seconds: float) -> None:
    """The user may do nothing any more, for a while, and every connection is made anew. An operator's mistake, an expired token.

    (A channel that is open goes on: the broker remembers what it was allowed.)
    """
    await town.nodes.permit("^$")
    for actor in (*town.coordinators, *town.workers):
        await reset(town, actor)
    await asyncio.sleep(seconds)
    await town.nodes.permit(".*")


async def restart_node(town: Town, node: int, *, brutal: bool, down_s: float = 0.0) -> None:
    """The broker is stopped in an orderly way, or killed, and started again."""
    await (town.nodes.kill(node) if brutal else town.nodes.stop(node))
    await asyncio.sleep(down_s)
    await town.nodes.start(node)


async def freeze_node(town: Town, node: int, seconds: float) -> None:
    """A broker node is paused (SIGSTOP) longer than its neighbours bear, and goes on."""
    town.nodes.pause(node)
    await asyncio.sleep(seconds)
    town.nodes.resume(node)


async def restart(town: Town, actors: Sequence[Actor]) -> None:
    """Each is told to end (SIGTERM) and started again, one after the other. A deployment."""
    for actor in actors:
        actor.send(signal.SIGTERM)
        await actor.ended()
        await actor.start()
        word = "joined" if actor.kind == "worker" else "standing_by"
        await town.until(lambda actor=actor, word=word: actor.last(word), f"{actor.name} is not back")
