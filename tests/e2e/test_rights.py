"""RabbitMQ's permissions as the README gives them: with exactly these everything runs, and nobody may do what is another's."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiormq
import pytest
from pamqp.commands import Basic

from orchestrator.amqp import topology
from orchestrator.amqp.topology import within
from orchestrator.client import Client
from orchestrator.live.embedded import EmbeddedBroker
from tests.e2e.fleet import ROOT, Fleet, fleet

README = (ROOT / "README.md").read_text()


class Rights(NamedTuple):
    """What a user may configure, write and read, as regular expressions."""

    configure: str
    write: str
    read: str


RIGHTS = {
    role: Rights(*patterns)
    for role, *patterns in re.findall(r"^\$ rabbitmqctl set_permissions (\w+) '(.*?)' '(.*?)' '(.*?)'$", README, re.MULTILINE)
}
BASE = topology.base(ledger_max_bytes=1 << 26, ledger_segment_bytes=1 << 22)
EXCHANGES = [exchange.name for exchange in BASE.exchanges]
QUEUES = [queue.name for queue in BASE.queues]

MAY_PUBLISH = {"producer": {topology.TASKS}, "worker": {topology.AGENTS}, "operator": {topology.TASKS, topology.CONTROL}}
MAY_LISTEN = {"producer": {topology.RESULTS}, "worker": {topology.ORDERS, topology.ECHO}, "operator": {topology.RESULTS}}
"""To which exchanges a queue of their own may be bound."""
MAY_READ = {"producer": set[str](), "worker": set[str](), "operator": {topology.DEAD, topology.QUARANTINE, topology.LEDGER}}
_ADD_USERS = """
[begin
     catch rabbit_auth_backend_internal:add_user(User, User, <<"tests">>),
     ok = rabbit_auth_backend_internal:set_permissions(User, <<"/">>, Configure, Write, Read, <<"tests">>)
 end || {{User, Configure, Write, Read}} <- [{users}]].
