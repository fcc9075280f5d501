"""What every session reads first: the entry that was read last, by which a coordinator knows its ledger again."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.core.events import Event, Read, SessionOpened


class Tail:
    """The end of a ledger that is imagined as a counter."""

    def __init__(self) -> None:
        self._last: Read | None = None

    def __call__(self, events: Iterable[Event]) -> list[Event]:
        """These events; behind each opening of a session the entry read last."""
        found: list[Event] = []
        for event in events:
            found.append(event)
            if isinstance(event, Read):
                self._last = event
            elif isinstance(event, SessionOpened) and self._last is not None:
                found.append(self._last)
        return found
