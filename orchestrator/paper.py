"""Where log lines are written: standard error, on whatever disk or pipe that ends.

Law: work does not stand or fall with its log. A line that cannot be written (the disk is full, nobody reads the pipe any more) is
left out and counted, and the next one that can says how many are missing before it. Nor does anybody wait for who reads it slowly,
or has stopped to (a pager, a terminal that is away): a line that does not fit now is left out too.
"""

from __future__ import annotations

import io
import os
import select
import stat
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

AT_ONCE = getattr(select, "PIPE_BUF", 512)
"""Bytes. What may be written to takes so many without waiting; a pipe whole or not at all."""


class Paper:
    """A logger of structlog's, and a processor of it: takes finished lines and never raises for them.

    It writes past Python's buffer, where there is one: what a full disk leaves in that comes out half and late, or fails the
    process's end.
    """

    def __init__(self) -> None:
        self._stream = sys.stderr
        buffer = getattr(self._stream, "buffer", None)
        self._raw, self._room = _unwaiting(getattr(buffer, "raw", buffer))
        self._missing = 0
        self._torn = False
        """Half a line stands at the end."""

    def __call__(self, logger: Any, method: str, shown: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Before a line is rendered."""
        if self._missing:
            shown["missing"] = self._missing
        return shown

    def msg(self, line: str) -> None:
        """Write it, or count it."""
        try:
            self._write(line)
        except (OSError, ValueError):  # ValueError: somebody has closed it
            self._missing += 1
        else:
            self._missing = 0

    log = debug = info = warning = warn = error = exception = critical = fatal = msg

    def _write(self, line: str) -> None:
        if self._raw is None:
            print(line, file=self._stream, flush=True)
            return
        rest = ("\n" * self._torn + line + "\n").encode(errors="backslashreplace")
        while rest:
            if self._room is not None and not self._room.poll(0):
                raise BlockingIOError("nobody reads what we write")
            wrote = self._raw.write(rest if self._room is None else rest[:AT_ONCE])
            if wrote is None:
                raise BlockingIOError("nobody reads what we write")
            rest = rest[wrote:]
            self._torn = bool(rest)


def _unwaiting(raw: Any) -> tuple[Any, select.poll | None]:
    """Where to write without waiting, and what says whether one would wait.

    A pipe or a terminal is opened again, for us alone: whether a write waits is said of what was opened, not of who writes, and
    said of what we were given it would hold for all who have that too, the user's shell among them. A socket (systemd's journal)
    is asked before each write, and so is what cannot be opened again; of two who write there in one moment one may wait. A file
    has room.
    """
    try:
        number = raw.fileno()
        mode = os.fstat(number).st_mode
        if stat.S_ISREG(mode):
            return raw, None
        if stat.S_ISFIFO(mode) or raw.isatty():
            with suppress(OSError):  # no Linux; a terminal that another user opened
                again = os.open(f"/proc/self/fd/{number}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
                return io.FileIO(again, "w", closefd=False), None
        room = select.poll()
        room.register(number, select.POLLOUT)
    except (AttributeError, OSError, ValueError):  # no file at all, or a closed one; no such system
        return raw, None
    return raw, room
