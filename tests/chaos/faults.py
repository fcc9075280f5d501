"""What can be done to a town, each fault with a line on what it imitates. A fault writes down whom it harmed, and when.

Law: a fault does one thing and takes it back if it is one that passes. What is to be seen afterwards is said by the scenario.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from functools import partial
from random import Random

from tests.chaos.clocks import Clock
from tests.chaos.door import Door
from tests.chaos.town import Actor, Town


async def kill(town: Town, *actors: Actor) -> None:
    """SIGKILL, all at once. A crash, a machine that is gone, the kernel's out-of-memory killer."""
    now = time.monotonic_ns()
    for actor in actors:
        town.harm(actor, "killed", now)
        actor.send(signal.SIGKILL)
    for actor in actors:
        await actor.ended()


async def pause(town: Town, actors: Sequence[Actor], seconds: float) -> None:
    """SIGSTOP, and SIGCONT later. A virtual machine that is moved, a laptop that sleeps, a host that swaps."""
    began = time.monotonic_ns()
    for actor in actors:
        actor.send(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    for actor in actors:
        actor.send(signal.SIGCONT)
        town.harm(actor, "paused", began, time.monotonic_ns())


async def unplug(town: Town, actors: Sequence[Actor], seconds: float, role: str = "", *, hears: bool = False) -> None:
    """Nothing passes for a while, and nobody is told. A cable, a switch, a firewall. ``role``: only on that connection of each.
    ``hears``: one way only, a route or a rule that is wrong on one side."""
    began = time.monotonic_ns()
    for door in _doors(actors):
        await door.shut(role, hears=hears)
    await asyncio.sleep(seconds)
    for door in _doors(actors):
        await door.unshut()
    for actor in actors:
        town.harm(actor, "unplugged", began, time.monotonic_ns())


async def half_open(town: Town, actor: Actor, role: str, seconds: float) -> None:
    """Nothing passes on one of a session's connections: it says and does not hear (``consume``, ``ledger``), or the other way round
    (``publish``). A half-open connection, a thread that hangs."""
    await unplug(town, [actor], seconds, role)


def _doors(actors: Sequence[Actor]) -> list[Door]:
    doors = [one.door for one in actors if one.door is not None]
    assert len(doors) == len(actors), "a town with doors"
    return doors


def _all_doors(town: Town) -> list[Door]:
    assert town.producer_door is not None
    return [*_doors([*town.coordinators, *town.workers]), town.producer_door]


async def unplug_producer(town: Town, seconds: float, role: str = "") -> None:
    """As ``unplug``, of whom nobody runs for."""
    assert town.producer_door is not None
    await town.producer_door.shut(role)
    await asyncio.sleep(seconds)
    await town.producer_door.unshut()


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
    for door in _all_doors(town):
        door.delay_s = delay_s
    try:
        await asyncio.sleep(seconds)
    finally:
        for door in _all_doors(town):
            door.delay_s = 0.0


async def thin_net(town: Town, seconds: float, bytes_per_s: float = 32_000) -> None:
    """Little passes, on each connection, both ways. A link that somebody else fills."""
    for door in _all_doors(town):
        door.bytes_per_s = bytes_per_s
    await asyncio.sleep(seconds)
    for door in _all_doors(town):
        door.bytes_per_s = 0.0


async def crumbs(town: Town, seconds: float) -> None:
    """Every byte travels alone, both ways. A link or a proxy that tears frames wherever it likes."""
    for door in _all_doors(town):
        door.crumb_bytes = 1
    await asyncio.sleep(seconds)
    for door in _all_doors(town):
        door.crumb_bytes = 0


async def full_disk(town: Town, seconds: float) -> dict[str, object]:
    """Not a byte can be written where the broker's data lies. If it dies of that it is started again once there is room; also if
    only its machine is left, and the broker in it has stopped: an operator's `rabbitmqctl status` tells that.

    Gives how much room there was before, and what became of the broker.
    """
    disk = town.nodes.disk
    assert disk is not None, "a town with a disk of its own"
    room = disk.fill()
    await asyncio.sleep(seconds)
    disk.free()
    became = "lived"
    if not town.nodes.lives(0):
        became = "died"
    elif await town.nodes.eval("rabbit:is_running().") != "true":
        became = "stopped"
        await town.nodes.kill(0)
    if became != "lived":
        await town.nodes.start(0)
    return {"room_mb": room >> 20, "broker": became}


async def start_unheard(actor: Actor) -> None:
    """With its log on a full disk: each line that it writes fails, for the kernel's `/dev/full` has no room (ENOSPC)."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        await actor.start(full)
    finally:
        os.close(full)


async def jump(clock: Clock | None, *ahead_s: float, stays_s: float) -> None:
    """A wall clock is set to so much ahead of the right time (or behind), stays there for a while, and so on; in the end it is
    right. An administrator, a machine without a battery, a virtual machine that was restored."""
    assert clock is not None
    for one in ahead_s:
        clock.set(one)
        await asyncio.sleep(stays_s)
    clock.set(0)


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


def _all_reset(town: Town) -> None:
    for actor in (*town.coordinators, *town.workers):
        town.harm(actor, "reset", time.monotonic_ns(), time.monotonic_ns())


async def without_user(town: Town, seconds: float) -> None:
    """The user is deleted, and made anew with its old password. An operator's mistake, a directory that cannot be asked."""
    nodes = town.nodes
    _all_reset(town)
    await nodes.eval(f'rabbit_auth_backend_internal:delete_user(<<"{nodes.user}">>, <<"operator">>).')
    await asyncio.sleep(seconds)
    await nodes.eval(f'rabbit_auth_backend_internal:add_user(<<"{nodes.user}">>, <<"{nodes.password}">>, <<"operator">>).')
    await nodes.permit(".*")


async def close_connections(town: Town) -> None:
    """`rabbitmqctl close_all_connections`: each is told, and ends. (One may have gone by itself before its turn.)"""
    _all_reset(town)
    await town.nodes.eval('[catch rabbit_networking:close_connection(C, "an operator") || C <- rabbit_networking:connections()].')


async def close_channels(town: Town) -> None:
    """The broker ends every channel over an error of its own finding, and leaves the connections."""
    _all_reset(town)
    error = '{amqp_error, precondition_failed, "an error of this channel", none}'
    await town.nodes.eval(f"[exit(C, {error}) || C <- rabbit_channel:list()].")


async def suspicious_broker(town: Town, bearable_ms: int, seconds: float) -> None:
    """Nobody may hold a message for longer than that: the broker ends the channel. Half an hour is its default.

    (Channels read how long when they begin, so all connections are closed before and after.)
    """
    nodes = town.nodes
    was = [
        await nodes.eval(f"{{ok, X}} = application:get_env(rabbit, {key}), X.")
        for key in ("consumer_timeout", "channel_tick_interval")
    ]
    await nodes.eval(
        f"[application:set_env(rabbit, K, V) || {{K, V}} <- [{{consumer_timeout, {bearable_ms}}}, {{channel_tick_interval, 500}}]]."
    )
    await close_connections(town)
    await asyncio.sleep(seconds)
    await nodes.eval(
        f"[application:set_env(rabbit, K, V) || {{K, V}} <- [{{consumer_timeout, {was[0]}}}, {{channel_tick_interval, {was[1]}}}]]."
    )
    await close_connections(town)


async def policy(town: Town, pattern: str, definition: list[tuple[str, int]], seconds: float) -> None:
    """A policy over some queues, for a while."""
    terms = ", ".join(f'{{<<"{key}">>, {value}}}' for key, value in definition)
    await town.nodes.eval(
        f'ok = rabbit_policy:set(<<"/">>, <<"mistake">>, <<"{pattern}">>, [{terms}], 0, <<"queues">>, <<"operator">>).'
    )
    await asyncio.sleep(seconds)
    await town.nodes.eval('ok = rabbit_policy:delete(<<"/">>, <<"mistake">>, <<"operator">>).')


async def tear(town: Town, links: Sequence[tuple[int, int]], seconds: float, away: Sequence[int] = ()) -> None:
    """Nodes at the two ends of these links do not hear each other, and clients hear all. A network that is torn.

    ``away``: nodes from which nothing reaches the leader's any more, though it leads on: whose clients are cut off from it.
    (They are told a wrong cookie of each other, so that they cannot connect anew.)
    """
    nodes, began = town.nodes, time.monotonic_ns()
    through = [actor for node in away for actor in connected_to(town, node)]
    for one, other in (*links, *((b, a) for a, b in links)):
        name = nodes.name(other)
        await nodes.eval(f"erlang:set_cookie('{name}', torn), erlang:disconnect_node('{name}').", one)
    await asyncio.sleep(seconds)
    for one, other in (*links, *((b, a) for a, b in links)):
        await nodes.eval(f"erlang:set_cookie('{nodes.name(other)}', '{nodes.cookie}').", one)
    for actor in through:
        town.harm(actor, "cut off", began, time.monotonic_ns())


async def restart_node(town: Town, node: int, *, brutal: bool, down_s: float = 0.0) -> None:
    """The broker is stopped in an orderly way, or killed, and started again."""
    await (town.nodes.kill(node) if brutal else town.nodes.stop(node))
    await asyncio.sleep(down_s)
    await town.nodes.start(node)


async def stutter_node(town: Town, node: int, stalls_s: float = 1.5, every_s: float = 2.5) -> None:
    """A broker node stalls again and again, until this is cancelled. A disk that is slow, a neighbour that takes the processor."""
    try:
        while True:
            town.nodes.pause(node)
            await asyncio.sleep(stalls_s)
            town.nodes.resume(node)
            await asyncio.sleep(every_s - stalls_s)
    finally:
        town.nodes.resume(node)


async def freeze_node(town: Town, node: int, seconds: float) -> None:
    """A broker node is paused (SIGSTOP), and goes on. Where there are others, whoever is connected to this one is cut off from all
    who are not, as if unplugged; where there is no other, nobody goes on without anybody."""
    through = [] if town.nodes.count == 1 else connected_to(town, node)
    began = time.monotonic_ns()
    town.nodes.pause(node)
    await asyncio.sleep(seconds)
    town.nodes.resume(node)
    for actor in through:
        town.harm(actor, "cut off", began, time.monotonic_ns())


def connected_to(town: Town, node: int) -> list[Actor]:
    """Whose sessions go by way of this node."""
    port = town.nodes.port(node)
    return [one for one in (*town.coordinators, *town.workers) if one.door is not None and one.door.leads_to(port)]


async def restart(town: Town, actors: Sequence[Actor]) -> None:
    """Each is told to end (SIGTERM) and started again, one after the other. A deployment."""
    for actor in actors:
        actor.send(signal.SIGTERM)
        await actor.ended()
        await actor.start()
        back = partial(actor.last, "joined") if actor.kind == "worker" else actor.follows
        await town.until(back, f"{actor.name} is not back")
