"""One private RabbitMQ: from a data directory to a URL that serves, and back.

    async with EmbeddedBroker(Path("~/.local/share/orchestrator/broker").expanduser()) as node:
        connect(node.url)

The order of a start is the order of what could hurt: lock the directory, end what an earlier process left behind, see
that the ports are free, launch, knock until the broker lets us in. A broker that is left lets nothing run on: neither
after an exception, nor after SIGKILL of this process (see `processes.Keeper`).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar
from urllib.parse import quote

from . import container, distribution, streams
from .distribution import NotHere
from .errors import BrokerNotObtainable, BrokerNotStarted, EmbeddedBrokerError
from .handshake import Answer, knock
from .local import LocalNode
from .memory import DirectoryLock, Identity, free_ports, port_is_free, private_directory

__all__ = ["EmbeddedBroker", "obtain"]

T = TypeVar("T")
Progress = Callable[[str], None]

_SERVES_WITHIN_S = 120.0  # 4 s on an idle machine; a busy test machine or a long recovery takes many times that
_STOPS_WITHIN_S = 60.0
_PORT_TRIES = 3
_DISK_IS_NEARLY_FULL_MB = 500
_CTL_TIMEOUT_S = 180.0  # 0.4 s on an idle machine; as above

_STREAMS_ARE_BACK_WITHIN_S = 15.0  # one was not back after five seconds on a machine under full load


class Node(Protocol):
    """What `EmbeddedBroker` needs of a node, wherever it runs; `LocalNode` says what each promises."""

    @property
    def origin(self) -> str: ...
    @property
    def pid(self) -> int | None: ...
    def move_to(self, identity: Identity) -> None: ...
    async def stop_leftover(self) -> str | None: ...
    def launch(self) -> None: ...
    async def ended(self, timeout_s: float | None = None) -> bool: ...
    async def ask_to_stop(self) -> None: ...
    async def kill(self) -> None: ...
    async def tidy(self) -> None: ...
    def last_words(self) -> str: ...
    def ports_were_taken(self) -> bool: ...
    def ctl(self, *arguments: str) -> tuple[list[str], dict[str, str] | None]: ...


Source = Callable[[Path, Identity, Progress], Awaitable[Node]]


class EmbeddedBroker:
    """A private RabbitMQ node whose data lives in `data_dir`. Start and stop it, or use it as `async with`.

    `name` is the node's (remembered at the first start). `on_progress` hears a line now and then about what takes
    time or is worth knowing. It listens on loopback only, and knows one user with a random password; streams, quorum
    queues and the event exchange (`amq.rabbitmq.event` in the virtual host `/`) work. `source` finds the server; the
    default looks everywhere.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        name: str = "orchestrator",
        on_progress: Progress | None = None,
        source: Source | None = None,
    ) -> None:
        self._directory = data_dir.absolute()
        self._name = name
        self._progress: Progress = on_progress or (lambda line: None)
        self._source: Source = source or obtain
        self._lock: DirectoryLock | None = None
        self._identity: Identity | None = None
        self._node: Node | None = None
        self._lived_before = False  # then there may be streams to wait for

    # ---- what a user sees -------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """AMQP URL of the virtual host `/`, with user and password. It holds a secret: log `address` instead."""
        return self.url_of("/")

    def url_of(self, vhost: str) -> str:
        """AMQP URL of a virtual host."""
        me = self._known()
        return f"amqp://{me.user}:{me.password}@127.0.0.1:{me.amqp_port}/{quote(vhost, safe='')}"

    @property
    def address(self) -> str:
        """Host and port, for logs."""
        return f"127.0.0.1:{self._known().amqp_port}"

    @property
    def user(self) -> str:
        """The user the URL names; it may do everything."""
        return self._known().user

    @property
    def pid(self) -> int | None:
        """Process id of the node; None while it does not run."""
        return None if self._node is None else self._node.pid

    @property
    def data_dir(self) -> Path:
        """Where the node's data, log and secrets are."""
        return self._directory

    # ---- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the node and return once it serves. Raises EmbeddedBrokerError; then nothing of it runs."""
        if self.pid is not None:
            raise RuntimeError("this broker is already started")
        if self._node is not None:  # it was, and died
            await self.restart()
            return
        private_directory(self._directory)
        self._warn_of_a_full_disk()
        self._lock = DirectoryLock(self._directory)
        try:
            self._lived_before = Identity.is_known(self._directory)
            self._identity = Identity.load(self._directory, name=self._name)
            self._node = await self._source(self._directory, self._identity, self._progress)
            if found := await self._node.stop_leftover():
                self._progress(f"stopped the broker that an earlier run had left behind ({found}); its data is kept")
            await self._launch(self._node)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop the node in an orderly way, by force if it does not obey, and let the directory go. May be repeated."""
        try:
            if self._node is not None:
                await self._stop(self._node)
        finally:
            self._node = None
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    async def kill(self) -> None:
        """End the node as a crash would (SIGKILL), and keep the directory; `restart()` brings it back."""
        if self._node is not None:
            await self._node.kill()

    async def restart(self) -> None:
        """Stop the node if it runs, start it again: same data, URL and user (unless its port was taken meanwhile)."""
        node = self._node
        if node is None:
            await self.start()
            return
        try:
            await self._stop(node)
            await self._launch(node)
        except BaseException:
            await self.stop()
            raise

    async def flush(self) -> None:
        """Make what was declared outlive a crash that comes at once. To be called after creating queues or streams.

        RabbitMQ answers `declare-ok` up to a second before the declaration is on disk: killed in between, it comes
        back without the queue, or with a stream or quorum queue that never opens again, and what was confirmed in it
        is gone (measured on 3.10.8 and 4.0.5, one node; after one second no more).
        """
        await self.ctl("eval", streams.FLUSH)

    async def ended(self) -> None:
        """Wait until the node ends, for whatever reason."""
        if self._node is not None:
            await self._node.ended()

    async def ctl(self, *arguments: str) -> str:
        """What `rabbitmqctl` prints for `arguments` (0.4 s). Raises EmbeddedBrokerError with its complaint."""
        if self._node is None:
            raise RuntimeError("this broker is not started")
        command, environment = self._node.ctl(*arguments)
        try:
            done = await asyncio.to_thread(
                subprocess.run, command, env=environment, cwd=self._directory, stdin=subprocess.DEVNULL, text=True,
                capture_output=True, timeout=_CTL_TIMEOUT_S,
            )  # fmt: skip
            complaint = (done.stderr or done.stdout).strip()[-500:] if done.returncode != 0 else None
        except subprocess.TimeoutExpired:
            complaint = f"no answer within {_CTL_TIMEOUT_S:.0f} s"
        if complaint is not None:
            raise EmbeddedBrokerError(
                f"`rabbitmqctl {arguments[0]}` failed on the embedded broker: {complaint}",
                "What it was to change has not changed.",
                f"See {self._directory / 'log'}.",
            )
        return done.stdout

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _known(self) -> Identity:
        if self._identity is None:
            raise RuntimeError("this broker was not started yet: it has no address")
        return self._identity

    async def _launch(self, node: Node) -> None:
        """Launch and wait until it serves, with every stream that it keeps."""
        await self._serve(node)
        if self._lived_before and not await self._streams_are_back():
            await self._read_streams_in(node)
        self._lived_before = True
        self._progress(f"the broker serves on {self.address}")

    async def _serve(self, node: Node) -> None:
        """Launch on free ports and wait until it lets us in. A port may be taken between our look and the node's."""
        for attempt in range(1, _PORT_TRIES + 1):
            self._move_from_taken_ports(node)
            self._progress(f"starting {node.origin}")
            node.launch()
            answer = await self._until_it_serves(node)
            if answer is Answer.WELCOME:
                return
            await self._stop(node)  # first: its own port mapper would count as somebody who took a port
            if answer is Answer.REFUSED or not node.ports_were_taken() or attempt == _PORT_TRIES:
                raise _not_started(answer, self._directory, node.last_words())

    def _warn_of_a_full_disk(self) -> None:
        """RabbitMQ holds publishers back, without a word to them, below 200 MB of free disk."""
        free_mb = shutil.disk_usage(self._directory).free / 1e6
        if free_mb < _DISK_IS_NEARLY_FULL_MB:
            self._progress(f"only {free_mb:.0f} MB are free in {self._directory}; below 200 MB the broker takes no tasks")

    def _move_from_taken_ports(self, node: Node) -> None:
        me = self._known()
        taken = [port for port in me.ports if not port_is_free(port)]
        if taken:
            self._identity = me.moved(free_ports(len(me.ports)))
            self._identity.save(self._directory)
            node.move_to(self._identity)
            self._progress(f"port {taken[0]} is taken by another program; the broker moves to {self.address}")

    async def _until_it_serves(self, node: Node) -> Answer:
        """Knock until it answers or has ended. It gives no signal of its own that all versions share."""
        me = self._known()
        loop = asyncio.get_running_loop()
        until = loop.time() + _SERVES_WITHIN_S
        while loop.time() < until:
            answer = await knock(me.amqp_port, me.user, me.password)
            if answer is not Answer.NOBODY:
                return answer
            if await node.ended(timeout_s=0.1):
                break
        return Answer.NOBODY

    async def _streams_are_back(self) -> bool:
        """After a restart they come back later than the broker itself, half a second on an idle machine."""
        return await self._told(streams.all_are_back(_STREAMS_ARE_BACK_WITHIN_S)) == "true"

    async def _read_streams_in(self, node: Node) -> None:
        """The node does not find a stream that it keeps: have it find all of them without its log of what is under way."""
        if await self._told(streams.SET_ASIDE) == "ok":
            self._progress("the broker does not find its streams again; it reads them in once more")
            await node.kill()
            await self._stop(node)
            await self._serve(node)
            await self._told(streams.READ_IN)
            if await self._streams_are_back():
                return
        self._progress("some streams of the broker have not come back yet; what needs them has to try again")

    async def _told(self, expression: str) -> str:
        """What the node makes of this; a RabbitMQ that has renamed what we ask it by complains, and serves all the same."""
        try:
            return (await self.ctl("eval", expression)).strip()
        except EmbeddedBrokerError as error:
            return str(error)

    async def _stop(self, node: Node) -> None:
        """Ask, wait, force, tidy up; forced at once when we ourselves are told to hurry (cancelled)."""
        try:
            if node.pid is not None:
                await node.ask_to_stop()
                if not await node.ended(_STOPS_WITHIN_S):
                    self._progress(f"the broker did not stop within {_STOPS_WITHIN_S:.0f} s; it is killed")
                    await node.kill()
        finally:
            await node.tidy()


