"""One session after another."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from orchestrator.amqp import Delivery, Link, Published
from orchestrator.amqp.errors import AccessRefused, Broken, BrokenBy, CannotConnect, Fault, TopologyMismatch, broker_refused
from orchestrator.amqp.supervisor import Backoff, OpenFailed, SessionEnded, SessionEvent, SessionOpened, keep_session
from orchestrator.amqp.topology import TASKS, Queue, Topology, base, intake, intake_queue
from orchestrator.live.embedded import EmbeddedBroker
from tests.amqp.conftest import BASE, Basket

GPU = intake_queue("gpu")
QUICK = Backoff(first_s=0.01, most_s=0.1)


def door(url: str, name: str = "supervised") -> Callable[[], Awaitable[Link]]:
    return lambda: Link.open(url, name=name)


@pytest.mark.parametrize("seed", range(20))
def test_the_wait_grows_to_its_limit_and_is_never_the_same_for_all(seed: int) -> None:
    """First retry within a tenth of a second, later ones within five; at least half of it is certain."""
    rng = Random(seed)
    backoff = Backoff()
    waits = [backoff.wait_s(attempt, rng) for attempt in (1, 2, 3, 4, 5, 6, 7, 100, 10_000)]
    bounds = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    assert all(bound / 2 <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))
    assert waits != [backoff.wait_s(attempt, Random(seed + 1)) for attempt in range(1, 10)]


async def test_what_run_returns_ends_it(amqp_url: str) -> None:
    """The result is handed on, and the session is closed."""
    links: list[Link] = []

    async def run(link: Link) -> int:
        links.append(link)
        return 42

    assert await keep_session(door(amqp_url), run, rng=Random(1), on_event=lambda _: None) == 42
    assert (await links[0].broken).by is BrokenBy.CLOSED


async def test_a_broken_session_is_followed_by_another_with_another_number(amqp_url: str) -> None:
    """An operator deletes the queue: run is stopped before the next session begins, through the same door, and told why."""
    events: list[SessionEvent] = []
    sessions: list[int] = []
    inside = 0

    async def run(link: Link) -> str:
        nonlocal inside
        assert inside == 0
        inside += 1
        try:
            sessions.append(link.session)
            await link.declare(BASE + intake("gpu"))
            await link.consume(GPU, Basket(), prefetch=10)
            if len(sessions) == 3:
                return "enough"
            async with await Link.open(amqp_url, name="operator") as operator:
                await operator.delete_queue(GPU)
            await asyncio.Event().wait()
            raise AssertionError("never")
        finally:
            inside -= 1

    assert await keep_session(door(amqp_url), run, rng=Random(1), on_event=events.append, backoff=QUICK) == "enough"
    assert len(set(sessions)) == 3
    assert [type(event) for event in events] == [
        SessionOpened, SessionEnded, SessionOpened, SessionEnded, SessionOpened,
    ]  # fmt: skip
    ended = events[1]
    assert isinstance(ended, SessionEnded)
    assert ended.broken.by is BrokenBy.CONSUMER
    assert GPU in str(ended)
    assert "the next one is tried in" in str(ended)


async def test_waiting_for_an_answer_that_will_not_come_ends_a_session_like_any_loss(amqp_url: str) -> None:
    """``run`` gets LinkLost out of its publish and need not handle it."""
    turns = itertools.count()

    async def run(link: Link) -> int:
        turn = next(turns)
        if turn < 2:
            await link.publish("no.such.exchange", "k", b"x")
        return turn

    assert await keep_session(door(amqp_url), run, rng=Random(1), on_event=lambda _: None, backoff=QUICK) == 2


async def test_an_agent_waits_until_somebody_has_declared_what_it_needs(amqp_url: str) -> None:
    """Missing queues are no reason to crash: the coordinator may come later."""
    events: list[SessionEvent] = []

    async def coordinator() -> None:
        async with await Link.open(amqp_url, name="coordinator") as link:
            await link.declare(BASE)

    async def run(link: Link) -> str:
        await link.check(BASE)
        return "ready"

    def on_event(event: SessionEvent) -> None:
        events.append(event)
        if isinstance(event, SessionEnded) and len(events) == 4:
            later.append(asyncio.ensure_future(coordinator()))

    later: list[asyncio.Task[None]] = []
    assert await keep_session(door(amqp_url), run, rng=Random(1), on_event=on_event, backoff=QUICK) == "ready"
    await later[0]
    ended = events[1]
    assert isinstance(ended, SessionEnded)
    assert "Start a coordinator" in str(ended)


@pytest.mark.parametrize(
    "said",
    [
        "PRECONDITION_FAILED - stream queue 'orchestrator.ledger' in vhost '/' does not have a running replica on the local node",
        "PRECONDITION_FAILED - queue 'queue 'orchestrator.ledger' in vhost '/'' does not have a replica on the local node",
    ],
    ids=["4.0.5", "3.10.8"],
)
async def test_a_stream_that_no_replica_serves_yet_is_asked_for_again(amqp_url: str, said: str) -> None:
    """4.0 says so to the second of two coordinators that began in the same moment, 3.10 while two nodes of three are gone."""
    turns = itertools.count()

    async def run(link: Link) -> int:
        turn = next(turns)
        if turn < 2:
            raise broker_refused(406, said, "Consuming from orchestrator.ledger", "orchestrator.ledger")
        return turn

    assert await keep_session(door(amqp_url), run, rng=Random(1), on_event=lambda _: None, backoff=QUICK) == 2


async def test_a_right_that_was_taken_away_may_be_given_back(amqp_url: str) -> None:
    """Refused in a later session: that is over, and another follows. Refused in the first: whoever set us up is told."""
    forbidden = Topology(queues=(Queue("amq.mine"),))
    events: list[SessionEvent] = []
    turns = itertools.count()

    async def later(link: Link) -> int:
        turn = next(turns)
        if turn == 0:
            await link.publish("no.such.exchange", "k", b"x")
        if turn == 1:
            await link.declare(forbidden)
        return turn

    assert await keep_session(door(amqp_url), later, rng=Random(1), on_event=events.append, backoff=QUICK) == 2
    told = [str(event) for event in events if isinstance(event, SessionEnded)]
    assert "the user may not" in told[1]
    with pytest.raises(AccessRefused):
        await keep_session(
            door(amqp_url), lambda link: link.declare(forbidden), rng=Random(1), on_event=events.append, backoff=QUICK
        )


async def test_our_own_bugs_and_refusals_are_not_retried(amqp_url: str) -> None:
    """A failing sink, a failing run, a queue that differs: raised to the caller, with the session closed."""
    links: list[Link] = []

    async def failing_sink(link: Link) -> None:
        links.append(link)
        await link.declare(BASE + intake("gpu"))

        def sink(_: Delivery) -> None:
            raise ZeroDivisionError("in a sink")

        await link.consume(GPU, sink, prefetch=1)
        await link.publish(TASKS, "gpu", b"x")
        await asyncio.Event().wait()

    async def failing_run(link: Link) -> None:
        links.append(link)
        raise ZeroDivisionError("in run")

    async def differing(link: Link) -> None:
        links.append(link)
        await link.declare(base(ledger_max_bytes=1_000_000, ledger_segment_bytes=500_000))

    for run, error in ((failing_sink, ZeroDivisionError), (failing_run, ZeroDivisionError), (differing, TopologyMismatch)):
        with pytest.raises(error):
            await keep_session(door(amqp_url), run, rng=Random(1), on_event=lambda _: None)
    assert all(link.is_broken for link in links)


async def test_stopping_from_outside_stops_run_and_closes(amqp_url: str) -> None:
    """Cancelled, it cancels run, waits for it, and leaves no task behind."""
    before = asyncio.all_tasks()
    links: list[Link] = []
    entered, cleaned = asyncio.Event(), asyncio.Event()

    async def run(link: Link) -> None:
        links.append(link)
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    task = asyncio.ensure_future(keep_session(door(amqp_url), run, rng=Random(1), on_event=lambda _: None))
    await asyncio.wait_for(entered.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned.is_set()
    assert links[0].is_broken
    assert asyncio.all_tasks() == before


async def test_what_only_a_person_can_cure_is_tried_slowly_and_said(amqp_url: str, broker: EmbeddedBroker) -> None:
    """A virtual host that does not exist: the slowest pace from the start, and the reason with what to do."""
    told: asyncio.Queue[SessionEvent] = asyncio.Queue()

    async def run(_: Link) -> None:
        raise AssertionError("never")

    async def watch(url: str) -> OpenFailed:
        task = asyncio.ensure_future(keep_session(door(url), run, rng=Random(1), on_event=told.put_nowait))
        event = await asyncio.wait_for(told.get(), 5)
        task.cancel()
        await asyncio.wait((task,))
        assert isinstance(event, OpenFailed)
        return event

    failed = await watch(broker.url_of("no-such-vhost"))
    assert failed.error.fault is Fault.VHOST
    assert failed.operator_must_act
    assert failed.retry_in_s >= 2.5
    assert "Waiting does not cure this" in str(failed)
    refused = await watch("amqp://guest:guest@127.0.0.1:9/")
    assert refused.retry_in_s <= 0.1
    assert not refused.operator_must_act


async def test_the_broker_is_killed_and_comes_back_and_nothing_accepted_is_lost(own_broker: EmbeddedBroker) -> None:
    """SIGKILL of the only node under load: the session is void at once, its handles settle nothing, and the next session
    finds every confirmed message that was not settled."""
    bodies = [b"%d" % number for number in range(2_000)]
    answers: dict[bytes, asyncio.Future[Published]] = {}
    confirmed: set[bytes] = set()
    stale: list[Delivery] = []
    under_load, over = asyncio.Event(), asyncio.Event()
    events: list[SessionEvent] = []

    async def run(link: Link) -> set[bytes]:
        if answers:
            link.settle(stale)
            assert link.stale_settles == len(stale), "a handle of the dead session settled something"
            drained = Basket()
            await link.consume(GPU, drained, prefetch=5_000)
            await drained.until(len(confirmed))
            return set(drained.bodies)
        await link.declare(BASE + intake("gpu"))
        basket = Basket()
        await link.consume(GPU, basket, prefetch=50)
        answers.update({body: link.send(TASKS, "gpu", body) for body in bodies})
        await answers[bodies[500]]
        stale.extend(await basket.until(10))
        try:
            under_load.set()
            await asyncio.Event().wait()
        finally:
            assert all(answer.done() for answer in answers.values()), "a publish has no answer though the session is over"
            confirmed.update(body for body, answer in answers.items() if answer.result() is Published.CONFIRMED)
            link.settle(stale)
            assert link.stale_settles == len(stale)
            over.set()
        raise AssertionError("never")

    session = asyncio.ensure_future(
        keep_session(door(own_broker.url), run, rng=Random(1), on_event=events.append, backoff=Backoff(most_s=0.5))
    )
    await asyncio.wait((session, asyncio.ensure_future(under_load.wait())), return_when=asyncio.FIRST_COMPLETED)
    await own_broker.kill()
    await asyncio.wait_for(over.wait(), 2)
    await own_broker.restart()
    seen = await asyncio.wait_for(session, 20)
    assert len(confirmed) >= 500
    assert confirmed <= seen
    assert any(isinstance(event, OpenFailed) and event.error.fault is Fault.REFUSED for event in events)


async def test_a_door_that_never_opens_can_be_left(own_broker: EmbeddedBroker) -> None:
    """A clean stop of the broker is told with its words; with nobody there every attempt is told; cancelling ends it."""
    told: asyncio.Queue[SessionEvent] = asyncio.Queue()

    async def run(link: Link) -> None:
        await asyncio.Event().wait()

    task = asyncio.ensure_future(keep_session(door(own_broker.url), run, rng=Random(1), on_event=told.put_nowait, backoff=QUICK))
    assert isinstance(await asyncio.wait_for(told.get(), 5), SessionOpened)
    await own_broker.stop()
    ended = await asyncio.wait_for(told.get(), 5)
    assert isinstance(ended, SessionEnded)
    assert "CONNECTION_FORCED" in ended.broken.reason
    failures = [await asyncio.wait_for(told.get(), 5) for _ in range(3)]
    assert all(isinstance(event, OpenFailed) for event in failures)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(CannotConnect):
        await Link.open(own_broker.url, name="late")


async def test_a_run_that_swallows_a_cancellation_still_ends(amqp_url: str) -> None:
    """Library code in the middle of a request may eat a cancellation: whoever stops the session is not kept waiting for ever."""
    running = asyncio.Event()

    async def run(link: Link) -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    kept = asyncio.ensure_future(keep_session(door(amqp_url), run, rng=Random(1), on_event=lambda event: None))
    await running.wait()
    kept.cancel()
    done, _ = await asyncio.wait((kept,), timeout=10)
    assert done
    assert kept.cancelled()


async def test_who_is_told_to_stop_while_the_door_is_slammed_stops() -> None:
    """Whoever answers hangs up in the moment of the cancellation, or close to it. What the library says of that is no reason to
    knock again: it would be for ever."""

    async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(slam, "127.0.0.1", 0) as server:
        url = f"amqp://nobody:nothing@127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        for turns in range(400):
            opening = asyncio.ensure_future(Link.open(url, name="knocking"))
            for _ in range(turns % 40):
                await asyncio.sleep(0)
            if opening.done():
                assert isinstance(opening.exception(), CannotConnect)
            else:
                opening.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await opening


async def test_who_ends_his_session_says_why_and_how_long_to_wait(amqp_url: str) -> None:
    """At once, whatever it is doing; what was to be settled is, and the next session keeps its distance."""
    events: list[SessionEvent] = []
    opened: list[float] = []
    loop = asyncio.get_running_loop()

    async def run(link: Link) -> str:
        opened.append(loop.time())
        if len(opened) == 2:
            return "back"
        link.end(Broken(BrokenBy.CLOSED, "coordinator", "another one claimed", wait_s=0.5))
        await asyncio.Event().wait()
        raise AssertionError("never")

    assert await keep_session(door(amqp_url), run, rng=Random(1), on_event=events.append, backoff=QUICK) == "back"
    ended = events[1]
    assert isinstance(ended, SessionEnded)
    assert "another one claimed" in str(ended)
    assert ended.retry_in_s == 0.5
    assert opened[1] - opened[0] >= 0.5
