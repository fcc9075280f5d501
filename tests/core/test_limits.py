"""What no instance owns: limits are never exceeded, all comes back, nobody who may go is hidden behind somebody who may not."""

from __future__ import annotations

from collections import Counter
from random import Random
from time import perf_counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.core import commands as c
from orchestrator.core import events as e
from orchestrator.core import invariants
from orchestrator.core.coordinator import Coordinator
from orchestrator.core.resources.limits import Limits, Shares, spec_of
from orchestrator.vocabulary import NS_PER_MS, NS_PER_S, Attempt, Nanos
from orchestrator.wire.facts import Asked, Entry
from orchestrator.wire.messages import Announce, Control, Handler, Held, Range, Report, Reports, Submit, Task
from tests.core.script import Script
from tests.core.tail import Tail


class Fleet:
    """A leader with a ledger that reads everything back at once, and instances that do what they are told."""

    def __init__(self, instances: int = 2, slots: int = 4, limits: dict[str, Any] | None = None, seed: int = 0) -> None:
        self.machine = Coordinator("c1", dice=Random(seed), limits=limits)
        self.now_ns = 1_000 * NS_PER_S
        self.offset, self.tail = 0, Tail()
        self.checks = True
        self.held: dict[Attempt, tuple[str, Task]] = {}
        self.tasks: dict[str, Task] = {}
        self.started: list[tuple[Nanos, Task]] = []
        self.step(e.SessionOpened("n1"))
        self.step(e.TokenHeld())
        for number in range(instances):
            name = f"i{number}"
            handlers = [Handler("charge"), Handler("look")]
            self.step(e.Arrived(Announce(name, name, "pay", handlers, {"slots": slots, "cpu": 8})))
            self.step(e.Arrived(Held(name, 1, self.machine.desk.epoch, 1)))

    def step(self, *events: e.Event) -> None:
        todo = self.tail(events)
        while todo:
            commands = self.machine.step(self.now_ns, todo)
            if self.checks:
                invariants.check(self.machine.desk)
            todo = self.tail(event for command in commands for event in self._answer(command))

    def _answer(self, command: c.Command) -> list[e.Event]:
        match command:
            case c.Append(entry=entry):
                self.offset += 1
                return [e.Read(self.offset - 1, 300, entry)]
            case c.SendResults(token=token) | c.Bury(token=token):
                return [e.Sent(token)]
            case c.Lead(mark=mark):
                return [e.Arrived(Reports(mark), "mark")]
            case c.Send(orders=orders):
                for item in orders.assign:
                    self.held[Attempt(orders.epoch, item.n)] = (orders.incarnation, self.tasks[item.task])
                    self.started.append((self.now_ns, self.tasks[item.task]))
        return []

    def limit(self, name: str, **spec: Any) -> None:
        """An operator sets a limit; without anything it is removed."""
        args = {"name": name, "set": spec} if spec else {"name": name, "remove": True}
        self.step(e.Arrived(Control("q", "limit", args), "control"))

    def submit(self, *tasks: Task) -> None:
        self.tasks |= {task.id: task for task in tasks}
        self.step(e.Arrived(Submit(list(tasks)), "submit", "p"))

    def finish(self, attempt: Attempt) -> None:
        incarnation, task = self.held.pop(attempt)
        self.step(e.Arrived(Reports(incarnation, [Report(task.id, attempt, "done", b"\x01")]), "report"))

    def wait(self, span_ns: Nanos) -> None:
        """Time passes; the machine is woken when it asked to be."""
        until_ns = self.now_ns + span_ns
        while (due := self.machine.next_deadline()) is not None and due <= until_ns:
            self.now_ns = max(self.now_ns, due)
            self.step(e.TimePassed())
        self.now_ns = until_ns
        self.step(e.TimePassed())

    def running(self) -> list[Task]:
        return [task for _, task in self.held.values()]


def task(name: str, handler: str = "charge", tenant: str = "", need: dict[str, float] | None = None, **more: Any) -> Task:
    return Task(name, f"pay.{handler}", tenant=tenant, need=dict(need or {}), **more)


