"""The door: how many strangers may come in at once.

Law: an instance that announces itself costs a fact, an order and a place in the registry before it is known whether anybody is
behind the name. So strangers are let in at a rate, each user's on its own account: who floods the door with names keeps nobody else
out, and an honest one that was turned away says again in a second that it is here.
"""

from __future__ import annotations

from orchestrator.core.offences import Allowance
from orchestrator.vocabulary import NS_PER_MS, Nanos
from orchestrator.wire.messages import Announce

AT_ONCE = 2_000
EVERY_NS = 2 * NS_PER_MS
"""So many announcements of one user at once, then 500 a second. One with many handlers counts as several."""
HANDLERS_EACH = 50
USERS_MAX = 100
GREETED_AT_ONCE = 500
GREETED_EVERY_NS = 5 * NS_PER_MS


class Door:
    """Who may come in now."""

    def __init__(self) -> None:
        self._users: dict[str, Allowance] = {}
        self._greetings = Allowance(GREETED_AT_ONCE, GREETED_EVERY_NS)

    def let_in(self, now: Nanos, said: Announce, user: str, *, known: bool) -> bool:
        """Whether this stranger may come in; ``known``: the ledger has it, so it does not need to be let in."""
        if known:
            return True
        room = self._users.get(user)
        if room is None:
            if len(self._users) >= USERS_MAX:
                self._users.clear()
            room = self._users[user] = Allowance(AT_ONCE, EVERY_NS)
        devices = sum(map(len, said.devices.values()))
        return room.take(now, 1 + (len(said.handlers) + devices) // HANDLERS_EACH)

    def greets(self, now: Nanos) -> bool:
        """Whether one more stranger that beats is asked who it is."""
        return self._greetings.take(now)
