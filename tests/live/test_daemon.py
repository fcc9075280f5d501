"""The coordinator daemon on a real broker: what producers, agents and operators see of it."""

from __future__ import annotations

import asyncio
import time

import msgpack
import pytest

from orchestrator.amqp import topology
from orchestrator.amqp.ledger import LedgerTail
from orchestrator.vocabulary import ns
from orchestrator.wire.codec import MAX_LETTER_BYTES, encode, encode_entry, unpack
from orchestrator.wire.facts import Claim, Entry
from orchestrator.wire.messages import Note, Notes, Orders, Range, Results, Submit
from tests.live.peers import PATIENCE_S, Holding, Task, agent, coordinator, producer, running

pytestmark = pytest.mark.broker

LEASE_S = 2


async def test_a_task_goes_round(amqp_url: str) -> None:
    """Submitted, assigned, run, reported, released, answered: with its times."""
    async with coordinator(amqp_url), producer(amqp_url) as client, agent(amqp_url, "thumbs", "resize") as worker:
        client.submit(Task("t1", "thumbs.resize", args=b"\x81\xa1x\x01"))
        assignment, attempt = await worker.assigned()
        assert (assignment.task, assignment.handler, assignment.args, assignment.grant) == (
            "t1",
            "resize",
            b"\x81\xa1x\x01",
            {"slots": 1},
        )
        worker.done("t1", attempt, b"\x2a")
        result = await client.result("t1")
        assert (result.outcome, result.value, result.instance, result.attempts) == ("done", b"\x2a", worker.name, 1)
        assert 0 < result.accepted_ns <= result.started_ns <= result.ended_ns
        await worker.released(attempt)


async def test_a_batch_is_spread_by_capacity(amqp_url: str) -> None:
    """One message of ten tasks fills two instances of two slots; the rest waits until a slot is free."""
    async with (
        coordinator(amqp_url),
        producer(amqp_url) as client,
        agent(amqp_url, "s", "h", capacity={"slots": 2}) as one,
        agent(amqp_url, "s", "h", capacity={"slots": 2}) as two,
    ):
        client.submit(*(Task(f"t{n}", "s.h") for n in range(10)))
        first = await one.next(Orders, lambda orders: bool(orders.assign))
        second = await two.next(Orders, lambda orders: bool(orders.assign))
        assert len(first.assign) == len(second.assign) == 2
        status = await client.ask("status")
        assert (status["waiting"], status["live"]) == (6, 10)


async def test_a_new_coordinator_recovers_everything_from_the_broker(amqp_url: str) -> None:
    """Tasks accepted by a coordinator that died are run by the next, which knows them from the ledger alone."""
    async with producer(amqp_url) as client:
        async with coordinator(amqp_url):
            client.submit(*(Task(f"t{n}", "s.h") for n in range(100)))
            while (await client.ask("status"))["live"] < 100:
                pass
        async with coordinator(amqp_url), agent(amqp_url, "s", "h", capacity={"slots": 100}) as worker:
            orders = await worker.next(Orders, lambda one: bool(one.assign))
            assert {one.task for one in orders.assign} == {f"t{n}" for n in range(100)}


async def test_what_an_agent_holds_is_not_run_again_by_the_next_leader(amqp_url: str) -> None:
    """A takeover asks the agent, adopts what it runs, and takes its report; no second attempt is made."""
    async with producer(amqp_url) as client, agent(amqp_url, "s", "h", ready=False) as worker:
        async with coordinator(amqp_url):
            worker.announce("s", "h")
            await worker.answer_sync()
            client.submit(Task("t1", "s.h"))
            _, attempt = await worker.assigned()
        async with coordinator(amqp_url):
            sync = await worker.answer_sync(Holding("t1", attempt, "running", {"slots": 1}))
            assert sync.epoch > attempt.epoch
            assert (await client.ask("task", task="t1"))["state"] == "running"
            worker.done("t1", attempt)
            assert (await client.result("t1")).outcome == "done"


