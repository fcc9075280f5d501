"""Handlers of every kind: called, told, stopped; whatever they do, exactly one word of their end is said."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.vocabulary import NS_PER_S
from orchestrator.wire.codec import pack, unpack
from orchestrator.wire.messages import Error, Parent
from tests.workers.jobs.bench import bench, file_filled, gone, lives, me
from workers.clock import steady_ns
from workers.core.events import Checkpointed, JobDone, JobFailed, JobLate, JobStarted, JobStopped, Progressed

KINDS = [pytest.param("count", id="async"), pytest.param("count_in_thread", id="thread")]
ALL_KINDS = [*KINDS, pytest.param("count_in_process", id="process")]


async def test_a_team_may_have_packages_called_like_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it starts its agent they stand first; the process of a handler begins with ours all the same."""
    for name in ("workers", "orchestrator"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('not what was meant')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with bench() as one:
        assert (await one.value("about_in_process"))["task"] == "task-1"


@pytest.mark.parametrize("handler", ALL_KINDS)
async def test_a_handler_says_progress_saves_and_stops_when_asked(handler: str) -> None:
    """Soft: the checkpoint is said before the stop; the next attempt goes on from it and comes to its end."""
    with bench() as one:
        attempt = one.start(handler, to=100_000)
        progress = await one.heard(Progressed, attempt)
        assert progress.fraction is not None
        assert progress.text.startswith("at ")
        one.stop(attempt, hard=False)
        assert await one.end(attempt) == JobStopped(attempt)
        saved = await one.heard(Checkpointed, attempt)
        kinds = [type(event) for event in one.said if event.attempt == attempt]
        assert kinds[0] is JobStarted
        assert kinds.index(Checkpointed) < kinds.index(JobStopped) == len(kinds) - 1
        reached = unpack(saved.state)
        assert await one.value(handler, checkpoint=reached, to=reached + 1) == reached + 1


@pytest.mark.parametrize("handler", ["pages", "pages_in_thread", "pages_in_process"])
async def test_a_handler_that_saves_as_it_goes_yields_with_one_line(handler: str) -> None:
    """``checkpoint_or_stop`` says each page and ends where it is when asked to; a sleeper wakes for that."""
    with bench() as one:
        attempt = one.start(handler, to=10)
        await one.heard(Progressed, attempt)
        one.stop(attempt, hard=False)
        assert await one.end(attempt) == JobStopped(attempt)
        saved = [event for event in one.said if isinstance(event, Checkpointed)]
        assert unpack(saved[-1].state) == 4
        assert saved[-1].at_ns > 0
        assert await one.value(handler, checkpoint=9, to=9) == 9


@pytest.mark.parametrize("handler", ["about_async", "about", "about_in_process"])
async def test_the_context_knows_the_attempt(handler: str) -> None:
    """The same in all kinds."""
    with bench() as one:
        attempt = one.start(handler, checkpoint={"page": 7})
        end = await one.end(attempt)
        assert isinstance(end, JobDone), end
        assert unpack(end.value) == {
            "task": "task-1", "type": f"jobs.{handler}", "attempt": list(attempt), "number": 2, "grant": {"slots": 1.0},
            "instance": "jobs@bench", "tenant": "acme", "timeout_s": 5.0, "resumed": {"page": 7}, "deadline_s": True,
        }  # fmt: skip


PARENTS = [
    Parent("a", "done", pack([1, 2]), into=["rows"]),
    Parent("b", "failed", error=Error("Boom", "it went boom"), into=["more"]),
    Parent("c", "done", pack({"big": True})),
]


@pytest.mark.parametrize("handler", ["merge_async", "merge", "merge_in_process"])
async def test_what_parents_returned_comes_as_arguments_and_with_the_context(handler: str) -> None:
    """By the name that its edge gave it; of a parent that is not done, None; all of them by their ids."""
    with bench() as one:
        assert await one.value(handler, parents=PARENTS) == {
            "rows": [1, 2], "more": None,
            "parents": {"a": ["done", [1, 2], None], "b": ["failed", None, "Boom"], "c": ["done", {"big": True}, None]},
        }  # fmt: skip


async def test_values_of_many_parents_make_a_list() -> None:
    """In the order of the edges; of a parent that is not done, None."""
    with bench() as one:
        parents = [Parent("a", "done", pack(1), into=["rows[]"]), Parent("b", "done", pack(2), into=["rows[]", "more[]"])]
        told = await one.value("merge", parents=parents)
        assert (told["rows"], told["more"]) == ([1, 2], [2])


async def test_what_parents_returned_is_checked_like_all_arguments() -> None:
    """Of the wrong type, given twice, or not to be read: the handler is not called, and another try would not help."""
    with bench() as one:
        for faulty, words in [
            (Parent("a", "done", pack("text"), into=["rows"]), "argument 'rows' does not fit"),
            (Parent("a", "done", pack([1]), into=["rows", "other"]), "'other' is given by its parent a, and otherwise too"),
            (Parent("a", "done", b"\xc1", into=["rows"]), "what its parent a returned cannot be read"),
        ]:
            failed = await one.error("merge", parents=[faulty], more=None, other="mine")
            assert (failed.error.kind, failed.retry) == ("bad_arguments", False)
            assert words in failed.error.message


async def test_exceptions_are_told_with_the_users_trace_only() -> None:
    """Their class, their words, their code; nothing of ours."""
    with bench() as one:
        failed = await one.error("boom")
        assert (failed.error.kind, failed.error.message, failed.retry) == ("KeyError", "'missing thing'", True)
        assert 'raise KeyError("missing thing")' in failed.error.trace
        assert "calling.py" not in failed.error.trace
        hopeless = await one.error("hopeless")
        assert (hopeless.error.kind, hopeless.retry) == ("Fatal", False)


async def test_bad_arguments_never_reach_the_handler() -> None:
    """In every kind; and another try would not help."""
    with bench() as one:
        for handler in ("sleep", "nap", "spin"):
            failed = await one.error(handler, wrong=1)
            assert (failed.error.kind, failed.retry) == ("bad_arguments", False)
            assert "'wrong' is unknown" in failed.error.message
        assert not any(isinstance(event, JobStarted) for event in one.said)


async def test_a_result_that_no_message_carries_is_a_failure_that_says_so() -> None:
    """It would return it again."""
    with bench() as one:
        failed = await one.error("odd")
        assert (failed.error.kind, failed.retry) == ("bad_result", False)
        assert "result is of type object" in failed.error.message or "object" in failed.error.message


async def test_a_handler_that_exits_has_only_failed() -> None:
    """The instance and its other handlers live on."""
    with bench() as one:
        assert (await one.error("leave")).error.kind == "SystemExit"
        assert await one.value("sleep", seconds=0) == "woke"


async def test_cancelling_an_async_handler() -> None:
    """It is over when it says so; one that will not be cancelled comes to its own end; one not begun never begins."""
    with bench() as one:
        attempt = one.start("sleep", seconds=600)
        await one.heard(JobStarted, attempt)
        one.stop(attempt)
        assert await one.end(attempt) == JobStopped(attempt)

        attempt = one.start("stubborn")
        await one.heard(JobStarted, attempt)
        one.stop(attempt)
        assert isinstance(await one.end(attempt), JobDone)

        attempt = one.start("sleep", seconds=600)
        one.stop(attempt)
        assert await one.end(attempt) == JobStopped(attempt)
        assert [event for event in one.said if event.attempt == attempt] == [JobStopped(attempt)]
        assert one.jobs.unfinished == 0


async def test_a_thread_can_only_be_told() -> None:
    """Its end is said when it ends, not when the stop was asked for."""
    with bench() as one:
        attempt = one.start("nap", seconds=0.3)
        await one.heard(JobStarted, attempt)
        one.stop(attempt)
        assert one.jobs.unfinished == 1
        assert isinstance(await one.end(attempt), JobDone)


async def test_threads_are_used_again() -> None:
    """A hundred short jobs one after another need one."""
    with bench() as one:
        for _ in range(100):
            await one.value("nap", seconds=0)
        assert one.jobs._threads._count == 1


@pytest.mark.parametrize("handler", ["spin", "hold_the_gil"])
async def test_stopped_is_said_of_a_process_when_it_is_dead(handler: str, tmp_path: Path) -> None:
    """Whatever it does: burning a CPU, or holding the interpreter's lock in C. Not a moment before: the task moves on then."""
    with bench() as one:
        attempt = one.start(handler, path=str(tmp_path / "pid"))
        child = int(await file_filled(tmp_path / "pid"))
        asked_ns = steady_ns()
        one.stop(attempt)
        assert await one.end(attempt) == JobStopped(attempt)
        assert not lives(child)
        assert steady_ns() - asked_ns < NS_PER_S
        assert await one.value("pid") not in (child, me())


async def test_processes_are_kept_for_the_next_job() -> None:
    """Starting one takes a third of a second."""
    with bench() as one:
        assert await one.value("pid") == await one.value("pid") != me()


async def test_a_process_that_dies_is_a_failure_that_says_how() -> None:
    """Killed by the system, say; the next job has a new one."""
    with bench() as one:
        failed = await one.error("die", how=int(signal.SIGKILL))
        assert failed.error.kind == "crashed"
        assert failed.retry
        assert "signal SIGKILL" in failed.error.message
        assert "too much memory" in failed.error.message
        assert await one.value("pid") != me()


async def test_an_idle_process_that_is_killed_is_replaced_without_a_word() -> None:
    """Nothing ran in it; no task fails for it."""
    with bench() as one:
        child = await one.value("pid")
        os.kill(child, signal.SIGKILL)
        assert await one.value("pid") not in (child, me())


@pytest.mark.parametrize("handler", ["remember_in_thread", "remember_in_process"])
async def test_what_a_handler_sets_in_its_context_is_not_there_for_the_next(handler: str) -> None:
    """Whose tenant, or trace, it was is none of the next one's business, though that runs in the same thread or process."""
    with bench() as one:
        for value in ("first", "second"):
            assert await one.value(handler, value=value) == ""


async def test_async_handlers_run_in_processes_too() -> None:
    """Each call with a loop of its own."""
    with bench() as one:
        assert await one.value("async_in_process", value=[1]) == [1]


async def test_programs_that_a_handler_starts_can_be_stopped() -> None:
    """Our processes heed no SIGTERM meant for the agent; what they start must."""
    with bench() as one:
        assert await one.value("start_program") == -signal.SIGTERM


async def test_what_a_handler_forks_can_be_ended() -> None:
    """``multiprocessing`` ends its processes with SIGTERM, and waits for them."""
    with bench() as one:
        for _ in range(5):
            assert await one.value("fork_and_end") == -signal.SIGTERM


async def test_signals_to_the_whole_group_are_for_the_agent() -> None:
    """Ctrl-C, or a supervisor's SIGTERM: running handlers may finish."""
    with bench() as one:
        child = await one.value("pid")
        attempt = one.start("count_in_process", to=20)
        await one.heard(JobStarted, attempt)
        os.kill(child, signal.SIGTERM)
        os.kill(child, signal.SIGINT)
        assert isinstance(await one.end(attempt), JobDone)


@pytest.mark.parametrize("handler", ["sleep", "nap", "count_in_process"])
async def test_nothing_starts_when_its_permit_has_run_out(handler: str) -> None:
    """Looked at immediately before the call, in every kind: the window closed, or the incarnation ended, on the way."""
    arguments = {"to": 1} if handler == "count_in_process" else {"seconds": 0}
    with bench() as one:
        assert await one.end(one.start(handler, incarnation="former", **arguments)) == JobLate(one.said[-1].attempt)
        one.permit.set(("now", steady_ns()))
        assert isinstance(await one.end(one.start(handler, **arguments)), JobLate)
        one.permit.set(("now", steady_ns() + NS_PER_S * 60))
        assert isinstance(await one.end(one.start(handler, **arguments)), JobDone)
        assert len([event for event in one.said if isinstance(event, JobStarted)]) == 1


async def test_a_start_that_waits_behind_a_blocked_loop_is_late() -> None:
    """The window closes while another handler blocks the loop: what was to start must not."""
    with bench() as one:
        one.start("freeze", seconds=0.2)
        attempt = one.start("sleep", seconds=0)
        one.permit.set(("now", steady_ns() + NS_PER_S // 10))
        assert await one.end(attempt) == JobLate(attempt)


AGENT = """
import asyncio, sys
from tests.workers.jobs.bench import Bench

async def main():
    one = Bench()
    for number in (1, 2):
        one.start(sys.argv[1], path=f"{sys.argv[2]}/{number}")
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("handler", ["spin", "hold_the_gil"])
async def test_no_process_outlives_an_agent_that_is_killed(handler: str, tmp_path: Path) -> None:
    """SIGKILL leaves no time to clean up; user code must not go on all the same."""
    agent = await asyncio.create_subprocess_exec(sys.executable, "-c", AGENT, handler, str(tmp_path))
    try:
        children = [int(await file_filled(tmp_path / str(number))) for number in (1, 2)]
    finally:
        agent.kill()
        await agent.wait()
    for child in children:
        await gone(child)


@pytest.mark.parametrize("which", ["jobs", "stops"])
async def test_the_end_of_a_pipe_alone_ends_a_process(which: str) -> None:
    """Where the system does not kill children with their parent: idle, it reads jobs, and at work only who asks it to stop."""
    code = "import workers.jobs.child as child; child._die_with = lambda parent: None; child.main()"
    hears, stops = os.pipe()
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(me()), str(hears), stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[hears]
    )
    os.close(hears)
    assert child.stdin is not None
    assert child.stdout is not None
    await child.stdout.readexactly(4)
    if which == "jobs":
        child.stdin.close()
    else:
        os.close(stops)
    async with asyncio.timeout(10):
        assert await child.wait() == 3
    if which == "jobs":
        os.close(stops)


async def test_the_start_of_a_process_job_is_said_with_its_end_or_soon(tmp_path: Path) -> None:
    """Of a first try that is over in a moment nobody asks meanwhile; of a longer one it is said before, of another try at once."""
    with bench() as one:
        await one.value("pid")
        short = one.start("async_in_process", number=1, value=1)
        await one.end(short)
        started, done = (event for event in one.said if event.attempt == short)
        assert isinstance(started, JobStarted)
        assert isinstance(done, JobDone)
        assert started.at_ns <= done.at_ns
        for number in (1, 2):
            path = tmp_path / str(number)
            endless = one.start("spin", number=number, path=str(path))
            await file_filled(path)
            await one.heard(JobStarted, endless)
            one.stop(endless)
            assert await one.end(endless) == JobStopped(endless)
            assert [type(event) for event in one.said if event.attempt == endless] == [JobStarted, JobStopped]


async def test_large_arguments_and_results_pass_and_nobody_waits_for_them() -> None:
    """A pipe holds 64 KiB; the rest is written as the process reads."""
    with bench() as one:
        pid = await one.value("pid")
        large = "x" * 900_000
        began_ns = steady_ns()
        attempt = one.start("async_in_process", value=large)
        assert steady_ns() - began_ns < NS_PER_S, "the loop did not wait for the process to read"
        end = await one.end(attempt)
        assert isinstance(end, JobDone)
        assert unpack(end.value) == large
        assert await one.value("pid") == pid


async def test_a_process_that_left_children_with_its_pipes_is_dead_when_it_is_dead(tmp_path: Path) -> None:
    """What a handler forked holds the pipe of its words open; nobody waits for that."""
    with bench() as one:
        attempt = one.start("fork_and_spin", path=str(tmp_path / "pids"))
        mine, its = map(int, (await file_filled(tmp_path / "pids")).split())
        try:
            one.stop(attempt)
            assert await one.end(attempt) == JobStopped(attempt)
            assert not lives(mine)
        finally:
            os.kill(its, signal.SIGKILL)


async def test_exactly_one_end_is_said_of_everything() -> None:
    """A hundred jobs of all kinds, half of them stopped at some moment."""
    with bench() as one:
        attempts = []
        for number in range(99):
            handler = ("count", "count_in_thread", "async_in_process")[number % 3]
            arguments = {"value": number} if handler == "async_in_process" else {"to": 5}
            if number % 3 < 2 or number < 6:
                attempts.append(one.start(handler, **arguments))
                if number % 2:
                    one.stop(attempts[-1], hard=number % 4 == 1)
        await asyncio.gather(*(one.end(attempt) for attempt in attempts))
        ends = [event.attempt for event in one.said if isinstance(event, JobDone | JobFailed | JobStopped | JobLate)]
        assert sorted(ends) == sorted(attempts)
