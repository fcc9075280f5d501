"""The door: how many strangers may come in at once.

Law: an instance that announces itself costs a fact, an order and a place in the registry before it is known whether anybody is
behind the name. So strangers are let in at a rate, each user's on its own account: who floods the door with names keeps nobody
else out, and an honest one that was turned away says again in a second that it is here. Names that turn out to be nobody's are
charged to who brought them, so a fleet comes in quickly and a flood of ghosts slowly.
"""

from __future__ import annotations

from orchestrator.core.registry.offences import Allowance, Allowances
from orchestrator.vocabulary import NS_PER_MS, Nanos
from orchestrator.wire.messages import Announce

AT_ONCE = 2_000
EVERY_NS = 2 * NS_PER_MS
"""So many announcements of one user at once, then 500 a second. One with many handlers counts as several."""
HANDLERS_EACH = 50
GHOST = 20
"""A name with nobody behind it counts as so many more."""
GREETED_AT_ONCE = 500
GREETED_EVERY_NS = 5 * NS_PER_MS


class Door:
    """Who may come in now."""

    def __init__(self) -> None:
        self._users = Allowances(AT_ONCE, EVERY_NS)
        self._greetings = Allowance(GREETED_AT_ONCE, GREETED_EVERY_NS)

    def let_in(self, now: Nanos, said: Announce, user: str, *, known: bool) -> bool:
        """Whether this stranger may come in; ``known``: the ledger has it, so it does not need to be let in."""
        devices = sum(map(len, said.devices.values()))
        return known or self._users.of(user).take(now, 1 + (len(said.handlers) + devices) // HANDLERS_EACH)

    def ghost(self, now: Nanos, user: str) -> None:
        """Nobody was behind a name that this user brought."""
        self._users.of(user).charge(now, GHOST)

    def greets(self, now: Nanos) -> bool:
        """Whether one more stranger that beats is asked who it is."""
        return self._greetings.take(now)
