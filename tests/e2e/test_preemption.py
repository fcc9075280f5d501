"""A long task makes room for short ones and goes on elsewhere: through a real broker, with real processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from orchestrator.client import Client
from orchestrator.live.embedded import EmbeddedBroker
from tests.e2e.fleet import Fleet, fleet
from tests.e2e.yielding import UNIT_S

pytestmark = pytest.mark.broker

SPEC = "tests.e2e.yielding:service"
WITHIN_S = 0.2
"""So soon after its submission the first short one runs …"""
TRIPS = 10
"""… or, where others keep the machine busy, in the time that so many questions to the coordinator take."""
OVERHEAD_S = 0.3
"""What starting, stopping and the witness may cost both attempts together, or as many trips."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedBroker]:
    """A node of its own: nobody else's coordinator, and nobody else's policy."""
    async with EmbeddedBroker(tmp_path_factory.mktemp("yielding")) as node:
        yield node


@pytest.mark.parametrize(
    ("handler", "seconds"),
    [
        pytest.param("render", 30, id="async, 30 s"),
        pytest.param("render_in_thread", 6, id="thread"),
        pytest.param("render_in_process", 6, id="process"),
    ],
)
async def test_a_long_task_yields_to_short_ones(handler: str, seconds: int, broker: EmbeddedBroker, tmp_path: Path) -> None:
    """The first of ten short ones runs within 200 ms; the long one resumes on the other instance, from its checkpoint, and no more
    of its work is lost than lies between two checkpoints."""
    units = round(seconds / UNIT_S)
    async with fleet(broker.url, tmp_path) as ours, asyncio.timeout(seconds + 60):
        await ours.start("coordinator", "-m", "orchestrator", "coordinator", "--ordering", "srtf")
        await ours.start("worker-1", "-m", "workers", "run", SPEC, "--capacity", "desk=1")
        async with Client(broker.url) as client:
            long = await client.task(f"farm.{handler}", estimate=seconds).submit(units=units)
            await heard(ours, long.id, "begin", 1)
            await ours.start("worker-2", "-m", "workers", "run", SPEC)
            await heard(ours, long.id, "unit", 4)
            await ours.ready(client, 2)
            trips = [await trip(client) for _ in range(5)]
            quick = client.task("farm.quick", estimate=0.1)
            submitted = time.time()
            handles = await client.submit_many([quick.call() for _ in range(10)])
            await asyncio.gather(*handles)
            known = await client.ask("task", task=long.id)
            assert await long == units
            trips += [await trip(client) for _ in range(5)]
        first = min(float(words[3]) for words in lines(ours) if words[0] == "begin" and words[1] in {one.id for one in handles})
        began, over = moments(ours, long.id, "begin"), moments(ours, long.id, "over")
        ran_s = sum(end - start for (_, start), (_, end) in zip(began, over, strict=True))
        resumed_s = began[1][1] - over[0][1]
        done = moments(ours, long.id, "unit")
        lost_s = over[0][1] - max(when for who, when in done if who == began[0][0])
        busy_s = TRIPS * max(trips)
        print(
            f"{handler}: the first short one ran {1000 * (first - submitted):.0f} ms after its submission, the long one stood "
            f"still for {1000 * resumed_s:.0f} ms and ran {ran_s:.3f} s in all, of {seconds} s, of which {lost_s:.3f} s were lost; "
            f"a question took {1000 * max(trips):.0f} ms"
        )
        assert first - submitted <= max(WITHIN_S, busy_s)
        assert known["preemptions"] == 1
        assert len(began) == 2
        assert began[0][0] != began[1][0], "it goes on in another process"
        assert seconds <= ran_s + OVERHEAD_S
        assert lost_s <= UNIT_S + max(OVERHEAD_S, busy_s)
        assert len(done) == units, "every unit was done once"


async def trip(client: Client) -> float:
    """How long a plain question and its answer take, in seconds."""
    since = time.monotonic()
    await client.ask("status")
    return time.monotonic() - since


def lines(ours: Fleet) -> list[list[str]]:
    """What the witness has."""
    return [line.split() for line in ours.witness_file.read_text().splitlines()]


def moments(ours: Fleet, task: str, what: str) -> list[tuple[str, float]]:
    """By whom and when that was said of the task."""
    return [(words[2], float(words[3])) for words in lines(ours) if words[:2] == [what, task]]


async def heard(ours: Fleet, task: str, what: str, count: int) -> None:
    """Wait until that was said so often."""
    while len(moments(ours, task, what)) < count:  # noqa: ASYNC110  # other processes: there is no signal
        await asyncio.sleep(0.02)
