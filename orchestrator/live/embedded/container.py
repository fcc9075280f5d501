"""The same broker in a container, for machines with Docker or Podman but neither RabbitMQ nor apt.

The last source of the four, for macOS without Homebrew's RabbitMQ and for Linux distributions other than Debian's
children. The image is RabbitMQ's official one. Container and volume are named after the mark of the data directory, so
a later start finds what an earlier one left. The password reaches the container through a file, never a command line.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

from .distribution import NotHere, Progress
from .local import memory_limit_bytes
from .memory import Identity, Running, port_is_free, write_private
from .processes import Keeper, gone, kill_now

__all__ = ["IMAGE", "ContainerNode", "find_engine"]

IMAGE = "docker.io/library/rabbitmq:4.0"
"""Of the versions that all tests were run on the newest."""

_ANSWER_TIMEOUT_S = 20
_PULL_TIMEOUT_S = 900


def find_engine(progress: Progress) -> str:
    """`docker` or `podman`, whichever answers, with the image at hand. Raises NotHere."""
    reasons = []
    for engine in ("docker", "podman"):
        if shutil.which(engine) is None:
            reasons.append(f"no {engine}")
            continue
        if not _succeeds([engine, "info"], _ANSWER_TIMEOUT_S):
            reasons.append(f"{engine} is installed, but its engine does not answer")
            continue
        if not _succeeds([engine, "image", "inspect", IMAGE], _ANSWER_TIMEOUT_S):
            progress(f"{engine} fetches the image {IMAGE}, once")
            if not _succeeds([engine, "pull", "--quiet", IMAGE], _PULL_TIMEOUT_S):
                reasons.append(f"{engine} could not fetch {IMAGE}")
                continue
        return engine
    raise NotHere(", ".join(reasons))


class ContainerNode:
    """One node in a container; see `LocalNode` for what the methods promise."""

    def __init__(self, engine: str, directory: Path, identity: Identity) -> None:
        self._engine = engine
        self._directory = directory
        self._identity = identity
        self._client: subprocess.Popen[bytes] | None = None
        self._keeper: Keeper | None = None
        self._name = f"orchestrator-{identity.mark}"

    @property
    def origin(self) -> str:
        """Which server runs, for people."""
        return f"{IMAGE} in {self._engine}"

    @property
    def pid(self) -> int | None:
        """Process id of the engine's client, which lives as long as the node does; None while none runs."""
        return None if self._client is None or self._client.poll() is not None else self._client.pid

    def move_to(self, identity: Identity) -> None:
        """Other ports from the next launch on."""
        self._identity = identity

    async def stop_leftover(self) -> str | None:
        """End a container that an earlier process of ours left behind."""
        running = await self._output("ps", "--quiet", "--filter", f"name=^{self._name}$")
        if running:
            await self._output("stop", "-t", "30", self._name)
        await self._output("rm", "--force", self._name)
        Running.forget(self._directory)
        return f"container {self._name}" if running else None

    def launch(self) -> None:
        """Start the container in the foreground of a client process, whose end is the node's."""
        (self._directory / "log").mkdir(exist_ok=True)
        with (self._directory / "log" / "console.log").open("wb") as console:
            self._keeper = Keeper()
            self._client = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self._keeper.watch(self._client.pid, None)  # the client hands on the signal to stop

    async def ended(self, timeout_s: float | None = None) -> bool:
        """Wait until the node has ended; False when it still runs after `timeout_s`."""
        return self._client is None or await gone(self._client, timeout_s)

    async def ask_to_stop(self) -> None:
        """Let the node finish in an orderly way."""
        await self._output("kill", "--signal", "TERM", self._name)

    async def kill(self) -> None:
        """End the node at once, as a crash would."""
        await self._output("kill", self._name)
        await self.ended(30)

    async def tidy(self) -> None:
        """Remove the container; the volume with the data stays."""
        if self._client is not None:
            kill_now(self._client)
        if self._keeper is not None:
            self._keeper.dismiss()
        self._client = self._keeper = None
        await self._output("rm", "--force", self._name)

    def last_words(self) -> str:
        """The end of what the node wrote, for an error message."""
        file = self._directory / "log" / "console.log"
        return " / ".join(file.read_text(encoding="utf-8", errors="replace").splitlines()[-3:]) if file.exists() else ""

    def ports_were_taken(self) -> bool:
        """Whether the last launch failed because somebody else listens where it wanted to."""
        return not port_is_free(self._identity.amqp_port)

    def ctl(self, *arguments: str) -> tuple[list[str], dict[str, str] | None]:
        """Command line of a `rabbitmqctl` call to this node."""
        return [self._engine, "exec", self._name, "rabbitmqctl", *arguments], None

    def _command(self) -> list[str]:
        secrets = self._directory / "container.env"
        write_private(secrets, f"RABBITMQ_DEFAULT_USER={self._identity.user}\nRABBITMQ_DEFAULT_PASS={self._identity.password}\n")
        settings = self._directory / "container.conf"
        settings.write_text(
            "consumer_timeout = 86400000\n"
            f"vm_memory_high_watermark.absolute = {memory_limit_bytes()}\n"
            "disk_free_limit.absolute = 200MB\n",
            encoding="utf-8",
        )
        plugins = self._directory / "enabled_plugins"
        plugins.write_text("[rabbitmq_event_exchange].\n", encoding="utf-8")
        for readable in (settings, plugins):  # the container's user is another one; neither file holds a secret
            readable.chmod(0o644)
        return [
            self._engine, "run", "--name", self._name, "--hostname", "orchestrator",
            "--publish", f"127.0.0.1:{self._identity.amqp_port}:5672",
            "--volume", f"{self._name}:/var/lib/rabbitmq",
            "--volume", f"{settings}:/etc/rabbitmq/conf.d/90-orchestrator.conf:ro",
            "--volume", f"{plugins}:/etc/rabbitmq/enabled_plugins:ro",
            "--env-file", str(secrets),
            IMAGE,
        ]  # fmt: skip

    async def _output(self, *arguments: str) -> str:
        """What the engine prints; its failures are silence (no such container is no news here)."""
        call = [self._engine, *arguments]
        done = await asyncio.to_thread(subprocess.run, call, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        return done.stdout.strip()


def _succeeds(command: list[str], timeout_s: float) -> bool:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
