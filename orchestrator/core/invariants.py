"""What must never be untrue, as functions: each raises AssertionError with the story, each docstring is its law.

Run after every step in tests and in simulation, never in the daemon.
"""

from __future__ import annotations

from collections import Counter

from orchestrator.core.custody.records import Record
from orchestrator.core.desk import Desk
from orchestrator.core.scheduler.placing import able
from orchestrator.core.tasks.keys import named


def check(desk: Desk) -> None:
    """All laws."""
    for law in LAWS:
        law(desk)


def alive_or_over(desk: Desk) -> None:
    """No task is both alive and over."""
    both = desk.custody.live.keys() & desk.custody.graves.keys()
    assert not both, f"alive and over at once: {sorted(both)[:5]}"


def one_place(desk: Desk) -> None:
    """Every live task is in the place that its state names, and nowhere else."""
    doubtful = desk.doubtful.keys() | desk.saving.keys()
    assert len(doubtful) == len(desk.doubtful) + len(desk.saving), f"{desk.doubtful.keys() & desk.saving.keys()} are doubtful twice"
    for record in desk.custody.live.values():
        state = record.state
        right = (
            (record.place is not None) == (state == "waiting")
            and bool(record.live) == (state in ("assigned", "running"))
            and state != "ended"
            and (state == "doubtful") == (record.id in doubtful)
        )
        assert right, f"{record.id} is {state}, live {record.live}, waits {record.place is not None}"


def weight_true(desk: Desk) -> None:
    """What the living would take in the ledger is known to the byte of the estimate."""
    weight = sum(map(Record.size, desk.custody.live.values()))
    assert weight == desk.custody.live_bytes, f"{weight} bytes live, {desk.custody.live_bytes} are counted"


def children_wait(desk: Desk) -> None:
    """Who waits for parents waits for some that are not over (R13); only these are blocked, and those that follow (R16)."""
    custody = desk.custody
    for record in custody.live.values():
        missing = record.node.missing if record.node is not None else {}
        if not missing and record.state != "blocked":
            continue
        assert not missing or record.state in ("blocked", "running", "doubtful"), (
            f"{record.id} is {record.state}, misses {list(missing)}"
        )
        follows = record.id in custody.keys.leaders
        assert missing or follows or record.state != "blocked", f"{record.id} is blocked, and misses nobody"
        over = [parent for parent in missing if parent in custody.graves]
        assert not over, f"{record.id} misses {over}, which are over"


def families_true(desk: Desk) -> None:
    """Each edge of a live task is known from its parent; each graph has its live tasks; what children need is kept, and counted."""
    custody = desk.custody
    edges = {(edge.task, record.id) for record in custody.live.values() for edge in record.task.after}
    ties = {(parent, name) for parent, of in custody.families.children.items() for name in of}
    assert edges == ties, f"edges {sorted(edges ^ ties)[:5]}"
    for record in custody.live.values():
        if record.node is not None:
            assert record.node.graph.members.get(record.id) is record, f"{record.id} is not in its graph"
            strange = [name for name, one in record.node.graph.members.items() if custody.live.get(name) is not one]
            assert not strange, f"{strange} are over, and in the graph of {record.id}"
    needed = {parent for parent in (*custody.families.children, *custody.keys.followers) if parent in custody.graves}
    assert needed == custody.graveyard.pinned.keys(), f"pinned {sorted(needed ^ custody.graveyard.pinned.keys())[:5]}"
    assert sum(custody.graveyard.pinned.values()) == custody.graveyard.pinned_bytes, (
        f"{custody.graveyard.pinned_bytes} bytes are counted"
    )


