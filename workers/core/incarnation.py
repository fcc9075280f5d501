"""One connection's worth of an agent: whom it obeys, what it says, until when it may start work.

A new connection is a new incarnation with a new name, so nothing of the last one (orders under way, echoes,
numbers) can be mistaken for its own.
"""

from __future__ import annotations

from random import Random

from orchestrator.vocabulary import Attempt, Nanos, TaskId
from orchestrator.wire.messages import MOST_BEFORE, Beat, Echo, Held, Notes, Orders, Reports
from workers.core import rules
from workers.core.commands import Publish
from workers.core.out import Out
from workers.core.profile import Limits, Profile
from workers.core.window import Window
from workers.core.work import Work

SYNC = "sync"
"""Stands for the task in the refusal of a sync, which concerns no task."""

REFUSED_MAX = 64
"""So many epochs that are not obeyed hear it between two beats: who says more of them at a time is no leader."""


class Former:
    """Names of an agent's earlier incarnations, so that it can say whose heir it is. Bounded: those that never served go first."""

    def __init__(self) -> None:
        self._names: dict[str, bool] = {}

    def was(self, name: str, *, served: bool) -> None:
        """One more is over. ``served``: a leader had taken it in, so it may be waited for."""
        self._names[name] = served
        if len(self._names) > MOST_BEFORE:
            del self._names[next((one for one, counted in self._names.items() if not counted), next(iter(self._names)))]

    @property
    def names(self) -> tuple[str, ...]:
        """Oldest first."""
        return tuple(self._names)