# --- laws ---------------------------------------------------------------------------------------------------------------

LIMITS: dict[str, dict[str, Any]] = {
    "api": {"on": "pay.charge", "at_once": 2},
    "fair": {"on": "*", "key": "tenant", "at_once": 2, "per": {"acme": {"at_once": 1}}},
    "cores": {"on": "*", "key": "tenant", "capacity": 3, "of": "cpu"},
    "licence": {"capacity": 3},
    "pace": {"on": "pay.look", "rate": 2, "burst": 2},
}
acts = st.one_of(
    st.tuples(st.just("submit"), st.sampled_from(["charge", "look"]), st.sampled_from(["acme", "bolt", ""]), st.integers(0, 5)),
    st.tuples(st.just("finish"), st.integers(0, 20)),
    st.tuples(st.just("wait"), st.sampled_from([1, 100, 700])),
    st.tuples(st.just("limit"), st.sampled_from(sorted(LIMITS))),
    st.tuples(st.just("cancel"), st.integers(0, 20)),
)
NEEDS: list[dict[str, float]] = [{}, {}, {"cpu": 1}, {"cpu": 3}, {"licence": 1}, {"licence": 2}]


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(story=st.lists(acts, min_size=5, max_size=60), allocation=st.sampled_from(["msa", "mra", "fill"]))
def test_no_limit_is_ever_exceeded_and_all_comes_back(story: list[tuple[Any, ...]], allocation: str) -> None:
    """Whatever is submitted, ends, is cancelled or limited anew: after every step what runs is within every limit that held when
    it started; in the end everything is out no more, and every task has run.
    """
    fleet = Fleet()
    fleet.step(e.Arrived(Control("q", "policy", {"allocation": allocation}), "control"))
    force: dict[str, dict[str, Any]] = {}
    excused: set[Attempt] = set()
    """They ran before some limit came."""
    for number, act in enumerate(story):
        match act:
            case ("submit", handler, tenant, which):
                if "licence" in NEEDS[which] and "licence" not in force:
                    continue  # nobody has licences then: it would be refused
                fleet.submit(task(f"t{number}", handler, tenant, NEEDS[which]))
            case ("finish", which):
                if fleet.held:
                    fleet.finish(sorted(fleet.held)[which % len(fleet.held)])
            case ("wait", span_ms):
                fleet.wait(span_ms * NS_PER_MS)
            case ("cancel", which):
                waiting = sorted(record.id for record in fleet.machine.desk.custody.live.values() if record.place is not None)
                if waiting:
                    fleet.step(e.Arrived(Control("q", "cancel", {"task": waiting[which % len(waiting)]}), "control"))
            case ("limit", name):
                if name in force and name != "licence":
                    del force[name]
                    fleet.limit(name)
                else:
                    force[name] = LIMITS[name]
                    fleet.limit(name, **LIMITS[name])
                    excused |= fleet.held.keys()
        within(fleet, force, excused)
    for name in sorted(force):
        fleet.limit(name, **(LIMITS[name] | {"rate": 1000}) if name == "pace" else LIMITS[name])
    for _ in range(500):
        fleet.wait(10 * NS_PER_MS)
        for attempt in sorted(fleet.held):
            fleet.finish(attempt)
    desk = fleet.machine.desk
    assert not desk.custody.live, [(record.id, record.state) for record in desk.custody.live.values()]
    assert all(meter.tasks == meter.amount == 0 for meter in desk.sharing.meters.values())


