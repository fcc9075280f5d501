"""The rules of custody that an agent keeps, one function each, so that a test can switch any of them off from outside.

The numbers are those of the project's rules of custody. Each docstring tells the shortest story that goes wrong
without the rule. The machine calls them as ``rules.name(...)`` and decides nothing of this kind anywhere else.
"""

from __future__ import annotations

from orchestrator.vocabulary import Nanos
from workers.core.lifecycle import State


def obeys(orders_epoch: int, obeyed_epoch: int) -> bool:
    """R2: orders count only in exactly the epoch whose sync this incarnation answered (0: none yet).

    Without: a restarted agent hears the deposed leader first and starts what that one assigns; two attempts run.
    """
    return obeyed_epoch != 0 and orders_epoch == obeyed_epoch


def answers_sync(asked_epoch: int, highest_epoch: int) -> bool:
    """R2: a sync is answered unless a higher epoch was ever answered by this process.

    Without: the deposed leader syncs late, and the agent changes sides while the new leader counts on it.
    """
    return asked_epoch >= highest_epoch and asked_epoch > 0


def is_stale(seq: int, drained: int) -> bool:
    """R4: orders numbered at or below what we said we had drained start nothing.

    Without: we said "drained to 7 and hold nothing of 6", the task moved, then 6 comes out of a slow channel
    and starts.
    """
    return seq <= drained


def may_start(now_ns: Nanos, window_until_ns: Nanos, window_epoch: int, obeyed_epoch: int) -> bool:
    """R6: immediately before each start the window, renewed by the leader that is obeyed, must be open.

    Without: paused, declared dead, the task done elsewhere, resumed, started.
    """
    return window_epoch == obeyed_epoch and now_ns < window_until_ns


def window_missed(now_ns: Nanos, window_until_ns: Nanos) -> bool:
    """R6: a window that was open (not 0) and has run out ends the incarnation before anything else is handled.

    Without: paused beyond the lease and resumed, the agent goes on with work that others have been given.
    """
    return window_until_ns != 0 and now_ns >= window_until_ns


def renews(echo_epoch: int, obeyed_epoch: int) -> bool:
    """R9: the window is renewed by the echo of the leader that is obeyed; by no other leader, and by no
    broker's confirm.

    Without: a leader that cannot hear us declares us dead while the broker keeps assuring us of our health.
    """
    return obeyed_epoch != 0 and echo_epoch == obeyed_epoch


def survives_end_of_incarnation(state: State) -> bool:
    """R5: when an incarnation ends only finished attempts outlive it (their reports are kept).

    Without: the task has moved on the evidence of our lost connection, and we return still running it.
    """
    return state == "finished"


def may_connect(unfinished: int) -> bool:
    """R5: an agent registers again only when nothing of its former incarnation runs.

    Without: a thread that nobody can kill still runs the attempt that the coordinator has moved, in an agent
    that says "idle".
    """
    return unfinished == 0


def is_full(reports: int, report_bytes: int, held_bytes: int, limits: tuple[int, int, int]) -> bool:
    """New work is refused, never a report dropped, when too much is unreleased.

    Without: a coordinator that does not release takes the agent's memory, or its ``Held`` no longer fits a message.
    """
    return reports >= limits[0] or report_bytes >= limits[1] or held_bytes >= limits[2]


def keeps_until_released(released: bool) -> bool:
    """A report is forgotten when the coordinator says that it is in the ledger; a broker's confirm is not enough.

    Without: the leader dies with the report read and not appended; nobody has the result any more.
    """
    return not released
