"""So many lines of a kind in a while, and no more: a log that a peer can fill is a disk that he can fill.

Law: pure; the time is handed in. What was left out is counted, and told with the next line that is not.
"""

from __future__ import annotations

from typing import Any

LINES_MAX = 100
SPAN_S = 10.0


class Throttle:
    """By kind."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[float, int, int]] = {}
        """When its span began, how many lines there were in it, how many were left out."""

    def leaves_out(self, now_s: float, kind: str) -> bool:
        """Whether one more line of this kind would not be said, so that it need not be put together. If so it is counted."""
        since, said, left = self._kinds.get(kind, (now_s, 0, 0))
        if said < LINES_MAX or now_s - since >= SPAN_S:
            return False
        self._kinds[kind] = since, said, left + 1
        return True

    def admits(self, now_s: float, kind: str, shown: dict[str, Any]) -> bool:
        """Whether one more line of this kind may be said; ``shown`` is given the number ``left_out`` before it, if any."""
        since, said, left = self._kinds.get(kind, (now_s, 0, 0))
        if now_s - since >= SPAN_S:
            since, said = now_s, 0
        if said >= LINES_MAX:
            self._kinds[kind] = since, said, left + 1
            return False
        self._kinds[kind] = since, said + 1, 0
        if left:
            shown["left_out"] = left
        return True
