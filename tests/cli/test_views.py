"""What people see: every view, on answers recorded from a running orchestrator (two instances of a shop's service ``thumbs``)."""

from __future__ import annotations

import copy
import datetime
import io
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import RenderableType

from orchestrator.cli import act, closeup, dead, demo, doctor, limit, overview, show, submit
from orchestrator.live import telemetry
from orchestrator.policies import BUILT_IN
from orchestrator.shards import ALONE, Rule
from orchestrator.wire.messages import Shard

ANSWERS: dict[str, Any] = json.loads((Path(__file__).parent / "answers.json").read_text(encoding="utf-8"))

VIEWS: dict[str, Callable[[Any], Sequence[RenderableType]]] = {
    "status": overview.status_view,
    "services": overview.services_view,
    "resources": overview.resources_view,
    "tasks": lambda found: overview.tasks_view(found, 100),
    "tasks_ended": lambda found: overview.tasks_view(found, 100),
    "task_running": closeup.task_view,
    "task_waiting": closeup.task_view,
    "task_failed": closeup.task_view,
    "why_full": closeup.why_view,
    "why_running": closeup.why_view,
    "why_deferred": closeup.why_view,
    "why_missing": closeup.why_view,
    "why_ended": closeup.why_view,
    "key_held": closeup.key_view,
    "key_free": closeup.key_view,
    "cancel_running": act.cancel_view,
    "cancel_waiting": act.cancel_view,
    "cancel_ended": act.cancel_view,
    "cancel_unknown": act.cancel_view,
    "priority": act.priority_view,
    "drain": act.drain_view,
    "policy": act.policy_view,
    "limits": limit.limits_view,
    "limit_set": limit.limit_view,
    "limit_removed": limit.limit_view,
    "dead": lambda found: dead.dead_view(found, len(found)),
    "doctor": lambda found: doctor.doctor_view([doctor.Check(**one) for one in found["checks"]]),
    "submit_done": submit.submit_view,
    "submit_failed": submit.submit_view,
}

SAID = {
    "status": [
        "desk-1",
        "epoch 1",
        "not ended",
        "ordering priority",
        "open",
        "2 of 4 types",
        "thumbs.resize, within a factor of 2.6",
    ],
    "services": ["thumbs", "fail, hold, resize", "thumbs@shop-1", "slots=2, gpu=2", "slots=0, gpu=0", "1.4", "missing"],
    "resources": ["gpu", "slots", "100%"],
    "tasks": ["hold-1", "thumbs.hold", "running", "25% holding", "lone", "deferred", "lost", "waiting"],
    "tasks_ended": ["f1", "failed", "ValueError: bad [x]", "done", "thumbs@shop-1"],
    "key_held": ["c1", "done", "until"],
    "key_free": ["nobody holds it"],
    "task_running": ["hold-1", "running", "25% holding", "gpu=1, slots=1", "on thumbs@shop-1", "started"],
    "task_waiting": ["lost", "missing.thing", "waiting", "deadline"],
    "task_failed": ["f1", "failed", "ValueError: bad [x]", "failed attempts", "1#2", "1#3"],
    "why_full": [
        "none of the 2 instances",
        "gpu short by 1",
        "cannot take it because",
        "thumbs@shop-2",
        "8 of 12",
        "before it go a1, a2",
        "in about 2 min 5 s, give or take 21.0 s",
    ],
    "why_running": ["it is running on thumbs@shop-1", "in about 3.2 s"],
    "why_deferred": ["lone", "deferred", "not due for another"],
    "why_missing": ["service 'missing' is missing", "workers run MODULE:SERVICE"],
    "why_ended": ["it has ended: failed, ValueError: bad [x]"],
    "cancel_running": ["hold-1 is being cancelled"],
    "cancel_waiting": ["lost is cancelled (it was waiting)"],
    "cancel_ended": ["f1 had ended as failed before"],
    "cancel_unknown": ["Nobody knows a task nobody", "should it come, it will not run"],
    "priority": ["lost has priority 5 now (it had 0)", "takes its new place at once"],
    "drain": ["takes no new work", "finishes the 2 tasks it holds"],
    "policy": ["ordering", "who goes next", "least_loaded", "round_robin", "mra"],
    "limits": ["api", "5 at once", "50 a second", "tasks pay.*", "each tenant", "20 at once", "licence", "3 in all", "31", "guest"],
    "limit_set": ["5 at once, 8 cpu in all, 50 a second (bursts of 5) for all tasks with team=red"],
    "limit_removed": ["api is removed"],
    "dead": ["f1", "thumbs.fail", "failed", "ValueError: bad [x]", '{"why": "bad [x]"}', "1#2"],
    "doctor": ["Python", "death notices", "clocks", "→ See why: orchestrator dead", "Nothing is broken"],
    "submit_done": ['{"path": "a.png", "width": 3', "accepted", "waited", "started", "ran", "attempts"],
    "submit_failed": ["ValueError: bad [x]", "raise ValueError(why)", "failed attempts"],
}


