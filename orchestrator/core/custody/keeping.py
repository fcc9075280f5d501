"""Keeping the ledger short: from where a reader has everything, and what must be written again before it falls off the end.

Law: the log is capped in bytes and the broker drops its oldest part unasked. So every living thing has a *row* (where its
last full record stands); rows are in reading order, void once the thing is over or written anew. The first valid row is
``replay_from``. A row that has fallen half of the way behind is carried forward; should the oldest near the edge, nothing else
is appended (R12). Of what may be appended a quarter is for what lives, and intake ends there, those on their way counted; another
is for the ids of what has ended. What was taken in may grow all the same (checkpoints, failures): where more lives a row falls
further behind before it is written again, because a threshold nearer than all that lives is reached anew by every append, and
carrying forward never comes to rest.

Where the broker keeps less than the cap says (``begins``) all of that is reckoned by what it keeps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import merge
from typing import Literal, TypeAlias

from orchestrator.core import rules
from orchestrator.core.custody.custody import Custody
from orchestrator.core.custody.records import Grave
from orchestrator.core.custody.sizes import fact_bytes
from orchestrator.core.tasks import claims
from orchestrator.vocabulary import TaskId
from orchestrator.wire.facts import AnyFact, Asked, Entry, Served, Tombstone

Kind: TypeAlias = Literal["task", "grave", "joined", "served", "will", "policy", "limit", "restored"]

CARRY_COUNT_MAX = 200
"""Things written again in one append: a trickle beside the day's work, not a wave."""
TOMB_BYTES = 100
KEPT_LEAST = 64 * 1024
"""However little the broker is seen to keep, so much is reckoned with: less than one entry can take could not be lived with."""
LIVING_SHARE = 4
"""One part in so many of the ledger is for what lives, and another for the ids of what has ended. More, and carrying all that
forward would never come to rest."""


MARKS = 256
"""So many places a cap, at least, of which it is known which offset was how many bytes back."""


SPARE_KEYS = 1_000
"""So many more than live may be noted, and half as many more, before what is void among them is dropped."""


LATEST = 8
"""So many entries at the ledger's end say from where to read it: more than there are coordinators with one on its way."""


def place_to_begin(latest: Iterable[tuple[int, Entry]]) -> int:
    """From where a reader has everything, by the ``LATEST`` entries with their offsets. The last one says it; but one that was
    meant for a ledger that was deleted may have landed in the one made anew, and says too late a place. So it is the earliest that
    these few say, but for those that name one behind themselves."""
    return min((entry.replay_from for offset, entry in latest if entry.replay_from <= offset), default=0)


@dataclass(slots=True, eq=False)
class Row:
    """Things of one kind whose last full records stand in one entry: its offset, and bytes read before it. One row for all of them:
    entries carry many, and a million may live."""

    offset: int
    position: int
    kind: Kind
    keys: list[str]


class Rows:
    """Rows in reading order. The first is always of something that lives, or there is none; what is void behind it is bounded.

    What ends in another order than it began has rows of its own: one task that waits for days must keep those of nothing but tasks.
    """

    def __init__(self) -> None:
        self.rows: deque[Row] = deque()
        self.count = 0
        """Of their keys."""

    def add(self, offset: int, position: int, kind: Kind, keys: list[str]) -> None:
        """Full records of all these stand there."""
        self.count += len(keys)
        last = self.rows[-1] if self.rows else None
        if last is not None and last.offset == offset and last.kind == kind:
            last.keys += keys
        else:
            self.rows.append(Row(offset, position, kind, keys))

    def oldest(self, custody: Custody, living: int) -> Row | None:
        """The first. ``living``: how many keys can be valid."""
        rows = self.rows
        while rows and not self._lives(rows[0], custody):
            rows.popleft()
        if self.count > living + living // 2 + SPARE_KEYS:
            self._sweep(custody)
        return self.rows[0] if self.rows else None

    def _lives(self, row: Row, custody: Custody) -> bool:
        """Whether anything in it is still valid; what is not, at its end, is dropped."""
        keys, owed = row.keys, custody.owed
        known = custody.live if row.kind == "task" else custody.graves if row.kind == "grave" else None
        while keys:
            key = keys[-1]
            if (known is None or key in known or key in owed) and _valid(row, key, custody):  # the quick look first
                return True
            keys.pop()
            self.count -= 1
        return False

    def _sweep(self, custody: Custody) -> None:
        """Drop all that is void."""
        for row in self.rows:
            row.keys = [key for key in row.keys if _valid(row, key, custody)]
        self.rows = deque(row for row in self.rows if row.keys)
        self.count = sum(len(row.keys) for row in self.rows)


