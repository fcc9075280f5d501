"""The agent's shell: carries events into the core and commands out of it. On a loop and a thread of its own.

Law: the shell never thinks. It lives apart from the user's code, so that a handler which blocks its loop for
ten seconds does not make the instance look dead. One step takes all that one loop turn brought; between a step
and submitting its commands there is no ``await``. Every ``Connect`` is answered by ``Connected`` or
``Disconnected``, and every ``Connected`` by one ``Disconnected`` in the end.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from orchestrator.amqp import Delivery, Link, Published, topology
from orchestrator.amqp.errors import OPERATOR_MUST_ACT, Broken, BrokenBy, CannotConnect, LinkError, Missing
from orchestrator.amqp.rule import last_rule
from orchestrator.amqp.topology import Exchange, Topology
from orchestrator.shards import UnreadableRule, read
from orchestrator.vocabulary import DEFAULT_SHARD, NS_PER_S
from orchestrator.wire.codec import MAX_LONG_BODY_BYTES, Malformed, decode, encode
from orchestrator.wire.messages import Echo, Notes, Orders
from workers.clock import steady_ns, unix_ns
from workers.core import Agent
from workers.core.commands import CloseConnection, Command, Connect, Finish, Publish, StartJob, StopJob, Told
from workers.core.events import (
    Connected,
    Disconnected,
    Echoed,
    Event,
    Flushed,
    JobDone,
    JobFailed,
    JobStarted,
    JobStopped,
    Ordered,
    TimePassed,
    WallClock,
)
from workers.jobs import Permit
from workers.live.logbook import Logbook, shortened, way
from workers.mailbox import Mailbox

HEARS = frozenset({"orders", "echo"})
"""The kinds of message that are for agents."""
HEARTBEAT_S = 5
SAME_TROUBLE_NS = 60 * NS_PER_S
"""A broker that is away is tried every few seconds, and spoken of once a minute."""
TOGETHER_NS = 5 * NS_PER_S
"""Who is started together with the first coordinator is not told meanwhile that none has ever run."""
WORDS: dict[type, str] = {JobStarted: "started", JobDone: "done", JobStopped: "stopped", JobFailed: "failed"}
"""What the log says when a job says so."""
LAST_WORDS_S = 1.0
"""How long a connection that is closed on purpose waits for what was said last to be confirmed."""


class NoSuchShard(Exception):
    """We were told to serve a shard that is not there: it is waited for."""


class Runner(Protocol):
    """Who runs jobs: ``workers.jobs.Jobs``, or somebody who only seems to. Both answer as the commands promise."""

    def start(self, command: StartJob, incarnation: str) -> None: ...
    def stop(self, command: StopJob) -> None: ...


class Shell:
    """One agent's life. Everything but ``post`` belongs to the agent's own loop."""

    def __init__(self, agent: Agent, url: str, logbook: Logbook, permit: Permit, shard: str = "") -> None:
        self._agent = agent
        self._url = url
        self._told_shard = shard
        self._shard = shard
        """Empty: not known yet. Found once; tasks that wait in a shard count on the agents that are there."""
        self._logbook = logbook
        self._permit = permit
        self._loop = asyncio.get_running_loop()
        self._mailbox: Mailbox[Event] = Mailbox(self._loop, self._step)
        self._finished: asyncio.Future[str] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        """When it is due."""
        self._link: Link | None = None
        self._opening: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._under_way: set[asyncio.Future[Published]] = set()
        self._incarnation = ""
        self._trouble = ""
        self._told_again_ns = 0
        self._alone_ns = 0
        """Since when nobody has ever coordinated here, as far as we have seen; 0: it is not so."""
        self._heard: dict[type, str] = {kind: word for kind, word in WORDS.items() if logbook.hears(word)}
        """Of these, what anybody would hear: it is said of every task."""
        self._jobs: Runner | None = None
        self.post: Callable[[Event], None] = self._mailbox.put
        """Bring an event, from any thread."""

    async def live(self, jobs: Runner) -> str:
        """From the first step to ``Finish``; returns why it ended. A bug in the core ends it too, as an exception."""
        self._jobs = jobs
        self._step([TimePassed()])
        try:
            return await self._finished
        finally:
            self._permit.set(("", 0))
            if self._timer is not None:
                self._timer.cancel()
            await self._hang_up()

    # --- stepping ---------------------------------------------------------------------------------

    def _step(self, events: list[Event]) -> None:
        if self._finished.done():
            return
        try:
            self._note(events)
            now_ns = steady_ns()
            commands = self._agent.step(now_ns, WallClock(unix_ns()), *events)
            self._permit.set(self._agent.permit)
            for command in commands:
                self._perform(command)
            self._sleep(now_ns)
        except Exception as bug:  # a bug of ours: it ends the agent, which raises it where it was started
            if not self._finished.done():
                self._finished.set_exception(bug)

    def _sleep(self, now_ns: int) -> None:
        due_ns = self._agent.next_deadline()
        if self._timer is not None:
            if due_ns == self._timer_ns:
                return  # mostly: the next beat is the next
            self._timer.cancel()
            self._timer = None
        if due_ns is not None:
            self._timer_ns = due_ns
            self._timer = self._loop.call_later(max(due_ns - now_ns, 0) / NS_PER_S, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._step([*self._mailbox.empty(), TimePassed()])

    def _perform(self, command: Command) -> None:
        match command:
            case StartJob():
                assert self._jobs is not None
                self._jobs.start(command, self._incarnation)
            case Publish():
                self._publish(command)
            case StopJob():
                assert self._jobs is not None
                self._jobs.stop(command)
            case Told(word=word, number=number, text=text, attempt=attempt):
                self._logbook.say(word, number=number, detail=text, attempt=str(attempt) if attempt else None)
            case Connect():
                self._opening = self._loop.create_task(self._open())
                self._opening.add_done_callback(self._opened)
            case CloseConnection():
                self._close()
            case Finish(reason=reason):
                self._finished.set_result(reason)

    def _publish(self, command: Publish) -> None:
        link = self._link
        if link is None:
            return  # the loss is on its way to the core
        message, durable = command.message, command.durable
        spoken = durable or isinstance(message, Notes)
        future = link.send(
            topology.AGENTS,
            topology.KEY_REPORTS if durable else topology.KEY_REGISTRY,
            encode(message),
            mandatory=durable,
            persistent=durable,
            user_id=link.user,
            over="publish" if spoken else "beats",
        )
        self._under_way.add(future)
        future.add_done_callback(partial(self._published, link, command.token))

    def _published(self, link: Link, token: int, future: asyncio.Future[Published]) -> None:
        self._under_way.discard(future)
        if not token or link is not self._link:
            return
        arrived = future.result() is Published.CONFIRMED
        awaited = not arrived or self._agent.awaits_flush
        (self._mailbox.put if awaited else self._mailbox.leave)(Flushed(token, arrived))

    # --- a connection -----------------------------------------------------------------------------

    async def _open(self) -> None:
        incarnation = secrets.token_hex(16)
        link: Link | None = None
        try:
            link = await Link.open(
                self._url,
                name=f"worker {self._agent.profile.instance}",
                connections=("consume", "publish", "beats"),
                incarnation=incarnation,
                heartbeat_s=HEARTBEAT_S,
                on_blocked=self._blocked,
            )
            link.shard = self._shard = await self._find_shard(link)
            await link.declare(topology.agent_inbox(incarnation))
            queue = topology.agent_queue(incarnation)
            sink = partial(self._delivered, link)
            await link.consume(queue, sink, prefetch=0, no_ack=True, body_bytes_max=MAX_LONG_BODY_BYTES)
        except (LinkError, UnreadableRule, NoSuchShard) as trouble:
            self._unreachable(trouble)
            if link is not None:
                await link.close()
            self._opening = None
            self.post(Disconnected(str(trouble)))
            return
        except BaseException:  # cancelled: whoever did it says so to the core
            if link is not None:
                await link.close()
            raise
        self._opening = None
        self._alone_ns = 0
        self._link = link
        self._incarnation = incarnation
        shard = link.shard if link.shard != DEFAULT_SHARD else None
        self._logbook.say("connected", incarnation=incarnation, broker=link.server_version, shard=shard)
        self.post(Connected(incarnation))
        link.broken.add_done_callback(partial(self._broke, link))

    def _opened(self, opening: asyncio.Task[None]) -> None:
        """Whatever else it ended with is a bug, and must be seen: nobody would ever connect again."""
        if not opening.cancelled() and (bug := opening.exception()) is not None and not self._finished.done():
            self._finished.set_exception(bug)

    async def _find_shard(self, link: Link) -> str:
        """Where tasks for our service go, or where we were told to be.

        Raises LinkError (Missing: no coordinator has ever run), UnreadableRule, NoSuchShard.
        """
        await link.check(Topology(exchanges=(Exchange(topology.AGENTS, "direct"),)))
        rule = read(await last_rule(link))
        if self._shard in rule.names:
            return self._shard
        if self._told_shard:
            raise NoSuchShard(f"there is no shard {self._told_shard!r}; the coordinators have: {', '.join(rule.names)}")
        return rule.of(self._agent.profile.service)

    def _unreachable(self, trouble: Exception) -> None:
        now_ns = steady_ns()
        if isinstance(trouble, Missing):
            self._alone_ns = self._alone_ns or now_ns
            if now_ns < self._alone_ns + TOGETHER_NS:
                self._logbook.say("early", detail=str(trouble))
                return
        else:
            self._alone_ns = 0
        if self._trouble == str(trouble) and now_ns < self._told_again_ns:
            return
        self._trouble, self._told_again_ns = str(trouble), now_ns + SAME_TROUBLE_NS
        if isinstance(trouble, Missing):
            self._logbook.say("nobody_coordinates", detail=str(trouble))
        else:
            hopeless = isinstance(trouble, CannotConnect) and trouble.fault in OPERATOR_MUST_ACT
            self._logbook.say("unreachable", detail=str(trouble), waiting_helps=not hopeless)

    def _broke(self, link: Link, future: asyncio.Future[Broken]) -> None:
        """The session is over, by itself or because we closed it."""
        if link is not self._link:
            return
        self._link = None
        broken = future.result()
        if broken.by is BrokenBy.BUG and broken.error is not None and not self._finished.done():
            self._finished.set_exception(broken.error)
        self._trouble = ""
        self.post(Disconnected(str(broken)))
        self._spawn(link.close())

    def _close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
            self.post(Disconnected("given up"))
        elif self._link is not None:
            self._spawn(self._close_after_last_words(self._link))

    async def _close_after_last_words(self, link: Link) -> None:
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=LAST_WORDS_S)
        await link.close()

    async def _hang_up(self) -> None:
        """Nothing of ours may outlive us."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        link, self._link = self._link, None
        if link is not None:
            await self._close_after_last_words(link)
        if self._closing:
            await asyncio.wait(self._closing)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    # --- what comes in ----------------------------------------------------------------------------

    def _delivered(self, link: Link, delivery: Delivery) -> None:
        if link is not self._link:
            return  # before the core has heard of it, or after
        message = Malformed("bytes", delivery.flaw, "", b"", 0) if delivery.flaw else decode(delivery.body, brief=True, hears=HEARS)
        if isinstance(message, Orders):
            self.post(Ordered(message))
        elif isinstance(message, Echo):
            self.post(Echoed(message))
        elif not self._logbook.leaves_out("malformed"):
            detail = delivery.flaw or str(decode(delivery.body, hears=HEARS))
            self._logbook.say("malformed", detail=detail, exchange=delivery.exchange, user=delivery.user_id)

    def _blocked(self, blocked: bool, reason: str) -> None:
        self._logbook.say("blocked" if blocked else "unblocked", detail=reason)

    def _note(self, events: list[Event]) -> None:
        """Before the step, after which nothing is known any more of a job that has ended."""
        for event in events:
            if (word := self._heard.get(type(event))) is None:
                continue
            assert isinstance(event, JobStarted | JobDone | JobStopped | JobFailed)
            if isinstance(event, JobFailed) and self._logbook.leaves_out(word):
                continue
            job = self._agent.work.holdings.get(event.attempt)
            fields: dict[str, Any] = {"task": job.assignment.task, "handler": job.assignment.handler} if job is not None else {}
            if isinstance(event, JobFailed):
                fields |= {"error": event.error.kind, "message": shortened(event.error.message), "at": way(event.error.trace)}
                fields["may_retry"] = event.retry
            self._logbook.say(word, attempt=str(event.attempt), **fields)
