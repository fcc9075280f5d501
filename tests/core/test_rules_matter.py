"""Each rule is turned off from outside, one at a time, and a named scenario notices: it reads otherwise, or breaks. A rule that
nobody would miss is not a rule.

What cannot be caught here, because the coordinator alone does not have it: R5 and R6, and the agents' halves of R2 and R9, are
functions of ``workers.core.rules`` with mutants of their own. R7 has no function that could be turned off: owed results are told
by ``r7_owed_results``; that the books of replays are the same is compared in every story (R15).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core import rules
from tests.core.script import play

SCENARIOS = Path(__file__).with_name("scenarios")

Broken = tuple[str, Callable[..., Any], str]

MUTANTS: dict[str, Broken] = {
    "R1: any entry commits ours": ("r1_committed", lambda entry, nonce, number, leading: True, "r1_read_back"),
    "R1: the last end counts": ("r1_first_end", lambda grave: True, "r1_first_end"),
    "R2: any answer will do": ("r2_may_receive", lambda instance, epoch: instance.joined, "r2_joined"),
    "R2: an epoch of a lost ledger is ours": (
        "r2_is_young",
        lambda now, since_ns, lease_ns: False,
        "ledger_tail_lost_with_a_claim",
    ),
    "R3: nobody is waited for": ("r3_all_may_go", lambda unanswered: True, "takeover"),
    "R3: who comes back does not wait": (
        "r3_may_go",
        lambda record, claim, unanswered, fenced: True,
        "r4_after_a_claim",
    ),
    "R3: all wait, new ones too": ("r3_may_go", lambda record, claim, unanswered, fenced: not unanswered, "takeover"),
    "R3: fences are forgotten": (
        "r3_may_go",
        lambda record, claim, unanswered, fenced: record.accepted > claim or not unanswered,
        "never_overlap",
    ),
    "R3: whoever comes up late was asked about": ("r3_came_late", lambda leading: False, "ledger_deleted_twice"),
    "R4: a second attempt beside a live one": ("r4_assignable", lambda record: True, "r4_digests"),
    "R4: digests prove at once": ("r4_not_held", lambda attempt, sent, drained, held: attempt not in held, "r4_digests"),
    "R4: digests prove nothing": ("r4_not_held", lambda attempt, sent, drained, held: False, "r4_digests"),
    "R4: orders that came back may be under way": (
        "r4_undelivered",
        lambda attempt, sent, epoch, returned: False,
        "r4_undelivered",
    ),
    "R4: all orders came back": (
        "r4_undelivered",
        lambda attempt, sent, epoch, returned: attempt.epoch == epoch,
        "r4_undelivered",
    ),
    "R4: finished is alive": ("r4_finished_lives", lambda record, attempt: record is not None, "finished_and_lost"),
    "R4: finished is never alive": ("r4_finished_lives", lambda record, attempt: False, "finished_and_waited_for"),
    "R4: any end is proof": ("r4_end_is_proof", lambda how, now, stirred, blocked, quiet_ns: how == "broken", "alarm"),
    "R4: a handshake is a death": (
        "r4_end_is_proof",
        lambda how, now, stirred, blocked, quiet_ns: how != "swept" and not blocked and now - stirred < quiet_ns,
        "comes_back",
    ),
    "R4: a queue that is gone is proof enough": ("r4_may_return_until", lambda now, over, return_ns: now, "comes_back"),
    "R8: each report counts": ("r8_counts", lambda record, failed: True, "retries"),
    "R8: evidence overrides the agent": ("r8_over", lambda failed: True, "r8_lost_is_no_proof"),
    "R8: never enough": ("r8_tried_enough", lambda record, losses_max, fatal: False, "retries"),
    "R8: losses count as tries": (
        "r8_tried_enough",
        lambda record, losses_max, fatal: fatal or len(record.failures) > record.retries,
        "quarantine",
    ),
    "R8: deaths before the start prove nothing": ("r8_deaths", lambda record: record.losses, "killers_unseen"),
    "R8: neighbours die of what a killer does": ("r8_last_chance", lambda record, losses_max: False, "killers"),
    "R10: always fresh": ("r10_fresh", lambda now, proven, fresh_ns: True, "r10_not_fresh"),
    "R10: over a lease after the claim": (
        "r10_over_after_claim",
        lambda claimed, fresh_ns, lease_ns: claimed + lease_ns,
        "never_overlap",
    ),
    "R11: ids are forgotten at once": ("r11_forgettable", lambda grave, now, window_ns: True, "r11_tombstones"),
    "R12: there is always room": ("r12_room", lambda position, oldest, cap, reserve: True, "r12_room"),
    "R13: children do not wait": ("r13_may_start", lambda record: True, "r13_children"),
    "R15: what was cut off unread is not missed": ("r15_unbroken", lambda expected, found: True, "r15_unbroken"),
    "R15: a ledger made anew is the old one": ("r15_same_ledger", lambda last, entry: True, "ledger_made_anew"),
    "R15: whoever speaks first knows all": (
        "r15_knows_more",
        lambda known, restored, lacks: not any(restored),
        "ledger_deleted_while_cut_off",
    ),
    "R15: nobody remembers": ("r15_knows_more", lambda known, restored, lacks: False, "ledger_deleted"),
    "R15: a place in one ledger tells of another": (
        "r15_knows_more",
        lambda known, restored, lacks: known > restored,
        "ledger_tail_lost_twice_apart",
    ),
    "R15: what lived long ago lives": ("r15_lately_read", lambda now, read_ns, window_ns: True, "ledger_deleted_long_after"),
    "R15: an end that nobody knows was forgotten": (
        "r15_never_said",
        lambda now, grave, window_ns: False,
        "ledger_deleted_twice_and_an_end",
    ),
    "R15: an end that nobody knows was never said": (
        "r15_never_said",
        lambda now, grave, window_ns: True,
        "ledger_deleted_twice_and_an_end_of_many",
    ),
    "R15: who led last is not waited for": (
        "r15_may_remind",
        lambda now, opened, led, remind_ns: True,
        "ledger_deleted_with_its_leader",
    ),
    "R14: ended before it has stopped": ("r14_end_now", lambda record, aside: True, "r14_what_is_promised"),
    "R16: a key holds nothing": ("r16_follows", lambda hold, task, at_ns, kept: False, "r16_keys"),
    "R16: a key holds for ever": ("r16_follows", lambda hold, task, at_ns, kept: True, "r16_keys"),
    "R16: any age will do": ("r16_follows", lambda hold, task, at_ns, kept: at_ns < (hold.until_ns or 1 << 62), "cached"),
    "R16: who follows runs": ("r16_may_start", lambda keys, task: True, "r16_keys"),
}


def noticed(scenario: str) -> bool:
    """Whether the scenario reads otherwise now, or breaks."""
    text = (SCENARIOS / f"{scenario}.txt").read_text()
    try:
        return play(text)[0] != text
    except (AssertionError, KeyError, ValueError, IndexError):
        return True


def test_every_rule_has_a_mutant() -> None:
    """And none is here that is not a rule any more."""
    functions = {name for name in vars(rules) if name.startswith("r") and name[1].isdigit()}
    assert functions == {name for name, _, _ in MUTANTS.values()}


@pytest.mark.parametrize("name", MUTANTS)
def test_its_scenario_notices(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The story that breaks without it."""
    function, broken, scenario = MUTANTS[name]
    assert not noticed(scenario)
    monkeypatch.setattr(rules, function, broken)
    assert noticed(scenario)
