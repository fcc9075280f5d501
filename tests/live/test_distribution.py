"""Where the broker's server comes from: a whole distribution appears, or none, and the reason is said.

The packages here are small ones made on the spot, offered by a mirror that is a directory: the machine's own apt and
dpkg do the work, without the network.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.live.embedded import distribution
from orchestrator.live.embedded.apt import Apt
from orchestrator.live.embedded.distribution import NotHere

needs_apt = pytest.mark.skipif(not Apt.present(), reason="apt is Debian's")

RUNS = "#!/bin/sh\nexit 0\n"
HANGS = "#!/bin/sh\necho trying > $XDG_CACHE_HOME/fifo\nexec sleep 60\n"
LACKS_A_LIBRARY = "#!/bin/sh\necho 'libnever.so.9: cannot open shared object file' >&2\nexit 127\n"


def write(file: Path, text: str, mode: int = 0o644) -> None:
    """A file with what it takes to be there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)


class Mirror:
    """A package mirror in a directory, which the machine's apt is told to use instead of the real ones."""

    def __init__(self, root: Path) -> None:
        self._root = root
        (root / "lists" / "partial").mkdir(parents=True)
        write(root / "sources.list", f"deb [trusted=yes] file:{root / 'pool'} ./\n")
        write(
            root / "apt.conf",
            f'Dir::Etc::sourcelist "{root}/sources.list";\nDir::Etc::sourceparts "/dev/null";\nDir::State::lists "{root}/lists";\n',
        )
        (root / "pool").mkdir()

    @property
    def configuration(self) -> str:
        """For the variable APT_CONFIG."""
        return str(self._root / "apt.conf")

    def offer(self, *, erlexec: str = RUNS, version: str = "3.10.8") -> None:
        """RabbitMQ and the two packages of Erlang it asks for; the runtime is the script `erlexec`."""
        home = f"usr/lib/rabbitmq/lib/rabbitmq_server-{version}"
        self._build("rabbitmq-server", f"{version}-1", "erlang-base | other-base, erlang-crypto, adduser, logrotate", {
            f"{home}/sbin/rabbitmq-server": RUNS,
            f"{home}/sbin/rabbitmqctl": RUNS,
            f"{home}/plugins/rabbit-{version}/ebin/rabbit.app": "{application,rabbit,[{applications,[kernel,ranch]}]}.",
            f"{home}/plugins/rabbitmq_event_exchange-{version}/ebin/rabbitmq_event_exchange.app": "",
            f"{home}/plugins/rabbitmq_web-{version}/ebin/rabbitmq_web.app": "{[{applications,[rabbit,ranch,cowboy]}]}.",
            f"{home}/plugins/cowboy-1.0/ebin/cowboy.app": "{application,cowboy,[{applications,[stdlib]}]}.",
            f"{home}/plugins/ranch-1.0/ebin/ranch.app": "{application,ranch,[{applications,[stdlib]}]}.",
            f"{home}/plugins/recon-1.0/ebin/recon.app": "{application,recon,[{applications,[stdlib]}]}.",
        })  # fmt: skip
        self._build("erlang-base", "1:25.2-1", "", {
            "usr/lib/erlang/erts-13/bin/erlexec": erlexec,
            "usr/lib/erlang/bin/epmd": RUNS,
            "usr/lib/erlang/bin/escript": RUNS,
        })  # fmt: skip
        self._build("erlang-crypto", "1:25.2-1", "erlang-base", {"usr/lib/erlang/lib/crypto-5/ebin/crypto.app": ""})
        stanzas = []
        for archive in sorted((self._root / "pool").glob("*.deb")):
            fields = subprocess.run(["dpkg-deb", "-f", str(archive)], capture_output=True, text=True, check=True).stdout
            digest = hashlib.sha256(archive.read_bytes()).hexdigest()
            stanzas.append(f"{fields}Filename: ./{archive.name}\nSize: {archive.stat().st_size}\nSHA256: {digest}\n")
        write(self._root / "pool" / "Packages", "\n".join(stanzas))

    def _build(self, name: str, version: str, depends: str, files: dict[str, str]) -> None:
        tree = self._root / "build" / name
        depends_line = f"Depends: {depends}\n" if depends else ""
        write(
            tree / "DEBIAN" / "control",
            f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: tests <t@example.org>\n"
            f"{depends_line}Description: for tests\n",
        )
        for path, text in files.items():
            write(tree / path, text, 0o755)
        archive = self._root / "pool" / f"{name}.deb"
        subprocess.run(["dpkg-deb", "--root-owner-group", "-b", str(tree), str(archive)], check=True, capture_output=True)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """An empty mirror, and a user whose cache is empty."""
    made = Mirror(tmp_path / "mirror")
    monkeypatch.setenv("APT_CONFIG", made.configuration)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return made


