"""Who leads: hint, claim, epoch, takeover, resignation.

Law: the broker's token is a hint, the claim in the ledger is the truth. A leader leads from the moment it reads its own
claim until it reads a later one, or loses its session, or reads nothing of its own for too long. Taking over, it asks every
instance that may hold work what it has (``sync``), and sets aside the tasks those might hold; all others go at once (R2,
R3).
"""

from __future__ import annotations

from orchestrator.core import rules
from orchestrator.core.commands import Lead, OpenIntake, Resign
from orchestrator.core.custody import memory
from orchestrator.core.custody.records import NOWHERE, Record
from orchestrator.core.desk import Desk, Flight
from orchestrator.core.events import SessionLost, SessionOpened, TokenHeld
from orchestrator.core.registry import dependencies
from orchestrator.core.registry.pools import Pool
from orchestrator.core.registry.registry import Instance, Orderbook
from orchestrator.core.resources import limiting
from orchestrator.core.scheduler import billing
from orchestrator.core.tasks import answering, following, workflows
from orchestrator.vocabulary import NS_PER_S, Nanos
from orchestrator.wire.facts import Claim

UNREAD_REPORTS = "the reports queue"
"""Stands among those that have still to answer after a claim, until the mark behind the old reports is read."""
MARK_AGAIN_NS: Nanos = 5 * NS_PER_S
"""All that was accepted before waits for it. Behind many old reports it may take longer, and one more does no harm."""


def session_opened(desk: Desk, now: Nanos, event: SessionOpened) -> None:
    """Connections stand: follow the ledger, and wait for the hint."""
    desk.phase = "following"
    desk.nonce = event.nonce
    desk.number = 0
    desk.read_ns = desk.stirred_ns = desk.past.opened_ns = now
    desk.past.token_held = desk.past.met = False
    desk.past.since_ns = 0
    desk.blocked = desk.looking = False
    desk.intake_open = True


def session_lost(desk: Desk, now: Nanos, event: SessionLost) -> None:
    """Every handle is void, whatever was under way may or may not have happened: the ledger will tell."""
    step_down(desk)
    desk.phase = "away"
    desk.note("session_lost", why=event.why)


def token_held(desk: Desk, now: Nanos, event: TokenHeld) -> None:
    """Nobody else seems to lead: claim. Unless the ledger was lost, and somebody else may remember (more of) it."""
    if desk.phase == "following":
        desk.past.token_held = memory.pending(desk) or memory.lacking(desk)
        if not desk.past.token_held or memory.due(desk, now):
            claim(desk, now)
        elif memory.lacking(desk):
            _wait_for_memory(desk, now)


def _wait_for_memory(desk: Desk, now: Nanos) -> None:
    desk.note("waits_for_memory", wait_s=((memory.due_ns(desk) or now) - now) / 1e9)


def claim(desk: Desk, now: Nanos) -> None:
    """Write a claim. We lead once we read it; everything before it is applied by then, another's claim and reign perhaps: so of one
    of our own that goes on before it nothing soft is left, or what that one says is gone would be missed here."""
    if desk.leading:
        forget_soft(desk)
    desk.phase = "claiming"
    desk.reclaim = desk.past.token_held = False
    desk.read_ns = now
    desk.number += 1
    desk.flight = Flight(desk.number)
    desk.appended_ns = now
    floor = _floor(desk, now)
    desk.append([Claim(desk.name, desk.nonce, floor, reminds=memory.pending(desk))])
    desk.note("claiming", floor=floor)


