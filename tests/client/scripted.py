"""A coordinator that follows a script: it speaks the protocol on a real broker, and forgets nothing.

It takes submissions (a task with the same id once), answers them as ``answer`` says, sends results to the newest
reply queue, and answers what was answered before when it is submitted again. Its memory survives its sessions: a
broker that dies takes nothing from it.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

from orchestrator.amqp import Delivery, Link, topology
from orchestrator.amqp.supervisor import keep_session
from orchestrator.wire import codec
from orchestrator.wire.messages import Answer, Control, Error, Result, Results, Submit, Task

Script: TypeAlias = Callable[[Task], Result | None]
"""How a task ends; None: not yet."""


def echo(task: Task) -> Result:
    """Returns its arguments."""
    return Result(task.id, "done", task.args, attempts=1)


def never(task: Task) -> None:
    """Waits for ever."""


class Scripted:
    """See above. ``ready`` is set while it is in session."""

    def __init__(self, url: str, answer: Script = echo, *, intake_max_bytes: int | None = None) -> None:
        self.url = url
        self.answer = answer
        self.intake_max_bytes = intake_max_bytes
        self.ready = asyncio.Event()
        self.tasks: dict[str, Task] = {}
        self.results: dict[str, Result] = {}
        self.reply_to: dict[str, str | None] = {}
        self.submissions = 0
        self.times_submitted: Counter[str] = Counter()
        self.users: set[str | None] = set()
        self.questions: list[Control] = []
        self.news = asyncio.Condition()
        self.takes = True
        """Whether it consumes at all; read when a session begins."""
        self.link: Link | None = None

    async def run(self) -> None:
        """Coordinate until cancelled."""

        async def open_link() -> Link:
            return await Link.open(self.url, name="scripted coordinator")

        await keep_session(open_link, self._session, rng=random.Random(1), on_event=lambda _: None)

    async def _session(self, link: Link) -> None:
        base = topology.base(ledger_max_bytes=10_000_000, ledger_segment_bytes=1_000_000, intake_max_bytes=self.intake_max_bytes)
        names = topology.Topology(  # it needs no ledger: its memory is its own
            base.exchanges,
            tuple(queue for queue in base.queues if queue.name != topology.LEDGER),
            tuple(binding for binding in base.bindings if binding.queue != topology.LEDGER),
        )
        await link.declare(names)
        self.link = link
        if self.takes:
            await link.consume(topology.TASKS, self._submitted, prefetch=1000)
            await link.consume(topology.CONTROL, self._asked, prefetch=100)
        self.ready.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.ready.clear()
            self.link = None

    def _submitted(self, delivery: Delivery) -> None:
        message = codec.decode(delivery.body)
        assert isinstance(message, Submit), message
        assert self.link is not None
        self.submissions += 1
        self.users.add(delivery.user_id)
        results = []
        for task in message.tasks:
            self.times_submitted[task.id] += 1
            if self.tasks.setdefault(task.id, task) != task:
                results.append(Result(task.id, "refused", error=Error("conflict", "the id stands for other content")))
                continue
            self.reply_to[task.id] = delivery.reply_to
            if task.id not in self.results and (result := self.answer(task)) is not None:
                self.results[task.id] = result
            if task.id in self.results:
                results.append(self.results[task.id])
        self._send(delivery.reply_to, results)
        self.link.settle([delivery])

    def end(self, *results: Result) -> None:
        """These end now."""
        for result in results:
            self.results[result.task] = result
            self._send(self.reply_to[result.task], [result])

    def _send(self, reply_to: str | None, results: list[Result]) -> None:
        if reply_to and results and self.link is not None:
            self.link.send(topology.RESULTS, reply_to, codec.encode(Results(results)), persistent=False)

    def _asked(self, delivery: Delivery) -> None:
        question = codec.decode(delivery.body)
        assert isinstance(question, Control), question
        assert self.link is not None
        self.questions.append(question)
        self.link.settle([delivery])
        match question.op:
            case "ping":
                answer = Answer(question.id, True, {"pong": question.args})
            case "cancel":
                name = question.args["task"]
                ended = name in self.results
                if not ended:
                    self.end(Result(name, "cancelled", error=Error("cancelled", "somebody asked for it")))
                answer = Answer(question.id, True, {"cancelled": not ended})
            case "silence":
                return
            case _:
                answer = Answer(question.id, False, error=Error("unknown_op", f"there is no operation {question.op!r}"))
        assert delivery.reply_to
        self.link.send(topology.RESULTS, delivery.reply_to, codec.encode(answer), persistent=False)


@asynccontextmanager
async def coordinating(url: str, answer: Script = echo, *, intake_max_bytes: int | None = None) -> AsyncIterator[Scripted]:
    """A scripted coordinator that is in session."""
    scripted = Scripted(url, answer, intake_max_bytes=intake_max_bytes)
    async with running(scripted):
        yield scripted


@asynccontextmanager
async def running(scripted: Scripted) -> AsyncIterator[None]:
    """Let it coordinate for a while."""
    runner = asyncio.create_task(scripted.run())
    ready = asyncio.create_task(scripted.ready.wait())
    try:
        await asyncio.wait((runner, ready), return_when=asyncio.FIRST_COMPLETED)
        if runner.done():
            runner.result()
        yield
    finally:
        ready.cancel()
        runner.cancel()
        await asyncio.wait((runner,))
