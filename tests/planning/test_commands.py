"""`orchestrator plan`: theory on the command line, without any broker."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner, Result

from orchestrator.cli import plan
from orchestrator.cli.app import app
from orchestrator.planning.sizes import Order
from tests.planning.reference import reference


def typed(*words: str) -> Result:
    """Type a command line where no broker is known."""
    cleared = dict.fromkeys((name for name in os.environ if name.startswith("ORCHESTRATOR_")), None)
    return CliRunner().invoke(app, ["plan", *words], env={**cleared, "COLUMNS": "100", "XDG_STATE_HOME": "/nonexistent"})


def answer(*words: str) -> Any:
    """The one JSON value that it prints."""
    done = typed(*words, "--json")
    assert done.exit_code == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_theory_of_a_pool_of_servers() -> None:
    """Ten servers, most of them at work."""
    row = next(one for one in reference("erlang_c")["rows"] if one["c"] == 10 and one["rho"] > 0.6)
    found = answer("mmc", "--arrival-rate", str(row["a"]), "--service-rate", "1", "--servers", "10")
    assert list(found) == ["rho", "wait_probability", "queue_wait_s", "response_s", "in_queue", "in_system"]
    assert found["wait_probability"] == pytest.approx(row["erlang_c"], rel=1e-10)
    assert found["queue_wait_s"] == pytest.approx(row["Wq_mu1"], rel=1e-10)
    assert found["response_s"] == pytest.approx(row["W_mu1"], rel=1e-10)
    assert found["in_queue"] == pytest.approx(row["Lq"], rel=1e-10)
    assert found["in_system"] == pytest.approx(row["Lq"] + row["a"], rel=1e-10)


def test_theory_of_a_bounded_queue() -> None:
    """Overloaded, and still with an answer: who finds no place is turned away."""
    found = answer("mmck", "--arrival-rate", "12", "--service-rate", "1", "--servers", "10", "--places", "20")
    assert found["accepted_rate"] == pytest.approx(12 * (1 - found["loss"]))
    assert found["loss"] > 1 - 10 / 12


def test_theory_of_staffing() -> None:
    """The least servers, and what they reach."""
    words = ("staff", "--arrival-rate", "8", "--service-rate", "1", "--target-wait", "0.2", "--target-probability", "0.95")
    found = answer(*words)
    asked = ["target_wait_s", "target_probability"]
    assert list(found) == ["servers", *asked, "rho", "wait_probability", "queue_wait_s", "reached_probability"]
    assert found["servers"] == 13
    assert 0.95 <= found["reached_probability"] < 1
    one_less = answer("mmc", "--arrival-rate", "8", "--service-rate", "1", "--servers", "12")
    assert 1 - one_less["wait_probability"] * 2.718281828459045 ** (-(12 - 8) * 0.2) < 0.95


@pytest.mark.parametrize(("policy", "name"), [("fifo", "FCFS"), ("sjf", "SJF"), ("srpt", "SRPT"), ("psjf", "PSJF"), ("las", "LAS")])
def test_theory_of_orders(policy: str, name: str) -> None:
    """Exponential and heavy-tailed sizes."""
    rows = reference("mg1_sjf_srpt_ps")["mean_response_times"]
    for service, law in [("exp", "exp(1)"), ("bpareto:1,1000,1.5", "bounded_pareto(k=1.0,p=1000.0,alpha=1.5)")]:
        row = next(one for one in rows if one["service"] == law and one["rho"] == 0.9)
        found = answer("mg1", "--policy", policy, "--service", service, "--arrival-rate", str(row["lam"]))
        assert found["response_s"] == pytest.approx(row["E_T"][name], rel=1e-8)
        assert found["rho"] == pytest.approx(0.9)


def test_theory_of_availability() -> None:
    """One unit, independent units, and units that wait for the one who repairs."""
    assert answer("availability", "--mttf", "999", "--mttr", "1")["availability"] == 0.999
    group = ("availability", "--mttf", "1000", "--mttr", "2", "--k", "2", "--n", "3")
    assert answer(*group)["availability"] == pytest.approx(0.999988063760766, rel=1e-13)
    assert answer(*group, "--crews", "1")["availability"] == pytest.approx(0.99997609599885, rel=1e-13)


def test_a_mean_stretches_any_law() -> None:
    """Twice as long tasks half as often: twice the response."""
    for law in ("exp", "det", "erlang:3", "uniform:1,2", "h2:4", "lognormal:2", "weibull:0.5", "bpareto:1,100,1.5"):
        words = ("mg1", "--policy", "srpt", "--service", law)
        small = answer(*words, "--mean", "1", "--arrival-rate", "0.5")
        large = answer(*words, "--mean", "2", "--arrival-rate", "0.25")
        assert large["response_s"] == pytest.approx(2 * small["response_s"], rel=1e-9)
        assert large["mean_s"] == pytest.approx(2)


def test_one_server_s_load_and_speed_may_be_said_either_way() -> None:
    """As with the other questions: by rates; or by the share of time that it is busy, and the mean."""
    words = ("mg1", "--policy", "srpt", "--service", "exp")
    by_rates = answer(*words, "--arrival-rate", "1.4", "--service-rate", "2")
    by_share = answer(*words, "--load", "0.7", "--mean", "0.5")
    assert by_rates["response_s"] == pytest.approx(by_share["response_s"], rel=1e-12)
    assert (by_rates["rho"], by_rates["mean_s"]) == (pytest.approx(0.7), 0.5)
    assert answer(*words, "--load", "0.7")["response_s"] == pytest.approx(2 * by_share["response_s"], rel=1e-9)


def test_a_program_is_told_what_people_are() -> None:
    """What was asked of the staff, and how much slower than alone a task is."""
    staff = answer("staff", "--target-wait", "0.25", "--service-rate", "10", "--arrival-rate", "80", "--target-probability", "0.9")
    assert (staff["target_wait_s"], staff["target_probability"]) == (0.25, 0.9)
    assert staff["reached_probability"] >= 0.9
    one = answer("mg1", "--load", "0.5", "--mean", "2")
    assert one["slowdown"] == pytest.approx(one["response_s"] / 2)


def test_people_get_a_table_that_says_what_each_number_means() -> None:
    """No option needed."""
    done = typed("mmc", "--arrival-rate", "8", "--service-rate", "1", "--servers", "10")
    assert done.exit_code == 0
    assert "40.9180%" in done.stdout
    assert "share of tasks that find all servers busy" in done.stdout
    assert "0.20459 s" in done.stdout


@pytest.mark.parametrize("name", ["mmc", "mmck", "staff", "mg1", "availability"])
def test_every_question_has_help_with_an_example_that_works(name: str) -> None:
    """Copy, paste, run."""
    done = typed(name, "--help")
    assert done.exit_code == 0
    assert "--json" in done.stdout
    assert "--broker" not in done.stdout
    example = " ".join(done.stdout.split()).partition("Example: orchestrator plan ")[2]
    assert example.startswith(name)
    assert typed(*example.split()).exit_code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("mmc --arrival-rate 12 --service-rate 1 --servers 10", "Take at least 13 servers"),
        ("mmc --arrival-rate -1 --service-rate 1 --servers 10", "the arrival rate is -1"),
        ("mmc --arrival-rate nan --service-rate 1 --servers 10", "the arrival rate is nan"),
        ("mmc --arrival-rate 1 --service-rate 1", "--servers"),
        ("mmc --arrival-rate soon --service-rate 1 --servers 1", "valid number"),
        ("staff --arrival-rate 8 --service-rate 1 --target-wait 0.2 --target-probability 1", "the target probability is 1"),
        ("mg1 --service pareto --arrival-rate 1", "take one of exp, det, erlang:STAGES"),
        ("mg1 --service bpareto:1,2 --arrival-rate 0.1", "write bpareto:LOW,HIGH,ALPHA with numbers"),
        ("mg1 --service bpareto:1,x,2 --arrival-rate 0.1", "write bpareto:LOW,HIGH,ALPHA with numbers"),
        ("mg1 --service erlang:1.5 --arrival-rate 0.1", "a whole number of stages"),
        ("mg1 --service exp --mean 0 --arrival-rate 0.1", "the mean service time is 0"),
        ("mg1 --service exp", "Write --arrival-rate RATE, or --load SHARE"),
        ("mg1 --load 0.5 --arrival-rate 1", "not both"),
        ("mg1 --load -1", "the load is -1"),
        ("mg1 --load 0.5 --mean 2 --service-rate 0.5", "leave one out"),
        ("mg1 --load 0.5 --service-rate 0", "the service rate is 0"),
        ("mg1 --policy best --arrival-rate 0.1", "best"),
        ("mg1 --policy srpt --arrival-rate 1", "grows without bound"),
        ("availability --mttf 1000 --mttr 2 --k 2", "--k and --n go together"),
        ("availability --mttf 1000 --mttr 2 --crews 2", "--crews with both"),
        ("availability --mttf 1000 --mttr 2 --k 4 --n 3", "4 of 3 units must work"),
        ("availability --mttf 0 --mttr 2", "the mean time to failure is 0"),
    ],
)
def test_a_question_without_an_answer_exits_with_2_and_says_why(words: str, says: str) -> None:
    """On stderr; nothing on stdout, no traceback."""
    done = typed(*words.split(), "--json")
    assert done.exit_code == 2
    assert done.stdout == ""
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_all_orders_can_be_asked_for() -> None:
    """The words on the command line are those of the library."""
    assert set(get_args(plan.Policy)) == {order.value for order in Order}


def test_help_loads_nothing_of_the_theory() -> None:
    """It is imported when it is needed."""
    text = Path(plan.__file__).read_text()
    assert "\nfrom orchestrator.planning" not in text
