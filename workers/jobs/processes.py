"""Handlers in processes of their own, for what burns a CPU or must be killable.

``JobStopped`` is said when the process has been reaped, not when its kill was asked for; otherwise the task would start elsewhere
while it still ran here. So every process has a thread of ours that starts it, waits for its death and does nothing else: jobs are
written and words are read by the agent's own loop, for each thread that a word passes through costs as much as many words.

Why not a library's pool: the ones at hand report a cancelled job at once and kill later, break as a whole when
an idle process is killed (by the system, short of memory), and have no way for progress or a request to stop.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from orchestrator.vocabulary import NS_PER_S, Attempt
from orchestrator.wire import codec
from orchestrator.wire.values import line
from workers.clock import handed_on, steady_ns, unix_ns
from workers.core.events import JobDone, JobFailed, JobLate, JobStarted, JobStopped
from workers.jobs.calling import JobEvent, Say
from workers.jobs.frames import AskToStop, Frames, Ready, Run, ToAgent, framed, to_agent
from workers.jobs.job import Job
from workers.jobs.permit import Permit

_TRIES = 2
"""A process that died before it called the handler (killed while it was idle, say) is replaced once without a word."""
_ROOT = str(Path(__file__).parents[2])
_BEGIN = """\
import sys
sys.path.insert(0, sys.argv.pop(1))
import orchestrator, workers
del sys.path[0]
from workers.jobs.child import main
main()
"""
"""Ours are imported first, from where they are: a team's own package may be called ``workers``, and its directory comes before."""
_READ_BYTES = 1 << 18
_STARTED_S = 0.2
"""The start of what may be over sooner is said with its end, or then: of a first try that cannot make room nobody asks before."""


class ProcessJobs:
    """Everything but ``close`` and ``unfinished`` belongs to the loop on which it was made.

    How many run at once is the lane's business; here one more is started whenever none is idle.
    """

    def __init__(self, permit: Permit, say: Say) -> None:
        self.permit = permit
        self.say = say
        self.loop = asyncio.get_running_loop()
        self._idle: list[_Worker] = []
        self._busy: dict[Attempt, _Worker] = {}

    def start(self, job: Job) -> None:
        """Call its handler in a process."""
        worker = self._busy[job.attempt] = self._idle.pop() if self._idle else _Worker(self)
        worker.give(job)

    def stop(self, attempt: Attempt, hard: bool) -> None:
        """Ask it to stop; ``hard``: kill its process."""
        if (worker := self._busy.get(attempt)) is not None:
            worker.stop(hard)

    @property
    def unfinished(self) -> int:
        """Handlers that have not come to their end."""
        return len(self._busy)

    def close(self) -> None:
        """Kill every process, idle or not. From any thread, when nothing more is started."""
        for worker in (*self._idle, *self._busy.values()):
            worker.close()

    def ended(self, worker: _Worker, attempt: Attempt, end: JobEvent) -> None:
        """For workers: it is idle again, and this is how it went."""
        self._idle.append(worker)  # before the word: it may bring the next job at once
        del self._busy[attempt]
        self.say(end)


