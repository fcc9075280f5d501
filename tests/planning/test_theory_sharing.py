"""Dividing resources, availability, keys and graphs agree with every row of the reference values; fractions exactly."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from orchestrator.planning import availability, elastic, graphs, sharing
from orchestrator.planning.ageing import Ageing
from orchestrator.planning.dominant import Users, asset_fairness, drf_divisible, drf_tasks, equal_incomes
from orchestrator.planning.errors import Overloaded
from tests.planning.reference import agrees, reference


def test_max_min_fairness() -> None:
    """Weighted and unweighted, to the fraction."""
    for row in reference("max_min_elastic")["max_min"]:
        found = sharing.max_min(row["capacity"], [Fraction(one) for one in row["demand"]], row["weights"])
        assert found == [Fraction(one) for one in row["alloc"]], row


def test_elastic_ranges() -> None:
    """The least to everybody, the most to the first, or filled up together."""
    for row in reference("max_min_elastic")["elastic"]:
        requests = [sharing.Range(least, most) for least, most in row["requests_min_max"]]
        for rule, name in [(sharing.msa, "MSA"), (sharing.mra, "MRA"), (sharing.progressive, "progressive_filling")]:
            assert rule(row["capacity"], requests) == [Fraction(one) for one in row[name]], (name, row)


def _users(example: dict[str, Any]) -> Users:
    capacity, demands = example["capacity"], example["demands"]
    if isinstance(capacity, dict):
        capacity, demands = list(capacity.values()), list(demands.values())
    return Users.of(capacity, demands, example.get("weights"))


@pytest.mark.parametrize("example", reference("drf")["examples"], ids=lambda one: one["id"])
def test_dominant_resource_fairness(example: dict[str, Any]) -> None:
    """Whole tasks, the order in which they are given, fractions of tasks; and the rules that it betters."""
    users = _users(example)
    tasks, order = drf_tasks(users)
    if (expected := example.get("drf_tasks")) is not None:
        assert tasks == (list(expected.values()) if isinstance(expected, dict) else expected)
    if "pick_order" in example:
        assert order == example["pick_order"]
    if (divisible := example.get("divisible", example.get("drf_divisible", example.get("drf_divisible_true")))) is not None:
        assert drf_divisible(users) == [Fraction(one) for one in divisible]
    if "asset_fairness_tasks" in example:
        assert asset_fairness(users) == example["asset_fairness_tasks"]
        used = [[count * need for need in one] for count, one in zip(asset_fairness(users), users.demands, strict=True)]
        assert used == example["asset_alloc"]


def test_the_nine_and_eighteen_example_in_all_its_parts() -> None:
    """A <1, 4> and B <3, 1> on 9 processors and 18 GB: who comes first changes the order and not the outcome."""
    example = next(one for one in reference("drf")["examples"] if one["id"] == "ghodsi_fig3_table1")
    users = _users(example)
    assert "".join("AB"[one] for one in drf_tasks(users)[1]) == example["pick_order_ties_to_A"]
    mirrored = Users.of(users.capacity, users.demands[::-1])
    assert "".join("BA"[one] for one in drf_tasks(mirrored)[1]) == example["pick_order_ties_to_B"]
    assert [f"{one} = {float(one):.2f}" for one in asset_fairness(users)] == [example["asset_fairness"][user] for user in "AB"]
    assert [f"{one} = {float(one):.2f}" for one in equal_incomes(users)] == [example["ceei"][user] for user in "AB"]


def test_equal_incomes_reward_a_lie() -> None:
    """The second user reports <4, 2> for <1, 2> and gets more of what it needs."""
    example = next(one for one in reference("drf")["examples"] if one["id"] == "ceei_not_strategy_proof")
    assert equal_incomes(_users(example)) == [Fraction(one) for one in example["ceei_true"]]
    lied = Users.of(example["capacity"], [example["demands"][0], [4, 2]])
    assert equal_incomes(lied) == [Fraction(one) for one in example["ceei_if_user2_reports_4_2"]]


def test_what_a_grant_does_to_response_times() -> None:
    """Fixed grants, small to large, and equal splitting; a grant that loses too much capacity has no answer."""
    file = reference("msa_mra")
    tolerance = file["tolerance"]["formula_rel"]
    for row in file["rows"]:
        rate, units, exponent = row["lam"], row["C"], row["speedup_exponent"]
        for grant, name in [(1, "MSA_grant1"), (2, "grant2"), (4, "grant4"), (8, "MRA_grant8")]:
            if row[name] is None:
                with pytest.raises(Overloaded):
                    elastic.fixed_grant_s(rate, 1, units, grant, exponent)
            else:
                agrees(elastic.fixed_grant_s(rate, 1, units, grant, exponent), row[name], tolerance, row)
        agrees(elastic.equal_split_s(rate, 1, units, 1, 8, exponent), row["EQUI_min1_max8"], tolerance, row)


def test_availability_of_one_and_of_a_chain() -> None:
    """MTTF/(MTTF+MTTR), and the product of it."""
    file = reference("availability_k_of_n")
    tolerance = file["tolerance"]["formula_rel"]
    for row in file["single"]:
        agrees(availability.single(row["MTTF"], row["MTTR"]).availability, row["A"], tolerance, row)
    series = file["series"]
    agrees(availability.series(series["components"]).availability, series["availability"], tolerance, series)


def test_availability_of_k_of_n() -> None:
    """Both sides of 1, with all digits of the small one."""
    file = reference("availability_k_of_n")
    tolerance = file["tolerance"]["formula_rel"]
    for row in file["k_of_n"]:
        found = availability.k_of_n(row["A"], row["k"], row["n"])
        agrees(found.availability, row["availability"], tolerance, row)
        agrees(found.unavailability, row["unavailability"], 1e-9, row)  # printed with ten digits


def test_availability_with_few_hands_to_repair() -> None:
    """Units that wait for repair: the share of time, and the time to the first outage."""
    file = reference("availability_k_of_n")
    tolerance = file["tolerance"]["formula_rel"]
    for row in file["repair_limited"]:
        found = availability.repaired(row["MTTF_h"], row["MTTR_h"], row["k"], row["n"], row["repair_crews"])
        agrees(found.availability, row["availability"], tolerance, row)
        agrees(found.mttf, row["MTTF_system_h"], 1e-10, row)
        alone = availability.single(row["MTTF_h"], row["MTTR_h"]).availability
        agrees(availability.k_of_n(alone, row["k"], row["n"]).availability, row["independent_formula"], tolerance, row)


def test_the_static_key_of_dynamic_priority() -> None:
    """Keys, the order by key and by priority at any time, and how long one may be overtaken."""
    file = reference("dps_static_key")
    rule = Ageing(file["tau"], file["omega"], file["deadline_guard"])
    keys = {}
    for job in file["jobs"]:
        key = rule.key(job["arrival"], job["est"], job["prio"], deadline_s=job["deadline"], p90_s=job["p90"] or 0)
        keys[job["id"]] = key
        assert abs(key - job["key"]) <= 1e-9, job
        horizon = rule.overtaking_s(job["arrival"], key, least_estimate_s=1, most_level=2)
        assert abs(horizon - job["overtaking_horizon_s"]) <= 1e-9 * rule.tau_s, job
    assert sorted(keys, key=keys.__getitem__) == file["order_smallest_key_first"]
    for at, order in file["order_from_time_dependent_priority_at_t"].items():
        assert sorted(keys, key=lambda one: -rule.priority(float(at), keys[one])) == order


def test_the_ten_task_example_of_heft() -> None:
    """Ranks, order, every start and finish, and the makespan of its rival."""
    file = reference("heft")
    edges = {(edge["src"] - 1, edge["dst"] - 1): edge["data"] for edge in file["edges"]}
    graph = graphs.TaskGraph(file["cost"], edges)
    assert list(map(float, graph.upward)) == pytest.approx(list(file["rank_u"].values()), rel=1e-14)
    assert list(map(float, graph.downward)) == pytest.approx(list(file["rank_d"].values()), rel=1e-14)
    assert [task + 1 for task in graph.critical_path] == file["critical_path"]
    assert graph.critical_length == file["critical_path_length_with_mean_costs"]
    schedule = graphs.heft(graph)
    assert [task + 1 for task in schedule.placed] == file["order"]
    assert {
        str(task + 1): {"proc": one.processor + 1, "start": one.start, "finish": one.finish}
        for task, one in schedule.placed.items()
    } == file["heft_schedule"]
    assert schedule.makespan == file["heft_makespan"]
    assert graphs.heft(graph, insertion=False).makespan == file["heft_without_insertion_makespan"]
    rival = graphs.cpop(graph)
    assert rival.makespan == file["cpop_makespan"]
    assert {rival.placed[task].processor + 1 for task in graph.critical_path} == {file["cpop_processor"]}
