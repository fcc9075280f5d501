"""An agent in a process of its own, a scripted leader, a real broker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

from orchestrator.amqp import Link, topology
from orchestrator.amqp.errors import Missing, QueueLocked
from orchestrator.live.embedded import EmbeddedBroker
from orchestrator.vocabulary import Attempt
from orchestrator.wire.codec import unpack
from orchestrator.wire.messages import Announce, Beat, Dependency, Held, Leave, Reports
from tests.processes import cpu_s, resident_mb
from tests.stopwatch import cost
from tests.workers.jobs.bench import gone, lives
from tests.workers.live.leader import leader, worker

YARDSTICK = 1_500_000
"""Of so many numbers the squares are summed up in 50 ms, 1 % of five seconds, by the machine that the promise was made on."""


async def test_from_the_announcement_to_goodbye(amqp_url: str, tmp_path: Path) -> None:
    """A whole life: announced, synced, given work, reports kept until released, drained by SIGTERM, hooks called, exit code 0."""
    async with leader(amqp_url) as lead, worker(amqp_url, tmp_path, "--instance", "live-1", "--capacity", "slots=3") as agent:
        announce = await lead.next(Announce)
        assert (announce.instance, announce.service, announce.version) == ("live-1", "live", "1.2")
        assert announce.capacity == {"slots": 3, "gpu": 1}
        assert announce.depends_on == [Dependency("store")]
        assert announce.labels == {"zone": "a"}
        echo = announce.handlers[0]
        assert (echo.name, echo.doc, echo.retries, echo.timeout_ns) == ("echo", "Says it again.", 7, 60 * 10**9)

        incarnation = announce.incarnation
        lead.sync(incarnation)
        held = await lead.next(Held)
        assert (held.epoch, held.attempts) == (5, [])
        lead.assign(incarnation, 1, "echo", value={"a": [1, "b", None]})
        report = await lead.report(1)
        assert report.value is not None
        assert unpack(report.value) == {"a": [1, "b", None]}
        assert 0 < report.started_ns <= report.ended_ns
        lead.sync(incarnation)
        assert (await lead.next(Held)).attempts[0].state == "finished"
        assert (await lead.report(1)).value == report.value
        lead.release(incarnation, 1)
        await lead.next(Beat, lambda beat: beat.held == [] and beat.drained >= 4)

        agent.signal(signal.SIGTERM)
        await lead.next(Leave)
        assert await agent.ended() == 0
        assert agent.witnessed() == ["hook start", "ran t1", "hook stop"]
        assert lead.users == {lead.link.user}, "the broker has verified who speaks"


async def test_failures_are_reported_with_their_reason(amqp_url: str, tmp_path: Path) -> None:
    """Wrong arguments, unknown handlers, timeouts."""
    async with leader(amqp_url) as lead, worker(amqp_url, tmp_path) as agent:
        incarnation = await lead.welcome()
        lead.assign(incarnation, 1, "echo", valeu=1)
        lead.assign(incarnation, 2, "ekko", value=1)
        lead.assign(incarnation, 3, "slow")
        wrong, unknown, late = [await lead.report(n) for n in (1, 2, 3)]
        assert wrong.error is not None
        assert wrong.error.kind == "bad_arguments"
        assert wrong.error.message == "live.echo: 'value' is missing; 'valeu' is unknown. It takes: value."
        assert not wrong.retry
        assert unknown.error is not None
        assert unknown.error.kind == "unknown_handler"
        assert late.error is not None
        assert (late.error.kind, late.retry) == ("timeout", True)
        assert "'value' is missing" in json.loads(await agent.told("failed"))["message"]
        assert '"what": "timed_out"' in agent.log


async def test_the_log_says_what_failed_and_where_and_no_more(amqp_url: str, tmp_path: Path) -> None:
    """The exception's text, not all of it; the calls that led there, on one line; no argument."""
    async with leader(amqp_url) as lead, worker(amqp_url, tmp_path) as agent:
        lead.assign(await lead.welcome(), 1, "refuse", secret="s3cr3t")
        await lead.report(1)
        told = json.loads(await agent.told("failed"))
    assert told["error"] == "LookupError"
    assert told["message"].startswith("not one of 6 and more and more")
    assert told["message"].endswith(" … (912 characters)")
    first, last = told["at"].split(" → ")
    assert first.startswith("refuse (")
    assert last.startswith("below (")
    assert "services.py:" in last
    assert "s3cr3t" not in agent.log


