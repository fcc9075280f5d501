"""The ledger: append and read again, from anywhere, with every loss told."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import aiormq
import pytest
from pamqp import commands as spec

from orchestrator.amqp import Link, Published, ledger
from orchestrator.amqp.errors import BrokenBy, LedgerRewound
from orchestrator.amqp.ledger import LAGS_S, Gap, LedgerTail
from orchestrator.amqp.topology import INTERNAL, KEY_LEDGER, LEDGER
from orchestrator.live.embedded import EmbeddedBroker
from tests.amqp.conftest import BASE, Basket, Opener


async def append(tail: LedgerTail, *bodies: bytes) -> None:
    for answer in [tail.append(body) for body in bodies]:
        assert await answer is Published.CONFIRMED


def numbered(start: int, stop: int) -> list[bytes]:
    return [b"%d" % number for number in range(start, stop)]


async def test_what_is_appended_is_read_back_by_every_reader_in_order(opener: Opener, link: Link) -> None:
    """A leader and a standby, both following: each gets every fact once, with its offset, also those of before."""
    tail = LedgerTail(link)
    await append(tail, *numbered(0, 5))
    standby = LedgerTail(await opener("standby"))
    gaps: list[Gap] = []
    first, second = Basket(), Basket()
    await tail.follow("first", first, on_gap=gaps.append)
    await standby.follow(2, second, on_gap=gaps.append)
    await append(tail, *numbered(5, 500))
    await first.until(500)
    await second.until(498)
    assert first.bodies == numbered(0, 500)
    assert second.bodies == numbered(2, 500)
    assert [delivery.offset for delivery in second.deliveries] == list(range(2, 500))
    assert gaps == []


async def test_an_append_is_read_back_within_milliseconds(link: Link) -> None:
    """The gate that every fact passes: median below 20 ms on a busy test machine (0.5 ms on an idle one)."""
    tail = LedgerTail(link)
    basket = Basket()
    await tail.follow("next", basket, on_gap=lambda _: None)
    taken: list[float] = []
    for number in range(200):
        began = time.perf_counter()
        tail.append(b"x")
        await basket.until(number + 1)
        taken.append(time.perf_counter() - began)
    assert sorted(taken)[100] < 0.02


async def test_next_means_from_now_on(link: Link) -> None:
    """What was there before is not read."""
    tail = LedgerTail(link)
    await append(tail, b"old")
    basket = Basket()
    await tail.follow("next", basket, on_gap=lambda _: None)
    await append(tail, b"new")
    assert [delivery.body for delivery in await basket.until(1)] == [b"new"]


async def test_the_last_chunk_holds_the_last_message(link: Link) -> None:
    """However the messages were bundled: the newest is the last of it, and nothing of it is missing."""
    tail = LedgerTail(link)
    for size in (1, 1, 7, 300, 1):
        basket = Basket()
        consumer = await tail.follow("next", basket, on_gap=lambda _: None)
        await append(tail, *numbered(0, size))
        newest = (await basket.until(size))[-1]
        await consumer.cancel()
        chunk = await tail.last_chunk()
        offsets = [delivery.offset or 0 for delivery in chunk]
        assert offsets == list(range(offsets[0], (newest.offset or 0) + 1))


async def test_an_empty_ledger_has_no_last_chunk(link: Link) -> None:
    """Nothing comes within the patience: read from the first."""
    assert await LedgerTail(link).last_chunk(patience_s=0.2) == []
    assert await LedgerTail(link).latest(8, patience_s=0.2) == []


async def test_the_latest_few_are_found_in_however_many_chunks_they_lie(link: Link) -> None:
    """One by one, behind the begin of a new segment, fewer than asked for: all that there are, up to as many, without a hole."""
    tail = LedgerTail(link)
    await append(tail, b"0")
    assert [each.body for each in await tail.latest(8)] == [b"0"]
    for number in range(1, 12):
        await append(tail, b"%d" % number)
    assert [each.body for each in await tail.latest(8)][-8:] == [b"%d" % number for number in range(4, 12)]
    noted = 0
    for number in range(12, 60):
        await append(tail, b"%d" % number, *[b"x" * 10_000] * 10)
        if number % 2:
            found = await tail.latest(30)
            assert len(found) >= 30
            steps = [(later.offset or 0) - (sooner.offset or 0) for sooner, later in pairwise(found)]
            assert set(steps) <= {1, 2}
            noted += steps.count(2)
    assert noted, "the stream has written no note of its own: this shows too little"


async def test_a_reader_who_asks_for_what_was_cut_off_is_told_what_is_missing(link: Link) -> None:
    """The cap cut the old end: first the gap, then the first message that is left, then all the others."""
    tail = LedgerTail(link)
    for _ in range(60):
        await append(tail, *[b"x" * 10_000] * 10)
    gaps: list[Gap] = []
    basket = Basket()
    await tail.follow(3, basket, on_gap=gaps.append)
    await basket.until(20)
    (gap,) = gaps
    assert gap.expected == 3
    assert gap.found == basket.deliveries[0].offset
    assert gap.found > 100
    assert "3 to" in str(gap)


async def test_the_streams_own_notes_between_segments_are_no_loss(link: Link) -> None:
    """The stream uses up an offset of its own in each new segment: every message arrives, and no gap is told."""
    tail = LedgerTail(link)
    gaps: list[Gap] = []
    basket = Basket()
    await tail.follow("first", basket, on_gap=gaps.append)
    bodies = [b"%d" % number + b"x" * 10_000 for number in range(170)]
    for start in range(0, 170, 10):
        await append(tail, *bodies[start : start + 10])
    deliveries = await basket.until(170)
    assert basket.bodies == bodies
    assert (deliveries[-1].offset or 0) > 169, "three segments, and no note between them: then gaps of one are losses"
    assert gaps == []


async def test_reading_beyond_the_end_is_refused(link: Link) -> None:
    """The broker would deliver nothing up to that offset, in silence. The end itself is a good place to begin."""
    tail = LedgerTail(link)
    await append(tail, *numbered(0, 10))
    with pytest.raises(LedgerRewound, match="offsets have begun again") as caught:
        await tail.follow(11, Basket(), on_gap=lambda _: None)
    assert (caught.value.asked, caught.value.end) == (11, 10)
    basket = Basket()
    await tail.follow(10, basket, on_gap=lambda _: None)
    await append(tail, b"eleventh")
    assert [delivery.offset for delivery in await basket.until(1)] == [10]


async def test_an_end_that_still_grows_is_waited_for(opener: Opener, link: Link) -> None:
    """The replica next to us may lag: what looks lost comes a moment later, and nobody writes a living ledger again from memory."""
    writer, tail = LedgerTail(link), LedgerTail(await opener("reader"))
    await append(writer, *numbered(0, 10))
    basket = Basket()
    coming = asyncio.create_task(tail.follow(14, basket, on_gap=lambda _: None, lags_s=LAGS_S))
    for number in range(10, 14):
        done, _ = await asyncio.wait((coming,), timeout=0.2)
        assert not done, "it did not wait for what comes"
        await append(writer, *numbered(number, number + 1))
    await asyncio.wait_for(coming, 5)
    await append(writer, b"what it came for")
    assert [delivery.offset for delivery in await basket.until(1)] == [14]


async def test_a_ledger_that_is_deleted_ends_the_session_and_begins_again_at_zero(opener: Opener, link: Link) -> None:
    """Whoever follows is told; whoever comes back asking for the old place is told that it is no more."""
    reader = await opener("reader")
    tail = LedgerTail(reader)
    await append(tail, *numbered(0, 10))
    basket = Basket()
    await tail.follow(0, basket, on_gap=lambda _: None)
    await basket.until(10)
    await link.delete_queue(LEDGER)
    broken = await asyncio.wait_for(reader.broken, 5)
    assert (broken.by, broken.where) == (BrokenBy.CONSUMER, LEDGER)
    await link.declare(BASE)
    anew = LedgerTail(link)
    await append(anew, b"a", b"b")
    with pytest.raises(LedgerRewound) as caught:
        await anew.follow(10, Basket(), on_gap=lambda _: None)
    assert caught.value.end == 2


async def test_an_entry_with_long_headers_keeps_its_place(amqp_url: str, link: Link) -> None:
    """The offset stands among the publisher's headers, which are long here: it is read all the same, by whoever follows and by
    whoever looks for the end."""
    tail = LedgerTail(link)
    await append(tail, b"before")
    peer = await aiormq.connect(amqp_url)
    channel = await peer.channel()
    long = spec.Basic.Properties(headers={"long": "x" * 5_000})
    await channel.basic_publish(b"long", exchange=INTERNAL, routing_key=KEY_LEDGER, properties=long)
    await peer.close()
    assert [delivery.offset for delivery in await tail.last_chunk()] == [1]
    gaps: list[Gap] = []
    basket = Basket()
    await tail.follow("first", basket, on_gap=gaps.append)
    await append(tail, b"behind")
    found = [(delivery.body, delivery.offset) for delivery in await basket.until(3)]
    assert found == [(b"before", 0), (b"long", 1), (b"behind", 2)]
    assert gaps == []


async def test_nothing_is_left_open_in_a_quiet_ledger(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message left unacknowledged would close the channel after ``consumer_timeout``. Many are acknowledged at once, the last few
    when their time has come."""
    tail = LedgerTail(link)
    basket = Basket()
    monkeypatch.setattr(ledger, "SETTLE_AFTER_S", 3600.0)
    consumer = await tail.follow("first", basket, on_gap=lambda _: None, prefetch=40)
    await append(tail, *numbered(0, 95))
    await basket.until(95)
    assert consumer.unsettled == 5
    await consumer.cancel()
    monkeypatch.setattr(ledger, "SETTLE_AFTER_S", 0.0)
    consumer = await tail.follow(95, basket, on_gap=lambda _: None, prefetch=40)
    await append(tail, *numbered(95, 97))
    await basket.until(97)
    await link.stat(LEDGER)  # a turn of the loop
    assert consumer.unsettled == 0