async def test_tasks_of_before_wait_until_the_agents_have_answered(amqp_url: str) -> None:
    """After a takeover a task of before goes to nobody while an agent that may hold it has not answered; a new one goes at once."""
    async with producer(amqp_url) as client, agent(amqp_url, "s", "h", ready=False) as silent:
        async with coordinator(amqp_url):
            client.submit(Task("old", "s.h", need={"slots": 5}))
            while not await client.ask("tasks", service="s"):
                pass
            silent.announce("s", "h", capacity={"slots": 4})
            await silent.answer_sync()
        async with coordinator(amqp_url), agent(amqp_url, "s", "h", capacity={"slots": 8}) as other:
            why = await client.ask("why", task="old")
            assert "has still to answer" in why["reason"]
            client.submit(Task("new", "s.h"))
            assert (await other.assigned())[0].task == "new"
            await silent.answer_sync()
            assert (await other.assigned())[0].task == "old"


async def test_a_standby_takes_over_at_once(amqp_url: str) -> None:
    """The leader goes; the standby, which has read along, assigns within half a second or so."""
    async with (
        producer(amqp_url) as client,
        agent(amqp_url, "s", "h", ready=False) as worker,
        running(amqp_url) as standby,
    ):
        await standby.heard("leading")
        async with running(amqp_url) as second:
            await second.heard("standing_by")
            worker.announce("s", "h")
            await worker.answer_sync()
            client.submit(Task("t1", "s.h"), Task("t2", "s.h"))
            _, attempt = await worker.assigned()
            worker.done("t1", attempt)
            await client.result("t1")
            standby.crash()
            crashed = time.monotonic()
            await worker.answer_sync()
            await worker.assigned()
            took_ms = (time.monotonic() - crashed) * 1000
            print(f"next assignment {took_ms:.0f} ms after the leader was lost")
            assert took_ms < 2000


async def test_who_has_not_read_the_ledger_does_not_stand_in_line(amqp_url: str) -> None:
    """A coordinator that starts reads all that is there, and only then waits for the token: whoever is ready goes first."""
    async with coordinator(amqp_url), producer(amqp_url) as client:
        client.submit(*(Task(f"t{number}", "s.h") for number in range(50)))
        while len(await client.ask("tasks", service="s")) < 50:
            pass
        end = (await LedgerTail(client.link).last_chunk())[-1].offset
        assert end is not None
        async with running(amqp_url) as second:
            assert (await second.heard("standing_by"))["offset"] >= end
            words = [word for word, _ in second.said]
            assert words.index("replaying") < words.index("standing_by")
            assert (await client.link.stat(topology.LEADER)).consumers == 2


async def test_a_lost_connection_moves_tasks_at_once(root_vhost_url: str) -> None:
    """With the event exchange, a task of a worker that died is assigned elsewhere within 100 ms or so, not after a lease."""
    async with (
        coordinator(root_vhost_url) as ears,
        producer(root_vhost_url) as client,
        agent(root_vhost_url, "kill", "h") as doomed,
    ):
        client.submit(Task("k1", "kill.h"))
        _, attempt = await doomed.assigned()
        doomed.started("k1", attempt)
        async with agent(root_vhost_url, "kill", "h") as heir:
            died = time.monotonic()
            doomed.die()
            assignment, second = await heir.assigned()
            took_ms = (time.monotonic() - died) * 1000
            assert (assignment.task, assignment.number) == ("k1", 2)
            assert second != attempt
            print(f"re-assigned {took_ms:.1f} ms after the connection was lost")
            assert took_ms < 1000
            heir.done("k1", second)
            assert (await client.result("k1")).outcome == "done"
    assert any(word == "instance_gone" for word, _ in ears.said)


async def test_a_connection_closed_in_good_order_is_no_death(root_vhost_url: str) -> None:
    """So a node of the broker ends it that is told to stop. Its agent lives, comes back, and says what it had finished."""
    async with (
        coordinator(root_vhost_url) as ears,
        producer(root_vhost_url) as client,
        agent(root_vhost_url, "stop", "h") as former,
    ):
        client.submit(Task("k1", "stop.h"))
        _, attempt = await former.assigned()
        former.started("k1", attempt)
        async with agent(root_vhost_url, "stop", "h", ready=False) as heir:
            await former.link.close()
            await ears.heard("missing")
            heir.name = former.name
            heir.announce("stop", "h")
            await heir.answer_sync(Holding("k1", attempt, "finished", {"slots": 1}), before=[former.incarnation])
            await ears.heard("instance_gone", lambda fields: "come back" in fields["why"])
            heir.done("k1", attempt)
            assert (await client.result("k1")).outcome == "done"
    assert not [fields for word, fields in ears.said if word == "retry"]


