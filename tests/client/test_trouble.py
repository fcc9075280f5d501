"""A producer whose broker, coordinator or own process is in trouble: what its user hears, and when. A real broker."""

from __future__ import annotations

import asyncio
import os

import pytest

from orchestrator.client import (
    BacklogFull,
    CannotConnect,
    Client,
    ClientClosed,
    ClientMisused,
    Handle,
    NoCoordinator,
    SubmitTimeout,
)
from orchestrator.client.events import Cause
from orchestrator.live.embedded import EmbeddedBroker
from orchestrator.wire.messages import Result
from tests.client.scripted import Scripted, coordinating, never, running


async def test_a_question_without_a_coordinator_says_that_none_runs(amqp_url: str) -> None:
    """The queue is there, nobody reads it: the question expires there, and nothing was done."""
    async with coordinating(amqp_url):
        pass
    async with Client(amqp_url) as client:
        with pytest.raises(NoCoordinator, match="none is running") as caught:
            await client.ask("ping", timeout_s=0.1)
    assert not caught.value.may_have_acted


async def test_before_any_coordinator_ran_the_error_says_so_and_the_first_one_is_noticed(amqp_url: str) -> None:
    """A fresh broker has no exchanges: nothing is sent into the void, and what can wait is sent as soon as they are
    there.
    """
    async with Client(amqp_url) as client:
        with pytest.raises(SubmitTimeout, match="no coordinator has ever run") as caught:
            await client.task("a.b", accept_within="50ms").submit()
        assert caught.value.cause is Cause.NO_COORDINATOR
        assert not caught.value.may_run
        with pytest.raises(NoCoordinator, match="no coordinator has ever run"):
            await client.ask("ping", timeout_s=0.05)
        waiting = asyncio.ensure_future(client.run("a.b", x=1))
        async with coordinating(amqp_url):
            assert await waiting == {"x": 1}


async def test_a_wrong_password_is_told_when_the_client_is_opened(broker: EmbeddedBroker) -> None:
    """No waiting helps: somebody must correct the address."""
    with pytest.raises(CannotConnect, match="user or password"):
        async with Client(f"amqp://nobody:wrong@127.0.0.1:{broker.url.rsplit(':', 1)[1].split('/')[0]}/"):
            pass


async def test_who_waits_to_hear_of_the_shards_hears_that_the_client_is_closed(unused_tcp_port: int) -> None:
    """At once, not when its time is up: there will be no session any more."""
    async with Client(f"amqp://127.0.0.1:{unused_tcp_port}") as client:
        waiting = asyncio.ensure_future(client.shards(60))
        await asyncio.sleep(0)
    with pytest.raises(ClientClosed):
        await asyncio.wait_for(waiting, 5)


async def test_without_a_broker_submissions_fail_in_time(unused_tcp_port: int) -> None:
    """A service that submits may start before its broker; until that is there, its callers hear so within their
    deadline.
    """
    async with Client(f"amqp://127.0.0.1:{unused_tcp_port}") as client:
        with pytest.raises(SubmitTimeout, match=r"not confirmed within 0\.1 s: there is no connection.*nobody listens"):
            await client.task("a.b", accept_within=0.1).submit()


async def test_a_full_backlog_is_told_and_recovers(amqp_url: str) -> None:
    """Nobody takes what waits, and the queue has reached its limit: BacklogFull in time; once it drains, all goes
    on.
    """
    scripted = Scripted(amqp_url, intake_max_bytes=2000)
    scripted.takes = False
    async with Client(amqp_url) as client:
        async with running(scripted):
            impatient = client.task("a.b", accept_within=0.3)
            handles: list[Handle] = []

            async def fill() -> None:
                while len(handles) < 20:
                    handles.append(await impatient.submit(pad=b"x" * 500))

            with pytest.raises(BacklogFull, match=r"reached its limit.*(not accepted|unknown)"):  # unknown: it was just being tried
                await fill()
            patient = asyncio.ensure_future(client.run("a.b", pad=b"x" * 500))
            scripted.takes = True
        async with running(scripted):
            assert await patient == {"pad": b"x" * 500}
            assert [len((await handle)["pad"]) for handle in handles] == [500] * len(handles)
    assert client.counters.refused >= 2


async def test_an_alarm_is_named_within_the_deadline_and_then_all_goes_on(own_broker: EmbeddedBroker) -> None:
    """``connection.blocked``: nobody hangs, results still arrive, and what can wait gets through afterwards."""
    async with coordinating(own_broker.url, never) as coordinator, Client(own_broker.url) as client:
        running_on = await client.submit("a.b")
        await own_broker.ctl("set_vm_memory_high_watermark", "absolute", "1")
        with pytest.raises(SubmitTimeout, match=r"has an alarm.*unknown") as caught:
            await client.task("a.b", accept_within=1.0).submit()  # the first publish makes the broker say so
        assert caught.value.may_run
        with pytest.raises(SubmitTimeout, match=r"has an alarm.*will not run"):
            await client.task("a.b", accept_within=0.1).submit()
        patient = asyncio.ensure_future(client.submit("a.b", x=1))
        await own_broker.ctl("set_vm_memory_high_watermark", "absolute", "1GB")
        handle = await patient
        coordinator.end(Result(running_on.id, "done", b"\x01"), Result(handle.id, "done", b"\x02"))
        assert [await running_on, await handle] == [1, 2]


