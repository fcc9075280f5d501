"""Ten published workflows at once, with the coordinator killed in the middle: each task runs once, after its parents, on what
they returned."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from orchestrator.client import Client, Node, SyncClient, TaskFailed, Workflow
from orchestrator.live.embedded import EmbeddedBroker
from orchestrator.traces import TraceTask, read
from tests.e2e.fleet import Fleet, fleet

pytestmark = pytest.mark.broker

TRACE = Path(__file__).parents[1] / "data" / "traces" / "wfinstances.jsonl.gz"
PATH_S = 2.0
"""Run times are scaled so that the longest path of each workflow takes so long."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedBroker]:
    """A node of its own: the kill must not meet other tests' coordinators."""
    async with EmbeddedBroker(tmp_path_factory.mktemp("workflows")) as node:
        yield node


def ten() -> list[list[TraceTask]]:
    """Of ten applications the smallest instance each, parents first."""
    flows: dict[str, list[TraceTask]] = {}
    for task in read(TRACE).tasks:
        flows.setdefault(task.workflow, []).append(task)
    found: dict[str, list[TraceTask]] = {}
    for name, tasks in sorted(flows.items(), key=lambda flow: len(flow[1])):
        found.setdefault("-".join(name.split("-")[:2]), tasks)
    return list(found.values())[:10]


def depths(tasks: list[TraceTask]) -> dict[str, int]:
    """How deep each stands: one more than the deepest of its parents."""
    found: dict[str, int] = {}
    for task in tasks:
        found[task.id] = 1 + max((found[parent] for parent in task.after), default=0)
    return found


def written(client: Client, tasks: list[TraceTask]) -> tuple[Workflow, dict[str, Node]]:
    """A workflow of the trace as a producer writes it down."""
    longest: dict[str, float] = {}
    for task in tasks:
        longest[task.id] = task.runtime_s + max((longest[parent] for parent in task.after), default=0.0)
    scale = PATH_S / max(longest.values())
    flow = client.workflow("wf")
    nodes: dict[str, Node] = {}
    for task in tasks:
        seconds = task.runtime_s * scale
        above = {"above": [nodes[parent] for parent in task.after]} if task.after else {}
        nodes[task.id] = flow.task("steps.node", estimate=seconds).add(seconds=seconds, **above)
    return flow, nodes


@pytest.mark.parametrize("victim", ["coordinator", "worker-1"])
async def test_ten_workflows_outlive_a_kill(victim: str, broker: EmbeddedBroker, tmp_path: Path) -> None:
    """Every value is what the graph says; by the witness each task ran after its parents, and once unless its worker was killed."""
    flows = ten()
    assert len(flows) == 10
    total = sum(map(len, flows))
    async with fleet(broker.url, tmp_path) as ours:
        await asyncio.gather(ours.coordinator(), ours.worker("worker-1"), ours.worker("worker-2"))
        async with Client(broker.url) as client, asyncio.timeout(60), asyncio.TaskGroup() as group:
            ours_written = [written(client, tasks) for tasks in flows]
            runs = [group.create_task(flow.run()) for flow, _ in ours_written]
            await ended(ours, total // 3)
            await ours.kill(victim)
            await ours.start(victim)
        for tasks, (_, nodes), run in zip(flows, ours_written, runs, strict=True):
            values = run.result()
            assert {name: values[node] for name, node in nodes.items()} == depths(tasks)
        completed = ours.completed()
        assert completed.keys() == {node.id for _, nodes in ours_written for node in nodes.values()}
        twice = sum(count > 1 for count in completed.values())
        assert victim != "coordinator" or not twice, "no worker died: nothing may run twice"
        order: dict[tuple[str, ...], int] = {}
        for place, line in enumerate(ours.witness_file.read_text().splitlines()):
            order.setdefault(tuple(line.split()[:2]), place)
        for tasks, (_, nodes) in zip(flows, ours_written, strict=True):
            for task in tasks:
                for parent in task.after:
                    assert order["end", nodes[parent].id] < order["start", nodes[task.id].id]
        print(f"{total} tasks of {len(flows)} workflows; {victim} was killed after {total // 3}; {twice} ran twice")


async def ended(ours: Fleet, count: int) -> None:
    """Wait until so many tasks have run; the witness is a file of other processes, nobody tells."""
    while len(ours.completed()) < count:  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def test_a_producer_sees_what_failed_first_and_can_cancel_the_rest(broker: EmbeddedBroker, tmp_path: Path) -> None:
    """``run`` raises the root of the trouble, or hands everything out; a cancelled workflow ends where it stands."""
    async with fleet(broker.url, tmp_path) as ours:
        await asyncio.gather(ours.coordinator(), ours.worker("worker-1"))
        async with Client(broker.url) as client, asyncio.timeout(60):
            flow = client.workflow("broken")
            good, bad = flow.add("steps.double", number=1), flow.add("steps.double", figure=1)
            child, other = (
                flow.add("steps.node", seconds=0, above=[good, bad]),
                flow.task("steps.double", after=[good]).add(number=4),
            )
            brave = flow.add("steps.node", seconds=0, above=[good, bad.on_failure("continue")])
            with pytest.raises(TaskFailed, match="'figure' is unknown") as trouble:
                await flow.run()
            assert trouble.value.task == bad.id
            ends = await flow.run(return_errors=True)
            assert (ends[good], ends[other]) == (2, 8)
            assert "its parent" in str(ends[child])
            assert isinstance(ends[brave], TaskFailed), "max of a number and None: the handler's own affair"

            slow = client.workflow("slow")
            first = slow.add("steps.node", seconds=60)
            slow.add("steps.node", seconds=0, above=[first])
            handles = await slow.submit()
            await started(ours, first.id)
            assert await slow.cancel() == 2
            assert [(await handle.outcome()).outcome for handle in handles] == ["cancelled", "cancelled"]
        with_threads = await asyncio.to_thread(written_without_a_loop, broker.url)
        assert with_threads == [1, 2]


def written_without_a_loop(url: str) -> list[int]:
    """The same from plain functions."""
    with SyncClient(url) as client:
        flow = client.workflow()
        first = flow.add("steps.node", seconds=0)
        second = flow.task("steps.node", priority=1).add(seconds=0, above=[first])
        values = flow.run()
        return [values[first], values[second]]


async def started(ours: Fleet, task: str) -> None:
    """Wait until its handler runs."""
    while f"start {task} " not in ours.witness_file.read_text():  # noqa: ASYNC110
        await asyncio.sleep(0.02)
