"""The asyncio side of a producer: timers and futures around the two machines.

Law: it decides nothing. Whatever happens becomes an event for ``core.Producer`` or ``questions.Questions``; their
commands are carried out at once, in order, without an ``await`` between. Submissions of one turn of the event loop
enter the machine together, at the end of that turn or as soon as they fill a message: that costs a lone one nothing, a
thousand concurrent ones become a few messages, and of twenty thousand the first are at work while the last are still
being worded.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
import ssl
import time
from collections.abc import Sequence
from typing import Any

from orchestrator.amqp import topology
from orchestrator.client import events, forks
from orchestrator.client.calls import Call, judge_batch
from orchestrator.client.core import Producer
from orchestrator.client.errors import (
    ClientClosed,
    ClientMisused,
    not_answered,
    not_possible,
    not_submitted,
)
from orchestrator.client.events import Cause, Event, Parcel, Problem
from orchestrator.client.handle import Gate, Handle
from orchestrator.client.lanes import Limits, weight
from orchestrator.client.outstanding import Outstanding
from orchestrator.client.questions import Questions
from orchestrator.client.room import Room
from orchestrator.client.session import Sessions
from orchestrator.vocabulary import DEFAULT_SHARD, NS_PER_MS, Nanos, TaskId, ns, seconds
from orchestrator.wire import codec
from orchestrator.wire.messages import Answer, Control, Submit, Task

_TASK_EVENTS = (events.Submitted, events.Withdrawn, events.Arrived)
_QUESTION_EVENTS = (events.Asked, events.Dropped, events.Answered)


class Shell:
    """One producer. Belongs to the event loop and the process in which it was opened."""

    def __init__(
        self,
        url: str,
        *,
        name: str,
        accept_within_ns: Nanos,
        unconfirmed_max: int,
        limits: Limits,
        connect_within_s: float | None,
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        dice = random.Random(secrets.randbits(64))
        prefix = secrets.token_hex(8)
        self.producer = Producer(dice, limits)
        self.sessions = Sessions(
            url, name=name, nonce=prefix, dice=dice, tell=self._step, waits=lambda: bool(self._outstanding or self._asked),
            connect_within_s=connect_within_s, ssl_context=ssl_context,
        )  # fmt: skip
        self._questions = Questions()
        self._accept_within_ns = accept_within_ns
        self._prefix = prefix
        self._ids = itertools.count(1)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process: object = None
        self._closed = False
        self._room = Room(unconfirmed_max)
        self._calm: asyncio.Future[None] | None = None
        self._met: asyncio.Future[None]
        """Once open: there has been a session, or there will be none."""
        self._outstanding = Outstanding(self._room)
        self._asked: dict[str, asyncio.Future[Answer | Problem]] = {}
        self._arrivals: list[Parcel] = []
        self._arrived_bytes = 0
        self._limits = limits
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: Nanos | None = None

    # --- life -------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Begin, as ``Sessions.start``. Raises CannotConnect if no waiting helps or its time is up, ClientMisused if it was
        opened before.
        """
        if self._loop is not None:
            raise ClientMisused("This client was opened before. Make a new Client for each `async with`.")
        self._loop = asyncio.get_running_loop()
        self._met = self._loop.create_future()
        self._process = forks.here
        try:
            await self.sessions.start()
        except BaseException:
            await self.close(0)
            raise

    async def close(self, grace_s: float) -> None:
        """Wait for confirms at most ``grace_s``, tell everybody who still waits, end the session. Idempotent, also where several do
        it at a time; cancelled, it waits for no more confirms, and does the rest.
        """
        if self._loop is None or forks.here is not self._process:
            return  # never opened; or it is the forked copy of somebody else's
        self._closed = True
        self._flush()
        try:
            if self.producer.unconfirmed and self.sessions.crash is None:
                if self._calm is None:
                    self._calm = self._loop.create_future()
                await asyncio.wait((self._calm,), timeout=grace_s)
        finally:
            self._step(events.Close())
            await self.sessions.stop()

    def judge_caller(self) -> None:
        """Raises ClientMisused unless this is the loop and the process that the client belongs to."""
        if self._loop is None:
            raise ClientMisused("This client is not open. Use it inside `async with Client(url) as client:`.")
        if forks.here is not self._process:
            raise ClientMisused(
                "This client belongs to the process that opened it, and this one was forked from it: two processes on one "
                "connection would break it for both. Nothing was sent. Open a client in each process."
            )
        if asyncio.get_running_loop() is not self._loop:
            raise ClientMisused(
                "This client belongs to the event loop that opened it, and is used from another loop or thread. Nothing was "
                "sent. Open one client per loop; for threads and plain functions there is SyncClient."
            )

    def judge_use(self) -> None:
        """As ``judge_caller``; also raises ClientClosed."""
        self.judge_caller()
        if self.sessions.crash is not None:
            raise ClientClosed(
                f"This client has failed by a mistake of its own ({self.sessions.crash!r}): nothing was sent. Open a new one, "
                "and report this."
            ) from self.sessions.crash
        if self._closed:
            raise ClientClosed("This client is closed: nothing was sent. Open a new one.")

    # --- submitting -------------------------------------------------------------------------------------------------

    def fresh_id(self) -> TaskId:
        """A task id that nobody else makes."""
        return f"{self._prefix}-{next(self._ids)}"

    def try_enter(self, calls: Sequence[Call]) -> list[Handle] | None:
        """Submit these together, if there is room for them now; the confirm is the handles' gate.

        Raises ValueError for what cannot be submitted; ClientClosed, ClientMisused.
        """
        self.judge_use()
        tasks = tuple([call.task for call in calls])
        bytes_ = weight(tasks)
        judge_batch(tasks, bytes_)
        if known := self._outstanding.known(calls):
            return known
        if not self._room.try_take(len(calls)):
            return None
        within_ns = _patience(calls, self._accept_within_ns)
        return self._admit(calls, tasks, bytes_, within_ns, time.monotonic_ns() + within_ns)

    async def enter(self, calls: Sequence[Call]) -> list[Handle]:
        """As ``try_enter``; where that finds too many unconfirmed, this waits. Raises SubmitTimeout, BacklogFull too."""
        if (handles := self.try_enter(calls)) is not None:
            return handles
        within_ns = _patience(calls, self._accept_within_ns)
        by = time.monotonic_ns() + within_ns
        try:
            await self._room.take(len(calls), seconds(within_ns))
        except TimeoutError:
            first = calls[0].task
            problem = Problem(*self.producer.trouble(), may_run=False)
            raise not_submitted(first.id, first.type, seconds(within_ns), problem) from None
        try:
            self.judge_use()
            known = self._outstanding.known(calls)
        except BaseException:
            self._room.give(len(calls))
            raise
        if known:
            self._room.give(len(calls))
            return known
        tasks = tuple([call.task for call in calls])
        return self._admit(calls, tasks, weight(tasks), within_ns, by)

    def _admit(self, calls: Sequence[Call], tasks: tuple[Task, ...], bytes_: int, within_ns: Nanos, by: Nanos) -> list[Handle]:
        """There is room for these: they enter the machine at the end of this turn of the loop, or once they fill a message."""
        gate = Gate(self, tasks[0].id, len(calls), seconds(within_ns))
        handles = []
        for call in calls:
            task = call.task
            handle = Handle(task.id, task.type, task.tenant, call.reply, task, gate, self)
            self._outstanding.put(handle)
            handles.append(handle)
        if not self._arrivals and self._loop is not None:
            self._loop.call_soon(self._flush)
        self._arrivals.append(Parcel(tasks, by, calls[0].reply, bytes_))
        self._arrived_bytes += bytes_
        if len(self._arrivals) >= self._limits.tasks or self._arrived_bytes >= self._limits.bytes:
            self._flush()
        return handles

    def withdraw(self, task: TaskId) -> None:
        """Whoever waited for the confirm was cancelled: take the submission that it is of back, if that is possible."""
        self._step(events.Withdrawn(task))

    # --- asking -----------------------------------------------------------------------------------------------------

    async def shards(self, timeout_s: float) -> tuple[str, ...]:
        """All shards, as the last session found them. Raises NoCoordinator if there is none in time, ClientClosed."""
        self.judge_use()
        if not self._met.done():
            await asyncio.wait((self._met,), timeout=timeout_s)
            self.judge_use()  # it may have been closed meanwhile
        if not self._met.done():
            raise not_answered("shards", timeout_s, Problem(*self.producer.trouble(), may_run=False))
        return self.producer.rule.names

    async def ask(self, op: str, args: dict[str, Any], timeout_s: float, shard: str = DEFAULT_SHARD) -> Any:
        """The answer of the shard's coordinator. Raises NoCoordinator, AskRefused, ClientClosed."""
        self.judge_use()
        question = Control(self.fresh_id(), op, args)
        codec.encode(question)  # raises for what has no bytes, before anything is sent
        answer = await self._answer(question, time.monotonic_ns() + ns(timeout_s), shard)
        if isinstance(answer, Problem):
            if answer.cause is Cause.SILENT and await self.sessions.nobody_answers(shard):
                answer = Problem(Cause.UNROUTED, "", may_run=False)  # it has expired where it waited
            raise not_answered(op, timeout_s, answer)
        if not answer.ok:
            raise not_possible(op, answer.error or codec.error("unknown", "it did not say why"))
        return answer.value

    async def _answer(self, question: Control, by: Nanos, shard: str) -> Answer | Problem:
        asker: asyncio.Future[Answer | Problem] = asyncio.get_running_loop().create_future()
        self._asked[question.id] = asker
        try:
            self._step(events.Asked(question, by, shard))
            return await asker
        finally:
            if self._asked.pop(question.id, None) is not None:
                self._step(events.Dropped(question.id))

    def _tell(self, question: str, answer: Answer | Problem) -> None:
        asker = self._asked.pop(question)
        if not asker.done():  # else it was cancelled in this very turn
            asker.set_result(answer)

    # --- the machines -----------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        if self._arrivals:
            arrivals, self._arrivals, self._arrived_bytes = self._arrivals, [], 0
            self._feed(events.Submitted(tuple(arrivals)))

    def _step(self, event: Event) -> None:
        self._flush()
        self._feed(event)

    def _feed(self, event: Event) -> None:
        now = time.monotonic_ns()
        if not isinstance(event, _QUESTION_EVENTS):
            self._obey(self.producer.step(now, event))
        if not isinstance(event, _TASK_EVENTS):
            self._obey(self._questions.step(now, event))
            if isinstance(event, events.Opened | events.Close) and not self._met.done():
                self._met.set_result(None)
        self._set_timer(now)
        if self._calm is not None and not self._calm.done() and not self.producer.unconfirmed:
            self._calm.set_result(None)

    def _obey(self, commands: Sequence[events.Command]) -> None:
        for command in commands:
            match command:
                case events.Publish():
                    self._publish(command)
                case events.Confirmed() | events.Deliver() | events.GaveUp() | events.Abandoned():
                    self._outstanding.heed(command)
                case events.Say(number, question, by, shard):
                    left_ms = max(1, (by - time.monotonic_ns()) // NS_PER_MS)
                    where = (shard, topology.CONTROL, topology.KEY_CONTROL)
                    self.sessions.publish(number, *where, codec.encode(question), persistent=False, expiration_ms=left_ms)
                case events.Reply(answer):
                    self._tell(answer.id, answer)
                case events.NoAnswer(name, problem):
                    self._tell(name, problem)

    def _publish(self, command: events.Publish) -> None:
        """Send these tasks. What has no bytes was refused when it was said; should any come all the same, it alone is given up, and
        neither its lane nor the session in which it waited."""
        try:
            body = codec.encode(Submit(command.tasks))
        except (ValueError, OverflowError, TypeError):
            fault = events.Unsayable(command.number, _without_bytes(command.tasks))
            asyncio.get_running_loop().call_soon(self._step, fault)  # the machine is told between steps
        else:
            self.sessions.publish(command.number, command.shard, topology.TASKS, command.key, body, reply=command.reply)

    def _set_timer(self, now: Nanos) -> None:
        deadlines = [at for at in (self.producer.next_deadline(), self._questions.next_deadline()) if at is not None]
        at = min(deadlines, default=None)
        if at == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = at
        if at is not None and self._loop is not None:
            self._timer = self._loop.call_later(seconds(max(at - now, NS_PER_MS // 2)), self._tick)

    def _tick(self) -> None:
        self._timer, self._timer_at = None, None
        self._step(events.Tick())


def _patience(calls: Sequence[Call], usual_ns: Nanos) -> Nanos:
    """How long their submission may take: as long as the most patient of them says."""
    longest = 0
    for call in calls:
        within_ns = usual_ns if call.accept_within_ns is None else call.accept_within_ns
        if within_ns > longest:
            longest = within_ns
    return longest


def _without_bytes(tasks: Sequence[Task]) -> dict[TaskId, str]:
    """Those of these tasks that cannot be encoded, and why."""
    found = {}
    for task in tasks:
        try:
            codec.encode(Submit([task]))
        except (ValueError, OverflowError, TypeError) as fault:
            found[task.id] = f"{type(fault).__name__}: {fault}"
    return found
