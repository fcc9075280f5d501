"""What may follow what: two literal tables. What to *do* about it is code, elsewhere.

A step not in a table is a bug of ours (or of the shell that feeds us), never a peer's mistake; it raises, with
the story.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

Phase: TypeAlias = Literal["offline", "connecting", "announcing", "serving", "fenced", "leaving", "finished"]
"""The life of an incarnation (draining is no phase: it is a will, and outlives incarnations).

offline     no connection; what was unfinished is being stopped; backoff runs
connecting  one is being opened
announcing  connected; no leader has answered
serving     a leader's sync was answered: its epoch is obeyed
fenced      the window was missed, or nobody answered: nothing is heard or said any more; the connection is being closed
leaving     goodbye was said; the connection is being closed
finished    over
"""

PHASES: dict[Phase, frozenset[Phase]] = {
    "offline": frozenset({"connecting", "finished"}),
    "connecting": frozenset({"announcing", "offline", "leaving", "finished"}),
    "announcing": frozenset({"serving", "fenced", "offline", "leaving", "finished"}),
    "serving": frozenset({"fenced", "offline", "leaving", "finished"}),
    "fenced": frozenset({"offline", "finished"}),
    "leaving": frozenset({"finished"}),
    "finished": frozenset(),
}

State: TypeAlias = Literal["waiting", "starting", "running", "stopping", "abandoned", "finished", "gone"]
"""The life of an attempt here.

waiting    not started: the window is closed, or its lane is full
starting   the job runner was told to start it (it may run already)
running    its handler was called
stopping   it was told to stop; it answers when nothing of it runs
abandoned  its incarnation ended while it was unfinished: it is being stopped and will never be spoken of
finished   what is left of it is its report, kept by the outbox until released
gone       forgotten
"""

STATES: dict[State, frozenset[State]] = {
    "waiting": frozenset({"starting", "gone"}),
    "starting": frozenset({"running", "waiting", "stopping", "finished", "abandoned"}),
    "running": frozenset({"stopping", "finished", "abandoned"}),
    "stopping": frozenset({"finished", "gone", "abandoned"}),
    "abandoned": frozenset({"gone"}),
    "finished": frozenset(),
}

MAY_RUN: frozenset[State] = frozenset({"starting", "running", "stopping", "abandoned"})
"""States in which user code may be running."""


class Impossible(Exception):
    """A step that no table allows: a bug of ours, told with its story."""


def phase_step(old: Phase, new: Phase, story: str) -> Phase:
    """``new``, if it may follow ``old``."""
    if new not in PHASES[old]:
        raise Impossible(f"an incarnation cannot go from {old} to {new} ({story})")
    return new
