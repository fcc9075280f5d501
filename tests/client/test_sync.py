"""The same client without ``await``, from any thread."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from orchestrator.client import ClientClosed, ClientMisused, NoCoordinator, ResultTimeout, SubmitTimeout, SyncClient, TaskFailed
from orchestrator.wire.messages import Result, Task
from tests.client.scripted import coordinating


def script(task: Task) -> Result | None:
    """``a.fail`` fails, ``a.wait`` waits, all others return their arguments."""
    match task.type:
        case "a.fail":
            return Result(task.id, "failed")
        case "a.wait":
            return None
        case _:
            return Result(task.id, "done", task.args)


@pytest.fixture
def url(amqp_url: str) -> Iterator[str]:
    """A broker with a coordinator, in a thread of its own: the tests here block theirs."""
    started, ended = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def coordinate() -> None:
        async with coordinating(amqp_url, script):
            started.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(coordinate()))
    thread.start()
    assert started.wait(30)
    yield amqp_url
    loop.call_soon_threadsafe(ended.set)
    thread.join()
    loop.close()


def test_everything_a_plain_program_needs(url: str) -> None:
    """run, submit, options, map, many, errors: as with ``await``."""
    with SyncClient(url) as client:
        assert client.run("a.b", x=1) == {"x": 1}
        handle = client.task("a.b", priority=2).submit(priority=1)
        assert handle.result(timeout=10) == {"priority": 1}
        assert handle.done()
        assert handle.outcome().outcome == "done"
        assert [value["n"] for value in client.map("a.b", ({"n": n} for n in range(50)), window=7)] == list(range(50))
        many = client.submit_many(client.task("a.b").call(n=n) for n in range(3))
        assert [each.result()["n"] for each in many] == [0, 1, 2]
        assert client.ask("ping", x=1) == {"pong": {"x": 1}}
        with pytest.raises(TaskFailed):
            client.run("a.fail")
        waiting = client.submit("a.wait")
        with pytest.raises(ResultTimeout):
            waiting.result(timeout=0.01)
        assert waiting.cancel()
        assert client.counters.tasks > 50


def test_many_threads_share_one_client(url: str) -> None:
    """And their messages."""
    with SyncClient(url) as client, ThreadPoolExecutor(16) as pool:
        values = list(pool.map(lambda n: client.run("a.b", n=n)["n"], range(400)))
        assert values == list(range(400))
        assert client.counters.messages <= 400


def test_a_map_that_is_left_early_is_closed(url: str) -> None:
    """The rest of the iteration is let go."""
    with SyncClient(url) as client:
        for value in client.map("a.b", ({"n": n} for n in range(100))):
            if value["n"] == 3:
                break


def test_mistakes_are_told_clearly(url: str, unused_tcp_port: int) -> None:
    """Not open, closed, forked, no broker."""
    client = SyncClient(url)
    with pytest.raises(ClientMisused, match="not open"):
        client.run("a.b")
    with client:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                client.run("a.b")
            except ClientMisused:
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        handle = client.submit("a.wait")
    with pytest.raises(ClientClosed):
        client.run("a.b")
    with pytest.raises(ClientClosed):
        handle.result()
    client.close()
    with SyncClient(f"amqp://127.0.0.1:{unused_tcp_port}", accept_within=0.1) as nowhere:
        with pytest.raises(SubmitTimeout, match="nobody listens"):
            nowhere.run("a.b")
        with pytest.raises(NoCoordinator, match="nobody listens"):
            nowhere.ask("ping", timeout_s=0.05)


def test_no_call_hangs_when_another_thread_closes(unused_tcp_port: int) -> None:
    """Threads call without a pause while the client is closed under them: each hears of it, whenever it came."""

    def call_for_ever(client: SyncClient) -> None:
        while True:
            with suppress(SubmitTimeout):
                client.task("a.b", accept_within=0).submit()

    def call_until_closed(client: SyncClient) -> None:
        with pytest.raises(ClientClosed):
            call_for_ever(client)

    for _ in range(10):
        client = SyncClient(f"amqp://127.0.0.1:{unused_tcp_port}")
        client.__enter__()
        threads = [threading.Thread(target=call_until_closed, args=(client,), daemon=True) for _ in range(8)]
        for thread in threads:
            thread.start()
        closing = [threading.Thread(target=client.close, daemon=True) for _ in range(2)]
        for thread in closing:
            thread.start()
        for thread in [*threads, *closing]:
            thread.join(30)
            assert not thread.is_alive()
