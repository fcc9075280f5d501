"""What an agent has to say: reports (kept until released), checkpoints, notes.

Two lanes, each with *one publish under way at a time*: what arrives meanwhile forms the next message (group
commit). So a lone report leaves at once, and ten thousand leave in a few messages; no timer decides.

* ``reports``: durable. A report is *owed* when it must be published (the first time, after a failed publish, at
  a sync) and
  *kept* until released. Order is the order of finishing.
* ``notes``: soft. ``stopped`` and ``refused`` leave as soon as the lane is free. ``started`` and ``progress``
  travel along, and otherwise wait until no publish of reports is under way; ``started`` also waits for its moment
  (``Limits.started_ns``): a short job's report then overtakes its ``started``, which is not sent. A ``stopped`` waits
  for the confirm of its attempt's checkpoint: or the next attempt would start without it.
"""

from __future__ import annotations

from msgspec import Struct

from orchestrator.vocabulary import Attempt, Nanos
from orchestrator.wire.messages import Checkpoint, Holding, Note, Report
from workers.core import rules
from workers.core.holdings import held_bytes
from workers.core.profile import Limits

_ENVELOPE = 512
"""Bytes of a message beside its items, from above."""
_URGENT_MAX = 50_000
"""Answers that wait to be said. One message of a leader that is not obeyed may ask for twenty thousand."""
_ITEM = 256
"""Bytes of a report or checkpoint beside its id and texts, from above."""


class Kept(Struct, frozen=True):
    """A finished attempt: its report and what it takes on the wire, from above."""

    report: Report
    bytes: int


class _UnderWay(Struct, frozen=True):
    since_ns: Nanos
    token: int
    reports: tuple[Attempt, ...]
    checkpoints: tuple[Checkpoint, ...]


def report_bytes(report: Report) -> int:
    """What a report takes in a message, from above."""
    size = _ITEM + len(report.task) + len(report.value or b"")
    if report.error is not None:
        size += sum(len(text.encode()) for text in (report.error.kind, report.error.message, report.error.trace))
    return size


def _checkpoint_bytes(checkpoint: Checkpoint) -> int:
    return _ITEM + len(checkpoint.task) + len(checkpoint.state)


def _goes_on(report: Report) -> bool:
    """Whether the task may be tried again, from the last checkpoint of this attempt: that leaves before the report, or with it."""
    return report.outcome == "failed" and report.retry


