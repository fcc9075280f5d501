"""What goes wrong around a handler, before or after it: one attempt fails and says why; the agent and its other work live on."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workers.jobs.bench import bench, me
from workers.core.events import JobDone, Progressed


@pytest.mark.parametrize("kind", ["", "_in_thread", "_in_process"])
async def test_what_raises_while_arguments_are_checked_or_a_result_is_packed_is_a_failure(kind: str) -> None:
    """Whatever it is: a slot that is never free again, and a stop that is never answered, would be the end of the instance."""
    with bench() as one:
        for how in ("KeyError", "AssertionError"):
            failed = await one.error(f"picky{kind}", value={"how": how})
            assert (failed.error.kind, failed.retry) == ("bad_arguments", False)
            assert f"argument 'value' does not fit: {how}: " in failed.error.message
        assert (await one.error(f"picky{kind}", value={"how": "SystemExit"})).error.kind == "SystemExit"
        failed = await one.error(f"torn{kind}")
        assert (failed.error.kind, failed.retry) == ("bad_result", False)
        assert "result cannot be packed: KeyError: 'nothing in it'" in failed.error.message
        assert one.jobs.unfinished == 0


@pytest.mark.parametrize("handler", ["mumble", "mumble_in_process"])
async def test_a_progress_text_of_any_kind_becomes_a_line_that_a_message_carries(handler: str) -> None:
    """Half a surrogate (a file name, say) would have ended the agent when it was to be sent; what is long would wait whole."""
    with bench() as one:
        attempt = one.start(handler)
        assert isinstance(await one.end(attempt), JobDone)
        line = (await one.heard(Progressed, attempt)).text
        assert line.encode().startswith(b"?much to say")
        assert len(line) <= 200


async def test_where_no_process_can_be_started_the_attempt_fails_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """No memory, no process more, or no interpreter: nobody waits for an end that would never come. Later it may be otherwise."""
    with bench() as one:
        with monkeypatch.context() as broken:
            broken.setattr(sys, "executable", "/nowhere/python")
            failed = await one.error("pid")
        assert (failed.error.kind, failed.retry) == ("crashed", True)
        assert "died 2 times before it could call the handler" in failed.error.message
        assert "/nowhere/python" in failed.error.message
        assert await one.value("pid") != me()


async def test_a_path_that_is_no_text_and_a_signal_without_a_name_end_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python passes over what is no text in its path; of the signals for real time only two have names."""
    with bench() as one:
        monkeypatch.setattr(sys, "path", [*sys.path, Path("/nowhere")])
        failed = await one.error("die", how=signal.SIGRTMIN + 1)
        assert failed.error.kind == "crashed"
        assert f"(signal {signal.SIGRTMIN + 1})" in failed.error.message
        monkeypatch.setattr(sys, "executable", "python\0")
        failed = await one.error("pid")
        assert "before it could call the handler (last: embedded null byte)" in failed.error.message


FULL = """
import asyncio, os, resource, sys
from tests.workers.jobs.bench import bench

what, handler, free = sys.argv[1], sys.argv[2], int(sys.argv[3])
kind = resource.RLIMIT_NOFILE if what == "files" else resource.RLIMIT_AS
most = resource.getrlimit(kind)[1]

async def main():
    with bench() as one:
        os.close(next_file := os.dup(0))
        in_use = next_file if what == "files" else int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(kind, (in_use + free, most))
        failed = await one.error(handler)
        resource.setrlimit(kind, (most, most))
        print(failed.error.kind, failed.retry, failed.error.message)
        await one.value(handler)
        assert one.jobs.unfinished == 0

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("what", "handler", "free", "words"),
    [
        ("files", "pid", 1, "crashed True No process could be started for jobs.pid: [Errno 24]"),
        ("files", "pid", 5, "crashed True No process could be started for jobs.pid: [Errno 24]"),
        ("files", "pid", 6, "crashed True A process for jobs.pid died 2 times before it could call the handler (last: [Errno 24]"),
        ("threads", "pid", 4 << 20, "crashed True No process could be started for jobs.pid: can't start new thread"),
        ("threads", "noop", 4 << 20, "crashed True No thread could be started for jobs.noop: can't start new thread"),
    ],
)
async def test_where_files_or_threads_are_used_up_the_attempt_fails_and_says_why(
    what: str, handler: str, free: int, words: str
) -> None:
    """The agent lives on, and so does what it runs. Later it may be otherwise."""
    one = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FULL, what, handler, str(free), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    said, trouble = await one.communicate()
    assert said.decode().startswith(words), trouble.decode()
    assert one.returncode == 0, trouble.decode()
