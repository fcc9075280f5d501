"""A producer on a real broker, as its user sees it."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator
from typing import Any

import pytest

from orchestrator.client import (
    AskRefused,
    CannotPack,
    Client,
    ClientMisused,
    Edge,
    Limits,
    NoCoordinator,
    ResultTimeout,
    TaskCancelled,
    TaskError,
    TaskExpired,
    TaskFailed,
    TaskRefused,
    ValueUnreadable,
)
from orchestrator.live.embedded import EmbeddedBroker
from orchestrator.vocabulary import NS_PER_S
from orchestrator.wire.messages import Error, Result, Task
from tests.client.scripted import Scripted, never


async def test_run_returns_what_the_handler_returned(client: Client) -> None:
    """The first thing a user does."""
    assert await client.run("thumbs.resize", path="a.png", size=(1, 2)) == {"path": "a.png", "size": [1, 2]}
    assert await client.run("thumbs.nothing") == {}


async def test_what_fills_a_message_leaves_before_the_turn_of_the_loop_is_over(coordinator: Scripted) -> None:
    """Of many submissions in one turn the first are under way while the last are being worded."""
    async with Client(coordinator.url, limits=Limits(tasks=4)) as client:
        left = []

        async def one() -> None:
            left.append(client.counters.messages)
            await client.run("a.b")

        await asyncio.gather(*(one() for _ in range(10)))
        assert left == [0] * 4 + [1] * 4 + [2] * 2


async def test_arguments_may_have_any_name(client: Client) -> None:
    """Keyword arguments are the handler's, also those that are named like our options or parameters."""
    args = {"priority": 9, "id": "x", "timeout": 1, "self": 2, "task_type": 3, "reply": False, "args": [], "op": 4}
    assert await client.run("a.b", **args) == args
    assert await client.task("a.b", priority=3).run(**args) == args
    assert await (await client.submit("a.b", **args)) == args


