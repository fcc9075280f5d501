"""Where a RabbitMQ server comes from, without a system-wide change.

In order, the first that works:

0. the one that `ORCHESTRATOR_RABBITMQ` names: a directory with `sbin/` and `plugins/`, such as an unpacked release; Erlang is taken
   from `erlang/` in it, else from the system. If that cannot be used, no other is: whoever names one means it;
1. one that is installed: a Linux distribution's, Homebrew's, or whatever `rabbitmq-server` on PATH leads to;
2. one fetched before into the user's cache;
3. on Debian and its children: the distribution's own packages, fetched by the machine's apt into the user's cache and
   unpacked there. Root is not needed, no service is started, deleting the directory removes everything;
4. (in `container.py`) an image, if a container engine answers.

A fetched distribution appears under its final name by one rename, after its Erlang has run once: whoever finds the
directory finds a whole one. Concurrent fetchers queue on a lock, and the later ones find the work done.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .apt import Apt, AptError

__all__ = ["OLDEST_VERSION", "Distribution", "NotHere", "cache_directory", "fetch", "find"]

NAMED_BY = "ORCHESTRATOR_RABBITMQ"
OLDEST_VERSION = (3, 10)  # the oldest that was tried; streams, which carry the ledger, began with 3.9

Progress = Callable[[str], None]

_SCRIPT_DIRECTORIES = (
    "/usr/lib/rabbitmq/bin",
    "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin",
    "/opt/homebrew/opt/rabbitmq/sbin",
    "/usr/local/opt/rabbitmq/sbin",
    "/home/linuxbrew/.linuxbrew/opt/rabbitmq/sbin",
)
_ERLANG_DIRECTORIES = (
    "/usr/lib/erlang/bin",
    "/usr/lib64/erlang/bin",
    "/opt/homebrew/bin",
    "/usr/local/bin",
    "/home/linuxbrew/.linuxbrew/bin",
)

# Debian's `erl` insists on /usr/lib/erlang, whatever ERL_ROOTDIR says; this one finds the runtime next to itself.
_ERL = """#!/bin/sh
ROOTDIR=$(cd "$(dirname "$0")/../usr/lib/erlang" && pwd) || exit 1
BINDIR=$(echo "$ROOTDIR"/erts-*/bin)
EMU=beam
PROGNAME=erl
export ROOTDIR BINDIR EMU PROGNAME
exec "$BINDIR/erlexec" "$@"
"""


class NotHere(Exception):
    """This source has no RabbitMQ for us; the text says why, for the one sentence shown when no source has."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """A RabbitMQ server that can be run: its scripts, and what their environment needs.

    `home` holds `sbin/` and `plugins/`; `erlang` is the directory with `erl` and `epmd`; `libraries` are directories of
    shared libraries the system lacks; `origin` is for people.
    """

    home: Path
    erlang: Path
    version: tuple[int, ...]
    origin: str
    libraries: tuple[Path, ...] = ()

    @property
    def server(self) -> Path:
        """The script that becomes the node."""
        return self.home / "sbin" / "rabbitmq-server"

    @property
    def ctl(self) -> Path:
        """The operator's tool."""
        return self.home / "sbin" / "rabbitmqctl"

    @property
    def epmd(self) -> Path:
        """Erlang's port mapper."""
        return self.erlang / "epmd"

    @property
    def version_text(self) -> str:
        """The version as people write it."""
        return ".".join(map(str, self.version))

    def environment(self) -> dict[str, str]:
        """A clean environment for its programs: nothing of RabbitMQ's or Erlang's variables is inherited."""
        mine = {key: value for key, value in os.environ.items() if not key.startswith(("RABBITMQ_", "ERL_", "LC_"))}
        mine["PATH"] = os.pathsep.join([str(self.erlang), mine.get("PATH", os.defpath)])
        mine["LC_ALL"] = "C.UTF-8"  # Erlang reads names as latin1 elsewhere, and warns
        mine["RABBITMQ_CONF_ENV_FILE"] = "/dev/null"
        if self.libraries:
            inherited = [mine["LD_LIBRARY_PATH"]] if mine.get("LD_LIBRARY_PATH") else []
            mine["LD_LIBRARY_PATH"] = os.pathsep.join([*map(str, self.libraries), *inherited])
        return mine


def cache_directory() -> Path:
    """Where fetched servers live: `$XDG_CACHE_HOME/orchestrator/rabbitmq`, else under `~/.cache`."""
    configured = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(configured) if Path(configured).is_absolute() else Path.home() / ".cache"
    return base / "orchestrator" / "rabbitmq"