def within(fleet: Fleet, force: dict[str, dict[str, Any]], excused: set[Attempt]) -> None:
    """The books of an outsider, from assignments and reports alone."""
    running = [one for attempt, (_, one) in fleet.held.items() if attempt not in excused]
    if "api" in force:
        assert sum(one.type == "pay.charge" for one in running) <= 2
    if "fair" in force:
        assert all(count <= (1 if tenant == "acme" else 2) for tenant, count in Counter(one.tenant for one in running).items())
    if "licence" in force:
        assert sum(one.need.get("licence", 0) for one in running) <= 3  # type: ignore[misc]
    if "cores" in force:
        for tenant in ("acme", "bolt", ""):
            assert sum(one.need.get("cpu", 0) for one in running if one.tenant == tenant) <= 3  # type: ignore[misc]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    rate=st.sampled_from([0.5, 3, 20, 333.333]),
    burst=st.sampled_from([None, 1, 7.5]),
    gaps=st.lists(st.integers(0, 900), max_size=12),
)
def test_a_bucket_lets_no_more_through_than_it_says(rate: float, burst: float | None, gaps: list[int]) -> None:
    """In every span of time no more start than the burst and what came in meanwhile."""
    bounds = {"rate": rate} | ({} if burst is None else {"burst": burst})
    fleet = Fleet(slots=1000, limits={"pace": {"on": "*", **bounds}})
    fleet.checks = False
    number = 0
    for gap_ms in gaps:
        fleet.submit(*(task(f"t{number + n}") for n in range(10)))
        number += 10
        fleet.wait(gap_ms * NS_PER_MS)
    begun = [at_ns for at_ns, _ in fleet.started]
    holds = burst if burst is not None else max(1, rate * 0.1)
    for first, at_ns in enumerate(begun):
        for last in range(first, len(begun)):
            assert last - first + 1 <= holds + rate * (begun[last] - at_ns) / NS_PER_S + 1e-6


@pytest.mark.parametrize(
    ("rate", "burst", "expected"), [(20, None, 2 + 60), (20, 1, 1 + 60), (0.5, None, 1 + 1), (1000, 7, 7 + 3000)]
)
def test_a_bucket_lets_through_what_it_says(rate: float, burst: float | None, expected: int) -> None:
    """After a quiet time a burst and then, for three seconds in which enough wait, exactly the rate; each at its very moment."""
    bounds = {"rate": rate} | ({} if burst is None else {"burst": burst})
    fleet = Fleet(slots=10_000, limits={"pace": {"on": "*", **bounds}})
    fleet.checks = False
    fleet.wait(5 * NS_PER_S)
    fleet.submit(*(task(f"t{n}") for n in range(4000)))
    first_ns = fleet.now_ns
    fleet.wait(3 * NS_PER_S)
    assert len(fleet.started) == expected
    steady = [at_ns for at_ns, _ in fleet.started if at_ns > first_ns]
    assert all(abs((at_ns - first_ns) * rate / NS_PER_S - n) < 1e-6 for n, at_ns in enumerate(steady, 1))


# --- who goes first -----------------------------------------------------------------------------------------------------


