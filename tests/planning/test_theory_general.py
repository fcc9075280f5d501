"""General service and arrival times agree with every row of the reference values: exact formulas and approximations alike."""

from __future__ import annotations

from orchestrator.planning import general, laws, priorities
from tests.planning.reference import agrees, law_named, reference


def test_pollaczek_khinchine_for_thirteen_laws() -> None:
    """Moments of the law, means and variance of the wait."""
    file = reference("mg1_pollaczek_khinchine")
    for row in file["rows"]:
        law = law_named(row["service"])
        found, spread = general.mg1(row["lam"], law), general.mg1_wait_spread(row["lam"], law)
        for value, name in [
            (law.mean, "m1"), (law.second, "m2"), (found.rho, "rho"), (found.queue_wait_s, "Wq"), (found.response_s, "W"),
            (found.in_queue, "Lq"), (spread.variance_s2, "var_Wq"),
        ]:  # fmt: skip
            agrees(value, row[name], file["tolerance"]["formula_rel"], row)
        assert abs(laws.scv(law) - row["scv"]) <= 1e-10 * (1 + row["scv"])


def test_constant_service_on_many_servers() -> None:
    """M/D/c exactly, and three approximations of it."""
    file = reference("ggc_approximations")
    exact = file["tolerance"]["formula_rel"]
    for row in file["rows_mdc"]:
        c, rate = row["c"], row["c"] * row["rho"]
        found = general.mdc(rate, 1, c)
        tolerance = 2e-8 if (c, row["rho"]) == (32, 0.5) else exact  # that row is off itself; the next test says by how much
        agrees(found.queue_wait_s, row["Wq_exact"], tolerance, row)
        agrees(found.in_queue, row["Lq_exact"], tolerance, row)
        agrees(found.wait_probability, row["P_wait_exact"], exact, row)
        agrees(general.allen_cunneen(rate, 1, c, 1, 0), row["Wq_allen_cunneen"], exact, row)
        agrees(general.sakasegawa(rate, 1, c, 1, 0), row["Wq_sakasegawa"], exact, row)
        agrees(general.cosmetatos(rate, 1, c), row["Wq_cosmetatos"], exact, row)


def test_constant_service_where_hardly_anybody_waits() -> None:
    """Half-loaded, 32 servers: the wait computed with 60 digits."""
    found = general.mdc(16, 1, 32)
    agrees(found.queue_wait_s, 1.48744578631231339639e-05, 1e-12, "c=32, rho=.5")
    agrees(found.wait_probability, 2.76369061151140515053e-04, 1e-12, "c=32, rho=.5")


def test_errors_of_approximations_are_as_documented() -> None:
    """Planning values, each with a known worst case."""
    rows = reference("ggc_approximations")["rows_mdc"]
    limits = {
        "allen_cunneen": {0.5: 0.39, 0.8: 0.15, 0.9: 0.061},
        "sakasegawa": {0.5: 15, 0.8: 0.087, 0.9: 0.033},
        "cosmetatos": {0.5: 0.027, 0.8: 0.008, 0.9: 0.008},
    }
    for name, by_load in limits.items():
        for load, limit in by_load.items():
            errors = [abs(row[f"Wq_{name}"] / row["Wq_exact"] - 1) for row in rows if row["rho"] >= load]
            assert max(errors) <= limit, (name, load)


def test_regular_and_bursty_arrivals() -> None:
    """GI/M/1 exactly, and Kingman's approximation with and without its correction."""
    file = reference("ggc_approximations")
    tolerance = file["tolerance"]["formula_rel"]
    for row in file["rows_gim1"]:
        rho, scv = row["rho"], row["ca2"]
        between: dict[str, laws.Law] = {
            "D": laws.Deterministic(1 / rho),
            "Erlang2": laws.Erlang(2, 1 / rho),
            "Uniform(0,2/lam)": laws.Uniform(0, 2 / rho),
            "H2(scv=4)": laws.balanced_h2(1 / rho, 4),
            "H2(scv=10)": laws.balanced_h2(1 / rho, 10),
        }
        found = general.gim1(between[row["arrivals"]], 1)
        agrees(found.wait_probability, row["sigma_P_wait"], tolerance, row)
        agrees(found.queue_wait_s, row["Wq_exact"], tolerance, row)
        agrees(found.response_s, row["W_exact"], tolerance, row)
        agrees(general.kingman(rho, 1, scv, 1), row["Wq_kingman"], tolerance, row)
        agrees(general.kraemer_langenbach_belz(rho, 1, scv, 1), row["Wq_kraemer_langenbach_belz"], tolerance, row)


def test_strict_priorities() -> None:
    """Without interruption on one and on many servers, with interruption on one, and what no order can change."""
    file = reference("priority_queues")
    tolerance = file["tolerance"]["formula_rel"]
    for row in file["cobham_examples"]:
        classes = [priorities.exponential_class(rate, mu) for rate, mu in zip(row["lam"], row["mu"], strict=True)]
        if row["servers"] == 1:
            waits = priorities.nonpreemptive(classes)
            for value, expected in zip(priorities.preemptive(classes), row["W_preemptive_resume"], strict=True):
                agrees(value, expected, tolerance, row)
            agrees(priorities.conserved(classes), row["conservation_rhs_rho_W0_over_1_minus_rho"], tolerance, row)
        else:
            waits = priorities.nonpreemptive_mmc(row["lam"], row["mu"][0], row["servers"])
        for one, wait, queued, response in zip(classes, waits, row["Wq_by_class"], row["W_by_class"], strict=True):
            agrees(wait, queued, tolerance, row)
            agrees(wait + one.law.mean, response, tolerance, row)
        loads = [one.load / row["servers"] for one in classes]
        agrees(sum(load * wait for load, wait in zip(loads, waits, strict=True)), row["sum_rho_i_Wi"], 1e-11, row)


def test_priorities_that_age() -> None:
    """Priority is slope times waiting time."""
    file = reference("priority_queues")
    for row in file["kleinrock_linear_slope"]:
        classes = [priorities.exponential_class(rate, mu) for rate, mu in zip(row["lam"], row["mu"], strict=True)]
        for value, expected in zip(priorities.ageing(classes, row["slope_b"]), row["Wq_by_class"], strict=True):
            agrees(value, expected, file["tolerance"]["formula_rel"], row)
