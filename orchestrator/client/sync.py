"""The producers' door for plain functions and threads: the same client, on an event loop in a thread of its own.

    with SyncClient("amqp://localhost") as client:
        thumb = client.run("thumbs.resize", path="a.png", width=200)

Any thread may use it, many at once: their submissions share messages as concurrent coroutines' do.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any, Self, TypeVar

from orchestrator.client import forks
from orchestrator.client.calls import Call, Span
from orchestrator.client.client import Client, Template
from orchestrator.client.core import Counters
from orchestrator.client.errors import ClientClosed, ClientMisused
from orchestrator.client.handle import Handle
from orchestrator.client.workflow import Node, NodeTemplate, Workflow
from orchestrator.vocabulary import DEFAULT_SHARD
from orchestrator.wire.messages import Result

T = TypeVar("T")

CANCEL_AGAIN_S = 1.0
"""What was cancelled and has not ended by then is cancelled again."""


class SyncClient:
    """As ``Client``, without ``await``. Open it with ``with``."""

    def __init__(self, url: str, **settings: Any) -> None:
        """``settings`` are those of ``Client``."""
        self._client = Client(url, **settings)
        self._thread = _LoopThread()

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._thread.call(self._client.__aenter__())
        except BaseException:
            self._thread.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """As ``Client.close``; ends the thread."""
        if self._thread.is_running:
            try:
                with suppress(ClientClosed):  # another thread closes it this very moment
                    self._thread.call(self._client.close())
            finally:
                self._thread.stop()

    @property
    def counters(self) -> Counters:
        """As ``Client.counters``."""
        return self._client.counters

    def task(self, task_type: str, /, **options: Any) -> SyncTemplate:
        """As ``Client.task``."""
        return SyncTemplate(self._thread, self._client.task(task_type, **options))

    def run(self, task_type: str, /, **args: Any) -> Any:
        """As ``Client.run``."""
        return self._thread.call(self._client.run(task_type, **args))

    def submit(self, task_type: str, /, **args: Any) -> SyncHandle:
        """As ``Client.submit``."""
        return SyncHandle(self._thread, self._thread.call(self._client.submit(task_type, **args)))

    def submit_many(self, calls: Iterable[Call]) -> list[SyncHandle]:
        """As ``Client.submit_many``."""
        handles = self._thread.call(self._client.submit_many(list(calls)))
        return [SyncHandle(self._thread, handle) for handle in handles]

    def workflow(self, name: str = "") -> SyncWorkflow:
        """As ``Client.workflow``."""
        return SyncWorkflow(self._thread, self._client.workflow(name))

    def map(self, task_type: str, inputs: Iterable[Mapping[str, Any]], /, **how: Any) -> Iterator[Any]:
        """As ``Client.map``."""
        return self.task(task_type).map(inputs, **how)

    def shards(self, timeout_s: float = 5.0) -> tuple[str, ...]:
        """As ``Client.shards``."""
        return self._thread.call(self._client.shards(timeout_s))

    def ask(self, op: str, /, *, timeout_s: float = 5.0, shard: str = DEFAULT_SHARD, **args: Any) -> Any:
        """As ``Client.ask``."""
        return self._thread.call(self._client.ask(op, timeout_s=timeout_s, shard=shard, **args))


class SyncTemplate:
    """As ``Template``."""

    __slots__ = ("_template", "_thread")

    def __init__(self, thread: _LoopThread, template: Template) -> None:
        """Made by ``SyncClient.task``."""
        self._thread = thread
        self._template = template

    def run(self, /, **args: Any) -> Any:
        """As ``Template.run``."""
        return self._thread.call(self._template.run(**args))

    def submit(self, /, **args: Any) -> SyncHandle:
        """As ``Template.submit``."""
        return SyncHandle(self._thread, self._thread.call(self._template.submit(**args)))

    def call(self, /, **args: Any) -> Call:
        """As ``Template.call``."""
        return self._template.call(**args)

    def map(self, inputs: Iterable[Mapping[str, Any]], /, **how: Any) -> Iterator[Any]:
        """As ``Template.map``. ``inputs`` are iterated in the client's thread."""
        values = self._template.map(inputs, **how)
        try:
            while True:
                try:
                    value = self._thread.call(anext(values))
                except StopAsyncIteration:
                    return
                yield value
        finally:
            if self._thread.is_running:
                with suppress(ClientClosed):  # this very moment: what is left of it ends with the loop
                    self._thread.call(values.aclose())


