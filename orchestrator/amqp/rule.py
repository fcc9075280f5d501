"""Where the rule of the shards is found: in a stream of which the last message counts, for whoever connects.

Law: where the stream is not, there are no shards; where it is, its last message is the rule. Coordinators make the
stream and publish before they make anything that peers look for, so whoever has found an exchange of ours finds the rule
too.

Why a stream: any number read it at the same time without taking anything from each other. A queue that is looked into
is empty for everybody else meanwhile.
"""

from __future__ import annotations

from orchestrator.amqp import topology
from orchestrator.amqp.delivery import Published
from orchestrator.amqp.errors import Missing, NoAnswer
from orchestrator.amqp.ledger import LedgerTail
from orchestrator.amqp.link import Link
from orchestrator.amqp.topology import Exchange, Topology

PATIENCE_S = 5.0


async def last_rule(link: Link) -> bytes | None:
    """The message published last, None where there are no shards. The caller has seen exchanges of ours before.

    Raises NoAnswer if the stream is there and nothing comes: whoever made it died before it could publish.
    """
    try:
        await link.stat(topology.SHARDS)
    except Missing:
        return None
    chunk = await LedgerTail(link, queue=topology.SHARDS).last_chunk(patience_s=PATIENCE_S)
    if not chunk:
        raise NoAnswer(
            f"The stream {topology.SHARDS} is there, but no rule came within {PATIENCE_S} s. Where tasks belong is not known, "
            "so nothing is sent. Start a coordinator: it publishes the rule."
        )
    return chunk[-1].body


async def publish_rule(link: Link, body: bytes, *, needed: bool, instead: bool = True) -> bytes | None:
    """Make ``body`` the rule, unless it is; if it is not ``needed`` (there are no shards), only where there is another one. If not
    ``instead``, another one stays.

    ``link`` is of the shard ``default``. Returns what was the rule before. Raises as ``Link.declare`` and ``Link.publish``.
    """
    try:
        before = await last_rule(link)
        needed = needed if before is None else instead
    except NoAnswer:
        before, needed = None, True
    if needed and body != before:
        await link.declare(Topology(exchanges=(Exchange(topology.INTERNAL, "direct"),)) + topology.rule())
        answer = await link.publish(topology.INTERNAL, topology.KEY_SHARDS, body, timeout_s=PATIENCE_S)
        if answer is not Published.CONFIRMED:
            raise NoAnswer(
                f"The broker did not keep the rule of the shards ({answer.name.lower()}). Nobody may miss it, so nothing "
                "else was made; it is tried again. See the broker's log, and who deletes queues or bindings here."
            )
    return before
