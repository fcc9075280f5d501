"""One session with the broker: brings events in, carries commands out.

Law: the shell never thinks. Sinks turn deliveries into events and wake the loop; ``perform`` turns each command into one act on the
link, in order, with no ``await`` between a step and submitting its commands. What becomes of an act comes back as an event. When
anything breaks, the whole session is void.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from hashlib import sha256
from typing import Any, Literal

from orchestrator.amqp import Consumer, Delivery, Link, Published, Receipt, topology
from orchestrator.amqp.deaths import watch_deaths
from orchestrator.amqp.errors import Broken, BrokenBy, LedgerRewound, Missing
from orchestrator.amqp.ledger import ENTRY_BYTES, LAGS_S, Gap, LedgerTail
from orchestrator.amqp.topology import within
from orchestrator.core import commands as say
from orchestrator.core.custody.keeping import LATEST, place_to_begin
from orchestrator.core.events import (
    Arrived,
    BrokerBlocked,
    Event,
    Garbled,
    LedgerBegins,
    QueueDeleted,
    Read,
    Sent,
    TokenHeld,
)
from orchestrator.core.registry.offences import loud
from orchestrator.core.registry.registry import QUEUE_PREFIX
from orchestrator.live.mending import heed_cancellation
from orchestrator.live.settings import Settings
from orchestrator.live.telemetry import Telemetry
from orchestrator.vocabulary import Ending
from orchestrator.wire.codec import (
    MAX_BODY_BYTES,
    MAX_LETTER_BYTES,
    MAX_LONG_BODY_BYTES,
    SAMPLE_BYTES,
    Malformed,
    decode,
    decode_entry,
    encode,
    encode_answer,
    encode_entry,
    is_newer,
    pack,
)
from orchestrator.wire.facts import Entry
from orchestrator.wire.messages import Reports, Results

INTAKE_PREFETCH = 200
"""Submissions on their way to us unsettled, per intake queue: messages, each up to thousands of tasks."""
REPORTS_PREFETCH = 300
LATE_PREFETCH = 65_535
"""The same where deliveries are settled late (``settle_after_s``): as many as a broker gives, without their bodies."""
REGISTRY_PREFETCH = 200
"""Soft words on their way to us, acknowledged once a turn: a flood of them waits (and is dropped, oldest first) in the broker,
instead of filling the socket on which everything else comes."""
CONTROL_PREFETCH = 8
"""Questions: each may cost a look at ten thousand tasks."""
RUBBISH_SINGLY = 20
"""So many messages of a sort that are none are told one by one: as many as are kept for people (``Offence.room``)."""
SUBMISSIONS, REPORTS, QUESTIONS = frozenset({"submit"}), frozenset({"reports"}), frozenset({"control"})
SOFT_WORDS = frozenset({"announce", "beat", "held", "notes", "leave"})
"""The kinds that each queue hears. Who may write to one must not speak through it as if it were another."""
OUTDATED_WAIT_S = 15.0
"""Who cannot read what a newer coordinator wrote comes to see so often whether it is still there. Meanwhile others lead."""
TOKEN_REFRESH_S = 600.0
"""The leader's token is renewed so often: well below the 30 minutes after which a broker suspects who holds a message."""

Wake = Callable[[Event], None]
Put = Callable[[Event], None]


