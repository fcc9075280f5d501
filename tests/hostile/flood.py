"""The flood, in a process of its own: ``python -m tests.hostile.flood URL SEED TASKS REPLY_TO``, as fast as the broker takes it.

It may do whatever an agent, a producer, an operator and, for what is no entry, a coordinator may: publish to every exchange, listen
to the echo and learn who is there.

It rages when it is told to, by a JSON line (``Wave``), and says once a second, in such lines, how many it has sent. With ``decoy``
the same messages go to a queue of its own that nobody reads: what honest work loses by that it loses to the machine being busy.
With ``shard`` they go where somebody reads them and does no more (``floor``).
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import time
from collections import Counter
from functools import partial
from math import sqrt
from random import Random
from typing import Any, NamedTuple

from orchestrator.amqp import Delivery, Link, Published, topology
from orchestrator.vocabulary import DEFAULT_SHARD
from orchestrator.wire.codec import decode
from orchestrator.wire.messages import Echo
from tests.hostile.corpus import SQUATS, Corpus, Known, Place
from tests.hostile.load import FIRST

NICE = 10
"""It must not starve those whom it measures of the machine's cores: it gets what they leave. Its broker is theirs."""
DECOY = "orchestrator.agent.decoy"
"""A queue of the flood's own, that drops what is too much for it."""
POOL = 20_000
"""Different messages that are made before the flood begins; drawn from again and again, or making them would slow it."""
ROUND = 200
"""Messages written between two looks at the socket."""
KNOWN = 20_000
"""So many of the honest tasks' ids it has guessed."""
UNCONFIRMED_MAX = 5_000
AIMS: tuple[tuple[str, Place], ...] = (
    ("intake", "intake"), ("intake", "intake"), ("unknown", "intake"), ("reports", "reports"), ("reports", "reports"),
    ("registry", "registry"), ("registry", "registry"), ("control", "control"), ("agent", "orders"), ("echo", "echo"),
    ("results", "results"), ("ledger", "reports"),
)  # fmt: skip


def squatted_max(messages: int, submitted: int) -> float:
    """How many of the ``submitted`` honest tasks may find their id taken: each message that takes an id takes one of all that were
    guessed, and so at most one of those that were submitted. Only different messages count. Five deviations beyond the mean."""
    intakes = sum(place == "intake" for _, place in AIMS) / len(AIMS)
    mean = min(messages, POOL) * intakes * SQUATS * min(1.0, submitted / KNOWN)
    return mean + 5 * sqrt(mean) + 1


class Wave(NamedTuple):
    """So many messages, or for so long, whichever is over first; at most so many a second (0: as the broker takes them)."""

    messages: int
    seconds: float
    rate: float = 0.0
    decoy: bool = False
    shard: str = DEFAULT_SHARD


