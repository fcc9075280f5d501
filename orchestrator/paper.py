"""Where log lines are written: standard error, on whatever disk or pipe that ends.

Law: work does not stand or fall with its log. A line that cannot be written (the disk is full, nobody reads the pipe any more) is
left out and counted, and the next one that can says how many are missing before it.
"""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from typing import Any


class Paper:
    """A logger of structlog's, and a processor of it: takes finished lines and never raises for them.

    It writes past Python's buffer, where there is one: what a full disk leaves in that comes out half and late, or fails the
    process's end.
    """

    def __init__(self) -> None:
        self._stream = sys.stderr
        buffer = getattr(self._stream, "buffer", None)
        self._raw = getattr(buffer, "raw", buffer)
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
            wrote = self._raw.write(rest)
            if wrote is None:
                raise BlockingIOError("nobody reads what we write")
            self._torn = wrote < len(rest)
            rest = rest[wrote:]
