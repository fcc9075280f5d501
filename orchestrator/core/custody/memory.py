"""The ledger is gone, and we remember it: what lived is written again.

Law: what is written again are facts that were *read* from the ledger that is gone (R15): its books up to a place, whoever led. So
of two memories of one ledger one contains the other, and whoever remembers most must have the last word: who led last goes first,
others wait a while for that one; who finds that less was written again than it remembers claims, and adds the rest. Facts are
monotone, so two that write do no harm. It is written between a claim and the reign that it begins, so that the reign finds
everything as if it had stood before the claim: who may hold work is asked (R2), its tasks wait for the answers (R3), what is owed
is sent again (R7).

Who knows nothing of a ledger, and finds that it was made anew, or that somebody began to write it again and did not finish, waits
still longer: leading, it would recall all that agents run.

What nobody remembers is lost: what was accepted by a leader that is dead, behind the place up to which anybody alive had read.
Agents may still know ids of it; those are told (``miss``).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import filterfalse

from msgspec.structs import replace

from orchestrator.core import rules
from orchestrator.core.custody.custody import Custody, Reign, forgotten
from orchestrator.core.custody.graveyard import LEAST_WINDOW_NS
from orchestrator.core.custody.past import Memory, Reminding
from orchestrator.core.custody.records import QUEUES_MAX, Grave, Owed, Record
from orchestrator.core.custody.sizes import fact_bytes
from orchestrator.core.desk import Desk, Flight
from orchestrator.core.registry.offences import loud
from orchestrator.core.tasks import claims
from orchestrator.vocabulary import Incarnation, Nanos, TaskId
from orchestrator.wire.facts import AnyFact, Asked, Checkpointed, Ended, Failed, Restored, Served, Tombstone

STRANGERS_SHARE = 3
"""Who remembers nothing waits longer than who does not remember most, by one part in so many: those may be a moment behind. All in
all it is less than a lease, so agents are there still."""
UNKNOWN_MAX = 1_000
"""Lost tasks of which the ids are kept; the others are counted."""


def remember(desk: Desk) -> list[Memory]:
    """What this desk knows of the ledger that is lost, and remembered of others before."""
    books = desk.custody
    led = books.reign is not None and books.reign.offset == desk.claim
    return [*desk.past.memories, Memory(books, led, desk.past.read_ns)] if books.next_offset else desk.past.memories


def is_another(desk: Desk, offset: int) -> bool:
    """Whether this ledger is not the one that we were reading, though it has grown past our place: the entry that we read last must
    come first. If the next place comes instead, a note of the stream's own stands at ours. (Where ours was cut off, with the whole
    segment that it ended, the note would stand at the next.)"""
    past, expected = desk.past, desk.custody.next_offset
    met, past.met = past.met, True
    return not met and expected > 1 and offset == expected


def pending(desk: Desk) -> bool:
    """Whether we remember what nobody has written again."""
    to, memories = desk.custody.restored_to, desk.past.memories
    desk.past.memories = [one for one in memories if rules.r15_knows_more(one.extent, to, _lacks(desk, one))]
    return bool(desk.past.memories)


def _lacks(desk: Desk, one: Memory) -> bool:
    """Whether the ledger lacks what this memory says of tasks, though as much as it knows may be said to be written: of two ledgers
    that were lost whoever wrote them again knew more of the one, and nothing of the other."""
    now, config, books, old = desk.now_ns, desk.config, desk.custody, one.books
    least_ns = min(config.dedup_ns, LEAST_WINDOW_NS)
    if not rules.r15_lately_read(now, one.read_ns, least_ns):
        return False
    if not all(_known(task, books) for task in old.live):
        return True
    crowded = len(old.graves) + len(books.graves) > config.remembered_max  # others may have forgotten them early (R11)
    span_ns = least_ns if crowded else config.dedup_ns
    unburied = filterfalse(books.graves.__contains__, old.graves)
    return any(task in books.live or rules.r15_never_said(now, old.graves[task], span_ns) for task in unburied)


def due(desk: Desk, now: Nanos) -> bool:
    """Whether it is our turn to say it; or to lead without, for nobody has said anything."""
    past = desk.past
    if not (past.memories or past.token_held) or not rules.r15_may_remind(now, past.opened_ns, _led(desk), _patience_ns(desk)):
        return False
    return pending(desk) or past.token_held


def due_ns(desk: Desk) -> Nanos | None:
    """When it will be, at the latest; none: never."""
    past = desk.past
    if not (past.memories or past.token_held):
        return None
    return past.opened_ns + _patience_ns(desk) // (10 if _led(desk) else 1)


def lacking(desk: Desk) -> bool:
    """Whether we know nothing of what the ledger lacks: it was deleted, and nobody has claimed since; or somebody began to write it
    again, and it was not finished."""
    return not desk.past.memories and (desk.custody.unfinished is not None or desk.past.anew)


def claimed_unaware(desk: Desk, now: Nanos) -> bool:
    """Whether we claimed before we had read that something is lacking, and others may still remember it."""
    return lacking(desk) and not rules.r15_may_remind(now, desk.past.opened_ns, False, _patience_ns(desk))


def _patience_ns(desk: Desk) -> Nanos:
    longest = desk.config.remind_ns
    return longest if desk.past.memories else longest + longest // STRANGERS_SHARE


def _led(desk: Desk) -> bool:
    return any(one.led for one in desk.past.memories)


def begin(desk: Desk, reign: Reign) -> None:
    """Our claim is read: before we lead we write what is missing here; if we remember nothing, that nobody does."""
    desk.past.reminding = reminding = Reminding(reign, iter(()))
    reminding.todo = _all(desk, reminding)


def go_on(desk: Desk, now: Nanos) -> None:
    """The next append of it, if none is under way."""
    reminding = desk.past.reminding
    if reminding is None or desk.flight is not None:
        return
    facts: list[AnyFact] = []
    size = 0
    for fact in reminding.todo:
        facts.append(fact)
        size += fact_bytes(fact)
        if size >= desk.config.append_bytes_max:
            break
    else:
        facts.append(_finished(desk, now, reminding))
    desk.number += 1
    desk.flight = Flight(desk.number)
    desk.appended_ns = now
    desk.append(facts)


def _finished(desk: Desk, now: Nanos, reminding: Reminding) -> Restored:
    most = max(desk.past.memories, key=lambda one: one.extent, default=None)
    if most is None:
        return Restored(desk.name, desk.nonce, now, 0, 0)
    return Restored(desk.name, desk.nonce, now, *most.extent, reminding.live, reminding.ended, most.led)


def miss(desk: Desk, task: TaskId, who: Incarnation) -> None:
    """An agent speaks of a task of an earlier reign that nobody knows: what was known of it is lost."""
    past = desk.past
    if task in past.unknown:
        return
    past.unknown_count += 1
    if len(past.unknown) < UNKNOWN_MAX:
        past.unknown[task] = who
    elif not loud(past.unknown_count):
        return
    desk.note("unknown_task", task=task, incarnation=who, count=past.unknown_count)


# --- what is missing ------------------------------------------------------------------------------------------------------


def _all(desk: Desk, reminding: Reminding) -> Iterator[AnyFact]:
    """Every memory's facts that the ledger does not have. Who knows most speaks first: it knows how the tasks of others went on.
    Yet all say what has ended before any says what lives: a ledger that was lost before all was written again has alive what ended
    in the one before. And of each task is said who waits for it by any of them: one may have its end from an agent alone."""
    memories = [one.books for one in sorted(desk.past.memories, key=lambda memory: memory.extent, reverse=True)]
    yield from _who_may_hold(memories, desk.custody)
    yield from _settings(memories, desk.custody)
    for old in memories:
        yield from _over(old, desk.custody, memories, reminding)
    for old in memories:
        yield from _living(old, desk.custody, memories, reminding)


def _who_may_hold(memories: list[Custody], books: Custody) -> Iterator[AnyFact]:
    """This stands first: should we fall silent in the middle, whoever leads asks them before it moves anything."""
    found = {name: joined for old in memories for name, (joined, _) in old.joined.items()}
    yield from (joined for name, joined in found.items() if name not in books.joined)


def _settings(memories: list[Custody], books: Custody) -> Iterator[AnyFact]:
    """What was wanted, each as the memory has it that knows most."""
    yield from (Served(service) for service in {one: None for old in memories for one in old.served} if service not in books.served)
    policies = {scope: will for old in reversed(memories) for scope, (will, _) in old.policies.items()}
    for scope, will in policies.items():
        if scope not in books.policies:
            yield Asked("policy", will.at_ns, by=will.by, value={scope: will.value[scope]})
    limits = {name: will for old in reversed(memories) for name, (will, _) in old.limits.items()}
    yield from (will for name, will in limits.items() if name not in books.limits)
    wills = {task: will for old in reversed(memories) for task, (will, _) in old.wills.items()}
    yield from (will for task, will in wills.items() if task not in books.wills and not _known(task, books))


def _over(old: Custody, books: Custody, memories: list[Custody], reminding: Reminding) -> Iterator[AnyFact]:
    """What has ended by one memory."""
    for task, grave in list(old.graves.items()):
        if task in reminding.said:
            continue
        reminding.said[task] = None
        if task in books.graves:  # an agent has said it again, to whoever did not know who waits for it
            yield from _named(task, grave.at_ns, _waiting(task, memories), ())
        else:
            reminding.ended += 1
            yield from _ended(task, grave, old, _waiting(task, [*memories, books]))


def _living(old: Custody, books: Custody, memories: list[Custody], reminding: Reminding) -> Iterator[AnyFact]:
    """What lives by one memory."""
    for record in _parents_first(old):
        task = record.id
        if task in reminding.said:
            continue
        reminding.said[task] = None
        queues = _waiting(task, memories)
        known = books.live.get(task)
        if known is not None:
            yield from _further(record, known)
            yield from _named(task, record.at_ns, queues, (known.reply_to, *known.former))
        elif task in books.graves:
            yield from _named(task, record.at_ns, queues, ())
        else:
            reminding.live += 1
            fact = claims.again(old, record)
            former = [queue for queue in queues if queue != fact.reply_to][: QUEUES_MAX - 1]
            # it came before all that this ledger will ever say
            yield replace(fact, accepted=fact.accepted - old.next_offset, former=former)


def _parents_first(old: Custody) -> Iterator[Record]:
    """What lives, in the order in which it came, but no child before its parents: should we fall silent in between, whoever leads
    would take these for forgotten (R13)."""
    done: set[TaskId] = set()
    for first in sorted(old.live.values(), key=lambda one: (one.accepted, one.index)):
        todo = [first]
        while todo:
            record = todo[-1]
            missing = [old.live[edge.task] for edge in record.task.after if edge.task in old.live and edge.task not in done]
            if missing:
                todo += missing
                continue
            todo.pop()
            if record.id not in done:
                done.add(record.id)
                yield record


def _known(task: TaskId, books: Custody) -> bool:
    return task in books.live or task in books.graves


def _waiting(task: TaskId, memories: list[Custody]) -> list[str]:
    """The queues of all who wait for it, by any of these; of what lives the newest first. (Who has heard it, as another of them
    knows, hears it twice.)"""
    queues: dict[str, None] = {}
    for one in memories:
        if (record := one.live.get(task)) is not None:
            queues |= dict.fromkeys((record.reply_to, *record.former))
        elif (owed := one.owed.get(task)) is not None:
            queues |= dict.fromkeys(owed.queues)
    return [queue for queue in queues if queue]


def _ended(task: TaskId, grave: Grave, old: Custody, queues: list[str]) -> Iterator[AnyFact]:
    """How it ended. Whose producer may not have heard it yet is told as an end, so that it is owed again (R7)."""
    owed: Owed | None = old.owed.get(task)
    said = owed.result if owed is not None and not forgotten(owed.result) else grave.result
    hold, heirs = old.keys.said(task), task in old.graveyard.pinned
    if said is None:
        yield Tombstone(task, grave.outcome, grave.at_ns, grave.print, hold=hold)
        yield from _named(task, grave.at_ns, queues, ())
        return
    if owed is None and not queues:
        yield Tombstone(task, grave.outcome, grave.at_ns, grave.print, True, said.value, said.error, hold, heirs)
        return
    yield Ended(
        task, grave.outcome, grave.at_ns, None, said.value, said.error, said.instance, said.started_ns, said.accepted_ns,
        queues[0] if queues else "", grave.print, heirs, said.first, hold,
    )  # fmt: skip
    yield from _named(task, grave.at_ns, queues[1:], ())


def _further(record: Record, known: Record) -> Iterator[AnyFact]:
    """A living task that the ledger has, as it was earlier: what happened to it since."""
    task = record.id
    told = {failure.attempt for failure in known.failures}
    for one in record.failures:
        if one.attempt not in told:
            yield Failed(task, one.attempt, one.cause, one.error, one.at_ns, one.instance, record.retries, record.not_before_ns)  # type: ignore[arg-type]
    if record.checkpoint_of is not None and not known.has_saved(record.checkpoint_of, record.checkpoint_nth):
        assert record.checkpoint is not None, "a checkpoint is saved with whose it is"
        yield Checkpointed(task, record.checkpoint_of, record.checkpoint, record.checkpoint_nth, record.ran_ns)
    if record.cancelled and not known.cancelled:
        yield Asked("cancel", record.at_ns, task)
    if record.priority != known.priority:
        yield Asked("priority", record.at_ns, task, value=record.priority)


def _named(task: TaskId, at_ns: Nanos, queues: list[str], known: tuple[str, ...]) -> Iterator[AnyFact]:
    """To where its result goes, but for the queues that the ledger knows; the newest last, as they came."""
    for queue in reversed(queues):
        if queue not in known:
            yield Asked("redirect", at_ns, task, value=queue)
