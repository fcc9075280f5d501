"""Orders that look at sizes, known or predicted, agree with every row of the reference values."""

from __future__ import annotations

from functools import cache

import pytest

from orchestrator.planning import general, predictions
from orchestrator.planning.sizes import Order, response_of_size_s, response_s, srpt_parts_s
from tests.planning.reference import agrees, reference, smooth_law_named

NAMES = {"FCFS": Order.FIFO, "PS": Order.PS, "SJF": Order.SJF, "PSJF": Order.PSJF, "SRPT": Order.SRPT, "LAS": Order.LAS}


def test_mean_response_under_six_orders_and_eight_laws() -> None:
    """Loads from .5 to .99, tails up to a squared variation of 80000; to 1e-9, though the file asks for less."""
    file = reference("mg1_sjf_srpt_ps")
    assert file["tolerance"]["formula_rel"] >= 1e-9
    for row in file["mean_response_times"]:
        law = smooth_law_named(row["service"])
        for name, order in NAMES.items():
            agrees(response_s(order, row["lam"], law), row["E_T"][name], 1e-9, (name, row))


def test_the_parts_of_srpt() -> None:
    """The time until first service, and the time from there to the end."""
    for row in reference("mg1_sjf_srpt_ps")["mean_response_times"]:
        waits, served = srpt_parts_s(row["lam"], smooth_law_named(row["service"]))
        agrees(waits, row["E_T"]["SRPT_wait_part"], 1e-9, row)
        agrees(served, row["E_T"]["SRPT_residence_part"], 1e-9, row)


def test_response_of_tasks_of_one_size() -> None:
    """From the smallest tenth to the largest thousandth."""
    for row in reference("mg1_sjf_srpt_ps")["per_size"]:
        law = smooth_law_named(row["service"])
        for name, order in NAMES.items():
            if f"T_{name}" in row:
                found = response_of_size_s(order, row["rho"] / law.mean, law, row["x"])
                agrees(found, row[f"T_{name}"], 1e-10, (name, row))


@pytest.mark.parametrize(("rho", "published"), reference("mg1_sjf_srpt_ps")["published_comparison"]["values"].items())
def test_the_published_table_for_exponential_sizes(rho: str, published: dict[str, float]) -> None:
    """To the four digits of print."""
    law = smooth_law_named("exp(1)")
    for name, expected in published.items():
        found = response_s(NAMES["FCFS" if name == "FIFO" else name], float(rho), law)
        assert abs(found - expected) < 6e-5, name


def test_rough_predictions_of_exponential_sizes() -> None:
    """Three orders by predictions, loads from .5 to .99; to 1e-7, though the file asks for less."""
    file = reference("predicted_sizes")
    assert file["tolerance"]["formula_rel"] >= 1e-7
    for row in file["exponential_predictions_MM1"]:
        found = predictions.exponential_predictions(row["rho"])
        agrees(found.spjf_s, row["SPJF"], 1e-7, row)
        agrees(found.pspjf_s, row["PSPJF"], 1e-7, row)
        agrees(found.sprpt_s, row["SPRPT"], 1e-7, row)
        agrees(general.mg1(row["rho"], smooth_law_named("exp(1)")).response_s, row["FCFS"], 1e-12, row)


def test_predictions_wrong_by_a_factor() -> None:
    """SJF by y = x·exp(sigma·Z): the mean, and how much of the gain of exact sizes is kept."""
    rows = reference("predicted_sizes")["lognormal_error_SJF"]
    noisy = cache(lambda service, sigma: predictions.NoisySizes(smooth_law_named(service), sigma))
    for row in rows:
        law = smooth_law_named(row["service"])
        rate = row["rho"] / law.mean
        found = noisy(row["service"], row["sigma"]).sjf_s(rate)
        fifo, exact = response_s(Order.FIFO, rate, law), response_s(Order.SJF, rate, law)
        agrees(found, row["E_T_SJF_noisy"], 2e-7, row)
        agrees(exact, row["E_T_SJF_exact"], 1e-9, row)
        agrees(fifo, row["E_T_FCFS"], 1e-10, row)
        agrees(predictions.share_of_gain_kept(fifo, exact, found), row["share_of_gain_kept"], 1e-6, row)
