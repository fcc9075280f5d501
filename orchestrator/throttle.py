"""So many lines of a kind in a while, and no more: a log that a peer can fill is a disk that he can fill.

Law: pure; the time is handed in. What was left out is counted, and told with the next line that is not.
"""

from __future__ import annotations

from typing import Any

LINES_MAX = 100
SPAN_S = 10.0
AGAIN_S = (60.0, 120.0, 240.0, 480.0, 900.0)
"""A trouble that goes on is spoken of so long after the last time; then each quarter of an hour."""
WELL_S = 60.0
"""Who has been well so long is well again: a trouble that comes then is a new one."""
TROUBLES_MAX = 100


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


class Troubles:
    """What goes wrong at every try: said at once, then seldom, with the number of tries and for how long."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, int]] = {}
        """When it may be said again, how often it was said."""
        self._since = 0.0
        self._tries = 0
        self._well_since: float | None = None
        self.silent = False
        """The last one was not said: of what is said at every try nobody need hear either."""

    def admits(self, now_s: float, trouble: str, shown: dict[str, Any]) -> bool:
        """Whether this may be said; ``shown`` is given ``tries`` and ``for_s``, unless it is the first."""
        if self._well_since is not None and now_s - self._well_since >= WELL_S:
            self.over()
        self._well_since = None
        self._since = self._since if self._tries else now_s
        self._tries += 1
        again_s, said = self._known.get(trouble, (now_s, 0))
        self.silent = now_s < again_s or len(self._known) > TROUBLES_MAX
        if not self.silent:
            self._known[trouble] = now_s + AGAIN_S[min(said, len(AGAIN_S) - 1)], said + 1
            if self._tries > 1:
                shown.update(self.told(now_s))
        return not self.silent

    def well(self, now_s: float) -> None:
        """It goes well, for now."""
        self._well_since = now_s

    def told(self, now_s: float) -> dict[str, Any]:
        """How often it was tried and for how long, if anything has gone wrong."""
        return {"tries": self._tries, "for_s": round(now_s - self._since, 1)} if self._tries else {}

    def over(self) -> None:
        """All that was wrong is forgotten."""
        self._known.clear()
        self._tries, self.silent = 0, False
