"""Single devices: a part lies on one, whole ones are nobody else's, and all of it comes back to where it was taken."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.resources.devices import Shelf, rising
from orchestrator.resources import demand_of
from orchestrator.wire.messages import Range
from tests.core.script import Script

AMOUNTS = [0.001, 0.25, 0.3, 0.5, 0.999, 1, 2, 3]


@settings(max_examples=200, derandomize=True)
@given(
    count=st.integers(0, 4),
    steps=st.lists(st.one_of(st.sampled_from(AMOUNTS), st.integers(0, 20).map(lambda which: -which - 1)), max_size=40),
)
def test_no_device_is_ever_given_twice(count: int, steps: list[float]) -> None:
    """Takes and gives in any order: what a device has given out is never more than one, and adds up with what is free."""
    shelf = Shelf("gpu", [f"G{n}" for n in range(count)])
    out: list[tuple[list[str], int]] = []
    for step in steps:
        if step < 0:
            if out:
                shelf.give(*out.pop(int(-step - 1) % len(out)))
        else:
            amount = round(step * 1000)
            if shelf.short(amount) is not None:
                assert amount >= 1000 or all(free < amount for free in shelf.free.values())
                assert amount < 1000 or sum(free == 1000 for free in shelf.free.values()) * 1000 < amount
                continue
            names = shelf.pick(amount)
            assert len(set(names)) == max(1, amount // 1000)
            shelf.take(names, amount)
            out.append((names, amount))
        given_out: Counter[str] = Counter()
        for names, amount in out:
            given_out.update(dict.fromkeys(names, amount // len(names)))
        assert all(given_out[name] + free == 1000 and free >= 0 for name, free in shelf.free.items())


@settings(max_examples=200, derandomize=True)
@given(frees=st.lists(st.sampled_from([0, 100, 500, 999, 1000]), max_size=4), low=st.integers(1, 3000), more=st.integers(0, 3000))
def test_what_is_offered_can_be_had(frees: list[int], low: int, more: int) -> None:
    """Where the least fits, the offer lies in the range, and there are devices for exactly that."""
    shelf = Shelf("gpu", [f"G{n}" for n in range(len(frees))])
    shelf.free = {f"G{n}": free for n, free in enumerate(frees)}
    if shelf.short(low) is None:
        offer = shelf.offer(low, low + more)
        assert low <= offer <= low + more
        assert shelf.short(offer) is None


def test_a_part_goes_where_it_leaves_least() -> None:
    """Whole devices stay whole for those who need a whole one."""
    shelf = Shelf("gpu", ["G0", "G1", "G2"])
    shelf.take(["G1"], 600)
    shelf.take(["G2"], 300)
    assert shelf.pick(400) == ["G1"]
    assert shelf.pick(500) == ["G2"]
    assert shelf.pick(800) == ["G0"]


def test_only_whole_devices_are_added_to_a_grant() -> None:
    """A part is granted at its least; between whole ones the range loses its odd end."""
    demand = demand_of({"gpu": Range(1, 2.5), "cpu": Range(1, 2.5)})
    assert rising(demand, {"gpu": Shelf("gpu", [])}).parts == (("cpu", 1000, 2500), ("gpu", 1000, 2000), ("slots", 1000, 1000))
    assert rising(demand_of({"gpu": Range(0.25, 2)}), {"gpu": Shelf("gpu", [])}).parts[0] == ("gpu", 250, 250)


@pytest.mark.parametrize(
    ("allocation", "got"), [("msa", "gpu=1 on G0"), ("mra", "gpu=3 on G0,G1,G2"), ("fill", "gpu=3 on G0,G1,G2")]
)
def test_elastic_devices_by_allocation(allocation: str, got: str) -> None:
    """As with any resource, but in whole ones."""
    script = Script()
    for line in ["coordinator c1", f"ask policy allocation={allocation}", "agent a train.fit slots=9 devices.gpu=G0,G1,G2"]:
        script.line(line)
    assert any(got in said for said in script.line("submit t1 train.fit need=gpu:1..3.5"))


def test_a_part_may_grow_into_a_whole_device() -> None:
    """``mra`` on a range from a part to whole ones: whole ones if there are any, else as much as a single one has."""
    script = Script()
    for line in ["coordinator c1", "ask policy allocation=mra", "agent a train.fit slots=9 devices.gpu=G0,G1"]:
        script.line(line)
    assert any("gpu=1 on G0" in said for said in script.line("submit t1 train.fit need=gpu:0.2..1.5"))
    assert any("gpu=0.5 on G1" in said for said in script.line("submit t2 train.fit need=gpu:0.2..0.5"))
    assert any("gpu=0.5 on G1" in said for said in script.line("submit t3 train.fit need=gpu:0.2..4"))


def test_capacity_may_be_less_than_there_are_devices() -> None:
    """Four devices, two of which may be used at a time."""
    script = Script()
    for line in ["coordinator c1", "agent a train.fit slots=9 gpu=2 devices.gpu=G0,G1,G2,G3", "submit t1 train.fit need=gpu:2"]:
        script.line(line)
    script.line("submit t2 train.fit need=gpu:0.5")
    assert any("gpu short by 0.5" in said for said in script.line("ask why t2"))
