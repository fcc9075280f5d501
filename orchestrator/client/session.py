"""A producer's sessions with the broker, one after another, told as events.

Law: it opens, looks whether what it needs is there, publishes what it is told, and reports; it decides nothing and
keeps nothing from one session to the next. Each session has a reply queue of its own, exclusive to it and never used
again.

An operator may delete what binds that queue (the exchange of results, or the binding), and nobody is told of that. So
while somebody waits for a result or an answer, an empty ``Results`` is sent that way now and then, to ourselves: if it
comes back the queue is bound again, and it is told that it was not. Who may not publish there binds it each time, and
asks anew in the next session only.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any, NoReturn

from orchestrator.amqp import Delivery, Link, topology
from orchestrator.amqp import Published as Fate
from orchestrator.amqp.errors import AccessRefused, CannotConnect, LinkError, Missing, NoAnswer
from orchestrator.amqp.rule import last_rule
from orchestrator.amqp.supervisor import OpenFailed, SessionEnded, SessionEvent, SessionOpened, keep_session
from orchestrator.amqp.topology import Exchange, Topology, within
from orchestrator.client import events
from orchestrator.client.events import Cause, Event, Verdict
from orchestrator.shards import Rule, UnreadableRule, read
from orchestrator.throttle import Troubles
from orchestrator.wire import codec
from orchestrator.wire.messages import Answer, Results

log = logging.getLogger("orchestrator.client")

SHARED = Topology(
    exchanges=(
        Exchange(topology.TASKS, "direct"),
        Exchange(topology.RESULTS, "direct"),
        Exchange(topology.CONTROL, "direct"),
    )
)
"""What coordinators declare and we need. Publishing to what is not there would cost the session."""

LOOK_FIRST_S = 0.1
LOOK_MOST_S = 1.0
"""How often to look whether a coordinator has declared it by now."""

BOUND_S = 5.0
"""How often to look whether our queue is bound still. It costs the broker a channel and a message."""
ANSWERED_S = 10.0
"""How often to look whether the broker has forgotten to answer a submission; the third time the session is given up."""
PROBE = codec.encode(Results([]))


class Sessions:
    """The supervisor of one client's sessions. ``tell`` is called with every event, from the loop; ``waits`` says whether anybody
    waits for what comes through the reply queue. ``connect_within_s``: how long it is tried to reach the broker for the first time;
    None: for ever, behind whoever began."""

    def __init__(
        self, url: str, *, name: str, nonce: str, dice: Random, tell: Callable[[Event], None],
        waits: Callable[[], bool], connect_within_s: float | None, ssl_context: ssl.SSLContext | None,
    ) -> None:  # fmt: skip
        self.strays = 0
        """Messages in our queue that are neither results nor answers, or cannot be read. They are ignored."""
        self.crash: BaseException | None = None
        """The mistake of ours that ended it."""
        self._open_link = partial(Link.open, url, name=name, ssl_context=ssl_context, on_blocked=self._blocked, look_s=ANSWERED_S)
        self._nonce = nonce
        self._dice = dice
        self._tell = tell
        self._waits = waits
        self._connect_within_s = connect_within_s
        self._began = 0.0
        self._troubles = Troubles()
        self._keeper: asyncio.Task[None] | None = None
        self._stopped = False
        self._tried = asyncio.Event()
        self._refusal: CannotConnect | None = None
        self._link: Link | None = None
        self._reply_to = ""

    async def start(self) -> None:
        """Begin. Returns when the first try is over, well or not (or one that went well, where it has a time limit); later ones go
        on behind. Raises CannotConnect if no waiting helps, or the time is up.
        """
        self._began = asyncio.get_running_loop().time()
        keeping = keep_session(self._open_link, self._session, rng=self._dice, on_event=self._heed)
        self._keeper = asyncio.create_task(keeping, name="orchestrator client: sessions")
        self._keeper.add_done_callback(self._ended)
        await self._tried.wait()
        if self._refusal is not None:
            raise self._refusal

    async def stop(self) -> None:
        """End the session and have no other. It ends though whoever waits here be cancelled."""
        if self._keeper is not None:
            if not self._stopped:  # once: a second time would cut short how it takes its leave
                self._stopped = True
                self._keeper.cancel()
            await asyncio.wait((self._keeper,))

    def publish(self, number: int, shard: str, exchange: str, key: str, body: bytes, *, reply: bool = True, **how: Any) -> None:
        """Send a message; ``Published(number, …)`` is told once the broker has answered. Only within a session."""
        link = self._link
        assert link is not None, "the machines publish only in a session"
        reply_to = self._reply_to if reply else None
        sent = link.send(within(shard, exchange), key, body, reply_to=reply_to, user_id=link.user, **how)
        sent.add_done_callback(partial(self._published, number))

    async def nobody_answers(self, shard: str) -> bool:
        """Whether it is certain that no coordinator of the shard takes questions."""
        if self._link is None:
            return False
        try:
            return (await self._link.stat(within(shard, topology.CONTROL))).consumers == 0
        except LinkError:
            return False

    # --- one session ------------------------------------------------------------------------------------------------

    async def _session(self, link: Link) -> None:
        """Everything that happens within one session; ends when it is cancelled."""
        nonce = f"{self._nonce}-{link.session}"
        reply_to = topology.results_queue(nonce)
        rule = await self._until_declared(link, nonce)
        await link.consume(reply_to, self._delivered, prefetch=0, no_ack=True, body_bytes_max=codec.MAX_LONG_BODY_BYTES)
        self._link, self._reply_to = link, reply_to
        self._tell(events.Opened(rule))
        self._tried.set()
        try:
            await self._stay_bound(link, reply_to, rule)
        finally:
            # told first: what was gathered until now still leaves with this link, and is lost with it
            self._tell(events.Ended(Cause.AWAY, self._broken()))
            self._link = None

    async def _stay_bound(self, link: Link, reply_to: str, rule: Rule) -> NoReturn:
        """Have results find us, as long as anybody waits for one."""
        may_look = True
        while True:
            await asyncio.sleep(BOUND_S)
            lost = False
            for shard in rule.names if self._waits() and not link.blocked else ():
                exchange = within(shard, topology.RESULTS)
                with suppress(Missing, AccessRefused, NoAnswer):  # nobody has made the exchange again yet; a slow broker
                    try:
                        if may_look and await link.reaches(exchange, reply_to, PROBE):
                            continue
                    except AccessRefused:
                        may_look = False
                    await link.bind(exchange, reply_to, reply_to)
                    lost |= may_look
            if lost:
                log.warning(
                    "Results did not find us: %s was not bound, it is so again. All that is waited for is asked for anew.", reply_to
                )
                self._tell(events.Unbound())

    async def _until_declared(self, link: Link, nonce: str) -> Rule:
        """Our own queue, once the exchanges are there that it is bound to: those of every shard; and the rule."""
        pause_s = LOOK_FIRST_S
        while True:
            try:
                await link.check(SHARED)
                rule = read(await last_rule(link))
                await link.declare(topology.results_inbox(nonce, rule.names))
                return rule
            except Missing:
                self._tell(events.Ended(Cause.NO_COORDINATOR))
            except (AccessRefused, UnreadableRule) as refused:
                self._tell(events.Ended(Cause.AWAY, str(refused)))
            self._tried.set()
            await asyncio.sleep(pause_s)  # the broker has no signal for what comes into being
            pause_s = min(pause_s * 2, LOOK_MOST_S)

    # --- what comes from below --------------------------------------------------------------------------------------

    def _heed(self, event: SessionEvent) -> None:
        match event:
            case SessionOpened():
                now_s = asyncio.get_running_loop().time()
                told = {} if self._troubles.silent else self._troubles.told(now_s)
                self._troubles.well(now_s)
                log.log(logging.INFO if told else logging.DEBUG, "%s%s", event, _tries(told))
            case SessionEnded():
                self._warn(event)
            case OpenFailed(error):
                self._tell(events.Ended(Cause.AWAY, f"{error.address}: {error.fault.value}, {error.detail}"))
                if self._is_hopeless(event):
                    self._refusal = error  # whoever opens the client hears it
                else:
                    self._warn(event)
                if self._refusal is not None or self._connect_within_s is None:
                    self._tried.set()

    def _warn(self, event: SessionEnded | OpenFailed) -> None:
        """What is the same trouble at each try is said seldom."""
        told: dict[str, Any] = {}
        if self._troubles.admits(asyncio.get_running_loop().time(), event.trouble, told):
            log.warning("%s%s", event, _tries(told))

    def _is_hopeless(self, failed: OpenFailed) -> bool:
        """Whether nobody should wait for the first session any more."""
        if self._tried.is_set():
            return False
        over_at = self._began + (self._connect_within_s or float("inf"))
        return failed.operator_must_act or asyncio.get_running_loop().time() + failed.retry_in_s > over_at

    def _ended(self, keeper: asyncio.Task[None]) -> None:
        if not keeper.cancelled() and (crash := keeper.exception()) is not None:
            self.crash = crash
            log.critical("This client has failed by a mistake of its own.", exc_info=crash)
            self._tell(events.Close())
        self._tried.set()

    def _blocked(self, blocked: bool, reason: str) -> None:
        if blocked:
            log.warning("The broker has an alarm (%s): submissions wait, and fail when their time is up.", reason)
        self._tell(events.Blocked(reason if blocked else None))

    def _published(self, number: int, fate: asyncio.Future[Fate]) -> None:
        verdict = Verdict[fate.result().name]
        if verdict is Verdict.LOST and (reason := self._broken()):
            self._tell(events.Ended(Cause.AWAY, reason))  # first: whoever gives up with this loss is told by what it was lost
        self._tell(events.Published(number, verdict))

    def _broken(self) -> str:
        """Why the session that still passes for one is over; empty if it is not, or if nobody knows."""
        broken = None if self._link is None else self._link.broken
        return broken.result().reason if broken is not None and broken.done() and not broken.cancelled() else ""

    def _delivered(self, delivery: Delivery) -> None:
        match codec.decode(delivery.body):
            case Results(items):
                self._tell(events.Arrived(items))
            case Answer() as answer:
                self._tell(events.Answered(answer))
            case _:
                self.strays += 1


def _tries(told: dict[str, Any]) -> str:
    return f" ({told['tries']} tries in {told['for_s']:.0f} s)" if told else ""