class Flood:
    """Aims at everything."""

    def __init__(self, link: Link, seed: int, tasks: str, reply_to: str) -> None:
        self._link = link
        self._dice = Random(seed)
        self._tasks = tasks
        self._reply_to = reply_to
        self.incarnations: list[str] = []
        """Those whom it has learned of."""
        self._epoch = 1
        self.landed: Counter[str] = Counter()
        """What the broker has taken, by aim."""
        self._under_way = 0
        self._room = asyncio.Event()

    async def enter(self, link: Link) -> None:
        """Go on over this connection; the last one may have been lost (who floods a busy machine may miss his heartbeats)."""
        self._link = link
        self._under_way = 0
        self.landed = Counter()
        decoy = topology.Queue(DECOY, exclusive=True, arguments={"x-queue-type": "classic", "x-max-length": 1_000})
        await link.declare(topology.Topology(queues=(decoy,)))

    async def learn(self) -> None:
        """Listen to the echo until it has named somebody."""
        name = f"orchestrator.agent.rogue-{secrets.token_hex(8)}"
        queue = topology.Queue(name, exclusive=True, arguments={"x-queue-type": "classic"})
        await self._link.declare(topology.Topology(queues=(queue,), bindings=(topology.Binding(topology.ECHO, name),)))
        heard = asyncio.Event()

        def take(delivery: Delivery) -> None:
            message = decode(delivery.body)
            if isinstance(message, Echo) and message.heard:
                self.incarnations, self._epoch = sorted(message.heard), message.epoch
                heard.set()

        consumer = await self._link.consume(name, take, prefetch=10, no_ack=True)
        async with asyncio.timeout(30):
            await heard.wait()
        await consumer.cancel()

    async def pool(self) -> dict[str, list[bytes]]:
        """Bodies for each aim."""
        guessed = [f"{self._tasks}{number}" for number in range(FIRST + 1, FIRST + KNOWN)]
        known = Known("honest", "echo", self.incarnations, guessed, self._epoch)
        corpus = Corpus(self._dice.getrandbits(32), known)
        share = POOL // len(AIMS)
        bodies: dict[str, list[bytes]] = {}
        for aim, place in AIMS:
            for number in range(share):
                bodies.setdefault(aim, []).append(corpus.blow(place).body)
                if number % 50 == 0:
                    await asyncio.sleep(0)  # heartbeats
        return bodies

    def _address(self, aim: str) -> tuple[str, str]:
        match aim:
            case "intake":
                return topology.TASKS, "honest"
            case "unknown":
                return topology.TASKS, f"nobody-{self._dice.randrange(10_000)}"
            case "reports":
                return topology.AGENTS, topology.KEY_REPORTS
            case "registry":
                return topology.AGENTS, topology.KEY_REGISTRY
            case "control":
                return topology.CONTROL, topology.KEY_CONTROL
            case "agent":
                return topology.ORDERS, topology.agent_queue(self._dice.choice(self.incarnations))
            case "echo":
                return topology.ECHO, ""
            case "results":
                return topology.RESULTS, self._reply_to
            case _:
                return topology.INTERNAL, topology.KEY_LEDGER

    async def rage(self, wave: Wave, bodies: dict[str, list[bytes]], before: int) -> None:
        """Send it, as long as the connection lasts."""
        dice, link = self._dice, self._link
        aims = [aim for aim, _ in AIMS]
        told = began = time.monotonic()
        for number in range(wave.messages):
            aim = aims[number % len(aims)]
            exchange, key = ("", DECOY) if wave.decoy else self._address(aim)
            how: dict[str, Any] = {"reply_to": self._reply_to if dice.random() < 0.5 else "orchestrator.results.nobody"}
            if dice.random() < 0.5:
                how["user_id"] = link.user
            self._under_way += 1
            future = link.send(exchange, key, dice.choice(bodies[aim]), mandatory=False, persistent=dice.random() < 0.5, **how)
            future.add_done_callback(partial(self._over, aim))
            if number % ROUND == 0:
                await link.room()
                await self._until(UNCONFIRMED_MAX)
                due = began + number / wave.rate if wave.rate else 0.0
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                now = time.monotonic()
                if now - told > 1:
                    told = now
                    say(sent=before + self.landed.total())
                if link.is_broken or now - began > wave.seconds:
                    break
        await self._until(0)

    async def _until(self, most: int) -> None:
        """No more than so many are unconfirmed."""
        while self._under_way > most:
            self._room.clear()
            await self._room.wait()

    def _over(self, aim: str, future: asyncio.Future[Published]) -> None:
        self._under_way -= 1
        self.landed[aim] += future.result() is not Published.LOST
        self._room.set()


def say(**what: Any) -> None:
    """One line for whoever started us."""
    print(json.dumps(what), flush=True)


async def main(url: str, seed: int, tasks: str, reply_to: str) -> None:
    """Learn who is there, then one wave after another, until nobody asks for more."""
    async with await Link.open(url, name="flood", heartbeat_s=60) as link:
        flood = Flood(link, seed, tasks, reply_to)
        await flood.learn()
        bodies = await flood.pool()
    os.nice(NICE)
    say(ready=True, incarnations=flood.incarnations)
    while line := await asyncio.to_thread(sys.stdin.readline):
        wave = Wave(**json.loads(line))
        began, landed, connections = time.monotonic(), Counter[str](), 0
        while (done := landed.total()) < wave.messages and (left_s := began + wave.seconds - time.monotonic()) > 0:
            connections += 1
            async with await Link.open(url, name="flood", heartbeat_s=60, shard=wave.shard) as link:
                await flood.enter(link)
                await flood.rage(wave._replace(messages=wave.messages - done, seconds=left_s), bodies, done)
                landed += flood.landed
        say(done=landed.total(), aims=landed, seconds=time.monotonic() - began, connections=connections)


if __name__ == "__main__":
    address, number, names, queue = sys.argv[1:]
    asyncio.run(main(address, int(number), names, queue))
