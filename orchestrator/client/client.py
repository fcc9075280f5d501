"""The producers' door: submit tasks, await their results, ask the coordinator.

    async with Client("amqp://localhost") as client:
        thumb = await client.run("thumbs.resize", path="a.png", width=200)

        handle = await client.task("thumbs.resize", priority=3, deadline="30s").submit(path="b.png")
        thumb = await handle

Keyword arguments are always the handler's, options are always said in ``task(…)``: see ``calls`` for why.

``submit`` returns once the broker has confirmed: from then on the task is not lost, whoever dies. A client that loses
the broker comes back by itself, and submits again whatever is not answered; that is safe, since a task with the same
id and content is taken once. So the caller sees either a result, or an error that says whether the task may run all
the same.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncGenerator, Coroutine, Iterable, Mapping
from typing import Any, Self

from orchestrator.client.calls import Call, Form, Span, form, options_known, span_ns
from orchestrator.client.core import Counters
from orchestrator.client.errors import TaskError
from orchestrator.client.handle import Handle
from orchestrator.client.lanes import Limits
from orchestrator.client.mapping import AsTheyCome, InOrder, Inputs, reader
from orchestrator.client.shell import Shell
from orchestrator.client.workflow import Workflow
from orchestrator.vocabulary import DEFAULT_SHARD


class Client:
    """A producer. Open it with ``async with``; it belongs to that event loop."""

    def __init__(
        self,
        url: str,
        *,
        name: str = "producer",
        accept_within: Span = 30,
        close_within: Span = 5,
        unconfirmed_max: int = 10_000,
        limits: Limits | None = None,
        connect_within: Span | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """``url``: ``amqp://user:password@host:port/vhost`` (``amqps://`` for TLS). ``name``: what operators see of
        the connections.

        ``accept_within``: how long a submission may wait for the broker's confirm; then it raises SubmitTimeout.
        ``close_within``: how long closing may wait for confirms. ``unconfirmed_max``: so many tasks may be
        unconfirmed; who submits more waits. ``connect_within``: opening raises CannotConnect if the broker was not reached by
        then. Without it only what no waiting cures is raised (a wrong password); else it is tried for ever, behind.
        """
        self._close_within_ns = span_ns(close_within, "close_within")
        self._shell = Shell(
            url,
            name=name,
            accept_within_ns=span_ns(accept_within, "accept_within"),
            unconfirmed_max=unconfirmed_max,
            limits=limits or Limits(),
            connect_within_s=None if connect_within is None else span_ns(connect_within, "connect_within") / 1e9,
            ssl_context=ssl_context,
        )
        self._templates: dict[str, Template] = {}

    async def __aenter__(self) -> Self:
        await self._shell.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Wait for the confirms of what was submitted (bounded), then end. Whoever still waits for a result gets
        ClientClosed.
        """
        await self._shell.close(self._close_within_ns / 1e9)

    @property
    def counters(self) -> Counters:
        """What was published, said again, refused so far."""
        return self._shell.producer.counters

    # --- one task ---------------------------------------------------------------------------------------------------

    def task(self, task_type: str, /, **options: Any) -> Template:
        """A task type with options, to be called any number of times. ``calls.form`` says what options there are."""
        options_known(options)
        return Template(self._shell, form(task_type, **options))

    def run(self, task_type: str, /, **args: Any) -> Coroutine[Any, Any, Any]:
        """Submit a task with these arguments and wait for its value. Raises as ``submit`` and ``Handle.result``.

        Cancelling this does not cancel a task that is accepted: keep a handle where you may want that.
        """
        return self._plain(task_type).run(**args)

    def submit(self, task_type: str, /, **args: Any) -> Coroutine[Any, Any, Handle]:
        """Submit a task with these arguments; to be awaited, returns once the broker has confirmed it.

        Raises SubmitTimeout or BacklogFull if it did not in time, CannotPack for arguments that no peer could read or
        that are too large, ValueError for a type that cannot be, ClientClosed, ClientMisused.
        """
        return self._plain(task_type).submit(**args)

    # --- many -------------------------------------------------------------------------------------------------------

    async def submit_many(self, calls: Iterable[Call]) -> list[Handle]:
        """Submit all of these (made with ``task(…).call(…)``); returns their handles once the broker has confirmed
        all.

        If any names parents (``after=…``), they are one workflow, and are accepted or not as a whole. Otherwise the
        first that is not confirmed in time raises, and others may be accepted: submitting the same calls again is
        safe. (Not so, and refused with a ValueError, a workflow of which this client has had some results and waits for others: it
        is accepted as a whole, so there is nothing to say again.)
        """
        calls = list(calls)
        if any(call.task.after for call in calls):
            return await self._submit_together(calls)
        handles = [handle for call in calls for handle in await self._shell.enter((call,))]
        for handle in handles:
            await handle.gate
        return handles

    async def _submit_together(self, calls: list[Call]) -> list[Handle]:
        """All of these in one message; they share a gate."""
        handles = await self._shell.enter(calls)
        await handles[0].gate
        return handles

    def workflow(self, name: str = "") -> Workflow:
        """A workflow to write down: tasks that take what others return (``workflow``). ``name`` begins its id, for people."""
        return Workflow(self._shell, name, self._submit_together)

    def map(
        self, task_type: str, inputs: Inputs, /, *, ordered: bool = True, window: int = 1000, return_errors: bool = False
    ) -> AsyncGenerator[Any, None]:
        """As ``Template.map``, without options for the tasks."""
        return self._plain(task_type).map(inputs, ordered=ordered, window=window, return_errors=return_errors)

    # --- questions --------------------------------------------------------------------------------------------------

    async def shards(self, timeout_s: float = 5.0) -> tuple[str, ...]:
        """The names of all shards, ``default`` first. Raises NoCoordinator, ClientClosed, ClientMisused."""
        return await self._shell.shards(timeout_s)

    async def ask(self, op: str, /, *, timeout_s: float = 5.0, shard: str = DEFAULT_SHARD, **args: Any) -> Any:
        """Ask the coordinator of a shard, or tell it: ``status``, ``services``, ``tasks``, ``task``, ``why``, ``cancel``,
        ``drain``, ``policy`` ….

        Raises NoCoordinator if nobody answered in time (it says why, and whether it may have been carried out),
        AskRefused if the answer is no, ClientClosed, ClientMisused.
        """
        return await self._shell.ask(op, args, timeout_s, shard)

    def _plain(self, task_type: str) -> Template:
        known = self._templates.get(task_type)
        if known is None:
            known = Template(self._shell, form(task_type))
            if len(self._templates) < 1000:
                self._templates[task_type] = known
        return known


