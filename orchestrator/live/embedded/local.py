"""A RabbitMQ node as a child process of ours, configured so that nothing of it is seen or shared outside.

Its own name, cookie, data, log, configuration, ports and port mapper (epmd), all on loopback: it never meets another
RabbitMQ or Erlang of this machine. It is kept small: few schedulers, small tables.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from .distribution import Distribution
from .memory import Identity, Running, port_is_free, write_private
from .processes import Keeper, gone, kill_now, stop_stranger

__all__ = ["LocalNode", "memory_limit_bytes", "start_port_mapper", "write_configuration"]

_GIB = 1 << 30
_SCHEDULERS_MAX = 4
_TABLES = {
    # The defaults (a million processes, five million atoms) reserve memory for a broker of thousands of connections.
    # Each connection takes about ten processes: this is room for ten thousand of them. Saves 11 MB of 148 (measured).
    "RABBITMQ_MAX_NUMBER_OF_PROCESSES": "131072",
    "RABBITMQ_MAX_NUMBER_OF_ATOMS": "1048576",
}


class LocalNode:
    """Starts, stops and kills one node. One object serves many lives of the node, one at a time.

    Nodes of a cluster share a port mapper, which outlives each of them: ``port_mapper=False`` says that somebody else runs it.
    ``more`` are further lines for the node's configuration.
    """

    def __init__(
        self, distribution: Distribution, directory: Path, identity: Identity, *, port_mapper: bool = True, more: str = ""
    ) -> None:
        self._distribution = distribution
        self._directory = directory
        self._identity = identity
        self._port_mapper = port_mapper
        self._more = more
        self._node: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        self._keeper: Keeper | None = None

    @property
    def origin(self) -> str:
        """Which server runs, for people."""
        return f"RabbitMQ {self._distribution.version_text}, {self._distribution.origin}"

    @property
    def pid(self) -> int | None:
        """Process id of the node (of its Erlang machine); None while none runs."""
        return None if self._node is None or self._node.poll() is not None else self._node.pid

    def move_to(self, identity: Identity) -> None:
        """Other ports from the next launch on."""
        self._identity = identity

    async def stop_leftover(self) -> str | None:
        """End a node that an earlier process of ours left behind; what was found, for people, or None."""
        running = Running.load(self._directory)
        found = None
        if running is not None:
            if await stop_stranger(running.node, self._identity.mark):
                found = f"process {running.node}"
            if running.epmd is not None:
                await stop_stranger(running.epmd, self._identity.mark)
            Running.forget(self._directory)
        return found

    def launch(self) -> None:
        """Start the processes. They serve some seconds later."""
        log = self._directory / "log"
        log.mkdir(exist_ok=True)
        write_configuration(self._directory, self._identity, self._more)
        environment = self._environment()
        with (log / "console.log").open("wb") as console:
            self._keeper = Keeper()
            if self._port_mapper:
                self._epmd = start_port_mapper(self._distribution, self._identity, self._directory, environment, console)
            # A session of its own: Ctrl-C in the terminal is for us, who then stop the node in an orderly way.
            self._node = subprocess.Popen(
                [str(self._distribution.server)],
                env=environment, cwd=self._directory, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
            )  # fmt: skip
        epmd = None if self._epmd is None else self._epmd.pid
        Running(self._node.pid, epmd).save(self._directory)
        self._keeper.watch(self._node.pid, epmd)

    async def ended(self, timeout_s: float | None = None) -> bool:
        """Wait until the node has ended; False when it still runs after `timeout_s`."""
        return self._node is None or await gone(self._node, timeout_s)

    async def ask_to_stop(self) -> None:
        """Let the node finish in an orderly way."""
        self._signal(signal.SIGTERM)

    async def kill(self) -> None:
        """End the node at once, as a crash would."""
        self._signal(signal.SIGKILL)
        if self._node is not None:
            self._node.wait()

    async def tidy(self) -> None:
        """After the node has ended: end what served it, and forget it."""
        if self._node is not None:
            kill_now(self._node)
        if self._epmd is not None:
            kill_now(self._epmd)
        if self._keeper is not None:
            self._keeper.dismiss()
        self._node = self._epmd = self._keeper = None
        Running.forget(self._directory)

    def last_words(self) -> str:
        """The end of what the node wrote, for an error message."""
        files = (self._directory / "log" / "console.log", self._directory / "log" / "rabbitmq.log")
        lines = [
            line
            for file in files
            if file.exists()
            for line in file.read_text(encoding="utf-8", errors="replace").splitlines()[-200:]
            if "[error]" in line or "error:" in line.lower() or "failed" in line.lower()
        ]
        return " / ".join(lines[-3:])

    def ports_were_taken(self) -> bool:
        """Whether the last launch failed because somebody else listens where it wanted to."""
        return "eaddrinuse" in self.last_words() or not all(map(port_is_free, self._identity.ports))

    def ctl(self, *arguments: str) -> tuple[list[str], dict[str, str]]:
        """Command line and environment of a `rabbitmqctl` call to this node."""
        environment = self._environment()
        # It needs to reach the node and not to be reached; by default it would listen on all interfaces.
        environment["RABBITMQ_CTL_ERL_ARGS"] = "-dist_listen false -kernel inet_dist_use_interface {127,0,0,1}"
        return [str(self._distribution.ctl), *arguments], environment

    def _signal(self, signal_number: signal.Signals) -> None:
        if self._node is not None and self._node.poll() is None:
            # The group: should this version's script stay in front of the Erlang machine, both must hear it.
            os.killpg(self._node.pid, signal_number)

    def _environment(self) -> dict[str, str]:
        directory, identity = self._directory, self._identity
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        schedulers = min(_SCHEDULERS_MAX, cores)
        arguments = [
            "-kernel inet_dist_use_interface {127,0,0,1}",
            f"+S {schedulers}:{schedulers} +SDcpu {schedulers}:{schedulers}",
            f"-orchestrator_mark {identity.mark}",
        ]
        return self._distribution.environment() | _TABLES | {
            "HOME": str(directory),  # Erlang looks for its cookie there
            "RUNNING_UNDER_SYSTEMD": "true",  # makes the script become the Erlang machine instead of standing before it
            "RABBITMQ_NODENAME": identity.node_name,
            "RABBITMQ_DIST_PORT": str(identity.dist_port),
            "RABBITMQ_MNESIA_BASE": str(directory / "data"),
            "RABBITMQ_LOGS": str(directory / "log" / "rabbitmq.log"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(directory / "none.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": " ".join(arguments),
            "ERL_EPMD_PORT": str(identity.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP": str(directory / "log" / "erl_crash.dump"),
            "ERL_CRASH_DUMP_BYTES": "20000000",
        }  # fmt: skip


def start_port_mapper(
    distribution: Distribution, identity: Identity, directory: Path, environment: Mapping[str, str], console: BinaryIO
) -> subprocess.Popen[bytes]:
    """In the foreground and ours, where `erl` would start a daemon that nobody ends. Its name carries the mark."""
    return subprocess.Popen(
        [f"epmd-{identity.mark}", "-port", str(identity.epmd_port), "-address", "127.0.0.1"],
        executable=distribution.epmd, env=environment, cwd=directory, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
    )  # fmt: skip


def write_configuration(directory: Path, identity: Identity, more: str = "") -> None:
    """The node's configuration (``more``: further lines), plugins and cookie, all readable by the owner alone."""
    write_private(
        directory / "rabbitmq.conf",
        f"""\
# Written by orchestrator at every start of its broker: changes here do not last.
listeners.tcp.local = 127.0.0.1:{identity.amqp_port}
default_user = {identity.user}
default_pass = {identity.password}
default_user_tags.administrator = true

# A stream or a lone consumer may rightly be quiet for long; a day is past any hold of ours, and still ends for ever.
consumer_timeout = 86400000

# Publishers are held back, not refused, above these.
vm_memory_high_watermark.absolute = {memory_limit_bytes()}
disk_free_limit.absolute = 200MB

log.file.level = info
log.file.rotation.size = 10485760
log.file.rotation.count = 2
{more}""",
    )
    write_private(directory / "enabled_plugins", "[rabbitmq_event_exchange].\n")
    cookie = directory / ".erlang.cookie"
    write_private(cookie, identity.cookie)
    cookie.chmod(0o400)


def memory_limit_bytes() -> int:
    """Where the node starts to hold publishers back: 40 % of the machine's (or container's) memory, at most 1 GiB."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        if limit.exists() and (text := limit.read_text(encoding="ascii").strip()).isdigit():
            total = min(total, int(text))
    return min(_GIB, total * 2 // 5)
