"""P6 for the coordinator's core: whatever comes, nothing raises, nothing grows without bound, honest work is done beside it."""

from __future__ import annotations

import gc
from random import Random

import pytest

from orchestrator.core import commands as c
from orchestrator.core import events as e
from orchestrator.core import invariants
from orchestrator.core.config import Config
from orchestrator.core.custody.graveyard import SPARE_KEPT
from orchestrator.core.custody.keeping import SPARE_KEYS
from orchestrator.core.custody.memory import UNKNOWN_MAX
from orchestrator.core.desk import REFUSALS_AT_ONCE
from orchestrator.core.registry import credence
from orchestrator.core.scheduler.backlog import DEMANDS_MAX
from orchestrator.core.tasks import door
from orchestrator.vocabulary import NS_PER_S, TYPES_MAX, Attempt, handler_of, service_of
from orchestrator.wire.messages import (
    Announce,
    Beat,
    Edge,
    Handler,
    Held,
    Holding,
    Leave,
    Note,
    Notes,
    Report,
    Reports,
    Submit,
    Task,
)
from tests.hostile.facts import Strange
from tests.hostile.siege import AGENT_USER, ROGUE_USER, Siege

PLACES = ("intake", "reports", "registry", "control")


@pytest.mark.parametrize("seed", [1, 2])
def test_a_siege(seed: int) -> None:
    """Twenty thousand hostile messages of all sorts for all queues: every honest task is done beside them, with its own result;
    every delivery is settled; the books hold; what is remembered is bounded."""
    siege = Siege(seed)
    desk = siege.machine.desk
    honest = []
    for turn in range(200):
        for place in PLACES:
            siege.blows(place, 25, large=True)
        honest += siege.honest(5)
        if turn % 4 == 0:
            siege.beat()
        if turn % 20 == 0:
            invariants.check(desk)
    assert [name for name in honest if siege.results[name].outcome != "done"] == []
    assert {siege.results[name].value for name in honest} == {b"\x01"}
    assert siege.handed - len([one for one in siege.settled if one[0] == "hostile"]) <= credence.EARLY_MAX  # type: ignore[index]
    assert desk.counts["malformed"] > 5_000
    assert desk.counts["forged"] > 1_000
    assert set(desk.custody.served) == {"thumbs"} == set(desk.registry.pools)
    assert not desk.backlog.needs
    assert len(desk.offences.rows) < 20
    assert siege.said["offence"] < 60, "a line at the first, the tenth, the hundredth"
    assert siege.buried < 2_000, "a few samples of each, and letters about refused tasks that nobody waits for"


def test_liars_among_the_agents() -> None:
    """The same by somebody who publishes as the agents' own user: he is believed what he says of them, so work may suffer; but
    nothing raises, the books hold, nothing grows, and whom he makes up is gone when the first orders for him come back."""
    siege = Siege(3, rogue=AGENT_USER)
    desk = siege.machine.desk
    honest = []
    for turn in range(100):
        for place in PLACES:
            siege.blows(place, 25)
        honest += siege.honest(5)
        if turn % 4 == 0:
            siege.beat()
        if turn % 10 == 0:
            invariants.check(desk)
        assert desk.registry.instances.keys() <= set(siege.corpus.known.incarnations)
    assert desk.counts["instances_lost"] > 100, "he made up many"
    assert desk.phase == "leading"
    assert set(desk.custody.served) == {"thumbs"} == set(desk.registry.pools)
    assert len(desk.offences.rows) < 20
    assert siege.said["offence"] < 60
    assert len([name for name in honest if name in siege.results]) > len(honest) / 4, "it suffers, and goes on"


@pytest.mark.parametrize("first", range(0, 120, 40))
def test_facts_that_nobody_would_write(first: int) -> None:
    """A ledger with well-formed nonsense in it stops no coordinator that reads it, leading or not: it takes what it can. A forged
    claim ends a reign, as a true one would; with its next session it leads again, and its books hold."""
    ended = 0
    for seed in range(first, first + 40):
        dice, siege = Random(seed), Siege(seed)
        for _ in range(30):
            if dice.random() < 0.3:
                siege.honest(2)
            if dice.random() < 0.2:
                siege.beat()
            strange = Strange(dice, siege.now_ns, siege.corpus.known.tasks, siege.corpus.known.incarnations)
            siege.read(strange.entry(("n1", "evil")))
            if siege.machine.desk.phase != "leading":
                ended += 1
                siege.step(e.SessionLost("another claimed"))
                siege.step(e.SessionOpened("n1"), e.TokenHeld())
            assert siege.machine.desk.phase == "leading"
        invariants.check(siege.machine.desk)
    assert ended, "nobody forged a claim"