def keys_true(desk: Desk) -> None:
    """Each key has one holder, alive or done; who follows lives, is not assigned, and follows one that follows nobody (R16)."""
    custody, keys = desk.custody, desk.custody.keys
    assert {hold.task: hold for hold in keys.held.values()} == keys.by_task, f"{keys.held} against {keys.by_task}"
    for task, hold in keys.by_task.items():
        lives = task in custody.live
        assert lives == (hold.until_ns is None), f"{task} holds {hold.name} until {hold.until_ns}, and lives: {lives}"
        assert lives or custody.graves[task].outcome == "done", f"{task} holds {hold.name}, and is not done"
    for task, first in keys.leaders.items():
        assert task in custody.live, f"{task} follows {first}, and does not live"
        assert first not in keys.leaders, f"{task} follows {first}, which follows {keys.leaders.get(first)}"
        assert task not in keys.by_task, f"{task} follows {first}, and holds a key"
        record = custody.live[task]
        assert record.live or record.state in ("blocked", "doubtful"), f"{task} follows {first}, and is {record.state}"
    pairs = {(task, first) for first, all_of_it in keys.followers.items() for task in all_of_it}
    assert pairs == set(keys.leaders.items()), f"{sorted(pairs ^ set(keys.leaders.items()))[:5]}"
    for record in custody.live.values():
        if named(record.task):
            assert record.id in keys.by_task or record.id in keys.leaders, f"{record.id} neither holds its key nor follows"
    for name, task in keys.bereft.items():
        assert task in keys.followers, f"nobody follows {task}, which held {name}"
        assert task not in keys.by_task, f"{task} holds {name} still"
    weight = sum(hold.bytes for hold in keys.by_task.values())
    assert weight == keys.result_bytes, f"{weight} bytes of results are held, {keys.result_bytes} are counted"


def backlog_counts(desk: Desk) -> None:
    """A queue's size is the number of tasks that wait in it."""
    live = desk.custody.live
    for queue in desk.backlog.queues.values():
        waiting = list(queue.records())
        assert len(waiting) == len({record.id for record in waiting}) == queue.size, (
            f"{queue.service}: {len(waiting)} != {queue.size}"
        )
        strange = [record.id for record in waiting if live.get(record.id) is not record]
        assert not strange, f"{strange[:5]} wait but do not live"


def grants_conserved(desk: Desk) -> None:
    """What an instance has is what is free plus what is granted, for every resource."""
    for instance in desk.registry.instances.values():
        if instance.announced is None:
            continue
        granted: Counter[str] = Counter()
        for holding in instance.holdings.values():
            granted.update(holding.grant)
        for name in {*instance.capacity, *granted}:
            had, free = instance.capacity.get(name, 0), instance.free.get(name, 0)
            assert had == free + granted[name], f"{instance.name} {name}: had {had}, free {free}, granted {granted[name]}"


def devices_conserved(desk: Desk) -> None:
    """Of every device one is what is free plus what living attempts have of it; what we granted never exceeds one."""
    for instance in desk.registry.instances.values():
        granted: Counter[tuple[str, str]] = Counter()
        ours: Counter[tuple[str, str]] = Counter()
        for holding in instance.holdings.values():
            for name, devices in holding.devices.items():
                for one in devices:
                    granted[name, one] += holding.grant.get(name, 0) // len(devices)
                    ours[name, one] += holding.grant.get(name, 0) // len(devices) if holding.sent else 0
        for name, shelf in instance.devices.items():
            for one, free in shelf.free.items():
                assert free + granted[name, one] == 1000, f"{instance.name} {one}: free {free}, granted {granted[name, one]}"
                assert ours[name, one] <= 1000, f"{instance.name} {one}: granted {ours[name, one]}"


def limits_conserved(desk: Desk) -> None:
    """What is out of a limit is what living attempts have of it, for every key; nobody else has anything."""
    out: Counter[tuple[str, str]] = Counter()
    amounts: Counter[tuple[str, str]] = Counter()
    for instance in desk.registry.instances.values():
        for holding in instance.holdings.values():
            for share in holding.shares:
                out[share.limit, share.key] += 1
                amounts[share.limit, share.key] += share.amount
    for name, meter in desk.sharing.meters.items():
        assert (meter.tasks, meter.amount) == (out.pop(name, 0), amounts.pop(name, 0)), f"limit {name}: {meter.tasks} are out"
    assert not out, f"{out} are out of limits without a meter"


def lanes_wait_for_cause(desk: Desk) -> None:
    """A lane that a limit holds back could not go now, or another of its like was woken to try first."""
    waiting = {id(lane) for meter in desk.sharing.meters.values() for lane in meter.lanes()}
    for queue in desk.backlog.queues.values():
        for group in (*queue.classes.values(), *queue.aside.values()):
            for lane in group.lanes.values():
                assert (lane.waits is not None) == (id(lane) in waiting), f"{group.type} {lane.shares} waits nowhere"
    for meter in desk.sharing.meters.values():
        if meter.number not in desk.sharing.loosened and not desk.sharing.unheard:
            able_ = meter.next(meter.settled_ns)
            assert able_ is None, f"limit {meter.limit.name} has room for a task of {able_.group.type}, which waits for it"