def seen(things: Sequence[RenderableType], width: int = 140) -> str:
    """What stands on the terminal."""
    screen = io.StringIO()
    out = show.console(screen, width=width)
    for thing in things:
        out.print(thing)
    return screen.getvalue()


@pytest.mark.parametrize("name", VIEWS)
def test_every_answer_is_readable(name: str) -> None:
    """The words that matter are there, and no line is wider than the terminal."""
    shown = seen(VIEWS[name](ANSWERS[name]))
    for word in SAID[name]:
        assert word in shown, shown
    assert max(map(len, shown.splitlines())) <= 140


@pytest.mark.parametrize("name", VIEWS)
def test_every_answer_is_readable_in_a_narrow_terminal(name: str) -> None:
    """Sixty columns: lines are folded, not cut."""
    assert max(map(len, seen(VIEWS[name](ANSWERS[name]), width=60).splitlines())) <= 60


@pytest.mark.parametrize("name", VIEWS)
@settings(deadline=None, max_examples=15)
@given(noise=st.text(st.characters(codec="utf-8"), max_size=20))
def test_whatever_text_peers_put_in_is_shown_and_not_obeyed(name: str, noise: str) -> None:
    """Any text in place of any text: no exception, no escape code, no markup taken for ours."""
    shown = seen(VIEWS[name](_with(copy.deepcopy(ANSWERS[name]), "\x1b[2J[bold]" + noise)))
    assert "\x1b" not in shown
    assert all(char.isprintable() or char == "\n" for char in shown)


def _with(data: Any, noise: str) -> Any:
    """Every free text in an answer, with noise behind it."""
    free = {"reason", "error", "message", "trace", "version", "progress_text", "instance", "found", "do", "value", "why"}
    if isinstance(data, dict):
        return {
            key: value + noise if key in free and isinstance(value, str) else _with(value, noise) for key, value in data.items()
        }
    if isinstance(data, list):
        return [_with(value, noise) for value in data]
    return data


def test_an_empty_answer_says_what_it_means() -> None:
    """No table without rows: a sentence, and what to do where something is to be done."""
    assert "workers run" in seen(overview.services_view([]))
    assert "workers run" in seen(overview.resources_view([]))
    assert "No task waits or runs" in seen(overview.tasks_view([], 100))
    assert "No such task" in seen(overview.tasks_view([], 100, narrowed=True))
    assert "nothing has failed" in seen(dead.dead_view([], 0))
    assert "quarantine is empty" in seen(dead.dead_view([], 0, quarantine=True))


def test_a_cut_list_says_that_it_is_cut() -> None:
    """As many rows as asked for: there may be more."""
    assert "--limit" in seen(overview.tasks_view(ANSWERS["tasks"][:2], 2))
    assert "7 more" in seen(dead.dead_view(ANSWERS["dead"], len(ANSWERS["dead"]) + 7))


