"""The producer's machine, scenario by scenario."""

from __future__ import annotations

import random

import pytest

from orchestrator.client.core import Producer
from orchestrator.client.events import (
    Abandoned,
    Cause,
    Confirmed,
    Deliver,
    Ended,
    GaveUp,
    Opened,
    Parcel,
    Publish,
    Published,
    Submitted,
    Verdict,
)
from orchestrator.client.lanes import Limits, weight
from orchestrator.shards import Rule
from orchestrator.vocabulary import NS_PER_MS, NS_PER_S
from orchestrator.wire import codec
from orchestrator.wire.messages import Edge, Range, Shard, Submit, Task
from tests.client.imagined import World, task


@pytest.fixture
def world() -> World:
    """A producer with an open session and small messages (4 tasks)."""
    world = World()
    world.opened()
    return world


def sent(commands: list[object]) -> list[list[str]]:
    return [[each.id for each in command.tasks] for command in commands if isinstance(command, Publish)]


def test_a_lone_task_leaves_in_the_step_that_brought_it(world: World) -> None:
    """Nothing waits for company."""
    assert sent(world.submit(task("t1"))) == [["t1"]]


def test_what_arrives_while_a_message_is_under_way_forms_the_next(world: World) -> None:
    """Group commit: three submissions during one publish share the second message."""
    world.submit(task("t1"))
    assert [sent(world.submit(task(name))) for name in ("t2", "t3")] == [[], []]
    assert sent(world.answer(1, Verdict.CONFIRMED)) == [["t2", "t3"]]


def test_a_full_message_does_not_wait_for_the_one_before(world: World) -> None:
    """Ten tasks at once: two full messages of four are under way together, the rest follows."""
    assert sent(world.submit(*(task(f"t{n}") for n in range(10)))) == [
        ["t0", "t1", "t2", "t3"],
        ["t4", "t5", "t6", "t7"],
    ]
    assert sent(world.answer(1, Verdict.CONFIRMED)) == []
    assert sent(world.answer(2, Verdict.CONFIRMED)) == [["t8", "t9"]]


def test_messages_are_split_by_bytes_too(world: World) -> None:
    """Big arguments travel in smaller company; what is larger than a message alone travels alone."""
    commands = world.submit(task("big", size=2000), task("small"), task("smaller"))
    assert sent(commands) == [["big"]]
    assert sent(world.answer(1, Verdict.CONFIRMED)) == [["small", "smaller"]]


def test_each_service_has_its_own_messages(world: World) -> None:
    """One message carries tasks of one service, and services do not wait for each other."""
    commands = world.submit(task("a1", "a"), task("b1", "b"), task("a2", "a"))
    assert [(each.key, [t.id for t in each.tasks]) for each in commands if isinstance(each, Publish)] == [
        ("a", ["a1", "a2"]),
        ("b", ["b1"]),
    ]


def test_a_workflow_travels_whole_and_across_services_without_key(world: World) -> None:
    """Tasks submitted together share one message, also if it is larger than others may be."""
    commands = world.submit(*(task(f"t{n}", "ab"[n % 2]) for n in range(6)), together=True)
    assert sent(commands) == [[f"t{n}" for n in range(6)]]
    assert commands[0].key == ""  # type: ignore[union-attr]


def test_a_lost_confirm_is_made_good_by_saying_it_again(world: World) -> None:
    """The confirm is lost with the connection: the same task leaves again, and one result is told once."""
    world.submit(task("t1"))
    world.ended(taken=[1])
    assert sent(world.opened()) == [["t1"]]
    world.answer(2, Verdict.CONFIRMED)
    assert [type(each) for each in world.results("t1")] == [Deliver]
    assert world.results("t1") == []
    assert world.machine.counters.duplicates == 1
    assert world.machine.counters.again == 1


def test_accepted_tasks_are_said_again_to_the_new_reply_queue_after_the_unconfirmed(world: World) -> None:
    """The reply queue dies with its session, so what is only owed a result is submitted again as well."""
    world.submit(task("owed"), task("answered"))
    world.answer(1, Verdict.CONFIRMED)
    world.results("answered")
    world.submit(task("open"))
    world.ended()
    assert sent(world.opened()) == [["open", "owed"]]


def test_what_may_have_been_answered_while_results_could_not_find_us_is_said_again(world: World) -> None:
    """In the same session, what is under way too: it may have been accepted and be over. What its old message becomes is nobody's
    affair any more."""
    world.submit(task("owed"), task("answered"))
    world.answer(1, Verdict.CONFIRMED)
    world.results("answered")
    world.submit(task("flying"))
    assert sent(world.unbound(taken=[2])) == [["flying", "owed"]]
    assert world.do(Published(2, Verdict.NACKED)) == []
    world.answer(3, Verdict.CONFIRMED)
    world.results("flying", "owed")
    assert sent(world.unbound()) == []


