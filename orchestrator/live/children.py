"""Processes of ours that must not outlive us.

Law: what was started here is stopped here: asked first (SIGTERM), forced when it does not obey. Should *we* be killed without a
word, a *keeper*, a shell that waits on a pipe from us, does it: the pipe then ends, whatever killed us. Each child has a session of
its own, so that Ctrl-C in the terminal is for us alone, who then stop everything in order.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from orchestrator.live.settings import unread

Process = asyncio.subprocess.Process

# Reads `+ID` and `-ID` lines: processes that began and ended. `done` means that all is well; the end of the pipe, that we are gone.
_KEEPER = """
trap '' INT HUP TERM
pids=' '
while read -r line; do
    case "$line" in
    done) exit 0 ;;
    +*) pids="$pids${line#+} " ;;
    -*) pids="${pids%% ${line#-} *} ${pids#* ${line#-} }" ;;
    esac
done
for pid in $pids; do kill -TERM "$pid" 2>/dev/null; done
tries=0
while [ $tries -lt 50 ]; do
    alive=
    for pid in $pids; do kill -0 "$pid" 2>/dev/null && alive=yes; done
    [ -z "$alive" ] && exit 0
    sleep 0.1
    tries=$((tries + 1))
done
for pid in $pids; do kill -KILL "$pid" 2>/dev/null; done
"""


def _inherited() -> dict[str, str]:
    """Our environment, without what is no setting: whoever started us has been warned of it, once."""
    wrong = unread()
    return {name: value for name, value in os.environ.items() if name not in wrong}


def _ours() -> list[str]:
    """So that ``-m`` finds our modules, though there be others of that name in the directory where we are (a team's ``workers``).
    Only where we run from our own source, perhaps not installed, they are to be found there."""
    return [] if Path.cwd() == Path(__file__).parents[2] else ["-P"]


class Children:
    """Starts and stops processes. ``log``: where their output goes; none: to our own stderr."""

    def __init__(self, log: Path | None = None) -> None:
        self._log = log
        self._living: dict[int, Process] = {}
        self._keeper = subprocess.Popen(
            ["/bin/sh", "-c", _KEEPER, "orchestrator-keeper"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", start_new_session=True,
        )  # fmt: skip

    async def start(self, *arguments: str, environment: Mapping[str, str]) -> Process:
        """This Python with ``arguments``, and with ``environment`` on top of ours (arguments can be read by anybody, it cannot)."""
        output = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600) if self._log else None
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *_ours(), *arguments,
                env={**_inherited(), **environment}, stdin=subprocess.DEVNULL,
                stdout=sys.stderr if output is None else output, stderr=sys.stderr if output is None else output,
                start_new_session=True,
            )  # fmt: skip
        finally:
            if output is not None:
                os.close(output)
        self._living[process.pid] = process
        self._tell(f"+{process.pid}")
        return process

    async def stop(self, processes: Iterable[Process], grace_s: float) -> None:
        """Ask them to stop; those that still run after ``grace_s`` are killed. Those that have ended are none of our business."""
        waits = {asyncio.ensure_future(process.wait()): process for process in processes}
        if not waits:
            return
        for process in waits.values():
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait(waits, timeout=grace_s)
        finally:
            for process in waits.values():
                if process.returncode is None:
                    with suppress(ProcessLookupError):
                        process.kill()
        await asyncio.wait(waits)
        for process in waits.values():
            if self._living.pop(process.pid, None) is not None:
                self._tell(f"-{process.pid}")

    async def close(self) -> None:
        """Stop whatever still runs, and let the keeper go."""
        await self.stop(list(self._living.values()), 5.0)
        self._tell("done")
        if self._keeper.stdin is not None:
            with suppress(BrokenPipeError):  # what could not be told is in its buffer still
                self._keeper.stdin.close()
        self._keeper.wait()

    def _tell(self, line: str) -> None:
        if self._keeper.stdin is not None and not self._keeper.stdin.closed:
            with suppress(BrokenPipeError):  # somebody killed the keeper: then nobody looks after us
                self._keeper.stdin.write(f"{line}\n".encode())
                self._keeper.stdin.flush()
