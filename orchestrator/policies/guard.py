"""Other people's policies, held to what they promise: a mistake in one costs its use, never the coordinator.

Law: a policy of another distribution is asked like any other, and what it answers is checked. The first time it raises, or answers
what makes no sense, it is *set down*: the default policy of its kind decides from then on, and ``fault`` says why, for the log and
for operators. Built-in policies are not guarded; theirs would be our mistakes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from math import isfinite
from typing import Any

from orchestrator.policies.allocation import Claim, MinimumSufficient
from orchestrator.policies.ordering import Account, Extremes, Ordering, PriorityWithAgeing, Waiting
from orchestrator.policies.placement import Candidate, Choice, Fits, LeastLoaded, Outlook, Placement
from orchestrator.policies.preemption import Preemption
from orchestrator.resources import Demand, Left
from orchestrator.vocabulary import Milli, Nanos, Vector

MUST_HAVE: Mapping[str, tuple[str, ...]] = {"ordering": ("key",), "placement": ("choose",), "allocation": ("grant", "preference")}


def check(kind: str, policy: object) -> None:
    """Raises TypeError if ``policy`` cannot be one of this kind."""
    frozen = getattr(getattr(type(policy), "__dataclass_params__", None), "frozen", False)
    if not is_dataclass(policy) or isinstance(policy, type) or not frozen:
        raise TypeError("a policy is a frozen dataclass that can be made without arguments")
    missing = [name for name in MUST_HAVE[kind] if not callable(getattr(policy, name, None))]
    if missing:
        raise TypeError(f"a policy for {kind} must have the method {', '.join(missing)}")


class Guard:
    """Who watches one policy."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fault = ""
        """Why it was set down; empty: it decides."""

    def set_down(self, why: str) -> None:
        """It decides no more."""
        self.fault = self.fault or why


class GuardedOrdering(Guard, Ordering):
    """An ordering of somebody else. Until it fails its keys count, from then on those of ``priority``."""

    def __init__(self, name: str, inner: Any) -> None:
        super().__init__(name)
        self.inner = inner
        self.spare = PriorityWithAgeing()
        self.estimates = bool(getattr(inner, "estimates", False))  # type: ignore[misc]

    @property
    def by_tenant(self) -> bool:
        return bool(getattr(self.inner, "by_tenant", False)) and not self.fault

    @property
    def preemption(self) -> Preemption | None:
        terms = getattr(self.inner, "preemption", None)
        return terms if isinstance(terms, Preemption) and not self.fault else None

    def key(self, task: Waiting) -> float:
        return self._number("key", task) if not self.fault else self.spare.key(task)

    def weight(self, tenant: str) -> float:
        return max(1e-6, self._number("weight", tenant)) if hasattr(self.inner, "weight") and not self.fault else 1.0

    def rank(self, key: float, account: Account) -> float:
        return self._number("rank", key, account) if hasattr(self.inner, "rank") and not self.fault else key

    def horizon_ns(self, task: Waiting, extremes: Extremes) -> Nanos | None:
        if self.fault:
            return self.spare.horizon_ns(task, extremes)
        try:
            found: Nanos | None = self.inner.horizon_ns(task, extremes) if hasattr(self.inner, "horizon_ns") else None
        except Exception as fault:
            self.set_down(f"horizon_ns raised {type(fault).__name__}: {fault}")
            return self.spare.horizon_ns(task, extremes)
        return found

    def _number(self, method: str, *words: Any) -> float:
        try:
            found = getattr(self.inner, method)(*words)
            if type(found) in (int, float) and isfinite(found):
                return found  # type: ignore[no-any-return]
            self.set_down(f"{method} gave {found!r}, which is no finite number")
        except Exception as fault:  # anything at all may come out of it
            self.set_down(f"{method} raised {type(fault).__name__}: {fault}")
        return self.spare.key(words[0]) if method == "key" else words[0] if method == "rank" else 1.0