def test_the_first_in_order_gets_what_comes_back_whatever_its_class() -> None:
    """Tasks of several types, demands and tenants wait for one limit: a unit goes to the first of them all."""
    fleet = Fleet(instances=1, slots=50, limits={"api": {"on": "*", "at_once": 1}})
    fleet.step(e.Arrived(Control("q", "policy", {"ordering": "priority"}), "control"))
    order = []
    for n in range(12):
        one = task(f"t{n}", ["charge", "look"][n % 2], f"x{n % 3}", [{}, {"cpu": 1}][n // 2 % 2], priority=(n * 7) % 5)
        fleet.submit(one)
        order.append(one)
    begun = []
    while fleet.held:
        begun += [one.id for one in fleet.running()]
        fleet.finish(next(iter(fleet.held)))
    first, *rest = order
    assert begun == [first.id, *(one.id for one in sorted(rest, key=lambda one: (-one.priority, int(one.id[1:]))))]


def test_a_limit_across_services_goes_by_the_order_of_all() -> None:
    """The unit that comes back goes to whoever has waited longest, of whichever service, though another task came just now."""
    script = Script()
    for line in ["coordinator c1", "agent a pay.charge slots=9", "agent b mail.send slots=9", "limit line on=* at_once=1"]:
        script.line(line)
    script.line("submit t1 pay.charge")
    script.line("submit t2 mail.send")
    script.line("submit t3 pay.charge")
    assert any("run t2" in said for said in script.line("a finishes t1"))
    assert any("run t3" in said for said in script.line("b finishes t2"))


def test_one_who_cannot_run_does_not_keep_the_unit_from_others() -> None:
    """The first in order waits for an instance too: the unit that is free goes to the next, of another type."""
    script = Script()
    for line in ["coordinator c1", "agent a pay.charge,look slots=2 cpu=2", "limit api on=* at_once=2"]:
        script.line(line)
    script.line("submit t1 pay.charge need=cpu:2")
    script.line("submit t2 pay.look")
    script.line("submit t3 pay.charge need=cpu:2")
    script.line("submit t4 pay.look")
    assert any("run t4" in said for said in script.line("a finishes t2"))


def test_a_better_one_that_comes_to_a_waiting_lane_is_not_kept_behind_the_one_that_was_woken() -> None:
    """The unit is free, but no slot; a task of another tenant, which waited already, gets a more urgent companion meanwhile."""
    script = Script()
    for line in ["coordinator c1", "agent a pay.charge,look slots=1", "agent b mail.send slots=1"]:
        script.line(line)
    script.line("limit all on=*.*e* at_once=1")  # pay.charge and mail.send
    script.line("limit each on=* key=tenant at_once=9")
    script.line("submit s mail.send tenant=m")
    script.line("submit t1 pay.charge tenant=x")
    script.line("submit t2 pay.charge tenant=y")
    script.line("submit u pay.look")
    script.line("b finishes s")
    script.line("submit t3 pay.charge tenant=y priority=9")
    assert any("run t3" in said for said in script.line("a finishes u"))


def test_what_comes_back_costs_one_look_however_many_wait() -> None:
    """Five thousand tenants, each with a limit of its own, wait for one unit that all share; passing it on touches few of them."""
    took = []
    for tenants in (50, 5_000):
        limits = {"all": {"on": "*", "at_once": 1}, "each": {"on": "*", "key": "tenant", "at_once": 1}}
        fleet = Fleet(instances=1, slots=50, limits=limits)
        fleet.checks = False
        for first in range(0, tenants, 50):
            fleet.submit(*(task(f"t{n}", tenant=f"tenant{n}") for n in range(first, first + 50)))
        began = perf_counter()
        for _ in range(40):
            fleet.finish(next(iter(fleet.held)))
        took.append((perf_counter() - began) / 40)
        assert len(fleet.held) == 1
    print(f"\na unit passed on: {took[0] * 1e6:.0f} us with 50 lanes, {took[1] * 1e6:.0f} us with 5,000")
    assert took[1] < 20 * took[0]


# --- what is said of it -------------------------------------------------------------------------------------------------


def test_who_asks_for_nothing_is_not_held_back_by_a_limit_that_is_exceeded() -> None:
    """A capacity shrinks under what is out; a task that takes none of it starts."""
    fleet = Fleet(instances=1)
    fleet.limit("cores", of="cpu", on="pay.*", capacity=8)
    fleet.submit(task("all", need={"cpu": 8}))
    fleet.limit("cores", of="cpu", on="pay.*", capacity=4)
    fleet.submit(task("none", need={"cpu": 0}), Task("range", "pay.charge", need={"cpu": Range(0, 1)}))
    assert {one.id for one in fleet.running()} == {"all", "none", "range"}


def test_settings_speak_where_nobody_else_has() -> None:
    """A leader writes down what its settings say, once; what an operator says later stands, also against the settings."""
    fleet = Fleet(limits={"api": {"on": "*", "at_once": 5}})
    known = fleet.machine.desk.custody.limits
    assert known["api"][0].value == {"name": "api", "revision": 1, "spec": {"on": "*", "at_once": 5}}
    fleet.limit("api", on="*", at_once=1)
    fleet.step(e.SessionLost("for a moment"), e.SessionOpened("n2"), e.TokenHeld())
    assert known["api"][0].value["spec"]["at_once"] == 1
    assert known["api"][0].value["revision"] == 2
    fleet.limit("api")
    fleet.step(e.SessionLost("for a moment"), e.SessionOpened("n3"), e.TokenHeld())
    assert known["api"][0].value["spec"] is None


def test_a_late_word_of_a_deposed_leader_brings_no_limit_back() -> None:
    """It carried an old revision forward; the newer one stands. One that makes no sense at all is told and left."""
    fleet = Fleet()
    fleet.limit("api", on="*", at_once=5)
    old = fleet.machine.desk.custody.limits["api"][0]
    fleet.limit("api")
    nonsense = [
        None,
        7,
        {"name": "api"},
        {"name": "no name", "revision": 9},
        {"name": "api", "revision": 9, "spec": {"at_most": 1}},
    ]
    for value in ({"name": "api"}, *nonsense):
        fact = old if value == {"name": "api"} else Asked("limit", 1, value=value)
        fleet.step(e.Read(fleet.offset, 100, Entry("deposed", fleet.offset, facts=[fact])))
        fleet.offset += 1
        assert not fleet.machine.desk.sharing.limits
    fleet.submit(task("t1"))
    assert len(fleet.held) == 1


@pytest.mark.parametrize(
    ("name", "spec", "says"),
    [
        ("no name", {"at_once": 1}, "cannot be called"),
        ("slots", {"at_once": 1}, "cannot be called slots"),
        ("api", {}, "limits nothing"),
        ("api", {"on": "pay", "at_once": 1}, "write SERVICE.HANDLER, or 'pay.*' for a whole service"),
        ("api", {"at_once": 1, "key": "colour"}, "the key must be one of"),
        ("api", {"at_once": -1}, ">= 0"),
        ("api", {"at_once": 1, "per": {"acme": {"at_once": 2}}}, "need a key"),
        ("api", {"at_once": 1, "burst": 2}, "without a rate"),
        ("api", {"at_most": 1}, "unknown field"),
        ("api", {"capacity": 1, "of": "no name"}, "no name of a resource"),
        ("cpu", {"capacity": 1}, "would hide"),
    ],
)
def test_what_cannot_be_a_limit_is_refused(name: str, spec: dict[str, Any], says: str) -> None:
    """With the reason, and nothing is written."""
    fleet = Fleet()
    told: list[str] = []
    commands = fleet.machine.step(fleet.now_ns, [e.Arrived(Control("q", "limit", {"name": name, "set": spec}), None, "o")])
    told = [one.answer.error.message for one in commands if isinstance(one, c.Reply) and one.answer.error is not None]
    assert len(told) == 1
    assert says in told[0] or "must be an id" in told[0]
    assert not fleet.machine.desk.custody.limits


def shares(limit: dict[str, Any], one: Task) -> Shares:
    return Limits({"x": spec_of("x", limit)}).shares(one, None, one.priority)


def test_to_whom_a_limit_applies() -> None:
    """Those whose type, tenant and labels match, and those that name it; each key has a share of its own."""
    charge = task("t", tenant="acme", labels={"team": "red"}, affinity="k", priority=3)
    assert shares({"at_once": 1, "on": "pay.*"}, charge)
    assert shares({"at_once": 1, "on": "pay.charge"}, charge)
    assert not shares({"at_once": 1, "on": "pay.look"}, charge)
    assert not shares({"at_once": 1}, charge), "nobody named it"
    assert shares({"at_once": 1}, task("t", need={"x": 1}))
    assert shares({"at_once": 1, "tenant": "acme"}, charge)
    assert not shares({"at_once": 1, "on": "pay.*", "tenant": "bolt"}, charge)
    assert shares({"at_once": 1, "labels": {"team": "red"}}, charge)
    assert not shares({"at_once": 1, "labels": {"team": "blue"}}, charge)
    keys = ["tenant", "type", "service", "affinity", "priority", "label:team", "label:none"]
    found = [shares({"at_once": 1, "on": "*", "key": key}, charge)[0].key for key in keys]
    assert found == ["acme", "pay.charge", "pay", "k", "3", "red", ""]
    assert shares({"capacity": 4}, task("t", need={"x": 2}))[0].amount == 2000
    assert shares({"capacity": 4, "of": "cpu", "on": "*"}, task("t", need={"cpu": 1.5}))[0].amount == 1500
    assert shares({"capacity": 4, "of": "slots", "on": "*"}, charge)[0].amount == 1000
