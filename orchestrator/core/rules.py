"""The rules of custody, one function each.

Law: each rule lives here and nowhere else, so that a test can turn one off from outside and see it missed. The numbers are
those of the rules R1-R16 in DESIGN.md, where each has the story that breaks without it. Functions decide from what they are
given; they change nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from orchestrator.core.custody.records import Grave, Record
from orchestrator.vocabulary import Attempt, Ending, Nanos, TaskId
from orchestrator.wire.facts import Entry, Failed, Failure
from orchestrator.wire.messages import Task

if TYPE_CHECKING:
    from orchestrator.core.registry.registry import Instance
    from orchestrator.core.tasks.keys import Held, Keys

UNSEEN_PER_LOSS = 4
"""So many instances that died before an attempt was seen to start weigh as much as one that died while it ran."""


def r1_committed(entry: Entry, nonce: str, number: int, leading: bool) -> bool:
    """A fact is committed for its leader when it is read back with no later claim before it (then we would not lead)."""
    return leading and entry.by == nonce and entry.number == number


def r1_first_end(grave: Grave | None) -> bool:
    """The first ``Ended`` in ledger order is the outcome; later ones are counted and ignored."""
    return grave is None


def r2_may_receive(instance: Instance, epoch: int) -> bool:
    """An incarnation gets work only after its ``Joined`` is committed and it has answered the sync of this epoch."""
    return instance.joined and instance.answered == epoch


def r2_is_young(now: Nanos, since_ns: Nanos, lease_ns: Nanos) -> bool:
    """Whether we lead only since then, and agents may still obey an equal epoch of a reign that a ledger has lost."""
    return bool(since_ns) and now - since_ns <= lease_ns


def r3_may_go(record: Record, claim: int, unanswered: Collection[str], fenced: Collection[str]) -> bool:
    """A task accepted before the claim waits for every agent of its service that may hold it; others go at once.

    One that must never overlap waits for those, too, that are gone on evidence and whose lease is not over (R10).
    """
    return record.accepted > claim or (r3_all_may_go(unanswered) and not (fenced and record.task.overlap == "never"))


def r3_came_late(leading: bool) -> bool:
    """Whether agents were not asked about a living task that we read as written again, and did not know: it stood before our claim,
    in a ledger that was lost, and whoever wrote it again fell silent before it led. They are asked before anything moves."""
    return leading


def r3_all_may_go(unanswered: Collection[str]) -> bool:
    """Whether nobody is left who may hold tasks accepted before the claim, or know that one has ended."""
    return not unanswered


def r4_assignable(record: Record) -> bool:
    """A task is assignable only when none of its attempts may be alive."""
    return not record.live


def r4_not_held(attempt: Attempt, sent: int, drained: int, held: Collection[Attempt]) -> bool:
    """An attempt is over when its agent has drained past its order and does not hold it."""
    return sent <= drained and attempt not in held


def r4_undelivered(attempt: Attempt, sent: int, epoch: int, returned: int) -> bool:
    """An attempt whose order came back is none: the broker had no queue for it, so no agent ever had it; an attempt travels once.

    (``sent`` is 0 of an attempt that an agent told us of.)
    """
    return 0 < sent == returned and attempt.epoch == epoch


def r4_finished_lives(record: Record | None, attempt: Attempt) -> bool:
    """A finished attempt counts as alive until its report is read; not if the ledger knows it as over, or another one is alive."""
    return record is not None and not record.live and all(failure.attempt != attempt for failure in record.failures)


def r4_end_is_proof(how: Ending, now: Nanos, stirred: Nanos, blocked: bool, quiet_ns: Nanos) -> bool:
    """Whether the end of a connection says that its agent is dead: if it broke off. The dead do not shake hands.

    And not while the ledger is silent, or the broker alarmed: then nobody renews windows; agents end their connections themselves,
    and come back with what they had finished.
    """
    return how == "broken" and not blocked and now - stirred < quiet_ns


def r4_may_return_until(now: Nanos, over: Nanos, return_ns: Nanos) -> Nanos:
    """Until when an agent whose queue is gone without a word of death may come back and say what it had finished."""
    return min(now + return_ns, over)


def r8_counts(record: Record, failed: Failed) -> bool:
    """Of each attempt the first ``Failed`` counts, whoever wrote it."""
    return all(failure.attempt != failed.attempt for failure in record.failures)


def r8_over(failed: Failed | Failure) -> bool:
    """A failure written on evidence (``lost``, ``unseen``) never overrides an agent that answers that it still has the attempt."""
    return failed.cause not in ("lost", "unseen")


def r8_deaths(record: Record) -> int:
    """How many deaths of instances speak against the task. One that died before the attempt was seen to start proves little: the
    attempt may never have begun. But a task that kills at once is never seen to start, so enough of these count too.
    """
    return record.losses + record.unseen // UNSEEN_PER_LOSS


def r8_last_chance(record: Record, losses_max: int) -> bool:
    """Whether one more death would end it as a killer. So that no innocent one dies of what another does, two such tasks are never
    on one instance at once: the next death there speaks against one of them alone.
    """
    return r8_deaths(record) >= max(1, losses_max - 1)


def r8_tried_enough(record: Record, losses_max: int, fatal: bool) -> bool:
    """Whether the task ends as failed: decided when ``Failed`` is read, from ledger content only."""
    return fatal or r8_deaths(record) >= losses_max or record.failed > record.retries


def r10_fresh(now: Nanos, proven: Nanos, fresh_ns: Nanos) -> bool:
    """A leader echoes and assigns only while what it read back last was *written* recently: nobody had claimed before."""
    return now - proven < fresh_ns


def r10_over_after_claim(claimed: Nanos, fresh_ns: Nanos, lease_ns: Nanos) -> Nanos:
    """When a silent agent of an earlier reign is over: its last leader echoed for up to ``fresh_ns`` after our claim."""
    return claimed + fresh_ns + lease_ns


def r11_forgettable(grave: Grave, now: Nanos, window_ns: Nanos) -> bool:
    """The id of an ended task is remembered for the dedup window, which exceeds any deposed session's life."""
    return now - grave.at_ns > window_ns


