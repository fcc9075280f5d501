"""Dividing several resources among users: dominant resource fairness, and two rules that it was made to better.

A user's task needs a bundle; its *dominant share* is its largest share of any resource. DRF keeps these equal (by weight):
nobody would rather have an n-th of everything, nor anybody else's bundle; nobody gains by lying.
Source: Ghodsi, Zaharia, Hindman, Konwinski, Shenker & Stoica, NSDI 2011. All results are exact fractions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

from orchestrator.planning.errors import BadNumber, positive
from orchestrator.planning.sharing import Amount, exact


@dataclass(frozen=True, slots=True)
class Users:
    """Capacities by resource, and per user what one task needs of each. Raises BadNumber."""

    capacity: tuple[Fraction, ...]
    demands: tuple[tuple[Fraction, ...], ...]
    weights: tuple[Fraction, ...]

    @classmethod
    def of(cls, capacity: Sequence[Amount], demands: Sequence[Sequence[Amount]], weights: Sequence[Amount] | None = None) -> Users:
        """From plain numbers; without weights all are equal."""
        if any(len(one) != len(capacity) for one in demands):
            raise BadNumber(f"there are {len(capacity)} resources; every user's task needs an amount of each, 0 where none.")
        if any(not any(one) for one in demands):
            raise BadNumber("a user's task needs nothing; it could run without end. Give it a demand above 0.")
        if weights is not None and len(weights) != len(demands):
            raise BadNumber(f"{len(weights)} weights for {len(demands)} users; give each one.")
        return cls(
            tuple(Fraction(positive("a capacity", one)) for one in capacity),
            tuple(tuple(exact("a demand", amount) for amount in one) for one in demands),
            tuple(Fraction(positive("a weight", one)) for one in weights or [1] * len(demands)),
        )

    def dominant(self, user: int) -> Fraction:
        """The dominant share of one task."""
        return max(need / have for need, have in zip(self.demands[user], self.capacity, strict=True))


def drf_tasks(users: Users) -> tuple[list[int], list[int]]:
    """Whole tasks: how many each user runs, and the order in which they were given.

    The user with the least dominant share by weight is next, ties to the first; one whose task does not fit leaves, others go on.
    """
    tasks, order = [0] * len(users.demands), []
    free = list(users.capacity)
    active = set(range(len(tasks)))
    while active:
        user = min(active, key=lambda one: (tasks[one] * users.dominant(one) / users.weights[one], one))
        if any(need > left for need, left in zip(users.demands[user], free, strict=True)):
            active.remove(user)
            continue
        free = [left - need for need, left in zip(users.demands[user], free, strict=True)]
        tasks[user] += 1
        order.append(user)
    return tasks, order


def drf_divisible(users: Users) -> list[Fraction]:
    """Tasks of any fraction: all dominant shares rise together by weight; who needs a resource that is used up stops there."""
    tasks = [Fraction(0)] * len(users.demands)
    speed = [weight / users.dominant(user) for user, weight in enumerate(users.weights)]  # tasks per unit of share
    free = list(users.capacity)
    active = list(range(len(tasks)))
    while active:
        drain = [sum((users.demands[user][j] * speed[user] for user in active), Fraction(0)) for j in range(len(free))]
        rise = min(left / pull for left, pull in zip(free, drain, strict=True) if pull)
        free = [left - rise * pull for left, pull in zip(free, drain, strict=True)]
        for user in active:
            tasks[user] += rise * speed[user]
        active = [
            user for user in active if not any(need and not left for need, left in zip(users.demands[user], free, strict=True))
        ]
    return tasks


def asset_fairness(users: Users) -> list[Fraction]:
    """Everybody's bundle is worth the same, at prices by which all of each resource is worth the same. Fractions of tasks.

    A user may get less than an n-th of everything: a rule to compare with, not to use.
    """
    worth = [sum(need / have for need, have in zip(one, users.capacity, strict=True)) for one in users.demands]
    tasks = [weight / value for weight, value in zip(users.weights, worth, strict=True)]
    return [one * _fits(users, tasks) for one in tasks]


def equal_incomes(users: Users) -> list[Fraction]:
    """Competitive equilibrium from equal incomes for *two* users: the product of tasks is the largest possible. Raises BadNumber.

    A user may gain by lying about its demand: a rule to compare with, not to use.
    """
    if len(users.demands) != 2:
        raise BadNumber(f"there are {len(users.demands)} users; this is worked out for 2.")
    one, other = users.demands
    lines = list(zip(one, other, users.capacity, strict=True))
    tries = [[have / (2 * a), have / (2 * b)] for a, b, have in lines if a and b]  # the best on each line alone
    for (a, b, have), (c, d, has) in combinations(lines, 2):  # and where lines meet
        if cross := a * d - b * c:
            tries.append([(have * d - b * has) / cross, (a * has - have * c) / cross])
    return max((x for x in tries if min(x) >= 0 and _fits(users, x) >= 1), key=lambda x: x[0] * x[1])


def _fits(users: Users, tasks: Sequence[Fraction]) -> Fraction:
    """By how much these tasks could be multiplied until some resource is used up."""
    used = [
        sum((count * one[j] for count, one in zip(tasks, users.demands, strict=True)), Fraction(0))
        for j in range(len(users.capacity))
    ]
    return min(have / spent for have, spent in zip(users.capacity, used, strict=True) if spent)