class _Worker:
    """A place for one job at a time, and the process in it: one for many jobs, and a new one where that has died."""

    def __init__(self, pool: ProcessJobs) -> None:
        self._pool = pool
        self._process: _Process | None = None
        self._job: Job | None = None
        """What it is busy with."""
        self._end: JobEvent | None = None
        """How that went; said when the process, which was killed as well, is dead."""
        self._tries = 0
        self._started: JobStarted | None = None
        """The handler was called."""
        self._unsaid: asyncio.TimerHandle | None = None
        """When that will be said."""
        self._asked = False
        self._unwanted = False
        """Its process is to be killed, or has been."""

    def give(self, job: Job) -> None:
        """Its next job. Only for an idle worker."""
        self._job, self._end, self._started, self._tries = job, None, None, 0
        self._asked = self._unwanted = False
        self._try()

    def stop(self, hard: bool) -> None:
        """Stop what it is busy with."""
        process = self._process
        assert process is not None, "who is busy has one"
        if hard:
            self._unwanted = True
            process.kill()
        elif not self._asked:
            self._asked = True
            self._ask()

    def close(self) -> None:
        """Kill its process. From any thread."""
        if (process := self._process) is not None:
            process.kill()

    def _try(self) -> None:
        self._tries += 1
        if self._process is None:
            try:
                self._process = _Process(self._pool.loop, self._hear, self._dead)
            except (OSError, RuntimeError) as trouble:  # no pipe more, or no thread
                assert self._job is not None
                self._over(_not_started(self._job, str(trouble)))
        elif self._process.ready:
            self._hand_over()

    def _hand_over(self) -> None:
        job, process = self._job, self._process
        assert job is not None
        assert process is not None
        until_ns = self._pool.permit.until_ns(job.incarnation)
        if self._unwanted:
            return  # its death will be told
        if steady_ns() >= until_ns:
            self._over(JobLate(job.attempt))
            return
        process.run(Run(job.handler.address, job.about(), job.assignment.args, until_ns))
        if self._asked:
            self._ask()

    def _ask(self) -> None:
        if self._process is not None and self._process.ready and self._job is not None:
            self._process.ask_to_stop(AskToStop(self._job.attempt))

    def _hear(self, word: ToAgent) -> None:
        if isinstance(word, Ready):
            if self._job is not None:
                self._hand_over()
        elif isinstance(word, JobDone | JobFailed | JobStopped | JobLate):
            if self._unwanted:  # it came to its end and was killed as well: the next job needs a new process
                self._end = word
            else:
                self._over(word)
        elif isinstance(word, JobStarted):
            self._started = word
            if _is_awaited(self._job):
                self._pool.say(word)
            else:
                self._unsaid = self._pool.loop.call_later(_STARTED_S, self._say_started)
        else:
            self._say_started()
            self._pool.say(word)

    def _say_started(self) -> None:
        if self._unsaid is not None and self._started is not None:
            self._unsaid.cancel()
            self._unsaid = None
            self._pool.say(self._started)

    def _dead(self, how: str, code: int) -> None:
        self._process = None
        job = self._job
        if job is None:
            return  # it was idle, and is replaced when it is needed
        if self._end is not None:
            self._over(self._end)
        elif self._unwanted:
            self._over(JobStopped(job.attempt))
        elif self._started:
            self._over(_crashed(job, how, code))
        elif self._tries < _TRIES:
            self._try()
        else:
            self._over(_never_called(job, how))

    def _over(self, end: JobEvent) -> None:
        self._say_started()
        job, self._job = self._job, None
        assert job is not None
        self._pool.ended(self, job.attempt, end)


