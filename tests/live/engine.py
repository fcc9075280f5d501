"""Stands in for Docker: a program with its command line that runs the image as a plain process of this machine.

Engines and images are not to be had on every machine that runs the tests; what is tested is that we speak to an engine
rightly. The "container" is a real RabbitMQ, its "volume" a directory below $ENGINE_STATE.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from orchestrator.live.embedded import distribution
from orchestrator.live.embedded.local import LocalNode
from orchestrator.live.embedded.memory import Identity, private_directory


def node(name: str) -> tuple[LocalNode, Identity, Path]:
    """The process that plays the container `name`; made anew or remembered."""
    volume = private_directory(Path(os.environ["ENGINE_STATE"]) / name)
    identity = Identity.load(volume, name="rabbit")
    return LocalNode(distribution.find(), volume, identity), identity, volume


def pid_file(name: str) -> Path:
    """Where the process of a running container is noted; the file is the container."""
    return Path(os.environ["ENGINE_STATE"]) / f"{name}.pid"


def send(name: str, signal_number: int) -> bool:
    """Signal a container; False when it does not run."""
    if not pid_file(name).exists():
        return False
    try:
        os.kill(int(pid_file(name).read_text()), signal_number)
    except ProcessLookupError:
        return False
    return True


async def run(arguments: list[str]) -> int:
    """`run`: in the foreground, until the container ends; hands the signal to stop on, as the real client does."""
    options = dict(zip(arguments[:-1:2], arguments[1:-1:2], strict=True))
    name = options["--name"]
    _, identity, volume = node(name)
    secrets = dict(line.split("=", 1) for line in Path(options["--env-file"]).read_text().split())  # noqa: ASYNC240
    identity = replace(
        identity,
        amqp_port=int(options["--publish"].split(":")[1]),
        user=secrets["RABBITMQ_DEFAULT_USER"],
        password=secrets["RABBITMQ_DEFAULT_PASS"],
    )
    identity.save(volume)
    container = LocalNode(distribution.find(), volume, identity)
    container.launch()
    pid_file(name).write_text(str(container.pid))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, send, name, signal.SIGTERM)
    await container.ended()
    await container.tidy()
    return 0


def stop(name: str, signal_number: signal.Signals) -> None:
    """Signal a container and wait for its end; nothing announces it to a program that did not start it."""
    while send(name, signal_number):
        time.sleep(0.05)
    pid_file(name).unlink(missing_ok=True)


def main(argv: list[str]) -> int:
    """One call of the engine's client."""
    verb, rest = argv[0], argv[1:]
    name = rest[-1]
    if verb == "run":
        return asyncio.run(run(rest))
    if verb == "exec":
        command, environment = node(rest[0])[0].ctl(*rest[2:])
        return subprocess.run(command, env=environment, check=False).returncode
    if verb == "ps":
        if send(name.removeprefix("name=^").removesuffix("$"), 0):
            print("0123456789ab")
    elif verb == "kill":
        send(name, signal.SIGTERM if "--signal" in rest else signal.SIGKILL)
    elif verb == "stop":
        stop(name, signal.SIGTERM)
    elif verb == "rm":
        stop(name, signal.SIGKILL)
    elif verb not in ("info", "image"):
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
