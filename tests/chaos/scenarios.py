"""The stories, by name: one node first, then three."""

from __future__ import annotations

import asyncio
import time

from tests.chaos import faults
from tests.chaos.play import Scenario, Scene
from tests.chaos.town import Actor

LEASE_S = 5.0


def _victim(scene: Scene) -> Actor:
    return scene.dice.choice([one for one in scene.town.workers if one.alive])


async def _comes_back(scene: Scene, victim: Actor, since_ns: int) -> None:
    """Until it has joined anew: whatever it ran under its last incarnation counts no more."""
    await scene.town.until(lambda: victim.last("joined") > since_ns, f"{victim.name} does not come back")


# --- workers ------------------------------------------------------------------------------------------------------------------


async def _worker_killed(scene: Scene) -> None:
    await faults.kill(scene.town, _victim(scene))
    await scene.go_on(1)


async def _worker_naps(scene: Scene) -> None:
    """It wakes within its window: it goes on as what it was."""
    victim = _victim(scene)
    words = ("window_missed", "connected", "joined")
    before = [victim.last(word) for word in words]
    await faults.pause(scene.town, victim, LEASE_S / 2)
    await scene.go_on(1)
    assert [victim.last(word) for word in words] == before, f"{victim.name} had to come in anew"


async def _worker_paused(scene: Scene) -> None:
    victim, began_ns = _victim(scene), time.monotonic_ns()
    await faults.pause(scene.town, victim, LEASE_S * 1.5)
    await _comes_back(scene, victim, began_ns)
    await scene.go_on(1)


async def _worker_unplugged(scene: Scene) -> None:
    victim, began_ns = _victim(scene), time.monotonic_ns()
    await faults.unplug(scene.town, victim, LEASE_S * 1.5)
    await _comes_back(scene, victim, began_ns)
    await scene.go_on(1)


async def _worker_deaf(scene: Scene) -> None:
    victim, began_ns = _victim(scene), time.monotonic_ns()
    await faults.deafen(scene.town, victim, LEASE_S * 2)
    await _comes_back(scene, victim, began_ns)


async def _worker_flaps(scene: Scene) -> None:
    """Each reset ends an incarnation, or the attempt to begin one: it joins once more after the last."""
    victim = _victim(scene)
    await faults.flap(scene.town, victim, times=6, every_s=0.5)
    await _comes_back(scene, victim, scene.town.harms[-1].from_ns)
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


async def _leader_paused(scene: Scene) -> None:
    await faults.pause(scene.town, scene.town.leader, 20.0)
    await scene.go_on(1)


async def _leader_unplugged(scene: Scene) -> None:
    await faults.unplug(scene.town, scene.town.leader, 18.0)
    await scene.go_on(1)


async def _both_killed(scene: Scene) -> None:
    await faults.kill(scene.town, scene.town.leader, _victim(scene))
    await scene.go_on(1)


# --- the broker ---------------------------------------------------------------------------------------------------------------


async def _broker_restarted(scene: Scene) -> None:
    await faults.restart_node(scene.town, 0, brutal=False)
    scene.taken_back()


async def _broker_killed(scene: Scene) -> None:
    await faults.restart_node(scene.town, 0, brutal=True)
    scene.taken_back()


async def _memory_alarm(scene: Scene) -> None:
    await faults.memory_alarm(scene.town, LEASE_S * (2 if scene.short else 12))


async def _disk_alarm(scene: Scene) -> None:
    await faults.disk_alarm(scene.town, LEASE_S * (2 if scene.short else 12))


async def _slow_net(scene: Scene) -> None:
    await faults.slow_net(scene.town, 5 if scene.short else 30)


async def _reset_storm(scene: Scene) -> None:
    await faults.storm(scene.town, scene.dice, 5 if scene.short else 60)


# --- the operator -------------------------------------------------------------------------------------------------------------


def _found(queue: str) -> str:
    """Binds `Q` to it, in Erlang."""
    return f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{queue}">>))'


async def _delete_queue(scene: Scene, name: str) -> None:
    await scene.town.nodes.eval(f'{_found(name)}, {{ok, _}} = rabbit_amqqueue:delete(Q, false, false, <<"operator">>).')
    await scene.go_on(1)


async def _purge(scene: Scene, name: str) -> None:
    await scene.town.nodes.eval(f"{_found(name)}, {{ok, _}} = rabbit_amqqueue:purge(Q).")
    await scene.go_on(1)


async def _intake_deleted(scene: Scene) -> None:
    await _delete_queue(scene, "orchestrator.tasks.town")


async def _reports_deleted(scene: Scene) -> None:
    await _delete_queue(scene, "orchestrator.reports")


async def _token_deleted(scene: Scene) -> None:
    await _delete_queue(scene, "orchestrator.leader")


async def _agent_deleted(scene: Scene) -> None:
    """The exclusive queue of a living agent: only its node may delete it, from inside."""
    victim = _victim(scene)
    incarnation = next(word["incarnation"] for word in reversed(victim.said) if word["what"] == "connected")
    began_ns = time.monotonic_ns()
    scene.town.harm(victim, "queue deleted", began_ns, began_ns)
    await _delete_queue(scene, f"orchestrator.agent.{incarnation}")
    await _comes_back(scene, victim, began_ns)


async def _intake_purged(scene: Scene) -> None:
    await _purge(scene, "orchestrator.tasks.town")