def test_who_has_no_session_asks_nobody_anew(world: World) -> None:
    """The next one will."""
    world.submit(task("t1"))
    world.ended()
    assert world.unbound() == []
    assert sent(world.opened()) == [["t1"]]


def test_a_confirmed_task_without_reply_is_over(world: World) -> None:
    """Fire and forget ends with the confirm: nothing is kept, nothing is said again."""
    world.submit(task("t1"), reply=False)
    world.answer(1, Verdict.CONFIRMED)
    assert world.machine.outstanding == 0
    world.ended()
    assert sent(world.opened()) == []


def test_a_result_that_overtakes_its_confirm_proves_the_acceptance(world: World) -> None:
    """Results and confirms travel on different connections."""
    world.submit(task("t1"))
    assert [type(each) for each in world.results("t1")] == [Confirmed, Deliver]
    assert world.answer(1, Verdict.CONFIRMED) == []


def test_a_result_after_a_lost_confirm_spares_saying_it_again(world: World) -> None:
    """The task was answered while the session broke: it is not submitted to the next one."""
    world.submit(task("t1"))
    world.results("t1")
    world.ended()
    assert sent(world.opened()) == []


def test_what_is_long_without_an_answer_is_said_again_now_and_then(world: World) -> None:
    """Its result may have been lost where nobody noticed: it is asked for after one whole minute or two, then ever more seldom, and
    told once."""
    world.submit(task("t1"), task("t2"))
    world.answer(1, Verdict.CONFIRMED)
    asked = {}
    for minute in range(1, 13):
        world.pass_time(60 * NS_PER_S)
        if said := [each.id for publish in world.under_way.values() for each in publish.tasks]:
            asked[minute] = said
            world.confirm_all()
            world.results(*said[1:])
    assert asked == {2: ["t1", "t2"], 4: ["t1"], 8: ["t1"], 12: ["t1"]}
    assert world.machine.counters.again == 5
    assert world.machine.counters.duplicates == 0
    world.results("t1")
    assert world.delivered == {"t1", "t2"}
    assert world.machine.next_deadline() is None