def r12_room(position: int, oldest: int, cap: int, reserve: int) -> bool:
    """Whether anything but carrying forward may be appended: the oldest living record must not near the edge."""
    return position - oldest < cap - reserve


def r15_unbroken(expected: int, found: int) -> bool:
    """Whether nothing is missing before the entry at ``found``: books rest on the whole ledger, or on none of it.

    A single offset is no loss: the broker's stream takes one for itself at the beginning of each segment.
    """
    return not expected or found <= expected + 1


def r15_same_ledger(last: tuple[str, int], entry: Entry) -> bool:
    """Whether the entry that was read last still stands where it stood: a ledger that was made anew may have grown past it."""
    return last == (entry.by, entry.number)


def r15_knows_more(known: tuple[int, int], restored: tuple[int, int], lacks: bool) -> bool:
    """Whether a memory of a lost ledger (highest epoch, first offset not read) has what nobody has written again yet.

    Books are what the ledger said up to a place, so of two memories of one ledger one contains the other: a later reign, or a later
    place. Of two that were lost one after another neither may; so what is remembered, and the ledger ``lacks``, counts too.
    """
    return known > restored or lacks


def r15_lately_read(now: Nanos, read_ns: Nanos, window_ns: Nanos) -> bool:
    """Whether a memory of a lost ledger is so young that all which has ended since is known still (R11): what it says lives, and
    nobody knows, was not written again then, however much is said to be."""
    return now - read_ns < window_ns // 2


def r15_never_said(now: Nanos, grave: Grave, window_ns: Nanos) -> bool:
    """Whether an end that is remembered, and that the ledger does not know, is so young that nobody can have forgotten it (R11): it
    was never written there."""
    return not r11_forgettable(grave, now, window_ns // 2)


def r15_may_remind(now: Nanos, opened: Nanos, led: bool, remind_ns: Nanos) -> bool:
    """Whether it is our turn to write again what we remember: who led last knows all that anybody relied on, and goes first, having
    had a moment to read whether somebody else has done it."""
    return now - opened >= (remind_ns // 10 if led else remind_ns)


def r13_may_start(record: Record) -> bool:
    """A child is assignable once the end of every parent has been read, and is given what the first end of each says."""
    return record.node is None or not record.node.missing


def r14_end_now(record: Record, aside: bool) -> bool:
    """Whether a cancelled task may end before its live attempts have answered the stop.

    One that must never overlap may not, nor while an agent that may hold it (``aside``) has still to answer: who is told that it
    has ended may rely on that nothing of it runs.
    """
    return not (record.live or aside) or record.task.overlap != "never"


def r16_follows(hold: Held, task: Task, at_ns: Nanos, kept: bool) -> bool:
    """Whether a task runs not, because another one holds its key, and ends as that one does.

    Of tasks with the same key the first in ledger order runs; it holds the key as long as it lives, and once it is done for as long
    as it said. Who would take a cached result does not take one that is older than both allow, or not at hand any more (``kept``).
    """
    if hold.until_ns is None:
        return True
    if task.cache_ns is None:
        return at_ns < hold.until_ns
    return kept and at_ns < min(hold.until_ns, hold.done_ns + task.cache_ns)


def r16_may_start(keys: Keys, task: TaskId) -> bool:
    """A task that follows another one never runs."""
    return task not in keys.leaders
