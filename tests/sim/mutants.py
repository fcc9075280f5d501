"""What the project rests on, turned off from outside, one thing at a time: does a swarm miss it?

``python -m tests.sim.mutants [word …]`` has each noticed: by the world that noticed it last (``caught.json``), by the story that
tells of it (``HELD``), or else by the first of 200 worlds that does; and prints who did, mutant by mutant. ``--keep`` writes the
worlds down as it goes, so a run that was stopped loses nothing. ``--swarm`` is not content with a story.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from time import process_time
from types import ModuleType
from typing import Any, NamedTuple

from msgspec.structs import replace

from orchestrator.core import rules as core
from orchestrator.core.coordinator import Coordinator
from orchestrator.core.custody import custody, keeping, leadership, memory, wills
from orchestrator.core.custody.custody import Custody
from orchestrator.core.custody.keeping import Keeping
from orchestrator.core.custody.past import Reminding
from orchestrator.core.custody.records import Record, letter_of
from orchestrator.core.custody.ripening import Ripening
from orchestrator.core.desk import Desk
from orchestrator.core.resources.sharing import Sharing
from orchestrator.core.tasks import intake, reports, settling
from orchestrator.core.tasks.families import Families
from orchestrator.sim.faults import believers
from orchestrator.sim.world import World
from orchestrator.vocabulary import Nanos
from orchestrator.wire.facts import AnyFact, Checkpointed, Ended, Failed, Joined, Tombstone
from orchestrator.wire.messages import Error, Result
from tests.core import test_rules_matter
from tests.workers.core import test_rules, test_saying
from workers.core import rules as agent
from workers.core.outbox import Outbox
from workers.core.work import Work

SEEDS = 200
"""Within so many worlds each must be noticed."""
UNFIT = ("AttributeError", "NameError", "TypeError")
"""A world that ends so has met a mutant that does not fit any more where it is put: that says nothing of the rule."""

Mutant = tuple[ModuleType | type, str, Callable[..., Any] | property]


def _settle_at_once(desk: Desk, handle: Any) -> None:
    if handle is not None:
        desk.settle(handle)


_gate, _outcome, _ended, _step = Desk.gate, Custody.outcome, Custody.ended, Coordinator.step
_asked, _put_back, _all = wills.asked, leadership._put_back, memory._all


def _failures_settled_at_once(desk: Desk, handle: Any) -> None:
    """Of what ends a task and of what lives the rule is kept."""
    if desk.proposed and all(type(fact) in (Failed, Checkpointed) for fact in desk.proposed):
        desk.settle(handle)
    else:
        _gate(desk, handle)


def _proven_when_read(machine: Coordinator, now: Nanos, events: list[Any]) -> list[Any]:
    before = machine.desk.proven_ns
    commands = _step(machine, now, events)
    machine.desk.proven_ns = before if machine.desk.proven_ns == before else now
    return commands


def _forgets_the_living(old: Custody, task: str) -> Result | None:
    lives = task in old.live and not old.live[task].task.key
    return Result(task, "cancelled", error=Error("forgotten", "it is over")) if lives else _outcome(old, task)


def _failed(**wrong: Any) -> Callable[..., Failed]:
    """Failures are written down otherwise than they were."""
    return lambda *args: replace(Failed(*args), **wrong)


def _refused(task: str, outcome: str, *rest: Any, **more: Any) -> Ended:
    return Ended(task, "refused", *rest, **more)


def _unburied(old: Custody, fact: Ended, offset: int) -> tuple[bool, Record | None]:
    found = _ended(old, fact, offset)
    if (owed := old.owed.get(fact.task)) is not None:
        owed.letter = None
    return found


def _deaf_to(what: str) -> Callable[..., Record | None]:
    """Wills of this kind are read, and nothing comes of it."""
    return lambda old, fact, offset: None if fact.what == what else _asked(old, fact, offset)


def _due(desk: Desk, record: Record) -> None:
    waits_ns, record.not_before_ns = record.not_before_ns, 0
    _put_back(desk, record)
    record.not_before_ns = waits_ns


def _holders_last(desk: Desk, reminding: Reminding) -> Iterator[AnyFact]:
    holders = []
    for fact in _all(desk, reminding):
        if isinstance(fact, Joined):
            holders.append(fact)
        else:
            yield fact
    yield from holders


def _as_they_came(old: Custody) -> Iterator[Record]:
    yield from sorted(old.live.values(), key=lambda one: (one.accepted, one.index))


MUTANTS: dict[str, Mutant] = {
    "R1 any entry commits": (core, "r1_committed", lambda entry, nonce, number, leading: leading),
    "R1 the last end counts": (core, "r1_first_end", lambda grave: True),
    "R1 settled before it is read back": (Desk, "gate", _settle_at_once),
    "R1 failures are settled before they are read back": (Desk, "gate", _failures_settled_at_once),
    "R1 wills are answered before they are read back": (Desk, "answer", lambda desk, reply: desk.out.append(reply)),
    "R1 who asks again hears that it is over": (Custody, "outcome", _forgets_the_living),
    "R2 work before the answer": (core, "r2_may_receive", lambda instance, epoch: instance.joined),
    "R2 work before the join": (core, "r2_may_receive", lambda instance, epoch: True),
    "R2 any epoch is obeyed": (agent, "obeys", lambda orders_epoch, obeyed_epoch: obeyed_epoch != 0),
    "R2 any sync is answered": (agent, "answers_sync", lambda asked_epoch, highest_epoch: asked_epoch > 0),
    "R3 nobody is waited for": (core, "r3_may_go", lambda record, claim, unanswered, fenced: True),
    "R3 nobody is waited for, of all": (core, "r3_all_may_go", lambda unanswered: True),
    "R2 a reign below the one that is remembered": (leadership, "_floor", lambda desk, now: desk.floor),
    "R3 what comes up late was asked about": (core, "r3_came_late", lambda leading: False),
    "R4 live attempts do not matter": (core, "r4_assignable", lambda record: True),
    "R4 drained does not matter": (core, "r4_not_held", lambda attempt, sent, drained, held: attempt not in held),
    "R4 held does not matter": (core, "r4_not_held", lambda attempt, sent, drained, held: False),
    "R4 finished is never alive": (core, "r4_finished_lives", lambda record, attempt: False),
    "R4 stale orders start": (agent, "is_stale", lambda seq, drained: False),
    "R5 work survives its connection": (agent, "survives_end_of_incarnation", lambda state: True),
    "R5 back before all is stopped": (agent, "may_connect", lambda unfinished: True),
    "R6 starts without a window": (agent, "may_start", lambda now_ns, until_ns, epoch, obeyed: True),
    "R6 a missed window is forgiven": (agent, "window_missed", lambda now_ns, until_ns: False),
    "R7 nothing is owed": (Custody, "answered_to", lambda custody: custody.next_offset),
    "R8 each failure counts again": (core, "r8_counts", lambda record, failed: True),
    "R8 never enough": (core, "r8_tried_enough", lambda record, losses_max, fatal: False),
    "R8 nobody has retries": (reports, "Failed", _failed(retries=0)),
    "R8 every failure is final": (reports, "Failed", _failed(cause="fatal")),
    "R8 nobody waits between two tries": (reports, "Failed", _failed(retry_ns=0)),
    "R8 who is to wait goes at once": (Record, "due_ns", lambda record, now: now),
    "R8 evidence overrides the agent": (core, "r8_over", lambda failed: True),
    "R9 any echo renews": (agent, "renews", lambda echo_epoch, obeyed_epoch: obeyed_epoch != 0),
    "R10 always fresh": (core, "r10_fresh", lambda now, last_read, fresh_ns: True),
    "R10 what is read was written now": (Coordinator, "step", _proven_when_read),
    "R10 only the lease after a claim": (core, "r10_over_after_claim", lambda claimed, fresh_ns, lease_ns: claimed + 1),
    "R11 forgotten at once": (core, "r11_forgettable", lambda grave, now, window_ns: True),
    "R12 always room": (core, "r12_room", lambda position, oldest, cap, reserve: True),
    "R12 taken in without a bound": (Keeping, "full", lambda keeping, custody, arriving_bytes=0: False),
    "R12 nothing is carried forward": (Keeping, "carry", lambda keeping, custody, bytes_max: []),
    "R12 it does not matter where the ledger begins": (Keeping, "begins", lambda keeping, offset: None),
    "R13 children do not wait": (core, "r13_may_start", lambda record: True),
    "R13 an end does not say that it has heirs": (Families, "needs", lambda families, task: False),
    "R13 a parent is written again without its value": (
        keeping,
        "_tombstone",
        lambda task, grave, custody: Tombstone(task, grave.outcome, grave.at_ns, grave.print),
    ),
    "R13 children are written again before their parents": (memory, "_parents_first", _as_they_came),
    "R14 never-overlap ends at once": (core, "r14_end_now", lambda *_: True),
    "R15 what was cut off unread is not missed": (core, "r15_unbroken", lambda expected, found: True),
    "R15 nobody is cancelled": (wills, "asked", _deaf_to("cancel")),
    "R15 nobody is hurried": (wills, "asked", _deaf_to("priority")),
    "R15 no policy is switched": (Desk, "use_policies", lambda desk, specs: None),
    "R15 who is put back is due": (leadership, "_put_back", _due),
    "R15 where a note stands the ledger is ours": (memory, "is_another", lambda desk, offset: False),
    "R15 nobody remembers a ledger that is lost": (core, "r15_knows_more", lambda known, restored, lacks: False),
    "R15 an end that nobody knows was forgotten": (core, "r15_never_said", lambda now, grave, window_ns: False),
    "R15 what lives is written again before who may hold it": (memory, "_all", _holders_last),
    "R16 who follows runs": (core, "r16_may_start", lambda keys, task: True),
    "R16 a key holds nothing": (core, "r16_follows", lambda hold, task, at_ns, kept: False),
    "P5 nothing ever fits": (intake, "judge", lambda desk, now, task: Error("never_fits", "too large")),
    "P5 everything fits": (intake, "unfit", lambda desk, task, priority, demand: None),
    "P5 what expires is refused": (settling, "Ended", _refused),
    "P5 what failed for good is not buried": (Custody, "ended", _unburied),
    "P5 a dead letter has no story": (custody, "letter_of", lambda result, task, story: letter_of(result, task, ())),
    "a delivery is settled when it is read back, not late": (Ripening, "late", lambda ripening, handle: handle),
    "a stop counts before its checkpoint": (Record, "has_saved", lambda record, attempt, nth: True),
    "any checkpoint will do": (Record, "save", lambda record, fact: 0),
    "a beat lists nothing that has stopped": (Outbox, "listed", lambda outbox: [*outbox.kept, *outbox.behind]),
    "a confirm is a release": (agent, "keeps_until_released", lambda released: False),
    "a sync does not have reports sent again": (Outbox, "owe_all", lambda outbox: None),
    "a recall of what is not held is not answered": (Work, "_stopped", lambda work, task, attempt, text, saved=0: None),
    "nobody gone on evidence is waited for": (leadership, "fence", lambda desk, instance: None),
    "what is held of limits is not counted after a takeover": (Sharing, "count", lambda sharing, shares: None),
    "a new queue for the result is not remembered": (Record, "answer_to", lambda record, queue: None),
}

HELD: dict[str, str] = {
    "R1 the last end counts": "tests/core r1_first_end",
    "R2 work before the answer": "tests/core r2_joined",
    "R3 nobody is waited for": "tests/core r4_after_a_claim",
    "R3 what comes up late was asked about": "tests/core ledger_deleted_twice",
    "R4 finished is never alive": "tests/core finished_and_waited_for",
    "R4 stale orders start": "tests/workers/core test_orders_behind_what_we_said_we_drained_start_nothing",
    "R6 starts without a window": "tests/workers/core test_assignments_wait_for_the_first_echo",
    "R7 nothing is owed": "tests/core r7_owed_results",
    "R8 evidence overrides the agent": "tests/core r8_lost_is_no_proof",
    "R9 any echo renews": "tests/workers/core test_only_the_leader_that_is_obeyed_renews_the_window",
    "R10 what is read was written now": "tests/core r10_not_fresh",
    "R12 always room": "tests/core r12_room",
    "R12 nothing is carried forward": "tests/core carry_forward",
    "R12 it does not matter where the ledger begins": "tests/core ledger_cut_short",
    "R15 where a note stands the ledger is ours": "tests/core ledger_made_anew_with_a_note",
    "R13 an end does not say that it has heirs": "tests/core r13_heirs",
    "R13 a parent is written again without its value": "tests/core workflow_keeping",
    "R13 children are written again before their parents": "tests/core ledger_deleted_in_pieces",
    "R14 never-overlap ends at once": "tests/core r14_what_is_promised",
    "R15 what was cut off unread is not missed": "tests/core r15_unbroken",
    "R15 an end that nobody knows was forgotten": "tests/core ledger_deleted_twice_and_an_end",
    "R15 who is put back is due": "tests/core not_due_and_claimed",
    "a beat lists nothing that has stopped": "tests/workers/core test_a_beat_lists_what_has_stopped_until_that_is_said",
    "a confirm is a release": "tests/workers/core test_a_report_is_kept_until_released_and_sent_again_on_sync",
    "a sync does not have reports sent again": "tests/workers/core test_a_report_is_kept_until_released_and_sent_again_on_sync",
    "a recall of what is not held is not answered": "tests/workers/core test_a_stop_is_always_answered",
    "nobody gone on evidence is waited for": "tests/core never_overlap",
    "what is held of limits is not counted after a takeover": "tests/core limits_takeover",
    "a new queue for the result is not remembered": "tests/core submitted_again",
}
"""Named stories that notice, for what a swarm meets seldom or cannot see: scenarios of the coordinator's core, tests of the
agent's. ``test_mutants`` holds that they do."""


