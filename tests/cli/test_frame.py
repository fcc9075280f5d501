"""What all commands have in common: help, usage errors, finding the broker, errors without tracebacks, exit codes."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator import cli
from orchestrator.cli.faults import Fault
from orchestrator.live.settings import Settings
from tests.cli.conftest import Type

COMMANDS = [
    "up", "coordinator", "demo", "submit", "status", "services", "resources", "tasks", "task", "why", "dead", "cancel", "drain",
    "key",
    "policy", "limit", "doctor", "bench",
]  # fmt: skip
ROOT = Path(__file__).parents[2]


def test_every_setting_is_listed_with_its_name_in_the_environment_its_default_and_what_it_is(typed: Type) -> None:
    """Who has installed a package has no other place to look."""
    found = {one["setting"]: one for one in typed("settings", "--json").json}
    assert list(found) == list(Settings.model_fields)
    assert all(len(one["is"]) > 10 for one in found.values())
    assert (found["lease_s"]["environment"], found["lease_s"]["default"]) == ("ORCHESTRATOR_LEASE_S", 5.0)
    assert "Beats come every second" in found["lease_s"]["is"]
    shown = typed("settings").out
    assert "ORCHESTRATOR_LEDGER_BYTES_MAX" in shown
    assert "2147483648" in shown


def test_the_list_of_modules_has_all_of_them() -> None:
    """What the package says of itself."""
    there = {path.name for path in Path(cli.__file__).parent.glob("*.py")} - {"__init__.py"}
    assert {name for name in there if f"{name} " not in (cli.__doc__ or "")} == set()


def test_help_says_what_exit_codes_mean(typed: Type) -> None:
    """For scripts."""
    said = " ".join(typed("--help").out.split())
    assert "Exit codes: 0 done; 1 failed, interrupted, or not all that was asked is known; 2 bad usage" in said


@pytest.mark.parametrize("command", ["coordinator", "up"])
def test_how_log_lines_look_is_said_by_a_flag(typed: Type, command: str) -> None:
    """As of workers; what is no style is bad usage."""
    done = typed(command, "--broker", "amqp://h/", "--log", "xml")
    assert (done.code, done.out) == (2, "")
    assert "log" in done.err
    assert "xml" in done.err


def test_help_lists_every_command_and_comes_at_once() -> None:
    """Nothing heavy is loaded before it is needed: 0.4 s of this machine's time, whoever else is using it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    narrow = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "--help"],
        cwd=ROOT,
        env=narrow,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    assert not [line for line in done.stdout.splitlines() if line.endswith("...") and "Usage" not in line], (
        "a sentence that is cut says nothing"
    )
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.4


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_and_takes_json(typed: Type, name: str) -> None:
    """What is typed, what it does, and one line to copy."""
    done = typed(name, "--help")
    assert done.code == 0
    assert f"Example: orchestrator {name}" in done.out
    assert "--json" in done.out
    assert ("--broker URL" in done.out) is (name != "bench"), "which has a broker of its own"
    assert ("--config FILE" in done.out) is (name not in ("bench", "demo")), "these read no settings"


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["submit"],
        ["submit", "a.b", "width"],
        ["submit", "a.b", "--need", "cpu"],
        ["submit", "a.b", "--deadline", "soon"],
        ["submit", "a.b", "--priority", "5000"],
        ["tasks", "--limit", "0"],
        ["status", "--broker", "amqp://h/", "--within", "soon"],
        ["task"],
        ["status", "--broker", "http://me:secret@host/"],
        ["status", "--config", "/nowhere/orchestrator.toml"],
        ["coordinator", "--broker", "amqp://h/", "--ordering", "alphabetical"],
        ["up", "--workers", "shop"],
        ["up", "--workers", "no_such_module:service"],
        ["up", "--workers", "tests.no_such_module:service"],
        ["demo", "--data-dir", "here"],
        ["demo", "--broker", "rabbit"],
        ["bench", "--broker", "amqp://h/"],
        ["workflow", "w1", "--mermaid", "--json", "--broker", "amqp://h/"],
        ["services", "--mermaid", "--json", "--broker", "amqp://h/"],
        ["services", "--graph", "mermaid", "--json", "--broker", "amqp://h/"],
    ],
    ids=" ".join,
)
def test_bad_usage_exits_with_2_and_says_so_on_stderr(typed: Type, words: list[str]) -> None:
    """Nothing on stdout, no traceback, code 2."""
    done = typed(*words)
    assert done.code == 2
    assert done.out == ""
    assert "rror" in done.err
    assert "secret" not in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "words",
    [["--speed", "5"], ["--policy", "sjf"], ["--estimates", "hint"], ["--compare"], ["--tasks", "out.csv"], ["--json"]],
    ids=lambda words: words[0],
)
def test_who_only_sleeps_for_a_replay_is_told_what_is_not_his_to_say(typed: Type, words: list[str]) -> None:
    """It is said where the replay is started; here it would have been taken and have changed nothing."""
    done = typed("replay", "day.csv", "--serve", *words, "--broker", "amqp://h/")
    assert (done.code, done.out) == (2, "")
    assert f"say {words[0]} where the replay is started" in " ".join(done.err.split()).replace("│ ", "")


