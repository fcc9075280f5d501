"""Where a producer stands with the broker at this moment, and in whose words to say so.

Law: a small pure machine that the others share. It decides one thing (may a message leave now?) and remembers one
(why not?).
"""

from __future__ import annotations

from orchestrator.client.events import Blocked, Cause, Ended, Opened


class Footing:
    """Session and alarm, as last heard."""

    __slots__ = ("_alarm", "_cause", "_detail", "_open")

    def __init__(self) -> None:
        self._open = False
        self._alarm: str | None = None
        self._cause = Cause.AWAY
        self._detail = "no connection has been made yet"

    @property
    def firm(self) -> bool:
        """Whether what is published now will leave."""
        return self._open and self._alarm is None

    @property
    def is_open(self) -> bool:
        return self._open

    def heed(self, event: Opened | Ended | Blocked) -> None:
        """Take note. An alarm ends with its session: the next one is told anew, at its first publish."""
        match event:
            case Opened():
                self._open, self._alarm = True, None
            case Ended(cause, detail):
                self._open, self._alarm = False, None
                self._cause, self._detail = cause, detail
            case Blocked(reason):
                self._alarm = reason

    def stumble(self) -> None:
        """A message was lost: the session is gone, though nobody has said so yet."""
        if self._open:
            self.heed(Ended(Cause.AWAY, "the connection broke while a message was under way"))

    def trouble(self) -> tuple[Cause, str] | None:
        """Why nothing can leave; none if it can."""
        if not self._open:
            return self._cause, self._detail
        if self._alarm is not None:
            return Cause.BLOCKED, self._alarm
        return None
