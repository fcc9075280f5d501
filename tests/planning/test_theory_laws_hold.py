"""What theory says of every queue, not only of those in the tables: conservation, optimality, monotony, limits."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.planning import (
    availability,
    dispatch,
    elastic,
    general,
    graphs,
    heavy,
    laws,
    predictions,
    priorities,
    queues,
    sharing,
    staffing,
)  # fmt: skip
from orchestrator.planning.dominant import Users, drf_divisible, drf_tasks
from orchestrator.planning.sizes import Order, response_of_size_s, response_s

LOADS = st.floats(0.02, 0.98)
RATES = st.floats(0.01, 100)
SERVERS = st.integers(1, 60)
LAWS: st.SearchStrategy[laws.SmoothLaw] = st.one_of(
    st.builds(laws.exponential, RATES),
    st.builds(laws.balanced_h2, RATES, st.floats(1.1, 50)),
    st.builds(laws.Erlang, st.integers(1, 12), RATES),
    st.builds(lambda low, width: laws.Uniform(low, low + width), st.integers(0, 5), st.floats(0.1, 10)),
    st.builds(heavy.lognormal, RATES, st.floats(0.05, 20)),
    st.builds(heavy.weibull, st.floats(0.3, 4), RATES),
    st.builds(
        lambda low, ratio, alpha: heavy.BoundedPareto(low, low * ratio, alpha), RATES, st.floats(1.5, 1e6), st.floats(0.3, 4)
    ),
)
NEARLY = 1 + 1e-9
calm = settings(deadline=None, max_examples=40)
"""Without a limit of time: machines that are busy compute the same."""


def close(a: float, b: float, relative: float = 1e-9) -> bool:
    return math.isclose(a, b, rel_tol=relative, abs_tol=1e-300)


@calm
@given(load=LOADS, mu=RATES, servers=SERVERS)
def test_little_holds(load: float, mu: float, servers: int) -> None:
    """What is there is what arrives, times how long it stays: in the queue and in the system."""
    rate = load * servers * mu
    found = queues.mmc(rate, mu, servers)
    assert close(found.in_queue, rate * found.queue_wait_s)
    assert close(found.in_system, rate * found.response_s)
    bounded = queues.mmck(rate, mu, servers, servers + 7)
    assert close(bounded.in_queue, bounded.accepted_rate * bounded.queue_wait_s)
    assert close(bounded.in_system, bounded.accepted_rate * bounded.response_s)


@calm
@given(load=LOADS, mu=RATES)
def test_one_server_is_mm1(load: float, mu: float) -> None:
    """By every road: M/M/1, M/M/c, M/G/1 and GI/M/1 with exponential times, Allen-Cunneen."""
    rate = load * mu
    known = queues.mm1(rate, mu)
    roads = [queues.mmc(rate, mu, 1), general.mg1(rate, laws.exponential(1 / mu)), general.gim1(laws.exponential(1 / rate), mu)]
    for found in roads:
        for name in ("rho", "wait_probability", "queue_wait_s", "response_s", "in_queue", "in_system"):
            assert close(getattr(found, name), getattr(known, name)), (found, name)
    assert close(general.allen_cunneen(rate, 1 / mu, 1, 1, 1), known.queue_wait_s)
    assert close(queues.mm1_response_tail(rate, mu, known.response_s), math.exp(-1))


@calm
@given(load=st.floats(0.1, 50), more=st.integers(1, 20))
def test_more_servers_wait_less(load: float, more: int) -> None:
    """And fewer tasks find all busy; losing is rarer than waiting."""
    servers = math.floor(load) + more
    few, many = queues.mmc(load, 1, servers), queues.mmc(load, 1, servers + 1)
    assert many.queue_wait_s < few.queue_wait_s
    assert many.wait_probability < few.wait_probability
    assert queues.erlang_b(servers, load) < few.wait_probability


@calm
@given(load=LOADS, servers=SERVERS, share=st.floats(0.01, 0.999))
def test_the_quantile_of_the_wait_is_where_its_tail_says(load: float, servers: int, share: float) -> None:
    """Just so many start within it; 0 if at least so many do not wait."""
    at = queues.mmc_wait_quantile(load * servers, 1, servers, share)
    tail = queues.mmc_wait_tail(load * servers, 1, servers, at)
    assert close(tail, 1 - share) if at else tail <= (1 - share) * NEARLY


@calm
@given(load=st.floats(0.05, 3), servers=SERVERS)
def test_a_bounded_queue_lies_between_no_queue_and_an_endless_one(load: float, servers: int) -> None:
    """Without room it is Erlang's loss system; each place loses less; with much room it is M/M/c."""
    rate = load * servers
    losses = [queues.mmck(rate, 1, servers, servers + room).loss for room in (0, 1, 5, 30)]
    assert close(losses[0], queues.erlang_b(servers, rate))
    assert losses == sorted(losses, reverse=True)
    if load < 0.9:
        assert close(queues.mmck(rate, 1, servers, servers + 1000).queue_wait_s, queues.mmc(rate, 1, servers).queue_wait_s)