def test_a_task_that_never_started_says_so() -> None:
    """Refused or expired: it waited until its end and ran never."""
    told = {**ANSWERS["submit_failed"], "outcome": "expired", "attempts": 0, "started_ns": None, "ran_s": None, "story": []}
    shown = seen(submit.submit_view(told))
    assert "never" in shown
    assert "expired" in shown


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        msgpack.packb([1]),
        msgpack.packb({"task": 1}),
        msgpack.packb({"task": "t", "type": "a.b", "story": [{"attempt": "x"}]}),
    ],
)
def test_a_letter_that_cannot_be_read_is_shown_as_such(body: bytes) -> None:
    """Anybody may have put it there; the command goes on."""
    told = dead.letter(body)
    assert told["error"]["kind"] == "unreadable"
    assert "unreadable" in seen(dead.dead_view([told], 1))
    json.loads(show.to_json(told))


def test_arguments_in_a_letter_are_unpacked_or_shown_as_bytes() -> None:
    """What the producer had packed, or base64 of what cannot be read."""
    letter = {"task": "t", "type": "a.b", "outcome": "failed", "args": msgpack.packb({"n": 1})}
    assert dead.letter(msgpack.packb(letter))["args"] == {"n": 1}
    assert json.loads(show.to_json(dead.letter(msgpack.packb(letter | {"args": b"\xc1"}))))["args"] == "wQ=="


def test_json_is_json_whatever_a_handler_returned() -> None:
    """NaN, bytes, instants, keys of bytes: one line that every reader takes."""
    at = datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC)
    line = show.to_json({"x": float("nan"), "y": [b"\0", at, float("inf")], b"k": "ü\n"})
    assert "\n" not in line
    assert json.loads(line) == {"x": None, "y": ["AA==", "2026-01-02T03:04:00+00:00", None], "aw==": "ü\n"}


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "less than 0.1 ms"), (0.0004, "0.4 ms"), (0.0123, "12.3 ms"), (0.25, "250 ms"), (1.26, "1.3 s"), (59.96, "1 min 0 s"),
        (243, "4 min 3 s"), (3599.7, "1 h 0 min"), (8100, "2 h 15 min"), (200_000, "2 d 7 h"), (-3, "-3.0 s"),
    ],
)  # fmt: skip
def test_lengths_of_time_as_a_person_says_them(seconds: float, said: str) -> None:
    """Two units at most, no false precision."""
    assert show.span(seconds) == said


def test_the_demo_s_bill_is_readable() -> None:
    """Also when nothing was found and nobody was killed."""
    bill = {
        "submitted": 3, "done": 2, "failed": 1, "lost": 0, "twice": 0, "attempts": 4, "reassign_ms": 72.1, "wait_ms_mean": 5824.2,
        "wait_ms_p99": 28110.5, "instances": {"parse-1": 1, "index-1": 1}, "elapsed_s": 33.1, "facts": {},
        "kills": [{"instance": "parse-1", "pid": 7, "moved": 1, "stuck": 0}],
    }  # fmt: skip
    shown = seen(demo.bill_view(bill))
    assert "72.1 ms after SIGKILL" in shown
    assert "parse-1 (process 7) in the middle of its work" in shown
    assert "over too soon" in seen(demo.bill_view({**bill, "kills": [], "reassign_ms": None, "wait_ms_mean": None}))


@pytest.mark.parametrize("width", [60, 140])
def test_policies_explain_themselves(width: int) -> None:
    """Every built-in policy with what can be set of it, its default and the reason, folded to the terminal."""
    shown = seen(act.explain_view({"about": BUILT_IN.about()}), width)
    for word in ("sjf", "ageing", "auto", "fair", "weights", "least_loaded", "msa"):
        assert word in shown
    assert max(map(len, shown.splitlines())) <= width


def test_what_was_learned_is_shown_with_its_error() -> None:
    """Of each type how long it runs; of a task what is expected of it, and by what."""
    expected = {"mean_s": 2.5, "middle_s": 1.2, "long_s": 4.0, "error": 0.31, "samples": 57, "by": "type, size"}
    service = {**ANSWERS["services"][0], "service": "thumbs", "expected": {"resize": expected}}
    shown = seen(overview.services_view([service]))
    for word in ("thumbs.resize", "± 31%", "57"):
        assert word in shown
    assert "by type, size, 57 runs, typically ± 31%" in seen(closeup.task_view({**ANSWERS["task_waiting"], "expected": expected}))