class SyncWorkflow:
    """As ``Workflow``. Writing it down needs no waiting, so its nodes are the same."""

    __slots__ = ("_flow", "_thread")

    def __init__(self, thread: _LoopThread, flow: Workflow) -> None:
        """Made by ``SyncClient.workflow``."""
        self._thread = thread
        self._flow = flow

    def __repr__(self) -> str:
        return repr(self._flow)

    @property
    def id(self) -> str:
        """As ``Workflow.id``."""
        return self._flow.id

    def add(self, task_type: str, /, **args: Any) -> Node:
        """As ``Workflow.add``."""
        return self._flow.add(task_type, **args)

    def task(self, task_type: str, /, **options: Any) -> NodeTemplate:
        """As ``Workflow.task``."""
        return self._flow.task(task_type, **options)

    def submit(self) -> list[SyncHandle]:
        """As ``Workflow.submit``."""
        return [SyncHandle(self._thread, handle) for handle in self._thread.call(self._flow.submit())]

    def run(self, *, return_errors: bool = False) -> dict[Node, Any]:
        """As ``Workflow.run``."""
        return self._thread.call(self._flow.run(return_errors=return_errors))

    def cancel(self) -> int:
        """As ``Workflow.cancel``."""
        return self._thread.call(self._flow.cancel())


class SyncHandle:
    """As ``Handle``."""

    __slots__ = ("_handle", "_thread")

    def __init__(self, thread: _LoopThread, handle: Handle) -> None:
        """Made by ``SyncClient``."""
        self._thread = thread
        self._handle = handle

    def __repr__(self) -> str:
        return repr(self._handle)

    @property
    def id(self) -> str:
        """As ``Handle.id``."""
        return self._handle.id

    @property
    def first(self) -> str:
        """As ``Handle.first``."""
        return self._handle.first

    def result(self, timeout: Span | None = None) -> Any:
        """As ``Handle.result``."""
        return self._thread.call(self._handle.result(timeout))

    def outcome(self, timeout: Span | None = None) -> Result:
        """As ``Handle.outcome``."""
        return self._thread.call(self._handle.outcome(timeout))

    def done(self) -> bool:
        """As ``Handle.done``."""
        return self._handle.done()

    def cancel(self) -> bool:
        """As ``Handle.cancel``."""
        return self._thread.call(self._handle.cancel())

    def prioritise(self, priority: int) -> None:
        """As ``Handle.prioritise``."""
        self._thread.call(self._handle.prioritise(priority))


class _LoopThread:
    """An event loop in a thread of its own; ``call`` runs a coroutine there and waits for it here."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._process: object = None
        self._door = threading.Lock()
        """Who hands something in does so before the loop ends, or not at all."""

    @property
    def is_running(self) -> bool:
        return self._loop is not None and self._process is forks.here

    def start(self) -> None:
        if self._loop is not None:
            raise ClientMisused("This client is open already. Make a new SyncClient for each `with`.")
        self._process = forks.here
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="orchestrator-client", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the loop and the thread; what was handed in just before is cancelled."""
        with self._door:
            loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            asyncio.run_coroutine_threadsafe(_leave(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()
            loop.close()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """What ``work`` returns or raises. An interruption here (Ctrl-C) cancels it there."""
        try:
            self._judge_process()  # first: the door of a copy may have been shut for ever as it was forked
            with self._door:
                future = asyncio.run_coroutine_threadsafe(work, self._judged())
        except BaseException:
            work.close()
            raise
        try:
            return future.result()
        except CancelledError:
            raise ClientClosed("This client was closed by another thread just as it was called: nothing was sent.") from None
        except BaseException:
            future.cancel()
            raise

    def _judge_process(self) -> None:
        if self._process is not None and self._process is not forks.here:
            raise ClientMisused(
                "This client belongs to the process that opened it, and this one was forked from it, without the client's "
                "thread. Nothing was sent. Open a client in each process."
            )

    def _judged(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            kind, what = (ClientClosed, "closed") if self._process is not None else (ClientMisused, "not open")
            raise kind(f"This client is {what}: nothing was sent. Use it inside `with SyncClient(url) as client:`.")
        if threading.current_thread() is self._thread:
            raise ClientMisused("SyncClient would wait for itself: it is called from its own thread. Use Client there.")
        return self._loop


async def _leave() -> None:
    """Nobody waits for ever: whatever runs on this loop besides is cancelled, until it has ended."""
    while rest := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in rest:
            task.cancel()
        await asyncio.wait(rest, timeout=CANCEL_AGAIN_S)
    await asyncio.get_running_loop().shutdown_asyncgens()
