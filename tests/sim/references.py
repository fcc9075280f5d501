"""Queues of a page each, written from their definitions and without a line of the project: what the simulator is held to.

Each takes arrivals and sizes in whole nanoseconds, in order of arrival, and gives starts and ends. Of two things in one moment an
arrival is known before a decision; ties go by arrival.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from random import Random

NS = 10**9
Times = list[int]


def arrivals(tasks: int, rate: float, seed: object, law: str = "exp") -> tuple[Times, Times]:
    """A Poisson process, and sizes of mean 1 s: exponential, Erlang of two stages, or all the same."""
    gaps, sizes = Random(f"{seed}/gaps"), Random(f"{seed}/sizes")
    at, came = 0.0, []
    for _ in range(tasks):
        at += gaps.expovariate(rate)
        came.append(round(at * NS))
    draw = {"exp": lambda: sizes.expovariate(1.0), "erlang2": lambda: sizes.gammavariate(2.0, 0.5), "det": lambda: 1.0}[law]
    return came, [max(1, round(draw() * NS)) for _ in range(tasks)]


def ordered(came: Sequence[int], sizes: Sequence[int], servers: int, key: Callable[[int], float]) -> tuple[Times, Times]:
    """Who has the smallest key goes next, to the end (FIFO, SJF, priorities)."""
    starts, ends = [0] * len(came), [0] * len(came)
    waiting: list[tuple[float, int]] = []
    busy = [0] * servers
    """When each server is free."""
    nth = 0
    while nth < len(came) or waiting:
        free_ns = heappop(busy)
        if not waiting and came[nth] > free_ns:
            free_ns = came[nth]
        while nth < len(came) and came[nth] <= free_ns:
            heappush(waiting, (key(nth), nth))
            nth += 1
        _, one = heappop(waiting)
        starts[one], ends[one] = free_ns, free_ns + sizes[one]
        heappush(busy, ends[one])
    return starts, ends


def shortest_remaining(came: Sequence[int], sizes: Sequence[int]) -> tuple[Times, Times]:
    """SRPT on one server: at every moment the task with least left; a running one yields to a strictly shorter one."""
    starts, ends = [-1] * len(came), [0] * len(came)
    waiting: list[tuple[int, int]] = []
    now, nth = 0, 0
    while nth < len(came) or waiting:
        if not waiting:
            now = came[nth]
        while nth < len(came) and came[nth] <= now:
            heappush(waiting, (sizes[nth], nth))
            nth += 1
        left, one = waiting[0]
        if starts[one] < 0:
            starts[one] = now
        until = now + left
        if nth < len(came) and came[nth] < until:
            heappop(waiting)
            heappush(waiting, (left - came[nth] + now, one))
            now = came[nth]
        else:
            heappop(waiting)
            ends[one] = now = until
    return starts, ends


def mean_s(came: Sequence[int], ends: Sequence[int], warm_up: int) -> float:
    """Mean response, in seconds, the first ``warm_up`` left out."""
    spans = [end - at for at, end in zip(came[warm_up:], ends[warm_up:], strict=True)]
    return sum(spans) / len(spans) / NS


def two_choices(came: Sequence[int], sizes: Sequence[int], queues: int, seed: object) -> Times:
    """Each task joins the shorter of two queues that are drawn, different ones, and waits there in order of arrival: its end."""
    dice = Random(f"{seed}/choices")
    ends: Times = []
    there: list[deque[int]] = [deque() for _ in range(queues)]
    """When those that are in each queue will be gone."""
    for at, size in zip(came, sizes, strict=True):
        pair = [there[one] for one in dice.sample(range(queues), 2)]
        for queue in pair:
            while queue and queue[0] <= at:
                queue.popleft()
        queue = min(pair, key=len)
        ends.append(max(at, queue[-1] if queue else 0) + size)
        queue.append(ends[-1])
    return ends
