"""What a data directory remembers of its broker: ports, names and secrets; and who holds it right now.

    broker.json    0600   ports, node name, cookie, password, and a mark that stands on the node's command line
    running.json   0600   process ids of the node that runs, or that was left behind
    lock                  held by the process whose node this is

The directory itself is 0700: the message store below it holds everybody's tasks.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .errors import BrokerDirectoryInUse, BrokerNotStarted

__all__ = ["DirectoryLock", "Identity", "Running", "free_ports", "port_is_free", "private_directory", "write_private"]

_PORT_RANGE = (15000, 32000)  # below every system's ephemeral range, so that no outgoing connection sits on one of ours


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the node of a data directory is; the same for ever, but for the ports, which move when somebody took them."""

    node_name: str
    amqp_port: int
    dist_port: int
    epmd_port: int
    user: str
    password: str
    cookie: str
    mark: str  # stands on the node's command line: a recorded process id proves nothing, a command line with this does

    @property
    def ports(self) -> tuple[int, int, int]:
        """AMQP, Erlang distribution, port mapper."""
        return self.amqp_port, self.dist_port, self.epmd_port

    def moved(self, ports: Iterable[int]) -> Identity:
        """The same node on other ports."""
        amqp, dist, epmd = ports
        return replace(self, amqp_port=amqp, dist_port=dist, epmd_port=epmd)

    def save(self, directory: Path) -> None:
        """Remember, atomically."""
        write_private(directory / "broker.json", json.dumps(asdict(self), indent=2))

    @staticmethod
    def is_known(directory: Path) -> bool:
        """Whether `directory` belongs to a broker already."""
        return (directory / "broker.json").exists()

    @classmethod
    def load(cls, directory: Path, *, name: str) -> Identity:
        """What `directory` remembers; a new identity called `name` when it is new.

        Raises BrokerNotStarted when the file is unreadable, or gone while the node's data is there: without its
        password and its name that data cannot be opened.
        """
        file = directory / "broker.json"
        try:
            return cls(**json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            if (directory / "data").exists():
                raise BrokerNotStarted(
                    f"{file} is gone, but the broker's data beside it is not.",
                    "Name and password of the broker were in it, so its tasks cannot be read.",
                    f"Put the file back; or move {directory / 'data'} away, which gives up the tasks in it.",
                ) from None
        except (ValueError, TypeError) as error:
            raise BrokerNotStarted(
                f"{file} is damaged ({error}).",
                "Name and password of the broker are in it, so its tasks cannot be read.",
                "Put back an intact copy; or move the whole directory away, which gives up the tasks in it.",
            ) from error
        amqp, dist, epmd = free_ports(3)
        made = cls(
            node_name=f"{name}@localhost", user="orchestrator", amqp_port=amqp, dist_port=dist, epmd_port=epmd,
            password=secrets.token_hex(24), cookie=secrets.token_hex(24), mark=secrets.token_hex(8),
        )  # fmt: skip
        made.save(directory)
        return made


@dataclass(frozen=True, slots=True)
class Running:
    """Processes of a node: the node itself and its port mapper, each also known by the mark on the command line."""

    node: int
    epmd: int | None

    def save(self, directory: Path) -> None:
        """Written before the node can have done anything, so that a crash of ours leaves no unknown node."""
        write_private(directory / "running.json", json.dumps(asdict(self)))

    @classmethod
    def load(cls, directory: Path) -> Running | None:
        """The node last started here and not known to have ended; None if there is none."""
        try:
            return cls(**json.loads((directory / "running.json").read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    @staticmethod
    def forget(directory: Path) -> None:
        """They have ended."""
        (directory / "running.json").unlink(missing_ok=True)


class DirectoryLock:
    """One broker per data directory. The lock dies with the process that holds it, however that ends."""

    def __init__(self, directory: Path) -> None:
        """Raises BrokerDirectoryInUse."""
        self._fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._fd, 32).decode("ascii", "replace").strip()
            os.close(self._fd)
            raise BrokerDirectoryInUse(
                f"Process {holder or '(unknown)'} already runs the broker in {directory}.",
                "Two brokers on the same data would destroy it, so this one was not started.",
                "Use the broker that runs, stop that process, or choose another data directory.",
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let others in. Harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def private_directory(directory: Path) -> Path:
    """`directory`, made if need be, readable by its owner alone. Raises BrokerNotStarted when it cannot be had."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
    except OSError as error:
        raise BrokerNotStarted(
            f"The broker's data directory {directory} cannot be used ({error.strerror}).",
            "Without it the broker has no place for its tasks, so it was not started.",
            "Make it yours and writable, or choose another data directory.",
        ) from error
    return directory


def write_private(file: Path, text: str) -> None:
    """Replace `file` by `text` in one step; nobody but its owner can read it at any moment."""
    new = file.with_name(file.name + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as handle:
        handle.write(text)
    new.replace(file)


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Different loopback ports that are free now. Drawn at random, so that two first starts rarely meet."""
    low, high = _PORT_RANGE
    chosen: list[int] = []
    for _attempt in range(1000):
        port = low + secrets.randbelow(high - low)
        if port not in chosen and port_is_free(port):
            chosen.append(port)
            if len(chosen) == count:
                return chosen
    raise BrokerNotStarted(
        f"No {count} free loopback ports were found between {low} and {high}.",
        "The broker has nothing to listen on, so it was not started.",
        "Look for the program that holds them (`ss -ltn`).",
    )