async def test_silence_ends_with_the_lease(amqp_url: str) -> None:
    """Without the event exchange an instance that stays silent is given up after its lease, while others beat."""
    async with (
        coordinator(amqp_url, lease_s=LEASE_S) as ears,
        producer(amqp_url) as client,
        agent(amqp_url, "s", "h") as silent,
    ):
        client.submit(Task("t1", "s.h"))
        _, attempt = await silent.assigned()
        silent.started("t1", attempt)
        silent_since = time.monotonic()
        silent.beat(attempt)  # the last that is heard of it, and no sooner than that
        async with agent(amqp_url, "s", "h") as heir:

            async def beating() -> None:
                while True:
                    heir.beat()
                    await asyncio.sleep(0.3)

            beats = asyncio.ensure_future(beating())
            assignment, _ = await heir.assigned()
            waited_s = time.monotonic() - silent_since
            beats.cancel()
            assert assignment.task == "t1"
            assert LEASE_S <= waited_s <= LEASE_S + 8, "no sooner, and soon then"
    assert any(word == "instance_gone" and "silent" in fields["why"] for word, fields in ears.said)


async def test_orders_that_find_no_queue_move_the_task(amqp_url: str) -> None:
    """An unroutable return is evidence: the task goes to another instance without waiting for a lease."""
    async with coordinator(amqp_url), producer(amqp_url) as client, agent(amqp_url, "s", "h") as gone:
        await gone.link.close()
        client.submit(Task("t1", "s.h"))
        async with agent(amqp_url, "s", "h") as heir:
            assert (await heir.assigned())[0].task == "t1"


async def test_an_answer_that_nobody_could_read_is_a_no_and_the_leader_leads_on(amqp_url: str) -> None:
    """A workflow of 22,000 tasks has more lists in it than are read: who asks is told so, and asks for less."""
    async with coordinator(amqp_url) as ears, producer(amqp_url) as client:
        for part in range(8):
            client.submit(*(Task(f"t{part}.{n}", "s.h", workflow="w") for n in range(2_750)))
        async with asyncio.timeout(PATIENCE_S):
            while (await client.ask("status"))["live"] < 22_000:
                pass
        answer = await client.answer("workflow", workflow="w")
        assert answer.error is not None
        assert answer.error.kind == "too_long"
        assert len(await client.ask("tasks", workflow="w", limit=10_000)) == 10_000
        assert (await client.ask("status"))["live"] == 22_000
        assert [word for word, _ in ears.said].count("leading") == 1


async def test_failures_are_retried_then_buried_with_their_story(amqp_url: str) -> None:
    """Two attempts (one retry) fail: the producer hears why, and the dead letters keep the story."""
    async with coordinator(amqp_url), producer(amqp_url) as client, agent(amqp_url, "s", "h") as worker:
        client.submit(Task("t1", "s.h"))
        for number in (1, 2):
            assignment, attempt = await worker.assigned()
            assert assignment.number == number
            worker.failed("t1", attempt, f"boom {number}")
        result = await client.result("t1")
        assert (result.outcome, result.attempts) == ("failed", 2)
        assert result.error is not None
        assert result.error.message == "boom 2"
        (letter,) = [unpack(one.body) for one in await client.link.peek(topology.DEAD, 10)]
        assert [line["error"]["message"] for line in letter["story"]] == ["boom 1", "boom 2"]