@calm
@given(load=st.floats(0.01, 300), target_s=st.floats(0, 3), probability=st.floats(0.01, 0.9999))
def test_staffing_is_enough_and_not_one_too_many(load: float, target_s: float, probability: float) -> None:
    """The promise holds with the answer and is broken with one server less; more work never needs fewer."""
    found = staffing.for_wait(load, 1, target_s, probability)
    assert queues.mmc_wait_tail(load, 1, found.servers, target_s) <= (1 - probability) * NEARLY
    if found.servers - 1 > load:
        assert queues.mmc_wait_tail(load, 1, found.servers - 1, target_s) >= (1 - probability) / NEARLY
    assert staffing.for_wait(load * 1.1, 1, target_s, probability).servers >= found.servers


@calm
@given(law=LAWS, load=LOADS)
def test_orders_of_one_server_compare_as_theory_says(law: laws.SmoothLaw, load: float) -> None:
    """Nothing beats SRPT; knowing sizes never hurts; sharing depends on the mean only."""
    rate = load / law.mean
    t = {order: response_s(order, rate, law) for order in Order}
    for order in Order:
        assert t[Order.SRPT] <= t[order] * NEARLY, order
    assert t[Order.SJF] <= t[Order.FIFO] * NEARLY
    assert t[Order.PSJF] <= t[Order.PS] * NEARLY
    assert close(t[Order.PS], law.mean / (1 - load))
    assert all(one >= law.mean / NEARLY for one in t.values())


@calm
@given(law=LAWS, spare=st.floats(1e-8, 0.02))
def test_near_full_load_there_still_is_an_answer(law: laws.SmoothLaw, spare: float) -> None:
    """As long as the load itself is known to enough digits; SRPT is still the best, and sharing in proportion to 1/(1 - rho)."""
    rate = (1 - spare) / law.mean
    t = {order: response_s(order, rate, law) for order in Order}
    assert all(t[Order.SRPT] <= one * (1 + 1e-6) for one in t.values())
    assert close(t[Order.PS] * spare, law.mean, 1e-6)


@calm
@given(mean=RATES, load=LOADS)
def test_for_exponential_sizes_the_least_served_first_is_sharing_is_fifo(mean: float, load: float) -> None:
    """Who was served how long says nothing about what is left."""
    law = laws.exponential(mean)
    known = mean / (1 - load)
    assert close(response_s(Order.LAS, load / mean, law), known)
    assert close(response_s(Order.FIFO, load / mean, law), known)


@calm
@given(law=LAWS, load=st.floats(0.02, 0.5), place=st.floats(0.05, 0.95))
def test_up_to_half_load_every_task_prefers_srpt_to_sharing(law: laws.SmoothLaw, load: float, place: float) -> None:
    """Long ones too."""
    low, high = law.reach
    size = low * (high / low) ** place
    rate = load / law.mean
    assert response_of_size_s(Order.SRPT, rate, law, size) <= response_of_size_s(Order.PS, rate, law, size) * NEARLY


@calm
@given(law=LAWS, load=LOADS, factor=st.floats(1e-3, 1e3))
def test_the_unit_of_time_does_not_matter(law: laws.SmoothLaw, load: float, factor: float) -> None:
    """Hours in, hours out."""
    rate = load / law.mean
    for order in Order:
        assert close(response_s(order, rate / factor, law.stretched(factor)), factor * response_s(order, rate, law)), order


@calm
@given(law=LAWS)
def test_a_law_is_one_whole(law: laws.SmoothLaw) -> None:
    """Its density integrates to 1, its moments and tails are those of its density, all work is below the longest size."""
    assert close(laws.average(law, lambda x: 1.0), 1)
    assert close(laws.average(law, lambda x: x), law.mean)
    assert close(laws.average(law, lambda x: x * x), law.second)
    assert close(laws.average(law, lambda x: x**3), law.third, 1e-8)
    low, high = law.reach
    assert close(law.below1(high), law.mean)
    assert close(law.below2(high), law.second)
    middle = math.sqrt(low * high)
    assert close(laws.over_logarithm(law.density, low, middle) + law.tail(middle), 1)
    assert abs(laws.over_logarithm(lambda x: x * law.density(x), low, middle) - law.below1(middle)) <= 1e-9 * law.mean