def _floor(desk: Desk, now: Nanos) -> int:
    """The highest epoch that agents said they know, or that we remember of a ledger that is lost: we reign above it (R2). Nobody
    may know all of that one; so then epochs go on from the clock, beyond all offsets: no two reigns have one number."""
    lost = bool(desk.past.memories) or memory.lacking(desk)
    return max([desk.floor, *(one.books.epoch for one in desk.past.memories), now // NS_PER_S if lost else 0])


def claimed(desk: Desk, now: Nanos, fact: Claim, offset: int) -> None:
    """A claim was read: ours begins our reign, a later one ends it."""
    unaware = fact.nonce == desk.nonce and memory.claimed_unaware(desk, now)
    reign = desk.custody.claim(fact, offset)
    desk.past.anew = desk.past.anew and unaware  # else somebody leads
    if desk.phase == "away":
        return
    desk.past.since_ns = (desk.past.since_ns or now) if fact.nonce == desk.nonce else 0
    if fact.nonce == desk.nonce:
        if unaware:  # who is next in line has read our claim, and would not wait: the token stays here
            desk.phase, desk.flight, desk.past.token_held = "following", None, True
            _wait_for_memory(desk, now)
        elif memory.pending(desk) or desk.custody.unfinished is not None:
            memory.begin(desk, reign)
        else:
            begin_reign(desk, now, reign.epoch, offset)
    elif desk.phase == "leading" or desk.past.reminding is not None:
        resign(desk, f"{fact.coordinator} claimed at {offset}", desk.config.wait_ns)
    elif desk.past.token_held:
        resign(desk, f"{fact.coordinator} leads, and we hold the token: who is next in line stands behind us", 0)


def begin_reign(desk: Desk, now: Nanos, epoch: int, offset: int) -> None:
    """Lead from here."""
    forget_soft(desk)
    desk.past.unsure = False
    desk.ripening.begin()
    desk.phase, desk.epoch, desk.claim, desk.claimed_ns = "leading", epoch, offset, now
    desk.read_ns, desk.proven_ns = now, desk.appended_ns
    desk.calm_ns = now
    desk.attempts = desk.orphans = desk.lapsed_floor = 0
    desk.lapsed.clear()
    desk.postponed[:0] = [event for _, event in desk.early]  # of these we may be the later leader
    desk.early.clear()
    desk.mark = f"{desk.nonce}.{epoch}"
    desk.marked_ns = now
    desk.out.append(Lead(epoch, desk.mark))
    for service in sorted(desk.custody.served):
        desk.out.append(OpenIntake(service))
    over = rules.r10_over_after_claim(now, desk.config.fresh_ns, desk.config.lease_ns)
    for one in [one for one in desk.registry.instances.values() if one.joined and one.incarnation not in desk.custody.joined]:
        desk.registry.remove(one)  # it was about to be in the ledger, and is not: it is met anew (R2)
    for incarnation, (joined, _) in desk.custody.joined.items():
        instance = desk.registry.instances.get(incarnation)
        if instance is None:
            instance = desk.registry.add(Instance(incarnation, joined.instance, joined.service, heard_ns=now))
        instance.joined = True
        instance.follow("joined" if instance.state == "joining" else "resync")
        instance.over_ns = over
        desk.timers.at(over, "lease", incarnation)
        desk.registry.pool(joined.service).unanswered[incarnation] = None
        desk.registry.touch(instance)
        desk.order(instance).sync = True
    desk.sharing.begin(now, [joined.service for joined, _ in desk.custody.joined.values()])
    for service, queue in desk.backlog.queues.items():
        pool = desk.registry.pool(service)
        pool.unanswered[UNREAD_REPORTS] = None
        if not rules.r3_all_may_go(pool.unanswered):
            queue.set_aside()
    dependencies.judge(desk)
    desk.stir_all()
    for task, owed in desk.custody.owed.items():
        owed.letter_token, owed.queues = 0, dict.fromkeys(owed.queues, 0)
        answering.post_owed(desk, task)
    desk.custody.graveyard.caught_up()
    workflows.find_orphans(desk, now)
    following.find_orphans(desk, now)
    _catch_up(desk)
    limiting.begin(desk, now)
    desk.note(
        "leading", epoch=epoch, waiting=len(desk.backlog), live=len(desk.custody.live), owed=len(desk.custody.owed),
        instances=len(desk.custody.joined),
    )  # fmt: skip


def counts_anew(desk: Desk, now: Nanos) -> bool:
    """An agent obeys our epoch, and we never told it, or speaks of attempts of it that we never gave: there was such a reign in a
    ledger that is gone, or has lost its end, whose attempts are called as ours would be. Claim above it. Agents speak sooner than a
    lease; after that it is a lie."""
    if not rules.r2_is_young(now, desk.past.since_ns, desk.config.lease_ns):
        return False
    desk.floor, desk.reclaim = max(desk.floor, desk.epoch), True
    return True


def answered(desk: Desk, instance: Instance) -> None:
    """One agent fewer that may hold tasks accepted before our claim."""
    _accounted_for(desk, desk.registry.pool(instance.service), instance.incarnation)


def marked(desk: Desk) -> None:
    """Every report that earlier leaders left is read: what it says has ended will not be assigned again."""
    desk.marked_ns = 0
    desk.ripening.reports_first = False
    for pool in list(desk.registry.pools.values()):
        _accounted_for(desk, pool, UNREAD_REPORTS)


def mark_again(desk: Desk, now: Nanos) -> None:
    """The mark should long have been read: somebody emptied that queue, or it did not get there. All that came before us would wait
    for it in vain."""
    if desk.marked_ns and now - desk.marked_ns >= MARK_AGAIN_NS:
        desk.marked_ns = now
        desk.out.append(Lead(desk.epoch, desk.mark))


def is_later_mark(desk: Desk, mark: str) -> bool:
    """Whether this is the mark of a leader that has claimed after us, which we have not read yet."""
    epoch = mark.rpartition(".")[2]
    return epoch.isdecimal() and int(epoch) > desk.epoch


def _accounted_for(desk: Desk, pool: Pool, name: str) -> None:
    answered = pool.unanswered.pop(name, "absent") is None
    over = not answered and pool.fenced.pop(name, "absent") is None
    known = answered or (over and not pool.fenced)  # what waited for one fence waits for the others as well
    if known and not pool.unanswered.keys() - {UNREAD_REPORTS}:
        desk.sharing.heard(pool.service)
    if known and rules.r3_all_may_go(pool.unanswered):
        queue = desk.backlog.queue(pool.service)
        queue.take_back()
        if pool.fenced:
            for record in [one for one in queue.records() if not rules.r3_may_go(one, desk.claim, (), pool.fenced)]:
                desk.backlog.remove(record)
                desk.backlog.add(record, aside=True)
        _catch_up(desk)
    desk.stir(pool.service)


def _catch_up(desk: Desk) -> None:
    """Ends that were due while we did not lead, or while agents had still to answer."""
    for task in desk.verdicts:
        desk.carry_out(desk.custody.live[task])
    missed, desk.missed = desk.missed, {}
    for task in missed:
        desk.timers.at(0, "deadline", task)


def fence(desk: Desk, instance: Instance) -> None:
    """It is gone before it could answer: only what must never overlap waits on, until its lease is over (R10)."""
    desk.registry.pool(instance.service).fenced[instance.incarnation] = None
    desk.timers.at(instance.over_ns, "fence", instance.incarnation)


def resign(desk: Desk, why: str, wait_ns: Nanos) -> None:
    """Drop every gate unexecuted and give the session up (R1)."""
    step_down(desk)
    desk.phase = "away"
    desk.out.append(Resign(why, wait_ns))
    desk.note("resigned", why=why)


def step_down(desk: Desk) -> None:
    """Forget everything that only a leader knows."""
    forget_soft(desk)
    desk.past.reminding = None
    desk.ripening.clear()
    desk.queued.clear()
    desk.board()
    desk.flight = None
    desk.arriving.clear()
    desk.arriving_bytes = 0
    desk.lobby.clear()
    desk.postponed.clear()
    desk.early.clear()
    desk.posted.clear()
    desk.results.clear()
    desk.answers.clear()
    desk.settled.clear()
    desk.touched.clear()
    desk.keeping.void()
    late = [name for name, one in desk.ending.items() if one.task.deadline_ns is not None and one.task.deadline_ns <= desk.now_ns]
    desk.missed |= dict.fromkeys(late)  # that they have expired may not have been written, and is looked at once
    desk.ending.clear()


def forget_soft(desk: Desk) -> None:
    """Live attempts and grants are soft: the next leader (we ourselves, perhaps) asks the agents again."""
    for queue in desk.backlog.queues.values():
        queue.take_back()
    for pool in desk.registry.pools.values():
        pool.unanswered.clear()
        pool.fenced.clear()
    for instance in list(desk.registry.instances.values()):
        for attempt, holding in list(instance.holdings.items()):
            instance.drop(attempt)
            billing.settle(desk.now_ns, holding)
            if (record := holding.record) is not None:
                record.awaits = None
                record.taken_back(attempt)
                if not record.live and record.state in ("assigned", "running"):
                    _put_back(desk, record)
        instance.orders = Orderbook()
        instance.early.clear()
        instance.sent = instance.drained = instance.answered = instance.asked_ns = 0
        desk.registry.touch(instance)
        if instance.state == "gone":  # it was kept for its fences; the next leader keeps it for its lease
            desk.registry.remove(instance)
    for book in (desk.doubtful, desk.saving):
        for record in book.values():
            record.awaits = None
            record.live = NOWHERE
            _put_back(desk, record)
        book.clear()
    desk.lingering.clear()
    desk.sharing.reset(desk)


def _put_back(desk: Desk, record: Record) -> None:
    """No attempt of it is known any more. One that an agent was said to have may not be due yet."""
    record.follow("vacate")
    if not (rules.r13_may_start(record) and rules.r16_may_start(desk.custody.keys, record.id)):
        record.follow("block")
    elif record.not_before_ns > desk.now_ns:
        record.follow("defer")
        desk.timers.at(record.due_ns(desk.now_ns), "due", record.id, len(record.failures))
    else:
        desk.backlog.add(record)
