"""The coordinator: one verb. Events in, commands out.

Law: ``step(now, events)`` is the only way to change its mind and the only way to learn what it wants done;
``next_deadline()`` says when to call again if nothing happens. Everything of one turn of the loop comes in one step, and
one step ends at rest: facts are applied, what is due is looked at, tasks are placed until none can be, one append and at
most one message per peer leave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from random import Random
from typing import Any

from orchestrator.core import rules
from orchestrator.core.answers import operators
from orchestrator.core.commands import Broadcast, Command, Flow, Settle
from orchestrator.core.config import Config
from orchestrator.core.custody import beginnings, leadership, memory, reading, tidying, wills
from orchestrator.core.custody.past import Memory
from orchestrator.core.desk import Desk, Flight
from orchestrator.core.events import (
    Arrived,
    BrokerBlocked,
    Event,
    Garbled,
    LedgerBegins,
    LedgerLost,
    QueueDeleted,
    Read,
    Returned,
    Sent,
    SessionLost,
    SessionOpened,
    TimePassed,
    TokenHeld,
)
from orchestrator.core.registry import agents, credence, liveness
from orchestrator.core.registry.offences import offend
from orchestrator.core.resources import limiting
from orchestrator.core.scheduler import placing, preempting, ranking
from orchestrator.core.scheduler.governing import Policies, Scope
from orchestrator.core.tasks import answering, intake, reports
from orchestrator.core.tasks.settling import give_up_waiting, miss_deadline, settle_down
from orchestrator.core.timers import Timer
from orchestrator.policies import BUILT_IN, Catalogue
from orchestrator.policies.guard import Guard
from orchestrator.vocabulary import NS_PER_S, Nanos
from orchestrator.wire.messages import Announce, Beat, Control, Echo, Held, Leave, Notes, Reports, Submit

MESSAGES: dict[type, Callable[[Desk, Nanos, Arrived], None]] = {
    Submit: intake.submitted,
    Reports: reports.reported,
    Announce: agents.announced,
    Beat: agents.beat,
    Held: agents.held,
    Notes: agents.notes,
    Leave: liveness.left,
    Control: operators.asked,
}

EVENTS: dict[type, Callable[[Desk, Nanos, Any], None]] = {
    Read: reading.read,
    LedgerBegins: beginnings.begins,
    Sent: intake.sent,
    Garbled: intake.garbled,
    Returned: liveness.returned,
    QueueDeleted: liveness.queue_deleted,
    BrokerBlocked: liveness.broker_blocked,
    SessionOpened: leadership.session_opened,
    SessionLost: leadership.session_lost,
    TokenHeld: leadership.token_held,
}


RENEWED_MAX = 1_000
"""Waiting tasks placed anew in one step because estimates have moved: a few milliseconds."""
ECHO_MAX = 10_000
"""Incarnations named in one echo: every agent decodes all of them."""


class Coordinator:
    """The machine. ``dice`` is the only chance in it: the same events, times and dice give the same commands."""

    def __init__(
        self,
        name: str,
        config: Config | None = None,
        dice: Random | None = None,
        policies: Mapping[Scope, str] | None = None,
        catalogue: Catalogue = BUILT_IN,
        limits: Mapping[str, Any] | None = None,
    ) -> None:
        """``policies``: specs by scope, ``limits`` by name: until the ledger says otherwise. Raises BadPolicy, ValueError."""
        self._named = name, config or Config(), dice or Random(0)
        self._catalogue, self._policies = catalogue, policies
        self._limits = limiting.wanted(limits or {})
        self.desk = self._new_desk()

    def _new_desk(self) -> Desk:
        desk = Desk(*self._named, Policies(self._catalogue, self._policies))
        desk.wanted_limits = self._limits
        return desk

    def _start_anew(self, now: Nanos, found: int) -> list[Command]:
        """A part of the ledger was cut off before it was read: forget all that was read before, and read what there is (R15).

        Whoever writes carries forward what lives, so the ledger has it all. The old books would lack every end and failure that
        stood in the gap, and a leader that trusts them would run again what is over.
        """
        missed, led = self.next_offset, self.desk.leading
        self._clear_desk(now, self.desk.past.memories)
        self.desk.note("behind", expected=missed, found=found, led=led)
        return self._leave("a part of the ledger was cut off before it was read")

    def _lose_ledger(self, now: Nanos, end: int) -> list[Command]:
        """What we have read is not in the ledger any more: read what there is, and remember what was (``core.custody.memory``)."""
        memories = memory.remember(self.desk)
        self._clear_desk(now, memories)
        for books, led in ((one.books, one.led) for one in memories[-1:]):
            self.desk.note(
                "ledger_lost", read_to=books.next_offset, end=end, live=len(books.live), ended=len(books.graves), led=led
            )
        return self._leave("the ledger was lost")

    def _clear_desk(self, now: Nanos, memories: list[Memory]) -> None:
        old, self.desk = self.desk, self._new_desk()
        self.desk.unheard, self.desk.now_ns, self.desk.past.memories = old.unheard, now, memories

    def _leave(self, why: str) -> list[Command]:
        leadership.resign(self.desk, why, 0)
        out, self.desk.out = self.desk.out, []
        return out

    @property
    def next_offset(self) -> int:
        """The first offset of the ledger it has not read; 0: it knows nothing, and reads from where the ledger says."""
        return self.desk.custody.next_offset

    @property
    def resume_at(self) -> int:
        """Where a new session reads on: at the last entry that was read, to know the ledger again by. 0: as ``next_offset``."""
        return max(0, self.next_offset - 1)

    def step(self, now: Nanos, events: Iterable[Event]) -> list[Command]:
        """Take in events at ``now`` (ns, never going back), come to rest, and say what is to be done, in this order."""
        desk = self.desk
        desk.now_ns = now
        for event in events:
            if desk.phase == "claiming" and isinstance(event, Arrived | Garbled) and event.handle is not None:
                desk.postponed.append(event)  # we claim again within a session: nobody else is given this delivery
            elif type(event) is Read and not rules.r15_unbroken(desk.custody.next_offset, event.offset):
                return self._start_anew(now, event.offset)  # what came with it is void, as the session is
            elif type(event) is Read and event.offset == desk.custody.next_offset - 1:
                desk.past.met = True
                if not rules.r15_same_ledger(desk.custody.last, event.entry):
                    return self._lose_ledger(now, event.offset)
            elif type(event) is Read and memory.is_another(desk, event.offset):
                return self._lose_ledger(now, event.offset)
            elif type(event) is LedgerLost:
                return self._lose_ledger(now, event.end)
            else:
                take(desk, now, event)
        if desk.leading:
            postponed, desk.postponed = desk.postponed, []
            for event in postponed:
                take(desk, now, event)
        while (due := desk.timers.next()) is not None and due <= now:
            for timer in desk.timers.due(now):
                wake(desk, now, timer)
        intake.admit(desk, now)
        desk.backlog.note_moves(desk.stir)
        desk.renewing = desk.backlog.refresh(RENEWED_MAX, desk.stir)
        desk.backlog.note_awake(desk.stir)
        if desk.limits_read:
            limiting.heed(desk, now)
        if desk.leading:
            self._rest(now)
        elif desk.phase == "following" and (now - desk.stirred_ns >= desk.config.silent_ns or memory.due(desk, now)):
            leadership.claim(desk, now)
        elif desk.phase == "claiming" and now - desk.read_ns >= desk.config.close_ns:
            leadership.resign(desk, f"the claim was not read back: {_mute(desk)}", 0)
        elif desk.past.reminding is not None:
            memory.go_on(desk, now)
        if now >= desk.forget_ns:
            desk.forget_ns = now + NS_PER_S
            desk.custody.forget(now, desk.config.dedup_ns, desk.config.remembered_max)
            wills.forget(desk.custody, now)
            tidying.tidy(desk)
            if desk.leading:
                answering.post_again(desk, now)
            desk.keeping.replay_from(desk.custody)  # void rows go; who leads asks with every append, who follows would keep them
        if not desk.leading:
            desk.stirred.clear()  # nothing is placed here; who begins to lead looks at all
        out, desk.out = desk.out, []
        return out

    def next_deadline(self) -> Nanos | None:
        """When to step again if nothing happens. None: only an event can change anything."""
        desk, config, timer = self.desk, self.desk.config, self.desk.timers.next()
        if desk.phase == "following":
            moment = min(desk.stirred_ns + config.silent_ns, memory.due_ns(desk) or 1 << 63)
        elif desk.phase == "away":
            return timer
        else:
            moment = desk.appended_ns + config.tick_ns if desk.flight is None else desk.read_ns + config.close_ns
            if (oldest_ns := desk.custody.graveyard.oldest_ns) is not None:
                moment = min(moment, max(desk.forget_ns, oldest_ns + config.dedup_ns + config.dedup_ns // 64))  # in lots
            if desk.phase == "leading":
                moment = min(moment, desk.ripening.due_ns or moment)
                moment = 0 if desk.renewing else min(moment, desk.echo_ns)
        return moment if timer is None or moment < timer else timer

    # --- coming to rest -----------------------------------------------------------------------------------------------

    def _rest(self, now: Nanos) -> None:
        """A leader's end of step."""
        desk = self.desk
        if now - desk.read_ns >= desk.config.close_ns:
            leadership.resign(desk, f"nothing of our own was read back in time: {_mute(desk)}", 0)
            return
        if (desk.reclaim or desk.past.unsure) and desk.flight is None:
            leadership.claim(desk, now)
            return
        self._set_down()
        if rules.r10_fresh(now, desk.proven_ns, desk.config.fresh_ns) and not desk.past.unsure:
            ranking.reckon(desk)
            self._place(now)
            while self._set_down():
                self._place(now)
        leadership.mark_again(desk, now)
        beginnings.look(desk, now)
        self._echo(now)
        self._append(now)
        desk.settled += desk.ripening.ripe(now)
        if desk.settled:
            desk.out.append(Settle(tuple(desk.settled)))
            desk.settled = []
        for instance in desk.touched.values():
            if instance.orders and instance.state not in ("missing", "gone"):
                desk.send_orders(instance, now)
        desk.touched.clear()
        answering.post(desk)
        if (wanted := intake.flow(desk)) is not None:
            desk.intake_open = wanted
            desk.out.append(Flow(wanted))
            desk.note("intake", open=wanted, live=len(desk.custody.live))

    def _place(self, now: Nanos) -> None:
        """Until nothing more can be placed: limits that have room again wake lanes, and services are looked at of which
        there is news."""
        desk = self.desk
        while True:
            desk.sharing.wake(desk, now)
            desk.backlog.note_awake(desk.stir)
            if not desk.stirred:
                return
            service = next(iter(desk.stirred))
            placing.place(desk, now, service, desk.stirred.pop(service))

    def _set_down(self) -> bool:
        """Say which policies of others have failed, and order anew where one of them had ordered. Gives whether any has."""
        desk = self.desk
        news = desk.policies.set_down()
        for kind, name, why in news:
            desk.counts["policy_failed"] += 1
            desk.note("policy_failed", kind=kind, policy=name, why=why)
        if any(kind == "ordering" for kind, _, _ in news):
            orderings = [desk.policies.of(service).ordering for service in desk.backlog.queues]
            for service in desk.backlog.order_anew(one for one in orderings if isinstance(one, Guard) and one.fault):
                desk.stir(service)
        return bool(news)

    def _append(self, now: Nanos) -> None:
        """Group commit: one append is under way at a time, what is proposed meanwhile forms the next."""
        desk = self.desk
        if desk.flight is not None:
            return
        silent = not (desk.proposed or desk.queued) and now - desk.appended_ns < desk.config.tick_ns
        if silent and desk.keeping.calm:
            return
        facts = desk.keeping.carry(desk.custody, desk.config.append_bytes_max)
        gates = Flight()
        if not facts or desk.keeping.room(desk.custody):
            proposed, gates = desk.board()
            facts += proposed
        if not facts and now - desk.appended_ns < desk.config.tick_ns:
            return
        desk.number += 1
        gates.number = desk.number
        desk.flight = gates
        desk.appended_ns = now
        desk.append(facts)

    def _echo(self, now: Nanos) -> None:
        """Renew the windows of all instances heard since the last echo, in one broadcast (R9), while we are fresh (R10). Releases
        that nothing came to travel with leave too."""
        desk = self.desk
        if now < desk.echo_ns:
            return
        desk.echo_ns = now + desk.config.echo_ns
        desk.touched.update(desk.lingering)
        desk.lingering.clear()
        if not rules.r10_fresh(now, desk.proven_ns, desk.config.fresh_ns):
            return
        heard: dict[str, int] = {}
        for incarnation, instance in desk.registry.instances.items():
            if instance.heard > instance.echoed and instance.answered == desk.epoch and instance.state in ("ready", "draining"):
                heard[incarnation] = instance.echoed = instance.heard
        waves = iter(heard.items())
        while wave := dict(islice(waves, ECHO_MAX)):
            desk.out.append(Broadcast(Echo(desk.epoch, wave)))


