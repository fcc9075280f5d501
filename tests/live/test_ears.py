"""A coordinator in a virtual host of its own hears of lost connections where the broker's event exchange is."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from yarl import URL

from orchestrator.amqp.connection import in_vhost
from orchestrator.live.embedded import EmbeddedBroker
from tests.live.peers import Task, agent, coordinator, producer

LEASE_S = 60.0
ROOT = Path(__file__).parents[2]


def test_the_same_address_in_another_virtual_host() -> None:
    """Whatever stands in the name of one; what else the address says stays."""
    assert in_vhost("amqps://me:a%2Fb@rabbit:5671/team?cafile=/ca.pem", "/") == "amqps://me:a%2Fb@rabbit:5671/%2F?cafile=/ca.pem"
    assert in_vhost("amqp://rabbit", "a/b c") == "amqp://rabbit/a%2Fb%20c"


@pytest.mark.broker
async def test_a_death_is_heard_of_at_once_from_another_virtual_host(amqp_url: str) -> None:
    """The event exchange is in "/", everybody else is not: the task moves long before the lease is over."""
    async with coordinator(amqp_url, lease_s=LEASE_S, events_vhost="/") as ears, producer(amqp_url) as client:
        await ears.heard("deaths_watched")
        async with agent(amqp_url, "s", "h") as worker:
            client.submit(Task("t", "s.h"))
            _, attempt = await worker.assigned()
            worker.started("t", attempt)
            async with agent(amqp_url, "s", "h") as other:
                began = time.monotonic()
                worker.die()
                assignment, _ = await other.assigned()
                assert assignment.task == "t"
                assert time.monotonic() - began < LEASE_S / 4


@pytest.mark.broker
async def test_to_listen_there_takes_no_more_rights_than_the_readme_gives(broker: EmbeddedBroker, amqp_url: str) -> None:
    """A user that may do anything in its own virtual host, and in the other what stands there."""
    (rights,) = re.findall(r"set_permissions -p / (\w+) '(.*?)' '(.*?)' '(.*?)'$", (ROOT / "README.md").read_text(), re.MULTILINE)
    where = URL(amqp_url)
    vhost = where.path.removeprefix("/")
    user = f"c-{vhost}"
    await broker.ctl("add_user", user, "secret")
    await broker.ctl("set_permissions", "-p", vhost, user, ".*", ".*", ".*")
    await broker.ctl("set_permissions", "-p", "/", user, *rights[1:])
    async with coordinator(str(where.with_user(user).with_password("secret")), events_vhost="/") as ears:
        await ears.heard("deaths_watched")


@pytest.mark.broker
async def test_who_may_not_enter_that_virtual_host_leads_without(amqp_url: str) -> None:
    """It says so, with the reason, and notices deaths as it would without the exchange."""
    async with coordinator(amqp_url, events_vhost="nobody-has-made-this") as ears:
        said = await ears.heard("events_out_of_reach")
        assert said["vhost"] == "nobody-has-made-this"
        await ears.heard("deaths_unwatched")


@pytest.mark.broker
async def test_who_has_gone_deaf_comes_back_with_new_ears(broker: EmbeddedBroker, amqp_url: str) -> None:
    """The link to the event exchange alone is closed by an operator."""
    async with coordinator(amqp_url, events_vhost="/", name="listener") as ears:
        await ears.heard("deaths_watched")
        listed = await broker.ctl("list_connections", "pid", "vhost", "client_properties", "--silent")
        (pid,) = [line.split("\t")[0] for line in listed.splitlines() if "listener, listening" in line]
        await broker.ctl("close_connection", pid, "to be deaf")
        await ears.heard("session_ended")
        await ears.heard("deaths_watched")