class Session:
    """The acts of one session."""

    def __init__(self, link: Link, nonce: str, settings: Settings, telemetry: Telemetry, wake: Wake, put: Put) -> None:
        """``wake`` brings an event, ``put`` one that can wait for the next."""
        self.link = link
        self.nonce = nonce
        self._settings = settings
        self._telemetry = telemetry
        self._wake = wake
        self._put = put
        self._tail = LedgerTail(link)
        self._under_way: tuple[bytes, Entry] | None = None
        """The entry we appended last, to be recognised without decoding when it is read back."""
        self.intake: dict[str, Consumer] = {}
        self._registry: Consumer | None = None
        self._rubbish: dict[tuple[str, str | None, str], Garbled] = {}
        """What came since the last step and is no message, or none for its queue: by queue, user and which of both."""
        self._rubbish_told: Counter[tuple[str, str | None, str]] = Counter()
        self._unreadable = 0
        """Messages in the ledger that are no entries."""
        self._stands = False
        """In line for the token, or about to be."""
        self._leading = False
        self._flowing = True
        self._token: Delivery | None = None
        self._chores: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue()
        self._acts: dict[type, Callable[[Any], None]] = {
            say.Append: self._append,
            say.Settle: self._settle,
            say.Send: self._send,
            say.Broadcast: self._broadcast,
            say.SendResults: self._send_results,
            say.Bury: self._bury,
            say.Reply: self._reply,
            say.OpenIntake: self._open_intake,
            say.Flow: self._flow,
            say.Lead: self._lead,
            say.LookAtLedger: self._look_at_ledger,
            say.Resign: self._resign,
            say.Noted: self._noted,
        }

    # --- entering -------------------------------------------------------------------------------------------------------

    async def enter(self, resume_at: int, ears: Link) -> None:
        """Declare what we need, tail the ledger from ``resume_at`` (0: from where everything lives), listen to agents, and over
        ``ears`` to what the broker says of their ends.

        Who has not read the ledger to its end would lead late: until then it does not stand in line, and others go first. Raises
        LedgerRewound if the ledger ends before ``resume_at``: then it is declared, and what to make of it is the core's affair.
        """
        link = self.link
        deleted = await self._is_ledger_deleted()
        await link.declare(self._settings.topology + topology.registry_inbox(self.nonce))
        if deleted:  # an empty stream does not say that it is: the first word in it tells the others at once, and who comes new
            await link.publish(topology.INTERNAL, topology.KEY_LEDGER, encode_entry(Entry(self.nonce, 0)), timeout_s=10)
        if deleted and resume_at:
            raise LedgerRewound(topology.LEDGER, resume_at, 0)
        watched = await watch_deaths(ears, self._queue_deleted, vhost=link.vhost, prefix=QUEUE_PREFIX)
        self._telemetry.say("deaths_watched" if watched else "deaths_unwatched", {})
        start = resume_at or await self._replay_from()
        self._telemetry.say("replaying", {"from_offset": start})
        lags_s = LAGS_S if self._settings.replicated else 0.0
        await self._tail.follow(start, self._read, on_gap=self._gap, lags_s=lags_s)
        self._registry = await link.consume(
            topology.registry_queue(self.nonce), self._soft, prefetch=REGISTRY_PREFETCH, gather=True,
            body_bytes_max=MAX_LONG_BODY_BYTES,
        )  # fmt: skip
        if not self._stands and start >= self._tail.end:
            self._caught_up(start)

    def _caught_up(self, offset: int) -> None:
        """All is read that was there when we came."""
        self._stands = True
        self._chores.put_nowait(partial(self._stand_in_line, offset))

    async def _stand_in_line(self, offset: int) -> None:
        self.link.send(topology.INTERNAL, topology.KEY_LEADER, b"token", mandatory=False)
        await self.link.consume(topology.LEADER, self._token_held, prefetch=1)
        self._telemetry.say("standing_by", {"offset": offset})

    async def _is_ledger_deleted(self) -> bool:
        """Whether others were here before us, who declared it before all else, and it is not there."""
        try:
            await self.link.check(topology.Topology(queues=(topology.Queue(topology.REPORTS), topology.Queue(topology.LEDGER))))
        except Missing as missing:
            return missing.name == within(self.link.shard, topology.LEDGER)
        return False

    async def _replay_from(self) -> int:
        """Where a reader that knows nothing begins."""
        latest = [(each.offset or 0, decode_entry(each.body)) for each in await self._tail.latest(LATEST)]
        return place_to_begin((offset, entry) for offset, entry in latest if isinstance(entry, Entry))

    async def do_chores(self) -> None:
        """Acts that take several frames (declare, consume, pause), one after another, in the order they were asked."""
        while True:
            chore = await self._chores.get()
            await chore()
            heed_cancellation()

    async def renew_token(self) -> None:
        """A held message makes brokers suspicious after half an hour: lay down a new token, then settle the old one."""
        while True:
            await asyncio.sleep(TOKEN_REFRESH_S)
            if self._token is not None:
                await self.link.publish(topology.INTERNAL, topology.KEY_LEADER, b"token", mandatory=False, timeout_s=10)
                old, self._token = self._token, None
                self.link.settle([old])

    # --- events in ------------------------------------------------------------------------------------------------------

    def _read(self, delivery: Delivery) -> None:
        body, offset = delivery.body, delivery.offset
        assert offset is not None, "a delivery of the ledger carries its offset"
        if self._under_way is not None and self._under_way[0] == body:
            entry: Entry | Malformed = self._under_way[1]
            self._under_way = None
        else:
            entry = decode_entry(body)
        if isinstance(entry, Malformed) and is_newer(body):
            self._telemetry.say("outdated", {"offset": offset, "reason": str(entry), "user": delivery.user_id})
            self._give_up(f"a newer coordinator has written into the ledger, at {offset}, what we cannot read", OUTDATED_WAIT_S)
            return
        if isinstance(entry, Malformed):  # nobody but coordinators may write here: say so loudly, and let it count for nothing
            self._unreadable += 1
            if loud(self._unreadable):
                said = {"offset": offset, "reason": str(entry), "user": delivery.user_id, "count": self._unreadable}
                self._telemetry.say("unreadable_entry", said)
            entry = Entry("", 0)
        self._wake(Read(offset, len(body) + ENTRY_BYTES, entry))
        if not self._stands and offset + 1 >= self._tail.end:
            self._caught_up(offset)

    def _gap(self, gap: Gap) -> None:
        self._telemetry.say("ledger_gap", {"expected": gap.expected, "found": gap.found})

    def _soft(self, delivery: Delivery) -> None:
        self._arrived(delivery, None, topology.KEY_REGISTRY, SOFT_WORDS)

    def _firm(self, queue: str, hears: frozenset[str], delivery: Delivery) -> None:
        self._arrived(delivery, delivery.receipt, queue, hears)

    def _work(self, queue: str, hears: frozenset[str], prefetch: int) -> tuple[Callable[[Delivery], None], int]:
        """How to take in submissions or reports: into what, and so many at once."""
        return partial(self._firm, queue, hears), LATE_PREFETCH if self._settings.settle_after_s else prefetch

    def _arrived(self, delivery: Delivery, handle: Receipt | None, queue: str, hears: frozenset[str]) -> None:
        """Make an event of it."""
        if delivery.flaw is not None:
            self._wake(_garbled(delivery, handle, queue, f"its envelope: {delivery.flaw}"))
            return
        message = decode(delivery.body, brief=True, hears=hears)
        if isinstance(message, Malformed):
            self._rubbish_came(delivery, handle, queue, message, hears)
        else:
            self._wake(Arrived(message, handle, delivery.reply_to or "", delivery.user_id or ""))

    def _rubbish_came(
        self, delivery: Delivery, handle: Receipt | None, queue: str, message: Malformed, hears: frozenset[str]
    ) -> None:
        """No message, or none for this queue. In a queue and of a user the first are told one by one, for people to find what is
        wrong. From then on the first of a turn stands for the others, unless somebody is to be told: of thousands it is not even
        put into words."""
        what: Literal["malformed", "misplaced"] = "misplaced" if message.reason == "misplaced" else "malformed"
        sort = queue, delivery.user_id, what
        if not message.tasks and (first := self._rubbish.get(sort)) is not None:
            first.more.append(handle)
            return
        whole = decode(delivery.body, hears=hears)
        assert isinstance(whole, Malformed), "what is no message is none when it is looked at again"
        event = _garbled(delivery, handle, queue, str(whole), what, tasks=whole.tasks, digest=whole.digest)
        self._rubbish_told[sort] += 1
        if not message.tasks and self._rubbish_told[sort] > RUBBISH_SINGLY:
            self._rubbish[sort] = event
        self._wake(event)

    def _queue_deleted(self, queue: str, how: Ending) -> None:
        self._wake(QueueDeleted(queue.removeprefix(QUEUE_PREFIX), how))

    def _token_held(self, delivery: Delivery) -> None:
        self._token = delivery
        self._wake(TokenHeld())

    def blocked(self, blocked: bool) -> None:
        """The broker's alarm, as the link tells it."""
        self._wake(BrokerBlocked(blocked))

    # --- commands out ---------------------------------------------------------------------------------------------------

    def perform(self, commands: list[say.Command]) -> None:
        """Carry out the commands of one step, in order."""
        self._rubbish.clear()  # the step has taken it in
        for command in commands:
            self._acts[type(command)](command)
        if self._registry is not None:
            self._registry.settle_all()

    def _append(self, command: say.Append) -> None:
        body = encode_entry(command.entry)
        self._under_way = (body, command.entry)
        self._tail.append(body).add_done_callback(self._appended)

    def _appended(self, future: asyncio.Future[Published]) -> None:
        if not future.cancelled() and future.result() in (Published.NACKED, Published.RETURNED):
            self._give_up("the ledger refused an append")

    def _settle(self, command: say.Settle) -> None:
        self.link.settle(command.handles)

    def _send(self, command: say.Send) -> None:
        note = f"{command.orders.epoch}.{command.orders.seq}"
        self.link.tell(topology.ORDERS, command.queue, encode(command.orders), note=note, mandatory=True)

    def _broadcast(self, command: say.Broadcast) -> None:
        self.link.tell(topology.ECHO, "", encode(command.echo))

    def _send_results(self, command: say.SendResults) -> None:
        body = encode(Results(list(command.results)))
        future = self.link.send(topology.RESULTS, command.reply_to, body)
        future.add_done_callback(lambda done: self._sent(done, command))

    def _bury(self, command: say.Bury) -> None:
        key = topology.KEY_DEAD if command.where == "dead" else topology.KEY_QUARANTINE
        future = self.link.send(topology.INTERNAL, key, pack(command.letter, "letter", max_bytes=MAX_LETTER_BYTES))
        future.add_done_callback(lambda done: self._buried(done, command))

    def _sent(self, future: asyncio.Future[Published], command: say.SendResults) -> None:
        if not future.cancelled() and (result := future.result()) is not Published.LOST:
            (self._wake if command.awaited else self._put)(Sent(command.token, unroutable=result is not Published.CONFIRMED))

    def _buried(self, future: asyncio.Future[Published], command: say.Bury) -> None:
        if not future.cancelled() and (result := future.result()) is not Published.LOST:
            if result is not Published.CONFIRMED:
                self._telemetry.say("dead_letter_refused", {"task": command.letter.get("task"), "result": result.name})
            self._wake(Sent(command.token, unroutable=result is not Published.CONFIRMED))

    def _reply(self, command: say.Reply) -> None:
        self.link.send(topology.RESULTS, command.reply_to, encode_answer(command.answer), mandatory=False, persistent=False)

    def _open_intake(self, command: say.OpenIntake) -> None:
        self._chores.put_nowait(partial(self._consume_service, command.service))

    async def _consume_service(self, service: str) -> None:
        settings = self._settings
        await self.link.declare(
            topology.intake(service, replicated=settings.replicated, intake_max_bytes=settings.intake_bytes_max)
        )
        await self._take_in(topology.intake_queue(service))

    async def _take_in(self, queue: str) -> None:
        if queue in self.intake:
            return  # a second claim of the same session
        sink, prefetch = self._work(queue, SUBMISSIONS, INTAKE_PREFETCH)
        consumer = await self.link.consume(queue, sink, prefetch=prefetch, gather=True, body_bytes_max=MAX_BODY_BYTES)
        self.intake[queue] = consumer
        if not self._flowing:
            await consumer.pause()

    def _flow(self, command: say.Flow) -> None:
        self._chores.put_nowait(partial(self._switch, command.intake))

    async def _switch(self, on: bool) -> None:
        self._flowing = on
        for consumer in self.intake.values():
            await (consumer.resume() if on else consumer.pause())

    def _lead(self, command: say.Lead) -> None:
        self._chores.put_nowait(partial(self._consume_work, command.mark))

    async def _consume_work(self, mark: str) -> None:
        self.link.send(topology.AGENTS, topology.KEY_REPORTS, encode(Reports(mark)))
        if self._leading:
            return
        self._leading = True
        reports = self._work(topology.REPORTS, REPORTS, REPORTS_PREFETCH)
        control = partial(self._firm, topology.CONTROL, QUESTIONS), CONTROL_PREFETCH
        for queue, (sink, prefetch) in ((topology.REPORTS, reports), (topology.CONTROL, control)):
            await self.link.consume(queue, sink, prefetch=prefetch, gather=True, body_bytes_max=MAX_BODY_BYTES)
        await self._take_in(topology.TASKS)

    def _look_at_ledger(self, command: say.LookAtLedger) -> None:
        self._chores.put_nowait(self._see_where_the_ledger_begins)

    async def _see_where_the_ledger_begins(self) -> None:
        self._wake(LedgerBegins(await self._tail.first_offset()))

    def _resign(self, command: say.Resign) -> None:
        self._give_up(command.why, command.wait_ns / 1e9)

    def _noted(self, command: say.Noted) -> None:
        self._telemetry.say(command.what, command.fields)

    def _give_up(self, why: str, wait_s: float = 0.0) -> None:
        """Now, whatever chores are under way: the next session is ``wait_s`` away at least."""
        self.link.end(Broken(BrokenBy.CLOSED, "coordinator", why, wait_s=wait_s))


def _garbled(
    delivery: Delivery,
    handle: Receipt | None,
    queue: str,
    why: str,
    what: Literal["malformed", "misplaced"] = "malformed",
    *,
    tasks: tuple[str, ...] = (),
    digest: str = "",
) -> Garbled:
    """What came makes no sense here: an event of it, with a sample and the hash of the whole (``digest``, if it is known)."""
    body = delivery.body
    return Garbled(
        queue, why, body[:SAMPLE_BYTES], handle, delivery.reply_to or "", tasks, delivery.user_id or "",
        digest or sha256(body).hexdigest(), what,
    )  # fmt: skip
