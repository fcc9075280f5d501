"""Whoever types a wrong host, port, user or virtual host hears soon what is wrong with it, and what became of the work: nothing."""

from __future__ import annotations

import asyncio
import socket
import time
from urllib.parse import urlsplit

import pytest

from orchestrator.amqp.errors import CannotConnect, Fault
from orchestrator.cli import where
from orchestrator.client import Client
from orchestrator.live.embedded import EmbeddedBroker
from tests.cli.conftest import Type

COMMANDS = {
    "why": ("why", "t1"),
    "services": ("services",),
    "submit": ("submit", "thumbs.resize", "path=a.png", "--wait"),
    "dead": ("dead",),
    "cancel": ("cancel", "t1"),
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_nobody_listens_there(typed: Type, unused_tcp_port: int, words: tuple[str, ...]) -> None:
    """The same sentences whatever was typed, with the address and who named it; no word of what the command asks inwardly."""
    told = typed(*words, "--broker", f"amqp://me:secret@127.0.0.1:{unused_tcp_port}/")
    assert (told.code, told.out) == (1, "")
    said = " ".join(told.err.split())
    assert f"amqp://me@127.0.0.1:{unused_tcp_port}/: nobody listens there" in said
    assert "Nothing was submitted, asked or changed. Start the broker, or correct host and port." in said
    assert "given by --broker" in said
    assert "shards" not in said
    assert "secret" not in said


def test_there_is_no_such_host(typed: Type) -> None:
    """It is the name that is to be looked at."""
    told = typed("status", "--broker", "amqp://no-such-host.invalid/")
    assert told.code == 1
    assert "Check the host's name" in told.err


@pytest.mark.parametrize("command", ["status", "doctor"])
def test_what_may_be_waited_is_said_of_all_of_it(typed: Type, command: str) -> None:
    """Of a host that takes connections and says nothing: connecting counts, so a probe is over when it said it would be."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        began = time.monotonic()
        told = typed(command, "--within", "100ms", "--broker", f"amqp://127.0.0.1:{deaf.getsockname()[1]}/")
    assert told.code == 1
    assert time.monotonic() - began < where.CONNECT_WITHIN_S


def test_who_listens_there_speaks_no_amqp(typed: Type, broker: EmbeddedBroker) -> None:
    """A port of the broker, and the wrong one."""
    told = typed("status", "--broker", broker.url.replace("amqp://", "amqps://"))
    assert told.code == 1
    assert "TLS was refused" in told.err


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("amqp://nobody:wrong@{host}/", "the broker refused the user or password"),
        ("amqp://{user}@{host}/no-such-vhost", "the broker refused the virtual host"),
    ],
)
def test_the_broker_says_no(typed: Type, broker: EmbeddedBroker, address: str, what: str) -> None:
    """To a user that it does not know, or that may not be there: no waiting cures that."""
    user, _, host = urlsplit(broker.url).netloc.rpartition("@")
    for words in (COMMANDS["why"], COMMANDS["submit"], COMMANDS["dead"]):
        told = typed(*words, "--broker", address.format(user=user, host=host))
        assert (told.code, what in told.err) == (1, True), told.err
        assert "Nothing was submitted, asked or changed." in told.err


def test_a_virtual_host_that_nobody_coordinates_is_told_as_such(typed: Type, amqp_url: str) -> None:
    """The right broker, and another virtual host than was meant."""
    told = typed("why", "t1", "--within", "2s", "--broker", amqp_url)
    assert told.code == 1
    assert "no coordinator has ever run in this virtual host" in told.err
    assert "shards" not in told.err


async def test_a_client_may_be_told_how_long_its_first_connection_may_take(unused_tcp_port: int) -> None:
    """It tries more than once meanwhile, and is over then: nothing goes on behind."""
    client = Client(f"amqp://127.0.0.1:{unused_tcp_port}", connect_within=0.3)
    began = asyncio.get_running_loop().time()
    with pytest.raises(CannotConnect) as caught:
        await client.__aenter__()
    assert caught.value.fault is Fault.REFUSED
    assert asyncio.get_running_loop().time() - began > 0.05, "one that is just being restarted is met"
    assert where.CONNECT_WITHIN_S < 3