CAUGHT = Path(__file__).with_name("caught.json")
"""By mutant: the world that noticed it when the list was last gone through with ``--keep``. Where it is out of date, because what
happens in that world has changed, others are looked through."""


class Catch(NamedTuple):
    """What became of a mutant."""

    name: str
    by: int | str | None
    """The world or the story that noticed; none did."""
    what: str
    worlds: int
    """How many were looked through."""
    cpu_s: float


@contextmanager
def turned_off(mutant: Mutant) -> Iterator[None]:
    """The rule does not hold meanwhile."""
    module, name, wrong = mutant
    right = module.__dict__[name]
    setattr(module, name, wrong)
    try:
        yield
    finally:
        setattr(module, name, right)


def world(seed: int) -> World:
    """Every other one has the weather its seed draws, every other one two believers: most rules are about these."""
    return World(seed) if seed % 2 else World(seed, faults=believers(), coordinators=3, rage_s=15)


@cache
def whole(seed: int) -> bool:
    """Whether that world breaks no law while all rules hold: only then does what it breaks without one say anything."""
    return not world(seed).run().broken


def noticed_by_story(story: str, mutant: Mutant | None = None) -> bool:
    """Whether this one, a scenario of the coordinator or a test of the agent, reads otherwise (with that mutant), or breaks."""
    if mutant is not None:
        with turned_off(mutant):
            return noticed_by_story(story)
    room, name = story.split()
    if room == "tests/core":
        return test_rules_matter.noticed(name)
    assert room == "tests/workers/core"
    try:
        {**vars(test_rules), **vars(test_saying)}[name]()
    except AssertionError:
        return True
    return False


