"""A service within a loop that somebody else runs: hooks, options, the end."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import pytest

from orchestrator.wire.messages import Announce, Leave
from tests.workers.live.leader import leader
from workers import Service, ServiceError
from workers.live import Agency, Options, serve
from workers.live.logbook import Logbook, logbook

NOWHERE = "amqp://guest:guest@127.0.0.1:1/"


def small() -> Service:
    """One handler."""
    service = Service("small", slots=2)

    @service.task
    async def where() -> str:
        return threading.current_thread().name

    return service


async def test_handlers_run_on_the_loop_that_serves(amqp_url: str) -> None:
    """So they may use what lives on it; the agent has a thread of its own."""
    service = small()
    threads = []
    ran = asyncio.Event()

    @service.task
    async def note() -> None:
        threads.append(threading.current_thread())
        ran.set()

    async with leader(amqp_url) as lead:
        task = asyncio.create_task(service.serve(amqp_url, instance="small-1", log_level="error"))
        incarnation = await lead.welcome()
        lead.assign(incarnation, 1, "note")
        await asyncio.wait_for(ran.wait(), 10)
        assert threads == [threading.main_thread()]
        lead.release(incarnation, 1)
        lead.orders(incarnation, drain=True)
        await lead.next(Leave)
        await asyncio.wait_for(task, 10)


async def test_hooks_are_called_around_everything(amqp_url: str) -> None:
    """Async or not; the first before the announcement, the last when nothing runs any more."""
    service = small()
    order: list[str] = []

    @service.on_start
    async def begin() -> None:
        order.append("start")

    @service.on_stop
    def finish() -> None:
        order.append("stop")

    async with leader(amqp_url) as lead:
        agency = Agency(service, Options(broker=amqp_url, log_level="error"))
        task = asyncio.create_task(agency.run())
        announce = await lead.next(Announce)
        order.append("announced")
        assert announce.instance == agency.instance
        assert announce.instance.startswith("small@")
        assert announce.instance.endswith(f"-{os.getpid()}")
        agency.drain("the test is over")
        await asyncio.wait_for(task, 10)
    assert order == ["start", "announced", "stop"]


async def test_a_start_hook_that_fails_keeps_the_instance_from_starting() -> None:
    """Its exception is its author's to read."""
    service = small()

    @service.on_start
    def begin() -> None:
        raise RuntimeError("no model file")

    with pytest.raises(RuntimeError, match="no model file"):
        await serve(service, Options(broker=NOWHERE, log_level="error"))


async def test_cancelled_it_ends_at_once() -> None:
    """And nothing of it is left: no thread, no task."""
    service = small()
    stopped: list[int] = []
    service.on_stop(lambda: stopped.append(1))
    task = asyncio.create_task(serve(service, Options(broker=NOWHERE, log_level="error")))
    while not any(thread.name == "agent" for thread in threading.enumerate()):  # noqa: ASYNC110  # a thread gives no signal
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)
    assert stopped == [1]
    for thread in threading.enumerate():
        if thread.name == "agent":
            thread.join(5)
            assert not thread.is_alive()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"instance": "two words"}, "cannot be called 'two words'"),
        ({"capacity": {"gpu": -1}}, "cannot have 'gpu': -1"),
        ({"processes": -1}, "processes is -1"),
        ({"grace": "long"}, "the grace period is 'long'"),
    ],
)
def test_options_are_judged_before_anything_begins(options: dict[str, Any], words: str) -> None:
    """What peers would refuse is found here."""
    with pytest.raises(ServiceError, match=words):
        Agency(small(), Options(broker=NOWHERE, **options))


def test_what_no_coordinator_would_take_in_is_not_announced() -> None:
    """It would announce itself for ever, and nobody would say why."""
    service = Service("small", version="v" * 65)
    service.task("one")(test_the_brokers_password_is_not_shown)
    with pytest.raises(ServiceError, match="cannot be announced: Expected `str` of length <= 64"):
        Agency(service, Options(broker=NOWHERE))


def test_the_brokers_password_is_not_shown() -> None:
    """Options end up in debuggers and logs."""
    assert "secret" not in repr(Options(broker="amqp://user:secret@host/"))


def test_log_lines_carry_what_they_mean(capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON for machines; below the level nothing is said; a word that is not in the catalogue is our bug."""
    log: Logbook = logbook("json", "warning", instance="x")
    log.say("joined", number=5)
    log.say("cut_off", number=2, detail="gone")
    (line,) = capsys.readouterr().err.splitlines()
    assert '"unfinished": 2' in line
    assert '"instance": "x"' in line
    assert "finished reports are kept" in line
    with pytest.raises(AssertionError, match="not in the catalogue"):
        log.say("gibberish")
