"""Leaders of shards, spread over the coordinators.

Law: nobody is in charge of the spreading. Every coordinator looks, every few seconds, at who leads each shard and at how many
stand in line for it; whoever leads most, and at least two more than another, hands one shard over: to the next in line there,
who may not be the one that has the fewest, but then hands it on. So each hand-over moves one shard along its line, until
somebody keeps it.

Nobody chases: one coordinator at a time moves (that one who leads most; of those who lead as many, the last by name), it moves
what it was given last, only when it has seen the same need twice, and waits until the move shows. Whatever is seen may be old,
so the question names the epoch that is meant: whoever leads another one goes on.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, NoReturn

from orchestrator.amqp import Delivery, Link, topology
from orchestrator.amqp.supervisor import keep_session
from orchestrator.amqp.topology import within
from orchestrator.live.settings import Settings
from orchestrator.live.telemetry import Telemetry
from orchestrator.wire.codec import decode, encode
from orchestrator.wire.messages import Answer, Control

LOOK_S = 2.0
"""From one look to the next, give or take a fifth."""
ANSWER_WITHIN_S = 2.0
SETTLE_S = 5.0
"""After a hand-over, until it is judged."""
SETTLE_MOST_S = 600.0
"""A hand-over that came back doubles the wait until the next one, at most to this."""


@dataclass(frozen=True, slots=True)
class Led:
    """A shard at one look."""

    coordinator: str
    """Who leads it."""
    epoch: int
    leading_s: float
    standing: int
    """Coordinators in line for it, the leader included."""


def to_hand_over(me: str, shards: Mapping[str, Led | None]) -> str | None:
    """The shard that we should let the next in line have; none if all is well, or not known (None: nobody answered for it)."""
    known = {name: one for name, one in shards.items() if one is not None}
    if len(known) < len(shards):
        return None
    loads = Counter(one.coordinator for one in known.values())
    everywhere = min(one.standing for one in known.values())  # so many coordinators stand in every line
    least = min(loads.values()) if len(loads) >= everywhere else 0
    if max(loads, key=lambda name: (loads[name], name)) != me or loads[me] - least < 2:
        return None
    ours = [name for name, one in known.items() if one.coordinator == me and one.standing > 1]
    return min(ours, key=lambda name: (known[name].leading_s, name), default=None)


class Balancer:
    """Looks, and hands over, in sessions of its own."""

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._dice = Random()
        self._asked: dict[str, asyncio.Future[Answer]] = {}
        self._reply_to = ""

    async def run(self) -> NoReturn:
        """Until cancelled."""
        # what is wrong with the broker our children say; Missing, at first, means that they have not declared everything yet
        await keep_session(self._open, self._watch, rng=self._dice, on_event=lambda event: None)
        raise AssertionError("a session never ends by itself")

    async def _open(self) -> Link:
        assert self._settings.broker is not None, "the caller has found a broker"
        return await Link.open(self._settings.broker, name=f"coordinator {self._settings.name}: balancer")

    async def _watch(self, link: Link) -> NoReturn:
        nonce = secrets.token_hex(8)
        queue = self._reply_to = topology.results_queue(nonce)
        await link.declare(topology.results_inbox(nonce, self._settings.rule.names))
        await link.consume(queue, self._answered, prefetch=0, no_ack=True)
        wanted, pause_s = None, SETTLE_S
        while True:
            await asyncio.sleep(LOOK_S * (0.8 + 0.4 * self._dice.random()))
            seen = await self._look(link)
            before, wanted = wanted, to_hand_over(self._settings.name, seen)
            if wanted is None or wanted != before:
                continue
            led = seen[wanted]
            assert led is not None, "it is handed over because its leader is known"
            self._telemetry.say("handing_over", {"shard": wanted, "epoch": led.epoch})
            await self._ask(link, wanted, "hand_over", epoch=led.epoch)
            await asyncio.sleep(pause_s)
            now = (await self._look(link))[wanted]
            if now is not None and now.coordinator == self._settings.name and now.epoch != led.epoch:
                pause_s = min(2 * pause_s, SETTLE_MOST_S)
                self._telemetry.say("unbalanced", {"shard": wanted, "again_in_s": pause_s})
            else:
                pause_s = SETTLE_S
            wanted = None

    async def _look(self, link: Link) -> dict[str, Led | None]:
        names = self._settings.rule.names
        return dict(zip(names, await asyncio.gather(*(self._led(link, name) for name in names)), strict=True))

    async def _led(self, link: Link, shard: str) -> Led | None:
        standing = (await link.stat(within(shard, topology.LEADER))).consumers
        answer = await self._ask(link, shard, "status")
        if answer is None or not answer.ok:
            return None
        status = answer.value
        return Led(str(status["coordinator"]), int(status["epoch"]), float(status["leading_s"]), standing)

    async def _ask(self, link: Link, shard: str, op: str, **args: Any) -> Answer | None:
        """A leader's answer, if one comes in time."""
        question = Control(secrets.token_hex(8), op, args)
        asked: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked[question.id] = asked
        link.send(
            within(shard, topology.CONTROL), topology.KEY_CONTROL, encode(question), reply_to=self._reply_to,
            persistent=False, expiration_ms=round(ANSWER_WITHIN_S * 1000),
        )  # fmt: skip
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return await asked
        except TimeoutError:
            return None
        finally:
            del self._asked[question.id]

    def _answered(self, delivery: Delivery) -> None:
        answer = decode(delivery.body)
        if isinstance(answer, Answer) and (asked := self._asked.get(answer.id)) is not None and not asked.done():
            asked.set_result(answer)
