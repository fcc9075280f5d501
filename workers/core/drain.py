"""The will to leave: what a drain wants next, by time and by what is left.

asked ──── what runs may finish ──── soft: ask for checkpoints ──── hard: stop ──── give up waiting
  0                              soft_share of grace                 grace           + stop_wait
and once nothing runs: until the reports are released, at most release_wait more.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from orchestrator.vocabulary import Nanos
from workers.core.profile import Limits

Verdict: TypeAlias = Literal["wait", "soft", "hard", "leave"]


class Drain:
    """One drain; it outlives incarnations, for a lost connection does not change the wish to end."""

    __slots__ = ("_hard_ns", "_hard_said", "_leave_ns", "_limits", "_soft_ns", "_soft_said")

    def __init__(self, now_ns: Nanos, grace_ns: Nanos, limits: Limits) -> None:
        self._limits = limits
        self._soft_ns = now_ns + round(grace_ns * limits.soft_share)
        self._hard_ns = now_ns + grace_ns
        self._soft_said = self._hard_said = False
        self._leave_ns: Nanos | None = None
        """Once nothing runs: when to stop waiting for the release of reports."""

    def shorten(self, now_ns: Nanos, grace_ns: Nanos) -> None:
        """Asked again: the shorter grace holds."""
        self._hard_ns = min(self._hard_ns, now_ns + grace_ns)
        self._soft_ns = min(self._soft_ns, self._hard_ns)

    def verdict(self, now_ns: Nanos, unfinished: int, quiet: bool) -> Verdict:
        """What is due now. ``soft`` and ``hard`` are said once."""
        if unfinished:
            self._leave_ns = None
            if now_ns >= self._hard_ns and not self._hard_said:
                self._hard_said = self._soft_said = True
                self._hard_ns = now_ns
                return "hard"
            if now_ns >= self._soft_ns and not self._soft_said:
                self._soft_said = True
                return "soft"
            return "leave" if self._hard_said and now_ns >= self._hard_ns + self._limits.stop_wait_ns else "wait"
        if self._leave_ns is None:
            self._leave_ns = now_ns + self._limits.release_wait_ns
        return "leave" if quiet or now_ns >= self._leave_ns else "wait"

    def deadline_ns(self, idle: bool) -> Nanos | None:
        """When time alone may change the verdict. ``idle``: nothing is unfinished."""
        if idle:
            return self._leave_ns
        if not self._soft_said:
            return self._soft_ns
        return self._hard_ns + self._limits.stop_wait_ns if self._hard_said else self._hard_ns