class _Process:
    """One process from its start to its burial. ``hear`` gets its words; ``dead`` is called when it is reaped and all are heard."""

    def __init__(self, loop: asyncio.AbstractEventLoop, hear: Callable[[ToAgent], None], dead: Callable[[str, int], None]) -> None:
        self._loop = loop
        self._hear = hear
        self._tell_dead = dead
        self._frames = Frames()
        self._unsent = bytearray()
        self._lock = threading.Lock()
        self._popen: subprocess.Popen[bytes] | None = None
        self._doomed = False
        self.ready = False
        """It runs and listens."""
        with ExitStack() as undo:
            its_jobs, self._jobs = _pipe(undo)
            its_stops, self._stops = _pipe(undo)
            self._words, its_words = _pipe(undo)
            for pipe in (self._jobs, self._stops, self._words):
                os.set_blocking(pipe, False)
            loop.add_reader(self._words, self._read)
            undo.callback(loop.remove_reader, self._words)
            # the thread lives as long as its process: Linux kills processes whose starting *thread* has ended
            threading.Thread(target=self._keep, args=(its_jobs, its_stops, its_words), name="process", daemon=True).start()
            undo.pop_all()

    def run(self, order: Run) -> None:
        """Call a handler. If it is dead, its death tells."""
        self._unsent += framed(order)
        self._write()

    def ask_to_stop(self, order: AskToStop) -> None:
        """The handler should end soon."""
        with suppress(OSError):  # dead; or it reads nothing, and so many were written
            os.write(self._stops, framed(order))

    def kill(self) -> None:
        """From any thread; also if it is only being started."""
        with self._lock:
            self._doomed = True
            if self._popen is not None:
                self._popen.kill()

    # --- its own thread ---------------------------------------------------------------------------

    def _keep(self, jobs: int, stops: int, words: int) -> None:
        try:
            how, code = self._live(jobs, stops, words)
        except Exception as trouble:  # no memory, no process more, or something odd in the environment: its death is told
            how, code = line(trouble), 0
        with suppress(RuntimeError):  # the loop is closed: nobody is left to hear it
            self._loop.call_soon_threadsafe(self._bury, how, code)

    def _live(self, jobs: int, stops: int, words: int) -> tuple[str, int]:
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BEGIN, _ROOT, str(os.getpid()), str(stops)],
                stdin=jobs,
                stdout=words,
                pass_fds=[stops],
                env=os.environ | handed_on() | {"PYTHONPATH": _import_path()},
            )
        finally:
            for pipe in (jobs, stops, words):
                os.close(pipe)
        with self._lock:
            self._popen = process
            if self._doomed:
                process.kill()
        code = process.wait()
        return (_signal(-code) if code < 0 else f"exit code {code}"), code

    # --- on the loop ------------------------------------------------------------------------------

    def _read(self) -> bool:
        """What there is of its words. Returns whether there may be more."""
        try:
            piece = os.read(self._words, _READ_BYTES)
        except BlockingIOError:
            return False
        if not piece:
            self._loop.remove_reader(self._words)
            self.kill()  # whoever cannot speak is of no use
            return False
        for body in self._frames.take(piece):
            self.ready = True
            self._hear(to_agent.decode(body))
        return True

    def _write(self) -> None:
        """What the pipe takes; mostly all."""
        try:
            written = os.write(self._jobs, self._unsent)
        except BlockingIOError:
            written = 0
        except OSError:
            written = len(self._unsent)
        del self._unsent[:written]
        if self._unsent:
            self._loop.add_writer(self._jobs, self._write)
        else:
            self._loop.remove_writer(self._jobs)

    def _bury(self, how: str, code: int) -> None:
        while self._read():  # its last words, whoever else may hold the pipe open
            pass
        self._loop.remove_reader(self._words)
        self._loop.remove_writer(self._jobs)
        for pipe in (self._jobs, self._stops, self._words):
            os.close(pipe)
        self._tell_dead(how, code)


def _pipe(undo: ExitStack) -> tuple[int, int]:
    """A pipe that is closed again if nothing comes of it."""
    ends = os.pipe()
    for end in ends:
        undo.callback(os.close, end)
    return ends


def _import_path() -> str:
    """Where a process is to find what we find. Only texts: whatever else stands there (a ``Path``) Python passes over, here too."""
    return os.pathsep.join(path or os.getcwd() for path in sys.path if isinstance(path, str))


def _signal(number: int) -> str:
    try:
        return f"signal {signal.Signals(number).name}"
    except ValueError:  # of those for real time only the first and the last have names
        return f"signal {number}"


def _is_awaited(job: Job | None) -> bool:
    """Whether somebody decides by its start: who may ask it to make room, who counts deaths, or whoever ends it by a timeout."""
    assert job is not None, "words come from who is busy"
    soon = job.timeout_ns is not None and job.timeout_ns < 10 * _STARTED_S * NS_PER_S
    return job.assignment.number > 1 or job.handler.announced.preemptible or soon


def _crashed(job: Job, how: str, code: int) -> JobFailed:
    hint = " The system kills what takes too much memory." if -code == signal.SIGKILL else ""
    words = (
        f"The process that ran {job.handler.type} died ({how}) while the handler ran.{hint} "
        "The attempt has failed; a new process is started for the next one."
    )
    return JobFailed(job.attempt, codec.error("crashed", words), at_ns=unix_ns())


def _not_started(job: Job, why: str) -> JobFailed:
    words = (
        f"No process could be started for {job.handler.type}: {why}. The attempt has failed. "
        "See the agent's limits of open files and of threads."
    )
    return JobFailed(job.attempt, codec.error("crashed", words), at_ns=unix_ns())


def _never_called(job: Job, how: str) -> JobFailed:
    words = (
        f"A process for {job.handler.type} died {_TRIES} times before it could call the handler (last: {how}). "
        "The attempt has failed. See the agent's stderr: importing the service's module may crash."
    )
    return JobFailed(job.attempt, codec.error("crashed", words), at_ns=unix_ns())