async def test_what_can_never_run_is_refused_at_its_sender(amqp_url: str) -> None:
    """An unknown handler, a demand nothing fits, a range upside down: a clear error each, and the good task beside them runs."""
    async with (
        coordinator(amqp_url),
        producer(amqp_url) as client,
        agent(amqp_url, "s", "h", capacity={"slots": 1, "gpu": 2}) as worker,
    ):
        upside_down = Task("bad3", "s.h", need={"gpu": Range(2, 1)})
        client.submit(Task("bad1", "s.nope"), Task("bad2", "s.h", need={"gpu": 8}), upside_down, Task("good", "s.h"))
        assert (await worker.assigned())[0].task == "good"
        refused = {one.task: one for one in (await client.next(Results)).items}
        assert {name: one.error.kind for name, one in refused.items() if one.error} == {
            "bad1": "unknown_handler",
            "bad2": "never_fits",
            "bad3": "bad_demand",
        }
        assert "gpu wants 8, the nearest has 2" in str(refused["bad2"].error)


async def test_bytes_that_are_no_message_are_kept_and_stop_nothing(amqp_url: str) -> None:
    """Rubbish on every queue: counted, buried with the reason; honest tasks beside it are served."""
    rubbish = [
        b"",
        b"\x00",
        b"\xdd\xff\xff\xff\xff",
        b"hello",
        b"\x81\xa4kind\xa3foo",
        encode(Submit([Task("x", "s.h")]))[:-3],
        b"\x91" * 5000,
    ]
    async with coordinator(amqp_url), producer(amqp_url) as client, agent(amqp_url, "s", "h") as worker:
        for body in rubbish:
            for exchange, key in [
                (topology.TASKS, "s"),
                (topology.TASKS, "elsewhere"),
                (topology.AGENTS, topology.KEY_REPORTS),
                (topology.AGENTS, topology.KEY_REGISTRY),
                (topology.CONTROL, topology.KEY_CONTROL),
            ]:
                client.link.send(exchange, key, body)
        client.submit(Task("t1", "s.h"))
        _, attempt = await worker.assigned()
        worker.done("t1", attempt)
        assert (await client.result("t1")).outcome == "done"
        status = await client.ask("status")
        assert status["counts"]["malformed"] == 5 * len(rubbish)
        letters = [unpack(one.body) for one in await client.link.peek(topology.QUARANTINE, 100)]
        assert len(letters) == 5 * len(rubbish)
        assert all(letter["error"]["kind"] == "malformed" and letter["error"]["message"] for letter in letters)


async def test_submitting_again_is_harmless(amqp_url: str) -> None:
    """The same task under the same id runs once and answers its newest producer; another task under that id is refused."""
    async with coordinator(amqp_url), agent(amqp_url, "s", "h", capacity={"slots": 9}) as worker:
        async with producer(amqp_url) as first:
            first.submit(Task("t1", "s.h"))
            _, attempt = await worker.assigned()
        async with producer(amqp_url) as second:
            second.submit(Task("t1", "s.h"), Task("t2", "s.h"))
            assert (await worker.assigned())[0].task == "t2"  # and not t1 again
            second.submit(Task("t1", "s.h", args=b"\x81\xa1x\x01"))
            clash = await second.result("t1")
            assert clash.error is not None
            assert clash.error.kind == "id_taken"
            worker.done("t1", attempt, b"\x07")
            assert (await second.result("t1")).value == b"\x07"
        async with producer(amqp_url) as third:
            third.submit(Task("t1", "s.h"))
            assert (await third.result("t1")).value == b"\x07"


async def test_cancel_waiting_and_running(amqp_url: str) -> None:
    """A waiting task is cancelled where it waits; a running one is recalled. Both producers hear it."""
    async with coordinator(amqp_url), producer(amqp_url) as client, agent(amqp_url, "s", "h") as worker:
        client.submit(Task("runs", "s.h"), Task("waits", "s.h"))
        _, attempt = await worker.assigned()
        await client.ask("cancel", task="waits")
        assert (await client.result("waits")).outcome == "cancelled"
        await client.ask("cancel", task="runs")
        orders = await worker.next(Orders, lambda one: bool(one.stop))
        assert orders.stop[0].attempt == attempt
        assert (await client.result("runs")).outcome == "cancelled"


async def test_a_deadline_that_passes_while_waiting(amqp_url: str) -> None:
    """Nobody could run it in time: it ends as expired and is not started."""
    async with coordinator(amqp_url), producer(amqp_url) as client:
        client.submit(Task("t1", "nobody.h", deadline_ns=time.time_ns() + ns(0.3)))
        assert (await client.result("t1")).outcome == "expired"


