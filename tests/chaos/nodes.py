"""RabbitMQ nodes on loopback: one, or three that are a cluster. Each can be killed, stopped, paused and started on its own.

They share a cookie, a user and a port mapper, which outlives each of them, and meet no other RabbitMQ of this machine. A node is an
`orchestrator.live.embedded` one, so what the scenarios run on is what `orchestrator up` runs on.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shlex
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from orchestrator.live.embedded import distribution
from orchestrator.live.embedded.handshake import Answer, knock
from orchestrator.live.embedded.local import LocalNode, start_port_mapper
from orchestrator.live.embedded.memory import Identity, free_ports, private_directory
from orchestrator.live.embedded.processes import Keeper, kill_now
from tests.chaos.clocks import Clock
from tests.chaos.console import Console
from tests.chaos.disk import SmallDisk

SERVES_WITHIN_S = 120.0
STOPS_WITHIN_S = 60.0
CTL_WITHIN_S = 180.0
"""It starts an Erlang machine of its own: half a second in peace, half a minute on a machine with a load of fifteen."""
CLUSTER = """\
net_ticktime = 8
cluster_partition_handling = {torn}
"""
"""A node that falls silent is given up after some 8 s (60 is the default: nobody wants to watch that)."""
Torn = Literal["autoheal", "pause_minority"]
"""What nodes do that do not hear each other. ``autoheal``: go on, and who loses starts anew when they do. ``pause_minority``: stop
at once if they are the fewer. A node that was suspended and woke up believes the others gone; with ``pause_minority`` it stays so
until it is restarted (seen on 3.10.8)."""


def found(queue: str) -> str:
    """Binds `Q` to it, in Erlang."""
    return f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{queue}">>))'


class Nodes:
    """``count`` nodes; use as a context manager. Numbers begin at 0.

    ``clock``: theirs. ``disk_mb``: the data of node 0 lies on a disk of its own, so large; CannotInject where there can be none.
    """

    def __init__(self, folder: Path, count: int = 1, clock: Clock | None = None, disk_mb: int = 0, torn: Torn = "autoheal") -> None:
        self.count = count
        self.clock = clock
        self.disk: SmallDisk | None = None
        self._folder = private_directory(folder)
        ports = free_ports(2 * count + 1)
        shared = {"user": "town", "password": secrets.token_hex(16), "cookie": secrets.token_hex(16), "epmd_port": ports.pop()}
        self._identities = [
            Identity(
                node_name=f"town{n}@localhost", amqp_port=ports.pop(), dist_port=ports.pop(), mark=secrets.token_hex(8), **shared
            )
            for n in range(count)
        ]
        found = distribution.find()
        more = CLUSTER.format(torn=torn) if count > 1 else ""
        self._guise = replace(found, home=private_directory(folder / "guise"))
        self._nodes = [
            LocalNode(self._guise, private_directory(folder / f"node{n}"), one, port_mapper=False, more=more)
            for n, one in enumerate(self._identities)
        ]
        self._distribution = found
        if disk_mb:
            where = private_directory(folder / "node0" / "data")
            self.disk = SmallDisk(where, disk_mb)
        _, environment = self._nodes[0].ctl()
        self._console = Console(found.erlang / "erl", f"console{self._identities[0].mark}@localhost", environment)
        self._mapper: subprocess.Popen[bytes] | None = None
        self._keeper: Keeper | None = None

    def _dress(self) -> None:
        """What is started as the server is the server, where our disk is and with our clock."""
        private_directory(self._guise.home / "sbin")
        clock = [f"{name}={value}" for name, value in (self.clock.environment if self.clock else {}).items()]
        before = {self._guise.server: [*(self.disk.enter if self.disk else []), "env", *clock], self._guise.ctl: []}
        for script, real in ((self._guise.server, self._distribution.server), (self._guise.ctl, self._distribution.ctl)):
            script.write_text(f'#!/bin/sh\nexec {shlex.join([*before[script], str(real)])} "$@"\n')
            script.chmod(0o700)

    async def __aenter__(self) -> Self:
        if self.disk is not None:
            await self.disk.__aenter__()
        self._dress()
        self._keeper = Keeper()
        _, environment = self._nodes[0].ctl()
        with (self._folder / "epmd.log").open("wb") as console:
            self._mapper = start_port_mapper(self._distribution, self._identities[0], self._folder, environment, console)
        self._keeper.watch(self._mapper.pid, None)
        try:
            await asyncio.gather(*(self.start(n) for n in range(self.count)))
            await self.eval("node().")
            for n in range(1, self.count):
                for words in (["stop_app"], ["join_cluster", self.name(0)], ["start_app"]):
                    await self.ctl(*words, node=n)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Everything ends, by force: nothing of it will be needed again."""
        await self._console.close()
        for node in self._nodes:
            self._continue(node)
            await node.kill()
            await node.tidy()
        if self._mapper is not None:
            kill_now(self._mapper)
        if self._keeper is not None:
            self._keeper.dismiss()
        if self.disk is not None:
            await self.disk.__aexit__(None, None, None)

    # --- what it is -------------------------------------------------------------------------------------------------------

    def name(self, node: int) -> str:
        """Its name among Erlang's."""
        return self._identities[node].node_name

    def port(self, node: int) -> int:
        """Where it listens, on loopback."""
        return self._identities[node].amqp_port

    def url(self, port: int) -> str:
        """AMQP URL of the virtual host `/` by way of this port."""
        me = self._identities[0]
        return f"amqp://{me.user}:{me.password}@127.0.0.1:{port}/%2F"

    @property
    def user(self) -> str:
        """Whom the URL names."""
        return self._identities[0].user

    @property
    def password(self) -> str:
        """The user's."""
        return self._identities[0].password

    @property
    def cookie(self) -> str:
        """By which nodes know each other."""
        return self._identities[0].cookie

    async def eval(self, expression: str, node: int = 0) -> str:
        """What an expression of Erlang is there. Raises AssertionError with its complaint."""
        return await self._console.ask(self.name(node), expression)

    async def permit(self, pattern: str, vhost: str = "/") -> None:
        """What our user may configure, write and read."""
        words = ", ".join(f'<<"{word}">>' for word in (self.user, vhost, pattern, pattern, pattern, "operator"))
        await self.eval(f"rabbit_auth_backend_internal:set_permissions({words}).")

    async def ctl(self, *words: str, node: int = 0) -> str:
        """What `rabbitmqctl` prints (half a second each in peace). Raises AssertionError with its complaint."""
        command, environment = self._nodes[node].ctl(*words)
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, cwd=self._folder, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(CTL_WITHIN_S):
                out, complaint = await process.communicate()
        except BaseException:
            process.kill()
            await process.wait()
            raise
        assert process.returncode == 0, f"rabbitmqctl {' '.join(words)}: {(complaint or out).decode()[-500:]}"
        return out.decode()

    # --- what may happen to one ------------------------------------------------------------------------------------------

    async def start(self, node: int) -> None:
        """Launch it and wait until it lets clients in."""
        one, me = self._nodes[node], self._identities[node]
        await one.tidy()
        one.launch()
        async with asyncio.timeout(SERVES_WITHIN_S):
            while await knock(me.amqp_port, me.user, me.password) is not Answer.WELCOME:
                assert not await one.ended(timeout_s=0.1), f"node {node} did not start: {one.last_words()}"

    def lives(self, node: int) -> bool:
        """Whether its process runs."""
        return self._nodes[node].pid is not None

    async def kill(self, node: int) -> None:
        """SIGKILL."""
        await self._nodes[node].kill()

    def move_aside(self, node: int, name: str) -> None:
        """Something among the data of a node that does not run is where it will not find it."""
        mine = self._folder / f"node{node}" / "data" / self.name(node)
        here = self.disk.inside(mine) if self.disk is not None and node == 0 else mine
        (here / name).rename(here / f"{name}.{time.monotonic_ns()}")

    async def stop(self, node: int) -> None:
        """An orderly stop."""
        await self._nodes[node].ask_to_stop()
        assert await self._nodes[node].ended(STOPS_WITHIN_S), f"node {node} does not stop"

    def pause(self, node: int) -> None:
        """SIGSTOP: it holds its connections and says nothing."""
        pid = self._nodes[node].pid
        assert pid is not None
        os.killpg(pid, signal.SIGSTOP)

    def resume(self, node: int) -> None:
        """It goes on as if nothing had been."""
        self._continue(self._nodes[node])

    @staticmethod
    def _continue(node: LocalNode) -> None:
        if (pid := node.pid) is not None:
            os.killpg(pid, signal.SIGCONT)
