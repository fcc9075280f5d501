"""Circles of needs: found wherever they are, and nowhere else. (What follows from one is told by ``scenarios/circles.txt``.)"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.config import Config
from orchestrator.core.desk import Desk
from orchestrator.core.registry import dependencies
from orchestrator.core.registry.registry import Instance
from orchestrator.wire.facts import Joined
from orchestrator.wire.messages import Announce, Dependency

services = st.sampled_from("abcde")
wants = st.tuples(services, st.sets(services, max_size=3), st.sampled_from(["start", "dispatch"]))


def arrive(desk: Desk, number: int, service: str, needs: list[Dependency]) -> Instance:
    """An instance joins and says what it needs."""
    name = f"i{number}"
    instance = desk.registry.add(Instance(name, name, service))
    desk.registry.describe(instance, Announce(name, name, service, [], {}, depends_on=needs))
    desk.custody.join(Joined(name, name, service, number), number)
    dependencies.judge(desk)
    return instance


def circular(needs: dict[str, set[str]]) -> bool:
    """As the standard library sees it."""
    try:
        TopologicalSorter(needs).prepare()
    except CycleError:
        return True
    return False


@given(st.lists(wants, max_size=10))
def test_whoever_closes_a_circle_and_only_they(wanted: list[tuple[str, set[str], str]]) -> None:
    """In the order of joining: an instance is circular if and only if its needs at start beside the accepted ones are a circle."""
    desk = Desk("c", Config(), Random(0))
    accepted: dict[str, set[str]] = {}
    for number, (service, needed, at) in enumerate(wanted):
        needs = [Dependency(one, at) for one in sorted(needed)]  # type: ignore[arg-type]
        instance = arrive(desk, number, service, needs)
        mine = needed if at == "start" else set()
        trial = {name: set(needs) for name, needs in accepted.items()}
        trial.setdefault(service, set()).update(mine)
        assert bool(instance.circle) == circular(trial), instance.circle
        if not instance.circle:
            accepted = trial
        else:  # it is a true circle, told from itself to itself along needs that there are
            assert instance.circle[0] == instance.circle[-1] == service
            assert instance.circle[1] in needed
            for one, other in zip(instance.circle[1:], instance.circle[2:], strict=False):
                assert other in accepted[one]


@given(st.lists(wants, max_size=10), st.randoms(use_true_random=False))
def test_the_verdict_does_not_depend_on_who_announces_first(wanted: list[tuple[str, set[str], str]], dice: Random) -> None:
    """A new leader hears them in any order; the ledger says who joined first."""
    verdicts = []
    ranked = list(enumerate(wanted))
    for order in (ranked, dice.sample(ranked, len(ranked))):
        desk = Desk("c", Config(), Random(0))
        heard = [
            arrive(desk, number, service, [Dependency(one, at) for one in sorted(needed)])  # type: ignore[arg-type]
            for number, (service, needed, at) in order
        ]
        verdicts.append({one.incarnation: one.circle for one in heard})
    assert verdicts[0] == verdicts[1]


def test_needing_oneself_at_start_is_a_circle() -> None:
    """The shortest."""
    desk = Desk("c", Config(), Random(0))
    assert arrive(desk, 1, "a", [Dependency("a")]).circle == ("a", "a")
    assert arrive(desk, 2, "b", [Dependency("b", "dispatch")]).circle == ()


def test_who_has_left_or_needs_it_no_more_is_not_told_of_a_service() -> None:
    """Only who depends on a service is looked at when one of its instances is ready, however many others there are."""
    desk = Desk("c", Config(), Random(0))
    first, second = (arrive(desk, number, "a", [Dependency("b", "start"), Dependency("c", "start")]) for number in (1, 2))
    assert {name: list(some) for name, some in desk.registry.dependents.items()} == {"b": ["i1", "i2"], "c": ["i1", "i2"]}
    desk.registry.describe(first, Announce("i1", "i1", "a", [], {}, depends_on=[Dependency("c", "dispatch")]))
    assert {name: list(some) for name, some in desk.registry.dependents.items()} == {"b": ["i2"], "c": ["i2", "i1"]}
    desk.registry.remove(second)
    desk.registry.remove(first)
    assert not desk.registry.dependents
