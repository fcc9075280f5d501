"""The process that runs one handler at a time, for an agent that may kill it, and without which it must not live.

Law: when the agent is gone, however it went, this process ends at once: nobody would hear its result, and the
task runs elsewhere. Linux kills it with its parent; everywhere, the end of the pipes from the agent ends it.

Functions come as ``module:name`` and are imported here; nothing is ever unpickled. What handlers print goes to
stderr: stdout is the pipe to the agent, kept out of their reach.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextvars import copy_context
from typing import BinaryIO

from orchestrator.vocabulary import Attempt
from orchestrator.wire import codec
from workers.arguments import Signature
from workers.clock import steady_ns, unix_ns
from workers.context import Context
from workers.core.events import JobFailed
from workers.errors import ServiceError
from workers.handler import find
from workers.jobs.calling import JobEvent, call
from workers.jobs.frames import AskToStop, Ready, Run, ToAgent, read, to_child, write
from workers.jobs.job import context_of
from workers.signals import taken

_PR_SET_PDEATHSIG = 1
_AGENT_GONE = 3
"""Exit code; nobody is there to read it."""


class Child:
    """Reads its jobs and runs them in the main thread; who asks it to stop is heard in another."""

    def __init__(self, jobs: BinaryIO, stops: BinaryIO, words: BinaryIO) -> None:
        self._jobs = jobs
        self._stops = stops
        self._words = words
        self._writing = threading.Lock()
        self._context: Context | None = None
        self._asked: Attempt | None = None
        """Whose handler was to stop, last."""
        self._signatures: dict[str, Signature] = {}

    def run(self) -> None:
        """For ever: the agent kills us, or we end with it."""
        threading.Thread(target=self._listen, name="stops", daemon=True).start()
        self._say(Ready())
        while (body := read(self._jobs)) is not None:
            job = to_child.decode(body)
            assert isinstance(job, Run), "stops have a pipe of their own"
            # First the context, then the look at who was asked; the listener does it the other way round. So one of us sees it.
            self._context = context = context_of(job.about, self._say)
            if self._asked == job.about.attempt:
                context.ask_to_stop(cancelled=False)
            end = self._do(job, context)
            self._context = None
            self._say(end)
        os._exit(_AGENT_GONE)

    def _listen(self) -> None:
        while (body := read(self._stops)) is not None:
            order = to_child.decode(body)
            assert isinstance(order, AskToStop), "jobs have a pipe of their own"
            self._asked = order.attempt
            context = self._context
            if context is not None and context.attempt == order.attempt:
                context.ask_to_stop(cancelled=False)
        os._exit(_AGENT_GONE)

    def _do(self, job: Run, context: Context) -> JobEvent:
        try:
            function = find(job.address)
            signature = self._signatures.get(job.address)
            if signature is None:
                signature = self._signatures[job.address] = Signature(function, job.about.type)
        except ServiceError as trouble:
            return JobFailed(job.about.attempt, codec.error("unknown_handler", str(trouble)), False, unix_ns())
        allowed = lambda: steady_ns() < job.until_ns  # noqa: E731
        # in a copy: what it sets there is not for the next one
        return copy_context().run(call, function, signature, job.args, job.about.attempt, context, allowed, self._say)

    def _say(self, word: ToAgent) -> None:
        with self._writing:
            try:
                write(self._words, word)
            except OSError:
                os._exit(_AGENT_GONE)


def main() -> None:
    """Started by ``workers.jobs.processes`` with the agent's process id and the pipe on which stops come."""
    _die_with(int(sys.argv[1]))
    # The agent ends us. A signal to the whole process group (Ctrl-C, a supervisor's SIGTERM) is for the agent, who lets running
    # handlers finish. Functions, not SIG_IGN: that would be inherited by the programs that handlers start.
    with taken(lambda *_: None):
        _serve()


def _serve() -> None:
    jobs = os.fdopen(os.dup(0), "rb")
    os.set_inheritable(int(sys.argv[2]), False)
    stops = os.fdopen(int(sys.argv[2]), "rb")
    words = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    Child(jobs, stops, words).run()


def _die_with(parent: int) -> None:
    """Linux.

    Be killed when the thread that started us ends, whatever this process is doing (even holding the GIL in C).
    """
    if sys.platform == "linux":
        import ctypes  # here: of no use elsewhere

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it was gone before we asked
            os._exit(_AGENT_GONE)


if __name__ == "__main__":
    main()
