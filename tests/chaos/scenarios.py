"""The stories, by name: one node first, then three. Those of workers and coordinators are told here, the others in ``brokers`` and
``mistakes``."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.chaos import brokers, faults, hosts, mistakes
from tests.chaos.play import LEASE_S, Scenario, Scene
from tests.chaos.town import Actor

# --- workers ------------------------------------------------------------------------------------------------------------------


async def _worker_killed(scene: Scene) -> None:
    await faults.kill(scene.town, scene.victim())
    await scene.go_on(1)


@contextmanager
def _stays_what_it_is(victim: Actor) -> Iterator[None]:
    words = ("window_missed", "connected", "joined")
    before = [victim.last(word) for word in words]
    yield
    assert [victim.last(word) for word in words] == before, f"{victim.name} had to come in anew"


async def _worker_naps(scene: Scene) -> None:
    """It wakes within its window: it goes on as what it was."""
    victim = scene.victim()
    with _stays_what_it_is(victim):
        await faults.pause(scene.town, [victim], LEASE_S / 2)
        await scene.go_on(1)


async def _worker_blocked(scene: Scene) -> None:
    """Its neighbours on that loop wait, and that is all: the agent beats and hears on another thread."""
    victim = scene.victim()
    with _stays_what_it_is(victim):
        handle = await scene.town.client.submit("town.hog", seconds=LEASE_S * 1.5)
        assert (await handle.outcome("30s")).outcome == "done"


async def _worker_paused(scene: Scene) -> None:
    victim, began_ns = scene.victim(), time.monotonic_ns()
    await faults.pause(scene.town, [victim], LEASE_S * 1.5)
    await scene.comes_back(victim, began_ns)
    await scene.go_on(1)


async def _worker_unplugged(scene: Scene) -> None:
    victim, began_ns = scene.victim(), time.monotonic_ns()
    await faults.unplug(scene.town, [victim], LEASE_S * 1.5)
    await scene.comes_back(victim, began_ns)
    await scene.go_on(1)


async def _worker_deaf(scene: Scene) -> None:
    victim, began_ns = scene.victim(), time.monotonic_ns()
    await faults.half_open(scene.town, victim, "consume", LEASE_S * 2)
    await scene.comes_back(victim, began_ns)


async def _workers_paused(scene: Scene) -> None:
    """All at once: while nobody is heard it is not they who are silent, and their leases stand still."""
    began_ns = time.monotonic_ns()
    await faults.pause(scene.town, scene.town.workers, LEASE_S * 1.5)
    scene.taken_back()
    for one in scene.town.workers:
        await scene.comes_back(one, began_ns)


async def _workers_unplugged(scene: Scene) -> None:
    began_ns = time.monotonic_ns()
    await faults.unplug(scene.town, scene.town.workers, LEASE_S * 1.5)
    scene.taken_back()
    for one in scene.town.workers:
        await scene.comes_back(one, began_ns)


async def _worker_flaps(scene: Scene) -> None:
    """Each reset ends an incarnation, or the attempt to begin one: it joins once more after the last."""
    victim = scene.victim()
    await faults.flap(scene.town, victim, times=6, every_s=0.5)
    await scene.comes_back(victim, scene.town.harms[-1].from_ns)
    await scene.go_on(1)


async def _poison(scene: Scene) -> None:
    """A task that kills its worker is put aside after three deaths, and says why."""
    town = scene.town
    handle = await town.client.submit("town.poison")
    ended = asyncio.ensure_future(handle.outcome())
    while not ended.done():
        deaths = [asyncio.ensure_future(one.ended()) for one in town.workers if one.alive]
        await asyncio.wait([ended, *deaths], return_when=asyncio.FIRST_COMPLETED)
        for one in town.workers:
            if not one.alive:
                scene.figures["deaths"] = scene.figures.get("deaths", 0) + 1
                town.harm(one, "killed", time.monotonic_ns())
                await one.start()
    result = ended.result()
    scene.figures["outcome"] = result.outcome
    assert result.outcome == "failed"
    assert scene.figures["deaths"] == 3
    assert result.error is not None
    assert result.error.kind == "quarantined"
    await town.ready()


async def _stubborn(scene: Scene) -> None:
    """A handler that does not heed its cancellation keeps its worker from coming back, and nothing else."""
    town = scene.town
    handle = await town.client.submit("town.stubborn", seconds=3.0)
    await scene.go_on(0.5)
    assert await handle.cancel()
    result = await handle.outcome("2s")
    assert result.outcome == "cancelled"
    await scene.go_on(1)


async def _bomb(scene: Scene) -> None:
    """A process handler that is killed for its memory fails alone; its worker and everybody else go on."""
    town = scene.town
    lives = [one.lives for one in town.workers]
    result = await (await town.client.submit("town.bomb", megabytes=200)).outcome("30s")
    scene.figures["outcome"] = result.error.kind if result.error else result.outcome
    assert result.outcome == "failed"
    assert [one.lives for one in town.workers] == lives
    assert all(one.alive for one in town.workers)


# --- the leader ---------------------------------------------------------------------------------------------------------------


async def _leader_killed(scene: Scene) -> None:
    await faults.kill(scene.town, scene.town.leader)
    await scene.go_on(1)


async def _leader_naps(scene: Scene) -> None:
    """A pause within which nobody may think that it is gone: it still leads, and no worker had to come in anew."""
    leader, town = scene.town.leader, scene.town
    before = [(one.last("leading"), one.last("joined")) for one in (*town.coordinators, *town.workers)]
    await faults.pause(town, [leader], 2.0)
    await scene.go_on(1)
    assert before == [(one.last("leading"), one.last("joined")) for one in (*town.coordinators, *town.workers)], (
        "somebody else leads"
    )


async def _leader_paused(scene: Scene) -> None:
    await faults.pause(scene.town, [scene.town.leader], 20.0)
    await scene.go_on(1)


async def _leader_unplugged(scene: Scene) -> None:
    await faults.unplug(scene.town, [scene.town.leader], 18.0)
    await scene.go_on(1)


async def _leader_deaf(scene: Scene) -> None:
    """It says what it thinks right and hears nothing of what comes of it."""
    await faults.half_open(scene.town, scene.town.leader, "ledger", 18.0)
    await scene.go_on(1)


async def _leader_mute(scene: Scene) -> None:
    await faults.half_open(scene.town, scene.town.leader, "publish", 18.0)
    await scene.go_on(1)


async def _worker_unheard(scene: Scene) -> None:
    """What it says arrives nowhere, and it hears everything: no echo of its beats, so it stops itself."""
    victim, began_ns = scene.victim(), time.monotonic_ns()
    await faults.unplug(scene.town, [victim], LEASE_S * 2, hears=True)
    await scene.comes_back(victim, began_ns)
    await scene.go_on(1)


async def _leader_unheard(scene: Scene) -> None:
    await faults.unplug(scene.town, [scene.town.leader], 18.0, hears=True)
    await scene.go_on(1)


async def _producer_unplugged(scene: Scene) -> None:
    """It gives nothing up: what it could not hand over it hands over then, and what ended meanwhile it hears."""
    await faults.unplug_producer(scene.town, LEASE_S * (1 if scene.short else 4))
    scene.taken_back()
    await scene.go_on(1)


async def _producer_deaf(scene: Scene) -> None:
    """What it submits is taken, and run; of the results it hears when the broker has given that connection up, or it heals."""
    await faults.unplug_producer(scene.town, LEASE_S * (1 if scene.short else 4), "consume")
    scene.taken_back()
    await scene.go_on(1)


async def _restarted_on_a_slow_broker(scene: Scene) -> None:
    """Acknowledgements that a leader sends as it goes may be lost on a broker that stalls: nothing runs twice for that."""
    slow = asyncio.ensure_future(faults.stutter_node(scene.town, 0))
    try:
        await faults.restart(scene.town, scene.town.coordinators)
    finally:
        slow.cancel()
        await asyncio.wait([slow])
    scene.taken_back()


async def _coordinators_restarted(scene: Scene) -> None:
    await faults.restart(scene.town, scene.town.coordinators)
    await scene.go_on(1)


async def _workers_restarted(scene: Scene) -> None:
    await faults.restart(scene.town, scene.town.workers)
    await scene.go_on(1)


async def _both_killed(scene: Scene) -> None:
    await faults.kill(scene.town, scene.town.leader, scene.victim())
    await scene.go_on(1)


async def _weather(scene: Scene) -> None:
    """Everything that may happen to one of us, to whoever is not down just now, one more each second; and the broker stalls."""
    town, dice = scene.town, scene.dice
    until = time.monotonic() + (10 if scene.short else 60)
    up = [*town.coordinators, *town.workers]
    under_way: set[asyncio.Task[None]] = set()
    stalls = asyncio.ensure_future(faults.stutter_node(town, 0, 0.5, 5.0))
    try:
        while time.monotonic() < until:
            if up:
                one = up.pop(dice.randrange(len(up)))
                under_way.add(asyncio.ensure_future(_struck(scene, one, up)))
            await asyncio.sleep(1)
        await asyncio.gather(*under_way)
    finally:
        stalls.cancel()
        await asyncio.wait([stalls, *under_way])
    scene.taken_back()


async def _struck(scene: Scene, one: Actor, up: list[Actor]) -> None:
    """By something that takes some seconds; then it is up again, or on its way."""
    town, seconds = scene.town, scene.dice.uniform(0.5, 2 * LEASE_S)
    kind = scene.dice.choice(["killed", "told to end", "paused", "unplugged", "unheard", "deaf", "flaps"])
    scene.figures[kind] = scene.figures.get(kind, 0) + 1
    match kind:
        case "killed":
            await faults.kill(town, one)
            await one.start()
        case "told to end":
            one.send(signal.SIGTERM)
            await one.ended()
            await one.start()
        case "paused":
            await faults.pause(town, [one], seconds)
        case "flaps":
            await faults.flap(town, one, 3, 0.5)
        case _:
            role = "consume" if kind == "deaf" else ""
            await faults.unplug(town, [one], seconds, role, hears=kind == "unheard")
    up.append(one)


ONE_NODE = [
    Scenario("worker killed", "a crash, a machine that is gone", _worker_killed),
    Scenario("worker pauses", "a pause well within the lease: nothing may come of it", _worker_naps),
    Scenario("worker paused", "a virtual machine that is moved: longer than the lease, then it wakes", _worker_paused),
    Scenario("all workers paused", "a host with all of them that swaps", _workers_paused, silence_s=10, short=False),
    Scenario("all workers unplugged", "a switch between all of them and the broker", _workers_unplugged, silence_s=10, short=False),
    Scenario("worker unplugged", "a cable that is pulled and put back", _worker_unplugged),
    Scenario("worker deaf", "a half-open connection: it speaks and does not hear", _worker_deaf),
    Scenario("worker flaps", "a bad cable: six resets in three seconds", _worker_flaps),
    Scenario("worker blocked", "a handler that holds its loop for longer than the lease", _worker_blocked, short=False),
    Scenario("workers restarted", "an update of a service", _workers_restarted, short=False),
    Scenario("poison", "a task that kills its worker", _poison),
    Scenario("stubborn", "a handler that ignores its cancellation", _stubborn),
    Scenario("bomb", "a process that is killed for its memory", _bomb),
    Scenario("leader killed", "a crash of the coordinator", _leader_killed),
    Scenario("leader pauses", "a coordinator that hangs for two seconds: nothing may come of it", _leader_naps, short=False),
    Scenario(
        "leader paused", "a coordinator that sleeps for 20 s and believes that it leads", _leader_paused, silence_s=20, short=False
    ),
    Scenario("leader unplugged", "a coordinator that is cut off for 18 s", _leader_unplugged, silence_s=20, short=False),
    Scenario("leader deaf", "a coordinator that does not read the ledger for 18 s", _leader_deaf, silence_s=20, short=False),
    Scenario("leader mute", "a coordinator whose words arrive nowhere for 18 s", _leader_mute, silence_s=20, short=False),
    Scenario("leader unheard", "a route that is wrong one way, for 18 s", _leader_unheard, silence_s=20, short=False),
    Scenario("worker unheard", "the same for a worker, twice its lease", _worker_unheard, short=False),
    Scenario("producer unplugged", "a producer that is cut off", _producer_unplugged, silence_s=10, short=False),
    Scenario("producer deaf", "a producer that does not hear what becomes of its tasks", _producer_deaf, silence_s=10, short=False),
    Scenario(
        "restarted, slow broker",
        "an update of the orchestrator on a broker that stalls",
        _restarted_on_a_slow_broker,
        silence_s=10,
        short=False,
    ),
    Scenario("coordinators restarted", "an update of the orchestrator", _coordinators_restarted, short=False),
    Scenario("weather", "a bad minute: something else every second, to somebody", _weather, silence_s=15, short=False),
    Scenario("leader and worker killed", "a machine that had both", _both_killed),
    Scenario("broker restarted", "an update of the broker", brokers.broker_restarted, silence_s=15),
    Scenario("broker killed", "a crash of the broker", brokers.broker_killed, silence_s=15),
    Scenario("broker pauses", "a broker that hangs for half a lease: nothing may come of it", brokers.broker_naps, short=False),
    Scenario("broker frozen", "a broker that sleeps for 20 s", brokers.broker_frozen, silence_s=15, short=False),
    Scenario("memory alarm", "a broker without memory, for longer than the lease", brokers.memory_alarm, silence_s=90, short=False),
    Scenario("disk alarm", "a broker without disk, for longer than the lease", brokers.disk_alarm, silence_s=75, short=False),
    Scenario("slow net", "200 ms more, each way", brokers.slow_net),
    Scenario("thin net", "a link of 256 kbit/s for each connection", brokers.thin_net, silence_s=10, short=False),
    Scenario("far net", "three quarters of a second more, each way", brokers.far_net, silence_s=15, short=False),
    Scenario("crumbs", "a link that lets every byte travel alone", brokers.crumbs, rate=10.0, silence_s=10),
    Scenario("clocks jump", "wall clocks that are set forth and back by hours", hosts.clocks_jump, short=False),
    Scenario("clocks differ", "hosts that begin hours ahead or behind", hosts.clocks_differ, silence_s=10, short=False),
    Scenario(
        "broker's clock jumps", "its clock is set forth and back by days", hosts.broker_clock_jumps, silence_s=15, short=False
    ),
    Scenario("producer's clock off", "a producer hours ahead, or behind", hosts.producer_clock_off, short=False),
    Scenario("logs full", "a disk that is full under our own log", hosts.logs_full, silence_s=15),
    Scenario("reset storm", "a network that comes apart", brokers.reset_storm, silence_s=10),
    Scenario(
        "intake deleted",
        "an operator deletes the queue of a service's submissions",
        mistakes.intake_deleted,
        loses=True,
        short=False,
    ),
    Scenario("intake purged", "an operator purges it", mistakes.intake_purged, loses=True),
    Scenario("reports deleted", "an operator deletes the queue of reports", mistakes.reports_deleted, silence_s=10),
    Scenario("reports purged", "an operator purges it", mistakes.reports_purged),
    # Whose sessions break again and again within seconds waits up to 5 s before it comes in anew: so do those of several rounds.
    Scenario("ledger deleted", "an operator deletes the ledger", mistakes.ledger_deleted, silence_s=10, short=False),
    Scenario("intake expires", "a policy that ages submissions", mistakes.intake_expires, loses=True, silence_s=5, short=False),
    Scenario("reports expire", "a policy that ages reports", mistakes.reports_expire, silence_s=5, short=False),
    Scenario("intake bounded", "a policy that bounds what may wait", mistakes.intake_bounded, silence_s=5, short=False),
    Scenario("reports bounded", "a policy that drops reports", mistakes.reports_bounded, silence_s=5, short=False),
    Scenario("token deleted", "an operator deletes the leader's token", mistakes.token_deleted, silence_s=10, short=False),
    Scenario("agent's queue deleted", "an operator deletes the queue of a living worker", mistakes.agent_deleted),
    Scenario(
        "permission withdrawn", "the user may do nothing for four seconds, and all come in anew", mistakes.permission, silence_s=15
    ),
    Scenario(
        "user deleted",
        "an operator deletes the user, and makes it again four seconds later",
        mistakes.user_deleted,
        silence_s=15,
        short=False,
    ),
    Scenario("connections closed", "an operator closes all connections", mistakes.connections_closed, silence_s=10, short=False),
    Scenario("channels closed", "an error of every channel", mistakes.channels_closed, silence_s=10, short=False),
    Scenario(
        "held too long",
        "a broker that bears nobody who holds a message for three seconds",
        mistakes.held_too_long,
        silence_s=10,
        short=False,
    ),
    Scenario(
        "exchange deleted: tasks",
        "an operator deletes where submissions go",
        mistakes.tasks_exchange_deleted,
        silence_s=10,
        short=False,
    ),
    Scenario("exchange deleted: agents", "where workers speak", mistakes.agents_exchange_deleted, silence_s=10, short=False),
    Scenario(
        "exchange deleted: orders", "where they are told what to do", mistakes.orders_exchange_deleted, silence_s=10, short=False
    ),
    Scenario(
        "exchange deleted: echo",
        "where they are told that they are heard",
        mistakes.echo_exchange_deleted,
        silence_s=10,
        short=False,
    ),
    Scenario(
        "exchange deleted: internal", "where the ledger is written", mistakes.internal_exchange_deleted, silence_s=10, short=False
    ),
    Scenario(
        "intake unbound",
        "an operator unbinds the queue of a service's submissions",
        mistakes.intake_unbound,
        silence_s=10,
        short=False,
    ),
    Scenario("reports unbound", "an operator unbinds the queue of reports", mistakes.reports_unbound, silence_s=10, short=False),
]

SMALL_DISK = [
    Scenario("full disk", "a disk that is really full under the broker", brokers.full_disk, disk_mb=320, silence_s=30, short=False),
]
"""One node on a disk of its own."""

THREE_NODES = [
    Scenario("node killed: ledger", "a crash of the node that leads the ledger", brokers.ledger_node_killed, 3, silence_s=15),
    Scenario("node killed: reports", "a crash of the node that leads the reports", brokers.reports_node_killed, 3, silence_s=15),
    Scenario("node killed: intake", "a crash of the node that leads the intake", brokers.intake_node_killed, 3, silence_s=15),
    Scenario(
        "node killed: worker's", "a crash of a node where no coordinator is connected", brokers.worker_node_killed, 3, silence_s=15
    ),
    Scenario(
        "node killed: leader's", "a crash of the node where the leader is connected", brokers.leaders_node_killed, 3, silence_s=15
    ),
    Scenario("two nodes killed", "a crash of the majority", brokers.two_nodes_killed, 3, silence_s=30),
    Scenario(
        "node cut off", "a network that is torn between a node and the others for 20 s", brokers.node_cut_off, 3, silence_s=30
    ),
    Scenario(
        "link cut, healed",
        "a network that is torn between two of three nodes for 20 s; they go on, and an operator helps them",
        brokers.link_cut_and_healed,
        3,
        silence_s=75,
    ),
    Scenario("all apart", "a network that is gone: no node hears another for 10 s", brokers.all_apart, 3, silence_s=30),
    Scenario("all nodes killed", "a crash of all of them at once", brokers.all_nodes_killed, 3, silence_s=30),
    Scenario("node pauses", "a broker node that sleeps for half a lease", brokers.node_naps, 3, silence_s=5),
    Scenario("25 leaders", "a leader that is cut off whenever it has begun", brokers.leaders_come_and_go, 3, silence_s=10),
    Scenario("node frozen", "a broker node that sleeps for 20 s and goes on", brokers.node_frozen, 3, silence_s=30),
    Scenario(
        "minority pauses",
        "the same as 'node cut off', of nodes that stop rather than go on alone",
        brokers.node_cut_off,
        3,
        torn="pause_minority",
        silence_s=30,
    ),
    Scenario(
        "link cut",
        "a network that is torn between two of three nodes for 20 s",
        brokers.link_cut,
        3,
        torn="pause_minority",
        silence_s=30,
    ),
    Scenario(
        "all pause",
        "no node hears another for 10 s, and all of them stop",
        brokers.all_apart,
        3,
        torn="pause_minority",
        silence_s=30,
    ),
    Scenario(
        "everything rolls", "an update of everything under load, one after the other", brokers.everything_rolls, 3, silence_s=15
    ),
]
