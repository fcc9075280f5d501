"""The rules of custody, each turned off from outside: does a swarm miss it?

``python -m tests.sim.mutants`` looks for the first seed that notices each; ``test_mutants`` holds the ones that are known.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from orchestrator.core import rules as core
from orchestrator.core.records import Record
from orchestrator.sim.faults import believers
from orchestrator.sim.world import World
from workers.core import rules as agent

Mutant = tuple[ModuleType | type, str, Callable[..., Any]]

MUTANTS: dict[str, Mutant] = {
    "R1 any entry commits": (core, "r1_committed", lambda entry, nonce, number, leading: leading),
    "R1 the last end counts": (core, "r1_first_end", lambda grave: True),
    "R2 work before the answer": (core, "r2_may_receive", lambda instance, epoch: instance.joined),
    "R2 work before the join": (core, "r2_may_receive", lambda instance, epoch: True),
    "R3 nobody is waited for": (core, "r3_may_go", lambda record, claim, unanswered, fenced: True),
    "R4 live attempts do not matter": (core, "r4_assignable", lambda record: True),
    "R4 drained does not matter": (core, "r4_not_held", lambda attempt, sent, drained, held: attempt not in held),
    "R4 held does not matter": (core, "r4_not_held", lambda attempt, sent, drained, held: False),
    "R4 finished is never alive": (core, "r4_finished_lives", lambda record, attempt: False),
    "R8 each failure counts again": (core, "r8_counts", lambda record, failed: True),
    "R8 never enough": (core, "r8_tried_enough", lambda record, losses_max, fatal: False),
    "R10 always fresh": (core, "r10_fresh", lambda now, last_read, fresh_ns: True),
    "R10 only the lease after a claim": (core, "r10_over_after_claim", lambda claimed, fresh_ns, lease_ns: claimed + 1),
    "R11 forgotten at once": (core, "r11_forgettable", lambda grave, now, window_ns: True),
    "R12 always room": (core, "r12_room", lambda position, oldest, cap, reserve: True),
    "R13 children do not wait": (core, "r13_may_start", lambda record: True),
    "R14 never-overlap ends at once": (core, "r14_end_now", lambda *_: True),
    "R2 any epoch is obeyed": (agent, "obeys", lambda orders_epoch, obeyed_epoch: obeyed_epoch != 0),
    "R2 any sync is answered": (agent, "answers_sync", lambda asked_epoch, highest_epoch: asked_epoch > 0),
    "R4 stale orders start": (agent, "is_stale", lambda seq, drained: False),
    "R6 starts without a window": (agent, "may_start", lambda now_ns, until_ns, epoch, obeyed: True),
    "R6 a missed window is forgiven": (agent, "window_missed", lambda now_ns, until_ns: False),
    "R9 any echo renews": (agent, "renews", lambda echo_epoch, obeyed_epoch: obeyed_epoch != 0),
    "R5 work survives its connection": (agent, "survives_end_of_incarnation", lambda state: True),
    "R5 back before all is stopped": (agent, "may_connect", lambda unfinished: True),
    "a stop counts before its checkpoint": (Record, "has_saved", lambda record, attempt, nth: True),
    "any checkpoint will do": (Record, "save", lambda record, fact: 0),
    "a confirm is a release": (agent, "keeps_until_released", lambda released: False),
}


@contextmanager
def turned_off(mutant: Mutant) -> Iterator[None]:
    """The rule does not hold meanwhile."""
    module, name, wrong = mutant
    right = getattr(module, name)
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


def main() -> None:
    """Look for each, or for those whose name holds a word that was typed."""
    for name, mutant in MUTANTS.items():
        if all(word in name for word in sys.argv[1:]):
            found = noticed(mutant, range(200))
            print(f"{name:36} {found[0] if found else 'NOT NOTICED':>12}  {found[1][:150] if found else ''}", flush=True)


if __name__ == "__main__":
    main()