def find() -> Distribution:
    """The server that the environment names; else an installed one, else one fetched before. Raises NotHere."""
    if named := os.environ.get(NAMED_BY):
        return _named(named)
    reasons = []
    for look in (_find_installed, _find_fetched):
        try:
            return look()
        except NotHere as reason:
            reasons.append(str(reason))
    raise NotHere("; ".join(reasons))


def fetch(progress: Progress) -> Distribution:
    """Fetch the packages of a Debian-like system into the cache. Raises NotHere. Blocks for seconds to minutes."""
    if os.environ.get(NAMED_BY):
        raise NotHere(f"{NAMED_BY} says which one to use, so no other is fetched")
    if not Apt.present():
        raise NotHere("this is no Debian-like system, so its packages cannot be fetched with apt")
    target = _fetched_directory()
    if re.search(r"\s", str(target)):
        raise NotHere(f"RabbitMQ's scripts cannot live under a path with blanks ({target}; set XDG_CACHE_HOME)")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _lock(target.parent / ".lock", progress):
            try:
                return _find_fetched()
            except NotHere:
                _fetch_into(target, progress)
    except (AptError, OSError) as error:
        raise NotHere(f"fetching Debian's packages failed ({error})") from error
    return _find_fetched()


def _named(directory: str) -> Distribution:
    """The one that the environment names. Raises NotHere."""
    home = Path(directory).absolute()
    own = home / "erlang"
    erlang = own if own.is_dir() else _erlang_directory()
    if not (home / "sbin" / "rabbitmq-server").exists():
        raise NotHere(f"{NAMED_BY} names {home}, which has no sbin/rabbitmq-server")
    if erlang is None:
        raise NotHere(f"{NAMED_BY} names {home}, which has no erlang/, and no Erlang is installed")
    found = Distribution(home, erlang, _version(home), origin=str(home))
    if found.version < OLDEST_VERSION:
        raise NotHere(f"{NAMED_BY} names RabbitMQ {found.version_text}, which is too old (3.10 is the oldest that was tried)")
    return found


def _find_installed() -> Distribution:
    erlang = _erlang_directory()
    if erlang is None:
        raise NotHere("no Erlang is installed")
    on_path = shutil.which("rabbitmq-server")
    scripts = [path for pattern in _SCRIPT_DIRECTORIES for path in sorted(Path("/").glob(pattern[1:]), reverse=True)]
    for directory in [*scripts, *([Path(on_path).resolve().parent] if on_path else [])]:
        script = directory / "rabbitmq-server"
        # The scripts lie beside `rabbitmq-env`; a wrapper in /usr/sbin (it wants root, and the system's node) does not.
        if script.exists() and script.resolve().with_name("rabbitmq-env").exists():
            home = script.resolve().parent.parent
            found = Distribution(home, erlang, _version(home), origin="installed")
            if found.version < OLDEST_VERSION:
                raise NotHere(f"the installed RabbitMQ {found.version_text} is too old (3.10 is the oldest that was tried)")
            return found
    raise NotHere("no RabbitMQ is installed")


def _erlang_directory() -> Path | None:
    """The directory that holds both `erl` and `epmd`."""
    on_path = shutil.which("erl")
    candidates = [Path(on_path).parent, Path(on_path).resolve().parent] if on_path else []
    for directory in [*candidates, *map(Path, _ERLANG_DIRECTORIES)]:
        if (directory / "erl").exists() and (directory / "epmd").exists():
            return directory
    return None


def _find_fetched() -> Distribution:
    root = _fetched_directory()
    homes = sorted((root / "usr/lib/rabbitmq/lib").glob("rabbitmq_server-*"))
    if not homes:
        raise NotHere(f"none was fetched into {root} before")
    return _unpacked(root, homes[-1])


def _unpacked(root: Path, home: Path) -> Distribution:
    libraries = {file.parent for directory in ("lib", "usr/lib") for file in (root / directory).glob("*/lib*.so.*")}
    return Distribution(home, root / "bin", _version(home), f"fetched into {root}", tuple(sorted(libraries)))


def _fetched_directory() -> Path:
    """One per operating system release and processor: the packages fit no other."""
    release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    name = f"{release.get('ID', 'unknown')}-{release.get('VERSION_ID', release.get('VERSION_CODENAME', 'x'))}"
    return cache_directory() / f"{name}-{platform.machine()}"


def _version(home: Path) -> tuple[int, ...]:
    for plugin in (home / "plugins").glob("rabbit-[0-9]*"):
        return tuple(int(part) for part in re.findall(r"\d+", plugin.name)[:3])
    return (0,)