class Incarnation:
    """Lives from ``Connected`` to the end of the connection or the missed window."""

    def __init__(
        self,
        name: str,
        highest_epoch: int,
        now_ns: Nanos,
        profile: Profile,
        limits: Limits,
        random: Random,
        work: Work,
        out: Out,
        before: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.before = before
        """What its agent was called before: nothing of these runs (R5)."""
        self.epoch = 0
        """The one that is obeyed; 0: no sync answered yet."""
        self.highest_epoch = highest_epoch
        """Ever obeyed by this process."""
        self.drained = 0
        """The last ``Orders.seq`` of the obeyed epoch that was handled."""
        self.window = Window()
        self.beat_ns = now_ns
        """When the next beat is due."""
        self._refused: set[int] = set()
        """Epochs that are not obeyed and heard it since the last beat."""
        self._profile = profile
        self._limits = limits
        self._random = random
        self._work = work
        self._out = out

    # --- hearing ----------------------------------------------------------------------------------

    def ordered(self, now_ns: Nanos, orders: Orders, draining: bool) -> bool:
        """Do what the leader says, if it is the one to obey. Returns whether it wants a drain.

        Releases come first, assignments before stops: a stop in the same orders recalls an assignment in them.
        """
        stale = orders.epoch == self.epoch and rules.is_stale(orders.seq, self.drained)
        synced = orders.sync and rules.answers_sync(orders.epoch, self.highest_epoch)
        if synced:
            self._follow(now_ns, orders)
        elif orders.sync:
            self._out.tell("epoch_refused", orders.epoch)
            self._disobey(SYNC, Attempt(orders.epoch, 0))
        if not rules.obeys(orders.epoch, self.epoch):
            for item in orders.assign[:1]:
                self._disobey(item.task, Attempt(orders.epoch, item.n))
            return False
        self.drained = max(self.drained, orders.seq)
        if orders.notice:
            self._out.tell("no_work", text=orders.notice)
        if orders.heard:
            self.window.heard(orders.heard, orders.epoch)
        for attempt in orders.release:
            self._work.outbox.release(attempt)
        refusal = "stale" if stale else "draining" if draining or orders.drain else ""
        for item in orders.assign:
            if refusal:
                self._work.refuse(item.task, Attempt(orders.epoch, item.n), self.epoch, refusal)
            else:
                self._work.assigned(now_ns, orders.epoch, item)
        for stop in orders.stop:
            self._work.stop_ordered(now_ns, stop)
        if synced:
            self._answer(now_ns)
        return orders.drain

    def _disobey(self, task: TaskId, attempt: Attempt) -> None:
        """Whoever is not obeyed hears which epoch is, once between two beats: all that he had to know. A word for each of his
        assignments would be thousands for one message of anybody's; what he believes of them our answer to his sync puts right.
        """
        if attempt.epoch not in self._refused and len(self._refused) < REFUSED_MAX:
            self._refused.add(attempt.epoch)
            self._work.refuse(task, attempt, self.highest_epoch, "epoch")

    def _follow(self, now_ns: Nanos, orders: Orders) -> None:
        """R2: obey this epoch from now on."""
        if orders.epoch != self.epoch:
            self._out.tell("joined", orders.epoch)
            self.epoch, self.drained = orders.epoch, 0
            self.highest_epoch = max(self.highest_epoch, orders.epoch)
        self.drained = max(self.drained, orders.seq)
        self.window.sync(orders.lease_ns, now_ns)

    def _answer(self, now_ns: Nanos) -> None:
        """Say who we are and what is held, send every unreleased report again.

        After everything else in the orders that asked: the answer says that they are drained, so it must count what they assigned.
        """
        seq = self.window.number(now_ns)
        self._out.do(Publish(self._profile.announcement(self.name)))  # a new leader may never have heard it
        self._out.do(Publish(Held(self.name, seq, self.epoch, self.drained, self._work.held(), list(self.before))))
        self._work.outbox.owe_all()

    def echoed(self, echo: Echo) -> None:
        """R9: only the leader that is obeyed renews the window."""
        heard = echo.heard.get(self.name)
        if heard is not None and rules.renews(echo.epoch, self.epoch):
            self.window.heard(heard, echo.epoch)

    # --- speaking ---------------------------------------------------------------------------------

    def speak(self, now_ns: Nanos, draining: bool) -> None:
        """The beat if it is due, one message of reports and one of notes if they may leave."""
        if now_ns >= self.beat_ns:
            self._beat(now_ns, draining)
        if not self.epoch and not self._work.outbox.has_urgent:
            return  # reports wait for a sync; only a refusal may be said before
        outbox = self._work.outbox
        if self.epoch:
            reports, checkpoints = outbox.take_reports(now_ns)
            if outbox.under_way is not None and (reports or checkpoints):
                self._out.do(Publish(Reports(self.name, reports, checkpoints), True, outbox.under_way.token))
        notes = outbox.take_notes(now_ns)
        if notes:
            self._out.do(Publish(Notes(self.name, notes, self.drained), False, outbox.notes_token))

    def _beat(self, now_ns: Nanos, draining: bool) -> None:
        jitter = self._limits.beat_jitter * (2 * self._random.random() - 1)
        self.beat_ns = now_ns + round(self._limits.beat_ns * (1 + jitter))
        self._refused.clear()
        if not self.epoch:
            self._out.do(Publish(self._profile.announcement(self.name)))
        elif now_ns < self.permit_until_ns():  # a leader lives who could have released them
            self._work.outbox.owe_unheard(now_ns)
        seq = self.window.number(now_ns)
        listed, load = self._work.listed(), self._work.load()
        self._out.do(Publish(Beat(self.name, seq, self.epoch, self.drained, listed, load, draining)))

    # --- time -------------------------------------------------------------------------------------

    def missed(self, now_ns: Nanos) -> bool:
        """R6: whether the window was open and has run out."""
        return rules.window_missed(now_ns, self.window.until_ns)

    def permit_until_ns(self) -> Nanos:
        """Until when handlers may be called; 0: not at all."""
        return self.window.until_ns if self.epoch and self.window.epoch == self.epoch else 0

    def deadline_ns(self) -> Nanos:
        """When time alone makes it speak or end."""
        due_ns, until_ns = self.beat_ns, self.window.until_ns
        if until_ns and until_ns < due_ns:
            due_ns = until_ns
        speaks_ns = self._work.outbox.deadline_ns() if self.epoch else None
        return speaks_ns if speaks_ns is not None and speaks_ns < due_ns else due_ns
