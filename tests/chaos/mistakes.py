"""Stories of operators: what is deleted, purged, taken away or set wrong on a broker that is well."""

from __future__ import annotations

import asyncio
import time

from tests.chaos import faults
from tests.chaos.nodes import found
from tests.chaos.play import LEASE_S, Scene

SHOWS_S = LEASE_S + 2
"""What comes of a missing exchange or binding has shown by then: a window that nobody renews is over."""


async def _delete_queue(scene: Scene, name: str) -> None:
    await scene.town.nodes.eval(f'{found(name)}, {{ok, _}} = rabbit_amqqueue:delete(Q, false, false, <<"operator">>).')
    await scene.go_on(1)


async def _purge(scene: Scene, name: str) -> None:
    await scene.town.nodes.eval(f"{found(name)}, {{ok, _}} = rabbit_amqqueue:purge(Q).")
    await scene.go_on(1)


async def intake_deleted(scene: Scene) -> None:
    await _delete_queue(scene, "orchestrator.tasks.town")


async def reports_deleted(scene: Scene) -> None:
    await _delete_queue(scene, "orchestrator.reports")


async def token_deleted(scene: Scene) -> None:
    await _delete_queue(scene, "orchestrator.leader")


async def agent_deleted(scene: Scene) -> None:
    """The exclusive queue of a living agent: only its node may delete it, from inside."""
    victim = scene.victim()
    incarnation = next(word["incarnation"] for word in reversed(victim.said) if word["what"] == "connected")
    began_ns = time.monotonic_ns()
    scene.town.harm(victim, "queue deleted", began_ns, began_ns)
    await _delete_queue(scene, f"orchestrator.agent.{incarnation}")
    await scene.comes_back(victim, began_ns)


async def intake_purged(scene: Scene) -> None:
    await _purge(scene, "orchestrator.tasks.town")


async def reports_purged(scene: Scene) -> None:
    await _purge(scene, "orchestrator.reports")


async def permission(scene: Scene) -> None:
    await faults.withdraw_permission(scene.town, 4)
    scene.taken_back()


async def ledger_deleted(scene: Scene) -> None:
    """Those who live remember what it said."""
    await _delete_queue(scene, "orchestrator.ledger")


async def user_deleted(scene: Scene) -> None:
    """The broker closes the user's connections, and refuses them until it knows the user again."""
    await faults.without_user(scene.town, 4)
    scene.taken_back()


async def connections_closed(scene: Scene) -> None:
    await faults.close_connections(scene.town)


async def channels_closed(scene: Scene) -> None:
    """An error of one channel is that of a whole session: what it held must be as if its connections had broken."""
    await faults.close_channels(scene.town)


async def held_too_long(scene: Scene) -> None:
    """The broker suspects whoever holds a message for three seconds: the leader, always, of its token."""
    await faults.suspicious_broker(scene.town, 3_000, 15)
    scene.taken_back()


async def _delete_exchange(scene: Scene, name: str) -> None:
    for one in scene.town.workers:
        scene.town.harm(one, "its bindings deleted", time.monotonic_ns(), time.monotonic_ns())
    await scene.town.nodes.eval(f'rabbit_exchange:delete(rabbit_misc:r(<<"/">>, exchange, <<"{name}">>), false, <<"operator">>).')
    await scene.go_on(SHOWS_S)


async def tasks_exchange_deleted(scene: Scene) -> None:
    await _delete_exchange(scene, "orchestrator.tasks")


async def agents_exchange_deleted(scene: Scene) -> None:
    await _delete_exchange(scene, "orchestrator.agents")


async def orders_exchange_deleted(scene: Scene) -> None:
    await _delete_exchange(scene, "orchestrator.orders")


async def echo_exchange_deleted(scene: Scene) -> None:
    await _delete_exchange(scene, "orchestrator.echo")


async def internal_exchange_deleted(scene: Scene) -> None:
    await _delete_exchange(scene, "orchestrator.internal")


async def intake_unbound(scene: Scene) -> None:
    await _unbind(scene, "orchestrator.tasks", "orchestrator.tasks.town", "town")


async def reports_unbound(scene: Scene) -> None:
    await _unbind(scene, "orchestrator.agents", "orchestrator.reports", "reports")


async def _unbind(scene: Scene, exchange: str, queue: str, key: str) -> None:
    source, target = (f'rabbit_misc:r(<<"/">>, {kind}, <<"{name}">>)' for kind, name in (("exchange", exchange), ("queue", queue)))
    await scene.town.nodes.eval(f'rabbit_binding:remove({{binding, {source}, <<"{key}">>, {target}, []}}, <<"operator">>).')
    await scene.go_on(SHOWS_S)


async def _ages_while_the_leader_naps(scene: Scene, pattern: str) -> None:
    """A policy that throws away what nobody has taken within a millisecond; and for four seconds nobody takes more than the
    leader has asked for."""
    ages = asyncio.ensure_future(faults.policy(scene.town, pattern, [("message-ttl", 1)], 5))
    await scene.go_on(1)
    await faults.pause(scene.town, [scene.town.leader], 4.0)
    await ages
    scene.taken_back()


async def intake_expires(scene: Scene) -> None:
    """Submissions that are confirmed and not yet read are the operator's to throw away."""
    await _ages_while_the_leader_naps(scene, "^orchestrator[.]tasks")


async def reports_expire(scene: Scene) -> None:
    """Agents keep what nobody has taken, and say it again."""
    await _ages_while_the_leader_naps(scene, "^orchestrator[.]reports$")


async def intake_bounded(scene: Scene) -> None:
    """A policy that lets ten submissions wait: more are refused, and sent again by their producer."""
    await faults.policy(scene.town, "^orchestrator[.]tasks", [("max-length", 10)], 5)
    scene.taken_back()


async def reports_bounded(scene: Scene) -> None:
    """A policy that keeps one report and throws older ones away: agents keep what nobody has taken, and send it again."""
    await faults.policy(scene.town, "^orchestrator[.]reports$", [("max-length", 1)], 5)
    scene.taken_back()