@contextmanager
def _lock(file: Path, progress: Progress) -> Iterator[None]:
    with file.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another process is fetching RabbitMQ; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _fetch_into(target: Path, progress: Progress) -> None:
    """Download, unpack, try, rename. The caller holds the lock, so leftovers of interrupted fetches are nobody's."""
    started_s = time.monotonic()
    for leftover in target.parent.glob(".unpacking-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=target.parent))
    try:
        root = scratch / "root"
        apt = Apt(scratch / "apt")
        try:
            if apt.offers("rabbitmq-server") is None:
                raise AptError("the system's package lists do not know rabbitmq-server")
            _download(apt, root, progress)
        except AptError as stale:
            progress(f"reading fresh package lists, for this user alone ({stale})")
            apt.refresh()
            _download(apt, root, progress)
        _write_launcher(root)
        _drop_plugins(root)
        _try(root)
        if target.exists():  # of an incomplete shape, or it would have been found
            shutil.rmtree(target)
        root.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    took_s = time.monotonic() - started_s
    progress(f"RabbitMQ is ready in {target} ({took_s:.0f} s); deleting that directory removes it")


def _download(apt: Apt, root: Path, progress: Progress) -> None:
    offered = apt.offers("rabbitmq-server")
    if offered is None:
        raise NotHere("the package lists of this system do not offer rabbitmq-server")
    version = tuple(int(part) for part in re.findall(r"\d+", offered.rpartition(":")[2])[:2])
    if version < OLDEST_VERSION:
        raise NotHere(f"this system's package of RabbitMQ, {offered}, is too old (3.10 is the oldest that was tried)")
    has = apt.installed()
    # Erlang is taken whole, though parts may be installed: its runtime looks for its parts in one place. Of the rest,
    # a server needs shared libraries only; service scripts, log rotation and accounts are for the system's own node.
    packages = apt.closure(
        "rabbitmq-server", lambda name: name.startswith("erlang-") or (name.startswith("lib") and name not in has)
    )
    size_mb = apt.size_bytes(packages) / 1e6
    progress(f"fetching RabbitMQ {offered} for this user ({size_mb:.0f} MB, once; nothing is installed system-wide)")
    apt.unpack(packages, root)


def _write_launcher(root: Path) -> None:
    directory = root / "bin"
    directory.mkdir(exist_ok=True)
    erl = directory / "erl"
    erl.write_text(_ERL, encoding="utf-8")
    erl.chmod(0o755)
    for tool in ("epmd", "escript"):
        (directory / tool).symlink_to(Path("../usr/lib/erlang/bin") / tool)
    for unneeded in ("usr/share", "etc", "var"):
        shutil.rmtree(root / unneeded, ignore_errors=True)


def _drop_plugins(root: Path) -> None:
    """Remove the plugins we do not use and what only they use: Erlang looks for each module in all. 30 % of a start."""
    for plugins in (root / "usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/plugins"):
        applications = {entry.name.rpartition("-")[0]: entry for entry in plugins.iterdir() if entry.is_dir()}
        ours = _with_dependencies(["rabbit", "rabbitmq_event_exchange"], applications)
        others = [name for name in applications if name.startswith("rabbitmq_") and name not in ours]
        # What nobody names stays: it may be used unsaid.
        for name in _with_dependencies(others, applications) - ours:
            shutil.rmtree(applications[name])


def _with_dependencies(names: list[str], applications: dict[str, Path]) -> set[str]:
    """`names` and what they need, directly or not, of the Erlang applications in these directories."""
    found, ask = set[str](), list(names)
    while ask:
        name = ask.pop()
        if name in applications and name not in found:
            found.add(name)
            text = (applications[name] / "ebin" / f"{name}.app").read_text(encoding="utf-8")
            ask += re.findall(r"\w+", " ".join(re.findall(r"applications,\s*\[([^\]]*)\]", text)))
    return found


def _try(root: Path) -> None:
    """Run the unpacked Erlang once, with the part that needs most of the system's libraries. Raises NotHere."""
    homes: Iterable[Path] = (root / "usr/lib/rabbitmq/lib").glob("rabbitmq_server-*")
    for home in homes:
        found = _unpacked(root, home)
        erl = [str(root / "bin" / "erl"), "-noinput", "-boot", "start_clean", "-eval", "ok = crypto:start(), halt(0)."]
        tried = subprocess.run(
            erl, cwd=root, env=found.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
        )
        if tried.returncode == 0:
            return
        raise NotHere(f"the fetched Erlang does not run here ({(tried.stderr + tried.stdout).strip()[:300]})")
    raise NotHere("the fetched package holds no RabbitMQ server")