def holdings_mutual(desk: Desk) -> None:
    """A task's live attempts and what instances hold say the same."""
    for instance in desk.registry.instances.values():
        for attempt, holding in instance.holdings.items():
            if holding.record is not None:
                assert holding.record.live.get(attempt) == instance.incarnation, (
                    f"{instance.name} holds {attempt} of {holding.task}"
                )
    for record in desk.custody.live.values():
        for attempt, incarnation in record.live.items():
            where = desk.registry.instances.get(incarnation)
            has = where is not None and attempt in where.holdings
            assert has, f"{record.id}: {attempt} lives on {incarnation}, which has it not"


def one_live_attempt(desk: Desk) -> None:
    """Of the attempts of this reign one at most is wanted (R4); a second one lives only if an agent said so, and is recalled."""
    for record in desk.custody.live.values():
        if not record.live:
            continue
        wanted = [one for one, where in record.live.items() if not desk.registry.instances[where].holdings[one].stopping]
        ours = [attempt for attempt in wanted if attempt.epoch == desk.epoch]
        assert len(ours) <= 1, f"{record.id} has {ours}"


def open_index_true(desk: Desk) -> None:
    """The index of instances with room lists exactly those that have room."""
    for pool in desk.registry.pools.values():
        open_ = {pool.opened(index).incarnation for index in range(pool.open)}
        room = {one.incarnation for one in pool.members.values() if one.has_room}
        assert open_ == room, f"{pool.service}: open {open_}, room {room}"


def blocked_fits_nowhere(desk: Desk) -> None:
    """A class that is left out has no instance that could take its head, unless its service is about to be looked at."""
    for service, queue in desk.backlog.queues.items():
        pool = desk.registry.pools.get(service)
        if pool is None or service in desk.stirred or not desk.leading:
            continue
        for group in queue.blocked():
            assert group.head() is not None, f"{group.type} {group.demand} is left out, and has no head"
            if group.kept_out is not None:
                bides = (group.type, group.demand) in queue.biding
                assert queue.reservations or bides, f"{group.type} {group.demand} is kept out, and nothing is reserved"
                continue
            for index in range(pool.open):
                one = pool.opened(index)
                assert not able(desk, one, group.type, group.demand), f"{group.type} {group.demand} would fit on {one.name}"


def nobody_is_overlooked(desk: Desk) -> None:
    """Where there is room everybody who has not been left out has been looked at, unless the service is about to be."""
    for service, queue in desk.backlog.queues.items():
        pool = desk.registry.pools.get(service)
        if pool is None or service in desk.stirred or not desk.leading or not pool.open:
            continue
        group = queue.best()
        assert group is None, f"{group.type} {group.demand} could try, and nobody looks"


def reservations_mutual(desk: Desk) -> None:
    """A reservation, its task and its instance know each other; the task waits, and nobody has taken what it needs."""
    for queue in desk.backlog.queues.values():
        for name, one in queue.reservations.items():
            assert one.record.id == name, f"{name} has the reservation of {one.record.id}"
            assert one.record.reserved is one, f"{name} does not know its reservation"
            assert one.instance.reserved is one, f"{one.instance.name} does not know that it is reserved for {name}"
            assert one.record.place is not None, f"{name} does not wait, and {one.instance.name} is reserved for it"
    for instance in desk.registry.instances.values():
        kept = instance.reserved
        if kept is not None:
            assert desk.backlog.queues[instance.service].reservations.get(kept.record.id) is kept, f"{instance.name}: {kept}"


def slots_counted(desk: Desk) -> None:
    """A pool knows how many slots its ready instances have, and how many of these are granted."""
    for pool in desk.registry.pools.values():
        ready = [one for one in pool.members.values() if one.state == "ready"]
        places = sum(one.capacity.get("slots", 0) for one in ready)
        taken = places - sum(one.free.get("slots", 0) for one in ready)
        found = round(1000 * pool.places), round(1000 * pool.taken)
        assert found == (places, taken), f"{pool.service}: {found}, in truth {places, taken}"


def nothing_left_behind(desk: Desk) -> None:
    """At the end of a step the out-tray is empty."""
    assert not (desk.out or desk.settled or desk.touched or desk.results) or not desk.leading


LAWS = (
    alive_or_over,
    one_place,
    weight_true,
    children_wait,
    families_true,
    keys_true,
    backlog_counts,
    grants_conserved,
    devices_conserved,
    limits_conserved,
    lanes_wait_for_cause,
    holdings_mutual,
    one_live_attempt,
    open_index_true,
    blocked_fits_nowhere,
    nobody_is_overlooked,
    reservations_mutual,
    slots_counted,
    nothing_left_behind,
)