def caught(name: str, known: int | None = None, *, content_with_story: bool = True, seeds: int = SEEDS) -> Catch:
    """Have a mutant noticed: by the world that is known to, by its story, by any of so many worlds."""
    began_s, looked = process_time(), 0
    story = [HELD[name]] if name in HELD else []
    others = [seed for seed in range(seeds) if seed != known]
    first: list[int | str] = [] if known is None else [known]
    for one in (*first, *story, *others) if content_with_story else (*first, *others, *story):
        if isinstance(one, str):
            broken = "" if noticed_by_story(one) or not noticed_by_story(one, MUTANTS[name]) else "it reads otherwise"
        else:
            looked += 1
            with turned_off(MUTANTS[name]):
                broken = world(one).run().broken
            broken = broken if broken and not broken.startswith(UNFIT) and whole(one) else ""
        if broken:
            return Catch(name, one, broken, looked, process_time() - began_s)
    return Catch(name, None, "", looked, process_time() - began_s)


def known_catches() -> dict[str, int]:
    """The table as it was kept."""
    table: dict[str, int] = json.loads(CAUGHT.read_text())
    return table


def keep(table: dict[str, int]) -> None:
    """Write the table, in the order of the list."""
    CAUGHT.write_text(json.dumps({name: table[name] for name in MUTANTS if name in table}, indent=2) + "\n")


