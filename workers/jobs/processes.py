"""Handlers in processes of their own, for what burns a CPU or must be killable.

A worker here is a thread of ours with a process of its own: it starts it when it first has a job, keeps it for
the next, reads its words, and is the one that knows when it is *dead*. That knowledge is the point:
``JobStopped`` is said when the process has been reaped, not when its kill was asked for; otherwise the task
would start elsewhere while it still ran here.

Why not a library's pool: the ones at hand report a cancelled job at once and kill later, break as a whole when
an idle process is killed (by the system, short of memory), and have no way for progress or a request to stop.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import BinaryIO, cast

from orchestrator.vocabulary import Attempt
from orchestrator.wire import codec
from workers.clock import handed_on, steady_ns, unix_ns
from workers.core.events import JobDone, JobFailed, JobLate, JobStarted, JobStopped
from workers.jobs.calling import JobEvent, Say
from workers.jobs.frames import AskToStop, Ready, Run, read, to_agent, write
from workers.jobs.job import Job
from workers.jobs.permit import Permit

_TRIES = 2
"""A process that died before it called the handler (killed while it was idle, say) is replaced once without a word."""


class ProcessJobs:
    """Works from any thread.

    How many run at once is the lane's business; here one more is started whenever none is idle.
    """

    def __init__(self, permit: Permit, say: Say) -> None:
        self.permit = permit
        self.say = say
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._busy: dict[Attempt, _Worker] = {}

    def start(self, job: Job) -> None:
        """Call its handler in a process."""
        with self._lock:
            worker = self._idle.pop() if self._idle else _Worker(self)
            self._busy[job.attempt] = worker
        worker.give(job)

    def stop(self, attempt: Attempt, hard: bool) -> None:
        """Ask it to stop; ``hard``: kill its process."""
        with self._lock:
            worker = self._busy.get(attempt)
        if worker is not None:
            worker.stop(attempt, hard)

    @property
    def unfinished(self) -> int:
        """Handlers that have not come to their end."""
        return len(self._busy)

    def close(self) -> None:
        """Kill every process, idle or not."""
        with self._lock:
            workers = [*self._idle, *self._busy.values()]
        for worker in workers:
            worker.close()

    def ended(self, worker: _Worker, attempt: Attempt, end: JobEvent) -> None:
        """For workers: it is idle again, and this is how it went."""
        with self._lock:
            self._idle.append(worker)  # before the word: it may bring the next job at once
            del self._busy[attempt]
        self.say(end)


class _Worker:
    """A thread with a process. Whoever holds ``_lock`` never waits for the process: the agent's own thread takes it."""

    def __init__(self, pool: ProcessJobs) -> None:
        self._pool = pool
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._attempt: Attempt | None = None
        """What it is busy with."""
        self._given = False
        """The process has been given that; what follows in the pipe is about it."""
        self._asked = False
        """It is to be asked to stop, or has been."""
        self._unwanted = False
        """It is to be killed, or has been."""
        # the thread lives as long as its process: Linux kills processes whose starting *thread* has ended
        threading.Thread(target=self._work, name="process", daemon=True).start()

    # --- from other threads -----------------------------------------------------------------------

    def give(self, job: Job) -> None:
        """Its next job. Only for an idle worker."""
        with self._lock:
            self._attempt = job.attempt
            self._given = self._asked = self._unwanted = False
        self._jobs.put(job)

    def stop(self, attempt: Attempt, hard: bool) -> None:
        """Nothing happens if it has ended by itself meanwhile."""
        with self._lock:
            if self._attempt != attempt:
                return
            if hard:
                self._unwanted = True
                if self._process is not None:
                    self._process.kill()
            elif not self._asked:
                self._asked = True
                if self._given and self._process is not None:
                    _tell(self._process, AskToStop())

    def close(self) -> None:
        """Kill its process."""
        with self._lock:
            self._unwanted = True
            if self._process is not None:
                self._process.kill()

    # --- its own thread ---------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            end = self._do(job)
            with self._lock:
                self._attempt = None
                spent = self._process if self._unwanted else None
            if spent is not None:  # it came to its end and was killed as well: the next job needs a new process
                self._bury(spent)
            self._pool.ended(self, job.attempt, end)

    def _do(self, job: Job) -> JobEvent:
        for _ in range(_TRIES):
            process = self._process or self._spawn()
            end = self._run_in(process, job) if process is not None else None
            if end is not None:
                return end
            if self._unwanted:
                return JobStopped(job.attempt)
        words = (
            f"A process for {job.handler.type} died {_TRIES} times before it could call the handler. "
            "The attempt has failed. See the agent's stderr: importing the service's module may crash."
        )
        return JobFailed(job.attempt, codec.error("crashed", words), at_ns=unix_ns())

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        """A new process that listens; None if it died before."""
        process = subprocess.Popen(
            [sys.executable, "-m", "workers.jobs.child", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | handed_on() | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
        )
        with self._lock:
            self._process = process
            if self._unwanted:
                process.kill()
        if read(cast(BinaryIO, process.stdout)) is None:
            self._bury(process)
            return None
        return process

    def _run_in(self, process: subprocess.Popen[bytes], job: Job) -> JobEvent | None:
        """How it ended; None: the process died before it called the handler."""
        until_ns = self._pool.permit.until_ns(job.incarnation)
        if steady_ns() >= until_ns:
            return JobLate(job.attempt)
        _tell(process, Run(job.handler.address, job.about(), job.assignment.args, until_ns))
        with self._lock:
            self._given = True
            if self._asked:
                _tell(process, AskToStop())
        started = False
        while (body := read(cast(BinaryIO, process.stdout))) is not None:
            word = to_agent.decode(body)
            if isinstance(word, JobDone | JobFailed | JobStopped | JobLate):
                return word
            if not isinstance(word, Ready):
                started = started or isinstance(word, JobStarted)
                self._pool.say(word)
        code = self._bury(process)
        if self._unwanted:
            return JobStopped(job.attempt)
        return _crashed(job, code) if started else None

    def _bury(self, process: subprocess.Popen[bytes]) -> int:
        """Wait until it is dead and reaped."""
        with self._lock:
            self._process = None
        process.kill()  # its pipe may have ended before it
        code = process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                cast(BinaryIO, pipe).close()
        return code


def _tell(process: subprocess.Popen[bytes], order: Run | AskToStop) -> None:
    """If it is dead, the end of its words tells."""
    with suppress(OSError):
        write(cast(BinaryIO, process.stdin), order)


def _crashed(job: Job, code: int) -> JobFailed:
    how = f"exit code {code}"
    if code < 0:
        how = f"signal {signal.Signals(-code).name}"
    hint = " The system kills what takes too much memory." if -code == signal.SIGKILL else ""
    words = (
        f"The process that ran {job.handler.type} died ({how}) while the handler ran.{hint} "
        "The attempt has failed; a new process is started for the next one."
    )
    return JobFailed(job.attempt, codec.error("crashed", words), at_ns=unix_ns())