@settings(deadline=None, max_examples=8)
@given(load=LOADS, sigma=st.floats(0.3, 2))
def test_wrong_predictions_cost_but_never_all(load: float, sigma: float) -> None:
    """SJF by predictions lies between SJF by sizes and the order of arrival; rough ones too, and all orders by them."""
    law = laws.exponential()
    noisy = predictions.NoisySizes(law, sigma).sjf_s(load)
    assert response_s(Order.SJF, load, law) <= noisy * (1 + 1e-7)
    assert noisy <= response_s(Order.FIFO, load, law) * (1 + 1e-7)
    rough = predictions.exponential_predictions(load)
    assert response_s(Order.SJF, load, law) <= rough.spjf_s <= response_s(Order.FIFO, load, law)
    assert response_s(Order.SRPT, load, law) <= rough.sprpt_s
    assert response_s(Order.PSJF, load, law) <= rough.pspjf_s


CLASSES = st.lists(st.tuples(st.floats(0.1, 5), LAWS), min_size=1, max_size=5)


def _classes(parts: list[tuple[float, laws.SmoothLaw]], load: float) -> list[priorities.TaskClass]:
    """Classes whose loads stand to each other as the given weights and add up to ``load``."""
    total = sum(weight for weight, _ in parts)
    return [priorities.TaskClass(load * weight / total / law.mean, law) for weight, law in parts]


@calm
@given(parts=CLASSES, load=LOADS, slopes=st.lists(st.floats(0.01, 100), min_size=5, max_size=5))
def test_what_one_class_gains_others_pay(parts: list[tuple[float, laws.SmoothLaw]], load: float, slopes: list[float]) -> None:
    """Kleinrock's conservation law, for strict and for ageing priorities."""
    classes = _classes(parts, load)
    kept = priorities.conserved(classes)
    for waits in (priorities.nonpreemptive(classes), priorities.ageing(classes, slopes[: len(classes)])):
        assert close(sum(one.load * wait for one, wait in zip(classes, waits, strict=True)), kept)
        assert all(wait > 0 for wait in waits)


@calm
@given(parts=CLASSES, load=LOADS)
def test_ageing_goes_from_the_order_of_arrival_to_strict_priority(parts: list[tuple[float, laws.SmoothLaw]], load: float) -> None:
    """Equal slopes: all wait alike. Slopes far apart: as without ageing."""
    classes = _classes(parts, load)
    equal = priorities.ageing(classes, [3.0] * len(classes))
    assert all(close(wait, priorities.conserved(classes) / load) for wait in equal)
    apart = priorities.ageing(classes, [1e14 ** (len(classes) - index) for index in range(len(classes))])
    assert all(close(a, b, 1e-6) for a, b in zip(apart, priorities.nonpreemptive(classes), strict=True))


@calm
@given(rates=st.lists(st.floats(0.1, 5), min_size=1, max_size=6), load=LOADS)
def test_interrupting_does_not_change_the_number_of_exponential_tasks(rates: list[float], load: float) -> None:
    """And the first class does not feel the others."""
    mu = sum(rates) / load
    responses = priorities.preemptive([priorities.exponential_class(rate, mu) for rate in rates])
    assert close(sum(rate * one for rate, one in zip(rates, responses, strict=True)), queues.mm1(sum(rates), mu).in_system)
    assert close(responses[0], queues.mm1(rates[0], mu).response_s)


@calm
@given(load=LOADS, servers=st.integers(1, 200))
def test_constant_service_halves_the_wait_at_most(load: float, servers: int) -> None:
    """M/D/c waits at least half as long as M/M/c, and no longer; on one server it is the M/G/1 formula."""
    constant, varied = general.mdc(load * servers, 1, servers), queues.mmc(load * servers, 1, servers)
    assert varied.queue_wait_s / 2 <= constant.queue_wait_s * (1 + 1e-7) + 1e-12
    assert constant.queue_wait_s <= varied.queue_wait_s * (1 + 1e-7) + 1e-12
    one, known = general.mdc(load, 1, 1), general.mg1(load, laws.Deterministic(1))
    assert close(one.queue_wait_s, known.queue_wait_s)
    assert close(one.wait_probability, known.wait_probability)