def in_cache() -> list[str]:
    """What the cache holds, but for its lock."""
    directory = distribution.cache_directory()
    return sorted(entry.name for entry in directory.iterdir() if entry.name != ".lock") if directory.exists() else []


@needs_apt
def test_a_server_is_fetched_whole_and_found_again(mirror: Mirror) -> None:
    """Server and Erlang land in the user's cache under one name; the next look needs no apt."""
    mirror.offer()
    lines: list[str] = []
    fetched = distribution.fetch(lines.append)
    assert fetched.version == (3, 10, 8)
    assert fetched.server.exists()
    assert fetched.epmd.resolve().exists()
    assert in_cache() == [fetched.erlang.parent.name]
    assert any("fetching RabbitMQ 3.10.8-1 for this user" in line for line in lines)

    again: list[str] = []
    assert distribution.fetch(again.append) == fetched
    assert again == []


@needs_apt
def test_plugins_we_do_not_use_are_left_out(mirror: Mirror) -> None:
    """A plugin and the library only it asks for are gone; what the server asks for, or nobody names, is there."""
    mirror.offer()
    plugins = distribution.fetch(lambda line: None).home / "plugins"
    kept = sorted(entry.name.rpartition("-")[0] for entry in plugins.iterdir())
    assert kept == ["rabbit", "rabbitmq_event_exchange", "ranch", "recon"]


@needs_apt
def test_a_server_that_does_not_run_here_is_not_kept(mirror: Mirror) -> None:
    """The unpacked Erlang is run once before it gets its name; its complaint is the reason."""
    mirror.offer(erlexec=LACKS_A_LIBRARY)
    with pytest.raises(NotHere, match=r"does not run here \(libnever"):
        distribution.fetch(lambda line: None)
    assert in_cache() == []


@needs_apt
def test_a_server_without_streams_is_not_fetched(mirror: Mirror) -> None:
    """Streams carry the ledger; a distribution too old for them is told so, before the download."""
    mirror.offer(version="3.8.9")
    with pytest.raises(NotHere, match=r"3\.8\.9-1, is too old"):
        distribution.fetch(lambda line: None)
    assert in_cache() == []


@needs_apt
def test_a_mirror_without_it_is_a_sentence(mirror: Mirror) -> None:
    """No such package, or no mirror at all, is a reason and no traceback."""
    with pytest.raises(NotHere, match="fetching Debian's packages failed"):
        distribution.fetch(lambda line: None)
    assert in_cache() == []


FETCH = "from orchestrator.live.embedded import distribution; distribution.fetch(lambda line: print(line, flush=True))"