@pytest.mark.parametrize(
    ("error", "said"),
    [(0.31, "± 31%"), (2.4, "within a factor of 3.4"), (1650.58, "no telling yet"), (None, "")],
)
def test_how_far_off_estimates_are_as_a_person_says_it(error: float | None, said: str) -> None:
    """Nobody can do anything with ± 165058 %."""
    assert show.give(error).startswith(said)
    assert bool(show.give(error)) == bool(said)


def test_a_load_without_end_is_called_what_it_is() -> None:
    """All tasks of a trace at one moment: no share of anything says that."""
    assert (show.load(0.8), show.load(float("inf"))) == ("0.8", "all at once")


def test_what_peers_must_not_send_is_explained() -> None:
    """Where it came in, whose it was, how many there were before it, and how it begins: enough to find its sender."""
    letter = {
        "task": "", "type": "", "error": {"kind": "malformed", "message": "bytes: Input data was truncated"},
        "where": "orchestrator.reports", "user": "rogue", "sample": b"\x81\xa4kind\x1b[2J", "digest": "ab" * 32, "count": 1234,
        "at_ns": 5,
    }  # fmt: skip
    shown = seen(dead.dead_view([dead.letter(msgpack.packb(letter))], 1))
    for word in ("orchestrator.reports", "rogue", "1,234", "abab", r"\x81\xa4kind\x1b[2J", "truncated"):
        assert word in shown
    offence = {"what": "forged", "where": "registry", "user": "rogue", "count": 9, "kept": 9, "first_ns": 1, "last_ns": 2,
               "why": "a Leave in the name of thumbs-1", "digest": ""}  # fmt: skip
    told = seen(doctor.doctor_view(doctor.offences([offence])))
    for word in ("9 forged", "registry", "rogue", "in the name of thumbs-1", "dead --quarantine"):
        assert word in told


RESTORED: dict[str, Any] = {
    "restored_by": "desk-2", "at_ns": 1_900_000_000_000_000_000, "live": 1234, "ended": 5, "complete": True, "unknown": 0,
    "unknown_tasks": [],
}  # fmt: skip
NAMES = {"unknown": 12, "unknown_tasks": [f"t{n}" for n in range(12)]}


@pytest.mark.parametrize(
    ("lost", "status", "says", "advises"),
    [
        (
            RESTORED,
            ["desk-2 wrote 1,234 living and 5 ended tasks again from memory", "nothing accepted is missing"],
            "1,234 living tasks were written again from memory; nothing that was accepted is missing",
            "rabbitmqctl list_permissions",
        ),
        (
            RESTORED | {"complete": False},
            ["what its dead leader wrote last is missing"],
            "what was accepted last may be missing",
            "Submit again what is missing",
        ),
        (
            NAMES,
            ["agents had work of 12 tasks that nobody knows; submit them again: t0, t1, t2, t3, t4, t5, t6, t7, t8, t9 …"],
            "the ledger was lost; 12 tasks are known by name alone",
            "Submit again what is missing (orchestrator status names it)",
        ),
    ],
)
def test_a_ledger_that_was_lost_is_told_with_what_is_missing(
    lost: dict[str, Any], status: list[str], says: str, advises: str
) -> None:
    """Who wrote it again, from what; whether anything is missing, and what to submit again; nobody must read a log for that."""
    shown = " ".join(seen(overview.status_view({**ANSWERS["status"], "ledger_lost": lost}), 4000).split())
    for words in status:
        assert words in shown
    check = doctor.ledger_lost(lost)
    assert (check.check, check.state) == ("ledger", "warn" if lost is RESTORED else "fail"), "what is missing is no mere doubt"
    assert says in check.found
    assert advises in check.do


def test_a_loss_of_long_ago_fails_the_doctor_no_more() -> None:
    """The ledger remembers it for ever; who looks every minute was told for days, and would not see the next one."""
    lost = RESTORED | {"complete": False, "at_ns": time.time_ns() - 10 * 86_400_000_000_000}
    check = doctor.ledger_lost(lost)
    assert check.state == "warn"
    assert "what was accepted last may be missing; that was 10 days ago" in check.found