@pytest.mark.parametrize(("servers", "rho"), [(1, 0.7), (2, 0.8), (7, 0.6), (16, 0.85), (40, 0.9)])
def test_two_roads_to_constant_service_meet(servers: int, rho: float) -> None:
    """Sums of tails and zeros in the plane."""
    by_sums = general._mdc_by_sums(servers * rho, servers, 1500)
    by_zeros = general._mdc_by_zeros(servers * rho, servers, rho)
    assert by_sums == pytest.approx(by_zeros, rel=1e-8)


@calm
@given(law=LAWS, load=st.floats(0.05, 0.95))
def test_waiting_behind_bursts_is_longer(law: laws.SmoothLaw, load: float) -> None:
    """GI/M/1 under any law of arrivals: regular ones wait least, and the probability to wait solves its equation."""
    between = laws.with_mean(law, 1 / load)
    assert isinstance(between, laws.SmoothLaw)
    found = general.gim1(between, 1)
    sigma = found.wait_probability
    assert close(laws.average(between, lambda x: math.exp(-(1 - sigma) * x)), sigma, 1e-8)
    assert found.queue_wait_s >= general.gim1(laws.Deterministic(1 / load), 1).queue_wait_s / NEARLY


@calm
@given(rho=st.floats(0.01, 0.99), choices=st.integers(1, 6))
def test_one_more_choice_is_shorter(rho: float, choices: int) -> None:
    """And the number in a queue is what its tails add up to."""
    found = dispatch.response(choices, rho)
    assert dispatch.response(choices + 1, rho) < found
    if choices > 1:
        assert close(sum(dispatch.busy_share(choices, rho, k) for k in range(1, 60)), rho * found, 1e-8)


@calm
@given(mttf=RATES, mttr=RATES, n=st.integers(1, 9), data=st.data())
def test_repair(mttf: float, mttr: float, n: int, data: st.DataObject) -> None:
    """Hands for everybody: independent units. Fewer hands, or more units that must work: never better."""
    k = data.draw(st.integers(1, n))
    alone = availability.single(mttf, mttr)
    free = availability.repaired(mttf, mttr, k, n)
    known = availability.k_of_n(alone.availability, k, n)
    assert close(free.availability, known.availability)
    assert close(free.unavailability, known.unavailability, 1e-7)
    assert close(free.availability + free.unavailability, 1)
    for crews in range(1, n):
        few, more = availability.repaired(mttf, mttr, k, n, crews), availability.repaired(mttf, mttr, k, n, crews + 1)
        assert few.unavailability >= more.unavailability / NEARLY
        assert few.mttf <= more.mttf * NEARLY
    if k > 1:
        assert availability.repaired(mttf, mttr, k - 1, n).availability >= free.availability / NEARLY
    assert close(
        availability.k_of_n(alone.availability, n, n).availability, availability.series([alone.availability] * n).availability
    )


AMOUNTS = st.fractions(0, 20, max_denominator=12)
WEIGHTS = st.fractions(Fraction(1, 4), 5, max_denominator=6)


@calm
@given(capacity=AMOUNTS, parts=st.lists(st.tuples(AMOUNTS, WEIGHTS), min_size=1, max_size=6))
def test_max_min_is_fair(capacity: Fraction, parts: list[tuple[Fraction, Fraction]]) -> None:
    """All that can be given is given; who gets less than it wants gets, by weight, no less than anybody."""
    demands, weights = [one for one, _ in parts], [weight for _, weight in parts]
    found = sharing.max_min(capacity, demands, weights)
    assert sum(found) == min(capacity, sum(demands))
    shares = [grant / weight for grant, weight in zip(found, weights, strict=True)]
    for grant, demand, share in zip(found, demands, shares, strict=True):
        assert grant <= demand
        assert grant == demand or share == max(shares)


@calm
@given(capacity=AMOUNTS, parts=st.lists(st.tuples(AMOUNTS, AMOUNTS), max_size=6))
def test_elastic_grants_stay_within_range_and_capacity(capacity: Fraction, parts: list[tuple[Fraction, Fraction]]) -> None:
    """By all three rules; filling gives all that the admitted can use."""
    requests = [sharing.Range(min(pair), max(pair)) for pair in parts]
    for rule in (sharing.msa, sharing.mra, sharing.progressive):
        found = rule(capacity, requests)
        assert sum(found) <= capacity
        assert all(grant == 0 or one.least <= grant <= one.most for grant, one in zip(found, requests, strict=True))
    admitted = [one for one, grant in zip(requests, sharing.msa(capacity, requests), strict=True) if grant >= one.least]
    assert sum(sharing.progressive(capacity, requests)) == min(capacity, sum(Fraction(one.most) for one in admitted))