async def test_a_handler_that_blocks_its_loop_does_not_make_the_instance_look_dead(amqp_url: str, tmp_path: Path) -> None:
    """Beats come every second all the while, the window stays open, and the frozen handler's result counts."""
    async with leader(amqp_url, lease_s=3) as lead, worker(amqp_url, tmp_path) as agent:
        incarnation = await lead.welcome()
        lead.assign(incarnation, 1, "freeze", seconds=10)
        await agent.seen("freeze")
        lead.heard.clear()
        report = await lead.report(1)
        assert report.outcome == "done"
        beats = [message for message in lead.heard if isinstance(message, Beat)]
        assert len(beats) >= 9
        assert {beat.incarnation for beat in beats} == {incarnation}
        assert beats[0].held == [Attempt(5, 1)]


async def test_a_stop_reaches_every_kind(amqp_url: str, tmp_path: Path) -> None:
    """Cancelled, killed; answered when it is over."""
    async with leader(amqp_url) as lead, worker(amqp_url, tmp_path) as agent:
        incarnation = await lead.welcome()
        lead.assign(incarnation, 1, "sleep", seconds=600)
        lead.assign(incarnation, 2, "crunch", seconds=600)
        await agent.seen("asleep")
        child = int((await agent.seen("crunching")).split()[-1])
        lead.stop(incarnation, 1)
        await lead.noted("stopped", 1)
        assert "cancelled t1" in agent.witnessed()
        lead.stop(incarnation, 2)
        await lead.noted("stopped", 2)
        assert not lives(child)


async def test_what_a_handler_sets_in_its_context_is_not_there_for_the_next(amqp_url: str, tmp_path: Path) -> None:
    """Neither for one whose start its end brought, nor after a connection that is made anew."""
    kinds = ("remember", "remember_in_thread", "remember_in_process")
    async with leader(amqp_url, lease_s=2.5) as lead, worker(amqp_url, tmp_path) as agent:
        incarnation, n = await lead.welcome(), 0
        for again in (False, True):
            if again:
                lead.echoing = False
                await agent.told("window_missed")
                lead.echoing = True
                incarnation = await lead.welcome()
            for first in kinds:
                for handler in (first, *kinds):
                    n += 1
                    lead.assign(incarnation, n, handler, value=f"of {n}")
                    value = (await lead.report(n)).value
                    assert value is not None
                    assert unpack(value) == ""


async def test_what_a_handler_forks_can_be_ended_and_is_no_agent(amqp_url: str, tmp_path: Path) -> None:
    """It heeds SIGTERM as any other process does; the agent goes on."""
    async with leader(amqp_url) as lead, worker(amqp_url, tmp_path) as agent:
        incarnation = await lead.welcome()
        for n in range(1, 6):
            lead.assign(incarnation, n, "fork_and_end")
            value = (await lead.report(n)).value
            assert value is not None
            assert unpack(value) == -signal.SIGTERM
        assert '"what": "draining"' not in agent.log


async def test_unheard_the_agent_stops_its_work_and_comes_back_new(amqp_url: str, tmp_path: Path) -> None:
    """The broker confirms every beat, but no leader echoes: what runs is ended, in time, and never reported."""
    async with leader(amqp_url, lease_s=2.5) as lead, worker(amqp_url, tmp_path) as agent:
        incarnation = await lead.welcome()
        lead.assign(incarnation, 1, "crunch", seconds=600)
        lead.assign(incarnation, 2, "sleep", seconds=600)
        child = int((await agent.seen("crunching")).split()[-1])
        lead.echoing = False
        await agent.told("window_missed")
        await gone(child)
        await agent.seen("cancelled t2")
        lead.echoing = True
        announce = await lead.next(Announce)
        assert announce.incarnation != incarnation
        lead.sync(announce.incarnation)
        assert (await lead.next(Held, lambda held: held.incarnation == announce.incarnation)).attempts == []
        lead.assign(announce.incarnation, 3, "echo", value=1)
        await lead.report(3)
        assert lead.count(Reports) == 0