class Outbox:
    """Owns every word that has not left, or has left and may be needed again."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.kept: dict[Attempt, Kept] = {}
        """Finished and not released, in order of finishing."""
        self.kept_bytes = 0
        self.held_bytes = 0
        """Room that the kept ones take in ``Held``."""
        self.owed: dict[Attempt, None] = {}
        """Those of ``kept`` to be published (again)."""
        self._said: dict[Attempt, Nanos] = {}
        """When those of ``kept`` last left, the longest ago first."""
        self.checkpoints: dict[Attempt, Checkpoint] = {}
        """To be published; the newest of each attempt."""
        self.under_way: _UnderWay | None = None
        self.notes_token = 0
        """Of the notes under way; 0: none."""
        self._urgent: list[Note] = []
        self.behind: dict[Attempt, Note] = {}
        """Attempts that have stopped, which is said once their last checkpoint has arrived."""
        self._stopped: dict[Attempt, Note] = {}
        """Those of which it is being said, with the checkpoint that their tasks must wait for."""
        self._started: dict[Attempt, Note] = {}
        self._started_due_ns: Nanos = 0
        """The first of these may leave from then on, and takes the others along."""
        self._progress: dict[Attempt, Note] = {}
        self._progress_due_ns: Nanos = 0
        """Progress may leave from then on."""
        self._retry_ns: Nanos = 0
        """After a failed publish: not before then."""
        self._tokens = 0

    # --- what is to be said -----------------------------------------------------------------------

    def report(self, report: Report) -> None:
        """An attempt is finished."""
        kept = Kept(report, report_bytes(report))
        self.kept[report.attempt] = kept
        self.kept_bytes += kept.bytes
        self.held_bytes += held_bytes(report.task)
        self.owed[report.attempt] = None
        self._started.pop(report.attempt, None)
        self._progress.pop(report.attempt, None)
        if not _goes_on(report):
            self.checkpoints.pop(report.attempt, None)

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Work worth keeping; a newer one replaces one that has not left."""
        self.checkpoints[checkpoint.attempt] = checkpoint

    def note(self, note: Note) -> None:
        """A soft word."""
        if note.what == "progress":
            self._progress[note.attempt] = note
        else:
            self._started.pop(note.attempt, None)
            self._progress.pop(note.attempt, None)
            if note.what == "stopped" and self._checkpoint_pending(note.attempt):
                self.behind[note.attempt] = note
            elif (
                len(self._urgent) < _URGENT_MAX
            ):  # of more than that somebody else is to blame: whoever misses an answer asks again
                self._urgent.append(note)

    def started(self, note: Note, due_ns: Nanos) -> None:
        """A soft word, for which there is time until ``due_ns``."""
        self._started_due_ns = min(due_ns, self._started_due_ns) if self._started else due_ns
        self._started[note.attempt] = note

    def release(self, attempt: Attempt) -> None:
        """The coordinator has this report in its ledger (or the attempt is over for it)."""
        kept = self.kept.pop(attempt, None)
        if kept is not None:
            self.kept_bytes -= kept.bytes
            self.held_bytes -= held_bytes(kept.report.task)
            self.checkpoints.pop(attempt, None)
            self.owed.pop(attempt, None)
            self._said.pop(attempt, None)

    def owe(self, attempt: Attempt) -> None:
        """Send this report again (unless it is on its way just now)."""
        if attempt in self.kept and not (self.under_way and attempt in self.under_way.reports):
            self.owed[attempt] = None

    def owe_all(self) -> None:
        """Send every unreleased report again: a sync asked.

        Also those on their way: whoever led before may have taken them from the queue, and hold them until it is closed.
        """
        self.owed = dict.fromkeys(self.kept)

    def owe_unheard(self, now_ns: Nanos) -> None:
        """Send again what left long ago and nobody has released: its queue may have been emptied, the release was lost, or with a
        node of the broker its answer to the publish."""
        if self.under_way is not None and now_ns - self.under_way.since_ns >= self._limits.resend_ns:
            self.flushed(self.under_way.token, False, now_ns)
        for attempt, said_ns in list(self._said.items()):
            if now_ns - said_ns < self._limits.resend_ns:
                return
            del self._said[attempt]
            self._said[attempt] = now_ns
            self.owe(attempt)

    def incarnation_ended(self) -> None:
        """Nothing under way comes back. Reports stay; soft words and checkpoints of stopped attempts do not."""
        self.under_way, self.notes_token, self._retry_ns = None, 0, 0
        self.owed.clear()
        self._said.clear()
        self.checkpoints.clear()
        self._urgent.clear()
        self.behind.clear()
        self._stopped.clear()
        self._started.clear()
        self._progress.clear()

    # --- what leaves ------------------------------------------------------------------------------

    def take_reports(self, now_ns: Nanos) -> tuple[list[Report], list[Checkpoint]]:
        """The next durable message, within its limits; empty if one is under way or there is nothing to say."""
        if self.under_way is not None or now_ns < self._retry_ns or not (self.owed or self.checkpoints):
            return [], []
        room = self._limits.body_bytes_max - _ENVELOPE
        reports: list[Report] = []
        checkpoints: list[Checkpoint] = []
        for attempt in self.owed:
            kept, checkpoint = self.kept[attempt], self.checkpoints.get(attempt)
            size = kept.bytes + (_checkpoint_bytes(checkpoint) if checkpoint else 0)
            items = len(reports) + len(checkpoints) + (2 if checkpoint else 1)
            if (reports or checkpoints) and (size > room or items > self._limits.items_max):
                break
            room -= size
            if checkpoint is not None:  # in a message checkpoints are read first
                checkpoints.append(checkpoint)
                if room < 0:
                    break  # the two fit no message: its report comes with the next
            reports.append(kept.report)
        taken = {checkpoint.attempt for checkpoint in checkpoints}
        for checkpoint in self.checkpoints.values():
            if checkpoint.attempt in taken:
                continue
            size = _checkpoint_bytes(checkpoint)
            full = len(reports) + len(checkpoints) >= self._limits.items_max
            if ((reports or checkpoints) and size > room) or full:
                break
            checkpoints.append(checkpoint)
            room -= size
        for report in reports:
            del self.owed[report.attempt]
            self._said.pop(report.attempt, None)
            self._said[report.attempt] = now_ns
        for checkpoint in checkpoints:
            del self.checkpoints[checkpoint.attempt]
        self.under_way = _UnderWay(now_ns, self._next_token(), tuple(report.attempt for report in reports), tuple(checkpoints))
        return reports, checkpoints

    def take_notes(self, now_ns: Nanos) -> list[Note]:
        """The next soft message; empty if one is under way or nothing is to be said now."""
        if self.notes_token:
            return []
        progress_due = bool(self._progress) and now_ns >= self._progress_due_ns
        started_due = bool(self._started) and now_ns >= self._started_due_ns
        calm = self.under_way is None
        if not self._urgent and not (calm and (started_due or progress_due)):
            return []
        waiting = [*self._urgent, *self._started.values()]
        if progress_due:
            waiting += self._progress.values()
            self._progress_due_ns = now_ns + self._limits.progress_ns
        notes = self._fitting(waiting)
        urgent = min(len(notes), len(self._urgent))
        del self._urgent[:urgent]
        self._stopped = {note.attempt: note for note in notes[:urgent] if note.what == "stopped" and note.saved}
        for note in notes[urgent:]:
            del (self._started if note.what == "started" else self._progress)[note.attempt]
        self.notes_token = self._next_token()
        return notes

    def _fitting(self, notes: list[Note]) -> list[Note]:
        room = self._limits.body_bytes_max - _ENVELOPE
        for index, note in enumerate(notes):
            room -= _ITEM + len(note.task) + len(note.text.encode())
            if index and (room < 0 or index >= self._limits.items_max):
                return notes[:index]
        return notes

    def flushed(self, token: int, ok: bool, now_ns: Nanos) -> int:
        """A publish came back. Returns how many of its items must be published again (after a beat's time)."""
        if token == self.notes_token:
            self.notes_token = 0  # a lost note is nobody's loss: what matters is asked again
            self._stopped.clear()
            return 0
        flight = self.under_way
        if flight is None or token != flight.token:
            return 0  # of a former incarnation
        self.under_way = None
        if ok:
            for attempt in flight.reports:
                if not rules.keeps_until_released(released=False):
                    self.release(attempt)
            self._let_stopped_go()
            return 0
        self._retry_ns = now_ns + self._limits.beat_ns
        for attempt in flight.reports:
            if attempt in self.kept:
                self.owed[attempt] = None
        for checkpoint in flight.checkpoints:
            kept = self.kept.get(checkpoint.attempt)
            if kept is None or _goes_on(kept.report):
                self.checkpoints.setdefault(checkpoint.attempt, checkpoint)
        return len(flight.reports) + len(flight.checkpoints)

    # --- looking in -------------------------------------------------------------------------------

    def holdings(self) -> list[Holding]:
        """How a sync answer shows the finished ones, and those that have stopped, which cannot be said yet."""
        finished = [Holding(kept.report.task, attempt, "finished") for attempt, kept in self.kept.items()]
        unsaid = [note for note in self._urgent if note.what == "stopped" and note.saved]
        return finished + [Holding(note.task, note.attempt, "running") for note in (*self.behind.values(), *unsaid)]

    def listed(self) -> list[Attempt]:
        """What a beat must list of these: also whatever has stopped, until the broker has the word that says what it saved.

        The beat travels on its own and overtakes that word; an attempt that it does not list is over, whatever it has saved.
        """
        unsaid = [note.attempt for note in self._urgent if note.what == "stopped" and note.saved]
        return [*self.kept, *self.behind, *unsaid, *self._stopped]

    def deadline_ns(self) -> Nanos | None:
        """When something that waits for a time, and for no publish to come back, may leave."""
        if self.under_way is not None:
            return None
        if self.owed or self.checkpoints:
            return self._retry_ns
        if self.notes_token or not (self._progress or self._started):
            return None
        if not (self._progress and self._started):
            return self._progress_due_ns if self._progress else self._started_due_ns
        return min(self._progress_due_ns, self._started_due_ns)

    @property
    def has_urgent(self) -> bool:
        """Whether an answer waits to be said."""
        return bool(self._urgent)

    @property
    def waits(self) -> bool:
        """Whether a word is left that a publish under way may be holding back."""
        return bool(self._urgent or self._started or self.owed or self.checkpoints or self.behind or self._progress)

    @property
    def quiet(self) -> bool:
        """Nothing to say, nothing under way, nothing unreleased."""
        return not (self.kept or self.waits or self.notes_token) and self.under_way is None

    def _next_token(self) -> int:
        self._tokens += 1  # never used again, so that what comes back late fits nothing
        return self._tokens

    def _checkpoint_pending(self, attempt: Attempt) -> bool:
        flying = self.under_way.checkpoints if self.under_way else ()
        return attempt in self.checkpoints or any(checkpoint.attempt == attempt for checkpoint in flying)

    def _let_stopped_go(self) -> None:
        for attempt in [attempt for attempt in self.behind if not self._checkpoint_pending(attempt)]:
            self._urgent.append(self.behind.pop(attempt))
