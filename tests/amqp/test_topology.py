"""What exists, and what happens where it differs."""

from __future__ import annotations

import pytest

from orchestrator.amqp import Link, Published, topology
from orchestrator.amqp.errors import Missing, NotYet, TopologyMismatch, broker_refused
from orchestrator.amqp.topology import (
    AGENTS,
    CONTROL,
    ECHO,
    INTERNAL,
    KEY_REGISTRY,
    LEDGER,
    ORDERS,
    REPORTS,
    TASKS,
    Topology,
    agent_inbox,
    agent_queue,
    base,
    intake,
    intake_queue,
    registry_inbox,
    registry_queue,
    results_inbox,
)
from orchestrator.live.embedded import EmbeddedBroker
from tests.amqp.conftest import BASE, Basket, Opener
from tests.brokers import lead_astray


def every_queue(replicated: bool) -> list[topology.Queue]:
    everything = (
        base(ledger_max_bytes=10**9, ledger_segment_bytes=10**8, replicated=replicated, intake_max_bytes=10**6)
        + intake("gpu", replicated=replicated)
        + agent_inbox("i")
        + results_inbox("n")
        + registry_inbox("n")
    )
    return list(everything.queues)


@pytest.mark.parametrize("replicated", [False, True])
def test_nothing_deprecated_is_used(replicated: bool) -> None:
    """Every queue is durable or exclusive, states its type, and no argument is one that some version ignores or refuses."""
    known = {
        "x-queue-type", "x-single-active-consumer", "x-max-length", "x-max-length-bytes", "x-overflow", "x-message-ttl",
        "x-dead-letter-exchange", "x-dead-letter-routing-key", "x-dead-letter-strategy", "x-delivery-limit",
        "x-stream-max-segment-size-bytes",
    }  # fmt: skip
    for queue in every_queue(replicated):
        assert set(queue.arguments) <= known
        kind = queue.arguments["x-queue-type"]
        durable = "quorum" if replicated else "classic"
        assert kind == ("classic" if queue.exclusive else "stream" if queue.name == LEDGER else durable)
        if kind == "quorum":
            assert queue.arguments["x-delivery-limit"] == 1_000_000
        if queue.arguments.get("x-dead-letter-strategy") == "at-least-once":
            assert queue.arguments["x-overflow"] == "reject-publish"


async def test_declaring_again_changes_nothing(link: Link) -> None:
    """Every coordinator declares at its start; the second finds everything as it should be."""
    await link.declare(BASE + intake("gpu"))
    await link.declare(BASE + intake("gpu"))
    await link.check(BASE + intake("gpu"))
    assert not link.is_broken


async def test_the_replicated_topology_is_accepted_and_works(opener: Opener) -> None:
    """Quorum queues with everything we ask of them, on a node that is alone: publish, refuse, dead-letter."""
    link = await opener()
    await link.declare(base(ledger_max_bytes=10**7, ledger_segment_bytes=10**6, replicated=True))
    await link.declare(intake("gpu", replicated=True, intake_max_bytes=10**6))
    basket, dead = Basket(), Basket()
    await link.consume(intake_queue("gpu"), basket, prefetch=10)
    assert await link.publish(TASKS, "gpu", b"x") is Published.CONFIRMED
    await basket.until(1)
    link.reject(basket.deliveries, requeue=True)
    _, again = await basket.until(2)
    link.reject([again], requeue=False)
    await link.consume("orchestrator.dead", dead, prefetch=10)
    assert [delivery.body for delivery in await dead.until(1)] == [b"x"]


async def test_what_only_uses_queues_makes_none(opener: Opener) -> None:
    """Before any coordinator declared them, a check names the first that is missing, and leaves it so."""
    link = await opener()
    with pytest.raises(Missing, match="Start a coordinator") as caught:
        await link.check(Topology(queues=BASE.queues))
    assert caught.value.name == BASE.queues[0].name == LEDGER
    with pytest.raises(Missing):
        await link.stat(TASKS)
    assert not link.is_broken


async def test_a_queue_that_differs_is_named_with_what_differs(link: Link) -> None:
    """The ledger was made with another cap: which queue, which argument, both values, and what can be done."""
    with pytest.raises(TopologyMismatch) as caught:
        await link.declare(base(ledger_max_bytes=9_000_000, ledger_segment_bytes=500_000))
    message = str(caught.value)
    assert caught.value.name == LEDGER
    for part in (LEDGER, "x-max-length-bytes", "'9000000'", "'2000000'", "It was left as it is", "Set ledger_bytes_max"):
        assert part in message
    await link.check(BASE)
    assert not link.is_broken


