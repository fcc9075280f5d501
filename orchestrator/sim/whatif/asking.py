"""Asking: one run, or the same trace under several policies side by side, each in a process of its own."""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from orchestrator.sim.whatif import laws
from orchestrator.sim.whatif.books import Books
from orchestrator.sim.whatif.figures import figures
from orchestrator.sim.whatif.fleet import Fleet
from orchestrator.sim.whatif.question import Question
from orchestrator.sim.whatif.world import World
from orchestrator.traces import Trace
from orchestrator.vocabulary import Nanos, service_of

WATCH_S = 0.2
COLLECT_EVERY = 500_000
"""Objects made before the collector looks for circles: there are hardly any, and it would walk hundreds of thousands of tasks."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one question."""

    figures: Mapping[str, Any]
    start_ns: Sequence[Nanos]
    """When each task of the trace first ran, on the trace's clock; -1: never."""
    finish_ns: Sequence[Nanos]
    """When it was done; -1: it did not end well."""


def ask(trace: Trace, fleet: Fleet, question: Question, warm_up: int = 0, watch: Callable[[int], None] | None = None) -> Answer:
    """Run it to its end and look at what came. ``watch`` hears now and then how many tasks are still to end.

    Raises LawBroken, AssertionError: a run that cannot be.
    """
    books = run(trace, fleet, question, watch)
    told = figures(books, fleet, services(trace), warm_up) | laws.check(books, question.delay_ns)
    return Answer(told, books.start_ns, books.finish_ns)


def run(trace: Trace, fleet: Fleet, question: Question, watch: Callable[[int], None] | None = None) -> Books:
    """Run it to its end."""
    before = gc.get_threshold()
    gc.set_threshold(COLLECT_EVERY, 10, 10)
    try:
        return World(trace, fleet, question).run(watch)
    finally:
        gc.set_threshold(*before)


def services(trace: Trace) -> int:
    """How many services its tasks are of."""
    return len({service_of(task.type) for task in trace.tasks})


def ask_all(
    trace: Trace,
    fleet: Fleet,
    questions: Mapping[str, Question],
    warm_up: int = 0,
    jobs: int = 1,
    watch: Callable[[str, int], None] = lambda name, left: None,
) -> Iterator[tuple[str, Answer]]:
    """All of these, up to ``jobs`` at a time, as they end. ``watch`` hears of each how many tasks are still to end."""
    if jobs == 1 or len(questions) == 1:
        for name, question in questions.items():
            yield name, ask(trace, fleet, question, warm_up, lambda left, name=name: watch(name, left))  # type: ignore[misc]
        return
    names = list(questions)
    left = multiprocessing.get_context("spawn").Array("q", [len(trace.tasks)] * len(names))
    with ProcessPoolExecutor(
        min(jobs, len(names)), multiprocessing.get_context("spawn"), _share, (left, trace, fleet, warm_up)
    ) as pool:
        under_way: dict[Future[Answer], str] = {
            pool.submit(_ask_here, index, questions[name]): name for index, name in enumerate(names)
        }
        while under_way:
            ended, _ = wait(under_way, WATCH_S, FIRST_COMPLETED)
            for index, name in enumerate(names):
                watch(name, left[index])
            for one in ended:
                yield under_way.pop(one), one.result()


_shared: tuple[Any, Trace, Fleet, int]


def _share(left: Any, trace: Trace, fleet: Fleet, warm_up: int) -> None:
    """In each process: what all its questions are about."""
    global _shared
    _shared = (left, trace, fleet, warm_up)


def _ask_here(index: int, question: Question) -> Answer:
    left, trace, fleet, warm_up = _shared

    def watch(count: int) -> None:
        left[index] = count

    return ask(trace, fleet, question, warm_up, watch)
