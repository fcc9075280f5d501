"""When the ledger is lost: what the observer holds the living to.

Law: what anybody living had read of the lost part must come back, and whoever says up to where it remembers must have written
all of that again. What nobody living has read is lost, by count and by id, and that alone. A coordinator that dies takes its memory
with it; one that did not come to speak for half a minute gives up what it remembers, once as much is said to be written.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field

from orchestrator.vocabulary import NS_PER_S, Nanos
from orchestrator.wire.facts import Accepted, Asked, Carried, Claim, Ended, Entry, Restored, Tombstone

Extent = tuple[int, int]
"""How much of a ledger one must have read to know a thing: up to which reign, and which offset (``Memory.extent``)."""
Life = tuple[str, int]
"""A coordinator's process: its name, and which of its lives."""
SPEAKS_NS = 30 * NS_PER_S
"""For so long after it was read for the last time what is remembered is written again, however much others say is written. Later
what it says lives may have ended, and be forgotten (R11)."""
TURN_NS = 5 * NS_PER_S
"""So long after its session began it is everybody's turn to say what he remembers, at the latest."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process remembers of a ledger, or of several."""

    extent: Extent
    read_ns: Nanos

    def and_(self, later: Memory) -> Memory:
        """Both say a thing: it is remembered as long as one of them is."""
        return Memory(max(self.extent, later.extent), max(self.read_ns, later.read_ns))

    def given_up(self, restored_to: Extent, free_ns: Nanos) -> bool:
        """Whether it was too old to be said unasked, where so much is said to be written, when whoever has it was ``free`` to."""
        return self.extent <= restored_to and free_ns - self.read_ns >= SPEAKS_NS


@dataclass(slots=True)
class Lost:
    """A thing that the ledger said once, and does not say now."""

    number: int
    """Of the ledger that said it last."""
    extent: Extent
    known_to: dict[Life, Memory] = field(default_factory=dict)
    """Processes that live and have read it."""

    def read_by(self, who: dict[Life, Memory]) -> None:
        """These have read it where it was lost last."""
        for life, memory in who.items():
            before = self.known_to.get(life)
            self.known_to[life] = memory if before is None else before.and_(memory)

    def knows(self, name: str) -> bool:
        """Whether this coordinator remembers it."""
        return any(one == name for one, _ in self.known_to)


@dataclass(slots=True)
class Gone:
    """What stood in ledgers that were lost and is not in the present one again."""

    tasks: dict[str, Lost] = field(default_factory=dict)
    """That they were accepted, or ended."""
    ends: dict[str, Lost] = field(default_factory=dict)
    queues: dict[tuple[str, str], Lost] = field(default_factory=dict)
    """Of tasks that somebody asked for anew, to where their results go; of others, by no name, where they first were to go."""
    again: set[str] = field(default_factory=set)
    """Tasks that were accepted anew, or ended otherwise, because what was said of them before was lost."""
    cancelled: set[str] = field(default_factory=set)
    """Tasks that somebody asked to cancel: who had read that, and does not know yet that it was lost, may say their end."""

    def written(self, task: str, *, ended: bool, accepted: bool) -> None:
        """The ledger speaks of this task again. If it ended, and was not ``accepted`` there, it does not say who is to hear it."""
        known = self.tasks.pop(task, None)
        if ended:
            self.ends.pop(task, None)
            if known is not None and not accepted:
                self.queues.setdefault((task, ""), known)

    def remembered(self) -> list[str]:
        """Tasks of which somebody living knows what the ledger does not say."""
        return [f"{task} ({', '.join(sorted({name for name, _ in one.known_to}))})" for task, one in self._all() if one.known_to]

    def missing(self, by: str, extent: Extent) -> list[str]:
        """Tasks of which something is not written again, though this coordinator knows it. (What others know of another ledger that
        was lost, and it does not, they are to write.)"""
        return sorted({task for task, one in self._all() if one.extent <= extent and one.knows(by)})

    def restored(self, by: str, extent: Extent) -> None:
        """All that this coordinator knows of a ledger, up to there, is written again."""
        self.queues = {name: one for name, one in self.queues.items() if one.extent > extent or not one.knows(by)}

    def concerns(self, task: str) -> bool:
        """Whether something that was said of this task is lost, or was until it came otherwise."""
        return task in self.again or task in self.tasks or task in self.ends

    def forget(self, life: Life) -> None:
        """That process is dead."""
        for one in self._things():
            one.known_to.pop(life, None)

    def give_up(self, restored_to: Extent, free_ns: Callable[[str], Nanos]) -> None:
        """Nobody says any more what is remembered by memories that are too old."""
        for one in self._things():
            for life in [life for life, memory in one.known_to.items() if memory.given_up(restored_to, free_ns(life[0]))]:
                del one.known_to[life]

    def take_lost(self) -> list[str]:
        """Tasks that nobody living knows any more, or not to where their results go; told once."""
        lost = [task for task, one in self.tasks.items() if not one.known_to]
        untold = [task for (task, _), one in self.queues.items() if not one.known_to]
        self.queues = {name: one for name, one in self.queues.items() if one.known_to}
        for book in (self.tasks, self.ends):
            for task in [task for task, one in book.items() if not one.known_to]:
                del book[task]
                self.again.add(task)
        return lost + untold

    def _things(self) -> tuple[Lost, ...]:
        return (*self.tasks.values(), *self.ends.values(), *self.queues.values())

    def _all(self) -> Iterator[tuple[str, Lost]]:
        yield from self.tasks.items()
        yield from self.ends.items()