def test_a_ledger_that_was_never_lost_is_no_line() -> None:
    """Most never are."""
    assert "ledger lost" not in seen(overview.status_view({**ANSWERS["status"], "ledger_lost": None}))


def test_what_peers_must_not_send_is_counted_in_the_status() -> None:
    """Where, by whom if that is known, and why it is nothing."""
    offence = {"count": 1234, "what": "malformed", "where": "orchestrator.reports", "user": "", "why": "bytes: no map"}
    rows = [offence, offence | {"user": "rogue", "count": 1}]
    shown = " ".join(seen(overview.status_view({**ANSWERS["status"], "offences": rows}), 400).split())
    assert "1,234 malformed in orchestrator.reports: bytes: no map" in shown
    assert "1 malformed in orchestrator.reports by user rogue: bytes: no map" in shown


@pytest.mark.parametrize(
    ("known", "says"),
    [
        ({"seen": 0}, None),
        ({"seen": 1, "types": 3, "samples": 1200, "error": None, "worst": None}, "known of 1 of 3 types, from 1,200 runs"),
    ],
)
def test_how_well_run_times_are_known_is_told_as_far_as_it_is(known: dict[str, Any], says: str | None) -> None:
    """Nothing has run: no line; too few to tell how far off: no factor."""
    shown = seen(overview.status_view({**ANSWERS["status"], "run_times": known}))
    assert ("run times" in shown) == (says is not None)
    assert says is None or says in shown
    assert "within a factor" not in shown


def test_kin_devices_and_the_next_moment_are_shown_of_a_task() -> None:
    """What it waits for and what becomes of it if that fails; which devices it was given; that it starts at once."""
    parents = [
        {"task": "p1", "state": "done", "on_failure": "fail", "into": "thumb"},
        {"task": "p2", "state": "running", "on_failure": "skip", "into": ""},
    ]
    now = {"expected_start": {"in_s": -1.0, "error_s": 0.0}}
    shown = seen(closeup.task_view({**ANSWERS["task_waiting"], "parents": parents, "children": ["c1", "c2"], **now}))
    for words in ("p1 (done, as thumb); p2 (running, on failure skip)", "c1, c2", "now"):
        assert words in shown
    attempts = [{"attempt": "1#2", "instance": "thumbs@shop-1", "devices": {"gpu": ["G0", "G1"]}}]
    assert "1#2 on thumbs@shop-1 with gpu G0, G1" in seen(closeup.task_view({**ANSWERS["task_running"], "attempts": attempts}))


@pytest.mark.parametrize(
    ("why", "says", "advises"),
    [
        ("backlog", "the backlog is full", "Run more workers"),
        ("ledger", "fill the ledger", "cancel some of it"),
        ("reports", "is read first", "opens by itself"),
    ],
)
def test_what_keeps_the_intake_closed_is_told_with_what_helps_against_it(why: str, says: str, advises: str) -> None:
    """More workers do nothing against a ledger full of ids."""
    status = {"intake_open": False, "intake_why": why}
    assert says in seen(overview.status_view({**ANSWERS["status"], **status}), 4000)
    (check,) = [one for one in doctor.of_leader({**LED, **status}, [], ALONE, "default", 0, 1) if one.check == "intake"]
    assert says in check.found
    assert advises in check.do
    assert (why == "backlog") == ("workers" in check.do)


LED: dict[str, Any] = {"coordinator": "desk-1", "epoch": 7, "intake_open": True}


