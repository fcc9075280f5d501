"""What is measured, as data. The same seeds, sizes and layouts for everybody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from statistics import fmean, quantiles
from typing import Any, Literal

Figures = dict[str, float]

OURS = "ours"
FLOORS = ("relay", "bare")
"""Not peers: what the hops, or the CPU, allow."""
PEERS = ("celery", "dramatiq", "taskiq", "faststream", "dask", "ray")
CONTESTANTS = (OURS, *FLOORS, *PEERS)

ALPHA, LONGEST = 1.1, 1000.0
"""Bounded Pareto: the exponent, and the longest over the shortest. Then a tenth of the tasks are two thirds of the work."""


@dataclass(frozen=True)
class Layout:
    """How many instances, how many tasks each at once, and what is special."""

    name: str
    instances: int
    slots: int
    more: dict[str, Any] = field(default_factory=dict)


WIDE = Layout("two instances, 500 slots each", 2, 500)
FOUR = Layout("four instances, one slot each", 4, 1, {"sort": True})
LAME = Layout("four instances, one slot each, one of them ten times slower", 4, 1, {"slow": 10.0, "spread": True})
BUSY = Layout("two instances, one CPU-bound task each", 2, 1, {"cpu": True})
TEN = Layout("ten idle instances", 10, 1)


@dataclass(frozen=True)
class Workload:
    """One thing that is measured."""

    letter: str
    title: str
    layout: Layout
    who: tuple[str, ...]
    order: Callable[[str, bool], dict[str, Any]]
    """What the driver is told, for this contestant, in short or in full."""
    judge: Callable[[dict[str, Any], dict[str, Any]], Figures]
    """What its answer to that order says."""
    figure: str
    """The one that is compared."""
    better: Literal["more", "less"]
    usage: bool = False
    """Look at the processes afterwards."""
    rounds_max: int = 100
    takes_s: float = 10.0
    """How long a contestant needs for it, roughly, on two cores: for saying how long a run will take."""


def heavy_tail(seed: int, tasks: int, mean_s: float, load: float, slots: int) -> list[tuple[float, float]]:
    """A Poisson stream of naps, heavy-tailed with this mean, that keeps ``slots`` busy to ``load``: [(arrives at, takes)], in s."""
    dice = Random(seed)
    raw = [bounded_pareto(dice.random()) for _ in range(tasks)]
    scale = mean_s / fmean(raw)
    at, schedule = 0.0, []
    for each in raw:
        at += dice.expovariate(load * slots / mean_s)
        schedule.append((at, each * scale))
    return schedule


def bounded_pareto(u: float) -> float:
    """The quantile ``u`` of the bounded Pareto law on [1, LONGEST] with exponent ALPHA (its distribution function, inverted)."""
    return (1 - u * (1 - LONGEST**-ALPHA)) ** (-1 / ALPHA)


def _throughput(order: dict[str, Any], answer: dict[str, Any]) -> Figures:
    told = {"tasks": order["tasks"], "tasks_per_s": order["tasks"] / answer["seconds"]}
    for role, used in answer.get("usage", {}).items():
        told[f"{role}_us"] = used["cpu_s"] / order["tasks"] * 1e6
        if role == "coordinator":
            told["coordinator_peak_mb"] = used["peak_mb"]
    return told


def _latency(order: dict[str, Any], answer: dict[str, Any]) -> Figures:
    cuts = quantiles(answer["each_ms"], n=100)
    return {"p50_ms": cuts[49], "p99_ms": cuts[98]}


def _completion(order: dict[str, Any], answer: dict[str, Any]) -> Figures:
    return {"mean_s": fmean(answer["each_s"]), "p99_s": quantiles(answer["each_s"], n=100)[98]}


def _seconds(order: dict[str, Any], answer: dict[str, Any]) -> Figures:
    return {"seconds": answer["seconds"]}


def _cost(order: dict[str, Any], answer: dict[str, Any]) -> Figures:
    told = {}
    for role in ("coordinator", "instance"):
        used = answer["usage"][role]
        told |= {f"{role}_cores": used["cpu_s"] / used["processes"] / used["elapsed_s"], f"{role}_mb": used["mb"]}
    return told


def _many(who: str, quick: bool) -> dict[str, Any]:
    return {"do": "many", "tasks": (32_000 if who == OURS else 4_000) // (2 if quick else 1)}


def _singly(who: str, quick: bool) -> dict[str, Any]:
    return {"do": "singly", "tasks": 4_000 if quick else 8_000}


def _alone(who: str, quick: bool) -> dict[str, Any]:
    return {"do": "latency", "tasks": 100 if quick else 300}


def _mix(who: str, quick: bool) -> dict[str, Any]:
    return {"do": "play", "schedule": heavy_tail(7, 300 if quick else 1_000, 0.05, 0.9, 4)}


def _lame(who: str, quick: bool) -> dict[str, Any]:
    dice = Random(11)
    at, schedule = 0.0, []
    for _ in range(600 if quick else 1_000):
        at += dice.expovariate(0.6 * 3 / 0.05)
        schedule.append((at, 0.05))
    return {"do": "play", "schedule": schedule}


def _burst(who: str, quick: bool) -> dict[str, Any]:
    return {"do": "many", "tasks": 10_000 if quick else 100_000}


def _hash(who: str, quick: bool) -> dict[str, Any]:
    return {"do": "burn", "tasks": 30 if quick else 100, "rounds": 100_000}


def _hash_longer(who: str, quick: bool) -> dict[str, Any]:
    return {"do": "burn", "tasks": 30 if quick else 60, "rounds": 400_000}


def _rest(who: str, quick: bool) -> dict[str, Any]:
    return {"do": "rest", "seconds": 5 if quick else 20}


ALL = (
    Workload("a", "no-op tasks with results, submitted concurrently", WIDE, (OURS, "relay", *PEERS), _many, _throughput,
             "tasks_per_s", "more", usage=True, takes_s=5),
    Workload("a1", "the same, one task a message", WIDE, (OURS, "relay", *PEERS), _singly, _throughput, "tasks_per_s", "more",
             takes_s=9),
    Workload("b", "a no-op on an idle system", WIDE, (OURS, "relay", *PEERS), _alone, _latency, "p50_ms", "less", takes_s=2),
    Workload("c", "heavy-tailed naps arriving at random on four slots, 90 % busy", FOUR, (OURS, *PEERS), _mix, _completion,
             "mean_s", "less", takes_s=17),
    Workload("d", "equal naps on four instances, one ten times slower", LAME, (OURS, *PEERS), _lame, _completion, "p99_s", "less",
             takes_s=30),
    Workload("e", "a burst of no-ops, far more than there are slots", WIDE, (OURS, *PEERS), _burst, _throughput,
             "tasks_per_s", "more", usage=True, rounds_max=1, takes_s=90),
    Workload("f", "hashing, two CPU-bound tasks at once", BUSY, (OURS, "bare", *PEERS), _hash, _seconds, "seconds", "less",
             takes_s=7),
    Workload("f1", "the same, each four times as long", BUSY, (OURS, "bare", *PEERS), _hash_longer, _seconds, "seconds", "less",
             takes_s=12),
    Workload("idle", "nothing to do, ten instances", TEN, (OURS,), _rest, _cost, "coordinator_cores", "less", rounds_max=1,
             takes_s=20),
)  # fmt: skip
BY_LETTER = {workload.letter: workload for workload in ALL}
