"""The coordinator daemon: one machine, one session after another, one loop.

Law: this is the main loop, and it never thinks. Events that came during one turn of the loop go through the machine in one
step; its commands are carried out before anything else happens. The machine outlives sessions: fed by the ledger, it goes on
where it was.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
import signal
from random import Random
from typing import NoReturn

from orchestrator.amqp import Link
from orchestrator.amqp.errors import Broken, BrokenBy, LedgerRewound, LinkError, LinkLost
from orchestrator.amqp.supervisor import keep_session
from orchestrator.core.coordinator import Coordinator
from orchestrator.core.events import Event, LedgerLost, Returned, SessionLost, SessionOpened
from orchestrator.core.registry.registry import QUEUE_PREFIX
from orchestrator.heap import give_back_free_pages, give_back_large_blocks
from orchestrator.live import rule
from orchestrator.live.bell import Bell
from orchestrator.live.clock import Clock
from orchestrator.live.ears import listening, until_deaf
from orchestrator.live.mending import mend
from orchestrator.live.plugins import catalogue
from orchestrator.live.session import Session
from orchestrator.live.settings import HEARTBEAT_S, Settings
from orchestrator.live.telemetry import Telemetry, configure
from orchestrator.live.tidings import Tidings
from orchestrator.vocabulary import DEFAULT_SHARD

GARBAGE = (50_000, 5, 100)
"""How seldom Python looks for cycles (``gc.set_threshold``). There are hardly any here, and a look at all that a deep backlog holds
takes half a second, in which nothing is decided. Its own thresholds were made for small programs."""


class Daemon:
    """One coordinator, live."""

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._clock = Clock()
        self._machine = self._new_machine()
        self._inbox: list[Event] = []
        self._bell = Bell()
        self._session: Session | None = None
        self._published = False
        """Our rule of the shards, by this process."""

    def _new_machine(self) -> Coordinator:
        seed = secrets.randbits(64)  # chance enters here, once; the machine itself has none but these dice
        settings = self._settings
        machine = Coordinator(settings.name, settings.core, Random(seed), settings.specs, catalogue(), settings.limits)
        machine.desk.unheard = self._telemetry.unheard
        return machine

    @property
    def read_to(self) -> int:
        """The first offset of the ledger that was not read."""
        return self._machine.next_offset

    async def run(self) -> NoReturn:
        """Serve until cancelled."""
        await keep_session(self._open, self._serve, rng=Random(), on_event=Tidings(self._telemetry).tell)
        raise AssertionError("a session never ends by itself")

    async def _open(self) -> Link:
        assert self._settings.broker is not None, "the caller has found a broker"
        return await Link.open(
            self._settings.broker,
            name=f"coordinator {self._settings.name}",
            connections=("consume", "publish", "ledger"),
            heartbeat_s=HEARTBEAT_S,
            on_blocked=self._blocked,
            on_returned=self._returned,
        )

    async def _serve(self, link: Link) -> NoReturn:
        """One session: enter, then turn events into commands until it breaks."""
        nonce = secrets.token_hex(8)
        session = self._session = Session(link, nonce, self._settings, self._telemetry, self._wake, self._put)
        self._inbox.clear()
        self._wake(SessionOpened(nonce))
        try:
            await self._live(session)
        except LedgerRewound as fault:
            session.perform(self._machine.step(self._clock.now(), [LedgerLost(fault.end)]))
            raise LinkLost(Broken(BrokenBy.CLOSED, "ledger", str(fault)), "reading the ledger") from fault
        finally:
            self._session = None
            self._machine.step(self._clock.now(), [SessionLost("the session is over")])
        raise AssertionError("the loop never ends by itself")

    async def _live(self, session: Session) -> None:
        await self._enter_shard(session.link)
        async with listening(session.link, self._settings, self._telemetry) as ears:
            await session.enter(self._machine.resume_at, ears)
            await self._work(session, ears)

    async def _work(self, session: Session, ears: Link) -> None:
        fault: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(until_deaf(ears))
                group.create_task(session.do_chores())
                group.create_task(session.renew_token())
                group.create_task(give_back_free_pages())
                group.create_task(mend(session.link, self._settings.topology, session.nonce, session.intake))
                group.create_task(self._loop(session))
        except* LinkError as faults:
            fault = faults.exceptions[0]
        if fault is not None:  # not within the clause: Python 3.11.2 (Debian 12) makes a group of what is raised there
            raise fault

    async def _enter_shard(self, link: Link) -> None:
        """Once, when we start, what our settings say of shards is published; then the link is of ours alone."""
        settings, first = self._settings, not self._published
        now = await (rule.publish if first else rule.published)(link, settings)
        self._published = True
        if now != settings.rule:
            if not settings.says_shards:
                self._telemetry.say("shards_kept", {"published": now.names})
            elif first:
                self._telemetry.say("shards", {"shards": settings.rule.names, "before": now.names})
            else:
                self._telemetry.say("shards_differ", {"published": now.names, "ours": settings.rule.names})
        link.shard = settings.shard or DEFAULT_SHARD

    async def _loop(self, session: Session) -> NoReturn:
        """THE MAIN LOOP: wait for events or the next deadline, step, carry out."""
        machine, clock, bell = self._machine, self._clock, self._bell
        while True:
            if not self._inbox:
                deadline = machine.next_deadline()
                await bell.sleep(None if deadline is None else (deadline - clock.now()) / 1e9)
            events, self._inbox = self._inbox, []
            session.perform(machine.step(clock.now(), events))

    def _wake(self, event: Event) -> None:
        self._put(event)
        self._bell.ring()

    def _put(self, event: Event) -> None:
        """Bring an event that nobody waits for: it is taken in with the next, or when the machine wants to be called anyway."""
        self._inbox.append(event)

    def _blocked(self, blocked: bool, reason: str) -> None:
        if self._session is not None:
            self._session.blocked(blocked)

    def _returned(self, queue: str, note: str) -> None:
        """Orders found no queue; ``note`` says which (``Session._send``)."""
        if self._session is not None:
            self._wake(Returned(queue.removeprefix(QUEUE_PREFIX), *map(int, note.split("."))))


async def run(settings: Settings) -> None:
    """Run one coordinator on ``settings.broker`` until cancelled, or until SIGTERM or SIGINT.

    Dying is always safe: what is accepted is in the ledger, and the next coordinator goes on from there.
    """
    shard = {} if settings.shard is None else {"shard": settings.shard}
    telemetry = configure(settings.log, settings.log_level, coordinator=settings.name, **shard)
    for one in catalogue().broken:
        telemetry.say("policy_broken", {"kind": one.kind, "policy": one.name, "distribution": one.distribution, "why": one.why})
    give_back_large_blocks()
    gc.freeze()  # what was imported lives as long as we do: no need to look at it again and again
    gc.set_threshold(*GARBAGE)
    task = asyncio.ensure_future(Daemon(settings, telemetry).run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        telemetry.say("stopping", {})
        if (current := asyncio.current_task()) is not None and current.cancelling():
            raise
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
