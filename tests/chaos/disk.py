"""A disk that is really full: a small file system of its own, in memory, where a broker's data lies.

It is mounted in a name space of its own, which takes no right of root's where the kernel lets users have any; it is gone when its
keeper, who does nothing else, is.
"""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.chaos.clocks import CannotInject

MOUNT = 'mount -t tmpfs -o size="$2" disk "$1" && echo mounted && exec cat'
CHUNK = bytes(1 << 20)


class SmallDisk:
    """So many megabytes at ``where``, a directory that is there, for whoever was started with ``enter`` before his words."""

    def __init__(self, where: Path, megabytes: int) -> None:
        self._where = where
        self._megabytes = megabytes
        self._keeper: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        """Raises CannotInject."""
        words = ["--map-root-user", "--mount", "sh", "-c", MOUNT, "sh", str(self._where), f"{self._megabytes}m"]
        pipe = asyncio.subprocess.PIPE
        try:
            self._keeper = await asyncio.create_subprocess_exec("unshare", *words, stdin=pipe, stdout=pipe, stderr=pipe)
        except FileNotFoundError:
            raise CannotInject("there is no `unshare` here (util-linux): no file system can be had that is small enough") from None
        assert self._keeper.stdout is not None
        assert self._keeper.stderr is not None
        if await self._keeper.stdout.readline() != b"mounted\n":
            said = (await self._keeper.stderr.read()).decode().strip()
            await self._keeper.wait()
            raise CannotInject(f"no file system of one's own is allowed here: {said}")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._keeper is not None
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        await self._keeper.wait()

    @property
    def enter(self) -> list[str]:
        """Before the words of a command."""
        assert self._keeper is not None
        return ["nsenter", "--preserve-credentials", "--user", "--mount", "--target", str(self._keeper.pid)]

    def inside(self, path: Path) -> Path:
        """How we reach what has this path for those who entered."""
        assert self._keeper is not None
        return Path(f"/proc/{self._keeper.pid}/root") / path.relative_to("/")

    @property
    def _filler(self) -> Path:
        return self.inside(self._where / "filler")

    def fill(self) -> int:
        """Until nothing more can be written; gives the bytes that there was room for."""
        wrote = 0
        with self._filler.open("ab", buffering=0) as file:
            try:
                while True:
                    wrote += file.write(CHUNK)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
        return wrote

    def free(self) -> None:
        """What filled it is gone."""
        self._filler.unlink()
