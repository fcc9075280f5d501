"""The books of a channel, against the rules by which a broker keeps its own."""

from __future__ import annotations

import asyncio
import struct
import sys
import tracemalloc
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.amqp import Delivery, Published, channels, frames
from orchestrator.amqp.channels import ConsumeChannel, PublishChannel, SoftChannel
from orchestrator.amqp.frames import Envelope, Properties
from orchestrator.amqp.tap import Tap


class Socket(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: Any) -> None:
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever buffered."""

    def is_closing(self) -> bool:
        return False


class Broker:
    """What a broker knows of one consumer's channel: which tags are open. It closes the channel over an unknown one."""

    def __init__(self) -> None:
        self.open: list[int] = []
        self.acked: list[int] = []
        self.requeued: list[int] = []
        self.frames = 0

    def read(self, data: bytes) -> None:
        for at in range(0, len(data), 21):
            _, _, _, method, tag, bits, _ = struct.unpack_from(">BHIIQBB", data, at)
            assert tag in self.open, f"406 PRECONDITION_FAILED - unknown delivery tag {tag}"
            taken = [each for each in self.open if each <= tag] if bits & 1 else [tag]
            self.open = [each for each in self.open if each not in taken]
            (self.acked if method == frames.BASIC_ACK else self.requeued).extend(taken)
            self.frames += 1


class Bench:
    """A consumer's channel on a socket, with the broker's view of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, gather: int = 1) -> None:
        self.socket = Socket()
        self.broker = Broker()
        self.tap = tap = Tap(loop, on_lost=lambda _: None, on_blocked=lambda *_: None, on_bug=lambda _: None)
        tap.connection_made(self.socket)
        self.taken: list[Delivery] = []
        self.channel = ConsumeChannel(
            tap, 1, session=1, key=1, sink=self.taken.append, no_ack=False, gather=gather, body_bytes_max=10,
            on_end=lambda *_: None,
        )  # fmt: skip

    def deliver(self, count: int) -> None:
        for _ in range(count):
            tag = len(self.taken) + 1
            self.broker.open.append(tag)
            self.channel.on_message(Envelope(frames.BASIC_DELIVER, tag, False, "", "", None), Properties(0), b"")

    def flush(self) -> None:
        self.tap.flush()
        self.broker.read(self.socket.written)
        self.socket.written = b""


steps = st.lists(
    st.tuples(st.sampled_from(["deliver", "settle", "reject", "all", "tell"]), st.lists(st.integers(0, 24), max_size=8)),
    max_size=30,
)


@given(steps=steps, gather=st.integers(1, 9))
def test_the_broker_never_sees_a_tag_it_does_not_know(steps: list[tuple[str, list[int]]], gather: int) -> None:
    """Whatever is settled, in any order, twice, or before it came: the broker has open what we think is open, and what it is soon
    to hear of."""
    loop = asyncio.new_event_loop()
    bench = Bench(loop, gather)
    ours: set[int] = set()
    rejected: set[int] = set()
    for step, tags in steps:
        if step == "deliver":
            bench.deliver(len(tags))
            ours.update(range(len(bench.taken) - len(tags) + 1, len(bench.taken) + 1))
        elif step == "all":
            bench.channel.settle_all()
            ours.clear()
        elif step == "tell":
            bench.channel.acknowledge()
        else:
            fresh = {tag for tag in tags if tag in ours}
            stale = bench.channel.settle(tags) if step == "settle" else bench.channel.reject(tags, requeue=True)
            assert stale == len(tags) - len(fresh)
            ours -= fresh
            rejected |= fresh if step == "reject" else set()
        bench.flush()
        assert ours <= set(bench.broker.open)
        assert len(bench.broker.open) < len(ours) + gather
        assert bench.channel.unsettled == len(ours)
    bench.channel.acknowledge()
    bench.flush()
    assert set(bench.broker.open) == ours
    assert set(bench.broker.requeued) == rejected
    loop.close()


def test_what_is_settled_from_the_bottom_up_costs_one_frame() -> None:
    """A thousand deliveries in any order of settling, one call: one acknowledgement."""
    loop = asyncio.new_event_loop()
    bench = Bench(loop)
    bench.deliver(1_000)
    bench.channel.settle(range(1_000, 0, -1))
    bench.flush()
    assert (bench.broker.frames, bench.broker.open) == (1, [])
    loop.close()


def test_a_hole_keeps_what_is_below_it_open() -> None:
    """2 is still ours: 1 goes with ``multiple``, 3 and 4 go alone; when 2 is settled it must not name 3 or 4 again."""
    loop = asyncio.new_event_loop()
    bench = Bench(loop)
    bench.deliver(4)
    bench.channel.settle([1, 3, 4])
    bench.flush()
    assert bench.broker.open == [2]
    bench.channel.settle([2])
    bench.flush()
    assert bench.broker.open == []
    loop.close()


async def test_what_is_settled_above_a_hole_is_not_remembered() -> None:
    """One delivery waits, and a flood goes by: what is kept of that is no more than what is open."""
    bench = Bench(asyncio.get_running_loop())
    bench.deliver(1)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for tag in range(2, 20_002):
            bench.channel.on_message(Envelope(frames.BASIC_DELIVER, tag, False, "", "", None), Properties(0), b"")
            bench.channel.settle([tag])
            if tag % 100 == 0:
                await asyncio.sleep(0)  # it leaves
                bench.taken.clear()
                bench.socket.written = b""
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert bench.channel.unsettled == 1
    assert kept < 50_000
    bench.channel.settle([1])
    assert bench.channel.unsettled == 0


async def test_what_is_settled_between_things_that_wait_goes_in_one_frame_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rubbish is settled at once, the honest among it when the ledger has it: gathered, both cost one frame."""
    monkeypatch.setattr(channels, "ACK_WITHIN_S", 0.01)
    bench = Bench(asyncio.get_running_loop(), gather=50)
    bench.deliver(40)
    bench.channel.settle(range(2, 41))
    bench.channel.settle([1])
    bench.flush()
    assert bench.broker.frames == 0
    await asyncio.sleep(10 * channels.ACK_WITHIN_S)
    bench.flush()
    assert (bench.broker.frames, bench.broker.open) == (1, [])
    bench.deliver(50)
    bench.channel.settle(range(41, 91))
    bench.flush()
    assert bench.broker.open == [], "so many do not wait either"