async def _beside(work: Callable[[Progress], T], progress: Progress) -> T:
    """What ``work`` returns or raises, on a thread of its own. Whoever is told to stop meanwhile (Ctrl-C) can end: an
    executor's thread would be waited for until all is fetched. What is fetched by halves counts for nothing."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(put: Callable[[Any], None], what: object) -> None:
        if not done.done():
            put(what)

    def run() -> None:
        put: Callable[[Any], None] = done.set_result
        what: object
        try:
            what = work(progress)
        except BaseException as error:
            put, what = done.set_exception, error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, put, what)

    threading.Thread(target=run, name="obtaining a broker", daemon=True).start()
    return await done


async def obtain(directory: Path, identity: Identity, progress: Progress) -> Node:
    """A node that can be launched, from the first source that has one. Raises BrokerNotObtainable."""
    reasons: list[str] = []
    try:
        return LocalNode(distribution.find(), directory, identity)
    except NotHere as reason:
        reasons.append(str(reason))
    try:
        return LocalNode(await _beside(distribution.fetch, progress), directory, identity)
    except NotHere as reason:
        reasons.append(str(reason))
    try:
        if os.environ.get(distribution.NAMED_BY):
            raise NotHere("nor is one run in a container")
        return container.ContainerNode(await _beside(container.find_engine, progress), directory, identity)
    except NotHere as reason:
        reasons.append(str(reason))
    raise BrokerNotObtainable(
        f"No RabbitMQ could be found or fetched: {'; '.join(reasons)}.",
        "Without a broker there is nothing that keeps tasks, so nothing was started.",
        "Install RabbitMQ 3.10 or newer (`apt-get install rabbitmq-server`, `brew install rabbitmq`), start Docker or "
        "Podman, or name a broker you have with --broker amqp://…",
    )


def _not_started(answer: Answer, directory: Path, last_words: str) -> BrokerNotStarted:
    if answer is Answer.REFUSED:
        return BrokerNotStarted(
            f"The broker in {directory} serves, but refuses the user and password remembered in broker.json.",
            "Nobody can use it, so it was stopped again; its tasks are untouched.",
            "Put back the broker.json that belongs to this data.",
        )
    return BrokerNotStarted(
        f"The broker in {directory} did not come to serve{': ' + last_words if last_words else ''}.",
        "Nothing is accepted or run; tasks it already holds are untouched.",
        f"Read {directory / 'log'}; a full disk and a damaged `data` directory are the usual causes.",
    )
