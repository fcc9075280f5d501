"""What networks do to a session."""

from __future__ import annotations

import asyncio
import itertools
import ssl
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from orchestrator.amqp import Link, Published, channels
from orchestrator.amqp.errors import Broken, BrokenBy, CannotConnect, Fault, NoAnswer
from orchestrator.amqp.link import Role
from orchestrator.amqp.publishers import LOOKS
from orchestrator.amqp.topology import TASKS, intake, intake_queue
from orchestrator.live.embedded import EmbeddedBroker
from tests.amqp.conftest import BASE, Basket
from tests.amqp.proxy import Proxy
from tests.chaos.door import Door

GPU = intake_queue("gpu")
BASIC_CANCEL = bytes((0, 60, 0, 30))


async def test_a_reset_is_told_at_once(amqp_url: str) -> None:
    """Both connections reset by the network: broken now, and whatever was under way has its answer."""
    async with Proxy(amqp_url) as proxy, await Link.open(proxy.url, name="test") as link:
        await link.declare(BASE)
        proxy.hold()
        answer = link.send(TASKS, "gpu", b"x")
        proxy.cut()
        broken = await asyncio.wait_for(link.broken, 2)
        assert broken.by is BrokenBy.CONNECTION
        assert broken.where in ("the connection to consume", "the connection to publish")
        assert await answer is Published.LOST


async def test_a_greeting_that_is_cut_short_anywhere_is_a_session_that_did_not_open(amqp_url: str) -> None:
    """A broker that is stopped ends connections in the middle of their greeting: whatever the library makes of that, the caller
    hears that it cannot connect, soon, and tries again. (An agent that heard anything else never came back.)"""
    for told_bytes in itertools.count(0, 60):
        async with Proxy(amqp_url, told_bytes_max=told_bytes) as proxy:
            try:
                async with asyncio.timeout(5):
                    link = await Link.open(proxy.url, name="test")
            except CannotConnect:
                continue
            await link.close()
            assert told_bytes > 500, "a greeting is longer"
            break


async def test_silence_is_given_up_after_three_heartbeats(amqp_url: str) -> None:
    """Half open: packets vanish, no one says so. The session ends by itself, and the reason is the silence."""
    async with Proxy(amqp_url) as proxy, await Link.open(proxy.url, name="test", heartbeat_s=1) as link:
        proxy.blackhole()
        broken = await asyncio.wait_for(link.broken, 10)
        assert broken.by is BrokenBy.CONNECTION
        assert "nothing was heard from the broker for" in broken.reason


async def test_a_request_that_gets_no_answer_ends_in_time(amqp_url: str) -> None:
    """The broker hangs: the request is given up, and says that it may still happen."""
    async with Proxy(amqp_url) as proxy, await Link.open(proxy.url, name="test", timeout_s=0.5) as link:
        proxy.hold()
        with pytest.raises(NoAnswer, match="may still happen"):
            await link.stat(GPU)
        proxy.release()


async def test_a_publish_that_is_never_answered_ends_the_session(broker: EmbeddedBroker, amqp_url: str) -> None:
    """Its queue hangs, and the broker answers everything else: who asked for that is told. What comes after is answered again."""
    vhost = urlsplit(amqp_url).path.removeprefix("/")
    process = f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{vhost}">>, queue, <<"{GPU}">>)), P = amqqueue:get_pid(Q)'
    async with await Link.open(amqp_url, name="patient") as patient, await Link.open(amqp_url, name="test", look_s=0.1) as link:
        await link.declare(BASE)
        await link.declare(intake("gpu"))
        assert await link.publish(TASKS, "gpu", b"before") is Published.CONFIRMED
        await broker.ctl("eval", f"{process}, sys:suspend(P).")
        try:
            asked = [one.send(TASKS, "gpu", b"lost") for one in (patient, link)]
            assert await asyncio.wait_for(asked[1], 30) is Published.LOST
            assert "a message was not answered" in str(await link.broken)
            assert not asked[0].done()
            assert not patient.is_broken
        finally:
            await broker.ctl("eval", f"{process}, sys:resume(P).")
        assert await asyncio.wait_for(asked[0], 30) is Published.CONFIRMED


async def test_who_is_answered_in_the_end_keeps_his_session(amqp_url: str) -> None:
    """A broker that does not read, or that has nothing to answer, is no reason: only one that answers everything else."""
    async with await Link.open(amqp_url, name="operator") as operator:
        await operator.declare(BASE)
    async with Proxy(amqp_url) as proxy, await Link.open(proxy.url, name="test", look_s=0.05, timeout_s=1) as link:
        proxy.hold()
        sent = link.send(TASKS, "nobody", b"x")
        await proxy.held_back(21 + (LOOKS + 1) * 16)  # that answer, and those to more looks than would be enough
        assert not link.is_broken
        proxy.release()
        assert await asyncio.wait_for(sent, 30) is Published.CONFIRMED


