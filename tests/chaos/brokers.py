"""Stories of brokers: one that is stopped, killed, frozen, full; the nodes of three, one by one, in pairs and torn apart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations

from orchestrator.amqp import Link, errors, topology
from orchestrator.live.embedded import streams
from tests.chaos import faults
from tests.chaos.nodes import found
from tests.chaos.play import LEASE_S, Scene
from tests.chaos.town import Town

FAR_S = 0.75
"""Each way."""
LEADERS = 25
TOKENS_WITHIN_S = 10.0
HEALS_WITHIN_S = 30.0
"""So long an operator watches before he does something himself."""


async def broker_restarted(scene: Scene) -> None:
    await faults.restart_node(scene.town, 0, brutal=False)
    scene.taken_back()


async def broker_killed(scene: Scene) -> None:
    await faults.restart_node(scene.town, 0, brutal=True)
    scene.taken_back()


async def broker_frozen(scene: Scene) -> None:
    """Longer than every lease: whoever waits for it closes its window, and comes back with what it had finished."""
    await faults.freeze_node(scene.town, 0, 8 if scene.short else 20)
    scene.taken_back()


async def broker_naps(scene: Scene) -> None:
    """It is back within every lease and heartbeat: nothing comes of it but waiting."""
    with all_stay_what_they_are(scene):
        await faults.freeze_node(scene.town, 0, LEASE_S / 2)
        await scene.go_on(1)


async def memory_alarm(scene: Scene) -> None:
    await faults.memory_alarm(scene.town, LEASE_S * (2 if scene.short else 12))


async def disk_alarm(scene: Scene) -> None:
    await faults.disk_alarm(scene.town, LEASE_S * (2 if scene.short else 12))


async def slow_net(scene: Scene) -> None:
    await faults.slow_net(scene.town, 5 if scene.short else 30)


async def thin_net(scene: Scene) -> None:
    await faults.thin_net(scene.town, 5 if scene.short else 30)
    scene.taken_back()


@contextmanager
def all_stay_what_they_are(scene: Scene) -> Iterator[None]:
    """Nobody is given up, nobody has to come in anew, and who leads leads on."""

    def all_said() -> dict[str, tuple[int, ...]]:
        town = scene.town
        words = ("window_missed", "connected", "joined", "leading", "session")
        return {one.name: tuple(map(one.last, words)) for one in (*town.coordinators, *town.workers)}

    before = all_said()
    yield
    after = all_said()
    assert before == after, f"not what they were: {[name for name in before if before[name] != after[name]]}"


async def far_net(scene: Scene) -> None:
    """A beat and its echo take four ways and fit into a lease of 5 s: nothing comes of it but waiting. Whoever comes in
    anew meanwhile comes in."""
    seconds = 8 if scene.short else 20
    with all_stay_what_they_are(scene):
        await faults.slow_net(scene.town, seconds, FAR_S)
    victim, began_ns = scene.victim(), time.monotonic_ns()
    back = asyncio.ensure_future(scene.comes_back(victim, began_ns))
    far = asyncio.ensure_future(faults.slow_net(scene.town, 60, FAR_S))
    await faults.reset(scene.town, victim)
    await asyncio.wait((back, far), return_when=asyncio.FIRST_COMPLETED)
    held = back.done()
    far.cancel()
    await back
    scene.taken_back()
    assert held, f"{victim.name} did not come back while each way took {FAR_S} s"


async def crumbs(scene: Scene) -> None:
    """All that is said and heard, and the greeting of one that comes in anew."""
    seconds = 3 if scene.short else 15
    with all_stay_what_they_are(scene):
        await faults.crumbs(scene.town, seconds)
    victim, began_ns = scene.victim(), time.monotonic_ns()
    torn = asyncio.ensure_future(faults.crumbs(scene.town, seconds))
    await faults.reset(scene.town, victim)
    await scene.comes_back(victim, began_ns)
    scene.figures["still torn"] = not torn.done()
    await torn


async def full_disk(scene: Scene) -> None:
    """Whatever the broker does then, it confirms nothing that it has not got. It dies of that, and 3.10.8 does not always
    find the ledger again: coordinators say so, and an operator does what the README tells then."""
    scene.figures |= await faults.full_disk(scene.town, 4 if scene.short else 15)
    scene.taken_back()
    scene.figures["read in again"] = 0
    at_work = asyncio.Lock()
    operator = asyncio.ensure_future(_finds_the_ledger(scene, at_work))
    try:
        await scene.works_again()
    finally:
        async with at_work:  # he does not leave a broker that he has stopped
            operator.cancel()
        await asyncio.gather(operator, return_exceptions=True)


async def _finds_the_ledger(scene: Scene, at_work: asyncio.Lock) -> None:
    """As an operator who reads what coordinators say. What he fails at shows: nothing works again."""
    since_ns = scene.over_ns

    def astray() -> bool:
        words = (word for one in scene.town.coordinators for word in reversed(one.said) if word["heard_ns"] > since_ns)
        return any(errors.ASTRAY in word.get("why", "") for word in words)

    nodes = scene.town.nodes
    while True:
        await scene.town.until(astray, "nobody misses the ledger")
        async with at_work:
            await nodes.kill(0)
            nodes.move_aside(0, streams.COORDINATION)
            await nodes.start(0)
            await nodes.eval(streams.READ_IN)
        since_ns = time.monotonic_ns()
        scene.figures["read in again"] += 1


async def reset_storm(scene: Scene) -> None:
    await faults.storm(scene.town, scene.dice, 5 if scene.short else 60)


# --- three nodes --------------------------------------------------------------------------------------------------------------


async def _leader_node(scene: Scene, queue: str) -> int:
    """Number of the node where the leader of this queue or stream is."""
    nodes = scene.town.nodes
    where = "case amqqueue:get_pid(Q) of {_, Node} -> Node; Pid -> node(Pid) end"
    name = (await nodes.eval(f"{found(queue)}, {where}.")).strip("'")
    return next(n for n in range(nodes.count) if nodes.name(n) == name)


async def _kill_node_of(scene: Scene, queue: str) -> None:
    node = await _leader_node(scene, queue)
    scene.figures["node"] = node
    await faults.restart_node(scene.town, node, brutal=True, down_s=3)


async def ledger_node_killed(scene: Scene) -> None:
    await _kill_node_of(scene, "orchestrator.ledger")


async def reports_node_killed(scene: Scene) -> None:
    await _kill_node_of(scene, "orchestrator.reports")


async def intake_node_killed(scene: Scene) -> None:
    await _kill_node_of(scene, "orchestrator.tasks.town")


async def worker_node_killed(scene: Scene) -> None:
    """The node that the coordinators are not connected to: they see its agents vanish, and live on."""
    await faults.restart_node(scene.town, 2, brutal=True, down_s=3)


async def leaders_node_killed(scene: Scene) -> None:
    """The one that the leader and a worker are connected to."""
    town = scene.town
    node = town.coordinators.index(town.leader) % town.nodes.count
    scene.figures["node"] = node
    await faults.restart_node(town, node, brutal=True, down_s=3)


async def two_nodes_killed(scene: Scene) -> None:
    """Nothing can be confirmed by the one that is left: all wait, and nobody hears that anything is safe."""
    nodes = scene.town.nodes
    both = scene.dice.sample(range(nodes.count), 2)
    scene.figures["nodes"] = both
    for node in both:
        await nodes.kill(node)
    await scene.go_on(5)
    await asyncio.gather(*(nodes.start(node) for node in both))
    scene.taken_back()


async def node_cut_off(scene: Scene) -> None:
    """The others and it believe each other gone; clients of both are connected all along."""
    count = scene.town.nodes.count
    node = scene.dice.randrange(count)
    scene.figures["node"] = node
    await faults.tear(scene.town, [(node, other) for other in range(count) if other != node], 20)
    scene.taken_back()


async def link_cut(scene: Scene) -> None:
    """Two nodes do not hear each other, and the third hears both: who is with whom is for the broker to find out."""
    town = scene.town
    pair = scene.dice.sample(range(town.nodes.count), 2)
    scene.figures["nodes"] = pair
    leads = town.coordinators.index(town.leader) % town.nodes.count
    await faults.tear(town, [(pair[0], pair[1])], 20, [node for node in pair if node != leads and leads in pair])
    scene.taken_back()


async def link_cut_and_healed(scene: Scene) -> None:
    """The same, of nodes that go on alone: they cut more links, as they see fit, and start anew who lost. So only the workers know
    who was cut off: who was not heard for a lease. 3.10.8 does not always find back (the ledger's stream takes no appends any more,
    nor readers: 541); then its operator starts nodes anew, one by one."""
    began_ns = time.monotonic_ns()
    await link_cut(scene)
    for worker in scene.town.workers:
        if (unheard_ns := worker.last("window_missed")) > began_ns:
            scene.town.harm(worker, "cut off", began_ns, unheard_ns)
    await helped(scene)


async def helped(scene: Scene) -> None:
    """As by an operator: who sees nothing move for a while starts the nodes anew, one by one, until something does."""
    scene.figures["started anew"] = 0
    for node in range(scene.town.nodes.count):
        try:
            await scene.works_again(HEALS_WITHIN_S)
            return
        except TimeoutError:
            await faults.restart_node(scene.town, node, brutal=True)  # in an orderly way it may not stop
            scene.figures["started anew"] += 1


async def all_apart(scene: Scene) -> None:
    """No node hears another: none is with a majority, so nothing can be confirmed."""
    await faults.tear(scene.town, list(combinations(range(scene.town.nodes.count), 2)), 10)
    scene.taken_back()


async def all_nodes_killed(scene: Scene) -> None:
    """Nobody is left who could say what was confirmed but their disks."""
    nodes = scene.town.nodes
    for node in range(nodes.count):
        await nodes.kill(node)
    await scene.go_on(2)
    await asyncio.gather(*map(nodes.start, range(nodes.count)))
    scene.taken_back()


async def node_naps(scene: Scene) -> None:
    """It goes on before the others give it up, and before a lease is over."""
    node = scene.dice.randrange(scene.town.nodes.count)
    scene.figures["node"] = node
    await faults.freeze_node(scene.town, node, LEASE_S / 2)
    scene.taken_back()


async def leaders_come_and_go(scene: Scene) -> None:
    """More often than brokers deliver a message of a quorum queue to those who do not settle it (20 times, since 4.0, unless told
    otherwise): the leader's token is such a one, and held by each until it is cut off. Each time the next one leads. In the end one
    does, and of the tokens that all of them have laid at most one lies there."""
    town = scene.town
    for _ in range(LEADERS):
        since_ns = time.monotonic_ns()
        await faults.reset(town, town.leader)
        await town.until(lambda since_ns=since_ns: town.leader.last("leading") > since_ns, "nobody leads")
    scene.taken_back()
    await town.until(lambda: len(town.leaders) == 1, "not exactly one coordinator leads")
    scene.figures["tokens"] = await tokens(town)


async def tokens(town: Town) -> int:
    """How many lie there: none or one, beside the one that is held. Looked at for as long as a quorum queue may take to say so.

    Raises AssertionError if there are more.
    """
    link = await Link.open(town.url, name="chaos.tokens")
    try:
        until = time.monotonic() + TOKENS_WITHIN_S
        while (found := (await link.stat(topology.LEADER)).messages) > 1:
            assert time.monotonic() < until, f"{found} tokens lie there"
            await asyncio.sleep(0.1)
        return found
    finally:
        await link.close()


async def node_frozen(scene: Scene) -> None:
    node = scene.dice.randrange(scene.town.nodes.count)
    scene.figures["node"] = node
    await faults.freeze_node(scene.town, node, 20)


async def everything_rolls(scene: Scene) -> None:
    """An update of everything: each broker node, each coordinator, each worker, one after the other."""
    town = scene.town
    await faults.restart(town, town.coordinators)
    await faults.restart(town, town.workers)
    for node in range(town.nodes.count):
        await faults.restart_node(town, node, brutal=False)
        await scene.works_again()
