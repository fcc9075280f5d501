"""Markovian queues, staffing and dispatch agree with every row of the reference values."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest

from orchestrator.planning import dispatch, queues, staffing
from tests.planning.reference import agrees, reference


def test_mm1_gives_numbers_and_times_under_their_right_names() -> None:
    """And the often quoted formula for the wait is L, the number in the system, whatever the unit of time."""
    file = reference("mm1_identity")
    for row in file["rows"]:
        found = queues.mm1(row["lam"], row["mu"])
        for value, name in [
            (found.rho, "rho"), (found.in_system, "L"), (found.in_queue, "Lq"), (found.queue_wait_s, "Wq"), (found.response_s, "W"),
            (found.in_system, "seed_formula"), (row["mu"] * found.queue_wait_s, "seed_formula"),
        ]:  # fmt: skip
            agrees(value, row[name], file["tolerance"]["exact_rel"], row)


def test_erlang_b_c_and_waits_of_up_to_a_thousand_servers() -> None:
    """Loss, delay, means and the tail of the wait."""
    file = reference("erlang_c")
    for row in file["rows"]:
        found = queues.mmc(row["a"], 1, row["c"])
        for value, name in [
            (queues.erlang_b(row["c"], row["a"]), "erlang_b"), (queues.erlang_c(row["c"], row["a"]), "erlang_c"),
            (found.queue_wait_s, "Wq_mu1"), (found.response_s, "W_mu1"), (found.in_queue, "Lq"),
            (queues.mmc_wait_tail(row["a"], 1, row["c"], 1), "P_wait_gt_1_mu1"),
        ]:  # fmt: skip
            agrees(value, row[name], file["tolerance"]["formula_rel"], row)


def test_erlang_c_of_examples_that_can_be_checked_by_hand() -> None:
    """Two servers under 4/3 Erlang: 8/15 of the tasks wait."""
    rows = [row for row in reference("erlang_c")["hand_checkable"] if row["a"] != "rho"]
    assert rows
    for row in rows:
        agrees(queues.erlang_c(row["c"], float(Fraction(row["a"]))), float(Fraction(row["erlang_c"])), 1e-14, row)
    agrees(queues.erlang_c(1, 0.375), 0.375, 1e-15, "one server: the load itself")


def test_bounded_queues() -> None:
    """Losses, means of those who got in, and how often there is nothing to do."""
    file = reference("mmck_bounded_queue")
    for row in file["rows"]:
        found = queues.mmck(row["lam"], row["mu"], row["c"], row["K"])
        for value, name in [
            (found.loss, "p_block"), (found.in_queue, "Lq"), (found.in_system, "L"), (found.queue_wait_s, "Wq"),
            (found.response_s, "W"), (found.empty, "p0"),
        ]:  # fmt: skip
            agrees(value, row[name], file["tolerance"]["formula_rel"], row)


def test_staffing_for_a_share_that_waits() -> None:
    """The exact number of servers, and the square-root rule, at most one beside it."""
    for row in reference("staffing")["P_wait_targets"]:
        load, target = row["offered_load_a"], row["target_P_wait"]
        found = staffing.for_wait_probability(load, 1, target)
        assert found.servers == row["c_exact"], row
        assert staffing.square_root(load, target) == row["c_sqrt_staffing"], row
        for value, name in [
            (found.wait_probability, "P_wait_at_c"), (found.queue_wait_s, "Wq_at_c_mu1"), (found.rho, "rho_at_c"),
            (staffing.quality(target), "beta_halfin_whitt"),
        ]:  # fmt: skip
            agrees(value, row[name], 1e-10, row)


def test_staffing_for_a_tail_of_the_wait() -> None:
    """The exact number of servers with which few wait longer than a target."""
    for row in reference("staffing")["tail_targets"]:
        words = re.fullmatch(r"P\(Wq>([\d.]+)\)<=([\d.]+) \(mu=1\)", row["target"])
        assert words
        found = staffing.for_wait(row["offered_load_a"], 1, float(words[1]), 1 - float(words[2]))
        assert found.servers == row["c_exact"], row
        agrees(found.wait_probability, row["P_wait"], 1e-10, row)


def test_the_same_utilisation_is_lavish_for_many_servers_and_poor_for_few() -> None:
    """Probability to wait and wait at equal rho."""
    for row in reference("staffing")["why_fixed_utilisation_target_is_wrong"]:
        found = queues.mmc(row["c"] * row["rho"], 1, row["c"])
        agrees(found.wait_probability, row["P_wait"], 1e-10, row)
        agrees(found.queue_wait_s, row["Wq"], 1e-10, row)


def test_a_published_call_centre() -> None:
    """100 calls in half an hour, 3 minutes each, 14 agents: two published packages print the same digits."""
    check = reference("staffing")["published_check"]
    found = queues.mmc(100 / 1800, 1 / 180, check["c"])
    agrees(found.wait_probability, check["P_wait"], 1e-13, check)
    agrees(found.queue_wait_s, check["ASA_seconds"], 1e-13, check)
    agrees(1 - queues.mmc_wait_tail(100 / 1800, 1 / 180, check["c"], 20), check["service_level_20s"], 1e-13, check)


def test_the_power_of_choices() -> None:
    """Mean response and how full the queues are, with one to five choices."""
    file = reference("power_of_d")
    for row in file["rows"]:
        agrees(dispatch.response(row["d"], row["lam"]), row["E_T_limit"], file["tolerance"]["formula_rel"], row)
        for tasks, share in enumerate(row["s_k_fraction_queues_at_least_k"], 1):
            agrees(dispatch.busy_share(row["d"], row["lam"], tasks), share, 1e-10, row)


@pytest.mark.parametrize(("choices", "published"), reference("power_of_d")["remembered_published"]["values"].items())
def test_the_published_table_of_choices(choices: str, published: dict[str, list[float]]) -> None:
    """To the four digits of print; the last may be off by one."""
    for rho, (_, prediction) in published.items():
        assert abs(dispatch.response(int(choices), float(rho)) - prediction) < 1.5e-4