"""
OWN_QUEUE = {
    "producer": topology.results_queue("mine"),
    "worker": topology.agent_queue("mine"),
    "operator": topology.results_queue("mine"),
}


class Town(NamedTuple):
    """A coordinator and a worker that run, each as the user of its role, and where the users of the others connect."""

    urls: dict[str, str]
    fleet: Fleet

    async def run(self, role: str, *command: str, code: int = 0) -> Any:
        """What `orchestrator COMMAND --json` says to the user of a role; if it is to fail, its complaint."""
        environment = self.fleet.environment | {"ORCHESTRATOR_BROKER": self.urls[role]}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "orchestrator", *command, "--json",
            env=environment, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, complaint = await process.communicate()
        assert process.returncode == code, f"{role}: {command}: {said.decode()}{complaint.decode()}\n{self.fleet.logs()}"
        return json.loads(said) if code == 0 else complaint.decode()


@asynccontextmanager
async def town(node: EmbeddedBroker, url: str, folder: Path) -> AsyncIterator[Town]:
    where = urlsplit(url)
    urls = {role: f"amqp://{role}:{role}@{where.hostname}:{where.port}/%2F" for role in RIGHTS}
    users = ", ".join(
        "{" + ", ".join(f"<<{json.dumps(text)}>>" for text in (role, *rights)) + "}" for role, rights in RIGHTS.items()
    )
    await node.ctl("eval", _ADD_USERS.format(users=users))
    async with fleet(urls["coordinator"], folder, path=ROOT) as ours:
        await ours.coordinator()
        ours.environment["ORCHESTRATOR_BROKER"] = urls["worker"]
        await ours.worker("worker")
        yield Town(urls, ours)


@pytest.mark.broker
async def test_with_the_rights_of_the_readme_everything_runs(broker: EmbeddedBroker, root_vhost_url: str, tmp_path: Path) -> None:
    """Tasks are done, deaths are heard of, and every command answers; a producer that would steer is told that it may not."""
    assert set(RIGHTS) == {"coordinator", "worker", "producer", "operator"}
    async with town(broker, root_vhost_url, tmp_path) as there:
        async with Client(there.urls["producer"]) as client:
            assert await asyncio.wait_for(client.run("steps.double", number=21), 60) == 42, there.fleet.logs()
            waiting = await client.task("nobody.serves").submit()
        assert "deaths_watched" in there.fleet.log("coordinator")
        refused = await there.run("producer", "cancel", waiting.id, code=1)
        assert re.search("ACCESS_REFUSED.*orchestrator.control", refused), refused

        services = await there.run("operator", "services")
        (instance,) = [one["instance"] for service in services for one in service["instances"]]
        assert (await there.run("operator", "submit", "steps.double", "number=4", "--wait"))["value"] == 8
        assert (await there.run("operator", "why", waiting.id))["state"] == "waiting"
        await there.run("operator", "priority", waiting.id, "5")
        await there.run("operator", "cancel", waiting.id)
        for command in (
            "status",
            "tasks",
            "resources",
            "dead",
            "dead --quarantine",
            "policy sjf",
            "limit api --on pay.* --at-once 5",
        ):
            await there.run("operator", *command.split())
        assert (await there.run("operator", "record", str(tmp_path / "week.csv")))["tasks"] >= 2
        checks = {check["check"]: check["state"] for check in (await there.run("operator", "doctor"))["checks"]}
        assert "fail" not in checks.values(), checks
        await there.run("operator", "drain", instance)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[aiormq.abc.AbstractConnection]:
    connection = await aiormq.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def allowed(
    connection: aiormq.abc.AbstractConnection,
    names: Iterable[str],
    act: Callable[[aiormq.abc.AbstractChannel, str], Awaitable[Any]],
) -> set[str]:
    """Of which of these the broker does not refuse it for want of rights. (What else is wrong with it is no matter here.)"""
    may = set()
    for name in names:
        channel = await connection.channel()
        try:
            await act(channel, name)
        except aiormq.exceptions.ChannelAccessRefused:
            continue
        except aiormq.exceptions.AMQPChannelError:
            pass
        may.add(name)
        if not channel.is_closed:
            await channel.close()
    return may


@pytest.mark.broker
async def test_nobody_may_do_what_is_anothers(broker: EmbeddedBroker, root_vhost_url: str, tmp_path: Path) -> None:
    """Each of the three speaks through its own exchange, hears what is for it, and can delete nothing that lasts; in another's name
    nobody speaks at all. So none can forge a report, give orders, answer producers or write the ledger but who is meant to."""

    async def publish(channel: aiormq.abc.AbstractChannel, exchange: str) -> None:
        await channel.basic_publish(b"", exchange=exchange, routing_key="nowhere")

    async def read(channel: aiormq.abc.AbstractChannel, queue: str) -> None:
        await channel.basic_consume(queue, lambda message: asyncio.sleep(0))

    async def purge(channel: aiormq.abc.AbstractChannel, queue: str) -> None:
        await channel.queue_purge(queue)

    async def delete_queue(channel: aiormq.abc.AbstractChannel, queue: str) -> None:
        await channel.queue_delete(queue)

    async def delete_exchange(channel: aiormq.abc.AbstractChannel, exchange: str) -> None:
        await channel.exchange_delete(exchange)

    async with town(broker, root_vhost_url, tmp_path) as there:
        await there.run("operator", "status")  # a coordinator leads: all is declared
        for role in ("producer", "worker", "operator"):
            own = OWN_QUEUE[role]

            async def listen(channel: aiormq.abc.AbstractChannel, exchange: str, own: str = own) -> None:
                await channel.queue_bind(own, exchange, routing_key="x")

            async def forge(channel: aiormq.abc.AbstractChannel, user: str, role: str = role) -> None:
                exchange = min(MAY_PUBLISH[role])
                await channel.basic_publish(b"", exchange=exchange, routing_key="x", properties=Basic.Properties(user_id=user))

            async with connected(there.urls[role]) as connection:
                channel = await connection.channel()
                await channel.queue_declare(own, exclusive=True)
                assert await allowed(connection, ["", *EXCHANGES], publish) == MAY_PUBLISH[role], role
                assert await allowed(connection, EXCHANGES, listen) == MAY_LISTEN[role], role
                unread = set(QUEUES) - MAY_READ[role]
                assert await allowed(connection, sorted(unread), read) == set(), role
                assert await allowed(connection, sorted(unread), purge) == set(), role
                assert await allowed(connection, QUEUES, delete_queue) == set(), role
                assert await allowed(connection, EXCHANGES, delete_exchange) == set(), role
                for user in RIGHTS:
                    channel = await connection.channel()
                    if user == role:
                        await forge(channel, user)
                    else:
                        with pytest.raises(aiormq.exceptions.ChannelPreconditionFailed):
                            await forge(channel, user)


def test_with_shards_the_same_holds_in_each() -> None:
    """The beginning that the README gives for shards says of every name in a shard what the plain one says of it in none."""
    plain, sharded = r"^orchestrator\.", r"^orchestrator\.(@[^.]+\.)?"
    assert f"`{sharded}`" in README
    names = [*EXCHANGES, *QUEUES, *OWN_QUEUE.values(), topology.registry_queue("mine"), topology.intake_queue("thumbs")]
    for role, rights in RIGHTS.items():
        for pattern in rights:
            everywhere = re.compile(
                pattern.replace(plain, sharded) if plain in pattern else pattern.replace(plain[1:], sharded[1:])
            )
            for name in names:
                here = re.search(pattern, name) is not None
                assert (everywhere.search(name) is not None, everywhere.search(within("gpu", name)) is not None) == (here, here), (
                    role
                )
