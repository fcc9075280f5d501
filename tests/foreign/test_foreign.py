"""Strangers: a producer and an agent that were written from PROTOCOL.md alone, against the real coordinator."""

from __future__ import annotations

import ast
import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types
import pytest

from tests.foreign.producer import submit_and_wait, task
from tests.live.peers import coordinator, producer

HERE = Path(__file__).parent
PATIENCE_S = 30


@asynccontextmanager
async def foreign_agent(url: str, service: str = "far") -> AsyncIterator[asyncio.subprocess.Process]:
    """The agent as a process of its own, ended at the end."""
    process = await asyncio.create_subprocess_exec(sys.executable, str(HERE / "agent.py"), url, service, "far-1")
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def answers(url: str, *tasks: dict[str, Any]) -> list[tuple[str, Any]]:
    """What the foreign producer gets for these tasks: outcome, and value or kind of error."""
    results = await asyncio.to_thread(submit_and_wait, url, list(tasks), PATIENCE_S)
    found = [results[one["id"]] for one in tasks]
    return [(one["outcome"], one["value"] if one["outcome"] == "done" else one["error"]["kind"]) for one in found]


@pytest.mark.parametrize("program", ["producer.py", "agent.py"])
def test_they_are_strangers(program: str) -> None:
    """They know pika, msgpack and the standard library, and nothing of ours."""
    names = set()
    for node in ast.walk(ast.parse((HERE / program).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    assert names - sys.stdlib_module_names == {"pika", "msgpack"}


@pytest.mark.broker
async def test_strangers_work_together(amqp_url: str) -> None:
    """A batch of a foreign producer is run by a foreign agent; values of all types come back as they were."""
    everything = {
        "none": None,
        "yes": True,
        "big": 2**63,
        "half": 0.5,
        "text": "é",
        "bytes": b"\xff",
        "list": [1, [2]],
        "map": {"a": {}},
    }
    async with coordinator(amqp_url), foreign_agent(amqp_url):
        sums = [task("far.add", {"a": number, "b": 1}) for number in range(300)]
        found = await answers(amqp_url, task("far.echo", everything), *sums)
        assert found == [("done", everything), *(("done", number + 1) for number in range(300))]


@pytest.mark.broker
async def test_strangers_are_told_what_is_wrong(amqp_url: str) -> None:
    """Wrong arguments fail at once, without retries; a handler that nobody has is refused; another task under a known id too."""
    async with coordinator(amqp_url), foreign_agent(amqp_url):
        first = task("far.add", {"a": 1, "b": 2})
        assert await answers(amqp_url, first) == [("done", 3)]
        assert await answers(
            amqp_url,
            task("far.add", {"c": 1}),
            task("far.invented", {}),
            {**first, "args": msgpack.packb({"a": 2, "b": 2})},
            task("far.add", {"a": "x", "b": "y"}, deadline_ns=1),
        ) == [("failed", "bad_arguments"), ("refused", "unknown_handler"), ("refused", "id_taken"), ("expired", "expired")]


@pytest.mark.broker
async def test_strangers_hand_results_on(amqp_url: str) -> None:
    """A workflow: one argument, a list of many, one that is missing since its parent failed and the edge says to go on."""
    one, two = task("far.add", {"a": 1, "b": 2}), task("far.add", {"a": 10, "b": 20})
    bad = task("far.add", {"c": 0})
    more = task("far.add", {"a": 100}, after=[{"task": one["id"], "into": "b"}])
    edges = [{"task": each["id"], "into": "parts[]", "on_failure": "continue"} for each in (two, more, bad)]
    whole = task("far.sum", {}, after=edges)
    skipped = task("far.echo", {}, after=[{"task": bad["id"], "on_failure": "skip"}])
    circle = task("far.echo", {}, id="around", after=[{"task": "around"}])
    async with coordinator(amqp_url), foreign_agent(amqp_url):
        assert await answers(amqp_url, whole, one, two, bad, more, skipped, circle) == [
            ("done", 133), ("done", 3), ("done", 30), ("failed", "bad_arguments"), ("done", 103), ("skipped", "parent_failed"),
            ("refused", "cycle"),
        ]  # fmt: skip


@pytest.mark.broker
async def test_submitting_again_is_harmless(amqp_url: str) -> None:
    """The same tasks submitted once more are answered from what is known, to the new queue."""
    async with coordinator(amqp_url), foreign_agent(amqp_url) as worker:
        tasks = [task("far.add", {"a": number, "b": 0}) for number in range(20)]
        once = await answers(amqp_url, *tasks)
        worker.kill()  # whoever answers now, it is not the agent
        assert await answers(amqp_url, *tasks) == once


@pytest.mark.broker
async def test_a_stranger_says_what_is_the_same(amqp_url: str) -> None:
    """Two tasks under one key: one runs, the other's result names it. Other arguments under that key are refused."""
    async with coordinator(amqp_url), foreign_agent(amqp_url):
        one, two = (task("far.add", {"a": 1, "b": 2}, key="sum") for _ in range(2))
        results = await asyncio.to_thread(submit_and_wait, amqp_url, [one, two], PATIENCE_S)
        assert [results[each["id"]]["value"] for each in (one, two)] == [3, 3]
        assert [results[each["id"]].get("first") for each in (one, two)] == [None, one["id"]]
        assert await answers(amqp_url, task("far.add", {"a": 5, "b": 5}, key="sum")) == [("refused", "key_taken")]


@pytest.mark.broker
async def test_strangers_may_come_first(amqp_url: str) -> None:
    """A producer and an agent that find no coordinator, nor anything that one declares, go on trying until one is there."""
    async with foreign_agent(amqp_url):
        waiting = asyncio.ensure_future(answers(amqp_url, task("far.add", {"a": 1, "b": 1})))
        async with coordinator(amqp_url):
            assert await waiting == [("done", 2)]


@pytest.mark.broker
async def test_strangers_outlive_a_coordinator(amqp_url: str) -> None:
    """The next leader asks the agent what it has, and goes on with it."""
    async with foreign_agent(amqp_url):
        async with coordinator(amqp_url):
            assert await answers(amqp_url, task("far.add", {"a": 1, "b": 1})) == [("done", 2)]
        waiting = asyncio.ensure_future(answers(amqp_url, task("far.add", {"a": 2, "b": 2})))
        async with coordinator(amqp_url):
            assert await waiting == [("done", 4)]


@pytest.mark.broker
async def test_a_stranger_takes_its_leave(amqp_url: str) -> None:
    """On SIGTERM, or when an operator drains it, the agent says goodbye and ends well; nobody has to wait for its lease."""
    async with coordinator(amqp_url) as ears, producer(amqp_url) as operator:
        async with foreign_agent(amqp_url) as worker:
            await ears.heard("ready")
            worker.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(worker.wait(), PATIENCE_S) == 0
            await ears.heard("instance_left")
        async with foreign_agent(amqp_url, "near") as worker:
            await ears.heard("ready", lambda fields: fields["service"] == "near")
            await operator.ask("drain", instance="far-1")
            assert await asyncio.wait_for(worker.wait(), PATIENCE_S) == 0