def catches(names: list[str], jobs: int, content_with_story: bool) -> Iterator[Catch]:
    """Each as soon as it is known what became of it."""
    table = known_catches()
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        looks = [pool.submit(caught, name, table.get(name), content_with_story=content_with_story) for name in names]
        for look in as_completed(looks):
            yield look.result()


def arguments() -> Namespace:
    """What was typed."""
    parser = ArgumentParser(prog="python -m tests.sim.mutants", description="Rules turned off, one at a time: who misses them?")
    parser.add_argument("words", nargs="*", help="only those whose names have all of these in them")
    parser.add_argument("--jobs", type=int, default=1, help="processes (1)")
    parser.add_argument("--keep", action="store_true", help="write down which worlds noticed")
    parser.add_argument("--swarm", action="store_true", help="look through worlds where a story would do")
    return parser.parse_args()


def main() -> int:
    """Have each noticed, or those that were named; 1 if one was noticed by nobody, 2 if there is none of that name."""
    typed = arguments()
    wanted = [name for name in MUTANTS if all(word in name for word in typed.words)]
    if not wanted:
        print(f"no mutant's name has all of these in it: {' '.join(typed.words)}", file=sys.stderr)
        return 2
    table, missed, cpu_s = known_catches(), 0, 0.0
    for one in catches(wanted, typed.jobs, not typed.swarm):
        cpu_s += one.cpu_s
        missed += one.by is None
        table.pop(one.name, None)
        if isinstance(one.by, int):
            table[one.name] = one.by
        if typed.keep:
            keep(table)
        by = "NOT NOTICED" if one.by is None else f"seed {one.by}" if isinstance(one.by, int) else one.by
        print(f"{one.name:56} {one.cpu_s:5.1f} s {one.worlds:4}  {by}  {one.what[:140]}", flush=True)
    print(f"{len(wanted) - missed} of {len(wanted)} noticed, {cpu_s:.0f} s of CPU time")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