async def test_a_delayed_task_is_not_assigned_before_it_is_due(amqp_url: str) -> None:
    """``start_ns`` holds a task back in the coordinator, not in a worker's memory."""
    async with (
        coordinator(amqp_url),
        producer(amqp_url) as client,
        agent(amqp_url, "s", "h", capacity={"slots": 2}) as worker,
    ):
        due = time.time_ns() + ns(0.5)
        client.submit(Task("later", "s.h", start_ns=due), Task("now", "s.h"))
        assert (await worker.assigned())[0].task == "now"
        assert (await client.ask("task", task="later"))["state"] == "deferred"
        assert (await worker.assigned())[0].task == "later"
        assert time.time_ns() >= due


async def test_tasks_for_a_service_that_nobody_knows_wait_and_say_so(amqp_url: str) -> None:
    """They wait with a reason from the first moment, and run when the service comes."""
    async with coordinator(amqp_url), producer(amqp_url) as client:
        client.submit(Task("t1", "missing.h"))
        while not (await client.ask("tasks", service="missing")):
            pass
        assert "service 'missing' is missing" in (await client.ask("why", task="t1"))["reason"]
        async with agent(amqp_url, "missing", "h") as worker:
            assert (await worker.assigned())[0].task == "t1"


async def test_policies_switch_while_tasks_wait(amqp_url: str) -> None:
    """``priority`` lets the urgent go first; switched to ``fifo`` the first come goes first. The switch survives a restart."""
    async with producer(amqp_url) as client:
        async with coordinator(amqp_url):
            client.submit(Task("first", "s.h"), Task("urgent", "s.h", priority=100))
            await client.ask("policy", ordering="fifo")
        async with coordinator(amqp_url), agent(amqp_url, "s", "h") as worker:
            assert (await client.ask("policy"))["now"]["ordering"] == "fifo"
            assert (await worker.assigned())[0].task == "first"


async def test_drain_sends_no_more_work(amqp_url: str) -> None:
    """A draining instance is told so, and the waiting task goes elsewhere."""
    async with coordinator(amqp_url), producer(amqp_url) as client, agent(amqp_url, "s", "h") as leaving:
        assert (await client.ask("drain", instance=leaving.name))["draining"] == [leaving.name]
        await leaving.next(Orders, lambda one: one.drain)
        client.submit(Task("t1", "s.h"))
        async with agent(amqp_url, "s", "h") as staying:
            assert (await staying.assigned())[0].task == "t1"


async def test_a_stopped_note_gives_the_task_back(amqp_url: str) -> None:
    """An agent that hands unstarted work back frees it for others at once; nothing is counted against the task."""
    async with coordinator(amqp_url), producer(amqp_url) as client, agent(amqp_url, "s", "h") as one:
        client.submit(Task("t1", "s.h"))
        _, attempt = await one.assigned()
        one.soft(Notes(one.incarnation, [Note("t1", attempt, "stopped", text="draining")]))
        assignment, second = await one.assigned()
        assert (assignment.task, assignment.number) == ("t1", 1)
        assert second != attempt


async def test_a_producer_of_nonsense_hears_of_it(amqp_url: str) -> None:
    """A submission that breaks the protocol but still names its tasks is refused at its sender, with the field that is wrong."""
    async with coordinator(amqp_url), producer(amqp_url) as client:
        body = msgpack.packb({"kind": "submit", "tasks": [{"id": "t1", "type": "s.h", "priority": "high"}]})
        client.link.send(topology.TASKS, "s", body, reply_to=client.reply_to)
        result = await client.result("t1")
        assert result.outcome == "refused"
        assert result.error is not None
        assert "priority" in result.error.message


async def test_a_letter_longer_than_a_message_is_buried_all_the_same(amqp_url: str) -> None:
    """The largest arguments fit into a dead letter with everything around them; the coordinator goes on."""
    async with coordinator(amqp_url), producer(amqp_url) as client:
        blob = b"\xc6" + (1024 * 1024 - 5).to_bytes(4, "big") + bytes(1024 * 1024 - 5)
        client.submit(Task("t1", "s.h"))
        client.link.send(topology.TASKS, "s", encode(Submit([Task("t1", "s.h", args=blob)])))
        while not (letters := await client.link.peek(topology.DEAD, 1)):
            pass
        assert unpack(letters[0].body, max_bytes=MAX_LETTER_BYTES)["error"]["kind"] == "id_taken"
        assert (await client.ask("status"))["live"] == 1


