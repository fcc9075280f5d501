"""P4: every live task has a reason, it is true, and looking changes nothing.

Stories by dice (two coordinators, two agents, producers, faults); after every act each live task of the leader is asked why, and
what it answers is held against the books by other means than it was found.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from orchestrator.core.answers import reasons
from orchestrator.core.answers.misses import misses
from orchestrator.core.custody.records import Record
from orchestrator.core.desk import Desk
from orchestrator.core.registry.registry import Instance
from orchestrator.core.scheduler.placing import able, refusal
from orchestrator.resources import demand_of
from orchestrator.wire.messages import Announce, Handler
from tests.core.dice import story
from tests.core.world import World


def members(desk: Desk, record: Record) -> list[Instance]:
    pool = desk.registry.pools.get(record.service)
    return list(pool.members.values()) if pool else []


def gone_with_it(desk: Desk, record: Record) -> bool:
    """An instance that is gone may still run it."""
    pool = desk.registry.pool(record.service)
    return record.task.overlap == "never" and (bool(pool.fenced) or any(one.state == "gone" for one in pool.members.values()))


TRUE: dict[str, Callable[[Desk, int, Record], bool]] = {
    "ending": lambda desk, now, record: record.id in desk.ending,
    "parents": lambda desk, now, record: any(edge.task not in desk.custody.graves for edge in record.task.after),
    "held": lambda desk, now, record: any(h.record is record for one in members(desk, record) for h in one.holdings.values()),
    "fenced": lambda desk, now, record: gone_with_it(desk, record),
    "doubtful": lambda desk, now, record: desk.doubtful.get(record.id) is record,
    "checkpoint": lambda desk, now, record: record.awaits is not None and desk.saving.get(record.id) is record,
    "deferred": lambda desk, now, record: record.not_before_ns >= now,
    "takeover": lambda desk, now, record: bool(desk.registry.pool(record.service).unanswered),
    "limit": lambda desk, now, record: desk.sharing.short(record.place.shares, now) is not None,  # type: ignore[union-attr]
    "unheard": lambda desk, now, record: now - desk.proven_ns >= desk.config.fresh_ns,
    "missing": lambda desk, now, record: not members(desk, record),
    "biding": lambda desk, now, record: any(one.record is record for one in desk.backlog.queue(record.service).biding.values()),
    "refused": lambda desk, now, record: (
        not any(able(desk, one, record.task.type, desk.backlog.demand(record)) for one in members(desk, record))
    ),
    "turn": lambda desk, now, record: desk.backlog.queue(record.service).size > 1 or record.service in desk.stirred,
}


def look(world: World, seen: set[str]) -> None:
    """Ask every leader about everything that lives."""
    for node in world.stage.nodes.values():
        desk, now = node.machine.desk, world.stage.now_ns
        if not desk.leading:
            continue
        for record in desk.custody.live.values():
            answer = reasons.why(desk, now, record.id)
            assert answer is not None
            assert answer["reason"], record
            cause = answer["cause"]
            seen.add(cause)
            assert TRUE[cause](desk, now, record), f"{record.id} is {record.state}: {cause}: {answer['reason']}"


def test_the_reason_of_every_live_task_is_true() -> None:
    """In every state of every story; and the stories come to nearly all causes that there are."""
    seen: set[str] = set()
    for seed in range(80):
        world = World()
        for number, (name, arguments) in enumerate(story(seed, 80)):
            if number % 20 == 10:
                world.limit(seed + number // 20)
            getattr(world, name)(*arguments)
            look(world, seen)
    assert seen >= set(TRUE) - {"turn", "unheard", "checkpoint", "biding"}, f"never met: {set(TRUE) - seen}"


@pytest.mark.parametrize("seed", range(12))
def test_looking_changes_nothing(seed: int) -> None:
    """The same story, looked at after every act and never: the same commands."""
    told: list[list[str]] = []
    for looks in (True, False):
        world, commands = World(), []
        world.stage.heard = lambda name, command, commands=commands: commands.append(f"{name} {command}")  # type: ignore[misc]
        for name, arguments in story(seed, 120):
            getattr(world, name)(*arguments)
            if looks:
                look(world, set())
        told.append(commands)
    assert told[0] == told[1]


def instance(name: str, capacity: dict[str, float], *, state: str = "ready") -> Instance:
    found = Instance(name, name, "ai", state=state)  # type: ignore[arg-type]
    found.describe(Announce(name, name, "ai", [Handler("train")], capacity))
    return found


def test_the_nearest_miss_is_told_over_all_instances() -> None:
    """Who lacks least, of what, on how many; and those that cannot for other reasons."""
    desk = World().stage.nodes["c1"].machine.desk
    demand = demand_of({"gpu_mem": 24, "cpu": 2})
    some = [instance(f"gpu-{n}", {"gpu_mem": mem, "cpu": 8, "slots": 4}) for n, mem in (("a", 8), ("b", 18), ("c", 16))]
    found = misses(some, demand, lambda one: refusal(desk, one, "ai.train", demand))
    assert found.told() == "gpu_mem short by 6 or more on all 3 instances (wants 24, the nearest is gpu-b with 18 free)"
    assert found.plain()["nearest"] == {"instance": "gpu-b", "short": {"gpu_mem": 6}}

    some.append(instance("gpu-d", {"gpu_mem": 80, "cpu": 1, "slots": 4}))
    some.append(instance("gpu-e", {"gpu_mem": 80, "cpu": 8}, state="draining"))
    found = misses(some, demand, lambda one: refusal(desk, one, "ai.train", demand))
    assert found.told() == (
        "gpu_mem short by 6 or more on 3 of 5 instances (wants 24, the nearest is gpu-b with 18 free); "
        "cpu short by 1 or more on 1 of 5 instances (wants 2, the nearest is gpu-d with 1 free); gpu-e is draining"
    )
    assert (found.instances, found.refused) == (5, 5)
    assert found.plain()["others"] == [{"reason": "is draining", "instances": 1}]


def test_many_reasons_make_a_sentence_all_the_same() -> None:
    """A hundred instances that lack a hundred things: the first few, and how many more."""
    dice = Random(1)
    demand = demand_of({f"r{number}": 2 for number in range(20)})
    some = [instance(f"i{number}", {f"r{dice.randrange(20)}": 1.0}) for number in range(100)]
    desk = World().stage.nodes["c1"].machine.desk
    found = misses(some, demand, lambda one: refusal(desk, one, "ai.train", demand))
    assert found.refused == 100
    assert len(found.told()) < 600
    assert "16 reasons more" in found.told()