def test_a_full_backlog_is_tried_again_with_growing_pauses(world: World) -> None:
    """A nack means the queue is full: the message waits 50 ms, 100 ms …, the order is kept, and then it gets
    through.
    """
    world.submit(*(task(f"t{n}") for n in range(3)))
    tries = []
    for number in range(1, 5):
        assert sent(world.answer(number, Verdict.NACKED)) == []
        before = world.now
        at = world.machine.next_deadline()
        assert at is not None
        world.pass_time(at - world.now)
        tries.append((at - before) // NS_PER_MS)
    assert all(0.75 * pause <= each <= pause for each, pause in zip(tries, (50, 100, 200, 400), strict=True))
    world.answer(5, Verdict.CONFIRMED)
    assert world.confirmed == {"t0", "t1", "t2"}
    assert world.machine.counters.refused == 4


def test_after_a_refusal_one_message_tries_the_way(world: World) -> None:
    """While the queue is full we do not pump message after message into it."""
    world.submit(*(task(f"t{n}") for n in range(12)))
    world.answer(1, Verdict.NACKED)
    world.answer(2, Verdict.NACKED)
    world.pass_time(50 * NS_PER_MS)
    assert len(world.under_way) == 1
    world.answer(3, Verdict.CONFIRMED)
    assert len(world.under_way) == 2


def test_a_backlog_that_stays_full_is_told_as_such(world: World) -> None:
    """When the time is up the caller hears that the backlog is full, and that the task will not run."""
    world.submit(task("t1"), within_s=1)
    for _ in range(100):
        for number in list(world.under_way):
            world.answer(number, Verdict.NACKED)
        world.pass_time(10 * NS_PER_MS)
    assert world.gave_up["t1"].cause is Cause.BACKLOG_FULL
    assert not world.gave_up["t1"].may_run


def test_one_full_service_does_not_hold_up_another(world: World) -> None:
    """Only the lane of the full queue pauses."""
    world.submit(task("a1", "a"))
    world.answer(1, Verdict.NACKED)
    assert sent(world.submit(task("b1", "b"), task("a2", "a"))) == [["b1"]]


def test_services_take_turns_when_the_broker_is_slow() -> None:
    """What may be under way is bounded for all together; a flood for one service does not keep out another."""
    world = World(Limits(tasks=4, depth=8, window_bytes=2000))
    world.opened()
    assert len(sent(world.submit(*(task(f"a{n}", "a") for n in range(40))))) == 3
    assert sent(world.submit(task("b1", "b"))) == []
    world.answer(1, Verdict.CONFIRMED)
    world.answer(2, Verdict.CONFIRMED)
    assert world.published["b1"] == 1


def test_a_returned_message_is_tried_again_until_the_time_is_up(world: World) -> None:
    """No queue took it: a coordinator may be about to declare it."""
    world.submit(task("t1"), task("t2"), within_s=0.2)
    for _ in range(30):
        for number in list(world.under_way):
            world.answer(number, Verdict.RETURNED)
        world.pass_time(10 * NS_PER_MS)
    assert world.gave_up["t1"].cause is Cause.UNROUTED
    assert not world.gave_up["t1"].may_run
    assert world.machine.counters.returned == 3


def test_an_alarm_holds_everything_back_and_is_named_at_the_deadline(world: World) -> None:
    """``connection.blocked``: nothing more is written into a socket that nobody reads; the caller hears why in
    time.
    """
    world.submit(task("under way"), within_s=1)
    world.blocked("low on memory")
    assert sent(world.submit(task("late", "b"), within_s=1)) == []
    world.submit(task("patient", "b"), within_s=10)
    world.pass_time(NS_PER_S + 10 * NS_PER_MS)
    assert world.gave_up["under way"].may_run
    assert not world.gave_up["late"].may_run
    assert {(each.cause, each.detail) for each in world.gave_up.values()} == {(Cause.BLOCKED, "low on memory")}
    assert sent(world.blocked(None)) == [["patient"]]


def test_without_a_session_the_deadline_says_why() -> None:
    """Broker away, and nobody ever coordinated there: two causes, told apart."""
    world = World()
    world.submit(task("t1"), within_s=1)
    world.pass_time(2 * NS_PER_S)
    world.ended(Cause.NO_COORDINATOR)
    world.submit(task("t2"), within_s=1)
    world.pass_time(2 * NS_PER_S)
    assert [each.cause for each in world.gave_up.values()] == [Cause.AWAY, Cause.NO_COORDINATOR]


def test_silence_of_the_broker_is_told_with_the_doubt(world: World) -> None:
    """Sent and not answered: whether it runs is unknown. A confirm that comes later changes nothing any more."""
    world.submit(task("t1"), within_s=1)
    world.pass_time(2 * NS_PER_S)
    assert world.gave_up["t1"].cause is Cause.SILENT
    assert world.gave_up["t1"].may_run
    assert world.answer(1, Verdict.CONFIRMED) == []
    assert world.results("t1") == []
    assert world.machine.counters.duplicates == 1


def test_a_task_waiting_behind_others_and_given_up_certainly_does_not_run(world: World) -> None:
    """It never left: the caller may rely on that."""
    world.submit(task("t1"), within_s=30)
    world.submit(task("t2"), within_s=1)
    world.pass_time(2 * NS_PER_S)
    assert not world.gave_up["t2"].may_run
    assert sent(world.answer(1, Verdict.CONFIRMED)) == []


def test_a_withdrawn_task_is_not_sent(world: World) -> None:
    """Whoever was cancelled while waiting for a full lane leaves nothing behind."""
    world.submit(task("t1"))
    world.submit(task("t2"))
    assert [type(each) for each in world.withdraw("t2")] == [GaveUp]
    assert sent(world.answer(1, Verdict.CONFIRMED)) == []
    assert world.withdraw("t1") == []  # confirmed already: that cannot be taken back
    assert world.machine.outstanding == 1


def test_a_pause_that_ends_during_an_alarm_asks_for_no_tick(world: World) -> None:
    """Nothing could be done with it; when the alarm is over the lane goes on at once."""
    world.submit(task("t1"))
    world.answer(1, Verdict.NACKED)
    world.blocked("low on disk")
    world.pass_time(NS_PER_S)
    assert sent(world.blocked(None)) == [["t1"]]


def test_a_workflow_is_said_again_whole_while_any_result_is_owed(world: World) -> None:
    """Its edges name tasks of the same message, so the answered ones go along; their results are then duplicates."""
    world.submit(task("t1"), task("t2"), together=True)
    world.answer(1, Verdict.CONFIRMED)
    world.results("t1")
    world.ended()
    assert sent(world.opened()) == [["t1", "t2"]]
    world.results("t1", "t2")
    assert world.delivered == {"t1", "t2"}
    assert world.machine.counters.duplicates == 1


def test_closing_tells_everybody(world: World) -> None:
    """Unconfirmed ones are given up with the doubt they have; accepted ones are told that they run unheard."""
    world.submit(task("accepted"))
    world.answer(1, Verdict.CONFIRMED)
    world.submit(task("under way"))
    world.submit(task("waiting"))
    commands = world.close()
    assert [each.tasks for each in commands if isinstance(each, Abandoned)] == [["accepted"]]
    assert {name: each.may_run for name, each in world.gave_up.items()} == {"under way": True, "waiting": False}
    assert {each.cause for each in world.gave_up.values()} == {Cause.CLOSED}
    assert world.machine.next_deadline() is None


def test_a_verdict_on_a_message_of_an_old_session_is_not_believed() -> None:
    """Its tasks were taken back when the session broke; the number means nothing any more."""
    world = World()
    world.opened()
    world.submit(task("t1"))
    world.ended()
    world.opened()
    assert world.do(Published(1, Verdict.CONFIRMED)) == []
    assert world.waiting() == ["t1"]


def test_a_long_alarm_does_not_make_a_heap_of_what_was_given_up(world: World) -> None:
    """Submissions that time out while nothing can leave are let go, arguments and all."""
    world.blocked("low on disk")
    for n in range(1000):
        world.submit(task(f"t{n}"), within_s=0.05)
        world.pass_time(10 * NS_PER_MS)
    world.pass_time(NS_PER_S)
    assert world.machine.outstanding == 0
    assert sum(len(lane._line) for lane in world.machine._lanes.values()) <= 65
    assert sent(world.blocked(None)) == []


def test_the_same_dice_give_the_same_story() -> None:
    """Two machines with the same seed and events say the same, jitter included."""

    def story() -> list[object]:
        machine = Producer(random.Random(7))
        out: list[object] = []
        out += machine.step(1, Opened())
        parcels = tuple(Parcel((task(f"t{n}", "abc"[n % 3]),), NS_PER_S) for n in range(9))
        out += machine.step(2, Submitted(parcels))
        for number in (1, 2, 3):
            out += machine.step(3, Published(number, Verdict.NACKED))
            out.append(machine.next_deadline())
        out += machine.step(4, Ended(Cause.AWAY))
        out += machine.step(2 * NS_PER_S, Opened())
        return out

    assert story() == story()
    assert any(isinstance(each, GaveUp) for each in story())


def test_the_weight_of_a_task_is_never_less_than_its_bytes() -> None:
    """So that no message becomes longer than a coordinator reads."""
    fat = Task(
        id="i" * 128,
        type="s" * 64 + "." + "h" * 64,
        args=b"\x81" + b"a" * 70_000,
        need={"n" * 64: 1e11, "m" * 64: Range(1.5, 2e9)},
        priority=-1000,
        tenant="\U0001f600" * 64,
        deadline_ns=2**62,
        start_ns=2**62,
        timeout_ns=2**53,
        retries=1000,
        estimate_ns=2**53,
        overlap="never",
        after=(Edge("e" * 128, "continue"), Edge("f" * 128, "skip")),
        labels={"l" * 64: "\U0001f600" * 4000},
    )
    for each in (fat, Task(id="t", type="a.b")):
        assert weight([each]) + 64 >= len(codec.encode(Submit([each])))


def test_the_defaults_fit_what_a_coordinator_reads() -> None:
    """A message filled to our limits is far below the codec's."""
    assert Limits().bytes * 2 < codec.MAX_BODY_BYTES
    assert Limits().tasks <= 4096


def shards(commands: list[object]) -> list[tuple[str, list[str]]]:
    return [(command.shard, [each.id for each in command.tasks]) for command in commands if isinstance(command, Publish)]


def test_each_task_goes_to_its_shard_and_stays_there() -> None:
    """What is submitted before the rule is known waits for it; a session with another rule moves only what was never sent."""
    world = World()
    assert world.submit(task("a1", "a")) == []
    assert shards(world.opened(Rule([Shard("gpu", services=["a"])]))) == [("gpu", ["a1"])]
    assert shards(world.submit(task("b1", "b"), task("a2", "a"))) == [("default", ["b1"])]
    world.ended()
    again = world.opened(Rule([Shard("cpu", services=["*"])]))
    assert shards(again) == [("gpu", ["a1", "a2"]), ("default", ["b1"])]
    assert shards(world.submit(task("a3", "a"))) == [("cpu", ["a3"])]


def test_what_must_travel_together_and_belongs_to_several_shards_is_given_up_at_once() -> None:
    """Nothing of it was sent; the cause names the shards. It does not matter when the rule came."""
    rule = Rule([Shard("gpu", services=["a"])])
    pair = (Task("p", "a.h"), Task("c", "b.h", after=[Edge("p")]))
    for early in (True, False):
        world = World()
        commands = [] if early else world.opened(rule)
        commands += world.submit(*pair, together=True)
        commands += world.opened(rule) if early else []
        (gave_up,) = [each for each in commands if isinstance(each, GaveUp)]
        assert gave_up.tasks == ["p", "c"]
        assert (gave_up.problem.cause, gave_up.problem.detail, gave_up.problem.may_run) == (Cause.DIVIDED, "gpu, default", False)
        assert not shards(commands)
        assert world.machine.unconfirmed == 0