async def test_a_cancelled_submit_takes_back_what_has_not_left(amqp_url: str) -> None:
    """Whoever stops waiting for the confirm leaves nothing behind that could still leave."""
    async with Client(amqp_url) as client:
        waiting = asyncio.ensure_future(client.task("a.b", id="t1").submit())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        async with coordinating(amqp_url) as coordinator:
            await client.run("a.b")
            assert "t1" not in coordinator.tasks


async def test_back_pressure_holds_callers_not_memory(amqp_url: str) -> None:
    """At most so many tasks are unconfirmed; the others wait their turn, and all get through."""
    async with Client(amqp_url, unconfirmed_max=10, accept_within=0.1) as client:
        waiting = [asyncio.ensure_future(client.submit("a.b")) for _ in range(11)]
        for each in waiting:
            with pytest.raises(SubmitTimeout, match="no coordinator has ever run"):
                await each
    async with coordinating(amqp_url), Client(amqp_url, unconfirmed_max=10) as client:
        values = await asyncio.gather(*(client.run("a.b", n=n) for n in range(500)))
        assert len(values) == 500


async def test_closing_tells_those_who_still_wait(coordinator: Scripted) -> None:
    """Confirms are waited for; results are not: their waiters hear that the task runs on, and new calls that it is
    closed.
    """
    coordinator.answer = never
    async with Client(coordinator.url) as client:
        handle = await client.submit("a.b")
        waiting = asyncio.ensure_future(handle.result())
        late = asyncio.ensure_future(client.submit("a.b"))
        question = asyncio.ensure_future(client.ask("silence"))
        await asyncio.sleep(0)
    assert (await late).id in coordinator.tasks
    with pytest.raises(ClientClosed, match="is accepted and will run"):
        await waiting
    with pytest.raises(ClientClosed):
        await question
    with pytest.raises(ClientClosed):
        await client.run("a.b")
    await client.close()


async def test_a_close_that_is_cancelled_closes_all_the_same(amqp_url: str) -> None:
    """It waits for no confirm any more; those who wait hear of it, and no connection stays behind."""
    client = Client(amqp_url, close_within=60)
    await client.__aenter__()
    waiting = asyncio.ensure_future(client.submit("a.b"))  # there is no coordinator: nothing is confirmed
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(client.close())
    await asyncio.sleep(0)
    closing.cancel()
    async with asyncio.timeout(30):
        with pytest.raises(asyncio.CancelledError):
            await closing
        with pytest.raises(ClientClosed, match="will not run"):
            await waiting
    keeper = client._shell.sessions._keeper
    assert keeper is not None
    assert keeper.done()


async def test_two_may_close_at_a_time(amqp_url: str) -> None:
    """Both wait for what is under way, and no longer than for that."""
    client = Client(amqp_url, close_within=300)
    await client.__aenter__()
    waiting = asyncio.ensure_future(client.submit("a.b"))
    await asyncio.sleep(0)
    closing = asyncio.gather(client.close(), client.close())
    async with asyncio.timeout(60), coordinating(amqp_url) as coordinator:
        await closing
        assert (await waiting).id in coordinator.tasks


async def test_another_loop_and_a_closed_client_are_told_clearly(client: Client) -> None:
    """Instead of hanging for ever."""

    def elsewhere() -> str:
        with pytest.raises(ClientMisused) as caught:
            asyncio.run(client.run("a.b"))
        return str(caught.value)

    assert "another loop or thread" in await asyncio.to_thread(elsewhere)
    with pytest.raises(ClientMisused, match="not open"):
        await Client("amqp://localhost").run("a.b")
    with pytest.raises(ClientMisused, match="opened before"):
        await client.__aenter__()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # forking a process with threads is what is tried here
async def test_a_forked_process_is_told_clearly(client: Client, coordinator: Scripted) -> None:
    """Two processes on one connection would break it for both: the copy refuses, the original lives on."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            client._shell.judge_use()
        except ClientMisused as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    await asyncio.to_thread(os.waitpid, child, 0)
    with os.fdopen(reading) as pipe:
        assert "forked" in pipe.read()
    assert await client.run("a.b", x=1) == {"x": 1}


async def test_what_is_not_for_us_is_counted_and_ignored(client: Client, coordinator: Scripted) -> None:
    """Any bytes may arrive in the reply queue; the client goes on."""
    from orchestrator.amqp import topology

    await client.run("a.b")
    (reply_to,) = {name for name in coordinator.reply_to.values() if name}
    assert coordinator.link is not None
    coordinator.link.send(topology.RESULTS, reply_to, b"\xc1 garbage")
    coordinator.link.send(topology.RESULTS, reply_to, b"")
    await client.run("a.b")
    assert client._shell.sessions.strays == 2
