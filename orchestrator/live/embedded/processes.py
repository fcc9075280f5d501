"""Child processes that must not outlive us, and strangers that must not be harmed.

A node is stopped by process id. Ids are reused, so before a recorded one is signalled its command line must carry the
mark of our data directory. A *keeper*, a shell that waits on a pipe from us, stops the node within a second when we are
gone without a word (SIGKILL, out of memory): the pipe then ends, whatever killed us.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

__all__ = ["Keeper", "carries_mark", "gone", "kill_now", "stop_stranger"]

# Reads the node's and the port mapper's ids, then waits for a line (we stopped it ourselves) or the end (we are gone).
_KEEPER = """
trap '' INT HUP TERM
read -r node epmd || exit 0
read -r _ && exit 0
kill -TERM "$node" 2>/dev/null
tries=0
while kill -0 "$node" 2>/dev/null && [ $tries -lt 300 ]; do sleep 0.1; tries=$((tries + 1)); done
kill -KILL "$node" 2>/dev/null
[ "$epmd" = 0 ] || kill -TERM "$epmd" 2>/dev/null
exit 0
"""


class Keeper:
    """Stops the node when this process ends without having stopped it."""

    def __init__(self) -> None:
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _KEEPER, "orchestrator-keeper"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Process id of the keeper."""
        return self._shell.pid

    def watch(self, node: int, epmd: int | None) -> None:
        """From now on these two go when we go."""
        self._tell(f"{node} {epmd or 0}\n")

    def dismiss(self) -> None:
        """The node has ended; so does the keeper."""
        self._tell("done\n")
        if self._shell.stdin is not None:
            with suppress(BrokenPipeError):  # what could not be told is in its buffer still
                self._shell.stdin.close()
        self._shell.wait()

    def _tell(self, line: str) -> None:
        if self._shell.stdin is not None and not self._shell.stdin.closed:
            try:
                self._shell.stdin.write(line.encode())
                self._shell.stdin.flush()
            except BrokenPipeError:
                pass  # somebody killed the keeper; the next start still finds the node by its record


async def gone(process: subprocess.Popen[bytes], timeout_s: float | None = None) -> bool:
    """Wait until a child of ours has ended. False when it still runs after `timeout_s`."""
    try:
        async with asyncio.timeout(timeout_s):
            await _ended(process)
    except TimeoutError:
        return False
    return True


async def _ended(process: subprocess.Popen[bytes]) -> None:
    loop = asyncio.get_running_loop()
    try:
        watch = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # not Linux, or ended and collected
        while process.poll() is None:  # noqa: ASYNC110  nothing else tells of an end there
            await asyncio.sleep(0.05)
        return
    ended = asyncio.Event()
    loop.add_reader(watch, ended.set)
    try:
        if process.poll() is None:
            await ended.wait()
        process.wait()
    finally:
        loop.remove_reader(watch)
        os.close(watch)


def kill_now(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL a child of ours and collect it."""
    if process.poll() is None:
        process.kill()
        process.wait()


def carries_mark(pid: int, mark: str) -> bool:
    """Whether the process lives and its command line carries `mark`."""
    proc = Path(f"/proc/{pid}")
    if Path("/proc/self/cmdline").exists():
        try:
            return mark.encode() in (proc / "cmdline").read_bytes()
        except OSError:
            return False
    listing = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True)
    return mark in listing.stdout


async def stop_stranger(pid: int, mark: str, timeout_s: float = 30.0) -> bool:
    """Stop a process that is not our child but carries `mark`: asked first, forced after `timeout_s`.

    False when there was no such process. Being nobody's child of ours it gives no signal when it ends, so it is polled.
    """
    if not carries_mark(pid, mark):
        return False
    loop = asyncio.get_running_loop()
    for signal_number, patience_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, 5.0)):
        os.kill(pid, signal_number)
        until = loop.time() + patience_s
        while carries_mark(pid, mark) and loop.time() < until:  # noqa: ASYNC110  a stranger gives no signal
            await asyncio.sleep(0.05)
        if not carries_mark(pid, mark):
            break
    return True
