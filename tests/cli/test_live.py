"""The command line against a real broker, a real coordinator and a real worker."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.amqp import Link, topology
from orchestrator.live.embedded import EmbeddedBroker
from tests.brokers import lead_astray
from tests.cli.conftest import Start, Type

pytestmark = pytest.mark.broker

SHOP = "tests.cli.shop:thumbs"


def test_without_a_worker_why_says_which_service_is_missing(ask: Type) -> None:
    """Submitted, accepted, waiting; and one command tells what to start."""
    told = ask("submit", "thumbs.resize", "path=a.png", "--id", "t1", "--json")
    assert (told.code, told.json) == (0, {"task": "t1", "type": "thumbs.resize", "accepted": True})
    why = ask("why", "t1")
    assert why.code == 0
    assert "service 'thumbs' is missing" in why.out
    assert "workers run" in why.out
    assert ask("why", "t1", "--json").json["state"] == "waiting"
    assert [one["task"] for one in ask("tasks", "--service", "thumbs", "--json").json] == ["t1"]
    assert ask("services", "--json").json[0]["waiting"] == 1
    assert [one["service"] for one in ask("services", "--service", "thumbs", "--json").json] == ["thumbs"]
    nobody = ask("services", "--service", "thubms")
    assert (nobody.code, nobody.out, "Is 'thumbs' meant?" in nobody.err) == (1, "", True)


def test_who_waits_for_a_task_that_does_not_start_hears_why(ask: Type) -> None:
    """After a moment, once, beside the result; and it goes on waiting."""
    told = ask("submit", "thumbs.resize", "path=a.png", "--wait", "--wait-timeout", "6s")
    assert told.code == 1
    assert told.err.count("it is waiting: service 'thumbs' is missing") == 1
    assert "has not ended within 6 s" in told.err
    assert told.out == ""


def test_submit_prints_the_id_alone_so_that_a_script_can_keep_it(ask: Type) -> None:
    """id=$(orchestrator submit …); the hint goes to stderr."""
    told = ask("submit", "thumbs.resize", "path=a.png")
    assert told.code == 0
    (name,) = told.out.split()
    assert f"a coordinator has still to look at it, and may refuse it. What becomes of it: orchestrator why {name}" in told.err
    assert ask("task", name, "--json").json["state"] == "waiting"


def test_a_waiting_task_is_cancelled_once(ask: Type) -> None:
    """It will not run; cancelling it again says so; one that nobody knows is no task."""
    ask("submit", "thumbs.resize", "path=a.png", "--id", "t1")
    assert "is cancelled" in ask("cancel", "t1").out
    typo = ask("cancel", "t11")
    assert (typo.code, "Nobody knows a task t11" in typo.out) == (1, True)
    again = ask("cancel", "t1")
    assert (again.code, "was cancelled before" in again.out) == (0, True)
    assert "cancelled" in ask("task", "t1").out
    ended = ask("tasks", "--state", "ended", "--json")
    assert ([one["outcome"] for one in ended.json], ended.err) == (["cancelled"], "")
    assert "--limit shows more" in ask("tasks", "--state", "ended", "--limit", "1", "--json").err
    nobody = ask("tasks", "--service", "thubms", "--json")
    assert (nobody.code, nobody.out) == (1, "")
    assert "No service 'thubms' is known" in nobody.err
    wrong = ask("tasks", "--state", "canceled")
    assert (wrong.code, wrong.out, "doubtful, ended" in wrong.err) == (2, "", True)
    unknown = ask("task", "nobody")
    assert unknown.code == 1
    assert unknown.out == ""
    assert "'nobody'" in unknown.err


def test_policies_are_found_by_name_and_switched(ask: Type) -> None:
    """`policy fifo` knows that fifo is an ordering; a name that nobody knows is bad usage."""
    assert ask("policy", "--json").json["now"]["ordering"] == "priority"
    assert ask("policy", "fifo", "--json").json["now"]["ordering"] == "fifo"
    assert ask("policy", "--ordering", "priority", "--placement", "random", "--json").json["now"] == {
        "ordering": "priority", "placement": "random", "allocation": "msa",
    }  # fmt: skip
    for words in (["alphabetical"], ["fifo", "priority"], ["fifo", "--ordering", "priority"], ["--placement", "nowhere"]):
        wrong = ask("policy", *words)
        assert (wrong.code, wrong.out) == (2, ""), words
    assert ask("policy", "--json").json["now"]["placement"] == "random"


def test_limits_are_set_changed_shown_and_removed(ask: Type) -> None:
    """What is not said of a limit stays; what cannot be is bad usage; a task that asks too much is refused with what there is."""
    assert "5 at once, 50 a second for tasks thumbs.*, for each tenant" in ask(
        "limit", "api", "--on", "thumbs.*", "--at-once", "5", "--rate", "50", "--key", "tenant", "--per", "acme:at_once=9"
    ).out  # fmt: skip
    assert ask("limit", "api", "--at-once", "1", "--json").json["spec"] == {
        "at_once": 1, "rate": 50.0, "key": "tenant", "on": "thumbs.*", "per": {"acme": {"at_once": 9}},
    }  # fmt: skip
    assert ask("limit", "licence", "--capacity", "3").code == 0
    assert [one["limit"] for one in ask("limit", "--json").json] == ["api", "licence"]
    shown = ask("resources")
    assert "licence" in shown.out
    assert "3 in all for tasks that ask for it by name" in " ".join(shown.out.split())
    for words in (
        ["api", "--key", "colour"],
        ["api", "--at-once", "1", "--remove"],
        ["api", "--without", "rate", "--remove"],
        ["api", "--without", "colour"],
        ["api", "--without", "tenant"],
        ["api", "--without", "rate", "--rate", "5"],
        ["licence", "--without", "capacity"],
        ["--at-once", "1"],
        ["slots", "--at-once", "1"],
    ):
        wrong = ask("limit", *words)
        assert (wrong.code, wrong.out) == (2, ""), words
    assert ask("limit", "api", "--without", "rate", "--without", "per", "--json").json["spec"] == {
        "at_once": 1, "key": "tenant", "on": "thumbs.*",
    }  # fmt: skip
    refused = ask("submit", "thumbs.resize", "path=a", "--need", "licence=4", "--wait", "--wait-timeout", "30s")
    assert refused.code == 1
    assert "the task asks 4, there are 3 in all" in " ".join(refused.out.split())
    assert "removed" in ask("limit", "licence", "--remove").out
    assert ask("limit", "licence", "--remove").code == 1
    assert [one["limit"] for one in ask("limit", "--json").json] == ["api"]


def test_policies_have_settings_and_services_their_own(ask: Type) -> None:
    """`--set` is judged by the policy it is for, `--service` is for that service alone, `--reset` takes it back."""
    told = ask("policy", "sjf", "--set", "ageing=10m", "--service", "thumbs", "--json").json
    assert (told["now"]["ordering"], told["services"]) == ("sjf:ageing=10m", {"thumbs": {"ordering": "sjf:ageing=10m"}})
    assert ask("submit", "thumbs.resize", "path=a").code == 0
    while not ask("services", "--json").json:
        pass  # accepted by the broker; read by its coordinator in a moment
    early = ask("policy", "sjf", "--service", "thmbs")
    assert early.code == 0
    assert "no service 'thmbs' is known yet: this holds once one comes. Is 'thumbs' meant?" in early.err
    assert ask("policy", "--reset", "--service", "thmbs").err == ""
    assert ask("policy", "--json").json["now"]["ordering"] == "priority"
    assert ask("policy", "dps:guard=5s", "--json").json["now"]["ordering"] == "dps:guard=5s"
    shown = ask("policy").out
    assert "thumbs" in shown
    assert "sjf:ageing=10m" in shown
    wrong = ask("policy", "sjf", "--set", "aging=10m")
    assert wrong.code == 2
    assert "has a setting 'aging': ordering sjf has ageing." in wrong.err
    assert "There is no policy 'sfj'. Nothing was switched. Is sjf meant?" in ask("policy", "sfj").err
    assert ask("policy", "--reset", "--service", "thumbs", "--json").json["services"] == {}
    explained = ask("policy", "--explain").out
    for word in ("ageing", "auto", "priority", "weights"):
        assert word in explained


def test_the_doctor_finds_nothing_wrong(ask: Type) -> None:
    """Broker, queues, a coordinator that answers, clocks that agree; the event exchange is not in this virtual host."""
    told = ask("doctor", "--json")
    assert told.code == 0, told.out
    states = {one["check"]: one["state"] for one in told.json["checks"]}
    assert states["death notices"] == "warn"
    assert {name for name, state in states.items() if state == "ok"} >= {
        "Python", "broker found", "broker reachable", "broker version", "permission to declare", "queues", "coordinator", "clocks",
    }  # fmt: skip
    assert "Nothing is broken; one thing deserves a look" in ask("doctor").out
    strict = ask("doctor", "--strict", "--json")
    assert (strict.code, strict.json["ok"]) == (1, False)
    ask("submit", "thumbs.resize", "path=a.png")
    while not any(one["service"] == "thumbs" for one in ask("services", "--json").json):
        pass  # accepted by the broker; read by its coordinator in a moment
    assert "1 task waits for thumbs, and no instance is ready" in " ".join(ask("doctor").out.split())


def test_the_doctor_sees_tasks_that_can_never_run(ask: Type, start: Start) -> None:
    """Accepted while nobody was there; who came has no such handler, or is too small. `why` and `services` say so too."""
    for words in (["thumbs.paint", "--id", "t1"], ["thumbs.resize", "path=a", "--need", "gpu=9", "--id", "t2"]):
        assert ask("submit", *words).code == 0
    while not ask("services", "--json").json:
        pass  # accepted by the broker; read by its coordinator in a moment
    start("workers", "run", SHOP)
    while not ask("services", "--json").json[0]["ready"]:
        pass
    assert ask("submit", "thumbs.resize", "path=a", "--need", "gpu=2", "--wait", "--wait-timeout", "30s").code == 0
    told = ask("doctor")
    said = " ".join(told.out.split())
    assert told.code == 0
    assert "a task of thumbs.paint waits (slots=1) and can never run as things are: service 'thumbs' has no handler 'paint'" in said
    assert "no instance of 'thumbs' is large enough: gpu wants 9, the nearest has 2" in said
    assert "orchestrator cancel t2 is the first" in said
    assert "the only instance of 'thumbs' can never take it as it is: no instance" in " ".join(ask("why", "t2").out.split())
    assert {one["task"] for one in ask("services", "--json").json[0]["unfit"]} == {"t1", "t2"}
    assert "Is 'thumbs' meant?" in ask("tasks", "--service", "thubms").err
    assert "but a service; its instances: thumbs@" in ask("drain", "thumbs").err
    assert "'t1' is a task, not a workflow" in ask("workflow", "t1").err
    assert "write SERVICE.HANDLER" in ask("key", "thumbs", "k").err
    assert "1 of thumbs.paint (slots=1) can never run as things are" in " ".join(ask("services").out.split())
    for name in ("t1", "t2"):
        assert ask("cancel", name).code == 0
    assert "can never run" not in ask("doctor").out
    assert ask("submit", "thumbs.paint", "colour=red", "--id", "t3").code == 0
    while not (letters := ask("dead", "--json").json):
        pass  # refused by then; nobody waits for it, so it is on its way there
    assert (letters[0]["task"], letters[0]["type"], letters[0]["args"]) == ("t3", "thumbs.paint", {"colour": "red"})
    assert ask("submit", "thumbs.paint", "--id", "t4").code == 0
    while len(ask("dead", "--json").json) < 2:
        pass  # as above
    first = ask("dead", "--limit", "1", "--json")
    assert ([one["task"] for one in first.json], first.err) == (["t3"], "1 more; --limit shows them\n")


def test_the_doctor_names_what_is_missing_before_any_coordinator_ran(amqp_url: str, typed: Type) -> None:
    """A broker without our queues: it says so, and how to get them."""
    told = typed("doctor", "--json", "--broker", amqp_url)
    assert told.code == 1
    failed = {one["check"]: one for one in told.json["checks"] if one["state"] == "fail"}
    assert set(failed) == {"queues", "coordinator"}
    assert "orchestrator coordinator" in failed["queues"]["do"]


async def test_the_doctor_knows_a_ledger_that_the_broker_does_not_find_from_one_that_never_was(
    amqp_url: str, broker: EmbeddedBroker, typed: Type
) -> None:
    """Whoever is called at night is not sent to start a coordinator, but told what stands in the README."""
    link = await Link.open(amqp_url, name="test")
    await link.declare(topology.base(ledger_max_bytes=2_000_000, ledger_segment_bytes=500_000))
    await link.close()
    await lead_astray(broker, link.vhost, topology.LEDGER)
    told = await asyncio.to_thread(typed, "doctor", "--json", "--broker", amqp_url)
    (queues,) = [one for one in told.json["checks"] if one["check"] == "queues"]
    assert queues["state"] == "fail"
    assert "no coordinator has run" not in queues["found"] + queues["do"]
    assert "A ledger that its broker does not find" in queues["found"] + queues["do"]


def test_submit_and_wait_prints_the_result_and_the_life_of_the_task(ask: Type, start: Start) -> None:
    """Value first, then when it was accepted, how long it waited and ran, and where."""
    start("workers", "run", SHOP)
    told = ask("submit", "thumbs.resize", "path=a.png", "width=7", "--wait", "--wait-timeout", "30s", "--json")
    assert told.code == 0, told.err
    said = told.json
    assert said["value"] == {"path": "a.png", "width": 7, "thumb": "a.png@7"}
    assert (said["outcome"], said["attempts"], said["error"]) == ("done", 1, None)
    assert said["accepted_ns"] <= said["started_ns"] <= said["ended_ns"]
    shown = ask("submit", "thumbs.resize", "path=b.png", "--wait", "--wait-timeout", "30s")
    assert shown.code == 0
    assert '"thumb": "b.png@100"' in shown.out
    assert "; Ctrl-C ends the waiting, not the task" in shown.err
    assert all(word in shown.out for word in ("accepted", "waited", "started", "ran", "ended", "attempts"))


def test_a_task_that_fails_exits_with_1_and_tells_every_attempt(ask: Type, start: Start) -> None:
    """The error, the attempt that failed before; then its letter among the dead."""
    start("workers", "run", SHOP)
    told = ask("submit", "thumbs.fail", "why=no such picture", "--wait", "--wait-timeout", "30s", "--json")
    assert told.code == 1
    said = told.json
    assert (said["outcome"], said["attempts"]) == ("failed", 2)
    assert said["error"]["kind"] == "ValueError"
    assert "no such picture" in said["error"]["message"]
    assert len(said["story"]) >= 1
    letters = ask("dead", "--json").json
    assert [(one["task"], one["type"], one["outcome"]) for one in letters] == [(said["task"], "thumbs.fail", "failed")]
    assert letters[0]["args"] == {"why": "no such picture"}
    shown = ask("dead").out
    assert "no such picture" in shown
    assert "failed attempts" in shown
    assert ask("dead", "--json").json == letters, "they stay where they are"


def test_what_runs_is_seen_and_what_it_holds(ask: Type, start: Start) -> None:
    """services, resources, tasks, why: an instance with two slots and two GPUs, one of each taken."""
    start("workers", "run", SHOP)
    assert ask("submit", "thumbs.resize", "path=a.png", "--wait", "--wait-timeout", "30s").code == 0
    assert ask("submit", "thumbs.hold", "--need", "gpu=1..2", "--id", "h1").code == 0
    assert ask("submit", "thumbs.hold", "--need", "gpu=2", "--id", "h2").code == 0
    service = ask("services", "--json").json[0]
    assert (service["service"], service["ready"]) == ("thumbs", 1)
    assert service["handlers"] == ["fail", "frame", "hold", "resize", "wait_for"]
    instance = service["instances"][0]
    assert instance["capacity"] == {"slots": 2, "gpu": 2}
    assert instance["free"] == {"slots": 1, "gpu": 1}
    assert instance["instance"] in ask("services").out
    gpu = {one["resource"]: one for one in ask("resources", "--json").json}["gpu"]
    assert (gpu["capacity"], gpu["granted"], gpu["free"]) == (2, 1, 1)
    assert "50%" in ask("resources").out
    why = ask("why", "h2")
    assert "gpu short by 1" in why.out
    assert instance["instance"] in why.out
    assert ask("why", "h1", "--json").json["state"] in ("assigned", "running")
    assert "h1" in ask("tasks").out
    never = ask("submit", "thumbs.resize", "path=a", "--need", "gpu=64", "--wait", "--wait-timeout", "30s")
    assert never.code == 1
    assert "the nearest has 2" in never.out
    assert "finishes the task it holds" in ask("drain", instance["instance"]).out
    assert "takes no new work" in ask("drain", instance["instance"]).out


def test_nothing_a_handler_says_is_obeyed_by_the_terminal(ask: Type, start: Start) -> None:
    """Escape codes and markup in an error are shown, not carried out."""
    start("workers", "run", SHOP)
    told = ask(
        "submit", "thumbs.fail", "--args", '{"why": "\\u001b[31mred [bold]x[/bold] [/nonsense]"}', "--wait", "--wait-timeout", "30s"
    )
    assert told.code == 1
    assert "\x1b" not in told.out
    assert "[bold]x[/bold] [/nonsense]" in told.out