async def test_a_channel_that_is_closed_hears_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number may be another's by then."""
    monkeypatch.setattr(channels, "ACK_WITHIN_S", 0.01)
    bench = Bench(asyncio.get_running_loop(), gather=50)
    bench.deliver(2)
    bench.channel.settle([1])
    bench.channel.on_closed(406, "gone")
    await asyncio.sleep(10 * channels.ACK_WITHIN_S)
    bench.flush()
    assert bench.broker.frames == 0


async def test_of_what_may_be_lost_only_the_return_is_heard() -> None:
    """Its key and its note are all that comes back; there is no confirm to wait for."""
    heard: list[tuple[str, str]] = []
    tap = Tap(asyncio.get_running_loop(), on_lost=lambda _: None, on_blocked=lambda *_: None, on_bug=lambda _: None)
    socket = Socket()
    tap.connection_made(socket)
    soft = SoftChannel(tap, 1, 131_072, on_returned=lambda key, note: heard.append((key, note)), on_closed=lambda *_: None)
    soft.tell("orders", "agent", b"body", "7.3", mandatory=True, persistent=False)
    tap.flush()
    assert b"7.3" in socket.written
    soft.on_message(Envelope(frames.BASIC_RETURN, 312, False, "orders", "agent", None), Properties(0, message_id="7.3"), b"")
    assert heard == [("agent", "7.3")]


def publisher() -> tuple[PublishChannel, Socket]:
    socket = Socket()
    loop = asyncio.get_running_loop()
    tap = Tap(loop, on_lost=lambda _: None, on_blocked=lambda *_: None, on_bug=lambda _: None)
    tap.connection_made(socket)
    return PublishChannel(tap, 1, 131_072, "p-", lambda *_: None), socket


def returned(message_id: str | None) -> tuple[Envelope, Properties, bytes]:
    return Envelope(frames.BASIC_RETURN, 312, False, "", "", None), Properties(0, message_id=message_id), b""


async def test_each_publish_gets_its_own_answer_whatever_the_order() -> None:
    """Confirms one by one, several at once, refusals and returns: each future has the answer meant for it."""
    channel, _ = publisher()
    futures = [channel.send("x", "k", b"") for _ in range(7)]
    channel.on_confirm(3, False, True)
    channel.on_message(*returned("p-2"))
    channel.on_confirm(2, False, True)
    channel.on_confirm(5, True, True)
    channel.on_confirm(6, False, False)
    assert [future.result() for future in futures[:6]] == [
        Published.CONFIRMED,
        Published.RETURNED,
        Published.CONFIRMED,
        Published.CONFIRMED,
        Published.CONFIRMED,
        Published.NACKED,
    ]
    assert channel.pending == 1
    channel.lose()
    assert futures[6].result() is Published.LOST


@pytest.mark.parametrize("message_id", [None, "", "p-", "p-x", "p-99", "q-1", "p-\uff11"])
async def test_a_return_that_is_not_of_ours_is_nobodys(message_id: str | None) -> None:
    """Only an id that we gave, of a publish that waits, is matched."""
    channel, _ = publisher()
    future = channel.send("x", "k", b"")
    channel.on_message(*returned(message_id))
    assert not future.done()


async def test_a_publish_that_cannot_be_encoded_does_not_count() -> None:
    """The broker never sees it, so the next one has its number."""
    channel, socket = publisher()
    with pytest.raises(ValueError, match="255"):
        channel.send("x", "k" * 300, b"")
    assert socket.written == b""
    future = channel.send("x", "k", b"")
    channel.on_confirm(1, False, True)
    assert future.result() is Published.CONFIRMED


async def test_a_publisher_that_gave_up_waiting_disturbs_nobody() -> None:
    """The late answer to a cancelled future is dropped."""
    channel, _ = publisher()
    first, second = cast(list[asyncio.Future[Published]], [channel.send("x", "k", b"") for _ in range(2)])
    first.cancel()
    channel.on_confirm(2, True, True)
    assert second.result() is Published.CONFIRMED


async def test_what_was_confirmed_singly_is_not_walked_through_by_a_later_answer_to_many() -> None:
    """Ten thousand lone publishes, each answered; then three, answered at once: that looks at the three."""
    tap = Tap(asyncio.get_running_loop(), on_lost=lambda _: None, on_blocked=lambda *_: None, on_bug=lambda _: None)
    tap.connection_made(Socket())
    channel = PublishChannel(tap, 1, 131_072, "p-", lambda *_: None)
    for tag in range(1, 10_001):
        sent = channel.send("", "k", b"")
        channel.on_confirm(tag, multiple=False, ok=True)
        assert sent.result() is Published.CONFIRMED
    last = [channel.send("", "k", b"") for _ in range(3)]
    calls = 0

    def count(frame: object, event: str, what: object) -> None:
        nonlocal calls
        calls += event == "c_call"

    sys.setprofile(count)
    channel.on_confirm(10_003, multiple=True, ok=True)
    sys.setprofile(None)
    assert [one.result() for one in last] == [Published.CONFIRMED] * 3
    assert calls < 50