class GuardedPlacement(Guard):
    """A placement of somebody else: what it chooses must fit."""

    def __init__(self, name: str, inner: Placement) -> None:
        super().__init__(name)
        self.inner = inner
        self.spare = LeastLoaded()

    def choose(self, choice: Choice, fits: Fits) -> Candidate | None:
        if not self.fault:
            try:
                found = self.inner.choose(choice, fits)
                if found is None or fits(found):
                    return found
                self.set_down("choose gave an instance that the task does not fit on")
            except Exception as fault:  # anything at all may come out of it
                self.set_down(f"choose raised {type(fault).__name__}: {fault}")
        return self.spare.choose(choice, fits)


class GuardedPatience(GuardedPlacement):
    """One that may have tasks wait for a faster instance."""

    inner: Any

    def bides_ns(self, outlook: Outlook) -> Nanos:
        if self.fault:
            return 0
        try:
            found = self.inner.bides_ns(outlook)
            if type(found) is int and found >= 0:
                return found
            self.set_down(f"bides_ns gave {found!r}, which is no number of nanoseconds")
        except Exception as fault:  # anything at all may come out of it
            self.set_down(f"bides_ns raised {type(fault).__name__}: {fault}")
        return 0


class GuardedAllocation(Guard):
    """An allocation of somebody else: what it grants must lie between the least and the most, and be free."""

    def __init__(self, name: str, inner: Any) -> None:
        super().__init__(name)
        self.inner = inner
        self.spare = MinimumSufficient()

    @property
    def raises(self) -> bool:
        return bool(getattr(self.inner, "raises", False)) and not self.fault

    def grant(self, demand: Demand, free: Mapping[str, Milli]) -> Vector:
        if not self.fault:
            try:
                found = self.inner.grant(demand, free)
                if _grantable(found, demand, {}, free):
                    return {name: amount for name, amount in found.items() if amount}
                self.set_down(f"grant gave {found!r} for {demand}, which is too little, too much, or not free")
            except Exception as fault:  # anything at all may come out of it
                self.set_down(f"grant raised {type(fault).__name__}: {fault}")
        return self.spare.grant(demand, free)

    def preference(self, demand: Demand, free: Mapping[str, Milli], capacity: Mapping[str, Milli]) -> Left:
        if not self.fault:
            try:
                tightest, total = self.inner.preference(demand, free, capacity)
                if type(tightest) is type(total) is int:
                    return tightest, total
                self.set_down(f"preference gave {(tightest, total)!r}, which are not two whole numbers")
            except Exception as fault:  # anything at all may come out of it
                self.set_down(f"preference raised {type(fault).__name__}: {fault}")
        return self.spare.preference(demand, free, capacity)

    def raised(self, claims: Sequence[Claim], free: Mapping[str, Milli], capacity: Mapping[str, Milli]) -> list[Vector]:
        if not self.fault:
            try:
                found = list(self.inner.raised(claims, free, capacity))
                left = dict(free)
                for claim, grant in zip(claims, found, strict=True):
                    if not _grantable(grant, claim.demand, claim.grant, left):
                        raise ValueError(f"it gave {grant!r} for {claim.demand}, which is too little, too much, or not free")
                    for name, amount in grant.items():
                        left[name] = left.get(name, 0) - amount + claim.grant.get(name, 0)
            except Exception as fault:  # anything at all may come out of it
                self.set_down(f"raised failed with {type(fault).__name__}: {fault}")
            else:
                return [{name: amount for name, amount in grant.items() if amount} for grant in found]
        return self.spare.raised(claims, free, capacity)


def _grantable(grant: Any, demand: Demand, had: Mapping[str, Milli], free: Mapping[str, Milli]) -> bool:
    """Whether ``grant`` suits the demand, where so much is free beside what it ``had``."""
    return set(grant) <= {name for name, _, _ in demand.parts} and all(
        type(grant.get(name, 0)) is int
        and max(low, had.get(name, 0)) <= grant.get(name, 0) <= min(high, free.get(name, 0) + had.get(name, 0))
        for name, low, high in demand.parts
    )


def guarded(kind: str, name: str, policy: Any) -> Any:
    """``policy``, watched."""
    if kind == "placement" and hasattr(policy, "bides_ns"):
        return GuardedPatience(name, policy)
    return {"ordering": GuardedOrdering, "placement": GuardedPlacement, "allocation": GuardedAllocation}[kind](name, policy)