async def test_paused_declared_dead_resumed_it_starts_nothing(amqp_url: str, tmp_path: Path) -> None:
    """A suspended machine: orders queued up meanwhile are in its socket when it wakes, and nothing of them is done."""
    async with leader(amqp_url, lease_s=2.5) as lead, worker(amqp_url, tmp_path) as agent:
        incarnation = await lead.welcome()
        agent.signal(signal.SIGSTOP)
        lead.assign(incarnation, 1, "echo", value=1)
        lead.orders(incarnation, heard=1)
        await asyncio.sleep(3)  # the lease: time itself is what is tested
        agent.signal(signal.SIGCONT)
        announce = await lead.next(Announce)
        assert announce.incarnation != incarnation
        lead.sync(announce.incarnation)
        lead.assign(announce.incarnation, 2, "echo", value=1)
        await lead.report(2)
        assert [line for line in agent.witnessed() if line.startswith("ran")] == ["ran t2"]


async def test_a_deposed_leader_is_not_obeyed(amqp_url: str, tmp_path: Path) -> None:
    """It speaks late; what it assigns does not run."""
    async with leader(amqp_url, epoch=6) as lead, leader(amqp_url, epoch=5) as deposed, worker(amqp_url, tmp_path) as agent:
        deposed.echoing = False
        incarnation = await lead.welcome()
        deposed.assign(incarnation, 1, "echo", value=1)
        deposed.sync(incarnation)
        await deposed.noted("refused", 1)
        lead.assign(incarnation, 2, "echo", value=1)
        await lead.report(2)
        assert [line for line in agent.witnessed() if line.startswith("ran")] == ["ran t2"]


async def test_no_bytes_make_an_agent_fall(amqp_url: str, tmp_path: Path) -> None:
    """Garbage in its queue is dropped and said; work goes on in the same incarnation."""
    async with leader(amqp_url) as lead, worker(amqp_url, tmp_path) as agent:
        incarnation = await lead.welcome()
        for body in (b"", b"\xc1", b"\x81\xa4kind\xa6orders", os.urandom(200), b"\x91" * 5000):
            lead.link.send(topology.ORDERS, topology.agent_queue(incarnation), body, mandatory=False)
            lead.link.send(topology.ECHO, "", body, mandatory=False)
        lead.assign(incarnation, 1, "echo", value=1)
        await lead.report(1)
        assert agent.log.count('"what": "malformed"') == 10


async def test_the_broker_restarts(own_broker: EmbeddedBroker, tmp_path: Path) -> None:
    """Running work is stopped, a finished report is kept, and handed over to whoever leads when the broker is back."""
    async with worker(own_broker.url, tmp_path) as agent:
        await agent.told("nobody_coordinates")
        async with leader(own_broker.url) as lead:
            incarnation = await lead.welcome()
            lead.assign(incarnation, 1, "echo", value="kept")
            await lead.report(1)
            lead.assign(incarnation, 2, "sleep", seconds=600)
            await agent.seen("asleep")
            await own_broker.kill()
            await agent.seen("cancelled t2")
        await own_broker.restart()
        async with leader(own_broker.url, epoch=9) as lead:
            again = await lead.welcome()
            assert again != incarnation
            reports = await lead.next(Reports, lambda one: one.incarnation == again)
            assert [(report.attempt, report.outcome) for report in reports.items] == [(Attempt(5, 1), "done")]


async def test_who_is_started_with_the_first_coordinator_is_not_told_that_none_ever_ran(amqp_url: str, tmp_path: Path) -> None:
    """It comes first by a moment, as with `up`: that is no trouble."""
    async with worker(amqp_url, tmp_path, "--log-level", "debug") as agent:
        await agent.told("early")
        async with leader(amqp_url) as lead:
            await lead.welcome()
    assert "nobody_coordinates" not in agent.log


async def test_sigterm_lets_work_finish_and_hands_back_the_rest(amqp_url: str, tmp_path: Path) -> None:
    """One process place: what runs in it finishes, what waits for it is handed back; the report is released, then goodbye."""
    async with leader(amqp_url) as lead, worker(amqp_url, tmp_path, "--processes", "1") as agent:
        incarnation = await lead.welcome()
        lead.assign(incarnation, 1, "crunch", seconds=1.5)
        lead.assign(incarnation, 2, "crunch", seconds=600)
        await agent.seen("crunching")
        agent.signal(signal.SIGTERM)
        await lead.next(Beat, lambda beat: beat.draining)
        await lead.noted("stopped", 2)
        lead.assign(incarnation, 3, "echo", value=1)
        await lead.noted("refused", 3)
        assert (await lead.report(1)).outcome == "done"
        assert lead.count(Leave) == 0
        lead.release(incarnation, 1)
        await lead.next(Leave)
        assert await agent.ended() == 0