def test_ten_thousand_services_are_announced_and_nobody_is_there() -> None:
    """Names without anybody behind them cost a place for a moment, at a bounded rate; no queue is made for them, nothing that they
    say of handlers counts, and an honest instance of another user comes in meanwhile."""
    siege = Siege(4, agents=0)
    desk = siege.machine.desk
    crowd = [
        e.Arrived(Announce(f"g{n}", f"g{n}.1", f"service{n}", [handler], {"slots": 9}), None, "", ROGUE_USER)
        for n, handler in ((n, Handler(f"h{n}", need={"slots": 9})) for n in range(10_000))
    ]
    siege.step(*crowd)
    assert desk.counts["crowded"] >= 10_000 - door.AT_ONCE - 100
    assert not desk.registry.instances, "orders for them came back"
    siege.step(*crowd)
    assert not desk.registry.pools
    assert not desk.custody.joined
    assert not desk.custody.served
    assert not desk.backlog.needs
    assert not siege.opened
    siege.settle_in("late-1.1")
    assert desk.registry.instances["late-1.1"].state == "ready"
    assert siege.opened == ["thumbs"]


def test_who_brings_ghosts_is_let_in_slowly() -> None:
    """Names with nobody behind them are charged to their user. Meanwhile a fleet of another user comes in all at once."""
    siege = Siege(13, agents=0)
    desk = siege.machine.desk
    for second in range(20):
        ghosts = [
            e.Arrived(Announce(f"g{n}", f"g{second}.{n}", "thumbs", [Handler("h")], {"slots": 1}), None, "", ROGUE_USER)
            for n in range(1_000)
        ]
        siege.step(*ghosts)
        siege.now_ns += NS_PER_S
    assert desk.counts["instances_lost"] < door.AT_ONCE + 20 * NS_PER_S // (door.EVERY_NS * door.GHOST) + 100
    for n in range(door.AT_ONCE // 10):
        siege.settle_in(f"honest-{n}.1")
    assert sum(one.state == "ready" for one in desk.registry.instances.values()) == door.AT_ONCE // 10


def test_who_says_nothing_new_does_not_wait_for_the_ledger() -> None:
    """While an append is under way, reports that are not believed, and tasks that are known and live, are done with at once: a
    flood of these must not fill the window of deliveries in which honest ones come."""
    siege = Siege(14)
    siege.silent = True
    desk, machine = siege.machine.desk, siege.machine
    (known,) = siege.honest(1)
    under_way = machine.step(siege.now_ns, [e.Arrived(Submit([Task("new", "thumbs.resize")]), ("new",), "replies", "producers")])
    assert [type(one) for one in under_way] == [c.Append]
    forged = Report(known, Attempt(desk.epoch, 99), "done", b"forged")
    out = machine.step(
        siege.now_ns,
        [
            e.Arrived(Reports("nobody.1", [forged]), ("forged",), "", ROGUE_USER),
            e.Arrived(Reports(siege.corpus.known.incarnations[0], [forged]), ("in another's name",), "", ROGUE_USER),
            e.Arrived(Submit([Task(known, "thumbs.resize")]), ("again",), "replies", "producers"),
            e.Arrived(Submit([Task("new", "thumbs.resize")]), ("new again",), "replies", "producers"),
        ],
    )
    settled = [handle for one in out if isinstance(one, c.Settle) for handle in one.handles]
    assert settled == [("forged",), ("in another's name",), ("again",)], "what is on its way to the ledger is waited for"


@pytest.mark.parametrize("reply_to", ["replies", ""])
def test_refusals_are_written_down_at_a_rate(reply_to: str) -> None:
    """Whoever submits what can never run is told so of each task; so many are remembered, and what has nowhere to be told is
    counted and sampled. Another user's refusals are still written down."""
    siege = Siege(15)
    desk = siege.machine.desk
    total = 30_000
    for first in range(0, total, 100):
        tasks = [Task(f"n{first + n}", "thumbs.paint") for n in range(100)]
        siege.step(e.Arrived(Submit(tasks), ("refused", first), reply_to, ROGUE_USER))
    known = len(desk.custody.graves)
    assert REFUSALS_AT_ONCE <= known < REFUSALS_AT_ONCE + 200
    assert len([one for one in siege.settled if one[0] == "refused"]) == total // 100  # type: ignore[index]
    if reply_to:
        assert sum(siege.results[f"n{n}"].outcome == "refused" for n in range(total)) == total
    else:
        assert siege.buried < REFUSALS_AT_ONCE + 200
        assert desk.counts["crowded"] == total - known
    siege.step(e.Arrived(Submit([Task("other", "thumbs.paint")]), ("other",), "replies", "producers"))
    assert desk.custody.graves["other"].outcome == "refused"


def test_nobody_speaks_for_another() -> None:
    """A farewell, a beat, notes and an announcement in the name of an honest instance, by another user: counted, without effect."""
    siege = Siege(5)
    desk = siege.machine.desk
    name = siege.corpus.known.incarnations[0]
    before = desk.registry.instances[name].announced
    for said in (
        Leave(name, "bye"), Beat(name, 2**53, desk.epoch, 2**53, [], draining=True), Announce("evil", name, "thumbs", [], {}),
        Notes(name, [Note("t", Attempt(1, 1), "stopped")]),
    ):  # fmt: skip
        siege.step(e.Arrived(said, None, "", ROGUE_USER))
    assert desk.counts["forged"] == 4
    assert desk.registry.instances[name].state == "ready"
    assert desk.registry.instances[name].announced is before
    assert [(row.what, row.where, row.user) for row in desk.offences.rows.values()] == [("forged", "registry", ROGUE_USER)]


def test_nobody_becomes_the_owner_of_an_agent_that_does_not_say_as_whom_it_speaks() -> None:
    """An agent of another make that sets no user: whoever announces in its name, it is still heard itself."""
    siege = Siege(10, agents=0)
    said = Announce("plain", "plain.1", "thumbs", [Handler("resize")], {"slots": 1})
    siege.step(e.Arrived(said))
    instances = siege.machine.desk.registry.instances
    siege.step(e.Arrived(said), e.Arrived(said, None, "", ROGUE_USER))
    siege.step(e.Arrived(said), e.Arrived(Beat("plain.1", 1)))
    assert all(one.user == "" for one in instances.values())
    assert not siege.machine.desk.counts["forged"]


def test_results_of_others_are_not_believed() -> None:
    """A task that runs on one instance is not ended by what another says, nor by one that nobody knows, nor under a number that was
    never given out; by its own it is."""
    siege = Siege(6, agents=2)
    desk = siege.machine.desk
    siege.silent = True
    (task,) = siege.honest(1)
    record = desk.custody.live[task]
    ((attempt, where),) = record.live.items()
    other = next(one for one in siege.corpus.known.incarnations if one != where)
    for sender, number, user in (
        (other, attempt.n, AGENT_USER), ("nobody.1", attempt.n, ROGUE_USER), (where, attempt.n, ROGUE_USER),
        (where, attempt.n + 1, AGENT_USER), ("nobody.1", 1, AGENT_USER),
    ):  # fmt: skip
        report = Report(task, Attempt(attempt.epoch, number), "done", b"forged")
        siege.step(e.Arrived(Reports(sender, [report]), ("forged", sender, number, user), "", user))
    assert task in desk.custody.live
    assert desk.counts["forged"] == 4, "whom nobody knows, of the user that runs it, may be about to introduce itself"
    for _ in range(12):
        siege.beat()
    assert task in desk.custody.live
    assert desk.counts["forged"] == 5
    assert ("forged", "nobody.1", 1, AGENT_USER) in siege.settled
    siege.step(e.Arrived(Reports(where, [Report(task, attempt, "done", b"own")]), ("own",), "", AGENT_USER))
    assert siege.results[task].value == b"own"


def test_what_an_agent_said_before_it_came_back_is_believed() -> None:
    """Its report lies in the queue when its connection is lost; it comes back, tells that it has that attempt finished, and only
    then is the report read: it is as good as the one that will be said again. In another user's mouth it is not."""
    siege = Siege(11, agents=1)
    siege.silent = True
    (task,) = siege.honest(1)
    desk = siege.machine.desk
    ((attempt, _),) = desk.custody.live[task].live.items()
    siege.step(e.SessionLost("cut"))
    siege.step(e.SessionOpened("n1"), e.TokenHeld())
    ((again, holder),) = desk.custody.live[task].live.items()
    assert again == attempt, "found with its agent, not assigned"
    report = Reports("earlier.1", [Report(task, attempt, "done", b"early")])
    siege.step(e.Arrived(report, ("other",), "", ROGUE_USER))
    assert task in desk.custody.live
    siege.step(e.Arrived(report, ("own",), "", desk.registry.instances[holder].user))
    assert siege.results[task].value == b"early"


def test_work_of_tasks_that_nobody_knows() -> None:
    """An agent that makes up attempts of earlier reigns, as if a ledger had been lost: counted, a bounded number by name, and said
    so often as that many, then at the ten thousandth … ."""
    siege = Siege(16)
    siege.step(e.SessionLost("cut"))
    siege.step(e.SessionOpened("n1"), e.TokenHeld())
    desk = siege.machine.desk
    liar = siege.corpus.known.incarnations[0]
    for first in range(0, 20_000, 500):
        made_up = [Holding(f"lost-{first + n}", Attempt(1, 10**6 + first + n), "running") for n in range(500)]
        siege.step(e.Arrived(Held(liar, 2**50 + first, desk.epoch, 2**50, made_up), None, "", AGENT_USER))
    assert desk.past.unknown_count == 20_000
    assert len(desk.past.unknown) == UNKNOWN_MAX
    assert siege.said["unknown_task"] == UNKNOWN_MAX + 1
    assert desk.phase == "leading"


def test_marks_of_leaders_who_never_come() -> None:
    """Empty reports as a later leader lays them are kept for it, a few and for a while: they must not fill what may be open."""
    siege = Siege(7)
    for number in range(1_000):
        siege.step(e.Arrived(Reports(f"nonce.{10**6 + number}"), ("mark", number)))
    unsettled = 1_000 - len([one for one in siege.settled if one[0] == "mark" and one[1] != siege.machine.desk.mark])  # type: ignore[index]
    assert unsettled <= credence.EARLY_MAX
    for _ in range(12):
        siege.beat()
    assert len([one for one in siege.settled if isinstance(one, tuple) and one[0] == "mark" and one[1] in range(1_000)]) == 1_000


def test_no_timer_outlives_its_reason() -> None:
    """Tasks with a deadline in a hundred years that end at once leave nothing in the heap of timers."""
    siege = Siege(8)
    desk = siege.machine.desk
    far_ns = siege.now_ns + 100 * 365 * 86_400 * NS_PER_S
    for start in range(0, 30_000, 1_000):
        tasks = [Task(f"d{start + n}", "thumbs.resize", deadline_ns=far_ns) for n in range(1_000)]
        siege.step(e.Arrived(Submit(tasks), ("deadlines", start), "replies"))
        siege.beat()
    assert desk.counts["done"] == 30_000
    assert len(desk.timers) < 12_000


def test_a_turn_of_rubbish_is_one_event() -> None:
    """What came in one turn of the loop, from one user through one queue, is told in one: all is counted and settled, the first is
    kept, and a line is said when a tenth, a hundredth … is among them."""
    siege = Siege(17)
    for first, rest in ((0, 998), (999, 1), (1_001, 7_000)):
        many = [("rubbish", first + number) for number in range(1, rest + 1)]
        siege.step(e.Garbled("reports", "no map", b"\x01", ("rubbish", first), user=ROGUE_USER, more=list(many)))
        assert {("rubbish", first), *many} <= siege.settled
    assert siege.machine.desk.counts["malformed"] == 8_002
    (row,) = siege.machine.desk.offences.rows.values()
    assert (row.count, row.kept, siege.buried) == (8_002, 3, 3)
    assert siege.said["offence"] == 2, "at the first and at the thousandth"


def test_what_has_ended_does_not_wait_for_the_collector() -> None:
    """Tasks, demand classes and lanes are gone when they are over: what holds itself would pile up between two looks for it."""
    siege = Siege(18)
    siege.honest(50)
    siege.beat()
    gc.collect()
    gc.disable()
    try:
        for _ in range(40):
            siege.honest(50)
            siege.beat()
        assert gc.collect() < 40
    finally:
        gc.enable()


def test_what_a_flood_invents_fills_no_table() -> None:
    """Types and demands that are asked for once are not remembered by the thousand; those of real work are told apart as before."""
    siege = Siege(19)
    desk = siege.machine.desk
    for first in range(0, 5_000, 100):
        tasks = [Task(f"o{n}", f"thumbs.h{n}", need={"slots": 1 + n, "gpu": n / 7}) for n in range(first, first + 100)]
        siege.step(e.Arrived(Submit(tasks), ("odd", first), "replies", ROGUE_USER))
    assert len(desk.backlog._demands) <= DEMANDS_MAX
    assert service_of.cache_info().currsize + handler_of.cache_info().currsize <= 2 * TYPES_MAX
    assert {siege.results[name].outcome for name in siege.honest(20)} == {"done"}


@pytest.mark.parametrize("who", ["leads", "follows"])
@pytest.mark.parametrize("waiting", [0, 5])
def test_what_is_forgotten_leaves_nothing(waiting: int, who: str) -> None:
    """From the end of the dedup window on nothing grows: as many rows, kept results and burials as ids that are remembered; also
    while tasks wait (for a service that nobody runs) that are older than all of these, and while one waits whose parent is done.
    With who follows it is the same, though it places nothing and writes nothing."""
    siege = Siege(12, config=Config(dedup_ns=60 * NS_PER_S))
    desk = siege.follow().desk if who == "follows" else siege.machine.desk
    for number in range(waiting):
        siege.step(e.Arrived(Submit([Task(f"patient-{number}", "nobody.x")]), ("patient", number), "replies", "producers"))
    if waiting:
        family = [Task("parent", "thumbs.resize"), Task("child", "nobody.x", after=(Edge("parent"),))]
        siege.step(e.Arrived(Submit(family), ("family",), "replies", "producers"))
    found = []
    for turn in range(5):
        for beat in range(40):
            siege.honest(50)
            siege.come_and_go(f"passing.{turn * 40 + beat}")
            siege.beat()
        yard, graves, tasks = desk.custody.graveyard, desk.keeping.graves, desk.keeping.tasks
        found.append((len(yard.graves), len(yard._burials), graves.count, len(graves.rows)))
        assert len(desk.custody.live) == waiting + (waiting > 0)
        assert tasks.count <= 1_100
        assert len(yard._kept) <= 2 * len(yard.graves) + SPARE_KEPT
        assert len(yard._spared) + len(yard._unkept) <= 1
        assert desk.keeping.lasting.count <= 1_100
        assert len(desk.registry.instances) == 2
        pool = desk.registry.pools["thumbs"]
        stirred = sum(len(some or ()) for some in desk.stirred.values())
        assert len(pool._changed) + len(pool._uncounted) + stirred <= 6
        assert (
            sum(map(len, (desk.timers, desk.deaths, desk.strangers, desk.touched, desk.lingering, desk.posted, desk.missed))) < 400
        )
    assert found[2] == found[3] == found[4] or waiting
    remembered, burials, rows, entries = found[4]
    assert burials <= remembered <= 50 * 63 + 1
    assert rows <= (remembered * 3 // 2 + SPARE_KEYS if waiting else remembered + 500)
    assert entries <= remembered


def test_more_ended_tasks_than_are_remembered() -> None:
    """Of more than the bound the oldest ids are forgotten early, but never within a minute."""
    siege = Siege(9, config=Config(remembered_max=1_000))
    desk = siege.machine.desk
    for _ in range(50):
        siege.honest(100)
        siege.beat()
    assert len(desk.custody.graves) == 5_000, "a minute has not passed"
    for _ in range(120):
        siege.beat()
    assert len(desk.custody.graves) <= 1_000
    assert desk.custody.graveyard.shortened == 4_000