async def test_reports_left_by_a_dead_leader_are_read_before_anything_moves(amqp_url: str) -> None:
    """The worker finished, reported and died while nobody led: its task has ended and is not run again elsewhere."""
    async with producer(amqp_url) as client, agent(amqp_url, "s", "h", ready=False) as late:
        async with coordinator(amqp_url):
            late.announce("s", "h")
            await late.answer_sync()
            client.submit(Task("t1", "s.h"))
            _, attempt = await late.assigned()
        late.done("t1", attempt, b"\x07")
        await late.link.close()
        async with agent(amqp_url, "s", "h", ready=False) as heir, coordinator(amqp_url):
            heir.announce("s", "h")
            await heir.answer_sync()
            assert (await client.result("t1")).value == b"\x07"
            client.submit(Task("t2", "s.h"))
            assert (await heir.assigned())[0].task == "t2"


async def test_limits_of_the_settings_are_in_the_ledger_and_survive_the_coordinator(amqp_url: str) -> None:
    """The first one writes them down; the next, whose settings say nothing of it, keeps them: of three tasks one runs at a time."""
    async with coordinator(amqp_url, limits={"door": {"on": "s.*", "at_once": 1}}), producer(amqp_url) as client:
        assert [(one["limit"], one["by"]) for one in (await client.ask("limit"))["limits"]] == [("door", "the settings")]
    async with (
        coordinator(amqp_url),
        producer(amqp_url) as client,
        agent(amqp_url, "s", "h", capacity={"slots": 9}) as worker,
    ):
        client.submit(*(Task(f"t{n}", "s.h") for n in range(3)))
        for left in (2, 1, 0):
            assignment, attempt = await worker.assigned()
            (door,) = (await client.ask("limit"))["limits"]
            assert (door["out"], door["waiting"]) == (1, left)
            worker.done(assignment.task, attempt, b"\x01")
            await client.result(assignment.task)


async def test_who_is_deposed_says_by_whom_and_keeps_away_a_while(amqp_url: str) -> None:
    """Another claims behind the leader, who gives its session up at once and stands in line again after three seconds: two that
    claim do not chase each other."""
    async with running(amqp_url) as ears, producer(amqp_url) as client:
        await ears.heard("leading")
        client.link.send(topology.INTERNAL, topology.KEY_LEDGER, encode_entry(Entry("n", 1, facts=[Claim("other", "n")])))
        ended = await ears.heard("session_ended")
        deposed = time.monotonic()
        assert "other claimed at" in ended["why"]
        ears.said.clear()
        await ears.heard("session")
        assert time.monotonic() - deposed > 2.5


@pytest.mark.parametrize("entry", [{"v": 2}, {"facts": [{"fact": "moved", "to": 7}]}])
async def test_who_cannot_read_what_a_newer_coordinator_wrote_leaves_the_line(amqp_url: str, entry: dict[str, object]) -> None:
    """It lacks a fact: it gives the session up and says why, and one that is started then does not stand in line either. Rubbish of
    a stranger stops nobody."""
    async with running(amqp_url) as leader, producer(amqp_url) as client:
        await leader.heard("leading")
        client.link.send(topology.INTERNAL, topology.KEY_LEDGER, b"hello")
        await leader.heard("unreadable_entry")
        assert await client.ask("status")
        client.link.send(topology.INTERNAL, topology.KEY_LEDGER, msgpack.packb({"by": "n", "number": 1, **entry}))
        await leader.heard("outdated")
        assert "newer coordinator" in (await leader.heard("session_ended"))["why"]
        async with running(amqp_url) as heir:
            await heir.heard("session_ended")
            assert not {"standing_by", "leading"} & {word for word, _ in heir.said}
            assert (await client.link.stat(topology.LEADER)).consumers == 0
