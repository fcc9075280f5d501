"""Tenants side by side: who has had least goes first, by weight, by what was truly used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.config import Config
from orchestrator.core.scheduler.accounts import ACCOUNTS_MAX, Accounts
from orchestrator.policies import ORDERINGS
from orchestrator.vocabulary import NS_PER_S
from orchestrator.wire.messages import Task
from tests.core.floor import Floor

DRF: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "theory" / "drf.json").read_text())


def some(tenant: str, number: int, **options: Any) -> list[Task]:
    return [Task(f"{tenant}-{n}", "s.h", tenant=tenant, **options) for n in range(number)]


def used_s(floor: Floor, until_s: float) -> dict[str, float]:
    """Slot seconds by tenant, up to then."""
    found: dict[str, float] = {}
    for name, where, at_ns in floor.started:
        task = floor.tasks[name]
        start_s = at_ns / 1e9 - 1_000
        ran_s = max(0.0, min(until_s, start_s + floor.run_s(task, where)) - start_s)
        found[task.tenant] = found.get(task.tenant, 0.0) + ran_s
    return found


def vector(amounts: Any) -> dict[str, float]:
    """Of a published example, by name or by place; zeros are not asked for."""
    named = amounts.items() if isinstance(amounts, dict) else {f"r{n}": amount for n, amount in enumerate(amounts)}.items()
    return {name: float(amount) for name, amount in named if amount}


EXAMPLES = [one for one in DRF["examples"] if "drf_tasks" in one]
TIES = [(one, False) for one in EXAMPLES] + [(one, True) for one in EXAMPLES if "pick_order_ties_to_B" in one]


@pytest.mark.parametrize(("example", "turned"), TIES, ids=[f"{one['id']}{'-ties_to_the_last' * turned}" for one, turned in TIES])
def test_drf_picks_as_published(example: dict[str, Any], turned: bool) -> None:
    """Everybody has more to do than fits: how many each user gets, and in which order, is as published."""
    demands, capacity = example["demands"], example["capacity"]
    names = sorted(demands) if isinstance(demands, dict) else [str(n) for n in range(len(demands))]
    weights = example.get("weights", [1] * len(names))
    spec = "fair:weights=" + ";".join(f"{name}={weight}" for name, weight in zip(names, weights, strict=True))
    floor = Floor(lambda task, where: 1.0, ordering=spec)
    keys = list(capacity) if isinstance(capacity, dict) else [f"r{n}" for n in range(len(capacity))]
    for name in reversed(names) if turned else names:
        asked = demands[name] if isinstance(demands, dict) else demands[int(name)]
        need = {key: float(amount) for key, amount in zip(keys, asked, strict=True) if amount}
        floor.submit(*some(name, 30, need={**need, "slots": 0.001}))
    floor.instance("i", slots=1.0, **vector(capacity))
    picked = [floor.tasks[name].tenant for name, _, _ in floor.started]
    expected = example["drf_tasks"]
    by_name = expected if isinstance(expected, dict) else dict(zip(names, expected, strict=True))
    assert {name: picked.count(name) for name in names} == by_name
    order = example.get("pick_order_ties_to_B" if turned else "pick_order_ties_to_A") or example.get("pick_order")
    if order is not None:
        assert picked == [str(one) for one in order]


def test_shares_follow_weights_whatever_tasks_are_like() -> None:
    """Three to one, though the tasks of one run five times as long as those of the other and its hints lie about it."""
    spans = {"gold": 0.5, "lead": 2.5}
    floor = Floor(lambda task, where: spans[task.tenant], ordering="fair:weights=gold=3")
    floor.submit(*some("gold", 4_000), *some("lead", 1_000, estimate_ns=10**7))
    floor.instance("i", slots=4.0)
    floor.run(300)
    used = used_s(floor, 300)
    assert used["gold"] / used["lead"] == pytest.approx(3, rel=0.05)
    assert sum(used.values()) == pytest.approx(1200, rel=0.01), "and no slot was idle"


def test_idling_saves_nothing_up() -> None:
    """Who comes after the other has worked alone for a while shares from then on; it does not get all until it has caught up."""
    floor = Floor(lambda task, where: 1.0, ordering="fair")
    floor.submit(*some("early", 2_000))
    floor.instance("i", slots=4.0)
    floor.run(100)
    floor.submit(*some("late", 2_000))
    before = used_s(floor, 100)["early"]
    floor.run(200)
    used = used_s(floor, 200)
    assert used["late"] == pytest.approx(used["early"] - before, rel=0.06)


def test_what_was_cancelled_is_not_paid_for() -> None:
    """A tenant that takes a thousand tasks back and then has one is served as if it had never had the others."""
    floor = Floor(lambda task, where: 1.0, ordering="fair")
    floor.submit(*some("busy", 50), *some("fickle", 1_000, start_ns=0))
    for n in range(1_000):
        floor.ask("cancel", task=f"fickle-{n}")
    floor.submit(Task("last", "s.h", tenant="fickle"))
    floor.instance("i", slots=1.0)
    floor.run(1.5)
    assert [name for name, _, _ in floor.started] == ["busy-0", "last"]


def test_tenants_without_end_starve_nobody() -> None:
    """Each second four new tenants come, with a second of work each for two slots; the old one's later tasks start all the same."""
    floor = Floor(lambda task, where: 20.0 if task.tenant == "old" else 1.0, ordering="fair:ageing=0.1")
    floor.submit(*some("old", 3))
    floor.instance("i", slots=2.0)
    for second in range(1, 600):
        floor.submit(*(Task(f"n{second}-{n}", "s.h", tenant=f"new{second}-{n}") for n in range(4)))
        floor.run(second)
    assert [name for name, _, _ in floor.started if name.startswith("old")] == ["old-0", "old-1", "old-2"]