class Keeping:
    """The rows of everything that lives, oldest first."""

    def __init__(self, cap_bytes: int, reserve_bytes: int) -> None:
        self.cap_bytes = cap_bytes
        self.reserve_bytes = reserve_bytes
        self.position = 0
        """Bytes read so far."""
        self.looked_at = 0
        """The position when the leader last looked where the ledger begins."""
        self.kept_bytes: int | None = None
        """The broker keeps no more than about so much; none: as much as the cap says."""
        self._most = self.cap - self.reserve
        """So much of what it holds may be used."""
        self._first = -1
        """The oldest offset that it has, when last looked at; -1: not yet."""
        self._marks: deque[tuple[int, int]] = deque()
        """Offsets that were read, and the bytes before them."""
        self.tasks, self.graves, self.lasting = Rows(), Rows(), Rows()
        """Of what lives, of what has ended, and of all else."""
        self._carrying: set[tuple[Kind, str]] = set()

    @property
    def cap(self) -> int:
        """Bytes that the ledger holds, as far as is known."""
        return self.cap_bytes if self.kept_bytes is None else self.kept_bytes

    @property
    def reserve(self) -> int:
        """Of these, what is kept free for carrying forward (R12)."""
        return min(self.reserve_bytes, self.cap // 2)

    def read(self, offset: int, size: int) -> None:
        """An entry of ``size`` bytes was read there."""
        marks = self._marks
        if not marks or self.position - marks[-1][1] >= self.cap_bytes // MARKS:
            marks.append((offset, self.position))
            if len(marks) > 2 * MARKS:
                marks.popleft()
        self.position += size

    def begins(self, offset: int) -> None:
        """The broker has nothing of the ledger below this offset.

        Only what it has cut off while we read says how much it keeps: less than our cap, by more than whole segments explain, and
        somebody else's limit is at work. That is over when it keeps as much again.
        """
        marks = self._marks
        cut = offset > (self._first if self._first >= 0 else marks[0][0] if marks else offset)
        self._first = offset
        while len(marks) > 1 and marks[1][0] <= offset:
            marks.popleft()
        if not marks or marks[0][0] > offset:
            return  # it is older than what we have read: no less than that is kept
        found = self.position - (marks[1] if len(marks) > 1 else marks[0])[1]
        if cut or (self.kept_bytes is not None and found > self.kept_bytes):
            short = found < self.cap_bytes - self.reserve_bytes - self.cap_bytes // 8
            self.kept_bytes = max(found, KEPT_LEAST) if short else None
            self._most = self.cap - self.reserve

    def row(self, offset: int, kind: Kind, key: str) -> None:
        """A full record of this thing stands at ``offset``."""
        self.rows(offset, kind, [key])

    def rows(self, offset: int, kind: Kind, keys: list[str]) -> None:
        """Full records of all these stand there. The list is ours from now on."""
        if self._carrying:
            self._carrying.difference_update([(kind, key) for key in keys])
        rows = self.tasks if kind == "task" else self.graves if kind == "grave" else self.lasting
        rows.add(offset, self.position, kind, keys)

    def replay_from(self, custody: Custody) -> int:
        """The offset from which a reader has everything that still lives."""
        row = self._oldest(custody)
        return custody.next_offset if row is None else row.offset

    @property
    def calm(self) -> bool:
        """Whether even the first row is well within the ledger: then there is room, and nothing to carry. The quick look first."""
        edge, first = self.position - self._most // 2, self._first
        for one in (self.tasks, self.graves, self.lasting):  # asked several times a step: half as dear as all()
            if (rows := one.rows) and (rows[0].position < edge or rows[0].offset < first):
                return False
        return True

    def room(self, custody: Custody) -> bool:
        """Whether anything but carrying forward may be appended (R12)."""
        if self.calm:
            return True
        row = self._oldest(custody)
        return row is None or rules.r12_room(self.position, row.position, self.cap, self.reserve)

    def full(self, custody: Custody, arriving_bytes: int = 0) -> bool:
        """Whether so much lives, or is about to, that nothing more should be taken in. The ids of what has ended (R11) have as much
        again: or, where nothing lives, they alone would keep it out until the dedup window is over."""
        alive, ids = _alive(custody) + arriving_bytes, _ids(custody)
        return alive >= self._most // LIVING_SHARE or alive + ids >= 2 * (self._most // LIVING_SHARE)

    def _behind(self, custody: Custody) -> int:
        """How far a row may fall behind, in bytes, before it is written again."""
        return max(self._most // 2, min(2 * _living(custody), self._most * 3 // 4))

    def carry(self, custody: Custody, bytes_max: int) -> list[AnyFact]:
        """The things that have fallen so far behind that they are written again, as much as one append may carry; each once."""
        facts: list[AnyFact] = []
        if self.calm:
            return facts
        size = 0
        edge = self.position - self._behind(custody)
        if self._oldest(custody) is None:
            return facts
        for row, key in self._before(edge):
            if len(facts) >= CARRY_COUNT_MAX or size >= bytes_max:
                break
            name = (row.kind, key)
            if name in self._carrying or not _valid(row, key, custody):
                continue
            if (fact := _again(row, key, custody)) is not None:
                self._carrying.add(name)
                facts.append(fact)
                size += fact_bytes(fact)
        return facts

    def _before(self, edge: int) -> Iterator[tuple[Row, str]]:
        """What stands before this position, or is cut off, oldest first."""
        for row in merge(self.graves.rows, self.tasks.rows, self.lasting.rows, key=_place):
            if row.position >= edge and row.offset >= self._first:
                return
            for key in row.keys:
                yield row, key

    def came_late(self, kind: Kind, key: str) -> None:
        """It was over when it was read written again: no record of it stands there, and none is under way."""
        self._carrying.discard((kind, key))

    def void(self) -> None:
        """What was under way may never be read: carry it again when its turn comes."""
        self._carrying.clear()

    def _oldest(self, custody: Custody) -> Row | None:
        owed = len(custody.owed)
        task = self.tasks.oldest(custody, len(custody.live) + owed)
        grave = self.graves.oldest(custody, len(custody.graves) + owed)
        rest = len(custody.joined) + len(custody.served) + len(custody.wills) + len(custody.policies) + len(custody.limits) + 1
        oldest = self.lasting.oldest(custody, rest)
        return min((row for row in (task, grave, oldest) if row is not None), key=_place, default=None)


def _place(row: Row) -> int:
    return row.offset


def _living(custody: Custody) -> int:
    """Bytes that all that lives would take, written again, about."""
    return _alive(custody) + _ids(custody)


def _alive(custody: Custody) -> int:
    return custody.live_bytes + custody.graveyard.pinned_bytes + custody.keys.result_bytes


def _ids(custody: Custody) -> int:
    return TOMB_BYTES * len(custody.graves)


def _valid(row: Row, key: str, custody: Custody) -> bool:
    """Whether this is still the last full record of a living thing."""
    offset = row.offset
    match row.kind:
        case "task":
            record = custody.live.get(key) or custody.owed.get(key)
            return record is not None and record.offset == offset
        case "grave":
            grave, owed = custody.graves.get(key), custody.owed.get(key)
            return (grave is not None and grave.offset == offset) or (owed is not None and owed.offset == offset)
        case "joined":
            return key in custody.joined and custody.joined[key][1] == offset
        case "served":
            return custody.served.get(key) == offset
        case "will":
            return key in custody.wills and custody.wills[key][1] == offset
        case "limit":
            return key in custody.limits and custody.limits[key][1] == offset
        case "policy":
            return key in custody.policies and custody.policies[key][1] == offset
        case "restored":
            return custody.restored is not None and custody.restored[1] == offset


def _again(row: Row, key: str, custody: Custody) -> AnyFact | None:
    """The fact that says this thing anew; none for an owed result, which is about to be answered."""
    match row.kind:
        case "task":
            record = custody.live.get(key)
            return None if record is None else claims.again(custody, record)
        case "grave":
            grave = custody.graves.get(key)
            return _tombstone(key, grave, custody) if grave is not None and grave.offset == row.offset else None
        case "joined":
            return custody.joined[key][0]
        case "served":
            return Served(key)
        case "will":
            return custody.wills[key][0]
        case "limit":
            return custody.limits[key][0]
        case "restored":
            return None if custody.restored is None else custody.restored[0]
        case "policy":
            fact = custody.policies[key][0]
            return Asked("policy", fact.at_ns, by=fact.by, value={key: fact.value[key]})  # what else it said may be out of date


def _tombstone(task: TaskId, grave: Grave, custody: Custody) -> Tombstone:
    """Its id; while live children need it (R13), or it holds a key (R16), also what these are to be given."""
    hold = custody.keys.said(task)
    result = grave.result if hold is not None or task in custody.graveyard.pinned else None
    if result is None:
        return Tombstone(task, grave.outcome, grave.at_ns, grave.print, hold=hold)
    return Tombstone(
        task, grave.outcome, grave.at_ns, grave.print, True, result.value, result.error, hold, task in custody.graveyard.pinned
    )
