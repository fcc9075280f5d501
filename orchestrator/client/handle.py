"""What a producer holds of a task that it submitted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct

from orchestrator.client.calls import Span, span_ns
from orchestrator.client.errors import ClientMisused, ResultTimeout, ValueUnreadable, not_done
from orchestrator.vocabulary import TaskId, seconds
from orchestrator.wire.codec import CannotUnpack, unpack
from orchestrator.wire.messages import Result, Task

if TYPE_CHECKING:
    from orchestrator.client.shell import Shell

Lost: TypeAlias = Callable[[], Exception]
"""Why there will be no result: makes the exception, a new one for everybody who asks."""


class Signal(Struct, eq=False, kw_only=True):
    """Something that happens once, and those who wait for it. One event loop; lighter than an Event, as there are many.

    Nearly always one waits: it needs no list.
    """

    given: bool = False
    _waiter: asyncio.Future[None] | None = None
    _others: list[asyncio.Future[None]] | None = None

    def give(self) -> None:
        """It has happened. Everybody who waits goes on."""
        self.given = True
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        if self._others is not None:
            others, self._others = self._others, None
            for each in others:
                if not each.done():
                    each.set_result(None)

    @property
    def awaited(self) -> bool:
        """Whether anybody waits."""
        first = self._waiter is not None and not self._waiter.done()
        return first or (self._others is not None and not all(each.done() for each in self._others))

    def next_waiter(self) -> asyncio.Future[None]:
        """A future of one's own to wait on, while it has not happened."""
        each: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._waiter is None or self._waiter.done():  # who polls with a timeout leaves the dead behind
            self._waiter = each
            return each
        if self._others is None:
            self._others = []
        elif len(self._others) % 16 == 15:
            self._others = [other for other in self._others if not other.done()]
        self._others.append(each)
        return each


class Gate(Signal, eq=False):
    """The wait for the broker's confirms of one or more tasks. Opens when all are there, or with the first that will not come."""

    _shell: Shell
    _task: TaskId
    """One of those that were submitted together."""
    _left: int
    """How many are not confirmed yet."""
    within_s: float
    """How long it may take."""
    _loss: Lost | None = None

    def __await__(self) -> Generator[Any, None, None]:
        """Wait until all are confirmed, or raise what came instead. Cancelled, they are taken back, if they can be and nobody
        else waits."""
        if not self.given:
            try:
                yield from self.next_waiter()
            except asyncio.CancelledError:
                if not self.awaited:
                    self._shell.withdraw(self._task)
                raise
        if self._loss is not None:
            raise self._loss()

    def confirm(self) -> None:
        """One more is confirmed."""
        self._left -= 1
        if self._left == 0:
            self.give()

    def fail(self, loss: Lost) -> None:
        """One will not be."""
        if not self.given:
            self._loss = loss
            self.give()


class Handle(Signal, eq=False):
    """One task that was submitted. ``await handle`` is its value, or raises why there is none. Made by ``Client``."""

    id: TaskId
    type: str
    _tenant: str
    reply: bool
    task: Task | None
    """Until it has ended."""
    gate: Gate
    _shell: Shell
    _end: Result | Lost | None = None

    def __repr__(self) -> str:
        state = self._end.outcome if isinstance(self._end, Result) else "lost" if self._end else "submitted"
        return f"<Handle {self.id} {self.type} {state}>"

    def __await__(self) -> Generator[Any, None, Any]:
        if self._end is None:
            self._judge_asker()
            yield from self.next_waiter()
        return self._value(self._known())

    async def result(self, timeout: Span | None = None) -> Any:  # noqa: ASYNC109  # raises an error of ours, with advice
        """The value that the handler returned. Waits at most ``timeout`` (seconds, ``"5m"``, a timedelta).

        Raises TaskFailed, TaskCancelled, TaskExpired, TaskSkipped, TaskRefused; ResultTimeout (the task goes on); SubmitTimeout
        and BacklogFull if it was never confirmed; ClientClosed.
        """
        return self._value(await self.outcome(timeout))

    def _value(self, result: Result) -> Any:
        if result.outcome != "done":
            raise not_done(self.id, self.type, result)
        if result.value is None:
            return None
        try:
            return unpack(result.value)
        except CannotUnpack as fault:
            raise ValueUnreadable(
                f"Task {self.id} ({self.type}) is done, but what its handler returned cannot be read: {fault}. It will not run "
                f"again. Correct the worker that answered ({result.instance or 'unknown'}).",
                self.id,
                result,
            ) from None

    async def outcome(self, timeout: Span | None = None) -> Result:  # noqa: ASYNC109  # as above
        """How it ended, whichever way: outcome, packed value or error, attempts, times. Raises as ``result``, but for
        the Task… ones.
        """
        self._judge_asker()
        if self._end is None and timeout is None:
            await self.next_waiter()
        elif self._end is None and timeout is not None:
            within_s = seconds(span_ns(timeout, "timeout"))
            try:
                async with asyncio.timeout(within_s):
                    await self.next_waiter()
            except TimeoutError:
                if self._end is None:
                    raise ResultTimeout(
                        f"Task {self.id} ({self.type}) has not ended within {within_s:g} s. It goes on. Wait longer, "
                        f"cancel it, or see `orchestrator why {self.id}`.",
                        self.id,
                    ) from None
        return self._known()

    def _judge_asker(self) -> None:
        self._shell.judge_caller()
        if not self.reply:
            raise ClientMisused(
                f"Task {self.id} ({self.type}) was submitted with reply=False, so nobody here hears how it ends. It runs all the "
                "same. Leave reply=False out where the result is wanted."
            )

    def _known(self) -> Result:
        if isinstance(self._end, Result):
            return self._end
        assert self._end is not None
        raise self._end()

    @property
    def first(self) -> TaskId:
        """The id of the task that did the work: another one with the same key, or this one. Known once it has ended."""
        if isinstance(self._end, Result) and self._end.first is not None:
            return self._end.first
        return self.id

    def done(self) -> bool:
        """Whether the end is known here: ``await`` would not wait."""
        return self._end is not None

    async def cancel(self) -> bool:
        """Ask for it not to run (any more). Whether it will end as cancelled, as far as can be told now; False: it
        ended before.

        Raises NoCoordinator if nobody answered in time.
        """
        answer = await self._shell.ask("cancel", {"task": self.id}, 5.0, self.shard)
        return bool(answer.get("cancelled")) if isinstance(answer, dict) else False

    async def prioritise(self, priority: int) -> None:
        """Give it another priority (-1000 to 1000, higher goes first). If it waits, it takes its new place at once, where the
        ordering of its service looks at priority.

        Raises AskRefused if it has ended or is not known, NoCoordinator if nobody answered in time.
        """
        await self._shell.ask("priority", {"task": self.id, "priority": priority}, 5.0, self.shard)

    @property
    def shard(self) -> str:
        """Where it was sent; of one that has ended, or has not been sent yet, where it belongs."""
        return self._shell.producer.shard_of(self.task or Task(self.id, self.type, tenant=self._tenant))

    def when_done(self, call: Callable[[Handle], None]) -> None:
        """Call back, once, from the loop, as soon as the end is known."""
        if self._end is not None:
            asyncio.get_running_loop().call_soon(call, self)
        else:
            self.next_waiter().add_done_callback(lambda _: call(self))

    def end(self, how: Result | Lost) -> None:
        """The shell knows how it ended."""
        self._end = how
        self.task = None
        self.give()