async def _reports_purged(scene: Scene) -> None:
    await _purge(scene, "orchestrator.reports")


async def _permission(scene: Scene) -> None:
    await faults.withdraw_permission(scene.town, 4)
    scene.taken_back()


# --- three nodes --------------------------------------------------------------------------------------------------------------


async def _leader_node(scene: Scene, queue: str) -> int:
    """Number of the node where the leader of this queue or stream is."""
    nodes = scene.town.nodes
    where = "case amqqueue:get_pid(Q) of {_, Node} -> Node; Pid -> node(Pid) end"
    found = (await nodes.eval(f"{_found(queue)}, {where}.")).strip("'")
    return next(n for n in range(nodes.count) if nodes.name(n) == found)


async def _kill_node_of(scene: Scene, queue: str) -> None:
    node = await _leader_node(scene, queue)
    scene.figures["node"] = node
    await faults.restart_node(scene.town, node, brutal=True, down_s=3)


async def _ledger_node_killed(scene: Scene) -> None:
    await _kill_node_of(scene, "orchestrator.ledger")


async def _reports_node_killed(scene: Scene) -> None:
    await _kill_node_of(scene, "orchestrator.reports")


async def _intake_node_killed(scene: Scene) -> None:
    await _kill_node_of(scene, "orchestrator.tasks.town")


async def _worker_node_killed(scene: Scene) -> None:
    """The node that the coordinators are not connected to: they see its agents vanish, and live on."""
    await faults.restart_node(scene.town, 2, brutal=True, down_s=3)


async def _node_frozen(scene: Scene) -> None:
    node = scene.dice.randrange(scene.town.nodes.count)
    scene.figures["node"] = node
    await faults.freeze_node(scene.town, node, 20)


async def _everything_rolls(scene: Scene) -> None:
    """An update of everything: each broker node, each coordinator, each worker, one after the other."""
    town = scene.town
    await faults.restart(town, town.coordinators)
    await faults.restart(town, town.workers)
    for node in range(town.nodes.count):
        await faults.restart_node(town, node, brutal=False)
        await scene.works_again()


ONE_NODE = [
    Scenario("worker killed", "a crash, a machine that is gone", _worker_killed),
    Scenario("worker pauses", "a pause well within the lease: nothing may come of it", _worker_naps),
    Scenario("worker paused", "a virtual machine that is moved: longer than the lease, then it wakes", _worker_paused),
    Scenario("worker unplugged", "a cable that is pulled and put back", _worker_unplugged),
    Scenario("worker deaf", "a half-open connection: it speaks and does not hear", _worker_deaf),
    Scenario("worker flaps", "a bad cable: six resets in three seconds", _worker_flaps),
    Scenario("poison", "a task that kills its worker", _poison),
    Scenario("stubborn", "a handler that ignores its cancellation", _stubborn),
    Scenario("bomb", "a process that is killed for its memory", _bomb),
    Scenario("leader killed", "a crash of the coordinator", _leader_killed),
    Scenario(
        "leader paused", "a coordinator that sleeps for 20 s and believes that it leads", _leader_paused, silence_s=20, short=False
    ),
    Scenario("leader unplugged", "a coordinator that is cut off for 18 s", _leader_unplugged, silence_s=20, short=False),
    Scenario("leader and worker killed", "a machine that had both", _both_killed),
    Scenario("broker restarted", "an update of the broker", _broker_restarted, silence_s=15),
    Scenario("broker killed", "a crash of the broker", _broker_killed, silence_s=15),
    Scenario("memory alarm", "a broker without memory, for longer than the lease", _memory_alarm, silence_s=90, short=False),
    Scenario("disk alarm", "a broker without disk, for longer than the lease", _disk_alarm, silence_s=75, short=False),
    Scenario("slow net", "200 ms more, each way", _slow_net),
    Scenario("reset storm", "a network that comes apart", _reset_storm, silence_s=10),
    Scenario(
        "intake deleted", "an operator deletes the queue of a service's submissions", _intake_deleted, loses=True, short=False
    ),
    Scenario("intake purged", "an operator purges it", _intake_purged, loses=True),
    Scenario("reports deleted", "an operator deletes the queue of reports", _reports_deleted, silence_s=10),
    Scenario("reports purged", "an operator purges it", _reports_purged),
    # Whose sessions break again and again within seconds waits up to 5 s before it comes in anew: so do those of several rounds.
    Scenario("token deleted", "an operator deletes the leader's token", _token_deleted, silence_s=10, short=False),
    Scenario("agent's queue deleted", "an operator deletes the queue of a living worker", _agent_deleted),
    Scenario("permission withdrawn", "the user may do nothing for four seconds, and all come in anew", _permission, silence_s=15),
]

THREE_NODES = [
    Scenario("node killed: ledger", "a crash of the node that leads the ledger", _ledger_node_killed, 3, silence_s=15),
    Scenario("node killed: reports", "a crash of the node that leads the reports", _reports_node_killed, 3, silence_s=15),
    Scenario("node killed: intake", "a crash of the node that leads the intake", _intake_node_killed, 3, silence_s=15),
    Scenario("node killed: worker's", "a crash of a node where no coordinator is connected", _worker_node_killed, 3, silence_s=15),
    Scenario("node frozen", "a broker node that sleeps for 20 s and goes on", _node_frozen, 3, silence_s=30),
    Scenario("everything rolls", "an update of everything under load, one after the other", _everything_rolls, 3, silence_s=15),
]
