"""A service at work: user code on this loop, the agent on a thread beside it.

    main thread                         agent's thread
    ───────────                         ──────────────
    on_start hooks
    Agency.run  ──── starts ──────────▶ Shell: core, broker, beats
    handlers    ◀─── StartJob ────────
                ──── JobDone … ───────▶
    SIGTERM     ──── DrainAsked ──────▶ … Leave, Finish
    on_stop hooks ◀─── the end ───────

Neither waits for the other while it works. A handler that blocks the main loop delays its neighbours, not the beats.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from random import Random
from secrets import randbits
from types import FrameType
from typing import Any

from orchestrator.heap import give_back_large_blocks
from workers.core import Agent
from workers.core.events import DrainAsked, Event, QuitAsked
from workers.jobs import Jobs, Permit
from workers.live.logbook import Logbook, logbook
from workers.live.options import Options
from workers.live.shell import Shell
from workers.service import Service
from workers.signals import taken

STUCK_S = 3.0
"""How long the agent, when it is over, waits for the main loop to notice, before it takes the process with it."""


GARBAGE = (10_000, 10, 10)
"""How seldom Python looks for cycles in a process that is ours alone (``gc.set_threshold``). With thousands of short attempts a
second its own thresholds cost a fifth of the work."""


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop where there is one: twice as fast with many small messages."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class Agency:
    """One service run once. ``drain`` and ``quit`` may be called from any thread, also a signal handler."""

    def __init__(self, service: Service, options: Options, *, owns_process: bool = False) -> None:
        """Raises ``ServiceError`` for whatever is wrong with the service or the options, before anything begins.

        ``owns_process``: when handlers block the main loop beyond the end, end the process with them.
        """
        self._service = service
        self._signatures = service.signatures()
        self._profile = options.profile(service)
        self._limits = options.limits()
        self._url = options.broker
        self._shard = options.shard
        self._owns_process = owns_process
        self._permit = Permit()
        self._jobs: Jobs | None = None
        self._post: Callable[[Event], None] | None = None
        self._early: deque[Event] = deque()
        """Said, and not handed to the agent yet."""
        self._noticed = threading.Event()
        """The main loop knows that the agent is over."""
        self.logbook: Logbook = logbook(options.log, options.log_level, instance=self._profile.instance)

    @property
    def instance(self) -> str:
        """The name of the instance."""
        return self._profile.instance

    @property
    def works(self) -> bool:
        """Whether there is an agent by now."""
        return self._post is not None

    @property
    def unfinished(self) -> int:
        """Handlers that have not come to their end."""
        return self._jobs.unfinished if self._jobs is not None else 0

    def drain(self, reason: str) -> None:
        """Take no new work, let running handlers finish within the grace period, then end."""
        self._tell(DrainAsked(self._limits.grace_ns, reason))

    def quit(self) -> None:
        """End at once."""
        self.logbook.say("impatient")
        self._tell(QuitAsked())

    def _tell(self, event: Event) -> None:
        # First the word, then the look for an agent; its thread does it the other way round. So one of us hands it over.
        self._early.append(event)
        if self._post is not None:
            self._hand_over(self._post)

    def _begin(self, post: Callable[[Event], None]) -> None:
        self._post = post
        self._hand_over(post)

    def _hand_over(self, post: Callable[[Event], None]) -> None:
        with suppress(IndexError):  # all is taken, by us or just now by the other
            while True:
                post(self._early.popleft())

    async def run(self) -> None:
        """From the start hooks to the stop hooks. Cancel it to end at once. Raises what a start hook raised."""
        loop = asyncio.get_running_loop()
        self.logbook.say("starting", service=self._service.name, handlers=list(self._service.handlers), pid=os.getpid())
        await _call_all(self._service.start_hooks)
        if self._owns_process:
            give_back_large_blocks()
            gc.freeze()  # what was imported and made at the start stays: no need to look at it again and again
            gc.set_threshold(*GARBAGE)
        over: asyncio.Future[str] = loop.create_future()
        thread = threading.Thread(target=self._be_agent, args=(loop, over), name="agent", daemon=True)
        thread.start()
        try:
            reason = await asyncio.shield(over)
        except asyncio.CancelledError:
            self._tell(QuitAsked())
            await over
            raise
        finally:
            self._noticed.set()
            if self._jobs is not None:
                self._jobs.close()
            await _call_all(self._service.stop_hooks)
        self.logbook.say("ended", reason=reason)

    # --- the agent's thread -----------------------------------------------------------------------

    def _be_agent(self, main: asyncio.AbstractEventLoop, over: asyncio.Future[str]) -> None:
        tell: Callable[[], object]
        try:
            with asyncio.Runner(loop_factory=new_loop) as runner:
                reason = runner.run(self._agent(main))
            tell = partial(over.set_result, reason)
        except BaseException as bug:  # a bug of ours; it is raised in the main thread, where somebody looks
            tell = partial(over.set_exception, bug)
        main.call_soon_threadsafe(tell)
        if self._owns_process and not self._noticed.wait(STUCK_S):
            end_process(self.logbook, self.unfinished)

    async def _agent(self, main: asyncio.AbstractEventLoop) -> str:
        agent = Agent(self._profile, Random(randbits(64)), self._limits)
        shell = Shell(agent, self._url, self.logbook, self._permit, self._shard)
        self._jobs = jobs = Jobs(self._service.handlers, self._signatures, self._profile.instance, main, self._permit, shell.post)
        self._begin(shell.post)
        return await shell.live(jobs)


async def _call_all(hooks: Iterable[Callable[[], Any]]) -> None:
    for hook in hooks:
        result = hook()
        if inspect.isawaitable(result):
            await result


def end_process(logbook: Logbook, unfinished: int) -> None:
    """Handlers cannot be ended otherwise; the coordinator knows already, or hears it from the broker."""
    logbook.say("stuck", handlers=unfinished)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


async def serve(service: Service, options: Options) -> None:
    """Be an instance of ``service`` within a running loop, until drained by the coordinator, or cancelled."""
    await Agency(service, options).run()


def run(service: Service, options: Options) -> None:
    """Be an instance of ``service`` until SIGTERM or Ctrl-C: the first drains, the second ends at once."""
    agency = Agency(service, options, owns_process=True)
    told: list[int] = []

    # not through the loop, which a handler may block: Python runs this between two instructions of the main thread
    def heed(number: int, frame: FrameType | None) -> None:
        told.append(number)
        if len(told) == 1:
            agency.drain(signal.Signals(number).name)
        elif agency.works:
            agency.quit()
        else:  # a start hook does not come to its end
            raise KeyboardInterrupt

    with taken(heed), asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(agency.run())
        if agency.unfinished:
            end_process(agency.logbook, agency.unfinished)
