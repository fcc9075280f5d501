"""Reading a real ledger for a trace: to its end, from what is left of it, and on with what comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from orchestrator.amqp import Link, Published, topology
from orchestrator.amqp.errors import Missing
from orchestrator.amqp.ledger import LedgerTail
from orchestrator.replay.ledger import read_ledger
from orchestrator.replay.recorder import Recorder
from orchestrator.traces import TraceTask
from orchestrator.vocabulary import NS_PER_S, Attempt
from orchestrator.wire.codec import encode_entry
from orchestrator.wire.facts import Accepted, Ended, Entry
from orchestrator.wire.messages import Task

pytestmark = pytest.mark.broker


@pytest_asyncio.fixture
async def link(amqp_url: str) -> AsyncIterator[Link]:
    """A session, and a ledger that holds some 300 kB."""
    opened = await Link.open(amqp_url, name="tests")
    await opened.declare(topology.base(ledger_max_bytes=300_000, ledger_segment_bytes=100_000))
    yield opened
    await opened.close()


async def live(tail: LedgerTail, first: int, last: int, args: bytes = b"\x80") -> None:
    """Tasks of these numbers come and end, an entry each."""
    for number in range(first, last):
        task, now = f"t{number}", time.time_ns()
        facts = [Accepted([Task(task, "a.b", args)], now), Ended(task, "done", now, Attempt(1, number), started_ns=now - NS_PER_S)]
        assert await tail.append(encode_entry(Entry("w", number, facts=list(facts)))) is Published.CONFIRMED


async def test_it_is_read_to_its_end_and_no_further(link: Link) -> None:
    """All that was there, with how far it has come on the way; an entry that is none is counted."""
    tail = LedgerTail(link)
    await live(tail, 0, 50)
    await tail.append(b"garbage")
    await live(tail, 50, 60)
    told: list[TraceTask] = []
    shares: list[float] = []
    read = await read_ledger(link, Recorder(), told.append, progress=lambda read: shares.append(read.share))
    assert [task.id for task in told] == [f"t{number}" for number in range(60)]
    assert {task.runtime_s for task in told} == {1.0}
    assert (read.first, read.last, read.unreadable, read.gaps) == (0, 60, 1, [])
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len(set(shares)) > 10


async def test_an_empty_ledger_and_none_at_all(link: Link) -> None:
    """Nothing is told; where no coordinator ever ran that is an error."""
    read = await read_ledger(link, Recorder(), lambda task: None)
    assert (read.first, read.end) == (-1, -1)
    await link.delete_queue(topology.LEDGER)
    with pytest.raises(Missing):
        await read_ledger(link, Recorder(), lambda task: None)


async def test_what_the_cap_cut_off_is_seen_to_be_missing(link: Link) -> None:
    """The first offset that is left is not 0; of a task whose submission is gone, only the count is known."""
    tail = LedgerTail(link)
    await tail.append(encode_entry(Entry("w", 0, facts=[Accepted([Task("early", "a.b")], time.time_ns())])))
    await live(tail, 1, 100, b"x" * 10_000)
    now = time.time_ns()
    await tail.append(encode_entry(Entry("w", 100, facts=[Ended("early", "done", now, Attempt(1, 1), started_ns=now - 1)])))
    recorder = Recorder()
    told: list[TraceTask] = []
    read = await read_ledger(link, recorder, told.append)
    assert read.first > 0
    assert 0 < len(told) < 99
    assert recorder.left_out == {"its submission is not in the ledger any more": 1}


async def test_it_is_followed_until_somebody_has_enough(link: Link) -> None:
    """From a moment on, and on with what comes."""
    tail = LedgerTail(link)
    began_ns = time.time_ns()
    await live(tail, 0, 5)
    stop, ten = asyncio.Event(), asyncio.Event()
    told: list[str] = []

    def tell(task: TraceTask) -> None:
        told.append(task.id)
        if len(told) == 10:
            ten.set()

    reading = asyncio.create_task(read_ledger(link, Recorder(began_ns), tell, since_ns=began_ns, follow=stop))
    await live(tail, 5, 10)
    await asyncio.wait_for(ten.wait(), 10)
    assert not reading.done()
    stop.set()
    read = await asyncio.wait_for(reading, 10)
    assert told == [f"t{number}" for number in range(10)]
    assert read.first == 0


async def test_what_goes_wrong_in_the_telling_is_raised_where_somebody_waits(link: Link) -> None:
    """A full disk, say."""
    await live(LedgerTail(link), 0, 3)

    def tell(task: TraceTask) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        await asyncio.wait_for(read_ledger(link, Recorder(), tell), 20)