async def test_options_arrive_with_the_task(client: Client, coordinator: Scripted) -> None:
    """What is said in ``task(…)`` is what the coordinator reads, times as instants and spans in nanoseconds."""
    at = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    handle = await client.task(
        "a.b",
        priority=3,
        need={"cpu": 1.5, "gpu": (1, 4)},
        deadline=at,
        delay="2s",
        timeout="1m",
        retries=0,
        tenant="acme",
        id="mine",
        estimate=0.25,
        overlap="never",
        labels={"team": "red"},
    ).submit(x=1)
    task = coordinator.tasks["mine"]
    assert handle.id == "mine"
    assert (task.priority, task.retries, task.tenant, task.overlap) == (3, 0, "acme", "never")
    assert (task.timeout_ns, task.estimate_ns, task.labels) == (60 * NS_PER_S, NS_PER_S // 4, {"team": "red"})
    assert task.deadline_ns == round(at.timestamp()) * NS_PER_S
    assert task.start_ns is not None
    assert str(task.need) == "{'cpu': 1.5, 'gpu': Range(min=1.0, max=4.0)}"


@pytest.mark.parametrize(
    ("outcome", "error"),
    [("failed", TaskFailed), ("cancelled", TaskCancelled), ("expired", TaskExpired), ("refused", TaskRefused)],
)
async def test_a_task_that_did_not_succeed_raises_why(
    client: Client, coordinator: Scripted, outcome: Any, error: type[TaskError]
) -> None:
    """Each end has its own exception, with the task's id, the handler's words, and where it was raised."""
    coordinator.answer = lambda task: Result(
        task.id, outcome, error=Error("ValueError", "no such file", "File x.py, line 3"), attempts=2, instance="w1"
    )
    with pytest.raises(error) as caught:
        await client.task("a.b", id="t1").run()
    assert caught.value.task == "t1"
    assert "t1 (a.b)" in str(caught.value)
    assert "ValueError: no such file" in str(caught.value)
    assert caught.value.result.outcome == outcome
    assert "File x.py, line 3" in "".join(caught.value.__notes__)


async def test_a_value_that_is_no_value_is_told_as_such(client: Client, coordinator: Scripted) -> None:
    """A foreign worker may answer with bytes that nobody can read: the task is done, and the caller hears what is
    wrong.
    """
    coordinator.answer = lambda task: Result(task.id, "done", b"\xc1")
    with pytest.raises(ValueUnreadable, match="is done, but"):
        await client.run("a.b")


async def test_a_handle_can_be_awaited_often_and_by_many(client: Client, coordinator: Scripted) -> None:
    """Before the end, after it, with a timeout, and all hear the same."""
    coordinator.answer = never
    handle = await client.submit("a.b")
    assert not handle.done()
    with pytest.raises(ResultTimeout, match=f"{handle.id}.*goes on"):
        await handle.result(timeout=0.01)
    waiting = [asyncio.ensure_future(handle.result()) for _ in range(3)]
    impatient = asyncio.ensure_future(handle.result())
    await asyncio.sleep(0)
    impatient.cancel()
    coordinator.end(Result(handle.id, "done", b"\x07"))
    assert await asyncio.gather(*waiting) == [7, 7, 7]
    assert await handle == 7
    assert handle.done()
    assert (await handle.outcome()).outcome == "done"


async def test_cancel_says_whether_it_came_in_time(client: Client, coordinator: Scripted) -> None:
    """A waiting task ends as cancelled; one that has ended stays as it ended."""
    coordinator.answer = never
    handle = await client.submit("a.b")
    assert await handle.cancel()
    with pytest.raises(TaskCancelled):
        await handle
    assert not await handle.cancel()


async def test_concurrent_submits_share_messages(client: Client, coordinator: Scripted, broker: EmbeddedBroker) -> None:
    """A thousand tasks at once are a handful of messages, and the broker vouches for who sent them."""
    values = await asyncio.gather(*(client.run("a.b", n=n) for n in range(1000)))
    assert [value["n"] for value in values] == list(range(1000))
    assert coordinator.submissions < 10
    assert coordinator.users == {broker.user}


async def test_map_gives_values_in_order_or_as_they_come(client: Client, coordinator: Scripted) -> None:
    """From plain or asynchronous iterables, however long, with a bounded number outstanding."""
    most = 0

    async def inputs() -> AsyncIterator[dict[str, int]]:
        for n in range(200):
            yield {"n": n}

    def watched(task: Task) -> Result:
        nonlocal most
        most = max(most, len(coordinator.tasks) - len(seen))
        return Result(task.id, "done", task.args)

    coordinator.answer = watched
    seen: list[int] = []
    async for value in client.map("a.b", inputs(), window=20):
        seen.append(value["n"])  # noqa: PERF401  # ``watched`` looks at it meanwhile
    assert seen == list(range(200))
    assert most <= 20
    unordered = [value["n"] async for value in client.task("a.b", priority=1).map(({"n": n} for n in range(50)), ordered=False)]
    assert sorted(unordered) == list(range(50))


@pytest.mark.parametrize("ordered", [True, False])
async def test_map_hands_out_what_is_there_while_its_source_waits(client: Client, ordered: bool) -> None:
    """Such as a source that needs a value to find its next inputs: a crawler, a search. What it opens, it closes itself."""
    seen: asyncio.Queue[int] = asyncio.Queue()
    closed = asyncio.Event()

    async def countdown() -> AsyncIterator[dict[str, Any]]:
        try:
            async with asyncio.timeout(60):
                n = 10
                while n:
                    yield {"n": n}
                    n = await seen.get() - 1
                await asyncio.Event().wait()
        finally:
            closed.set()

    values = []
    async with asyncio.timeout(60):
        async for value in (mapped := client.map("a.b", countdown(), ordered=ordered)):
            values.append(value["n"])
            seen.put_nowait(value["n"])
            if value["n"] == 1:
                break
        await mapped.aclose()
        await closed.wait()
    assert values == list(range(10, 0, -1))


async def test_map_raises_what_its_source_raises(client: Client) -> None:
    """And reads no further."""

    async def two() -> AsyncIterator[dict[str, Any]]:
        yield {"n": 1}
        yield {"n": 2}
        raise LookupError("the third cannot be read")

    with pytest.raises(LookupError, match="third"):
        [value async for value in client.map("a.b", two(), window=2)]


async def test_map_raises_or_returns_errors(client: Client, coordinator: Scripted) -> None:
    """A failed task ends the iteration, unless errors are wanted in its place."""
    coordinator.answer = lambda task: Result(task.id, "failed" if task.args.endswith(b"\x02") else "done", task.args)
    inputs = [{"n": n} for n in range(4)]
    with pytest.raises(TaskFailed):
        [value async for value in client.map("a.b", inputs)]
    values = [value async for value in client.map("a.b", inputs, return_errors=True)]
    assert [type(value) for value in values] == [dict, dict, TaskFailed, dict]


async def test_submit_many_takes_different_tasks_and_workflows(client: Client, coordinator: Scripted) -> None:
    """Independent tasks go to their services; tasks with parents are one submission, edges and all."""
    fetch = client.task("web.fetch").call(url="x")
    parse = client.task("html.parse", after=[fetch, (fetch.id, "continue")]).call()
    before = coordinator.submissions
    handles = await client.submit_many([fetch, parse])
    assert [handle.id for handle in handles] == [fetch.id, parse.id]
    assert await handles[0] == {"url": "x"}
    assert coordinator.submissions == before + 1
    assert coordinator.tasks[parse.id].after == (Edge(fetch.id), Edge(fetch.id, "continue"))
    many = await client.submit_many(client.task("a.b").call(n=n) for n in range(20))
    assert [(await handle)["n"] for handle in many] == list(range(20))


async def test_fire_and_forget_asks_for_no_reply(client: Client, coordinator: Scripted) -> None:
    """The confirm is all there is; waiting for a result is a mistake that is told."""
    handle = await client.task("a.b", reply=False, id="t1").submit()
    await client.run("a.b")
    assert coordinator.reply_to["t1"] is None
    with pytest.raises(ClientMisused, match="reply=False"):
        await handle


async def test_the_same_task_twice_is_one_task_and_other_content_is_refused(client: Client, coordinator: Scripted) -> None:
    """One's own ids make submitting idempotent: here while it is outstanding, at the coordinator for ever."""
    coordinator.answer = never
    first = await client.task("a.b", id="t1").submit(x=1)
    again = await client.task("a.b", id="t1").submit(x=1)
    with pytest.raises(ValueError, match="'t1' is in use"):
        await client.task("a.b", id="t1").submit(x=2)
    coordinator.end(Result("t1", "done", b"\x07"))
    assert [await first, await again] == [7, 7]
    assert await client.task("a.b", id="t1").run(x=1) == 7
    with pytest.raises(TaskRefused, match="other content"):
        await client.task("a.b", id="t1").run(x=2)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"a": {"b": [1, object()]}}, r"args\.a\.b\[1\].*object"),
        ({"big": b"x" * (1024 * 1024)}, r"1,048,576 are the limit.*store"),
        ({"when": datetime.datetime(2030, 1, 1)}, r"args\.when.*time zone"),
    ],
)
async def test_arguments_that_cannot_travel_are_refused_at_once(client: Client, args: dict[str, Any], words: str) -> None:
    """Nothing is sent; the message names the place and the remedy."""
    with pytest.raises(CannotPack, match=words):
        await client.run("a.b", **args)


async def test_a_workflow_that_is_too_large_is_refused_at_once(client: Client) -> None:
    """It must travel in one message; the limit and the remedy are named."""
    parts = [client.task("a.b").call(data=b"x" * 600_000) for _ in range(2)]
    last = client.task("a.b", after=parts).call()
    with pytest.raises(ValueError, match=r"workflow of 3 tasks takes about 1,20.*limit"):
        await client.submit_many([*parts, last])


async def test_questions_are_answered_refused_or_given_up(client: Client, coordinator: Scripted) -> None:
    """An answer, a no, and silence; and the question that nobody answers has an end."""
    assert await client.ask("ping", x=1) == {"pong": {"x": 1}}
    with pytest.raises(AskRefused, match="no operation 'dance'"):
        await client.ask("dance")
    with pytest.raises(NoCoordinator, match=r"No coordinator answered 'silence' within 0\.05 s.*unknown") as caught:
        await client.ask("silence", timeout_s=0.05)
    assert caught.value.may_have_acted
