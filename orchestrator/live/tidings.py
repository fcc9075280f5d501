"""What is said of sessions that come and go: all of it once, and of what goes on for hours little.

Law: a session that lasted is what was wished for; what ends sooner by a trouble that is known is not told again each time
(``Troubles``), and neither is what every session says that begins.
"""

from __future__ import annotations

import asyncio
from typing import Any

from orchestrator.amqp.supervisor import OpenFailed, SessionEvent, SessionOpened
from orchestrator.live.telemetry import Telemetry
from orchestrator.throttle import WELL_S, Troubles

REPEATED = frozenset(
    {
        "deaths_watched", "deaths_unwatched", "replaying", "standing_by", "claiming", "resigned", "session_lost", "broker_blocked",
        "broker_unblocked", "shards_kept", "shards_differ", "outdated",
    }
)  # fmt: skip
"""What each of many short sessions says again."""


class Tidings:
    """Of one coordinator's sessions."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._troubles = Troubles()
        self._lasts: asyncio.TimerHandle | None = None

    def tell(self, event: SessionEvent) -> None:
        """Say it, unless it is known."""
        loop, troubles = asyncio.get_running_loop(), self._troubles
        if self._lasts is not None:
            self._lasts.cancel()
            self._lasts = None
        if isinstance(event, SessionOpened):
            troubles.well(loop.time())
            self._lasts = loop.call_later(WELL_S, self._well, event, troubles.silent)
            if not troubles.silent:
                self._telemetry.say("session", self._opened(event, loop.time()))
        else:
            said: dict[str, Any] = {"why": str(event)}
            news = troubles.admits(loop.time(), event.trouble, said)
            if isinstance(event, OpenFailed):
                if news:
                    self._telemetry.say("unreachable", said)
            elif news or "leading" in self._telemetry.begun:
                self._telemetry.say("session_ended", said)
        self._telemetry.silent = REPEATED if troubles.silent else frozenset()

    def _opened(self, event: SessionOpened, now_s: float) -> dict[str, Any]:
        return {"server": event.server_version, "session": event.session} | self._troubles.told(now_s)

    def _well(self, event: SessionOpened, unsaid: bool) -> None:
        """It lasts: what was wrong is over. Of one that was said to begin that goes without saying."""
        self._lasts = None
        if unsaid:
            self._telemetry.say("session_lasts", self._opened(event, asyncio.get_running_loop().time()))
        self._troubles.over()
        self._telemetry.silent = frozenset()
