"""The work: tasks, when they are submitted, and what becomes of each try.

Law: what a try does follows from the task and the number of the try alone, never from who runs it or when. So the same work can
be given to another world: a run of the past, with its run times, is a ``Workload`` like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from dataclasses import replace as but
from random import Random
from typing import Any, Literal, TypeAlias

from msgspec.structs import replace

from orchestrator.sim.timeline import dice
from orchestrator.vocabulary import NS_PER_MS, NS_PER_S, Nanos
from orchestrator.wire.messages import Edge, Handler, Need, Range, Task

FAILURES: tuple[Literal["fail", "skip", "continue"], ...] = ("fail", "fail", "skip", "continue")

Ending: TypeAlias = Literal["done", "fails", "is fatal", "kills"]


@dataclass(frozen=True, slots=True)
class Try:
    """What one try of a task does."""

    lasts_ns: Nanos
    ending: Ending = "done"
    checkpoint: bool = False
    """Half-way it says a checkpoint."""
    stubborn: bool = False
    """It cannot be killed, only told to stop (a thread)."""
    starts_after_ns: Nanos = 0
    """From the order to start until the handler is called."""
    stops_after_ns: Nanos = 0


@dataclass(frozen=True, slots=True)
class Errand:
    """Tasks that one producer submits in one message at a moment."""

    at_ns: Nanos
    producer: int
    tasks: tuple[Task, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """An instance that there is: what it offers and has."""

    name: str
    service: str
    handlers: tuple[Handler, ...]
    capacity: dict[str, float]
    devices: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(slots=True)
class Workload:
    """Who works, what is asked, what becomes of it. Moments are spans from the beginning."""

    places: list[Place]
    errands: list[Errand]
    tries: Callable[[str, int], Try]
    cancels: list[tuple[Nanos, str]] = field(default_factory=list)
    limits: dict[str, dict[str, Any]] = field(default_factory=dict)
    """As settings of coordinators have them."""
    policies: dict[str, str] = field(default_factory=dict)


def random_workload(seed: object, start_ns: Nanos, span_ns: Nanos, *, limited: bool = True) -> Workload:
    """Some work of all kinds, drawn from the seed, submitted within ``span_ns``; ``limited``: also under limits."""
    chance = dice(seed, "workload")
    services = ["ant", "bee"][: chance.choice([1, 1, 2])]
    places = [place for service in services for place in _places(service, chance)]
    errands: list[Errand] = []
    cancels: list[tuple[Nanos, str]] = []
    wanted = chance.choice([5, 20, 50, 120])
    fickle = chance.choice([0.0, 0.1, 0.4])
    number = 0
    while number < wanted:
        at_ns = round(span_ns * chance.random())
        service = chance.choice(services)
        tasks = []
        for _ in range(chance.choice([1, 1, 1, 2, 5])):
            number += 1
            tasks.append(_task(f"t{number}", service, start_ns + at_ns, chance))
            if chance.random() < fickle:
                cancels.append((at_ns + round(NS_PER_S * chance.uniform(0, 6)), f"t{number}"))
        errands.append(Errand(at_ns, chance.randrange(2), tuple(tasks)))
    slow = chance.choice([0.1, 1.0, 3.0])
    _add_graphs(dice(seed, "workload", "graphs"), services, start_ns, span_ns, errands, cancels)
    late = dice(seed, "workload", "late").choice([0.0, 0.0, 0.0, 2.0])
    work = Workload(places, errands, lambda task, n: _try(seed, task, n, slow, late), cancels)
    _share(dice(seed, "workload", "shares"), work, limited)
    _hurry(dice(seed, "workload", "hurry"), work)
    _repeat(dice(seed, "workload", "keys"), work, span_ns)
    _misfit(dice(seed, "workload", "misfits"), services, start_ns, span_ns, work)
    return work


LIMITS: dict[str, dict[str, Any]] = {
    "few": {"on": "ant.*", "at_once": 2},
    "each": {"on": "*", "key": "tenant", "at_once": 2},
    "cores": {"on": "*", "key": "tenant", "capacity": 4, "of": "cpu"},
    "licence": {"capacity": 3},
    "pace": {"on": "ant.dig", "rate": 5},
}
"""None of them keeps a task of the workload from ever running."""


def _share(chance: Random, work: Workload, limited: bool) -> None:
    """Limits, devices and other policies, in every other world; with dice of their own, so that the rest stays as it was."""
    work.policies = {
        "placement": chance.choice(["least_loaded", "least_loaded", "two_choices", "best_fit", "affinity"]),
        "allocation": chance.choice(["msa", "msa", "mra", "fill"]),
    }
    if chance.random() < 0.6 and limited:
        work.limits = {name: LIMITS[name] for name in sorted(LIMITS) if chance.random() < 0.4}
    needs: list[dict[str, float | Range]] = [{}, {}]
    if "licence" in work.limits:
        needs += [{"licence": 1}, {"licence": 2}]
    if chance.random() < 0.5:
        needs += [{"gpu": 0.3}, {"gpu": 0.7}, {"gpu": 1}, {"gpu": Range(1, 2)}]
        names = tuple(f"G{n}" for n in range(chance.choice([1, 2, 3])))
        work.places = [but(place, devices={"gpu": names}) for place in work.places]
    for at, errand in enumerate(work.errands):
        tasks = tuple(
            replace(
                task,
                tenant=chance.choice(["", "acme", "bolt"]),
                affinity=chance.choice(["", "k1", "k2"]),
                need={**task.need, **chance.choice(needs)},
            )
            for task in errand.tasks
        )
        work.errands[at] = Errand(errand.at_ns, errand.producer, tasks)


def _hurry(chance: Random, work: Workload) -> None:
    """Orderings of all kinds, guesses of run times, handlers that make room: in every other world, with dice of their own."""
    if chance.random() < 0.5:
        return
    work.policies["ordering"] = chance.choice(["srtf", "srtf:cost=0s", "srtf:cost=1ms,grace=1s", "sjf", "dps", "edf"])
    yielding = chance.choice([(), ("dig",), ("dig", "fly")])
    for at, place in enumerate(work.places):
        handlers = tuple(replace(one, preemptible=one.name in yielding) for one in place.handlers)
        work.places[at] = but(place, handlers=handlers)
    for at, errand in enumerate(work.errands):
        guesses = [None, round(NS_PER_S * chance.lognormvariate(-0.5, 1.5))]
        tasks = tuple(replace(task, estimate_ns=chance.choice(guesses)) for task in errand.tasks)
        work.errands[at] = Errand(errand.at_ns, errand.producer, tasks)


def _repeat(chance: Random, work: Workload, span_ns: Nanos) -> None:
    """Producers that forget what they have asked for and ask again, under keys; in two of three worlds, with dice of their own."""
    share = chance.choice([0.0, 0.2, 0.5])
    again: list[Errand] = []
    for at, errand in enumerate(work.errands):
        tasks = list(errand.tasks)
        for number, task in enumerate(tasks):
            if chance.random() >= share:
                continue
            cache_ns = round(NS_PER_S * chance.uniform(1, 30)) if chance.random() < 0.2 and not task.after else None
            task = tasks[number] = replace(task, key=f"of {task.id}", cache_ns=cache_ns)
            for n in range(chance.choice([1, 1, 2, 4])):
                other = chance.random() < 0.05
                copy = replace(task, id=f"{task.id}.k{n}", after=(), workflow=None, args=b"other" if other else task.args)
                soon_ns = min(span_ns, errand.at_ns + round(NS_PER_S * chance.choice([0, 0.005, 0.5, 5, 20]) * chance.random()))
                again.append(Errand(soon_ns, chance.randrange(2), (copy,)))
        work.errands[at] = Errand(errand.at_ns, errand.producer, tuple(tasks))
    work.errands += again


def _misfit(chance: Random, services: list[str], start_ns: Nanos, span_ns: Nanos, work: Workload) -> None:
    """Tasks that no instance will ever be able to run, alone or with a parent; in one of four worlds, with dice of their own."""
    if chance.random() < 0.75:
        return
    for number in range(chance.choice([1, 2, 4])):
        at_ns, service, name = round(span_ns * chance.random()), chance.choice(services), f"u{number}"
        task = replace(_task(name, service, start_ns + at_ns, chance), deadline_ns=None)
        if chance.random() < 0.3:
            task = replace(task, type=f"{service}.brew")
        else:
            task = replace(task, need=chance.choice([{"cpu": 5}, {"cpu": Range(6, 8)}, {"fpga": 1}]))
        tasks: tuple[Task, ...] = (task,)
        if chance.random() < 0.3:
            parent = replace(_task(f"{name}.0", service, start_ns + at_ns, chance), workflow=name)
            tasks = parent, replace(task, id=f"{name}.1", workflow=name, after=(Edge(parent.id, chance.choice(FAILURES)),))
        work.errands.append(Errand(at_ns, chance.randrange(2), tasks))


def _add_graphs(
    chance: Random, services: list[str], start_ns: Nanos, span_ns: Nanos, errands: list[Errand], cancels: list[tuple[Nanos, str]]
) -> None:
    """Workflows, in every other world; with dice of their own, so that the other work stays as it was."""
    fickle = chance.choice([0.0, 0.1, 0.3])
    for number in range(chance.choice([0, 0, 2, 6])):
        at_ns = round(span_ns * chance.random())
        tasks = _graph(f"g{number}", chance.choice([2, 5, 12]), services, start_ns + at_ns, chance)
        cancels += [(at_ns + round(NS_PER_S * chance.uniform(0, 6)), task.id) for task in tasks if chance.random() < fickle / 3]
        errands.append(Errand(at_ns, chance.randrange(2), tuple(tasks)))


def _graph(name: str, size: int, services: list[str], now_ns: Nanos, chance: Random) -> list[Task]:
    """Tasks of which each waits for up to three that were drawn before it, in any order."""
    tasks: list[Task] = []
    breadth = chance.choice([1, 3, size])
    for number in range(size):
        task = _task(f"{name}.{number}", chance.choice(services), now_ns, chance)
        near = tasks[-breadth:]
        parents = chance.sample(near, min(len(near), chance.choice([0, 1, 1, 2, 3])))
        after = tuple(Edge(one.id, chance.choice(FAILURES), chance.choice(["", f"from-{one.id}"])) for one in parents)
        tasks.append(replace(task, after=after, workflow=name))
    chance.shuffle(tasks)
    return tasks


def _places(service: str, chance: Random) -> list[Place]:
    handlers = (
        Handler("dig", retries=chance.choice([0, 1, 2]), backoff_ns=NS_PER_S // 4, backoff_max_ns=2 * NS_PER_S),
        Handler("fly", timeout_ns=chance.choice([None, 2 * NS_PER_S]), retries=1, backoff_ns=NS_PER_S // 2),
    )
    slots = chance.choice([1, 2, 4])
    return [Place(f"{service}-{n}", service, handlers, {"slots": slots, "cpu": 4}) for n in range(chance.choice([1, 2, 2, 3]))]


def _task(name: str, service: str, now_ns: Nanos, chance: Random) -> Task:
    needs: list[Need] = [{}, {}, {}, {"cpu": 1}, {"cpu": Range(1, 3)}, {"cpu": 4}]
    return Task(
        id=name,
        type=f"{service}.{chance.choice(['dig', 'dig', 'fly'])}",
        args=b"\x80" + bytes(chance.choice([0, 0, 200, 1500])),
        need=chance.choice(needs),
        priority=chance.choice([0, 0, 0, 5]),
        deadline_ns=now_ns + round(NS_PER_S * chance.uniform(0.1, 15)) if chance.random() < 0.12 else None,
        start_ns=now_ns + round(NS_PER_S * chance.uniform(0, 5)) if chance.random() < 0.1 else None,
        timeout_ns=round(NS_PER_S * chance.uniform(0.5, 3)) if chance.random() < 0.1 else None,
        retries=chance.choice([None, None, 0, 1, 3]),
        overlap="never" if chance.random() < 0.2 else "lease",
    )


def _try(seed: object, task: str, n: int, slow: float, late: float) -> Try:
    """``late``: handlers take up to so many seconds to be called, as processes do that must be made first."""
    chance = dice(seed, "try", task, n)
    lasts_s = slow * chance.lognormvariate(-0.5, 1.0)
    drawn = chance.random()
    ending: Ending = "done" if drawn < 0.85 else "fails" if drawn < 0.95 else "is fatal" if drawn < 0.98 else "kills"
    return Try(
        lasts_ns=round(NS_PER_S * min(lasts_s, 20.0)),
        ending=ending,
        checkpoint=chance.random() < 0.1,
        stubborn=chance.random() < 0.2,
        starts_after_ns=round(NS_PER_S * late * chance.random())
        if late
        else chance.choice([0, 0, round(NS_PER_MS * 20 * chance.random())]),
        stops_after_ns=chance.choice([0, NS_PER_MS, round(NS_PER_MS * 300 * chance.random())]),
    )