async def test_bytes_that_come_one_by_one_are_understood(amqp_url: str) -> None:
    """A network that tears everything apart: greeting, requests, deliveries, confirms."""
    async with Proxy(amqp_url, crumb_bytes=1) as proxy, await Link.open(proxy.url, name="test") as link:
        await link.declare(BASE + intake("gpu"))
        basket = Basket()
        await link.consume(GPU, basket, prefetch=10)
        bodies = [b"%d" % number * 20 for number in range(20)]
        answers = [link.send(TASKS, "gpu", body) for body in bodies]
        assert {await answer for answer in answers} == {Published.CONFIRMED}
        await basket.until(10)
        link.settle(basket.deliveries)
        await basket.until(20)
        assert basket.bodies == bodies


@pytest.mark.parametrize(("told_after_s", "again"), [(0.0, [b"5"]), (3600.0, [b"0", b"1", b"2", b"3", b"4", b"5"])])
async def test_what_is_settled_is_told_soon_and_comes_again_if_we_die_before(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch, told_after_s: float, again: list[bytes]
) -> None:
    """Five of a window of a hundred are no share that is told at once: they wait for their time."""
    monkeypatch.setattr(channels, "ACK_WITHIN_S", told_after_s)
    async with await Link.open(amqp_url, name="heir") as heir:
        await heir.declare(BASE + intake("gpu"))
        for number in range(6):
            await heir.publish(TASKS, "gpu", b"%d" % number)
        async with Proxy(amqp_url) as proxy, await Link.open(proxy.url, name="test") as link:
            basket = Basket()
            await link.consume(GPU, basket, prefetch=100, gather=True)
            link.settle((await basket.until(6))[:5])
            await link.stat(GPU)  # a turn of the loop; the broker has read what was written before
            proxy.cut()
            await asyncio.wait_for(link.broken, 2)
        rest = Basket()
        await heir.consume(GPU, rest, prefetch=100)
        await rest.until(len(again))
        assert rest.bodies == again


async def test_a_consumer_that_ends_in_the_breath_in_which_it_begins_is_noticed(amqp_url: str) -> None:
    """The queue is deleted while the answer to ``consume`` is on its way: begun and ended arrive together."""
    async with Proxy(amqp_url) as proxy, await Link.open(proxy.url, name="test") as link:
        async with await Link.open(amqp_url, name="operator") as operator:
            await operator.declare(BASE + intake("gpu"))
            proxy.hold()
            begins = asyncio.ensure_future(link.consume(GPU, Basket(), prefetch=10))
            while (await operator.stat(GPU)).consumers == 0:
                proxy.release()  # the answers that come before the one to ``consume``
                proxy.hold()
            await operator.delete_queue(GPU)
            while BASIC_CANCEL not in proxy.held:
                await operator.stat(TASKS)
            proxy.release()
        await asyncio.wait((begins,))
        broken = await asyncio.wait_for(link.broken, 2)
        assert (broken.by, broken.where) == (BrokenBy.CONSUMER, GPU)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody signed, and its key."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return key, cert


async def test_tls_carries_a_session_and_refuses_a_stranger(amqp_url: str, certificate: tuple[Path, Path]) -> None:
    """With the authority known everything works; with an unknown one nothing is said but why."""
    key, cert = certificate
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(cert, key)
    async with Proxy(amqp_url, tls=server) as proxy:
        trusted = ssl.create_default_context(cafile=cert)
        async with await Link.open(proxy.url, name="test", ssl_context=trusted) as link:
            await link.declare(BASE + intake("gpu"))
            basket = Basket()
            await link.consume(GPU, basket, prefetch=10)
            assert await link.publish(TASKS, "gpu", b"x" * 300_000) is Published.CONFIRMED
            link.settle(await basket.until(1))
        with pytest.raises(CannotConnect, match="certificate") as caught:
            await Link.open(proxy.url, name="test")
        assert caught.value.fault is Fault.TLS


async def test_far_from_the_broker_each_connection_has_its_time_and_they_open_side_by_side(amqp_url: str) -> None:
    """All together take longer than one may; but the first goes ahead, and the others are no slower than one of them."""
    target = urlsplit(amqp_url)
    assert target.port is not None

    async def takes_s(*connections: Role, timeout_s: float) -> float:
        began = asyncio.get_running_loop().time()
        link = await Link.open(url, name="far", connections=connections, timeout_s=timeout_s)
        took_s = asyncio.get_running_loop().time() - began
        await link.close()
        return took_s

    async with Door([target.port]) as door:
        door.delay_s = 0.25
        url = amqp_url.replace(f":{target.port}/", f":{door.port}/")
        one_s = await takes_s("publish", timeout_s=10)
        four_s = await takes_s("publish", "beats", "consume", "ledger", timeout_s=1.6 * one_s)
        assert 1.6 * one_s < four_s < 3 * one_s


def test_a_broker_that_fails_inside_is_told_apart_from_one_that_went_away() -> None:
    """A stream without a leader stays so until nodes are restarted: whoever reads that at night is told. Of others he is not."""
    failed = str(Broken(BrokenBy.CONNECTION, "the connection to ledger", "the broker closed it: 541 INTERNAL_ERROR"))
    assert "restart its nodes, one by one" in failed
    away = str(Broken(BrokenBy.CONNECTION, "the connection to ledger", "the broker closed it: 320 CONNECTION_FORCED"))
    assert "restart" not in away
    assert "look at the broker" in away