def test_dps_lets_those_who_hold_little_go_first() -> None:
    """Of equal tasks: those of the tenant that holds less of the service, in proportion to its weight."""
    floor = Floor(lambda task, where: 1.0, ordering="dps:weights=gold=3")
    floor.submit(*some("lead", 40), *some("gold", 40))
    floor.instance("i", slots=8.0)
    held = [floor.tasks[name].tenant for name, _, _ in floor.started]
    assert {tenant: held.count(tenant) for tenant in ("gold", "lead")} == {"gold": 6, "lead": 2}
    blind = Floor(lambda task, where: 1.0, ordering="dps:share=0")
    blind.submit(*some("lead", 40), *some("gold", 40))
    blind.instance("i", slots=8.0)
    assert {blind.tasks[name].tenant for name, _, _ in blind.started} == {"lead"}


@pytest.mark.parametrize("ordering", ["fair", "dps"])
def test_books_are_balanced_in_the_end(ordering: str) -> None:
    """When nothing runs nobody holds anything, also after the policy was switched in the middle."""
    floor = Floor(lambda task, where: 1.0, ordering=ordering)
    floor.submit(*some("a", 50), *some("b", 50))
    floor.instance("i", slots=4.0)
    floor.run(5)
    floor.ask("policy", ordering="fifo")
    floor.run(9)
    floor.ask("policy", ordering=ordering)
    floor.run()
    assert len(floor.started) == 100
    accounts = floor.machine.desk.backlog.queues["s"].accounts
    assert all(account.held == 0 and not account.lanes for account in accounts._table.values())


def test_a_bill_is_settled_by_the_weight_it_was_made_by() -> None:
    """A tenant of weight 100 said 1000 s and took one; that weights are changed meanwhile gives it back no more than it paid."""
    floor = Floor(lambda task, where: 1.0, ordering="fair:weights=gold=100", config=Config(estimates="trust"))
    floor.instance("i", slots=1.0)
    floor.submit(Task("t", "s.h", tenant="gold", estimate_ns=1000 * NS_PER_S))
    floor.ask("policy", ordering="fair")
    floor.run()
    account = floor.machine.desk.backlog.queues["s"].accounts.of("gold")
    assert account.spent_ns == pytest.approx(NS_PER_S / 100, abs=1e6)


def test_accounts_that_all_wait_are_not_looked_through_at_every_arrival() -> None:
    """They are looked through once there are twice as many as were left the last time."""
    accounts = Accounts(ORDERINGS["fair"])
    tables = set()
    for number in range(3 * ACCOUNTS_MAX):
        accounts.of(f"t{number}").held = 1.0
        tables.add(id(accounts._table))
    assert len(tables) <= 3
    for account in accounts._table.values():
        account.held = 0.0
    for number in range(4 * ACCOUNTS_MAX):
        accounts.of(f"u{number}")
    assert len(accounts._table) <= 4 * ACCOUNTS_MAX


def test_who_holds_much_of_several_resources_is_put_back_no_further_than_is_said() -> None:
    """All of the cpu, all of the memory and all of the gpus are one service, not three: the bound on overtaking counts one."""
    floor = Floor(lambda task, where: 100.0, ordering="dps", config=Config(estimates="trust"))
    floor.instance("i", slots=100.0, cpu=4.0, mem=4.0, gpu=4.0)
    named = [(name, n) for name in ("cpu", "mem", "gpu") for n in range(4)]
    floor.submit(*(Task(f"{name}{n}", "s.h", tenant="x", need={name: 1, "slots": 0.01}) for name, n in named))
    queue = floor.machine.desk.backlog.queues["s"]
    account = queue.accounts.of("x")
    assert account.held == pytest.approx(3.0)
    ordering = queue.ordering
    alone = Accounts(ordering).of("x")
    alone.held = 1.0
    assert ordering.rank(0.0, account) == ordering.rank(0.0, alone)
