"""Whom to believe, and of what: a peer's word counts as far as it can be its own to say.

Law: an incarnation belongs to the user that announced it, where the broker says who published; an attempt to the incarnation that
it was sent to, or to the one as which the same instance came back. Of an earlier reign we know less, and believe what contradicts
nothing. Disbelief changes nothing but a count (``forged``): whoever was wronged says it again, whoever lies has gained nothing.

What this is not: a seal. Whoever may publish as the agents' user is believed to be an agent. Keep users apart by the broker's
permissions; this makes them count.
"""

from __future__ import annotations

from orchestrator.core.custody.records import Record
from orchestrator.core.desk import Desk
from orchestrator.core.events import Arrived
from orchestrator.core.registry.offences import offend
from orchestrator.core.registry.registry import Instance
from orchestrator.vocabulary import Attempt, Incarnation, Nanos, TaskId
from orchestrator.wire.messages import Checkpoint, Report, Reports

ORPHANS_MAX = 10_000
"""Ends of tasks that nobody knows which are written down in one reign. They are real only after the ledger has lost its end."""
EARLY_MAX = 64
"""Deliveries that are held at a time: for a leader to come, or until their sender has introduced itself."""


def is_own(desk: Desk, instance: Instance, event: Arrived, where: str) -> bool:
    """Whether this was published by the user that the instance belongs to; if not, it is counted."""
    if not instance.user or instance.user == event.user:
        return True
    kind = type(event.message).__name__
    why = f"a {kind} in the name of {instance.name} ({instance.incarnation}), which belongs to user {instance.user!r}"
    offend(desk, "forged", where, event.user, why)
    return False


def of_service(desk: Desk, record: Record, event: Arrived) -> bool:
    """Whether a sender whom we do not know any more may be one of those that run such tasks."""
    pool = desk.registry.pools.get(record.service)
    users = {one.user for one in pool.members.values() if one.user} if pool is not None else set()
    return not users or event.user in users


def may_know(desk: Desk, task: TaskId, attempt: Attempt, said_by: Incarnation, event: Arrived) -> bool:
    """Whether that incarnation can know what became of this attempt of that task."""
    instance = desk.registry.instances.get(said_by)
    if instance is not None and (holding := instance.holdings.get(attempt)) is not None:
        return holding.task == task
    record = desk.custody.live.get(task)
    if record is None:
        return not desk.epoch <= attempt.epoch or attempt.n <= desk.attempts
    holder = record.live.get(attempt)
    if holder is not None:
        other = desk.registry.instances.get(holder)
        if (
            other is None or instance is None
        ):  # an earlier self of the holder may have said it, before it came back and told us that it
            # has this finished: then we did not assign it, but found it there
            return other is None or (not other.holdings[attempt].sent and other.user in ("", event.user))
        return (instance.name, instance.service) == (other.name, other.service)
    if instance is None and not of_service(desk, record, event):
        return False
    if attempt.epoch < desk.epoch:
        return attempt.epoch > 0
    return was_given(desk, task, attempt) or any(failure.attempt == attempt for failure in record.failures)


def was_given(desk: Desk, task: TaskId, attempt: Attempt) -> bool:
    """Whether this attempt of our reign was one of that task, and has been given up since."""
    return attempt.n <= desk.lapsed_floor or desk.lapsed.get(attempt.n) == task


def is_early(desk: Desk, said: Reports) -> bool:
    """Whether a leader that has claimed after us must have assigned something of this: its claim we have not read yet."""
    epoch = desk.epoch
    return any(one.attempt.epoch > epoch for one in said.items) or any(one.attempt.epoch > epoch for one in said.checkpoints)


def is_unintroduced(desk: Desk, said: Reports, event: Arrived) -> bool:
    """Whether a sender that we do not know speaks of what we gave to another: as that one's heir does, whose report was faster than
    the word that says who it is, or as whoever lies. For users that are no agents of that kind the second is meant.
    """
    if said.incarnation in desk.registry.instances:
        return False
    words: list[Report | Checkpoint] = [*said.items, *said.checkpoints]
    for one in words:
        record = desk.custody.live.get(one.task)
        holder = record.live.get(one.attempt) if record is not None else None
        other = desk.registry.instances.get(holder) if holder is not None else None
        if other is not None and other.holdings[one.attempt].sent and other.user in ("", event.user):
            return True
    return False


def is_of_namesake(desk: Desk, said: Reports, event: Arrived) -> bool:
    """Whether this speaks of attempts that are called as if we had given them, and we did not (another reign did, or nobody)."""
    words: list[Report | Checkpoint] = [*said.items, *said.checkpoints]
    return any(
        one.attempt.epoch == desk.epoch and not may_know(desk, one.task, one.attempt, said.incarnation, event) for one in words
    )


def introduced(desk: Desk, incarnation: Incarnation) -> None:
    """It has said who it is: what it reported before is judged now."""
    said = [one for one in desk.early if isinstance(one[1].message, Reports) and one[1].message.incarnation == incarnation]
    for one in said:
        desk.early.remove(one)
        desk.postponed.append(one[1])


def postpone(desk: Desk, event: Arrived) -> None:
    """Keep it until its sender has introduced itself, or for the leader that it is meant for: when our session ends, which will be
    soon, it is given to that one.

    Not for long: a claim that is not read within the time after which a silent ledger ends a session was never written.
    """
    if len(desk.early) >= EARLY_MAX:
        _disbelieve(desk, event)
    else:
        desk.early.append((desk.now_ns, event))
        desk.timers.at(desk.now_ns + desk.config.close_ns, "early", "")


def give_up_early(desk: Desk, now: Nanos) -> list[Arrived]:
    """For those that have waited longest no later leader has shown itself, and no sender. Gives such as can be taken all the same:
    what they speak of is their sender's heir's by now, or is over, and their sender came no farther than this report. (Who was
    paused itself, and has read nothing for so long, is about to resign, and knows nothing of later leaders.)
    """
    found: list[Arrived] = []
    if now - desk.read_ns >= desk.config.close_ns:
        return found
    while desk.leading and desk.early and now - desk.early[0][0] >= desk.config.close_ns:
        _, event = desk.early.popleft()
        said = event.message
        assert isinstance(said, Reports)
        if is_early(desk, said) or is_unintroduced(desk, said, event) or not (said.items or said.checkpoints):
            _disbelieve(desk, event)
        else:
            found.append(event)
    return found


def _disbelieve(desk: Desk, event: Arrived) -> None:
    said = event.message
    assert isinstance(said, Reports)
    stranger = not is_early(desk, said) and said.items
    why = f"{said.incarnation} speaks of what another was given" if stranger else "a Reports as if a later leader had claimed"
    offend(desk, "forged", "orchestrator.reports", event.user, why, gate=event.handle)
