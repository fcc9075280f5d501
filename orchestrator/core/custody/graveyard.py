"""What is remembered of ended tasks, and for how long.

Law: an id is remembered for the dedup window (R11); a result up to a bound in bytes, the oldest go first. Longer, and whole, what
others need that live (R13, R16): it is *pinned*. And what holds a key, as long as it does: its id always, its result within a bound
of its own.
"""

from __future__ import annotations

from collections import deque

from orchestrator.core import rules
from orchestrator.core.custody.records import Grave
from orchestrator.core.custody.sizes import error_bytes, failure_bytes
from orchestrator.core.tasks.families import Families
from orchestrator.core.tasks.keys import Keys
from orchestrator.vocabulary import NS_PER_S, Nanos, TaskId
from orchestrator.wire.messages import Result

KEPT_BYTES = 200
"""What a result takes besides what it says."""
SPARE_KEPT = 1_000
"""So many more than twice the ids that are remembered may be noted as kept before what is void among them is dropped."""
LEAST_WINDOW_NS: Nanos = 60 * NS_PER_S
"""R11: no id is forgotten earlier, however many there are: it exceeds any deposed session's life (10 s)."""


class Graveyard:
    """The graves, and what keeps each of them."""

    def __init__(self, families: Families, keys: Keys, results_bytes_max: int) -> None:
        self.graves: dict[TaskId, Grave] = {}
        self.pinned: dict[TaskId, int] = {}
        """Those that are needed by tasks that live: kept whole, with the bytes that takes in the ledger."""
        self.pinned_bytes = 0
        self.shortened = 0
        """Ids that were forgotten before their window was over, since there were too many."""
        self._families = families
        self._keys = keys
        self._results_bytes_max = results_bytes_max
        self._results_bytes = 0
        self._kept: deque[TaskId] = deque()
        """Whose results are within the bound, in the order in which they are given up."""
        self._burials: deque[TaskId] = deque()
        self._complete = False
        """Whether all that live are known: of a ledger that is read from its middle not before what was carried forward is read."""
        self._early: dict[TaskId, None] = {}
        """Ends that others need, said their writers, of which none is known yet: their results are kept like pinned ones."""
        self._unkept: dict[TaskId, None] = {}
        """Needed ones whose result is beyond the bound, and would be given up otherwise."""
        self._spared: dict[TaskId, None] = {}
        """Those, and such as hold a key, whose id would be forgotten otherwise: they stand in ``_burials`` no more. Both are judged
        again when they are not needed any more."""

    def bury(self, task: TaskId, grave: Grave, *, heirs: bool) -> None:
        """The task is over: its id is remembered for a while, longer and whole if others need it.

        ``heirs``: so says the ledger, though we may not know them yet: a record carried forward stands behind its parent's end.
        """
        result, keys = grave.result, self._keys
        if (former := self.graves.get(task)) is not None:
            self._results_bytes -= former.kept_bytes
            self._unkept.pop(task, None)
            self._spared.pop(task, None)
        self.graves[task] = grave
        if task in self.pinned:
            self.pinned_bytes -= self.pinned.pop(task)
        self._burials.append(task)
        if task in keys.by_task:
            follows = result is not None and result.first is not None
            keys.over(task, grave.at_ns if grave.outcome == "done" and not follows else None)
        has_children = task in self._families.children and self._families.over(task)
        if heirs and not has_children and not (self._complete and task in keys.followers):
            self._early[task] = None
        if has_children or task in keys.followers:
            self.pin(task)
        if result is not None:
            if task in keys.by_task:
                keys.weigh(task, len(result.value or b""))
            self._keep_result(task, grave)

    def pin(self, task: TaskId) -> None:
        """A task that lives needs this one: if it is over it is kept whole."""
        grave = self.graves.get(task)
        if self._families.needs(task):
            self._early.pop(task, None)
        if grave is not None and task not in self.pinned:
            self.pinned[task] = size = _weight(grave.result)
            self.pinned_bytes += size

    def unpin(self, task: TaskId) -> None:
        """One that needed it does not any more."""
        if not self.needed(task):
            self.pinned_bytes -= self.pinned.pop(task, 0)
            self._judge_again(task)

    def needed(self, task: TaskId) -> bool:
        """Whether tasks that live need what the end of this one says."""
        return task in self._keys.followers or self._families.needs(task)

    def caught_up(self) -> None:
        """All that live are known: of whose end no child is known, it has none."""
        self._complete = True
        early, self._early = self._early, {}
        for task in early:
            self._judge_again(task)

    @property
    def oldest_ns(self) -> Nanos | None:
        """When the task ended whose id will be forgotten next; 0: look at once; none: no id is remembered."""
        if not self._burials:
            return None
        grave = self.graves.get(self._burials[0])
        return 0 if grave is None else grave.at_ns

    def forget(self, now: Nanos, window_ns: Nanos, most: int) -> None:
        """Ids that ended longer ago than the dedup window; while there are more than ``most``, than the least such window."""
        self._keys.expire(now)
        self._let_go()
        least_ns = min(window_ns, LEAST_WINDOW_NS)
        while self._burials:
            task = self._burials[0]
            grave = self.graves.get(task)
            if grave is not None:
                span_ns = window_ns if len(self.graves) <= most else least_ns
                if not rules.r11_forgettable(grave, now, span_ns):
                    break
                self.shortened += span_ns < window_ns and not rules.r11_forgettable(grave, now, window_ns)
            self._burials.popleft()
            if task in self.pinned or task in self._keys.by_task:
                self._spared[task] = None
            elif grave is not None:
                self._early.pop(task, None)
                self._unkept.pop(task, None)
                self._results_bytes -= grave.kept_bytes
                del self.graves[task]
                self._families.forget(task, grave.workflow)
        while self._kept and self._kept[0] not in self.graves:
            self._kept.popleft()
        if len(self._kept) > 2 * len(self.graves) + SPARE_KEPT:  # they stand behind one that is needed for long
            kept = dict.fromkeys(self._kept)
            self._kept = deque(task for task in kept if (grave := self.graves.get(task)) is not None and grave.kept_bytes)

    def _judge_again(self, task: TaskId) -> None:
        spared, unkept = task in self._spared, task in self._unkept
        if spared:
            del self._spared[task]
            self._burials.appendleft(task)
        if unkept:
            del self._unkept[task]
        if (spared or unkept) and (grave := self.graves[task]).result is not None:
            self._keep_result(task, grave)

    def _keep_result(self, task: TaskId, grave: Grave) -> None:
        """Results of ended tasks, and the stories of failed ones, stay at hand for whoever asks again, up to a bound in bytes; the
        oldest go first.
        """
        if grave.kept_bytes:
            return
        size = KEPT_BYTES + _weight(grave.result)
        if grave.story:
            size += sum(map(failure_bytes, grave.story))
        grave.kept_bytes = size
        self._kept.append(task)
        self._results_bytes += size
        while self._results_bytes > self._results_bytes_max:
            oldest = self._kept.popleft()
            if (other := self.graves.get(oldest)) is None:
                continue
            size, other.kept_bytes = other.kept_bytes, 0
            self._results_bytes -= size
            if oldest in self.pinned or oldest in self._early:
                self._unkept[oldest] = None
            elif oldest in self._keys.by_task:
                self._keys.keep(oldest, size)
            else:
                _empty(other)
        if self._keys.dropped:
            self._let_go()

    def _let_go(self) -> None:
        """What was kept for keys and need not be any more."""
        keys = self._keys
        dropped, keys.dropped, freed, keys.freed = keys.dropped, [], keys.freed, []
        for task in dropped:
            if task in self.pinned or task in self._early:
                self._unkept[task] = None
            elif (grave := self.graves.get(task)) is not None:
                _empty(grave)
                keys.weigh(task, 0)
        for task in freed:
            if task in self._spared and task not in self.pinned and task not in self._early:
                del self._spared[task]
                self._burials.appendleft(task)


def _empty(grave: Grave) -> None:
    """Only the id is remembered from now on."""
    grave.result, grave.story = None, ()


def _weight(result: Result | None) -> int:
    """Bytes of a result in the ledger."""
    if result is None:
        return 0
    size = 0 if result.value is None else len(result.value)
    return size if result.error is None else size + error_bytes(result.error)
