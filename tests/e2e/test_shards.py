"""Several shards on one broker, as a user runs them: real processes, spread by themselves, killed and started again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from orchestrator.client import AskRefused, Client, NoCoordinator, ShardsDiffer
from tests.e2e.fleet import ROOT, Fleet, fleet
from tests.processes import all_end, below, watched

pytestmark = pytest.mark.broker

SETTINGS = """
[shards.letters]
services = ["letters*"]

[shards.acme]
tenants = ["acme"]
"""
SHARDS = ("default", "letters", "acme")

NUMBERS = "tests.e2e.sharded:numbers"
LETTERS = "tests.e2e.sharded:letters"
PATIENCE_S = 60


@asynccontextmanager
async def sharded(url: str, folder: Path) -> AsyncIterator[Fleet]:
    """A fleet whose coordinators have three shards."""
    (folder / "settings.toml").write_text(SETTINGS)
    async with fleet(url, folder, ROOT) as ours:
        try:
            yield ours
        except BaseException:
            print(ours.logs())
            raise


async def coordinator(ours: Fleet, folder: Path, name: str) -> None:
    """A coordinator of all shards, called ``name``."""
    await ours.start(
        name, "-m", "orchestrator", "coordinator", "--name", name, "--config", str(folder / "settings.toml"), "--log-level", "info"
    )


async def leaders(client: Client) -> dict[str, str]:
    """Who leads each shard; of those that nobody leads right now, nothing."""
    found = {}
    for shard in SHARDS:
        with suppress(NoCoordinator):
            found[shard] = (await client.ask("status", shard=shard, timeout_s=2))["coordinator"]
    return found


async def until(happens: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again: who leads is told to whoever asks, and to nobody else."""
    async with asyncio.timeout(PATIENCE_S):
        while not await happens():  # noqa: ASYNC110  # asking is the test
            await asyncio.sleep(0.2)


async def spread(client: Client, *wanted: int) -> None:
    """Until every shard has a leader, and so many shards are led by each coordinator."""

    async def is_so() -> bool:
        found = await leaders(client)
        return len(found) == len(SHARDS) and sorted(Counter(found.values()).values()) == sorted(wanted)

    await until(is_so)


async def test_each_task_runs_in_its_shard_and_nobody_is_told_twice(amqp_url: str, tmp_path: Path) -> None:
    """One coordinator, one settings file: producers and agents find the shards by themselves; by tenant an agent is told which."""
    async with sharded(amqp_url, tmp_path) as ours:
        await coordinator(ours, tmp_path, "one")
        await ours.worker("numbers", NUMBERS)
        await ours.worker("letters", LETTERS)
        await ours.start("acme", "-m", "workers", "run", NUMBERS, "--shard", "acme", "--instance", "numbers-acme")
        async with Client(amqp_url) as client, asyncio.timeout(PATIENCE_S):
            assert await client.shards(30) == SHARDS
            assert await client.run("numbers.double", number=21) == 42
            assert await client.run("letters.upper", text="a") == "A"
            assert await client.task("numbers.double", tenant="acme").run(number=4) == 8
            seen = {shard: {row["service"]: row["ready"] for row in await client.ask("services", shard=shard)} for shard in SHARDS}
            assert seen == {"default": {"numbers": 1}, "letters": {"letters": 1}, "acme": {"numbers": 1}}
            ended = {shard: len(await client.ask("tasks", state="ended", shard=shard)) for shard in SHARDS}
            assert ended == {"default": 1, "letters": 1, "acme": 1}

            flow = client.workflow("mixed")
            text = flow.add("numbers.double", number=1)
            flow.add("letters.upper", text=text)
            with pytest.raises(ShardsDiffer, match="default, letters"):
                await flow.submit()
            flow = client.workflow("letters")
            first = flow.add("letters.upper", text="b")
            second = flow.add("letters.upper", text=first)
            assert (await flow.run())[second] == "B"

            waits = await client.task("letters-of-love.upper").submit(text="c")

            async def explained() -> bool:
                with suppress(AskRefused):  # the broker has it; its coordinator may not have read that yet
                    return "missing" in (await client.ask("why", task=waits.id, shard="letters"))["reason"]
                return False

            await until(explained)
            with pytest.raises(AskRefused):
                await client.ask("why", task=waits.id)
            assert await waits.cancel()
            assert (await waits.outcome("10s")).outcome == "cancelled"


async def test_leaders_spread_over_coordinators_also_when_one_dies_and_comes_back(amqp_url: str, tmp_path: Path) -> None:
    """Two coordinators, three shards: two and one. One is killed: the other leads all. It comes back: two and one again. Nothing is
    lost meanwhile, and since no agent died nothing runs twice, by the handlers' own witness."""
    async with sharded(amqp_url, tmp_path) as ours, Client(amqp_url) as client:
        await coordinator(ours, tmp_path, "one")
        await asyncio.gather(ours.worker("numbers", NUMBERS), ours.worker("letters", LETTERS))
        await spread(client, 3)
        stop, ids = asyncio.Event(), []

        async def work() -> None:
            while not stop.is_set():
                number = len(ids)
                ids.append(f"n{number}")
                ids.append(f"l{number}")
                double = client.task("numbers.double", id=f"n{number}").run(number=number)
                upper = client.task("letters.upper", id=f"l{number}").run(text=f"x{number}")
                assert await asyncio.gather(double, upper) == [2 * number, f"X{number}"]

        busy = asyncio.gather(*(work() for _ in range(8)))
        await coordinator(ours, tmp_path, "two")
        await spread(client, 2, 1)
        found = await leaders(client)
        most = max(("one", "two"), key=lambda name: list(found.values()).count(name))
        await ours.kill(most)
        await spread(client, 3)
        await ours.start(most)
        await spread(client, 2, 1)
        before = len(ids)

        async def goes_on() -> bool:
            return len(ids) > before + 100

        await until(goes_on)
        stop.set()
        await busy
        completed = ours.completed()
        print(f"{len(ids)} tasks; {sum(count > 1 for count in completed.values())} ran twice")
        assert completed == Counter(ids)


async def test_up_runs_shards_too_and_leaves_nothing_behind(amqp_url: str, tmp_path: Path) -> None:
    """One command: a coordinator for each shard, agents that find theirs; told to end, all of it ends."""
    async with sharded(amqp_url, tmp_path) as ours:
        words = ("--config", str(tmp_path / "settings.toml"), "--data-dir", str(tmp_path / "data"), "--broker", amqp_url)
        await ours.start("up", "-m", "orchestrator", "up", *words, "--workers", NUMBERS, "--workers", LETTERS)
        async with Client(amqp_url) as client, asyncio.timeout(PATIENCE_S):
            await client.shards(30)
            assert await asyncio.gather(client.run("numbers.double", number=2), client.run("letters.upper", text="u")) == [4, "U"]
            assert set(await leaders(client)) == set(SHARDS)
            everything = below(tmp_path)
            assert len(everything) >= 1 + 1 + len(SHARDS) + 2, "up, a coordinator, its shards, two agents"
            with watched(everything) as ends:
                ours.processes["up"].terminate()
                await ours.processes["up"].wait()
                assert await asyncio.to_thread(all_end, ends, 15)