@pytest.mark.parametrize(
    ("status", "check", "state", "says"),
    [
        ({}, "coordinator", "ok", "desk-1 leads (epoch 7) and answered in 2 ms"),
        ({"intake_open": False}, "intake", "warn", "the backlog is full"),
        ({"intake_open": False, "intake_why": "ledger"}, "intake", "warn", "fill the ledger"),
        ({"intake_open": False, "intake_why": "reports"}, "intake", "warn", "settle_after_s"),
        ({"forgotten_early": 1200}, "memory", "warn", "1,200 ids were forgotten"),
        ({"ledger_lost": RESTORED}, "ledger", "warn", "written again from memory"),
        (
            {"ledger_kept_bytes": 5 * 10**6, "ledger_bytes_max": 2 * 10**9},
            "ledger",
            "warn",
            "to about 5.0 MB; ledger_bytes_max says 2,000",
        ),
        ({"now_ns": 10**18 + 10**6}, "clocks", "ok", "0.000 s behind"),
        ({"now_ns": 10**18 + 3 * 10**9}, "clocks", "warn", "2.999 s ahead of ours"),
        ({"now_ns": 10**18 - 60 * 10**9}, "clocks", "fail", "60.001 s behind ours"),
    ],
)
def test_the_doctor_reads_the_leader_s_answers(status: dict[str, Any], check: str, state: str, says: str) -> None:
    """What is as it should be is no line, or an ok one; whatever is not says what to do."""
    found = {one.check: one for one in doctor.of_leader(LED | status, [], ALONE, "default", 10**18, 10**18 + 2 * 10**6)}
    assert (found[check].state, says in found[check].found) == (state, True), found[check]
    assert bool(found[check].do) == (state != "ok")
    assert set(found) == {"coordinator", "services", check}


def test_a_broker_without_streams_is_told_at_once() -> None:
    """The ledger is one; whatever its version looks like."""
    assert doctor.broker_version("3.10.8").state == doctor.broker_version("4.1.0-rc.1").state == "ok"
    for old in ("3.8.27", "3.9.0", "what"):
        assert (doctor.broker_version(old).state, "3.10" in doctor.broker_version(old).do) == ("fail", True)


def test_work_that_nobody_is_there_for_is_what_the_doctor_looks_for() -> None:
    """A service whose instances are all gone, or that was never there, and whose tasks wait; one that is there may have a queue."""
    services = [
        {"service": "thumbs", "waiting": 1200, "ready": 0},
        {"service": "mail", "waiting": 1, "ready": 0},
        {"service": "busy", "waiting": 9, "ready": 2},
        {"service": "idle", "waiting": 0, "ready": 0},
    ]
    (check,) = doctor.unserved(services)
    assert (check.state, check.found) == ("warn", "1,200 tasks wait for thumbs; 1 task waits for mail, and no instance is ready")
    assert "workers run" in check.do
    assert doctor.unserved(services[2:]) == []


def test_tasks_left_in_a_shard_by_an_older_rule_are_found() -> None:
    """New ones go elsewhere, and so do agents; where tenants have a shard to themselves that is nothing to wonder about."""
    rule = Rule([Shard("gpu", services=["render"])])
    left = [{"service": "render", "waiting": 3, "ready": 0}]
    (check,) = doctor.astray(left, rule, "default")
    assert (check.state, check.found) == ("warn", "render waits here, and its new tasks go to gpu")
    assert check.do.endswith("workers run MODULE:SERVICE --shard default")
    assert doctor.astray(left, rule, "gpu") == []
    assert doctor.astray([{**left[0], "ready": 1}], rule, "default") == []
    assert doctor.astray(left, Rule([Shard("acme", tenants=["acme"]), Shard("gpu", services=["render"])]), "acme") == []


def test_a_ledger_that_is_cut_short_is_told_with_what_to_do() -> None:
    """How much is kept, how much we asked for, and where to look for whose limit it is."""
    told = seen(doctor.doctor_view([doctor.ledger_short(3_100_000, 2 * 1024**3)]))
    for word in ("cuts the ledger to about 3.1 MB", "2,147 MB", "list_policies", "ledger_bytes_max"):
        assert word in " ".join(told.split())
    for advice in (told, telemetry.CATALOGUE["ledger_short"].text):
        assert "set ledger_bytes_max" not in " ".join(advice.split()), "with another cap no coordinator starts on this ledger"
    short = {**ANSWERS["status"], "ledger_kept_bytes": 3_100_000, "ledger_bytes_max": 2 * 1024**3}
    assert "a policy of the broker cuts it to about 3.1 MB, and ledger_bytes_max says 2,147" in seen(
        overview.status_view(short), 4000
    )
    assert "a policy of the broker" not in seen(overview.status_view(ANSWERS["status"]))