@needs_apt
def test_two_at_once_fetch_once(mirror: Mirror) -> None:
    """Of two processes that need a server at the same moment one fetches, and both have it."""
    mirror.offer()
    both = [subprocess.Popen([sys.executable, "-c", FETCH], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("fetching RabbitMQ 3.10.8" in lines for lines in said) == 1
    assert len(in_cache()) == 1


@needs_apt
def test_an_interrupted_fetch_leaves_nothing_that_counts(mirror: Mirror, tmp_path: Path) -> None:
    """Killed in the middle: nothing is found, and the next fetch clears up and succeeds."""
    mirror.offer(erlexec=HANGS)
    (tmp_path / "cache").mkdir()
    fifo = tmp_path / "cache" / "fifo"
    os.mkfifo(fifo)
    fetching = subprocess.Popen([sys.executable, "-c", FETCH], start_new_session=True, stdout=subprocess.DEVNULL)
    assert fifo.read_text() == "trying\n"  # opens when the other end does
    os.killpg(fetching.pid, signal.SIGKILL)
    fetching.wait()
    assert in_cache() != []

    mirror.offer()
    fetched = distribution.fetch(lambda line: None)
    assert in_cache() == [fetched.erlang.parent.name]


def lay_out(root: Path, version: str) -> Path:
    """An installed RabbitMQ as its own archive lays it out, and an Erlang; the directories to put on PATH."""
    home = root / f"rabbitmq_server-{version}"
    for script in ("rabbitmq-server", "rabbitmqctl", "rabbitmq-env"):
        write(home / "sbin" / script, RUNS, 0o755)
    write(home / "plugins" / f"rabbit-{version}.ez", "")
    for tool in ("erl", "epmd"):
        write(root / "erlang" / tool, RUNS, 0o755)
    return home


only_without_rabbitmq = pytest.mark.skipif(Path("/usr/lib/rabbitmq").exists(), reason="what is installed here comes first, rightly")


@only_without_rabbitmq
def test_an_installed_server_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What PATH leads to is taken, through links, and nothing of the user's RabbitMQ variables reaches it."""
    home = lay_out(tmp_path, "4.1.2")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "rabbitmq-server").symlink_to(home / "sbin" / "rabbitmq-server")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{tmp_path}/erlang:/usr/bin:/bin")
    monkeypatch.setenv("RABBITMQ_NODENAME", "rabbit@production")
    found = distribution.find()
    assert (found.home, found.version, found.origin) == (home, (4, 1, 2), "installed")
    assert "RABBITMQ_NODENAME" not in found.environment()


@only_without_rabbitmq
@pytest.mark.parametrize(("version", "wrapper", "why"), [("3.9.29", False, "too old"), ("4.1.2", True, "no RabbitMQ")])
def test_what_cannot_serve_us_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, wrapper: bool, why: str
) -> None:
    """A server that is older than what was tried, and a wrapper that starts the system's own node, are not taken for ours."""
    home = lay_out(tmp_path, version)
    if wrapper:
        (home / "sbin" / "rabbitmq-env").unlink()
    monkeypatch.setenv("PATH", f"{home}/sbin:{tmp_path}/erlang:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(NotHere, match=why):
        distribution.find()


@only_without_rabbitmq
def test_without_any_source_one_sentence_says_what_to_do(tmp_path: Path) -> None:
    """No server, no apt, no container engine: every source's reason in one line, exit status 1, no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator.live.embedded"],
        env={"PATH": str(tmp_path), "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    for reason in ("no Erlang is installed", "none was fetched", "no Debian-like system", "no docker, no podman"):
        assert reason in done.stderr


STARTS = """
import asyncio
from pathlib import Path
from orchestrator.live.embedded import EmbeddedBroker
asyncio.run(EmbeddedBroker(Path.home() / "data", on_progress=print).start())
"""


@needs_apt
@only_without_rabbitmq
def test_who_waits_for_a_fetch_can_be_told_to_stop(tmp_path: Path) -> None:
    """Another process fetches, and that takes long. Ctrl-C ends the one that waits for it."""
    lock = tmp_path / "orchestrator" / "rabbitmq" / ".lock"
    lock.parent.mkdir(parents=True)
    with lock.open("a") as fetching:
        fcntl.flock(fetching, fcntl.LOCK_EX)
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", STARTS],
            env=os.environ | {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            assert any("waiting for it" in line for line in process.stdout)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == -signal.SIGINT
        finally:
            process.kill()
            process.communicate()
