"""Each rule of custody, switched off from outside, must be caught by the story it is there for.

A rule that can be broken without any test noticing is not kept, only believed.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.workers.core import test_rules, test_saying
from workers.core import rules

MUTANTS: dict[str, tuple[str, Callable[..., object], Callable[[], None]]] = {
    "R2: orders of any epoch count": (
        "obeys",
        lambda orders_epoch, obeyed_epoch: True,
        test_rules.test_orders_of_a_lower_or_foreign_epoch_do_nothing,
    ),
    "R2: every sync is answered": (
        "answers_sync",
        lambda asked_epoch, highest_epoch: True,
        test_rules.test_a_lower_leader_is_refused_even_by_a_new_incarnation,
    ),
    "R4: late orders start": (
        "is_stale",
        lambda seq, drained: False,
        test_rules.test_orders_behind_what_we_said_we_drained_start_nothing,
    ),
    "R6: starts without a window": (
        "may_start",
        lambda *_: True,
        test_rules.test_assignments_wait_for_the_first_echo,
    ),
    "R6: starts in the window of the last leader": (
        "may_start",
        lambda now_ns, until_ns, *_: now_ns < until_ns,
        test_rules.test_after_a_takeover_the_new_leader_must_open_the_window_itself,
    ),
    "R6: a missed window is nothing": (
        "window_missed",
        lambda *_: False,
        test_rules.test_a_window_that_runs_out_ends_the_incarnation_on_time,
    ),
    "R6: queued orders are handled after a missed window": (
        "window_missed",
        lambda *_: False,
        test_rules.test_paused_window_missed_resumed_starts_nothing_and_comes_back_new,
    ),
    "R9: any leader renews": (
        "renews",
        lambda *_: True,
        test_rules.test_only_the_leader_that_is_obeyed_renews_the_window,
    ),
    "R5: running work survives a reconnect": (
        "survives_end_of_incarnation",
        lambda state: True,
        test_rules.test_reconnect_stops_unfinished_but_keeps_finished,
    ),
    "R5: registers while something runs": (
        "may_connect",
        lambda unfinished: True,
        test_rules.test_a_thread_that_nobody_can_kill_keeps_the_agent_away,
    ),
    "reports: the broker's confirm is enough": (
        "keeps_until_released",
        lambda released: False,
        test_rules.test_a_report_is_kept_until_released_and_sent_again_on_sync,
    ),
    "reports: never full": (
        "is_full",
        lambda *_: False,
        test_saying.test_refuses_work_rather_than_forget_a_report,
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_rule_that_is_switched_off_is_caught(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The story passes with the rule and fails without it."""
    name, broken, story = MUTANTS[mutant]
    story()
    monkeypatch.setattr(rules, name, broken)
    with pytest.raises(AssertionError):
        story()


def test_every_rule_has_a_mutant() -> None:
    """A new rule comes with the story that breaks without it."""
    written = {name for name, thing in vars(rules).items() if callable(thing) and thing.__module__ == rules.__name__}
    assert written == {name for name, _, _ in MUTANTS.values()}