@pytest.mark.parametrize(
    ("queue", "argument", "advice", "never"),
    [
        (LEDGER, "x-max-length-bytes", "Set ledger_bytes_max here as it has it there. Do not delete it", "delete it so"),
        (topology.within("gpu", LEDGER), "x-stream-max-segment-size-bytes", "Set ledger_segment_bytes here", "delete it so"),
        (TASKS, "x-queue-type", "once it is empty and nobody needs it, delete it", "every task"),
        (intake_queue("ledger"), "x-max-length-bytes", "once it is empty and nobody needs it, delete it", "every task"),
        (topology.within("gpu", intake_queue("ledger")), "x-max-length-bytes", "once it is empty", "every task"),
    ],
)
def test_nobody_is_told_to_delete_a_ledger(queue: str, argument: str, advice: str, never: str) -> None:
    """Another cap in the settings is no reason to throw away what was accepted; other queues may be made anew once empty."""
    said = f"PRECONDITION_FAILED - inequivalent arg '{argument}' for queue '{queue}' in vhost '/': received '9' but current is '2'"
    told = broker_refused(406, said, f"Declaring {queue}", queue)
    assert isinstance(told, TopologyMismatch)
    assert told.name == queue
    assert advice in str(told)
    assert never not in str(told)


async def test_an_exchange_that_differs_is_named(link: Link) -> None:
    """Likewise for an exchange."""
    with pytest.raises(TopologyMismatch) as caught:
        await link.declare(Topology(exchanges=(topology.Exchange(ECHO, "direct"),)))
    assert caught.value.name == ECHO
    assert "type" in str(caught.value)


async def test_every_road_leads_where_the_plan_says(link: Link) -> None:
    """One message along each binding, and it is found at the end."""
    await link.declare(intake("gpu") + agent_inbox("a1") + registry_inbox("n1"))
    inbox, registry = Basket(), Basket()
    await link.consume(agent_queue("a1"), inbox, prefetch=0, no_ack=True)
    await link.consume(registry_queue("n1"), registry, prefetch=0, no_ack=True)
    roads = [
        (TASKS, "gpu", intake_queue("gpu")),
        (TASKS, "", TASKS),
        (AGENTS, "reports", REPORTS),
        (CONTROL, "control", CONTROL),
        (INTERNAL, "leader", "orchestrator.leader"),
        (INTERNAL, "dead", "orchestrator.dead"),
        (INTERNAL, "quarantine", "orchestrator.quarantine"),
    ]
    for exchange, key, queue in roads:
        assert await link.publish(exchange, key, f"{exchange} {key}".encode()) is Published.CONFIRMED
        assert [delivery.body for delivery in await link.peek(queue, 5)] == [f"{exchange} {key}".encode()]
    assert await link.publish(INTERNAL, "ledger", b"fact") is Published.CONFIRMED
    await link.publish(ORDERS, agent_queue("a1"), b"order", persistent=False)
    await link.publish(ECHO, "", b"echo", persistent=False)
    await link.publish(AGENTS, KEY_REGISTRY, b"beat", persistent=False)
    assert [delivery.body for delivery in await inbox.until(2)] == [b"order", b"echo"]
    assert [delivery.body for delivery in await registry.until(1)] == [b"beat"]


async def test_only_the_newest_beats_wait_for_a_coordinator_that_stalls(link: Link) -> None:
    """Its own queue is short and drops the oldest: it comes back to news, not to history."""
    await link.declare(registry_inbox("n1", max_messages=10))
    for number in range(30):
        await link.publish(AGENTS, KEY_REGISTRY, b"%d" % number, persistent=False)
    basket = Basket()
    await link.consume(registry_queue("n1"), basket, prefetch=0, no_ack=True)
    await basket.until(10)
    assert basket.bodies == [b"%d" % number for number in range(20, 30)]


async def test_one_leader_token_is_enough_however_many_are_planted(link: Link) -> None:
    """Every coordinator may plant one at its start."""
    for _ in range(5):
        await link.publish(INTERNAL, "leader", b"token")
    assert (await link.stat("orchestrator.leader")).messages == 1


async def test_a_queue_that_the_broker_does_not_find_does_not_pass_for_one_that_was_never_made(
    link: Link, broker: EmbeddedBroker
) -> None:
    """It is not written again, and nobody is sent to start a coordinator."""
    await lead_astray(broker, link.vhost, LEDGER)
    with pytest.raises(NotYet, match="the node where it lives is down"):
        await link.check(Topology(queues=(topology.Queue(LEDGER),)))
    with pytest.raises(NotYet) as caught:
        await link.declare(BASE)
    assert "Start a coordinator" not in str(caught.value)
