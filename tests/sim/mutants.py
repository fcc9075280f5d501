"""What the project rests on, turned off from outside, one thing at a time: does a swarm miss it?

``python -m tests.sim.mutants [word …]`` looks for the first seed that notices each and prints the list, rule by rule;
``test_mutants`` holds the ones that a few worlds notice. What no swarm can see is held by a named scenario (``HELD``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import process_time
from types import ModuleType
from typing import Any

from orchestrator.core import keeping, leadership
from orchestrator.core import rules as core
from orchestrator.core.custody import Custody
from orchestrator.core.desk import Desk
from orchestrator.core.families import Families
from orchestrator.core.keeping import Keeping
from orchestrator.core.records import Record
from orchestrator.core.sharing import Sharing
from orchestrator.sim.faults import believers
from orchestrator.sim.world import World
from orchestrator.wire.facts import Tombstone
from workers.core import rules as agent
from workers.core.outbox import Outbox
from workers.core.work import Work

SEEDS = 200
"""Within so many worlds each must be noticed."""

Mutant = tuple[ModuleType | type, str, Callable[..., Any] | property]


def _settle_at_once(desk: Desk, handle: Any) -> None:
    if handle is not None:
        desk.settle(handle)


MUTANTS: dict[str, Mutant] = {
    "R1 any entry commits": (core, "r1_committed", lambda entry, nonce, number, leading: leading),
    "R1 the last end counts": (core, "r1_first_end", lambda grave: True),
    "R1 settled before it is read back": (Desk, "gate", _settle_at_once),
    "R2 work before the answer": (core, "r2_may_receive", lambda instance, epoch: instance.joined),
    "R2 work before the join": (core, "r2_may_receive", lambda instance, epoch: True),
    "R2 any epoch is obeyed": (agent, "obeys", lambda orders_epoch, obeyed_epoch: obeyed_epoch != 0),
    "R2 any sync is answered": (agent, "answers_sync", lambda asked_epoch, highest_epoch: asked_epoch > 0),
    "R3 nobody is waited for": (core, "r3_may_go", lambda record, claim, unanswered, fenced: True),
    "R3 nobody is waited for, of all": (core, "r3_all_may_go", lambda unanswered: True),
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
    "R8 evidence overrides the agent": (core, "r8_over", lambda failed: True),
    "R9 any echo renews": (agent, "renews", lambda echo_epoch, obeyed_epoch: obeyed_epoch != 0),
    "R10 always fresh": (core, "r10_fresh", lambda now, last_read, fresh_ns: True),
    "R10 only the lease after a claim": (core, "r10_over_after_claim", lambda claimed, fresh_ns, lease_ns: claimed + 1),
    "R11 forgotten at once": (core, "r11_forgettable", lambda grave, now, window_ns: True),
    "R12 always room": (core, "r12_room", lambda position, oldest, cap, reserve: True),
    "R12 taken in without a bound": (Keeping, "full", lambda keeping, custody, arriving_bytes=0: False),
    "R12 nothing is carried forward": (Keeping, "carry", lambda keeping, custody, bytes_max: []),
    "R13 children do not wait": (core, "r13_may_start", lambda record: True),
    "R13 an end does not say that it has heirs": (Families, "needs", lambda families, task: False),
    "R13 a parent is written again without its value": (
        keeping,
        "_tombstone",
        lambda task, grave, custody: Tombstone(task, grave.outcome, grave.at_ns, grave.print),
    ),
    "R14 never-overlap ends at once": (core, "r14_end_now", lambda *_: True),
    "R15 what was cut off unread is not missed": (core, "r15_unbroken", lambda expected, found: True),
    "R16 who follows runs": (core, "r16_may_start", lambda keys, task: True),
    "R16 a key holds nothing": (core, "r16_follows", lambda hold, task, at_ns, kept: False),
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
    "R4 finished is never alive": "tests/core finished_and_waited_for",
    "R4 stale orders start": "tests/workers/core test_orders_behind_what_we_said_we_drained_start_nothing",
    "R6 starts without a window": "tests/workers/core test_assignments_wait_for_the_first_echo",
    "R7 nothing is owed": "tests/core r7_owed_results",
    "R8 evidence overrides the agent": "tests/core r8_lost_is_no_proof",
    "R9 any echo renews": "tests/workers/core test_only_the_leader_that_is_obeyed_renews_the_window",
    "R12 always room": "tests/core r12_room",
    "R12 nothing is carried forward": "tests/core carry_forward",
    "R13 an end does not say that it has heirs": "tests/core r13_heirs",
    "R15 what was cut off unread is not missed": "tests/core r15_unbroken",
}
"""Named stories that notice, for what a swarm meets seldom or cannot see: scenarios of the coordinator's core, tests of the
agent's. ``test_mutants`` holds that they do."""


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


def noticed(mutant: Mutant, seeds: range) -> tuple[int, str] | None:
    """The first of these seeds that notices, and what it says."""
    with turned_off(mutant):
        for seed in seeds:
            if broken := world(seed).run().broken:
                return seed, broken
    return None


def world(seed: int) -> World:
    """Every other one has the weather its seed draws, every other one two believers: most rules are about these."""
    return World(seed) if seed % 2 else World(seed, faults=believers(), coordinators=3, rage_s=15)


def main() -> int:
    """Look for each, or for those whose name holds every word that was typed; 1 if one is neither noticed nor held by a story, 2 if
    there is none."""
    wanted = {name: mutant for name, mutant in MUTANTS.items() if all(word in name for word in sys.argv[1:])}
    if not wanted:
        print(f"no mutant's name has all of these in it: {' '.join(sys.argv[1:])}", file=sys.stderr)
        return 2
    missed = 0
    for name, mutant in wanted.items():
        began_s = process_time()
        found = noticed(mutant, range(SEEDS))
        by = f"seed {found[0]}" if found else HELD.get(name, "NOT NOTICED")
        missed += by == "NOT NOTICED"
        print(f"{name:56} {process_time() - began_s:5.0f} s  {by}  {found[1][:140] if found else ''}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
