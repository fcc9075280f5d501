"""So many lines of a kind in a while, and no more: a log that a peer can fill is a disk that he can fill.

Law: pure; the time is handed in. What was left out is counted, and told with the next line that is not.
"""

from __future__ import annotations

LINES_MAX = 100
SPAN_S = 10.0


class Throttle:
    """By kind."""

    def __init__(self, lines_max: int = LINES_MAX, span_s: float = SPAN_S) -> None:
        self._lines_max = lines_max
        self._span_s = span_s
        self._kinds: dict[str, tuple[float, int, int]] = {}
        """When its span began, how many lines there were in it, how many were left out."""

    def let(self, now_s: float, kind: str) -> int | None:
        """Whether one more line of this kind may be said: how many were left out before it, or None."""
        since, said, left = self._kinds.get(kind, (now_s, 0, 0))
        if now_s - since >= self._span_s:
            since, said = now_s, 0
        if said >= self._lines_max:
            self._kinds[kind] = since, said, left + 1
            return None
        self._kinds[kind] = since, said + 1, 0
        return left
