"""Debian packages without root: downloaded with the machine's own apt, unpacked into a directory of ours.

Nothing system-wide is touched. `apt-get download` and `dpkg -x` need no privilege. Where the system's package lists
are empty (a fresh container) or stale, a private copy of them is made, with apt's own configuration (mirrors, proxies,
keys) but without its hooks: those belong to the system's own updates and would run programs behind our back.

The file stands alone on the standard library, so that the set-up script can run it before anything is installed:

    python3 apt.py PACKAGE DIRECTORY        # unpacks PACKAGE, without its dependencies, into DIRECTORY
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

__all__ = ["Apt", "AptError"]

_TIMEOUT_S = 900  # a slow mirror is slow; a dead one is given up by apt itself long before


class AptError(Exception):
    """apt or dpkg refused; the text is their own last words."""


def _run(*command: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Standard output of `command`. Raises AptError with the last line it complained in."""
    try:
        done = subprocess.run(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AptError(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        complaints = [line for line in done.stderr.splitlines() if line.strip()]
        raise AptError(f"{command[0]} {command[1]}: {complaints[-1] if complaints else f'exit {done.returncode}'}")
    return done.stdout


class Apt:
    """The machine's apt, used from a scratch directory of ours.

    `scratch` is created and may be removed afterwards. Package lists are the system's until `refresh()`.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._env = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        self._env["APT_CONFIG"] = str(self._configure(private_lists=False))

    @staticmethod
    def present() -> bool:
        """Whether this machine has apt and dpkg at all."""
        return all(shutil.which(tool) for tool in ("apt-get", "apt-cache", "apt-config", "dpkg", "dpkg-query"))

    def refresh(self) -> None:
        """Read the package lists anew, into the scratch directory. One broken mirror among several is no failure."""
        self._env["APT_CONFIG"] = str(self._configure(private_lists=True))
        try:
            _run("apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any", env=self._env)  # else it is silent about mirrors
        except AptError:
            # apt fails as a whole when one source fails. What we came for may be in the others: look.
            if not any((self._scratch / "lists").glob("*Packages*")):
                raise

    def offers(self, package: str) -> str | None:
        """The version the lists offer for `package`, or None."""
        found = re.search(r"^\s*Candidate: (\S+)", _run("apt-cache", "policy", package, env=self._env), re.MULTILINE)
        return None if found is None or found[1] == "(none)" else found[1]

    def closure(self, package: str, wanted: Callable[[str], bool]) -> list[str]:
        """`package` and what it needs, directly or not, as far as `wanted` (asked by name) says so; sorted.

        Among alternatives the first that the lists offer is taken, as apt itself would.
        """
        chosen, ask = {package}, [package]
        while ask:
            needs = _parse_depends(_run("apt-cache", *_ONLY_DEPENDS, *ask, env=self._env))
            ask = sorted({need for need in needs if need not in chosen and wanted(need)})
            chosen.update(ask)
        return sorted(chosen)

    def installed(self) -> frozenset[str]:
        """Names of the packages the system has."""
        listing = _run("dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package}\n", env=self._env)
        return frozenset(line.split()[1] for line in listing.splitlines() if line.startswith("ii"))

    def size_bytes(self, packages: Iterable[str]) -> int:
        """What a download of `packages` weighs."""
        lines = _run("apt-get", "download", "--print-uris", *packages, env=self._env).splitlines()
        return sum(int(fields[2]) for line in lines if len(fields := line.split()) >= 3 and fields[2].isdigit())

    def unpack(self, packages: Iterable[str], into: Path) -> None:
        """Download `packages` (checked by apt against its signed lists) and unpack them into the directory `into`."""
        store = self._scratch / "packages"
        store.mkdir(parents=True, exist_ok=True)
        _run("apt-get", "download", "-q", *packages, cwd=store, env=self._env)
        into.mkdir(parents=True, exist_ok=True)
        for archive in sorted(store.glob("*.deb")):
            _run("dpkg", "-x", str(archive), str(into))
            archive.unlink()

    def _configure(self, *, private_lists: bool) -> Path:
        """The system's apt configuration in one file: without its hooks, with our directories in front."""
        lists, cache = self._scratch / "lists", self._scratch / "cache"
        for directory in (lists / "partial", cache / "archives" / "partial"):
            directory.mkdir(parents=True, exist_ok=True)
        system = _run("apt-config", "dump").splitlines()
        kept = [line for line in system if not _HOOKS_AND_INCLUDES.match(line)]
        ours = {
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::parts": "/dev/null",
            "Dir::Cache": str(cache),
            "Dir::Cache::archives": "archives/",
            "APT::Sandbox::User": "",  # apt's own user may not enter a private directory
        }
        if private_lists:
            ours["Dir::State::lists"] = str(lists)
        file = self._scratch / "apt.conf"
        file.write_text("\n".join([*kept, *(f'{key} "{value}";' for key, value in ours.items()), ""]), encoding="utf-8")
        return file


_HOOKS_AND_INCLUDES = re.compile(r"APT::Update::(Pre|Post)|DPkg::(Pre|Post)|Dir::Etc::(main|parts) ")
_ONLY_DEPENDS = (
    "depends", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances"
)  # fmt: skip


def _parse_depends(listing: str) -> list[str]:
    """Names of real packages in the output of `apt-cache depends`, the first real one of each group of alternatives."""
    needs: list[str] = []
    satisfied = False  # this group of alternatives has its package; a bar before `Depends` says the group goes on
    for line in listing.splitlines():
        found = re.match(r"^ ([ |])(?:Pre)?Depends: (<?)([^<>:\s]+)", line)
        if found is None:
            continue
        goes_on, virtual, name = found.groups()
        if not virtual and not satisfied:
            needs.append(name)
            satisfied = True
        if goes_on != "|":
            satisfied = False
    return needs


def main(argv: list[str]) -> int:
    """Unpack one package for a shell script. Exit status 1 and one line on standard error when it cannot be had."""
    package, directory = argv[0], Path(argv[1])
    if not Apt.present():
        print("no apt on this machine", file=sys.stderr)
        return 1
    scratch = directory / ".apt"
    try:
        apt = Apt(scratch)
        try:
            apt.unpack([package], directory)
        except AptError:  # lists that are empty, or older than what the mirrors hold
            apt.refresh()
            apt.unpack([package], directory)
    except AptError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