class Template:
    """A task type with options: give it arguments. Keyword arguments are the handler's, all of them."""

    __slots__ = ("_form", "_shell")

    def __init__(self, shell: Shell, form: Form) -> None:
        """Made by ``Client.task``."""
        self._shell = shell
        self._form = form

    async def run(self, /, **args: Any) -> Any:
        """As ``Client.run``."""
        return await (await self.submit(**args))

    async def submit(self, /, **args: Any) -> Handle:
        """As ``Client.submit``. With ``reply=False`` the handle has no result to wait for."""
        shell = self._shell
        calls = (self._filled(args),)
        (handle,) = shell.try_enter(calls) or await shell.enter(calls)
        await handle.gate
        return handle

    def call(self, /, **args: Any) -> Call:
        """The task, ready for ``Client.submit_many``, not submitted. Its ``id`` is known; deadline and delay count
        from now.
        """
        return self._filled(args)

    def _filled(self, args: Mapping[str, Any]) -> Call:
        form = self._form
        return form.fill(args, self._shell.fresh_id(), time.time_ns() if form.dated else 0)

    async def map(
        self, inputs: Inputs, /, *, ordered: bool = True, window: int = 1000, return_errors: bool = False
    ) -> AsyncGenerator[Any, None]:
        """The values of one task for each of ``inputs``, in their order, or as they come (``ordered=False``).

        At most ``window`` are submitted and not yet handed out, so inputs may be endless. A source that lets one await its inputs
        does not keep back values that are there, and may itself wait for one of them. A task that did not succeed
        raises its error here and ends the iteration (others go on); with ``return_errors`` the error is handed out in
        its place.
        """
        if self._form.id is not None:
            raise ValueError(f"{self._form.shape.type}: id: many tasks cannot have the same id; leave it out")
        if not self._form.reply:
            raise ValueError(f"{self._form.shape.type}: reply: map hands out results; leave reply=False out")
        if window < 1:
            raise ValueError(f"window: {window} is not at least 1")
        source = reader(inputs)
        order = InOrder() if ordered else AsTheyCome()
        try:
            while True:
                while len(order) < window and (args := await source.next(order)) is not None:
                    calls = (self.call(**args),)
                    (handle,) = self._shell.try_enter(calls) or await self._shell.enter(calls)
                    order.put(handle)
                if not len(order):
                    return
                handle = await order.get()
                try:
                    value = await handle.result()
                except TaskError as error:
                    if not return_errors:
                        raise
                    value = error
                yield value
        finally:
            await source.close()