@dataclass(frozen=True, slots=True)
class Reader:
    """A living coordinator that was reading the ledger which is lost, and the part of it that it has read."""

    life: Life
    began: int
    read_to: int
    read_ns: Nanos

    def has_read(self, offset: int) -> bool:
        """Whether that entry."""
        return self.began <= offset < self.read_to


def epoch_after(epoch: int, offset: int, entry: Entry) -> int:
    """The highest epoch that whoever has read this entry too knows of."""
    epoch = max(epoch, entry.epoch)
    for fact in entry.facts:
        if isinstance(fact, Claim):
            epoch = max(offset, fact.floor, epoch) + 1
    return epoch


def lose(
    gone: Gone, number: int, lost: list[tuple[int, Entry]], epoch: int, readers: list[Reader], known: Callable[[str, bool], bool]
) -> Gone:
    """What is gone after these entries were lost. ``known``: whether the ledger still says that the task was accepted (ended)."""
    extents = _extents(lost, epoch)
    memories = {
        one.life: Memory(max((at for at in extents if one.has_read(at[1] - 1)), default=(0, 0)), one.read_ns) for one in readers
    }
    for (offset, entry), extent in zip(lost, extents, strict=True):
        who = {one.life: memories[one.life] for one in readers if one.has_read(offset)}
        for fact in entry.facts:
            if isinstance(fact, Asked) and fact.what == "redirect":
                gone.queues.setdefault((fact.task, fact.value), Lost(number, extent)).read_by(who)
        for task, ended in _said(entry):
            for book in (gone.tasks, gone.ends) if ended else (gone.tasks,):
                if not known(task, book is gone.ends):
                    book.setdefault(task, Lost(number, extent)).read_by(who)
    return gone


def _extents(lost: list[tuple[int, Entry]], epoch: int) -> list[Extent]:
    """Of each entry: how much whoever has read up to it knows."""
    extents = []
    for offset, entry in lost:
        epoch = epoch_after(epoch, offset, entry)
        extents.append((epoch, offset + 1))
    return extents


def spoken_of(entry: Entry, tasks: Container[str]) -> list[str]:
    """Of which of these tasks an entry says that they live or have ended."""
    return [task for task, _ in _said(entry) if task in tasks]


def _said(entry: Entry) -> Iterator[tuple[str, bool]]:
    """Of which tasks an entry speaks, and whether it says that they ended."""
    for fact in entry.facts:
        if isinstance(fact, Accepted):
            yield from ((task.id, False) for task in fact.tasks)
        elif isinstance(fact, Carried):
            yield fact.task.id, False
        elif isinstance(fact, Ended | Tombstone):
            yield fact.task, True


@dataclass(slots=True)
class Writing:
    """A reign that begins: what its leader remembers is written before it leads."""

    nonce: str = ""
    epoch: int = 0
    carried: bool = False
    """Something that lives was written again."""
    restored_to: Extent = (0, 0)
    """So much of ledgers that are lost is said to be written again."""

    def claimed(self, claim: Claim, epoch: int) -> None:
        """Somebody leads from here."""
        self.nonce, self.epoch, self.carried = claim.nonce, epoch, False

    def restored(self, said: Restored, gone: Gone) -> str | None:
        """Its writer says that it has written all it remembers; gives what is untrue about it."""
        self.restored_to = max(self.restored_to, (said.known_epoch, said.up_to))
        if said.nonce != self.nonce:
            return None  # carried forward, or of a leader that is deposed
        self.carried = False
        if self.epoch <= said.known_epoch:
            return f"{said.by} reigns as {self.epoch} and remembers {said.known_epoch} (R2)"
        if missing := gone.missing(said.by, (said.known_epoch, said.up_to)):
            return f"{said.by} says it has written all up to {said.up_to}, and of {missing[:5]} the ledger says nothing (R15)"
        gone.restored(said.by, (said.known_epoch, said.up_to))
        return None
