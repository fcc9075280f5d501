"""Whether a handler may be called *now* (R6): looked at by every runner immediately before the call.

Between the decision to start and the call lie threads, queues and a user's loop that may be blocked, or a
process that is being started; meanwhile the window may have closed, or the incarnation ended.
"""

from __future__ import annotations

from orchestrator.vocabulary import Nanos
from workers.clock import steady_ns


class Permit:
    """Written by the agent's thread after each of its steps, read by all others.

    One attribute, so never half written.
    """

    __slots__ = ("_value",)

    def __init__(self) -> None:
        self._value: tuple[str, Nanos] = ("", 0)

    def set(self, value: tuple[str, Nanos]) -> None:
        """Until when (steady clock) handlers may be called that were started in this incarnation."""
        self._value = value

    def until_ns(self, incarnation: str) -> Nanos:
        """Until when handlers of ``incarnation`` may be called; 0: not at all."""
        current, until_ns = self._value
        return until_ns if current == incarnation else 0

    def allows(self, incarnation: str) -> bool:
        """Whether a handler of ``incarnation`` may be called now."""
        return steady_ns() < self.until_ns(incarnation)