async def test_following_stops_when_told(link: Link) -> None:
    """A cancelled follower gets nothing more, and the session lives."""
    tail = LedgerTail(link)
    basket = Basket()
    consumer = await tail.follow("first", basket, on_gap=lambda _: None)
    await append(tail, b"1")
    await basket.until(1)
    await consumer.cancel()
    await append(tail, b"2")
    again = Basket()
    await tail.follow("first", again, on_gap=lambda _: None)
    await again.until(2)
    assert basket.bodies == [b"1"]
    assert not link.is_broken


async def test_who_has_looked_is_listed_as_a_consumer_no_more(broker: EmbeddedBroker, amqp_url: str, link: Link) -> None:
    """At the beginning and at the end. One whose channel is closed under it would stay in the broker's list for two minutes."""
    tail = LedgerTail(link)
    await append(tail, b"x")
    assert await tail.first_offset() == 0
    assert len(await tail.last_chunk()) == 1
    vhost = amqp_url.rpartition("/")[2]
    listed = f'length([1 || {{{{{{resource, <<"{vhost}">>, _, _}}, _, _}}, _, _, _, _, _, _}} <- ets:tab2list(consumer_created)]).'
    assert (await broker.ctl("eval", listed)).strip() == "0"
    reader = Basket()
    await tail.follow("first", reader, on_gap=lambda gap: None)
    assert (await broker.ctl("eval", listed)).strip() == "1"
