"""Real brokers for tests. A test asks for what it needs and never skips: no broker is a failure.

    amqp_url         a virtual host of its own on the node that all tests share. The default choice (40 ms)
    root_vhost_url   the shared node's virtual host `/`, swept afterwards. For tests that listen to the broker's events
                     (`amq.rabbitmq.event` exists there and nowhere else)
    own_broker       a node of its own, to be killed and restarted: `kill()`, `restart()`, `stop()`, `pid` (5 s).
                     What was declared less than a second before `kill()` may be lost: `flush()` first
    broker           the shared node itself: `url`, `url_of(vhost)`, `ctl("list_queues", …)`. Do not stop it

Each is an `EmbeddedBroker` or a URL into one, so what the tests run on is what `orchestrator up` runs on.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from orchestrator.live.embedded import EmbeddedBroker

__all__ = ["BROKER_FIXTURES", "VhostPool", "amqp_url", "broker", "lead_astray", "own_broker", "root_vhost_url", "vhosts"]

BROKER_FIXTURES = frozenset({"amqp_url", "broker", "own_broker", "root_vhost_url", "vhosts"})

_BATCH = 25  # one call creates them all: 25 ms each, where a call for each would take half a second

_ADD_VHOSTS = """
[begin
     rabbit_vhost:add(V, <<"tests">>),
     rabbit_auth_backend_internal:set_permissions(<<"{user}">>, V, <<".*">>, <<".*">>, <<".*">>, <<"tests">>)
 end || V <- [{names}]].
"""
_SWEEP_ROOT = """
[rabbit_amqqueue:delete(Q, false, false, <<"tests">>) || Q <- rabbit_amqqueue:list(<<"/">>)],
[rabbit_exchange:delete(element(2, X), false, <<"tests">>)
 || X <- rabbit_exchange:list(<<"/">>),
    Name <- [element(4, element(2, X))], Name =/= <<>>, binary:match(Name, <<"amq.">>) =:= nomatch].
"""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedBroker]:
    """The node that all tests share."""
    async with EmbeddedBroker(tmp_path_factory.mktemp("broker")) as node:
        yield node


async def lead_astray(node: EmbeddedBroker, vhost: str, queue: str) -> None:
    """The broker does not find this queue any more: it knows that there is one, and not where, as some crashes leave it."""
    name = f'rabbit_misc:r(<<"{vhost}">>, queue, <<"{queue}">>)'
    await node.ctl("eval", f"ok = mnesia:dirty_delete(rabbit_queue, {name}).")


class VhostPool:
    """Virtual hosts of the shared node, made in batches and handed out once each."""

    def __init__(self, node: EmbeddedBroker) -> None:
        self._node = node
        self._numbers = itertools.count(1)
        self._ready: list[str] = []

    async def take(self) -> str:
        """URL of a virtual host that nobody has used."""
        if not self._ready:
            names = [f"test-{next(self._numbers)}" for _ in range(_BATCH)]
            listing = ", ".join(f'<<"{name}">>' for name in names)
            await self._node.ctl("eval", _ADD_VHOSTS.format(user=self._node.user, names=listing))
            self._ready = names[::-1]
        return self._node.url_of(self._ready.pop())


@pytest.fixture(scope="session")
def vhosts(broker: EmbeddedBroker) -> VhostPool:
    """For tests that need several virtual hosts: `await vhosts.take()` gives the next URL."""
    return VhostPool(broker)


@pytest_asyncio.fixture
async def amqp_url(vhosts: VhostPool) -> str:
    """URL of a fresh virtual host on the shared node; nothing another test does is seen in it."""
    return await vhosts.take()


@pytest_asyncio.fixture
async def root_vhost_url(broker: EmbeddedBroker) -> AsyncIterator[str]:
    """URL of the shared node's virtual host `/`, where the event exchange is; swept after the test."""
    yield broker.url
    await broker.ctl("eval", _SWEEP_ROOT)


@pytest_asyncio.fixture
async def own_broker(tmp_path: Path) -> AsyncIterator[EmbeddedBroker]:
    """A node of the test's own, started, that it may kill and restart."""
    async with EmbeddedBroker(tmp_path / "broker") as node:
        yield node