def test_without_any_broker_a_command_says_how_to_get_one(typed: Type) -> None:
    """What happened, what it means, what to do."""
    done = typed("services", "--json")
    assert done.code == 1
    assert done.out == ""
    assert "No broker is known" in done.err
    assert "Nothing was asked" in done.err
    assert "orchestrator up" in done.err
    assert "--broker amqp://" in done.err


def test_an_up_that_died_is_told_from_one_that_never_ran(typed: Type, tmp_path: Path) -> None:
    """Its note is still there, its process is not."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    note = tmp_path / "orchestrator" / "up.json"
    note.parent.mkdir()
    note.write_text(json.dumps({"url": "amqp://u:secret@127.0.0.1:1/", "pid": gone.pid}))
    done = typed("status")
    assert done.code == 1
    assert "is gone" in done.err
    assert "secret" not in done.err


def test_a_running_up_is_found_and_a_broker_that_is_not_there_is_named_without_its_password(typed: Type, tmp_path: Path) -> None:
    """The doctor shows which broker is meant and that it cannot be reached."""
    note = tmp_path / "orchestrator" / "up.json"
    note.parent.mkdir()
    note.write_text(json.dumps({"url": "amqp://me:secret@127.0.0.1:1/", "pid": os.getpid()}))
    done = typed("doctor", "--json")
    assert done.code == 1
    told = done.json
    assert told["ok"] is False
    assert [(one["check"], one["state"]) for one in told["checks"]] == [
        ("Python", "ok"),
        ("broker found", "ok"),
        ("broker reachable", "fail"),
    ]
    assert "amqp://me@127.0.0.1:1/" in done.out
    assert "secret" not in done.out + done.err
    assert told["checks"][-1]["do"]


def test_flag_goes_before_environment(typed: Type) -> None:
    """--broker wins over ORCHESTRATOR_BROKER."""
    environment = {"ORCHESTRATOR_BROKER": "amqp://env@127.0.0.1:1/"}
    assert "flag@" in typed("doctor", "--json", "--broker", "amqp://flag@127.0.0.1:1/", **environment).json["checks"][1]["found"]
    assert "env@" in typed("doctor", "--json", **environment).json["checks"][1]["found"]


def test_a_settings_file_names_the_broker(typed: Type, tmp_path: Path) -> None:
    """--config FILE."""
    file = tmp_path / "orchestrator.toml"
    file.write_text('broker = "amqp://file@127.0.0.1:1/"\n')
    told = typed("doctor", "--json", "--config", str(file)).json
    assert "file@" in told["checks"][1]["found"]


def test_all_faults_of_the_settings_are_told_at_once(typed: Type) -> None:
    """Two wrong values, one message, code 2."""
    done = typed("coordinator", "--broker", "amqp://h/", ORCHESTRATOR_LEASE_S="0.1", ORCHESTRATOR_ORDERING="alphabetical")
    assert done.code == 2
    assert "lease_s" in done.err
    assert "alphabetical" in done.err


def test_debug_shows_where_an_error_comes_from(typed: Type) -> None:
    """For whoever reports a bug: the error itself reaches the interpreter, with its traceback."""
    done = typed("services", "--debug")
    assert done.code == 1
    assert isinstance(done.raised, Fault)


def test_ctrl_c_is_told_without_a_traceback_from_the_first_moment_on() -> None:
    """While the command line itself is still being loaded."""
    code = """if True:
        import builtins
        from orchestrator.cli import main
        load = builtins.__import__
        def struck(name, *rest):
            if name.endswith("cli.app"):
                raise KeyboardInterrupt
            return load(name, *rest)
        builtins.__import__ = struck
        main()
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "interrupted\n")


def test_a_directory_that_cannot_be_had_is_named(typed: Type) -> None:
    """Not a bug of ours: a place that is not theirs."""
    done = typed("up", "--data-dir", "/proc/nowhere")
    assert done.code == 1
    assert "/proc/nowhere" in done.err
    assert "mistake in the orchestrator" not in done.err


def test_a_variable_that_is_no_setting_is_pointed_out_once(typed: Type) -> None:
    """On stderr, so that a script's answer stays one; a command that reads no settings has nothing to say of it."""
    told = typed("doctor", "--json", ORCHESTRATOR_BROKR="amqp://here/")
    assert told.err == (
        "warning: ORCHESTRATOR_BROKR in the environment is no setting and changes nothing. Is ORCHESTRATOR_BROKER meant?\n"
    )
    assert told.json["checks"][1]["state"] == "fail"
    assert "BROKR" not in typed("plan", "mg1", "--load", "0.5", ORCHESTRATOR_BROKR="amqp://here/").err
