"""The command line: what it finds, and what it says when it does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workers.address import check
from workers.errors import ServiceError

ROOT = Path(__file__).parents[2]


def workers(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``workers`` to its end."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ORCHESTRATOR_", "WORKERS_"))}
    return subprocess.run(
        [sys.executable, "-m", "workers", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=inherited | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"} | environment,
        timeout=30,
    )


SERVICE = "tests.workers.live.services:service"


def test_help_shows_an_example_and_every_option() -> None:
    """Somebody who types only this can go on."""
    done = workers("run", "--help")
    assert done.returncode == 0
    assert "Example: workers run shop.thumbs:service" in done.stdout
    for option in ("--broker", "--capacity", "--instance", "--processes", "--grace", "--log", "--log-level"):
        assert option in done.stdout
    assert "ORCHESTRATOR_BROKER" in done.stdout
    assert workers().returncode == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere:service"], "There is no module 'nowhere'"),
        (["tests.nowhere:service"], "There is no module 'tests.nowhere'"),
        (["workers.shop:service"], "'workers' is a package of the orchestrator's own, and hides yours"),
        (["tests.workers.live.services"], "Write MODULE:SERVICE"),
        (["shop/thumbs.py:service"], "names a file, not a module. Write shop.thumbs:service"),
        (["thumbs.py:service"], "Write thumbs:service"),
        (["tests.workers.live.services:servce"], "has no 'servce'. Its services: service."),
        (["tests.workers.core.stage:nothing"], "It has no Service at its top level."),
        (["tests.workers.live.services:witness"], "is a function, not a Service"),
        ([SERVICE, "--capacity", "slots"], "write NAME=AMOUNT, like slots=4"),
        ([SERVICE, "--capacity", "slots=many"], "write NAME=AMOUNT, like slots=4"),
        ([SERVICE, "--device", "gpu"], "write NAME=ID,ID, like gpu=GPU-0,GPU-1"),
        ([SERVICE, "--device", "gpu=0,0"], "Name each once"),
        ([SERVICE, "--grace", "soon"], "--grace is 'soon'"),
        ([SERVICE, "--log", "xml"], "--log is 'xml'; it can be: console, json"),
        ([SERVICE, "--broker", "localhost"], "must be an AMQP URL, like amqp://"),
        ([SERVICE, "--instance", "two words"], "cannot be called 'two words'"),
    ],
)
def test_mistakes_are_told_without_a_traceback(arguments: list[str], words: str) -> None:
    """What was found instead, and what to type; exit code 2."""
    done = workers("run", *arguments, ORCHESTRATOR_BROKER="amqp://guest:guest@127.0.0.1:1/")
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 2


def test_a_module_that_fails_to_import_shows_its_own_traceback(tmp_path: Path) -> None:
    """That one is for its author: it begins in his file, and none of what called it is in it."""
    declare = "from workers import Service\nservice = Service('shop')\n"
    for text, line, said in (
        ("import there_is_no_such_library\n", 1, "ModuleNotFoundError: No module named 'there_is_no_such_library'"),
        (declare + "@service.task('gpu', needs={'gpu': 1})\ndef gpu(): ...\n", 3, "unexpected keyword argument 'needs'"),
        (declare + "@service.task(timeout='soon')\ndef late(): ...\n", 3, "timeout of shop.late"),
        ("service = (\n", 1, "SyntaxError"),
    ):
        (tmp_path / "broken.py").write_text(text)
        done = workers("run", "broken:service", cwd=tmp_path)
        assert done.stderr.startswith("workers: Module 'broken' could not be imported, so nothing was started.")
        assert f'broken.py", line {line}' in done.stderr
        assert said in done.stderr
        assert "typer" not in done.stderr
        assert "importlib" not in done.stderr
        assert done.returncode == 2


def test_no_broker_known(tmp_path: Path) -> None:
    """It says how to get one."""
    done = workers("run", SERVICE, ORCHESTRATOR_DATA_DIR=str(tmp_path))
    assert "No broker is known" in done.stderr
    assert "orchestrator up" in done.stderr
    assert done.returncode == 1, "nothing is wrong with what was typed; as with the other commands"


def test_who_leaves_out_run_is_told_to_write_it() -> None:
    """The first thing that one mistypes."""
    done = workers("shop:service", "--grace", "5s")
    assert "Write: workers run shop:service --grace 5s" in done.stderr
    assert done.returncode == 2


def test_a_module_is_looked_for_to_its_last_part_and_not_imported() -> None:
    """``up`` looks so before it starts a broker; what importing it does is its agent's business."""
    check("tests.workers.jobs.handlers:anything")
    check("antigravity:service")
    assert "antigravity" not in sys.modules
    for spec, missing in (
        ("tests.wrkers.live:a", "tests.wrkers"),
        ("tests.workers.cli.x:a", "tests.workers.cli"),
        ("sys.x:a", "sys.x"),
    ):
        with pytest.raises(ServiceError, match=f"There is no module '{missing}'"):
            check(spec)


def test_the_broker_of_an_up_that_is_gone_is_not_used(tmp_path: Path) -> None:
    """Its note may have been left behind."""
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    (tmp_path / "up.json").write_text(json.dumps({"url": "amqp://x", "pid": int(ended.stdout)}))
    assert "No broker is known" in workers("run", SERVICE, ORCHESTRATOR_DATA_DIR=str(tmp_path)).stderr


def test_a_mistyped_variable_is_pointed_out(tmp_path: Path) -> None:
    """It would change nothing, and nobody would know why. Settings of coordinators are none of ours."""
    mistyped = {"ORCHESTRATOR_BROKR": "amqp://x/", "WORKERS_INSTANC": "a", "ORCHESTRATOR_LEASE_S": "9"}
    done = workers("run", SERVICE, XDG_STATE_HOME=str(tmp_path), **mistyped)
    assert "ORCHESTRATOR_BROKR in the environment is read by nobody. Is ORCHESTRATOR_BROKER meant?" in done.stderr
    assert "Is WORKERS_INSTANCE meant?" in done.stderr
    assert "LEASE" not in done.stderr
    assert "No broker is known" in done.stderr
