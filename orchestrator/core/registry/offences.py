"""What peers do that they must not: bytes that are no message, words that are not theirs to say, floods.

Law: the peer's mistakes are data, and bounded whatever comes (P6). Every one is counted, by what it is, where it came in and who
sent it; of each such row a few are kept for people (in the quarantine on the broker, which is bounded too), then one a second; and
a line is logged at the first, the tenth, the hundredth … . So a million of them cost a million additions, and what they were is
known all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from orchestrator.core.events import Handle
from orchestrator.vocabulary import NS_PER_MS, NS_PER_S, Nanos

if TYPE_CHECKING:
    from orchestrator.core.desk import Desk

What: TypeAlias = Literal["malformed", "misplaced", "forged", "crowded"]
"""``malformed``: no message; ``misplaced``: not for this queue; ``forged``: said in the name of another, or of what was never
assigned; ``crowded``: more strangers at once than are let in."""

ROWS_MAX = 200
OTHERS = "(others)"
"""Where a row would be one too many, it is counted under this name."""
IDLE_NS: Nanos = 600 * NS_PER_S
"""A row that nothing has been added to for so long may make room for another."""
WHY_MAX = 300
USERS_MAX = 100


@dataclass(slots=True)
class Allowance:
    """So many at once, then one every so often: a token bucket, in nanoseconds of waiting."""

    burst: int
    every_ns: Nanos
    _free_ns: Nanos = 0
    """When the bucket is full again."""

    def take(self, now: Nanos, count: int = 1) -> bool:
        """Whether so many more are allowed now; if so they are taken."""
        free_ns = max(self._free_ns, now)
        if free_ns - now > (self.burst - count) * self.every_ns:
            return False
        self._free_ns = free_ns + count * self.every_ns
        return True

    def charge(self, now: Nanos, count: int) -> None:
        """So many are taken, allowed or not: a debt of one burst at most."""
        self._free_ns = min(max(self._free_ns, now) + count * self.every_ns, now + 2 * self.burst * self.every_ns)


class Allowances:
    """One for each user, so that who floods spends nobody else's."""

    def __init__(self, burst: int, every_ns: Nanos) -> None:
        self._burst, self._every_ns = burst, every_ns
        self._users: dict[str, Allowance] = {}

    def of(self, user: str) -> Allowance:
        """That user's. Of more than a hundred users all begin anew."""
        room = self._users.get(user)
        if room is None:
            if len(self._users) >= USERS_MAX:
                self._users.clear()
            room = self._users[user] = Allowance(self._burst, self._every_ns)
        return room


@dataclass(slots=True)
class Offence:
    """One row: the same wrong, at the same place, by the same user."""

    what: What
    where: str
    user: str
    first_ns: Nanos
    last_ns: Nanos
    count: int = 0
    kept: int = 0
    why: str = ""
    """What was wrong with the last one."""
    digest: str = ""
    """SHA-256 of its body, if it had one."""
    room: Allowance = field(default_factory=lambda: Allowance(20, NS_PER_S))


def loud(count: int) -> bool:
    """Whether one more, now so many, is worth a line in the log: the first, the tenth, the hundredth …"""
    return str(count).rstrip("0") == "1"


def gets_loud(before: int, count: int) -> bool:
    """The same of several more at once: whether one of those is."""
    return len(str(count)) > len(str(before)) or not before


class Verdict(NamedTuple):
    """What to do about one offence: its row, whether to keep it whole, whether to say so."""

    row: Offence
    keep: bool
    tell: bool


class Offences:
    """All rows."""

    def __init__(self) -> None:
        self.rows: dict[tuple[What, str, str], Offence] = {}
        self._room = Allowance(200, 100 * NS_PER_MS)

    def add(self, now: Nanos, what: What, where: str, user: str, why: str, digest: str = "", count: int = 1) -> Verdict:
        """So many more. O(1), but for a row that is new where there is no room."""
        row = self.rows.get((what, where, user)) or self._row(now, what, where, user)
        before, row.count = row.count, row.count + count
        row.last_ns, row.why, row.digest = now, why[:WHY_MAX], digest
        keep = row.room.take(now) and self._room.take(now)
        row.kept += keep
        return Verdict(row, keep, gets_loud(before, row.count))

    def _row(self, now: Nanos, what: What, where: str, user: str) -> Offence:
        if len(self.rows) >= ROWS_MAX:
            idle = min(self.rows.values(), key=lambda row: row.last_ns)
            if now - idle.last_ns > IDLE_NS:
                del self.rows[idle.what, idle.where, idle.user]
            else:
                where = user = OTHERS
        row = self.rows.get((what, where, user))
        if row is None:
            row = self.rows[what, where, user] = Offence(what, where, user, now, now)
        return row

    def worst(self, most: int) -> list[Offence]:
        """Those with the most, at most so many."""
        return sorted(self.rows.values(), key=lambda row: (-row.count, row.what, row.where, row.user))[:most]


def offend(
    desk: Desk,
    what: What,
    where: str,
    user: str,
    why: str,
    *,
    sample: bytes = b"",
    digest: str = "",
    gate: Handle = None,
    more: list[Handle] | None = None,
) -> None:
    """A peer did what it must not: counted, kept for people if it is one of few, and done with (``gate`` is settled).

    ``more``: deliveries with which it did the same.
    """
    count = 1 + len(more or ())
    desk.counts[what] += count
    row, keep, tell = desk.offences.add(desk.now_ns, what, where, user, why, digest, count)
    for other in more or ():
        if other is not None:
            desk.settle(other)
    if tell:
        desk.note("offence", offence=what, where=where, user=user or None, reason=row.why, count=row.count)
    if keep and desk.leading:
        letter = {
            "task": "", "type": "", "error": {"kind": what, "message": why}, "where": where, "user": user, "sample": sample,
            "digest": digest, "count": row.count, "at_ns": desk.now_ns,
        }  # fmt: skip
        desk.bury(letter, gate=gate, where="quarantine")
    elif gate is not None:
        desk.settle(gate)