def take(desk: Desk, now: Nanos, event: Event) -> None:
    """One event, to whom it concerns."""
    if type(event) is Arrived:
        handler = MESSAGES.get(type(event.message))
        if handler is None:
            kind = type(event.message).__name__
            offend(desk, "misplaced", "", event.user, f"a {kind} is not for coordinators", gate=event.handle)
        else:
            handler(desk, now, event)
    elif type(event) is not TimePassed:
        EVENTS[type(event)](desk, now, event)


def wake(desk: Desk, now: Nanos, timer: Timer) -> None:
    """A moment has come: look whether its reason still stands."""
    reason, whom, n = timer
    match reason:
        case "due":
            record = desk.custody.live.get(whom)
            if record is None or record.state != "deferred":
                return
            waited = 0 < n == len(record.failures)
            if waited or record.not_before_ns <= now:
                settle_down(desk, now, record, waited=waited)
        case "deadline":
            record = desk.custody.live.get(whom)
            if record is not None and record.state in ("waiting", "blocked", "deferred"):
                miss_deadline(desk, now, record)
        case "saved":
            if (record := desk.custody.live.get(whom)) is not None and desk.leading:
                give_up_waiting(desk, now, record, n)
        case "yield":
            preempting.grace_over(desk, now, whom, n)
        case "early":
            for event in credence.give_up_early(desk, now):
                take(desk, now, event)
        case "ripe":
            desk.stir(whom)
        case "lease":
            liveness.lease_due(desk, now, whom)
        case "return":
            liveness.return_over(desk, now, whom)
        case "fence":
            liveness.fence_over(desk, now, whom, n)
        case "tokens":
            desk.sharing.tokens_due(n)
        case "backstop":
            liveness.backstop(desk, now, whom, n)


def _mute(desk: Desk) -> str:
    """Why nothing is read back. (Nodes of RabbitMQ 3.10.8 that had lost each other may leave a stream without a leader.)"""
    if desk.blocked:
        return "the broker's alarm holds back what we write"
    return "the ledger does not answer. If that repeats, restart the broker's nodes, one by one"