@calm
@given(data=st.data(), resources=st.integers(1, 3), count=st.integers(1, 4))
def test_dominant_shares_are_fair(data: st.DataObject, resources: int, count: int) -> None:
    """Nothing is overdrawn, everybody is stopped by a resource that is used up, and nobody has less than an equal part of all."""
    capacity = data.draw(st.lists(st.integers(5, 40), min_size=resources, max_size=resources))
    need = st.lists(st.integers(0, 5), min_size=resources, max_size=resources).filter(any)
    users = Users.of(capacity, data.draw(st.lists(need, min_size=count, max_size=count)))
    for tasks in (list(map(Fraction, drf_tasks(users)[0])), drf_divisible(users)):
        used = [sum(many * one[j] for many, one in zip(tasks, users.demands, strict=True)) for j in range(resources)]
        assert all(spent <= have for spent, have in zip(used, users.capacity, strict=True))
    full = [spent == have for spent, have in zip(used, users.capacity, strict=True)]
    for user, one in enumerate(users.demands):
        assert any(need and done for need, done in zip(one, full, strict=True))
        assert tasks[user] * users.dominant(user) >= Fraction(1, count)


@calm
@given(
    nodes=st.dictionaries(st.sampled_from("abc"), st.fixed_dictionaries({"cpu": st.integers(0, 9)}), min_size=1),
    sizes=st.lists(st.integers(1, 6), max_size=6),
    data=st.data(),
)
def test_a_sum_that_fits_the_cluster_may_fit_no_node(
    nodes: dict[str, dict[str, int]], sizes: list[int], data: st.DataObject
) -> None:
    """R is the sum of all grants; the check is per node, and its excess is what the grants there exceed the node by."""
    grants = [(data.draw(st.sampled_from(sorted(nodes))), {"cpu": size}) for size in sizes]
    assert sharing.total_allocation(grant for _, grant in grants).get("cpu", 0) == sum(sizes)
    over = sharing.overcommitted(nodes, grants)
    for node, has in nodes.items():
        excess = sum(grant["cpu"] for where, grant in grants if where == node) - has["cpu"]
        assert over.get((node, "cpu"), 0) == max(0, excess)


@calm
@given(load=LOADS, exponent=st.floats(0.2, 1), units=st.integers(1, 24), most=st.integers(1, 24), data=st.data())
def test_dividing_what_there_is_beats_every_fixed_grant(
    load: float, exponent: float, units: int, most: int, data: st.DataObject
) -> None:
    """And never loses a load that the least grant can carry."""
    split = elastic.equal_split_s(load * units, 1, units, 1, most, exponent)
    grant = data.draw(st.integers(1, min(units, most)))
    if load * units < (units // grant) * grant**exponent * 0.999:
        assert split <= elastic.fixed_grant_s(load * units, 1, units, grant, exponent) * NEARLY


COSTS = st.integers(1, 9).map(float)


@calm
@given(data=st.data(), tasks=st.integers(1, 9), processors=st.integers(1, 3))
def test_schedules_of_graphs_are_feasible(data: st.DataObject, tasks: int, processors: int) -> None:
    """Nothing starts before what it waits for, no processor does two things at once, every edge takes its time."""
    cost = data.draw(st.lists(st.lists(COSTS, min_size=processors, max_size=processors), min_size=tasks, max_size=tasks))
    pairs = [(i, j) for j in range(tasks) for i in range(j)]
    edges = data.draw(st.dictionaries(st.sampled_from(pairs), COSTS)) if pairs else {}
    graph = graphs.TaskGraph(cost, edges)
    for schedule in (graphs.heft(graph), graphs.heft(graph, insertion=False), graphs.cpop(graph)):
        placed = schedule.placed
        assert sorted(placed) == list(range(tasks))
        for (before, after), transfer in edges.items():
            apart = placed[before].processor != placed[after].processor
            assert placed[after].start >= placed[before].finish + (transfer if apart else 0)
        for one in placed.values():
            others = [other for other in placed.values() if other is not one and other.processor == one.processor]
            assert all(other.finish <= one.start or other.start >= one.finish for other in others)
    work = sum(map(float, graph.mean_cost))
    assert work / processors <= graphs.greedy_bound(graph, processors) * NEARLY
    assert graphs.greedy_bound(graph, processors) <= work * NEARLY + graph.critical_length
