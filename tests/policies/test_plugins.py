"""Policies of other distributions: found, used, and, where they are broken, told."""

from __future__ import annotations

from importlib.metadata import distributions
from pathlib import Path

import pytest

from orchestrator.live.plugins import GROUP, find_policies
from orchestrator.policies import BUILT_IN, KINDS, BadPolicy, Catalogue
from orchestrator.policies.ordering import Waiting
from orchestrator.wire.messages import Range, Task
from tests.core.floor import Floor

HOUSE = Path(__file__).parents[1] / "data" / "plugins"


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    """What is there when the distribution ``house-policies`` is installed."""
    monkeypatch.syspath_prepend(str(HOUSE))
    (house,) = distributions(path=[str(HOUSE)])
    return find_policies([(kind, one) for kind in KINDS for one in house.entry_points if one.group == GROUP + kind])


def test_what_works_is_there_with_its_settings(found: Catalogue) -> None:
    """Beside the built-in ones; operators see whose it is."""
    names = found.names()
    assert set(names["ordering"]) == {*BUILT_IN.names()["ordering"], "lifo", "moody"}
    assert set(names["placement"]) == {*BUILT_IN.names()["placement"], "by_name", "nowhere"}
    about = found.about()["ordering"]["lifo"]
    assert about["from"] == "house-policies 1.4"
    assert about["settings"]["patience"]["default"] == "1m"
    assert found.normal("ordering", "lifo:patience=90") == "lifo:patience=1m30s"
    with pytest.raises(BadPolicy, match="patience of policy 'lifo' is a length of time"):
        found.build("ordering", "lifo:patience=long")


def test_what_is_broken_is_told_and_hinders_nobody(found: Catalogue) -> None:
    """Its name, its distribution, what is wrong and what to do; whoever asks for it by name is told the same."""
    broken = {(one.kind, one.name): one for one in found.broken}
    assert {name: one.why.split(".")[0] for name, one in broken.items()} == {
        ("ordering", "gone"): "ModuleNotFoundError: No module named 'house_policies",
        ("ordering", "loose"): "TypeError: a policy is a frozen dataclass that can be made without arguments",
        ("ordering", "picky"): "TypeError: Picky",
        ("ordering", "fifo"): "ValueError: the name is taken by the orchestrator itself; rename the entry point",
        ("placement", "keyless"): "TypeError: a policy for placement must have the method choose",
    }
    for one in found.broken:
        assert one.distribution == "house-policies 1.4"
        assert "Repair or remove house-policies 1.4, then start the coordinator again" in one.why
    with pytest.raises(BadPolicy, match=r"no ordering policy 'gone'.*house-policies 1\.4 cannot be used: ModuleNotFoundError"):
        found.build("ordering", "gone")
    assert found.build("ordering", "fifo") == BUILT_IN.build("ordering", "fifo")


def tasks(number: int, **options: int) -> list[Task]:
    return [Task(f"t{n}", "s.h", **options) for n in range(number)]  # type: ignore[arg-type]


def test_they_decide_like_any_other(found: Catalogue) -> None:
    """The newest first, on the instance whose name comes first; switched live, and back."""
    floor = Floor(lambda task, where: 1.0, found, ordering="lifo:patience=1s", placement="by_name")
    for one in tasks(6):
        floor.now_ns += 10**9
        floor.submit(one)
    for name in ("b", "a", "c"):
        floor.instance(name, slots=1.0)
    assert [name for name, _, _ in floor.started] == ["t5", "t4", "t3"]
    assert floor.ask("policy", ordering="fifo").ok
    floor.run()
    assert [name for name, _, _ in floor.started][3:] == ["t0", "t1", "t2"]


def test_one_that_raises_is_set_down(found: Catalogue) -> None:
    """From then on the default decides, those who wait are ordered by it, and the log says why; nothing is lost."""
    floor = Floor(lambda task, where: 1.0, found, ordering="moody")
    floor.submit(*(Task(f"t{n}", "s.h", priority=n) for n in range(3, 0, -1)))
    assert not [one for one in floor.noted if one.what == "policy_failed"]
    floor.submit(Task("zero", "s.h", priority=0))  # it divides by it
    (said,) = [one.fields for one in floor.noted if one.what == "policy_failed"]
    assert said == {"kind": "ordering", "policy": "moody", "why": "key raised ZeroDivisionError: division by zero"}
    floor.instance("i", slots=1.0)
    floor.run()
    assert [name for name, _, _ in floor.started] == ["t3", "t2", "t1", "zero"]
    assert len([one for one in floor.noted if one.what == "policy_failed"]) == 1


def test_who_goes_first_by_the_default_starts_at_once(found: Catalogue) -> None:
    """By the ordering that fails a large task went before a small one, and had a place kept from it; by the default it does not."""
    floor = Floor(lambda task, where: 100.0, found, ordering="moody")
    floor.instance("i", slots=2.0)
    floor.submit(Task("runs", "s.h", priority=9))
    floor.submit(Task("large", "s.h", priority=-1, need={"slots": 2}), Task("small", "s.h", priority=5))
    assert [name for name, _, _ in floor.started] == ["runs"]
    floor.submit(Task("zero", "s.h", priority=0))
    assert [name for name, _, _ in floor.started] == ["runs", "small"]


def test_one_that_grants_what_is_not_there_is_set_down(found: Catalogue) -> None:
    """The task gets what the default grants, and nothing is taken twice."""
    floor = Floor(lambda task, where: 1.0, found, allocation="generous")
    floor.instance("a", slots=1.0, cpu=4.0)
    floor.submit(Task("t", "s.h", need={"cpu": Range(1.0, 3.0)}))
    free = floor.machine.desk.registry.instances["a"].free
    assert (free["slots"], free["cpu"]) == (0, 3000)
    assert "too little, too much, or not free" in next(one.fields["why"] for one in floor.noted if one.what == "policy_failed")


def test_one_that_chooses_what_does_not_fit_is_set_down(found: Catalogue) -> None:
    """The task goes where it fits, as the default places it."""
    floor = Floor(lambda task, where: 1.0, found, placement="nowhere")
    floor.instance("a", slots=1.0)
    floor.instance("b", slots=1.0, gpu=2.0)
    floor.submit(Task("t", "s.h", need={"gpu": 1.0}))
    assert [(name, where) for name, where, _ in floor.started] == [("t", "b")]
    assert "does not fit" in next(one.fields["why"] for one in floor.noted if one.what == "policy_failed")


@pytest.mark.parametrize("key", [float("nan"), float("inf"), "first", None])
def test_keys_that_are_no_numbers_never_reach_a_heap(key: object, found: Catalogue) -> None:
    """They would make the order of everything undefined."""
    ordering = found.build("ordering", "moody")
    object.__setattr__(ordering, "inner", type("Odd", (), {"key": lambda self, task: key})())
    assert ordering.key(Waiting(7)) == BUILT_IN.build("ordering", "priority").key(Waiting(7))
    assert "no finite number" in ordering.fault
