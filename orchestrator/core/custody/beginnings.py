"""Where the ledger begins: the broker may cut it off sooner than we told it to.

Law: the cap of the stream is the ledger's own argument, and a policy of the broker's (``max-length-bytes``, ``max-age``) overrules
it unasked. So the leader looks at the first offset that is left, often enough that little can go unseen in between. What lives
below it is written again at once; from then on things are written again when they have fallen half of what is really kept behind
(``Keeping.begins``), and this is told. Between a cut and the look behind it only living coordinators know what was cut off.
"""

from __future__ import annotations

from orchestrator.core.commands import LookAtLedger
from orchestrator.core.desk import Desk
from orchestrator.core.events import LedgerBegins
from orchestrator.vocabulary import NS_PER_S, Nanos

LOOK_NS = 10 * NS_PER_S
"""The leader looks this often, if anything was written meanwhile (it ticks)."""
LOOK_BYTES = 1024**2
"""And whenever so much has been written: the least that a segment of the stream may be, and it is cut off by segments."""


def look(desk: Desk, now: Nanos) -> None:
    """Ask where the ledger begins, if it is time to. One look is under way at a time: each is answered, or its session over."""
    keeping = desk.keeping
    written = keeping.position - keeping.looked_at
    if desk.looking or not written or (written < LOOK_BYTES and now - desk.looked_ns < LOOK_NS):
        return
    desk.looking, desk.looked_ns, keeping.looked_at = True, now, keeping.position
    desk.out.append(LookAtLedger())


def begins(desk: Desk, now: Nanos, event: LedgerBegins) -> None:
    """The answer. Whether it is cut short is told when that changes, by half or more. If there is none, we look again."""
    desk.looking = False
    if event.offset is None:
        return
    keeping, before = desk.keeping, desk.keeping.kept_bytes
    keeping.begins(event.offset)
    if (kept := keeping.kept_bytes) is None:
        if before is not None:
            desk.note("ledger_long", cap_bytes=keeping.cap_bytes)
    elif before is None or not before / 2 < kept < before * 2:
        desk.note("ledger_short", kept_bytes=kept, cap_bytes=keeping.cap_bytes, begins=event.offset)