async def test_what_outlives_its_grace_is_stopped(amqp_url: str, tmp_path: Path) -> None:
    """And said to be, so that it moves on at once."""
    async with leader(amqp_url) as lead, worker(amqp_url, tmp_path, "--grace", "500ms") as agent:
        incarnation = await lead.welcome()
        lead.assign(incarnation, 1, "sleep", seconds=600)
        await agent.seen("asleep")
        agent.signal(signal.SIGTERM)
        await lead.noted("stopped", 1)
        await lead.next(Leave)
        assert await agent.ended() == 0


async def test_the_second_signal_ends_at_once(amqp_url: str, tmp_path: Path) -> None:
    """Also while a handler blocks the main loop; no process is left behind."""
    async with leader(amqp_url) as lead, worker(amqp_url, tmp_path) as agent:
        incarnation = await lead.welcome()
        lead.assign(incarnation, 1, "crunch", seconds=600)
        child = int((await agent.seen("crunching")).split()[-1])
        lead.assign(incarnation, 2, "freeze", seconds=600)
        await agent.seen("freeze")
        agent.signal(signal.SIGTERM)
        await lead.next(Beat, lambda beat: beat.draining)
        agent.signal(signal.SIGINT)
        assert await agent.ended() == 1
        assert '"what": "stuck"' in agent.log
        await gone(child)


async def test_the_coordinator_can_drain_an_instance(amqp_url: str, tmp_path: Path) -> None:
    """An operator's wish arrives as an order."""
    async with leader(amqp_url) as lead, worker(amqp_url, tmp_path) as agent:
        incarnation = await lead.welcome()
        lead.orders(incarnation, drain=True)
        await lead.next(Leave)
        assert await agent.ended() == 0


async def test_a_broker_that_is_not_there_is_waited_for_and_the_end_is_prompt(tmp_path: Path) -> None:
    """It says what to do; SIGTERM does not wait for anything."""
    async with worker("amqp://guest:secret@127.0.0.1:1/", tmp_path) as agent:
        line = await agent.told("unreachable")
        assert "nobody listens there" in line
        assert "secret" not in agent.log
        agent.signal(signal.SIGTERM)
        assert await agent.ended() == 0
        assert agent.witnessed() == ["hook start", "hook stop"]


async def test_an_idle_agent_is_small(amqp_url: str, tmp_path: Path) -> None:
    """Less than 60 MB and 1 % of a CPU: there may be hundreds on a machine. How much a CPU does meanwhile is measured beside it."""
    async with leader(amqp_url) as lead, worker(amqp_url, tmp_path) as agent:
        await lead.welcome()
        before_s = cpu_s(agent.process.pid)
        for _ in range(5):
            await lead.next(Beat)
        used_s = cpu_s(agent.process.pid) - before_s
        with cost() as yardstick:
            sum(n * n for n in range(YARDSTICK))
        assert 0 < resident_mb(agent.process.pid) < 60
        share = yardstick.ms / 1000 + 1.5 / os.sysconf("SC_CLK_TCK")
        assert used_s <= share, "a tick more: they are counted whole"


async def test_killed_its_queue_and_its_processes_are_gone_with_it(amqp_url: str, tmp_path: Path) -> None:
    """SIGKILL: the broker takes the queue away, which is how everybody hears of it; and no user code goes on."""
    async with leader(amqp_url) as lead, worker(amqp_url, tmp_path) as agent:
        incarnation = await lead.welcome()
        lead.assign(incarnation, 1, "crunch", seconds=600)
        child = int((await agent.seen("crunching")).split()[-1])
        agent.signal(signal.SIGKILL)
        await agent.ended()
        await gone(child)
        async with asyncio.timeout(10):
            while await queue_exists(lead.link, topology.agent_queue(incarnation)):  # noqa: ASYNC110  # asking is the test
                await asyncio.sleep(0.05)


async def queue_exists(link: Link, name: str) -> bool:
    """By asking the broker."""
    try:
        await link.stat(name)
    except Missing:
        return False
    except QueueLocked:
        return True
    return True
